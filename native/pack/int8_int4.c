/* pack/int8_int4.c - defines q3t_pack, and packs a matrix to INT8 and INT4, in which a weight is a small integer, its level, times a
 * scale. kernels/formats.h describes the layouts and how weights are rounded. */
#include "pack/matrix.h"
#include "base/arena.h"
#include "kernels/bodies/level.h"
#include <math.h>

enum { MAX8 = 127 };

static int32_t format_of(int32_t dtype) {
    return dtype == Q3T_CODED ? Q3T_FORMAT_CODED : dtype == Q3T_INT8 ? Q3T_FORMAT_INT8 : Q3T_FORMAT_INT4;
}

q3t_status q3t_pack_bytes(int32_t dtype, int64_t rows, int64_t columns, size_t *bytes) {
    if ((dtype != Q3T_INT8 && dtype != Q3T_INT4 && dtype != Q3T_CODED) || rows < 1 || columns < 1 || rows > INT32_MAX || columns > INT32_MAX || !bytes)
        return Q3T_E_ARGUMENT;
    if (dtype == Q3T_CODED) return q3t_coded_matrix_bytes((int32_t)rows, (int32_t)columns, bytes);
    return q3t_quant_matrix_bytes(format_of(dtype), (int32_t)rows, (int32_t)columns, bytes);
}

q3t_status q3t_pack(const q3t_tensor *t, int32_t dtype, int32_t block0, int32_t block1, void *packed) {
    size_t bytes;
    if (!t || t->dims != 2 || (t->dtype != Q3T_F32 && t->dtype != Q3T_BF16) || !t->data || !packed || (uintptr_t)packed % 64)
        return Q3T_E_ARGUMENT;
    Q3T_TRY(q3t_pack_bytes(dtype, t->shape[0], t->shape[1], &bytes));
    if (block0 < 0 || block0 > block1 || block1 > (t->shape[0] - 1) / Q3T_BLOCK + 1) return Q3T_E_ARGUMENT;
    if (dtype == Q3T_CODED && t->dtype != Q3T_BF16) return Q3T_E_ARGUMENT;
    q3t_matrix m = {t->dtype == Q3T_BF16 ? Q3T_FORMAT_BF16 : Q3T_FORMAT_F32, (int32_t)t->shape[0], (int32_t)t->shape[1], t->data};
    if (dtype == Q3T_CODED) return q3t_coded_pack(&m, block0 * (Q3T_BLOCK / Q3T_CODED_ROWS), block1 * (Q3T_BLOCK / Q3T_CODED_ROWS), packed);
    q3t_quant_pack(format_of(dtype), &m, block0, block1, packed);
    return Q3T_OK;
}

q3t_status q3t_quant_matrix_bytes(int32_t format, int32_t rows, int32_t k, size_t *bytes) {
    return q3t_mul(((size_t)rows + Q3T_BLOCK - 1) / Q3T_BLOCK, q3t_quant_block_bytes(format, k), bytes);
}

/* Copy elements [first, first + n) of row r to out as floats; elements beyond the matrix are 0. */
static void widen(const q3t_matrix *m, int32_t r, int32_t first, int32_t n, float *out) {
    int32_t count = r >= m->rows ? 0 : m->k - first < n ? m->k - first : n;
    size_t at = (size_t)r * (size_t)m->k + (size_t)first;
    if (m->format == Q3T_FORMAT_F32 && count > 0) memcpy(out, (const char *)m->data + at * 4, (size_t)count * 4);
    for (int32_t i = 0; m->format == Q3T_FORMAT_BF16 && i < count; i++) {
        uint16_t half;
        memcpy(&half, (const char *)m->data + (at + (size_t)i) * 2, 2);
        out[i] = q3t_widen(half);
    }
    for (int32_t i = count; i < n; i++) out[i] = 0;
}

/* Returns the largest |x| of x (n,), or NaN if an element is not finite. The bits of |x|, read as integers, have the order of
 * |x|. */
static float max_magnitude(const float *x, int32_t n) {
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

static void pack_int8(const q3t_matrix *m, int32_t block, uint8_t *out) {
    int32_t groups = (m->k + Q3T_GROUP_INT8 - 1) / Q3T_GROUP_INT8;
    uint8_t *scales = out + (size_t)groups * Q3T_GROUP_INT8 * Q3T_BLOCK;
    for (int32_t lane = 0; lane < Q3T_BLOCK; lane++) {
        float x[Q3T_GROUP_INT8], most = 0;
        int32_t row = block * Q3T_BLOCK + lane;
        for (int32_t g = 0; g < groups; g++) {
            widen(m, row, g * Q3T_GROUP_INT8, Q3T_GROUP_INT8, x);
            float group = max_magnitude(x, Q3T_GROUP_INT8);
            most = isnan(group) ? NAN : group > most ? group : most;
            if (isnan(most)) break;
        }
        float scale = most / MAX8, inverse = most >= Q3T_SMALLEST_GROUP ? MAX8 / most : 0;
        memcpy(scales + 4 * lane, &scale, 4);
        for (int32_t g = 0; g < groups; g++) {
            widen(m, row, g * Q3T_GROUP_INT8, Q3T_GROUP_INT8, x);
            for (int32_t i = 0; i < Q3T_GROUP_INT8; i++)
                out[(size_t)(g * Q3T_GROUP_INT8 + i) / 4 * 4 * Q3T_BLOCK + 4 * (size_t)lane + (size_t)i % 4] =
                    inverse > 0 ? (uint8_t)((int)level(x[i] * inverse, -MAX8, MAX8) + 128) : 128;
        }
    }
}

static void pack_int4(const q3t_matrix *m, int32_t block, q3t_int4_packer *pack, uint8_t *out) {
    int32_t groups = (m->k + Q3T_GROUP_INT4 - 1) / Q3T_GROUP_INT4;
    for (int32_t g = 0; g < groups; g++, out += q3t_quant_group_bytes(Q3T_FORMAT_INT4)) {
        float x[Q3T_GROUP_INT4][Q3T_BLOCK];
        for (int32_t r = 0; r < Q3T_BLOCK; r++) {
            float row[Q3T_GROUP_INT4];
            widen(m, block * Q3T_BLOCK + r, g * Q3T_GROUP_INT4, Q3T_GROUP_INT4, row);
            for (int32_t i = 0; i < Q3T_GROUP_INT4; i++) x[i][r] = row[i];
        }
        pack((const float(*)[Q3T_BLOCK])x, out);
    }
}

void q3t_quant_pack(int32_t format, const q3t_matrix *m, int32_t block0, int32_t block1, void *out) {
    size_t bytes = q3t_quant_block_bytes(format, m->k);
    q3t_int4_packer *pack = q3t_int4_packer_for(q3t_cpu_flags());
    for (int32_t block = block0; block < block1; block++) {
        uint8_t *to = (uint8_t *)out + (size_t)block * bytes;
        if (format == Q3T_FORMAT_INT8) pack_int8(m, block, to);
        else pack_int4(m, block, pack, to);
    }
}
