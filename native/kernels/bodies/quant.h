/* kernels/bodies/quant.h - the kernels linear_int8 and linear_int4, the products of a matrix of INT8 or INT4 weights and columns,
 * and the kernels that prepare the columns (kernels/formats.h). Written with the vectors of kernels/bodies/vector.h.
 *
 * Sums over a group are integers and exact in any order. The groups of an element are added from the first to the last, each by
 * one fused multiply-add, so every instruction set gives the bits of kernels/scalar/quant.c.
 *
 * A tile is QUANT_VECTORS vectors of rows by a few columns. A narrow tile has two chains, independent sums that are added at the
 * end of a group, to hide the latency of the dot product. The including file defines
 *   QI, QB                 a vector of V_LEN int32; a vector of 4 * V_LEN bytes
 *   q_bytes q_quad         load a QB; load the same four bytes into every 32-bit lane of a QB
 *   q_set1 q_add q_float   set all lanes of a QI; add two QI; convert a QI to V
 *   q_scales(p, v)         the scales of an INT4 group, which begin at p, for rows v * V_LEN .. v * V_LEN + V_LEN - 1, as V
 *   QW, q8_weights         INT8 weights in the form that q8_dot takes; the conversion of a QB to QW
 *   Q8_ZERO                the offset that a weight in a QW still has, 128 or 0
 *   q8_dot(sum, w, x)      adds to each lane the dot product of four weights and four column values
 *   q4_low q4_high         the low and the high halves of the bytes
 *   Q4, q4_start q4_dot q4_sum   the sum of a group for INT4: begin it with q3t_group.start, add a dot product, convert it to QI
 *   q_largest(x, n)        the bits, as int32, of the largest |x|; x: n floats
 *   q_round(out, x, inverse, n)  out = x * inverse, rounded to int8; returns the sum of out
 *   QUANT_TILES(X)         a list of X(cols, chains), the sizes of the tiles, from the widest to one column
 *   QUANT_VECTORS          vectors of rows in a tile
 *   QUANT_TILE_COLS        columns of the widest tile whose totals stay in registers
 *   QUANT_SINGLE_COLS      columns of the widest tile: up to this number all columns are one tile, which reads the weights once;
 *                          more columns are cut into tiles of QUANT_TILE_COLS, which are faster */
#ifdef __clang__
#define Q_UNROLL _Pragma("clang loop unroll(full)")
#define Q_UNROLL_2 _Pragma("clang loop unroll_count(2)")
#else
#define Q_UNROLL _Pragma("GCC unroll 16")
#define Q_UNROLL_2 _Pragma("GCC unroll 2")
#endif
enum { QUANT_ROW = 4 * Q3T_BLOCK,    /* a byte row: the bytes of a block that hold the same four inputs (INT4: eight) of all rows */
       QUANT_AHEAD = 8192,           /* prefetch distance in bytes: the hardware prefetcher stops at the end of a page */
       QUANT_COLS = 8, QUANT_CHAINS = 2 };
#ifndef Q8_ZERO
enum { Q8_ZERO = 128 };
#endif

/* The prefetch address of a tile that is `offset` bytes into its block: from + (offset >> shift). If several tiles multiply the
 * same block, each prefetches a part of the next block. */
typedef struct quant_prefetch {
    const uint8_t *from;
    int shift;
} quant_prefetch;

/* Pointers to every third prepared column of a tile: x to its values, g to its q3t_group structs. With a pointer to every column,
 * the vectors would not all stay in registers. ldx: bytes from one column to the next. */
typedef struct quant_columns {
    const int8_t *x[(QUANT_COLS + 2) / 3], *g[(QUANT_COLS + 2) / 3];
    size_t ldx;
} quant_columns;

#define QUANT_X(at, c) ((at)->x[(c) / 3] + (c) % 3 * (at)->ldx)
#define QUANT_G(at, c) ((const q3t_group *)(const void *)((at)->g[(c) / 3] + (c) % 3 * (at)->ldx))
/* Hides from the compiler how the addresses were computed: it would otherwise keep a pointer to every column. */
#define QUANT_HIDE(at) __asm__("" : "+r"((at)->x[0]), "+r"((at)->g[0]), "+r"((at)->ldx))

