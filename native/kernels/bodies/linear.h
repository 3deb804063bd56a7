/* kernels/bodies/linear.h - y = W x for row-major weights, over the vectors of kernels/bodies/elementwise.h.
 *
 * An element is one vector chain along k and one sum over its lanes at the end.
 * A tile keeps rows x cols chains in registers; a strip of rows stays in cache
 * while all columns pass; and where there are many columns, k goes in chunks so
 * that the columns' part stays in L1, the chains waiting in `partial`. None of
 * this shows in the bits.
 *
 * The including file defines LINEAR_TILES(X), X(cols, rows) from wide to 1, and
 * LINEAR_LONG_ROWS, those of a tile of one or two columns where the rows are
 * long: rows one by one are read in the order they lie in, which hardware
 * follows best. With LINEAR_SPLIT it also defines v_half and v_dot, and how it
 * prepares a column. */
enum { LINEAR_STEP = 2 * V_LEN,   /* weights, and floats of a prepared column, that one step takes */
       LINEAR_STRIP = 32,         /* rows: as many as lm/layers.c hands out */
       LINEAR_CHUNK = 512,        /* of k */
       LINEAR_LONG = 1024,        /* of k, from there on a row is long */
       LINEAR_AHEAD = 8192,       /* few columns: weights are asked for as far ahead as this, or as a tile is large */
       CODED_CHUNK = 256,         /* of decoded weights, which are to stay in L1 too */
       LINEAR_ROWS = 8, LINEAR_COLS = 8 };  /* most of a tile */

#ifndef LINEAR_SPLIT
/* The weights that meet vector `half` of a step; bf16: the even, then the odd ones, as prepare_bf16 sorts the column. */
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

/* Where a step of a tile reads: every third row and column, and the strides between. */
typedef struct linear_at {
    const char *w[(LINEAR_ROWS + 2) / 3], *x[(LINEAR_COLS + 2) / 3];
    size_t row_bytes, column_bytes, ahead;  /* ahead: from a weight to the one to fetch meanwhile */
    const char *fetch;                      /* CODED, or few columns: what to fetch meanwhile, as much as a step takes */
} linear_at;

V_INLINE linear_at linear_start(const int rows, const int cols, const char *w, size_t row_bytes, const char *x,
                                size_t column_bytes, size_t ahead) {
    linear_at at = {.row_bytes = row_bytes, .column_bytes = column_bytes, .ahead = ahead};
    V_UNROLL for (int r = 0; r < rows; r += 3) at.w[r / 3] = w + r * row_bytes;
    V_UNROLL for (int c = 0; c < cols; c += 3) at.x[c / 3] = x + c * column_bytes;
    return at;
}

/* One step of a tile; the operand with fewer vectors is the one held. The empty asm hides where the values come
 * from: compilers otherwise keep a pointer to every row and column, and run out of registers for them. */
V_INLINE void linear_step(const int format, const int rows, const int cols, V sum[LINEAR_ROWS][LINEAR_COLS], linear_at *at) {
    V_UNROLL for (int half = 0; half < 2; half++) {
        V held[LINEAR_COLS];
        __asm__("" : "+r"(at->w[0]), "+r"(at->row_bytes), "+r"(at->column_bytes));
#define LINEAR_ROW(r) (at->w[(r) / 3] + (r) % 3 * at->row_bytes)
#define LINEAR_W(r) v_half(format, half, LINEAR_ROW(r))
#define LINEAR_X(c) v_held(v_load((const float *)(at->x[(c) / 3] + (c) % 3 * at->column_bytes) + half * V_LEN))
        if (cols < rows) {
            V_UNROLL for (int c = 0; c < cols; c++) held[c] = LINEAR_X(c);
            V_UNROLL for (int r = 0; r < rows; r++) {
                V v = LINEAR_W(r);
                V_UNROLL for (int c = 0; c < cols; c++) sum[r][c] = v_dot(format, v, held[c], sum[r][c]);
            }
        } else {
            V_UNROLL for (int r = 0; r < rows; r++) held[r] = v_held(LINEAR_W(r));
            V_UNROLL for (int c = 0; c < cols; c++) {
                V v = LINEAR_X(c);
                V_UNROLL for (int r = 0; r < rows; r++) sum[r][c] = v_dot(format, held[r], v, sum[r][c]);
            }
        }
#undef LINEAR_ROW
#undef LINEAR_W
#undef LINEAR_X
    }
    /* Few columns stream through the weights: hardware follows bytes that are asked for one after another, not rows in turn. */
    const int taken = rows * LINEAR_STEP * (format == Q3T_FORMAT_F32 ? 4 : 2);
    const int fetched = format == Q3T_FORMAT_CODED ? taken / 4 * 3 : cols <= 2 ? taken : 0;
    V_UNROLL for (int line = 0; line < fetched; line += 64) __builtin_prefetch(at->fetch + line);
    at->fetch += fetched;
    if (!fetched)
        V_UNROLL for (int r = 0; r < rows; r++) __builtin_prefetch(at->w[r / 3] + r % 3 * at->row_bytes + at->ahead);
    V_UNROLL for (int r = 0; r < rows; r += 3) at->w[r / 3] += LINEAR_STEP * (format == Q3T_FORMAT_F32 ? 4 : 2);
    V_UNROLL for (int c = 0; c < cols; c += 3) at->x[c / 3] += LINEAR_STEP * sizeof(float);
}

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

/* n weights of a tile at w and inputs at x; start: the first of their rows. y NULL: leave the chains in partial. */
V_INLINE void linear_tile(const int format, const int rows, const int cols, const char *w, size_t row_bytes, const float *x,
                          size_t ldx, size_t ahead, const char *fetch, int32_t n, int start, V (*partial)[LINEAR_COLS], float *y,
                          size_t ldy) {
    const size_t item = format == Q3T_FORMAT_F32 ? 4 : 2;
    V sum[LINEAR_ROWS][LINEAR_COLS];
    linear_at at = linear_start(rows, cols, w, row_bytes, (const char *)x, ldx * sizeof *x, ahead);
    int32_t i = 0;
    at.fetch = fetch;
    V_UNROLL for (int r = 0; r < rows; r++)
        V_UNROLL for (int c = 0; c < cols; c++) sum[r][c] = start ? v_set1(0) : partial[r][c];
    for (; i + LINEAR_STEP <= n; i += LINEAR_STEP) linear_step(format, rows, cols, sum, &at);
    if (i < n) {  /* the rows may end where the mapped file does */
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

/* The same for `count` rows, at most LINEAR_STRIP, in tiles of `rows`. CODED: fetch for each eight rows of the strip. */
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

/* Rows [row0, row1), at most LINEAR_STRIP, of `cols` columns. */
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
