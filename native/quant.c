/* quant.c - weights to 8 and 4 bits. 8 bits: a scale for each row, from its largest. 4 bits: a scale for each group of 32,
 * the best in least squares of a few that put the largest weight at or near the end of the range. */
#include "quant.h"
#include "arena.h"
#include <math.h>

enum { LEVELS8 = 127, LOW4 = -8, HIGH4 = 7, TRIES = 7, LANES = 8 };

q3t_status q3t_quant_bytes(int32_t format, int32_t rows, int32_t k, size_t *bytes) {
    return q3t_mul(((size_t)rows + Q3T_BLOCK - 1) / Q3T_BLOCK, q3t_block_bytes(format, k), bytes);
}

/* Elements [first, first + n) of row r, widened; 0 beyond the matrix. */
static void widen(const q3t_matrix *m, int32_t r, int32_t first, int32_t n, float *out) {
    int32_t there = r >= m->rows ? 0 : m->k - first < n ? m->k - first : n;
    size_t at = (size_t)r * (size_t)m->k + (size_t)first;
    if (m->format == Q3T_FORMAT_F32 && there > 0) memcpy(out, (const char *)m->data + at * 4, (size_t)there * 4);
    for (int32_t i = 0; m->format == Q3T_FORMAT_BF16 && i < there; i++) {
        uint16_t half;
        memcpy(&half, (const char *)m->data + (at + (size_t)i) * 2, 2);
        out[i] = q3t_widen(half);
    }
    for (int32_t i = there; i < n; i++) out[i] = 0;
}

/* Largest |x|, NaN if one is not finite: as integers, the bits are in the order of the magnitudes. */
static float magnitude(const float *x, int32_t n) {
    int32_t most = 0;
    float value;
    for (int32_t i = 0; i < n; i++) {
        int32_t bits;
        memcpy(&bits, x + i, 4);
        bits &= INT32_MAX;
        most = bits > most ? bits : most;
    }
    memcpy(&value, &most, 4);
    return most >= Q3T_INFINITY_BITS ? NAN : value;
}

/* x within low .. high and to the nearest integer, ties to even: at this magnitude the sum has no room for a fraction.
 * The product that x may be is cut first, so it cannot be fused with the sum. */
static inline float level(float x, float low, float high) {
    const float no_fraction = 12582912;
    x = x > low ? x : low;
    x = x < high ? x : high;
    return (x + no_fraction) - no_fraction;
}