/* Prepare the column x (k,) in groups of `group` values. zero: the offset of the unsigned weights, 128 (INT8) or 8 (INT4). */
V_INLINE void quant_column(const int group, const int zero, void *act, const float *x, int32_t k) {
    int8_t *out = act;
    q3t_group *g = (q3t_group *)(out + (k + group - 1) / group * group);
    for (int32_t i = 0; i < k; i += group, g++) {
        float padded[Q3T_GROUP_INT8];
        const float *from = x + i;
        if (k - i < group) {
            memset(padded, 0, sizeof padded);
            memcpy(padded, from, (size_t)(k - i) * sizeof *x);
            from = padded;
        }
        const int32_t bits = q_largest(from, group);
        float largest, inverse = 0;
        memcpy(&largest, &bits, sizeof largest);
        *g = (q3t_group){0, 0};
        if (bits >= Q3T_INFINITY_BITS) g->scale = q3t_widen(Q3T_NAN_BF16);
        else if (largest >= Q3T_SMALLEST_GROUP) g->scale = largest / 127, inverse = 127 / largest;
        if (inverse > 0) g->start = -zero * q_round(out + i, from, inverse, group);
        else memset(out + i, 0, (size_t)group);
    }
}

static Q3T_PREPARE(prepare_int8) { quant_column(Q3T_GROUP_INT8, 128, act, x, k); }
static Q3T_PREPARE(prepare_int4) { quant_column(Q3T_GROUP_INT4, 8, act, x, k); }

/* Returns which part of the next block a tile prefetches. The tile has the columns [c, c + width) of `cols` columns. If there are
 * two tiles, each prefetches half of the block; if there are more, the first four prefetch a quarter each, and the last one the
 * second half. */
V_INLINE quant_prefetch quant_part(const uint8_t *w, size_t block_bytes, int32_t c, int32_t width, int32_t cols) {
    const int shift = cols <= 2 * width || c + width == cols ? 1 : 2;
    const size_t part = shift == 1 ? c > 0 : c / width;
    return (quant_prefetch){part < 4 ? w + block_bytes + (block_bytes >> shift) * part : w, shift};
}

/* Prefetch for byte row `row` of a group: if the tile is the only one (alone is 1), the cache lines that hold the same rows as the
 * tile, else one cache line. */
#define QUANT_FETCH(row) \
    if (alone) { \
        Q_UNROLL for (size_t line = 0; line < QUANT_VECTORS * sizeof(QB); line += 64) \
            __builtin_prefetch(ahead + (size_t)(row) * QUANT_ROW + line); \
    } else { \
        __builtin_prefetch(ahead + (size_t)(row) * (QUANT_ROW / 2)); \
    }

/* sum = the dot products of one group of INT8 weights and the columns. w: address of the first byte row of the group, at the first
 * row of the tile. */
V_INLINE void quant_group_int8(const int cols, const int chains, const int alone, const uint8_t *w, const uint8_t *ahead, quant_columns *at,
                               QI sum[QUANT_VECTORS][QUANT_COLS]) {
    QI part[QUANT_CHAINS][QUANT_VECTORS][QUANT_COLS];
    Q_UNROLL for (int c = 0; c < cols; c++)
        Q_UNROLL for (int v = 0; v < QUANT_VECTORS; v++) {
            part[0][v][c] = q_set1(Q8_ZERO ? QUANT_G(at, c)->start : 0);
            part[1][v][c] = q_set1(0);
        }
    Q_UNROLL_2 for (int quad = 0; quad < Q3T_GROUP_INT8 / 4; quad += chains)
        Q_UNROLL for (int chain = 0; chain < chains; chain++) {
            QW weights[QUANT_VECTORS];
            QUANT_HIDE(at);
            QUANT_FETCH(quad + chain)
            Q_UNROLL for (int v = 0; v < QUANT_VECTORS; v++)
                weights[v] = q8_weights(q_bytes(w + (size_t)(quad + chain) * QUANT_ROW + v * sizeof(QB)));
            Q_UNROLL for (int c = 0; c < cols; c++) {
                QB four = q_quad(QUANT_X(at, c) + (quad + chain) * 4);
                Q_UNROLL for (int v = 0; v < QUANT_VECTORS; v++) part[chain][v][c] = q8_dot(part[chain][v][c], weights[v], four);
            }
        }
    Q_UNROLL for (int c = 0; c < cols; c++)
        Q_UNROLL for (int v = 0; v < QUANT_VECTORS; v++)
            sum[v][c] = chains > 1 ? q_add(part[0][v][c], part[1][v][c]) : part[0][v][c];
}

