/* codec/layers.c - runs the decoder's layers other than plain convolutions on the thread pool: residual units, attention, and
 * depthwise convolutions. */
#include "codec/internal.h"
#include "base/small.h"

void q3t_codec_unit(const q3t_codec *c, const q3t_toom_scratch *scratch, q3t_pool *pool, const q3t_conv_step *first,
                    const q3t_conv_step *second) {
    if (first->conv->points) q3t_toom_unit(c, scratch, pool, first, second);
    else q3t_conv_run_pair(c->kernels, pool, first, second);
}

/* ------------------------------------------------------------ attention */
typedef struct attention {
    const q3t_codec *c;
    q3t_codec_work *w;
    int32_t layer;
} attention;

/* The attention of one KV head of one stream: rotate the queries and keys of its positions, store keys and values in the KV
 * cache, then compute the output of each position. */
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

/* ------------------------------------------------------------ depthwise convolution, then layer norm */
typedef struct depthwise {
    const q3t_codec *c;
    q3t_codec_work *w;
    int32_t stage, rows;  /* the upsampling stage; its number of rows for each frame */
} depthwise;

/* Compute the output rows [begin, end), all of one stream. Output row t reads the input rows from x + t * latent_dim on. */
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
