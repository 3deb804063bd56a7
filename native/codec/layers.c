/* codec/layers.c - the parallel steps of the decoder. In: windows of rows; out:
 * rows, in the window of the step that comes next.
 *
 * A convolution is split by panels of outputs where its weights are the larger
 * part, so that each is read by one thread, and by rows where the rows are. In
 * both cases what follows element by element is done before the next piece, on
 * values that are still in the cache. Which split is taken, and by how many
 * threads, never changes a bit: see kernels/table.h. */
#include "codec/internal.h"
#include "base/small.h"

enum { MAX_TILE = 96,           /* rows in a piece: a panel's weights are read once for each, its rows stay in the L2 */
       MIN_TILE = 12,           /* fewer leave the multipliers idle: kernels take about that many rows at a time */
       RESIDENT = 5 << 18 };    /* bytes of weights that stay in a core's L2 while it sweeps over rows */

static int32_t panels(const q3t_conv *c) { return (c->out + Q3T_BLOCK - 1) / Q3T_BLOCK; }
static size_t weight_bytes(const q3t_conv *c) {
    return (size_t)panels(c) * (size_t)c->taps * (size_t)c->in * Q3T_BLOCK * sizeof(float);
}

/* ------------------------------------------------------------ what follows a convolution */

/* out = snake(x) for columns [n0, n1) of one row; the channels of snake repeat along the row. */
static void snake_columns(const q3t_kernels *k, const q3t_conv_step *s, float *out, const float *x, int32_t n0, int32_t n1) {
    while (n0 < n1) {
        int32_t channel = n0 % s->channels, n = q3t_min(s->channels - channel, n1 - n0);
        k->snake(out + n0, x + n0, s->snake.alpha + channel, s->snake.inv_beta + channel, n, 1);
        n0 += n;
    }
}

void q3t_codec_then_columns(const q3t_kernels *k, const q3t_conv_step *s, int32_t t0, int32_t t1, int32_t n0, int32_t n1) {
    for (int32_t t = t0; t < t1; t++) {
        size_t at = (size_t)t * (size_t)s->conv->out;
        float *y = s->y + at;
        if (s->then == Q3T_THEN_GELU) k->gelu(y + n0, n1 - n0);
        if (s->then == Q3T_THEN_SNAKE) snake_columns(k, s, s->out + at, y, n0, n1);
        if (s->then == Q3T_THEN_ADD_SNAKE) {
            k->add(s->residual + at + n0, y + n0, n1 - n0);
            snake_columns(k, s, s->out + at, s->residual + at, n0, n1);
        }
        if (s->then == Q3T_THEN_ADD_SCALED) k->add_scaled(s->residual + at + n0, y + n0, s->scale + n0, n1 - n0);
    }
}

/* Whole rows: they are dense, so that each step is one call. */
void q3t_codec_then(const q3t_kernels *k, const q3t_conv_step *s, int32_t t0, int32_t t1) {
    size_t at = (size_t)t0 * (size_t)s->conv->out;
    int32_t n = (t1 - t0) * s->conv->out;
    if (s->then == Q3T_THEN_ADD_SNAKE) k->add(s->residual + at, s->y + at, n);
    if (s->then == Q3T_THEN_ADD_SNAKE || s->then == Q3T_THEN_SNAKE) {
        const float *x = s->then == Q3T_THEN_SNAKE ? s->y : s->residual;
        k->snake(s->out + at, x + at, s->snake.alpha, s->snake.inv_beta, s->channels, n / s->channels);
    } else {
        q3t_codec_then_columns(k, s, t0, t1, 0, s->conv->out);
    }
}

/* ------------------------------------------------------------ streams */
static int32_t streams_of(const q3t_conv_step *s) { return s->streams ? s->streams->count : 1; }

q3t_conv_step q3t_codec_stream(const q3t_conv_step *s, int32_t i, int32_t *t0, int32_t *t1) {
    q3t_conv_step one = *s;
    if (!s->streams) return one;
    int32_t from = s->streams->first[i] * s->frame_rows, to = s->streams->first[i + 1] * s->frame_rows;
    if (*t0 < from) *t0 = from;
    if (*t1 > to) *t1 = to;
    one.x += (size_t)i * s->x_gap;
    one.y += (size_t)i * s->y_gap;
    if (one.out) one.out += (size_t)i * s->out_gap;
    return one;
}

/* ------------------------------------------------------------ splitting */
typedef struct split {
    const q3t_kernels *kernels;
    const q3t_conv_step *step, *second;
    int32_t tile, tiles;  /* rows in a piece, pieces */
} split;

