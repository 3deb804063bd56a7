/* kernels/bodies/conv.h - the convolution kernel (Q3T_CONV in kernels/table.h), written with the vectors of
 * kernels/bodies/vector.h.
 *
 * A tile is CONV_VECTORS vectors of outputs in up to CONV_TIMES rows, called times here. Each vector of weights is multiplied by
 * one input, copied to all lanes, for each time. An element is summed in the order bias, taps, inputs. The (tap, input) pairs of
 * a panel are processed in chunks, so that the weights of a chunk stay in the L1 cache for all times; between chunks y holds the
 * partial sums, which are floats and lose nothing. Each tile of a chunk prefetches a part of the next chunk.
 * The including file defines CONV_VECTORS and CONV_TIMES. */
enum { CONV_CHUNK = 192,     /* (tap, input) pairs: 24 KB of a panel */
       CONV_LINE = 16,       /* floats in a cache line */
       CONV_NARROW = 4,      /* a convolution of at most this many outputs is vectorised along its inputs */
       CONV_COLUMN = 1024 }; /* only if an output has at most this many weights, which are copied to the stack */

/* One tile and one chunk: the pairs [j0, j1). */
typedef struct conv_part {
    const q3t_conv *c;
    const float *w, *bias;            /* of the first output of the tile: in its panel; in the bias of the convolution */
    const float *x;                   /* the oldest input row of the first time */
    float *y;                         /* the first output at the first time */
    size_t ldx, ldy;
    int32_t outs, j0, j1;             /* outs: number of outputs from the first of the tile to the last of the convolution */
    const float *fetch, *fetch_end;   /* weights to prefetch */
    int32_t fetch_step;               /* floats to prefetch for each pair: one cache line or two */
} conv_part;

V_INLINE void conv_tile(const int times, const conv_part *p) {
    const int whole = p->outs >= CONV_VECTORS * V_LEN;
    const float *fetch = p->fetch, *w = p->w + (size_t)p->j0 * Q3T_BLOCK;
    V sum[CONV_TIMES][CONV_VECTORS];
    V_UNROLL for (int t = 0; t < times; t++)
        V_UNROLL for (int n = 0; n < CONV_VECTORS; n++) {
            const float *y = p->y + t * p->ldy + n * V_LEN;
            const int32_t left = p->outs - n * V_LEN;
            if (!p->j0) sum[t][n] = v_load(p->bias + n * V_LEN);
            else if (whole) sum[t][n] = v_load(y);
            else sum[t][n] = left > 0 ? v_get(y, left) : v_set1(0);
        }
    for (int32_t j = p->j0, run; j < p->j1; j += run) {
        const int32_t tap = j / p->c->in, i0 = j % p->c->in;
        const float *row = p->x + (size_t)tap * p->c->dilation * p->ldx + i0;
        run = p->c->in - i0 < p->j1 - j ? p->c->in - i0 : p->j1 - j;
        for (int32_t i = 0; i < run; i++, w += Q3T_BLOCK, row++) {
            V weight[CONV_VECTORS];
            V_UNROLL for (int n = 0; n < CONV_VECTORS; n++) weight[n] = v_load(w + n * V_LEN);
            V_UNROLL for (int t = 0; t < times; t++) {
                V input = v_set1(row[t * p->ldx]);
                V_UNROLL for (int n = 0; n < CONV_VECTORS; n++) sum[t][n] = v_fma(weight[n], input, sum[t][n]);
            }
            if (fetch < p->fetch_end) {
                __builtin_prefetch(fetch);
                __builtin_prefetch(fetch + p->fetch_step - CONV_LINE);
                fetch += p->fetch_step;
            }
        }
    }
    V_UNROLL for (int t = 0; t < times; t++)
        V_UNROLL for (int n = 0; n < CONV_VECTORS; n++) {
            float *y = p->y + t * p->ldy + n * V_LEN;
            const int32_t left = p->outs - n * V_LEN;
            if (whole) v_store(y, sum[t][n]);
            else if (left > 0) v_put(y, sum[t][n], left);
        }
}