/* As quant_group_int8, for INT4: the low halves of a byte row hold four inputs, the high halves hold the next four. */
V_INLINE void quant_group_int4(const int cols, const int chains, const int alone, const uint8_t *w, const uint8_t *ahead, quant_columns *at,
                               QI sum[QUANT_VECTORS][QUANT_COLS]) {
    Q4 part[QUANT_CHAINS][QUANT_VECTORS][QUANT_COLS];
    Q_UNROLL for (int c = 0; c < cols; c++)
        Q_UNROLL for (int v = 0; v < QUANT_VECTORS; v++) {
            part[0][v][c] = q4_start(QUANT_G(at, c)->start);
            part[1][v][c] = q4_start(0);
        }
    Q_UNROLL_2 for (int row = 0; row < Q3T_GROUP_INT4 / 8; row++) {
        QB low[QUANT_VECTORS], high[QUANT_VECTORS];
        QUANT_HIDE(at);
        QUANT_FETCH(row)
        Q_UNROLL for (int v = 0; v < QUANT_VECTORS; v++) {
            QB both = q_bytes(w + (size_t)row * QUANT_ROW + v * sizeof(QB));
            low[v] = q4_low(both);
            high[v] = q4_high(both);
        }
        Q_UNROLL for (int c = 0; c < cols; c++) {
            QB first = q_quad(QUANT_X(at, c) + row * 8), second = q_quad(QUANT_X(at, c) + row * 8 + 4);
            Q_UNROLL for (int v = 0; v < QUANT_VECTORS; v++) {
                part[0][v][c] = q4_dot(part[0][v][c], low[v], first);
                part[chains - 1][v][c] = q4_dot(part[chains - 1][v][c], high[v], second);
            }
        }
    }
    Q_UNROLL for (int c = 0; c < cols; c++)
        Q_UNROLL for (int v = 0; v < QUANT_VECTORS; v++) {
            sum[v][c] = q4_sum(part[0][v][c], QUANT_G(at, c)->start);
            if (chains > 1) sum[v][c] = q_add(sum[v][c], q4_sum(part[1][v][c], 0));
        }
}

/* Multiply the block at w by `cols` columns; writes all Q3T_BLOCK rows of y. alone: 1 if these are all the columns of the call. */
V_INLINE void quant_tile(const int format, const int cols, const int chains, const int alone, const uint8_t *w, int32_t k,
                         quant_prefetch ahead, const int8_t *x, size_t ldx, float *y, size_t ldy) {
    const int group = format == Q3T_FORMAT_INT8 ? Q3T_GROUP_INT8 : Q3T_GROUP_INT4;
    const int32_t groups = (k + group - 1) / group;
    const size_t step = q3t_quant_group_bytes(format), scale_at = format == Q3T_FORMAT_INT8 ? groups * step : step - 2 * Q3T_BLOCK;
    for (int v0 = 0; v0 < Q3T_BLOCK / V_LEN; v0 += QUANT_VECTORS) {
        V total[QUANT_VECTORS][QUANT_COLS];
        quant_columns at = {.ldx = ldx};
        Q_UNROLL for (int c = 0; c < cols; c += 3) {
            at.x[c / 3] = x + c * ldx;
            at.g[c / 3] = at.x[c / 3] + (size_t)groups * group;
        }
        Q_UNROLL for (int c = 0; c < cols; c++)
            Q_UNROLL for (int v = 0; v < QUANT_VECTORS; v++) total[v][c] = v_set1(0);
        for (size_t offset = 0, end = groups * step; offset < end; offset += step) {
            const uint8_t *here = w + offset + v0 * sizeof(QB);
            const uint8_t *fetch = ahead.from + (offset >> ahead.shift) + (alone ? v0 * sizeof(QB) : 0);
            QI sum[QUANT_VECTORS][QUANT_COLS];
            V scale[QUANT_VECTORS];
            if (format == Q3T_FORMAT_INT8) {
                quant_group_int8(cols, chains, alone, here, fetch, &at, sum);
            } else {
                quant_group_int4(cols, chains, alone, here, fetch, &at, sum);
                __builtin_prefetch(ahead.from + ((offset + scale_at) >> ahead.shift));
                Q_UNROLL for (int v = 0; v < QUANT_VECTORS; v++) scale[v] = q_scales(w + offset + scale_at, v0 + v);
            }
            Q_UNROLL for (int c = 0; c < cols; c++) {
                V s = v_set1(QUANT_G(&at, c)->scale);
                Q_UNROLL for (int v = 0; v < QUANT_VECTORS; v++)
                    total[v][c] = v_fma(q_float(sum[v][c]), format == Q3T_FORMAT_INT8 ? s : v_mul(scale[v], s), total[v][c]);
            }
            Q_UNROLL for (int c = 0; c < cols; c += 3) {
                at.x[c / 3] += group;
                at.g[c / 3] += sizeof(q3t_group);
            }
        }
        Q_UNROLL for (int c = 0; c < cols; c++)
            Q_UNROLL for (int v = 0; v < QUANT_VECTORS; v++) {
                const int row = (v0 + v) * V_LEN;
                V row_scale = format == Q3T_FORMAT_INT8 ? v_load((const float *)(w + scale_at) + row) : v_set1(1);
                v_store(y + c * ldy + row, format == Q3T_FORMAT_INT8 ? v_mul(total[v][c], row_scale) : total[v][c]);
            }
    }
}