/* Item: panel * tiles + tile, so that a thread keeps to a panel. */
static void panel_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    const split *p = arg;
    const q3t_conv_step *s = p->step;
    (void)worker;
    while (begin < end) {
        int32_t panel = begin / p->tiles, tile = begin % p->tiles, n = p->tiles == 1 ? end - begin : 1;
        for (int32_t i = 0; i < streams_of(s); i++) {
            int32_t t0 = tile * p->tile, t1 = q3t_min(t0 + p->tile, s->rows);
            const q3t_conv_step one = q3t_codec_stream(s, i, &t0, &t1);
            if (t0 >= t1) continue;
            p->kernels->conv(s->conv, one.x, s->ldx, one.y, (size_t)s->conv->out, t0, t1, panel, panel + n);
            q3t_codec_then_columns(p->kernels, &one, t0, t1, panel * Q3T_BLOCK, q3t_min((panel + n) * Q3T_BLOCK, s->conv->out));
        }
        begin += n;
    }
}

void q3t_codec_sweep(const q3t_kernels *k, const q3t_conv_step *s, int32_t t0, int32_t t1) {
    for (int32_t i = 0; i < streams_of(s); i++) {
        int32_t from = t0, to = t1;
        const q3t_conv_step one = q3t_codec_stream(s, i, &from, &to);
        /* panel by panel: one is read once and used for all rows of the piece */
        for (int32_t p = 0; p < panels(s->conv) && from < to; p++)
            k->conv(s->conv, one.x, s->ldx, one.y, (size_t)s->conv->out, from, to, p, p + 1);
        if (from < to) q3t_codec_then(k, &one, from, to);
    }
}

static void row_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    const split *p = arg;
    (void)worker;
    for (int32_t i = begin; i < end; i++) {
        int32_t t0 = i * p->tile, t1 = q3t_min(t0 + p->tile, p->step->rows);
        q3t_codec_sweep(p->kernels, p->step, t0, t1);
        if (p->second) q3t_codec_sweep(p->kernels, p->second, t0, t1);
    }
}

/* Cut `rows` into `parts`; kernels lose little at any multiple of 4. */
static void cut(split *p, int32_t rows, int32_t parts) {
    p->tile = ((rows - 1) / parts / 4 + 1) * 4;
    p->tiles = (rows - 1) / p->tile + 1;
}

static int32_t by_rows(size_t bytes, int32_t rows, int32_t threads) {
    return bytes <= RESIDENT && rows >= MIN_TILE * threads;
}

static void run_rows(split *p, q3t_pool *pool, int32_t rows) {
    int32_t threads = q3t_pool_threads(pool);
    cut(p, rows, threads * ((rows - 1) / threads / MAX_TILE + 1));
    q3t_pool_run(pool, p->tiles, 1, row_task, p);
}

/* As few pieces of the rows as keep all threads busy to the end. */
static void run_panels(split *p, q3t_pool *pool, int32_t rows) {
    int32_t threads = q3t_pool_threads(pool), n = panels(p->step->conv);
    for (int32_t parts = 1;; parts++) {
        cut(p, rows, parts);
        int32_t items = n * p->tiles, whole = ((items - 1) / threads + 1) * threads;
        if (items * 10 >= whole * 9 || p->tile <= MIN_TILE) break;
    }
    int32_t items = n * p->tiles;
    q3t_pool_run(pool, items, p->tiles == 1 ? (items - 1) / (8 * threads) + 1 : 1, panel_task, p);
}

void q3t_codec_conv(const q3t_codec *c, q3t_pool *pool, const q3t_conv_step *step) {
    split p = {.kernels = c->kernels, .step = step};
    if (by_rows(weight_bytes(step->conv), step->rows, q3t_pool_threads(pool))) run_rows(&p, pool, step->rows);
    else run_panels(&p, pool, step->rows);
}

void q3t_codec_unit(const q3t_codec *c, const q3t_toom_scratch *scratch, q3t_pool *pool, const q3t_conv_step *first,
                    const q3t_conv_step *second) {
    if (first->conv->points) {
        q3t_toom_unit(c, scratch, pool, first, second);
    } else if (by_rows(weight_bytes(first->conv) + weight_bytes(second->conv), first->rows, q3t_pool_threads(pool))) {
        split p = {.kernels = c->kernels, .step = first, .second = second};
        run_rows(&p, pool, first->rows);
    } else {
        q3t_codec_conv(c, pool, first);
        q3t_codec_conv(c, pool, second);
    }
}

