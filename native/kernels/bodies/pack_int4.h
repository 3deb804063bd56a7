/* kernels/bodies/pack_int4.h - packs an INT4 group of 32 inputs of 32 rows (kernels/formats.h). For each row it tries a few scales that
 * put the largest weight at or near the end of the range, and takes the scale with the least squared error. No product is fused
 * with a sum, so every instruction set gives the same bytes. */
#include "kernels/bodies/level.h"

enum { LOW4 = -8, HIGH4 = 7, CANDIDATES = 5 };

/* Choose scales (Q3T_BLOCK,), bf16, for the group x (inputs, rows). Candidate t maps the weight of largest magnitude in a row to
 * -end[t]. Let q be the levels of the row that this candidate gives, limited to -8 .. 7. For these levels the best scale is
 * sum(x q) / sum(q q), and its squared error is sum(x x) - sum(x q)^2 / sum(q q). So the candidate with the largest gain
 * sum(x q)^2 / sum(q q) is taken. The variable xq is sum(x q) divided by the scale of the candidate. */
static void scales_int4(const float (*x)[Q3T_BLOCK], uint16_t *scales) {
    float largest[Q3T_BLOCK] = {0}, best[Q3T_BLOCK] = {0}, gain[Q3T_BLOCK] = {0}, not_finite[Q3T_BLOCK] = {0};
    for (int32_t i = 0; i < Q3T_GROUP_INT4; i++)
        for (int32_t r = 0; r < Q3T_BLOCK; r++) {
            largest[r] = fabsf(x[i][r]) > fabsf(largest[r]) ? x[i][r] : largest[r];
            not_finite[r] += x[i][r] - x[i][r];  /* NaN if x is not finite, else 0 */
        }
    static const float end[CANDIDATES] = {7.1f, 7.5f, 7.9f, 8.3f, 8.7f};
    for (int32_t t = 0; t < CANDIDATES; t++) {
        float inverse[Q3T_BLOCK], xq[Q3T_BLOCK] = {0}, qq[Q3T_BLOCK] = {0};
        for (int32_t r = 0; r < Q3T_BLOCK; r++)
            inverse[r] = fabsf(largest[r]) < Q3T_SMALLEST_GROUP ? 0 : -end[t] / largest[r];
        for (int32_t i = 0; i < Q3T_GROUP_INT4; i++) {
            float product[Q3T_BLOCK];
            for (int32_t r = 0; r < Q3T_BLOCK; r++) {
                float q = level(x[i][r] * inverse[r], LOW4, HIGH4);
                product[r] = x[i][r] * inverse[r] * q;
                qq[r] += q * q;  /* integers below 2^24: the sum is exact even if it is fused */
            }
            __asm__ volatile("" : "+m"(product)); /* forces the products to be stored, and so rounded, before they are added */
            for (int32_t r = 0; r < Q3T_BLOCK; r++) xq[r] += product[r];
        }
        for (int32_t r = 0; r < Q3T_BLOCK; r++)
            if (qq[r] > 0 && xq[r] / inverse[r] * (xq[r] / qq[r]) / inverse[r] > gain[r]) {
                gain[r] = xq[r] / inverse[r] * (xq[r] / qq[r]) / inverse[r];
                best[r] = xq[r] / qq[r] / inverse[r];
            }
    }
    for (int32_t r = 0; r < Q3T_BLOCK; r++) scales[r] = isnan(not_finite[r]) ? Q3T_NAN_BF16 : q3t_narrow(best[r]);
}

/* A q3t_int4_packer (kernels/table.h). */
static void pack_group(const float (*x)[Q3T_BLOCK], uint8_t *out) {
    float inverse[Q3T_BLOCK];
    uint16_t scales[Q3T_BLOCK];
    scales_int4(x, scales);
    for (int32_t r = 0; r < Q3T_BLOCK; r++) {
        float scale = q3t_widen(scales[r]);
        inverse[r] = scale == 0 || isnan(scale) ? 0 : 1 / scale;
        memcpy(out + Q3T_GROUP_INT4 / 2 * Q3T_BLOCK + 4 * (r % 16) + r / 16 * 2, &scales[r], 2);
    }
    for (int32_t i = 0; i < Q3T_GROUP_INT4; i += 8)
        for (int32_t j = i; j < i + 4; j++)
            for (int32_t r = 0; r < Q3T_BLOCK; r++) {
                int low = (int)level(x[j][r] * inverse[r], LOW4, HIGH4) - LOW4, high = (int)level(x[j + 4][r] * inverse[r], LOW4, HIGH4) - LOW4;
                out[i / 8 * 4 * Q3T_BLOCK + 4 * r + j % 4] = (uint8_t)(inverse[r] == 0 ? 0x88 : low | high << 4);
            }
}
