/* kernels/scalar/quant.c - the kernels for INT8 and INT4 weights in plain C; the versions for other instruction sets give the same
 * bits. kernels/formats.h describes the formats. */
#include "kernels/table.h"
#include "q3t.h"
#include <math.h>

/* Quantise one group of a column, x (n,) with n <= group, to out (group,). zero: the offset of the unsigned weights, 128 or 8. */
static q3t_group quantise(int8_t *out, const float *x, int32_t n, int32_t group, int32_t zero) {
    float largest = 0;
    memset(out, 0, (size_t)group);
    for (int32_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) return (q3t_group){q3t_widen(Q3T_NAN_BF16), 0};
        largest = fabsf(x[i]) > largest ? fabsf(x[i]) : largest;
    }
    if (largest < Q3T_SMALLEST_GROUP) return (q3t_group){0, 0};
    q3t_group g = {largest / 127, 0};
    const float inverse = 127 / largest;
    for (int32_t i = 0; i < n; i++) {
        const float scaled = x[i] * inverse;
        out[i] = (int8_t)rintf(scaled);
        g.start -= zero * out[i];
    }
    return g;
}

static void quantise_column(void *act, const float *x, int32_t k, int32_t group, int32_t zero) {
    int8_t *out = act;
    q3t_group *g = (q3t_group *)(out + (k + group - 1) / group * group);
    for (int32_t i = 0; i < k; i += group) *g++ = quantise(out + i, x + i, k - i < group ? k - i : group, group, zero);
}

static Q3T_PREPARE(prepare_int8) { quantise_column(act, x, k, Q3T_GROUP_INT8, 128); }
static Q3T_PREPARE(prepare_int4) { quantise_column(act, x, k, Q3T_GROUP_INT4, 8); }

static const uint8_t *block_of(const q3t_matrix *m, int32_t row) {
    return (const uint8_t *)m->data + (size_t)(row / Q3T_BLOCK) * q3t_quant_block_bytes(m->format, m->k);
}

static Q3T_LINEAR(linear_int8) {
    const int32_t groups = (m->k + Q3T_GROUP_INT8 - 1) / Q3T_GROUP_INT8;
    for (int32_t c = 0; c < cols; c++) {
        const int8_t *x = (const int8_t *)act + (size_t)c * q3t_act_bytes(m->k);
        const q3t_group *g = (const q3t_group *)(x + (size_t)groups * Q3T_GROUP_INT8);
        for (int32_t r = row0; r < row1; r++) {
            const uint8_t *w = block_of(m, r) + 4 * (r % Q3T_BLOCK);
            const float *scales = (const float *)(block_of(m, r) + (size_t)groups * Q3T_GROUP_INT8 * Q3T_BLOCK);
            float total = 0;
            for (int32_t i = 0; i < groups; i++) {
                int32_t sum = 0;
                for (int32_t j = i * Q3T_GROUP_INT8; j < (i + 1) * Q3T_GROUP_INT8; j++)
                    sum += (w[(size_t)(j / 4) * 4 * Q3T_BLOCK + j % 4] - 128) * x[j];
                total = fmaf((float)sum, g[i].scale, total);
            }
            y[(size_t)c * ldy + r] = total * scales[r % Q3T_BLOCK];
        }
    }
}

static Q3T_LINEAR(linear_int4) {
    const int32_t groups = (m->k + Q3T_GROUP_INT4 - 1) / Q3T_GROUP_INT4, lane_count = Q3T_BLOCK / 2;
    for (int32_t c = 0; c < cols; c++) {
        const int8_t *x = (const int8_t *)act + (size_t)c * q3t_act_bytes(m->k);
        const q3t_group *g = (const q3t_group *)(x + (size_t)groups * Q3T_GROUP_INT4);
        for (int32_t r = row0; r < row1; r++) {
            const uint8_t *w = block_of(m, r);
            const int32_t lane = r % Q3T_BLOCK;
            float total = 0;
            for (int32_t i = 0; i < groups; i++, w += q3t_quant_group_bytes(Q3T_FORMAT_INT4)) {
                int32_t sum = g[i].start;
                for (int32_t j = 0; j < Q3T_GROUP_INT4; j++) {
                    const uint8_t both = w[j / 8 * 4 * Q3T_BLOCK + 4 * lane + j % 4];
                    sum += (j % 8 < 4 ? both & 15 : both >> 4) * x[i * Q3T_GROUP_INT4 + j];
                }
                uint16_t half;
                memcpy(&half, w + Q3T_GROUP_INT4 / 2 * Q3T_BLOCK + 4 * (lane % lane_count) + lane / lane_count * 2, sizeof half);
                const float scale = q3t_widen(half) * g[i].scale;
                total = fmaf((float)sum, scale, total);
            }
            y[(size_t)c * ldy + r] = total;
        }
    }
}

void q3t_kernels_init_scalar_quant(q3t_kernels *k) {
    static const char isa[] = "scalar";
    Q3T_SET(k, prepare_int8, isa);
    Q3T_SET(k, linear_int8, isa);
    Q3T_SET(k, prepare_int4, isa);
    Q3T_SET(k, linear_int4, isa);
}