/* ------------------------------------------------------------ attention */
typedef struct attention {
    const q3t_codec *c;
    q3t_codec_work *w;
    int32_t layer;
} attention;

/* Rotate and store the keys of one KV head of a stream, then let its queries attend. */
static void attend(const attention *a, int32_t stream, int32_t head) {
    const q3t_codec *c = a->c;
    q3t_codec_work *w = a->w;
    q3t_codec_state *s = w->call[stream]->state;
    const q3t_kernels *k = c->kernels;
    const q3t_transformer_config *t = &c->config.codec;
    int32_t d = t->head_dim, half = d / 2, group = t->heads / t->kv_heads, window = c->config.sliding_window;
    int32_t at = (int32_t)(s->position - s->base), frames = q3t_stream_frames(w, stream), cache_head = a->layer * t->kv_heads + head;
    float *scores = w->scores + ((size_t)stream * (size_t)t->kv_heads + (size_t)head) * w->score_floats;
    for (int32_t i = 0; i < frames; i++) {
        size_t r = (size_t)(w->first[stream] + i);
        float *row = w->qkv + r * (size_t)c->qkv_width, *key = row + c->q_width + head * d;
        const float *cs = w->cos + r * (size_t)half, *sn = w->sin + r * (size_t)half;
        for (int32_t q = head * group; q < (head + 1) * group; q++) k->head_rope(row + q * d, NULL, cs, sn, d, 0);
        k->head_rope(key, NULL, cs, sn, d, 0);
        q3t_kv_store(&s->cache, cache_head, at + i, key, key + c->kv_width);
    }
    for (int32_t i = 0; i < frames; i++) {
        int32_t last = at + i, first = last + 1 > window ? last + 1 - window : 0;
        size_t r = (size_t)(w->first[stream] + i);
        q3t_kv_attend(k, &s->cache, cache_head, w->mixed + r * (size_t)c->q_width + head * group * d,
                      w->qkv + r * (size_t)c->qkv_width + head * group * d, group, first, last + 1 - first, scores);
    }
}

static void attend_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    const attention *a = arg;
    int32_t heads = a->c->config.codec.kv_heads;
    (void)worker;
    for (int32_t i = begin; i < end; i++) attend(a, i / heads, i % heads);
}

void q3t_codec_attend(const q3t_codec *c, q3t_codec_work *w, q3t_pool *pool, int32_t layer) {
    attention a = {.c = c, .w = w, .layer = layer};
    q3t_pool_run(pool, w->streams.count * c->config.codec.kv_heads, 1, attend_task, &a);
}

/* ------------------------------------------------------------ depthwise convolution and norm */
typedef struct depthwise {
    const q3t_codec *c;
    q3t_codec_work *w;
    int32_t stage, rows;  /* rows: for each frame */
} depthwise;

/* Rows [begin, end) of one stream, whose window is at x as that of the first would be. */
static void depthwise_rows(const depthwise *p, const float *x, int32_t begin, int32_t end) {
    const q3t_upsample *u = &p->c->up[p->stage];
    int32_t n = p->c->config.latent_dim;
    size_t at = (size_t)begin * (size_t)n;
    p->c->kernels->depthwise(p->w->up_h + at, x + at, u->depthwise, u->depthwise_bias, n, Q3T_TAPS, end - begin);
    for (int32_t t = begin; t < end; t++) {
        float *h = p->w->up_h + (size_t)t * (size_t)n;
        p->c->kernels->layernorm(h, h, u->norm, u->norm_bias, n, 1e-6f);
    }
}

static void depthwise_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    const depthwise *p = arg;
    const q3t_codec_work *w = p->w;
    size_t gap = q3t_window_history(p->c, Q3T_WIN_UP + p->stage);
    (void)worker;
    for (int32_t i = 0; i < w->streams.count; i++) {
        int32_t from = w->first[i] * p->rows, to = q3t_min(w->first[i + 1] * p->rows, end);
        if (from < begin) from = begin;
        if (from < to) depthwise_rows(p, w->window[Q3T_WIN_UP + p->stage] + (size_t)i * gap, from, to);
    }
}

void q3t_codec_depthwise(const q3t_codec *c, q3t_codec_work *w, q3t_pool *pool, int32_t i, int32_t rows) {
    depthwise p = {.c = c, .w = w, .stage = i, .rows = rows};
    q3t_pool_run(pool, w->first[w->streams.count] * rows, 4, depthwise_task, &p);
}