/* Multiply rows [row0, row1) by `cols` columns. A block that is only partly in the range is computed whole, then copied in part. */
V_INLINE void quant_rows(const int format, const q3t_matrix *m, int32_t row0, int32_t row1, const void *act, int32_t cols,
                         float *y, size_t ldy) {
    const size_t ldx = q3t_act_bytes(m->k), block_bytes = q3t_quant_block_bytes(format, m->k);
    for (int32_t block = row0 / Q3T_BLOCK; block * Q3T_BLOCK < row1; block++) {
        const uint8_t *w = (const uint8_t *)m->data + (size_t)block * block_bytes;
        const int32_t first = block * Q3T_BLOCK, begin = row0 > first ? row0 - first : 0;
        const int32_t end = row1 - first < Q3T_BLOCK ? row1 - first : Q3T_BLOCK;
        float rows[QUANT_COLS][Q3T_BLOCK];
        for (int32_t c = 0; c < cols;) {
            const int8_t *x = (const int8_t *)act + (size_t)c * ldx;
            const int whole = end - begin == Q3T_BLOCK;
            float *to = whole ? y + (size_t)c * ldy + first : rows[0];
            const size_t stride = whole ? ldy : Q3T_BLOCK;
            const int32_t left = cols - c, tiles = left <= QUANT_SINGLE_COLS ? 1 : (left + QUANT_TILE_COLS - 1) / QUANT_TILE_COLS;
            const int32_t most = (left + tiles - 1) / tiles;
            int32_t done = 0;
#define QUANT_PASS(width, chains) \
            if (!done && most >= width) { \
                if (cols <= width) quant_tile(format, width, chains, 1, w, m->k, (quant_prefetch){w + QUANT_AHEAD, 0}, x, ldx, to, stride); \
                else quant_tile(format, width, chains, 0, w, m->k, quant_part(w, block_bytes, c, width, cols), x, ldx, to, stride); \
                done = width; \
            }
            QUANT_TILES(QUANT_PASS)
#undef QUANT_PASS
            for (int32_t i = 0; !whole && i < done; i++)
                memcpy(y + (size_t)(c + i) * ldy + first + begin, rows[i] + begin, (size_t)(end - begin) * sizeof *y);
            c += done;
        }
    }
}

static Q3T_LINEAR(linear_int8) { quant_rows(Q3T_FORMAT_INT8, m, row0, row1, act, cols, y, ldy); }
static Q3T_LINEAR(linear_int4) { quant_rows(Q3T_FORMAT_INT4, m, row0, row1, act, cols, y, ldy); }
