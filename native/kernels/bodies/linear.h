/* kernels/bodies/linear.h - the kernels linear_f32 and linear_bf16: the product of a row-major matrix and columns, written with the
 * vectors of kernels/bodies/vector.h.
 *
 * An element of the product is accumulated along k in one vector, whose lanes are summed at the end. A tile of rows x cols elements
 * keeps these vectors in registers. A strip is up to LINEAR_STRIP rows, which stay in the cache while they are multiplied by all
 * columns. For more than two columns, k is processed in chunks, so that the chunk of the columns stays in the L1 cache; the array
 * `partial` holds the vectors between chunks. Tiles, strips and chunks do not change the order in which an element is summed.
 *
 * The including file defines two macros. LINEAR_TILES(X) is a list of X(cols, rows), the sizes of the tiles, from the widest to one
 * column. LINEAR_LONG_ROWS is the number of rows of a tile of one or two columns if the rows are long: with fewer rows at once,
 * memory is read more nearly in order, which hardware prefetchers follow best. If the including file also defines LINEAR_SPLIT, it
 * defines v_half, v_dot and prepare_bf16 itself, and this file defines no linear_f32. */
enum { LINEAR_STEP = 2 * V_LEN,   /* weights of a row, and floats of a prepared column, in one step */
       LINEAR_STRIP = 32,         /* rows in a strip: as many as lm/layers.c hands to a thread at a time */
       LINEAR_CHUNK = 512,        /* inputs in a chunk */
       LINEAR_LONG = 1024,        /* a row of at least this many inputs is long */
       LINEAR_AHEAD = 8192,       /* least prefetch distance, in bytes, for one or two columns */
       CODED_CHUNK = 256,         /* inputs in a chunk of decoded weights, which must fit in the L1 cache too */
       LINEAR_ROWS = 8, LINEAR_COLS = 8 };  /* most rows and columns of a tile */

#ifndef LINEAR_SPLIT
/* The weights for vector `half` (0 or 1) of a step. In bf16, vector 0 has the weights at even places and vector 1 those at odd
 * places; prepare_bf16 orders the column in the same way. */
V_INLINE V v_half(const int format, const int half, const char *w) {
    if (format == Q3T_FORMAT_F32) return v_load((const float *)w + half * V_LEN);
    return half ? v_odd(w) : v_even(w);
}
V_INLINE V v_dot(const int format, V w, V x, V sum) { return (void)format, v_accumulate(w, x, sum); }

static Q3T_PREPARE(prepare_f32) {
    memcpy(act, x, (size_t)k * sizeof *x);
    memset((float *)act + k, 0, (size_t)(-k & (LINEAR_STEP - 1)) * sizeof *x);
}

static Q3T_PREPARE(prepare_bf16) {
    float *out = act, tail[LINEAR_STEP] = {0};
    for (int32_t i = 0; i < k; i += LINEAR_STEP, x += LINEAR_STEP, out += LINEAR_STEP) {
        V even, odd;
        if (k - i < LINEAR_STEP) x = memcpy(tail, x, (size_t)(k - i) * sizeof *x);
        v_unzip(v_load(x), v_load(x + V_LEN), &even, &odd);
        v_store(out, even);
        v_store(out + V_LEN, odd);
    }
}
#endif

/* The addresses that a step of a tile reads: pointers to every third row of weights and to every third column, and the bytes from
 * one row or column to the next. */
typedef struct linear_cursor {
    const char *w[(LINEAR_ROWS + 2) / 3], *x[(LINEAR_COLS + 2) / 3];
    size_t row_bytes, column_bytes, ahead;  /* ahead: prefetch distance in bytes, for three or more columns */
    const char *fetch;                      /* CODED, or one or two columns: address from which a step prefetches */
} linear_cursor;

V_INLINE linear_cursor linear_start(const int rows, const int cols, const char *w, size_t row_bytes, const char *x,
                                size_t column_bytes, size_t ahead) {
    linear_cursor at = {.row_bytes = row_bytes, .column_bytes = column_bytes, .ahead = ahead};
    V_UNROLL for (int r = 0; r < rows; r += 3) at.w[r / 3] = w + r * row_bytes;
    V_UNROLL for (int c = 0; c < cols; c += 3) at.x[c / 3] = x + c * column_bytes;
    return at;
}

/* Add one step to the sums of a tile. If there are fewer columns than rows, the vectors of the columns stay in registers, otherwise
 * the vectors of the rows. The empty asm hides how the addresses were computed: compilers otherwise keep a pointer to every row
 * and column, and run out of registers. */
