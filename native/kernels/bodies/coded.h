/* kernels/bodies/coded.h - the kernel linear_coded: the product of a matrix of CODED weights (kernels/formats.h) and columns.
 *
 * Weights are decoded to bf16 into a buffer in the L1 cache, and the exceptions are put in their places. linear_step of
 * kernels/bodies/linear.h then multiplies them, so an element has the bits of linear_bf16. For one or two columns, 128 inputs of
 * eight rows are decoded at a time; for more columns, a strip of rows is decoded once for CODED_COLS columns.
 *
 * An overlay includes <isa>/coded.h before this file. It defines CT, a register with the 16 high bytes; c_table, which loads CT;
 * and c_row, which decodes 128 weights. */
enum { CODED_AHEAD = 9216,            /* prefetch distance in bytes: the hardware prefetcher stops at the end of a page */
       CODED_BLOCKS = LINEAR_STRIP / Q3T_CODED_ROWS,
       CODED_COLS = 24, CODED_TILES = 5 };  /* LINEAR_TILES cuts 24 columns or fewer into at most 5 tiles */

/* How far a block of rows is decoded. */
typedef struct coded_cursor {
    const uint8_t *weights;
    const uint32_t *exception;        /* the next exception */
    CT table;
} coded_cursor;

V_INLINE coded_cursor coded_start(const uint8_t *block, int32_t k) {
    return (coded_cursor){block + q3t_coded_head_bytes(k), (const uint32_t *)(block + 16), c_table(block)};
}

/* Decode inputs [i, i + 128) of the eight rows of a block to bf16: row r goes to out + r * stride. Inputs >= k are set to 0. */
V_INLINE void coded_step(coded_cursor *at, int32_t i, int32_t k, uint16_t *out, const size_t stride) {
    for (int r = 0; r < Q3T_CODED_ROWS; r++, at->weights += Q3T_CODED_ROW_BYTES) c_row(out + r * stride, at->weights, at->table);
    for (; *at->exception >> 18 == (uint32_t)i / Q3T_CODED_STEP; at->exception++) {
        uint16_t *w = out + (*at->exception >> 15 & 7) * stride + (*at->exception >> 8 & 127);
        *w = (uint16_t)((*at->exception & 255) << 8 | (*w & 255));
    }
    for (int r = 0; r < Q3T_CODED_ROWS && k - i < Q3T_CODED_STEP; r++)
        memset(out + r * stride + (k - i), 0, (size_t)(Q3T_CODED_STEP - (k - i)) * sizeof *out);
}

/* Multiply the eight rows of a block by `cols` columns, one or two. */
V_INLINE void coded_tile(const int cols, const uint8_t *block, int32_t k, const float *x, size_t ldx, float *y, size_t ldy) {
    _Alignas(64) uint16_t w[Q3T_CODED_ROWS][Q3T_CODED_STEP];
    V sum[LINEAR_ROWS][LINEAR_COLS];
    coded_cursor at = coded_start(block, k);
    V_UNROLL for (int r = 0; r < Q3T_CODED_ROWS; r++)
        V_UNROLL for (int c = 0; c < cols; c++) sum[r][c] = v_set1(0);
    for (int32_t i = 0; i < k; i += Q3T_CODED_STEP) {
        linear_cursor from =
            linear_start(Q3T_CODED_ROWS, cols, (const char *)w, sizeof w[0], (const char *)(x + i), ldx * sizeof *x, 0);
        const int32_t end = k - i < Q3T_CODED_STEP ? k - i : Q3T_CODED_STEP;
        from.fetch = (const char *)at.weights + CODED_AHEAD;
        coded_step(&at, i, k, w[0], Q3T_CODED_STEP);
        for (int32_t j = 0; j < end; j += LINEAR_STEP) linear_step(Q3T_FORMAT_CODED, Q3T_CODED_ROWS, cols, sum, &from);
    }
    linear_store(Q3T_CODED_ROWS, cols, sum, y, ldy);
}

