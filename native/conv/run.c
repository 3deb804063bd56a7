/* conv/run.c - splits convolutions over the threads of a pool.
 *
 * If the weights do not fit in a core's L2 cache but the input does, or if there are few rows, the work is split by panels of
 * outputs, so that one thread reads a panel. Otherwise it is split by rows. In both cases a thread runs the epilogue on each
 * tile of rows while its values are in the cache. */
#include "conv/run.h"
#include "conv/pack.h"
#include <math.h>

enum { MAX_TILE = 96,           /* most rows in a tile: a panel is read once for each tile, whose rows stay in the L2 cache */
       MIN_TILE = 12,           /* least rows in a tile: kernels compute about this many rows at a time */
       RESIDENT = 5 << 18 };    /* bytes that stay in a core's L2 cache during a step */

static size_t weight_bytes(const q3t_conv *c) {
    return (size_t)q3t_panels(c->out) * (size_t)c->taps * (size_t)c->in * Q3T_BLOCK * sizeof(float);
}

static size_t row_stride(const q3t_conv_step *s) { return s->ldy ? s->ldy : (size_t)s->conv->out; }

/* ------------------------------------------------------------ epilogue */
/* out = snake(x) for n elements; x[0] and out[0] belong to column n0. */
static void snake(const q3t_kernels *k, const q3t_conv_step *s, float *out, const float *x, int32_t n0, int32_t n) {
    if (n0 % s->channels == 0 && n % s->channels == 0) {
        k->snake(out, x, s->snake.alpha, s->snake.inv_beta, s->channels, n / s->channels);
        return;
    }
    for (int32_t i = 0, some; i < n; i += some) {
        int32_t channel = (n0 + i) % s->channels;
        some = q3t_min(s->channels - channel, n - i);
        k->snake(out + i, x + i, s->snake.alpha + channel, s->snake.inv_beta + channel, some, 1);
    }
}

/* Apply the epilogue to n elements from column n0 on, in the row that begins at y[row]. */
static void apply(const q3t_kernels *k, const q3t_conv_step *s, size_t row, int32_t n0, int32_t n) {
    size_t at = row + (size_t)n0;
    float *y = s->y + at;
    switch (s->epilogue) {
    case Q3T_EPILOGUE_NONE: break;
    case Q3T_EPILOGUE_ELU: k->elu(y, y, n); break;
    case Q3T_EPILOGUE_RELU:
        for (int32_t i = 0; i < n; i++) y[i] = y[i] < 0 ? 0 : y[i];
        break;
    case Q3T_EPILOGUE_GELU: k->gelu(y, n); break;
    case Q3T_EPILOGUE_TANH_RELU:
        for (int32_t i = 0; i < n; i++) y[i] = y[i] < 0 ? 0 : tanhf(y[i]);
        break;
    case Q3T_EPILOGUE_SNAKE: snake(k, s, s->out + at, y, n0, n); break;
    case Q3T_EPILOGUE_ADD: k->add(s->residual + at, y, n); break;
    case Q3T_EPILOGUE_ADD_SNAKE:
        k->add(s->residual + at, y, n);
        snake(k, s, s->out + at, s->residual + at, n0, n);
        break;
    case Q3T_EPILOGUE_ADD_SCALED: k->add_scaled(s->residual + at, y, s->scale + n0, n); break;
    }
}

void q3t_conv_epilogue(const q3t_kernels *k, const q3t_conv_step *s, int32_t t0, int32_t t1, int32_t n0, int32_t n1) {
    size_t ldy = row_stride(s);
    if (n1 - n0 == s->conv->out && ldy == (size_t)(n1 - n0) && s->epilogue != Q3T_EPILOGUE_ADD_SCALED) {
        apply(k, s, (size_t)t0 * ldy, 0, (t1 - t0) * s->conv->out);  /* rows without gaps: one call */
        return;
    }
    for (int32_t t = t0; t < t1; t++) apply(k, s, (size_t)t * ldy, n0, n1 - n0);
}

/* ------------------------------------------------------------ streams */
static int32_t streams_of(const q3t_conv_step *s) { return s->streams ? s->streams->count : 1; }

/* Returns the step for stream i alone: the gaps before the stream's rows are added to the pointers. The range of rows [*t0, *t1)
 * is reduced to the rows of the stream. */
static q3t_conv_step stream_step(const q3t_conv_step *s, int32_t i, int32_t *t0, int32_t *t1) {
    q3t_conv_step one = *s;
    if (!s->streams) return one;
    *t0 = q3t_max(*t0, s->streams->first[i] * s->frame_rows);
    *t1 = q3t_min(*t1, s->streams->first[i + 1] * s->frame_rows);
    one.x += (size_t)i * s->x_gap;
    one.y += (size_t)i * s->y_gap;
    if (one.out) one.out += (size_t)i * s->out_gap;
    return one;
}

