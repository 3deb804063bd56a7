/* body_quant_wide.h - QUANT_WIDE columns or more by 4-bit weights: some groups of a block of rows become bytes once, in the
 * first cache, and meet all columns there. The same sums in the same order as in body_quant.h. For instruction sets where
 * QUANT_VECTORS make a block of rows and QUANT_HELD is 6. */
enum { QUANT_WIDE = 20,      /* splits into tiles of 5 and 6; fewer columns do not pay for the bytes */
       QUANT_WIDE_COLS = 64, /* at once */
       WIDE_GROUPS = 8 };    /* 8 KB of bytes */

/* Bytes (groups, quads, Q3T_BLOCK, 4) and scales. */
typedef struct quant_wide {
    _Alignas(64) uint8_t bytes[WIDE_GROUPS][Q3T_GROUP_INT4 / 4 * QUANT_ROW];
    float scale[WIDE_GROUPS][Q3T_BLOCK];
} quant_wide;

/* y (cols, Q3T_BLOCK) += `groups` groups of w by those at x, whose q3t_group stand to_group bytes on. */
V_INLINE void quant_wide_tile(const int cols, const quant_wide *w, int32_t groups, const int8_t *x, size_t ldx, size_t to_group,
                              float (*y)[Q3T_BLOCK]) {
    V total[QUANT_VECTORS][QUANT_COLS];
    quant_at at = {.ldx = ldx};
    Q_UNROLL for (int c = 0; c < cols; c += 3) {
        at.x[c / 3] = x + c * ldx;
        at.g[c / 3] = at.x[c / 3] + to_group;
    }
    Q_UNROLL for (int c = 0; c < cols; c++)
        Q_UNROLL for (int v = 0; v < QUANT_VECTORS; v++) total[v][c] = v_load(y[c] + v * V_LEN);
    for (int32_t group = 0; group < groups; group++) {
        QI sum[QUANT_VECTORS][QUANT_COLS];
        Q_UNROLL for (int c = 0; c < cols; c++)
            Q_UNROLL for (int v = 0; v < QUANT_VECTORS; v++) sum[v][c] = q_set1(QUANT_G(&at, c)->start);
        Q_UNROLL for (int quad = 0; quad < Q3T_GROUP_INT4 / 4; quad++) {
            QB held[QUANT_VECTORS];
            QUANT_HIDE(&at);
            Q_UNROLL for (int v = 0; v < QUANT_VECTORS; v++) held[v] = q_bytes(w->bytes[group] + quad * QUANT_ROW + v * sizeof(QB));
            Q_UNROLL for (int c = 0; c < cols; c++) {
                QB four = q_quad(QUANT_X(&at, c) + quad * 4);
                Q_UNROLL for (int v = 0; v < QUANT_VECTORS; v++) sum[v][c] = q4_dot(sum[v][c], held[v], four);
            }
        }
        V scale[QUANT_VECTORS];
        Q_UNROLL for (int v = 0; v < QUANT_VECTORS; v++) scale[v] = v_load(w->scale[group] + v * V_LEN);
        Q_UNROLL for (int c = 0; c < cols; c++) {
            V s = v_set1(QUANT_G(&at, c)->scale);
            Q_UNROLL for (int v = 0; v < QUANT_VECTORS; v++) total[v][c] = v_fma(q_float(sum[v][c]), v_mul(scale[v], s), total[v][c]);
        }
        Q_UNROLL for (int c = 0; c < cols; c += 3) {
            at.x[c / 3] += Q3T_GROUP_INT4;
            at.g[c / 3] += sizeof(q3t_group);
        }
    }
    Q_UNROLL for (int c = 0; c < cols; c++)
        Q_UNROLL for (int v = 0; v < QUANT_VECTORS; v++) v_store(y[c] + v * V_LEN, total[v][c]);
}

/* A block of rows at w by QUANT_WIDE .. QUANT_WIDE_COLS columns, into total (cols, Q3T_BLOCK). */
static void quant_wide_block(const uint8_t *w, int32_t k, int32_t cols, const int8_t *x, size_t ldx, float (*total)[Q3T_BLOCK]) {
    const int32_t all = (k + Q3T_GROUP_INT4 - 1) / Q3T_GROUP_INT4, tiles = (cols + QUANT_HELD - 1) / QUANT_HELD;
    const size_t step = q3t_group_bytes(Q3T_FORMAT_INT4);
    memset(total, 0, (size_t)cols * sizeof *total);
    for (int32_t g = 0; g < all; g += WIDE_GROUPS) {
        quant_wide wide;
        const int32_t groups = all - g < WIDE_GROUPS ? all - g : WIDE_GROUPS;
        for (int32_t i = 0; i < groups; i++, w += step) {
            Q_UNROLL for (int row = 0; row < Q3T_GROUP_INT4 / 8; row++)
                Q_UNROLL for (int v = 0; v < QUANT_VECTORS; v++) {
                    QB both = q_bytes(w + (size_t)row * QUANT_ROW + v * sizeof(QB));
                    uint8_t *out = wide.bytes[i] + (size_t)(2 * row) * QUANT_ROW + v * sizeof(QB);
                    q_put(out, q4_low(both));
                    q_put(out + QUANT_ROW, q4_high(both));
                }
            Q_UNROLL for (int v = 0; v < QUANT_VECTORS; v++) v_store(wide.scale[i] + v * V_LEN, q_scales(w + step - 2 * Q3T_BLOCK, v));
        }
        const size_t to_group = (size_t)(all - g) * Q3T_GROUP_INT4 + (size_t)g * sizeof(q3t_group);
        for (int32_t c = 0, tile = 0; tile < tiles; tile++) {
            const int32_t n = (cols - c + tiles - tile - 1) / (tiles - tile);
            const int8_t *at = x + (size_t)g * Q3T_GROUP_INT4 + (size_t)c * ldx;
            if (n == 6) quant_wide_tile(6, &wide, groups, at, ldx, to_group, total + c);
            else quant_wide_tile(5, &wide, groups, at, ldx, to_group, total + c);
            c += n;
        }
    }
}