/* Multiply rows [row0, row1) by one or two columns. */
V_INLINE void coded_rows(const int cols, const q3t_matrix *m, int32_t row0, int32_t row1, const float *x, size_t ldx, float *y, size_t ldy) {
    for (int32_t first = row0 / Q3T_CODED_ROWS * Q3T_CODED_ROWS; first < row1; first += Q3T_CODED_ROWS) {
        const uint8_t *block = (const uint8_t *)m->data + (size_t)(first / Q3T_CODED_ROWS) * q3t_coded_block_bytes(m->k);
        const int32_t begin = row0 > first ? row0 - first : 0, end = row1 - first < Q3T_CODED_ROWS ? row1 - first : Q3T_CODED_ROWS;
        float rows[2][Q3T_CODED_ROWS];
        if (end - begin == Q3T_CODED_ROWS) {
            coded_tile(cols, block, m->k, x, ldx, y + first, ldy);
            continue;
        }
        coded_tile(cols, block, m->k, x, ldx, rows[0], Q3T_CODED_ROWS);
        for (int c = 0; c < cols; c++) memcpy(y + c * ldy + first + begin, rows[c] + begin, (size_t)(end - begin) * sizeof *y);
    }
}

/* Multiply rows [row0, row1), which lie in at most CODED_BLOCKS blocks, by at most CODED_COLS columns. */
V_INLINE void coded_strip(const q3t_matrix *m, int32_t row0, int32_t row1, const float *x, size_t ldx, int32_t cols, float *y, size_t ldy) {
    _Alignas(64) uint16_t w[LINEAR_STRIP][CODED_CHUNK];
    V partial[CODED_TILES][LINEAR_STRIP][LINEAR_COLS];
    coded_cursor at[CODED_BLOCKS];
    const int32_t first = row0 / Q3T_CODED_ROWS, blocks = (row1 - 1) / Q3T_CODED_ROWS - first + 1;
    for (int32_t b = 0; b < blocks; b++) at[b] = coded_start((const uint8_t *)m->data + (size_t)(first + b) * q3t_coded_block_bytes(m->k), m->k);
    for (int32_t k0 = 0, k1; k0 < m->k; k0 = k1) {
        int32_t c = 0, tile = 0;
        k1 = m->k - k0 > CODED_CHUNK ? k0 + CODED_CHUNK : m->k;
        for (int32_t b = 0; b < blocks; b++)
            for (int32_t i = k0; i < k1; i += Q3T_CODED_STEP) coded_step(&at[b], i, m->k, w[b * Q3T_CODED_ROWS] + (i - k0), CODED_CHUNK);
        /* The first tile of columns prefetches the next chunk of these rows, or the first chunk of the next strip. */
        const size_t step = k1 < m->k ? 0 : (CODED_BLOCKS - 1) * q3t_coded_block_bytes(m->k);
        const char *fetch[CODED_BLOCKS];
        for (int32_t b = 0; b < CODED_BLOCKS; b++) fetch[b] = (const char *)at[b < blocks ? b : 0].weights + step;
#define CODED_PASS(width, rows) \
        for (; c + width <= cols; c += width, tile++) { \
            linear_chunk(Q3T_FORMAT_CODED, rows, width, (const char *)w[row0 % Q3T_CODED_ROWS], sizeof w[0], row1 - row0, \
                         x + c * ldx + k0, ldx, 0, fetch, k1 - k0, k0 == 0, partial[tile], k1 < m->k ? NULL : y + c * ldy + row0, ldy); \
            for (int32_t b = 0; b < CODED_BLOCKS; b++) fetch[b] = (const char *)w; \
        }
        LINEAR_TILES(CODED_PASS)
#undef CODED_PASS
    }
}

static Q3T_LINEAR(linear_coded) {
    const size_t ldx = q3t_act_bytes(m->k) / sizeof(float);
    if (cols == 1) coded_rows(1, m, row0, row1, act, ldx, y, ldy);
    else if (cols == 2) coded_rows(2, m, row0, row1, act, ldx, y, ldy);
    else
        for (int32_t c = 0; c < cols; c += CODED_COLS)
            for (int32_t r = row0, next; r < row1; r = next) {
                next = r / Q3T_CODED_ROWS * Q3T_CODED_ROWS + LINEAR_STRIP;
                next = next < row1 ? next : row1;
                coded_strip(m, r, next, (const float *)act + c * ldx, ldx, cols - c < CODED_COLS ? cols - c : CODED_COLS, y + c * ldy, ldy);
            }
}