V_INLINE void linear_step(const int format, const int rows, const int cols, V sum[LINEAR_ROWS][LINEAR_COLS], linear_cursor *at) {
    V_UNROLL for (int half = 0; half < 2; half++) {
        V operand[LINEAR_COLS];
        __asm__("" : "+r"(at->w[0]), "+r"(at->row_bytes), "+r"(at->column_bytes));
#define LINEAR_ROW(r) (at->w[(r) / 3] + (r) % 3 * at->row_bytes)
#define LINEAR_W(r) v_half(format, half, LINEAR_ROW(r))
#define LINEAR_X(c) v_in_register(v_load((const float *)(at->x[(c) / 3] + (c) % 3 * at->column_bytes) + half * V_LEN))
        if (cols < rows) {
            V_UNROLL for (int c = 0; c < cols; c++) operand[c] = LINEAR_X(c);
            V_UNROLL for (int r = 0; r < rows; r++) {
                V v = LINEAR_W(r);
                V_UNROLL for (int c = 0; c < cols; c++) sum[r][c] = v_dot(format, v, operand[c], sum[r][c]);
            }
        } else {
            V_UNROLL for (int r = 0; r < rows; r++) operand[r] = v_in_register(LINEAR_W(r));
            V_UNROLL for (int c = 0; c < cols; c++) {
                V v = LINEAR_X(c);
                V_UNROLL for (int r = 0; r < rows; r++) sum[r][c] = v_dot(format, operand[r], v, sum[r][c]);
            }
        }
#undef LINEAR_ROW
#undef LINEAR_W
#undef LINEAR_X
    }
    /* With one or two columns the weights stream from memory: prefetch in the order of addresses, which the hardware follows,
     * rather than row by row. */
    const int step_bytes = rows * LINEAR_STEP * (format == Q3T_FORMAT_F32 ? 4 : 2);
    const int fetched = format == Q3T_FORMAT_CODED ? step_bytes / 4 * 3 : cols <= 2 ? step_bytes : 0;
    V_UNROLL for (int line = 0; line < fetched; line += 64) __builtin_prefetch(at->fetch + line);
    at->fetch += fetched;
    if (!fetched)
        V_UNROLL for (int r = 0; r < rows; r++) __builtin_prefetch(at->w[r / 3] + r % 3 * at->row_bytes + at->ahead);
    V_UNROLL for (int r = 0; r < rows; r += 3) at->w[r / 3] += LINEAR_STEP * (format == Q3T_FORMAT_F32 ? 4 : 2);
    V_UNROLL for (int c = 0; c < cols; c += 3) at->x[c / 3] += LINEAR_STEP * sizeof(float);
}

/* Sum the lanes of each element and store it: row r, column c at y[c * ldy + r]. */
V_INLINE void linear_store(const int rows, const int cols, V sum[LINEAR_ROWS][LINEAR_COLS], float *y, size_t ldy) {
    V_UNROLL for (int n = 0; n < rows * cols; n += 4) {
        float four[4];
        const int left = rows * cols - n;
#define LINEAR_NTH(i) (left > (i) ? sum[(n + (i)) % rows][(n + (i)) / rows] : v_set1(0))
        v_sum4(four, LINEAR_NTH(0), LINEAR_NTH(1), LINEAR_NTH(2), LINEAR_NTH(3));
#undef LINEAR_NTH
        V_UNROLL for (int j = 0; j < 4; j++)
            if (j < left) y[(n + j) / rows * ldy + (n + j) % rows] = four[j];
    }
}

/* Accumulate n inputs of a tile: weights at w, columns at x. start: 1 if these are the first inputs of the rows; 0 if `partial`
 * holds the sums of the inputs before. y: where to store the products; NULL: leave the sums in `partial`. */
V_INLINE void linear_tile(const int format, const int rows, const int cols, const char *w, size_t row_bytes, const float *x,
                          size_t ldx, size_t ahead, const char *fetch, int32_t n, int start, V (*partial)[LINEAR_COLS], float *y,
                          size_t ldy) {
    const size_t item = format == Q3T_FORMAT_F32 ? 4 : 2;
    V sum[LINEAR_ROWS][LINEAR_COLS];
    linear_cursor at = linear_start(rows, cols, w, row_bytes, (const char *)x, ldx * sizeof *x, ahead);
    int32_t i = 0;
    at.fetch = fetch;
    V_UNROLL for (int r = 0; r < rows; r++)
        V_UNROLL for (int c = 0; c < cols; c++) sum[r][c] = start ? v_set1(0) : partial[r][c];
    for (; i + LINEAR_STEP <= n; i += LINEAR_STEP) linear_step(format, rows, cols, sum, &at);
    if (i < n) {  /* copy the tail: reading a whole step could pass the end of the mapped file */
        float tail[LINEAR_ROWS][LINEAR_STEP];
        memset(tail, 0, sizeof tail);
        for (int r = 0; r < rows; r++) memcpy(tail[r], w + r * row_bytes + i * item, (n - i) * item);
        at = linear_start(rows, cols, (const char *)tail, sizeof tail[0], (const char *)(x + i), ldx * sizeof *x, 0);
        at.fetch = at.w[0];
        linear_step(format, rows, cols, sum, &at);
    }
    if (!y) {
        V_UNROLL for (int r = 0; r < rows; r++)
            V_UNROLL for (int c = 0; c < cols; c++) partial[r][c] = sum[r][c];
        return;
    }
    linear_store(rows, cols, sum, y, ldy);
}