/* ------------------------------------------------------------ splitting */
typedef struct split {
    const q3t_kernels *kernels;
    const q3t_conv_step *step, *second;
    int32_t tile, tiles;  /* rows in a tile; number of tiles */
} split;

/* Item: panel * tiles + tile. In this order consecutive items, which one thread does, have the same panel. */
static void panel_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    const split *p = arg;
    const q3t_conv_step *s = p->step;
    (void)worker;
    while (begin < end) {
        int32_t panel = begin / p->tiles, tile = begin % p->tiles, n = p->tiles == 1 ? end - begin : 1;
        for (int32_t i = 0; i < streams_of(s); i++) {
            int32_t t0 = tile * p->tile, t1 = q3t_min(t0 + p->tile, s->rows);
            const q3t_conv_step one = stream_step(s, i, &t0, &t1);
            if (t0 >= t1) continue;
            p->kernels->conv(s->conv, one.x, s->ldx, one.y, row_stride(s), t0, t1, panel, panel + n);
            q3t_conv_epilogue(p->kernels, &one, t0, t1, panel * Q3T_BLOCK, q3t_min((panel + n) * Q3T_BLOCK, s->conv->out));
        }
        begin += n;
    }
}

void q3t_conv_rows(const q3t_kernels *k, const q3t_conv_step *s, int32_t t0, int32_t t1) {
    for (int32_t i = 0; i < streams_of(s); i++) {
        int32_t from = t0, to = t1;
        const q3t_conv_step one = stream_step(s, i, &from, &to);
        if (from >= to) continue;
        /* panel by panel: a panel is read once and used for all rows of the tile */
        for (int32_t p = 0; p < q3t_panels(s->conv->out); p++) k->conv(s->conv, one.x, s->ldx, one.y, row_stride(s), from, to, p, p + 1);
        q3t_conv_epilogue(k, &one, from, to, 0, s->conv->out);
    }
}

static void row_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    const split *p = arg;
    (void)worker;
    for (int32_t i = begin; i < end; i++) {
        int32_t t0 = i * p->tile, t1 = q3t_min(t0 + p->tile, p->step->rows);
        q3t_conv_rows(p->kernels, p->step, t0, t1);
        if (p->second) q3t_conv_rows(p->kernels, p->second, t0, t1);
    }
}

/* Cut `rows` rows into about `parts` tiles. The rows of a tile are a multiple of 4, because kernels compute 4 rows at a time. */
static void cut(split *p, int32_t rows, int32_t parts) {
    p->tile = ((rows - 1) / parts / 4 + 1) * 4;
    p->tiles = (rows - 1) / p->tile + 1;
}

/* 1 if a step is to be split by rows. weights: bytes of its weights. */
static int by_rows(const q3t_conv_step *s, size_t weights, int32_t threads) {
    size_t input = (size_t)s->rows * s->ldx * sizeof(float);
    return s->rows >= MIN_TILE * threads && (weights <= RESIDENT || input > RESIDENT);
}

static void run_rows(split *p, q3t_pool *pool) {
    int32_t threads = q3t_pool_threads(pool), rows = p->step->rows;
    cut(p, rows, threads * ((rows - 1) / threads / MAX_TILE + 1));
    q3t_pool_run(pool, p->tiles, 1, row_task, p);
}

/* Split by panels, and cut the rows into as few tiles as keep all threads busy to the end. */
static void run_panels(split *p, q3t_pool *pool) {
    int32_t threads = q3t_pool_threads(pool), n = q3t_panels(p->step->conv->out);
    for (int32_t parts = 1;; parts++) {
        cut(p, p->step->rows, parts);
        int32_t items = n * p->tiles, whole = ((items - 1) / threads + 1) * threads;
        if (items * 10 >= whole * 9 || p->tile <= MIN_TILE) break;
    }
    int32_t items = n * p->tiles;
    q3t_pool_run(pool, items, p->tiles == 1 ? (items - 1) / (8 * threads) + 1 : 1, panel_task, p);
}

void q3t_conv_run(const q3t_kernels *k, q3t_pool *pool, const q3t_conv_step *step) {
    split p = {.kernels = k, .step = step};
    if (step->rows < 1) return;
    if (by_rows(step, weight_bytes(step->conv), q3t_pool_threads(pool))) run_rows(&p, pool);
    else run_panels(&p, pool);
}

void q3t_conv_run_pair(const q3t_kernels *k, q3t_pool *pool, const q3t_conv_step *first, const q3t_conv_step *second) {
    split p = {.kernels = k, .step = first, .second = second};
    if (first->rows >= 1 && by_rows(first, weight_bytes(first->conv) + weight_bytes(second->conv), q3t_pool_threads(pool))) {
        run_rows(&p, pool);
        return;
    }
    q3t_conv_run(k, pool, first);
    q3t_conv_run(k, pool, second);
}