static void conv_times(int32_t times, const conv_part *p) {
#define CONV_CASE(n) case n: if (n <= CONV_TIMES) conv_tile(n <= CONV_TIMES ? n : 1, p); break;
    switch (times) {
        CONV_CASE(1) CONV_CASE(2) CONV_CASE(3) CONV_CASE(4) CONV_CASE(5) CONV_CASE(6)
        CONV_CASE(7) CONV_CASE(8) CONV_CASE(9) CONV_CASE(10) CONV_CASE(11) CONV_CASE(12)
    }
#undef CONV_CASE
}

/* Compute one output at up to eight times. A vector holds V_LEN inputs, and the lanes are summed at the end. w: (taps, in). */
V_INLINE void narrow_tile(const int times, const q3t_conv *c, const float *w, float bias, const float *x, size_t ldx, float *y,
                          size_t ldy) {
    V sum[8];
    V_UNROLL for (int t = 0; t < times; t++) sum[t] = v_set1(0);
    for (int32_t tap = 0; tap < c->taps; tap++, x += (size_t)c->dilation * ldx, w += c->in)
        for (int32_t i = 0; i < c->in; i += V_LEN) {
            V weight = v_get(w + i, c->in - i);
            V_UNROLL for (int t = 0; t < times; t++) sum[t] = v_fma(weight, v_get(x + t * ldx + i, c->in - i), sum[t]);
        }
    V_UNROLL for (int t = 0; t < times; t++) y[t * ldy] = bias + v_sum(sum[t]);
}

static void conv_narrow(const q3t_conv *c, const float *x, size_t ldx, float *y, size_t ldy, int32_t t0, int32_t t1) {
    float column[CONV_COLUMN];
    for (int32_t o = 0; o < c->out; o++) {
        int32_t t = t0;
        for (int32_t j = 0; j < c->taps * c->in; j++) column[j] = c->w[(size_t)j * Q3T_BLOCK + o];
        for (; t + 8 <= t1; t += 8) narrow_tile(8, c, column, c->bias[o], x + t * ldx, ldx, y + t * ldy + o, ldy);
        for (; t < t1; t++) narrow_tile(1, c, column, c->bias[o], x + t * ldx, ldx, y + t * ldy + o, ldy);
    }
}

static Q3T_CONV(conv) {
    const int32_t pairs = c->taps * c->in, tiles = (t1 - t0 + CONV_TIMES - 1) / CONV_TIMES;
    if (c->out <= CONV_NARROW && pairs <= CONV_COLUMN) {
        if (block0 == 0 && block1 > 0) conv_narrow(c, x, ldx, y, ldy, t0, t1);
        return;
    }
    conv_part p = {.c = c, .ldx = ldx, .ldy = ldy, .fetch_step = tiles > 1 ? CONV_LINE : 2 * CONV_LINE};
    for (int32_t o = block0 * Q3T_BLOCK; o < block1 * Q3T_BLOCK && o < c->out; o += CONV_VECTORS * V_LEN) {
        p.w = c->w + (size_t)(o / Q3T_BLOCK) * pairs * Q3T_BLOCK + o % Q3T_BLOCK;
        p.bias = c->bias + o;
        p.outs = c->out - o;
        for (p.j0 = 0; p.j0 < pairs; p.j0 = p.j1) {
            p.j1 = pairs - p.j0 > CONV_CHUNK ? p.j0 + CONV_CHUNK : pairs;
            p.fetch_end = p.w + (size_t)p.j1 * Q3T_BLOCK;
            for (int32_t i = 0, t = t0, next; i < tiles; i++, t = next) {
                next = t0 + (int32_t)((int64_t)(t1 - t0) * (i + 1) / tiles);
                p.x = x + t * ldx;
                p.y = y + t * ldy + o;
                p.fetch = p.fetch_end;
                p.fetch_end += ((p.j1 - p.j0) * (i + 1) / tiles - (p.j1 - p.j0) * i / tiles) * Q3T_BLOCK;
                conv_times(next - t, &p);
            }
        }
    }
}