/* Round to bf16, ties to even. */
static uint16_t narrow(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    if (isnan(x)) return Q3T_NAN_BF16;
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

static void pack_int8(const q3t_matrix *m, int32_t block, uint8_t *out) {
    int32_t groups = (m->k + Q3T_GROUP_INT8 - 1) / Q3T_GROUP_INT8;
    uint8_t *scales = out + (size_t)groups * Q3T_GROUP_INT8 * Q3T_BLOCK;
    for (int32_t lane = 0; lane < Q3T_BLOCK; lane++) {
        float x[Q3T_GROUP_INT8], most = 0;
        int32_t row = block * Q3T_BLOCK + lane;
        for (int32_t g = 0; g < groups; g++) {
            widen(m, row, g * Q3T_GROUP_INT8, Q3T_GROUP_INT8, x);
            float here = magnitude(x, Q3T_GROUP_INT8);
            most = isnan(here) ? NAN : here > most ? here : most;
            if (isnan(most)) break;
        }
        float scale = most / LEVELS8, inverse = most >= Q3T_SMALLEST_GROUP ? LEVELS8 / most : 0;
        memcpy(scales + 4 * lane, &scale, 4);
        for (int32_t g = 0; g < groups; g++) {
            widen(m, row, g * Q3T_GROUP_INT8, Q3T_GROUP_INT8, x);
            for (int32_t i = 0; i < Q3T_GROUP_INT8; i++)
                out[(size_t)(g * Q3T_GROUP_INT8 + i) / 4 * 4 * Q3T_BLOCK + 4 * (size_t)lane + (size_t)i % 4] =
                    inverse > 0 ? (uint8_t)((int)level(x[i] * inverse, -LEVELS8, LEVELS8) + 128) : 128;
        }
    }
}

/* sum (x - scale * level)^2 as a function of `scale`, and the scale that fits the levels best. In lanes, so that the
 * compiler need not keep one order of the sums. */
static float error4(const float *x, float scale, float *fitted) {
    float inverse = 1 / scale, error[LANES] = {0}, xq[LANES] = {0}, qq[LANES] = {0};
    for (int32_t i = 0; i < Q3T_GROUP_INT4; i += LANES)
        for (int32_t j = 0; j < LANES; j++) {
            float q = level(x[i + j] * inverse, LOW4, HIGH4), d = x[i + j] - scale * q;
            error[j] += d * d;
            xq[j] += x[i + j] * q;
            qq[j] += q * q;
        }
    for (int32_t j = 1; j < LANES; j++) {
        error[0] += error[j];
        xq[0] += xq[j];
        qq[0] += qq[j];
    }
    *fitted = qq[0] > 0 ? xq[0] / qq[0] : scale;
    return error[0];
}

static uint16_t scale4(const float *x) {
    float most = magnitude(x, Q3T_GROUP_INT4), signed_most = 0;
    if (isnan(most)) return Q3T_NAN_BF16;
    if (most < Q3T_SMALLEST_GROUP) return 0;
    for (int32_t i = 0; i < Q3T_GROUP_INT4; i++)
        if (fabsf(x[i]) == most) signed_most = x[i];
    uint16_t best = narrow(signed_most / LOW4);
    float least = INFINITY;
    for (int32_t t = 0; t < TRIES; t++) {  /* the largest at -7.1 ... -8.9: beyond the range it is cut */
        float scale = -signed_most / (7.1f + 0.3f * (float)t), fitted, ignored;
        error4(x, scale, &fitted);
        uint16_t half = narrow(fitted);
        float error = error4(x, q3t_widen(half), &ignored);
        if (error < least) least = error, best = half;
    }
    return best;
}

static void pack_int4(const q3t_matrix *m, int32_t block, uint8_t *out) {
    int32_t groups = (m->k + Q3T_GROUP_INT4 - 1) / Q3T_GROUP_INT4;
    for (int32_t g = 0; g < groups; g++, out += q3t_group_bytes(Q3T_FORMAT_INT4)) {
        memset(out, 0, q3t_group_bytes(Q3T_FORMAT_INT4));
        for (int32_t lane = 0; lane < Q3T_BLOCK; lane++) {
            float x[Q3T_GROUP_INT4];
            widen(m, block * Q3T_BLOCK + lane, g * Q3T_GROUP_INT4, Q3T_GROUP_INT4, x);
            uint16_t half = scale4(x);
            float scale = q3t_widen(half), inverse = scale == 0 || isnan(scale) ? 0 : 1 / scale;
            memcpy(out + Q3T_GROUP_INT4 / 2 * Q3T_BLOCK + 4 * (lane % 16) + lane / 16 * 2, &half, 2);
            for (int32_t i = 0; i < Q3T_GROUP_INT4; i++) {
                uint8_t half_byte = (uint8_t)((inverse == 0 ? 0 : (int)level(x[i] * inverse, LOW4, HIGH4)) + 8);
                out[i / 8 * 4 * Q3T_BLOCK + 4 * lane + i % 4] |= (uint8_t)(i % 8 < 4 ? half_byte : half_byte << 4);
            }
        }
    }
}

void q3t_quant_pack(int32_t format, const q3t_matrix *m, int32_t block0, int32_t block1, void *out) {
    size_t bytes = q3t_block_bytes(format, m->k);
    for (int32_t block = block0; block < block1; block++) {
        uint8_t *to = (uint8_t *)out + (size_t)block * bytes;
        if (format == Q3T_FORMAT_INT8) pack_int8(m, block, to);
        else pack_int4(m, block, to);
    }
}