V_INLINE size_t linear_ahead(size_t tile_bytes) { return tile_bytes > LINEAR_AHEAD ? tile_bytes : LINEAR_AHEAD; }

/* As linear_tile, for `count` rows, at most LINEAR_STRIP, in tiles of `rows` rows. CODED: fetch[b] is the address from which rows
 * 8 b .. 8 b + 7 of the strip prefetch. */
V_INLINE void linear_chunk(const int format, const int rows, const int cols, const char *w, size_t row_bytes, int32_t count, const float *x,
                           size_t ldx, size_t ahead, const char *const *fetch, int32_t n, int start, V (*partial)[LINEAR_COLS],
                           float *y, size_t ldy) {
    int32_t r = 0;
#define LINEAR_FETCH (format == Q3T_FORMAT_CODED ? fetch[r / 8] + r % 8 * (CODED_CHUNK / 2 * 3) : w + r * row_bytes + linear_ahead(rows * row_bytes))
#define LINEAR_NEXT(rows) \
        linear_tile(format, rows, cols, w + r * row_bytes, row_bytes, x, ldx, ahead, LINEAR_FETCH, n, start, partial + r, y ? y + r : NULL, ldy)
    for (; r + rows <= count; r += rows) LINEAR_NEXT(rows);
    for (; r < count; r++) LINEAR_NEXT(1);
#undef LINEAR_NEXT
#undef LINEAR_FETCH
}

/* Multiply rows [row0, row1), at most LINEAR_STRIP, by `cols` <= LINEAR_COLS columns. last: 1 if these are the last columns that
 * the strip is multiplied by; then the next strip is prefetched. */
V_INLINE void linear_strip(const int format, const int rows, const int cols, const q3t_matrix *m, int32_t row0, int32_t row1,
                           const float *x, size_t ldx, float *y, size_t ldy, int last) {
    const size_t item = format == Q3T_FORMAT_F32 ? 4 : 2, row_bytes = (size_t)m->k * item;
    const int32_t chunk = cols > 2 ? LINEAR_CHUNK : INT32_MAX;
    const char *w = (const char *)m->data + row0 * row_bytes;
    const size_t ahead = last ? LINEAR_STRIP * row_bytes : 0;
    V partial[LINEAR_STRIP][LINEAR_COLS];
    for (int32_t k0 = 0, k1; k0 < m->k; k0 = k1) {
        k1 = m->k - k0 > chunk ? k0 + chunk : m->k;
        linear_chunk(format, rows, cols, w + k0 * item, row_bytes, row1 - row0, x + k0, ldx, ahead, NULL, k1 - k0, k0 == 0, partial,
                     k1 < m->k ? NULL : y + row0, ldy);
    }
}

/* Multiply rows [row0, row1) by `cols` columns. */
V_INLINE void linear_rows(const int format, const q3t_matrix *m, int32_t row0, int32_t row1, const void *act, int32_t cols, float *y,
                     size_t ldy) {
    const size_t ldx = q3t_act_bytes(m->k) / sizeof(float);
    for (int32_t r0 = row0, r1; r0 < row1; r0 = r1) {
        r1 = row1 - r0 > LINEAR_STRIP ? r0 + LINEAR_STRIP : row1;
        int32_t c = 0;
#define LINEAR_PASS(width, rows) \
        for (; c + width <= cols; c += width) { \
            const float *x = (const float *)act + c * ldx; \
            const int last = c + width == cols; \
            if (width <= 2 && rows != LINEAR_LONG_ROWS && m->k >= LINEAR_LONG) \
                linear_strip(format, LINEAR_LONG_ROWS, width, m, r0, r1, x, ldx, y + c * ldy, ldy, last); \
            else linear_strip(format, rows, width, m, r0, r1, x, ldx, y + c * ldy, ldy, last); \
        }
        LINEAR_TILES(LINEAR_PASS)
#undef LINEAR_PASS
    }
}

#ifndef LINEAR_SPLIT
static Q3T_LINEAR(linear_f32) { linear_rows(Q3T_FORMAT_F32, m, row0, row1, act, cols, y, ldy); }
#endif
static Q3T_LINEAR(linear_bf16) { linear_rows(Q3T_FORMAT_BF16, m, row0, row1, act, cols, y, ldy); }
