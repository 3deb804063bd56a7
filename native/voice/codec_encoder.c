/* voice/codec_encoder.c - runs the codec's encoder, which turns a recording into codes. In this order (k is the number of taps of
 * a convolution; k7 is a convolution of 7 taps):
 *
 *   convolutions   k7 from 1 channel to config.filters; in each stage, residual units x + k1(elu(k3(elu(x)))), then elu and a
 *                  convolution with k = 2 * stride to twice the channels; at the end elu and k3; result (rows, hidden)
 *   transformer    on all rows: layer norm, attention to the position itself and all earlier ones, gelu
 *   halving        a convolution with k = 2 * stride, whose input repeats its first and last row; one row for each frame
 *   quantizer      one semantic code, then acoustic codes; each acoustic code is of the residual that the acoustic codes before
 *                  it leave
 *
 * The convolutions are causal and take a few frames of the recording at a time: a window holds the rows before these frames.
 * Zeros fill the last stride. The transformer runs layer by layer on all positions, so that the KV cache of one layer is enough.
 * Source: modeling_mimi.py, MimiEncoder, MimiTransformerModel, MimiSplitResidualVectorQuantizer. */
#include "voice/codec_encoder.h"
#include "attention/kv_cache.h"
#include "base/small.h"
#include <math.h>
#include <stdlib.h>

enum { SEGMENT = 8,    /* frames that the convolutions take at a time */
       BLOCK = 128,    /* rows that the transformer and the quantizer take at a time */
       QUERIES = 16 }; /* positions whose attention is handed to a thread at a time */

/* The input of a convolution: `history` rows, the last of the segment before, then the rows of this segment. */
typedef struct window {
    float *x;                        /* (history + rows, channels) */
    int32_t history, channels;
} window;

/* The memory of one recording. */
typedef struct pass {
    const q3t_encoder *e;
    q3t_arena arena;
    int32_t rows, frames;            /* rows of the transformer; frames of codes */
    /* convolutions */
    window samples, unit[Q3T_ENCODER_STAGES][Q3T_ENCODER_UNITS], down[Q3T_ENCODER_STAGES], last;
    float *raw, *half;               /* rows of the largest stage: input of a stage; values between the convolutions of a unit */
    /* transformer */
    float *x;                        /* (halving + rows + halving, hidden): an edge, the rows, an edge */
    float *h, *qkv, *mixed, *wide;   /* (BLOCK, width of each): intermediate results of a layer */
    float *cos, *sin;                /* (rows, head_dim / 2) */
    q3t_kv_cache cache;              /* keys and values of one layer, f32 */
    float *scores;                   /* (threads, score_floats) */
    size_t score_floats;
    /* quantizer */
    float *latent, *residual, *dots; /* (BLOCK, hidden), (BLOCK, codebook_dim), (BLOCK, codebook_size) */
} pass;

/* Returns where the rows of this segment begin in a window. */
static float *rows_of(const window *w) { return w->x + (size_t)w->history * (size_t)w->channels; }

/* ------------------------------------------------------------ opening */
q3t_status q3t_encoder_open(const q3t_encoder_config *config, const q3t_tensor *tensors, size_t count,
                            const q3t_model_options *options, q3t_encoder **encoder) {
    if (!config || !tensors || !options || !encoder || options->threads < 1) return Q3T_E_ARGUMENT;
    q3t_encoder *e = calloc(1, sizeof *e);
    if (!e) return Q3T_E_MEMORY;
    e->config = *config;
    q3t_kernels_init(&e->kernels, q3t_cpu_flags() & options->cpu_mask);
    q3t_status status = q3t_encoder_pack(e, tensors, count, options->threads);
    if (status != Q3T_OK) {
        q3t_encoder_close(e);
        return status;
    }
    *encoder = e;
    return Q3T_OK;
}

void q3t_encoder_stop(q3t_encoder *e) {
    if (e) atomic_store(&e->stop, 1);
}

void q3t_encoder_close(q3t_encoder *e) {
    if (!e) return;
    q3t_pool_close(e->pool);
    q3t_arena_free(&e->arena);
    free(e);
}

/* ------------------------------------------------------------ memory of one recording */
static void carve_window(q3t_arena *a, window *w, int32_t history, int32_t rows, int32_t channels) {
    *w = (window){.history = history, .channels = channels};
    w->x = q3t_carve(a, (size_t)history + (size_t)rows, (size_t)channels * sizeof(float));
}

static void carve(pass *p, q3t_arena *a) {
    const q3t_encoder *e = p->e;
    const q3t_encoder_config *c = &e->config;
    const q3t_transformer_config *t = &c->transformer;
    size_t f = sizeof(float), hidden = (size_t)t->hidden, half = (size_t)t->head_dim / 2, raw = 0;
    carve_window(a, &p->samples, c->kernel - 1, SEGMENT * e->frame_samples, 1);
    for (int32_t i = 0; i < c->stages; i++) {
        const q3t_encoder_stage *s = &e->stage[i];
        int32_t rows = SEGMENT * s->frame_rows;
        for (int32_t u = 0; u < c->units; u++)
            carve_window(a, &p->unit[i][u], (c->residual_kernel - 1) * s->unit[u].conv1.dilation, rows, s->channels);
        carve_window(a, &p->down[i], s->rate, rows, s->channels);
        raw = q3t_max_size(raw, (size_t)rows * (size_t)s->channels);
    }
    carve_window(a, &p->last, c->last_kernel - 1, SEGMENT * e->frame_rows, e->width);
    p->raw = q3t_carve(a, raw, f);
    p->half = q3t_carve(a, raw, f);
    p->x = q3t_carve(a, (size_t)p->rows + 2 * (size_t)c->halving, hidden * f);
    p->h = q3t_carve(a, BLOCK, hidden * f);
    p->qkv = q3t_carve(a, BLOCK, ((size_t)t->heads + 2 * (size_t)t->kv_heads) * (size_t)t->head_dim * f);
    p->mixed = q3t_carve(a, BLOCK, (size_t)t->heads * (size_t)t->head_dim * f);
    p->wide = q3t_carve(a, BLOCK, (size_t)t->intermediate * f);
    p->cos = q3t_carve(a, (size_t)p->rows, half * f);
    p->sin = q3t_carve(a, (size_t)p->rows, half * f);
    q3t_kv_carve(&p->cache, a, Q3T_FORMAT_F32, t->kv_heads, t->head_dim, p->rows);
    p->score_floats = q3t_kv_score_floats(t->heads / t->kv_heads, p->rows);
    p->scores = q3t_carve(a, (size_t)q3t_pool_threads(e->pool), p->score_floats * f);
    p->latent = q3t_carve(a, BLOCK, hidden * f);
    p->residual = q3t_carve(a, BLOCK, (size_t)c->codebook_dim * f);
    p->dots = q3t_carve(a, BLOCK, (size_t)c->codebook_size * f);
}

/* ------------------------------------------------------------ convolutions */
static void run(const pass *p, q3t_conv_step step) { q3t_conv_run(&p->e->kernels, p->e->pool, &step); }

typedef struct elu_job {
    const q3t_kernels *kernels;
    const float *x;
    float *y;
    int32_t channels;
} elu_job;

static void elu_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    const elu_job *j = arg;
    size_t at = (size_t)begin * (size_t)j->channels;
    (void)worker;
    j->kernels->elu(j->y + at, j->x + at, (end - begin) * j->channels);
}

/* y = elu(x); x, y: (rows, channels). */
static void elu(const pass *p, float *y, const float *x, int32_t rows, int32_t channels) {
    elu_job j = {.kernels = &p->e->kernels, .x = x, .y = y, .channels = channels};
    q3t_pool_run(p->e->pool, rows, 8192 / channels + 1, elu_task, &j);
}

/* The last rows of the window become the history of the next segment. */
static void advance(const window *w, int32_t rows) {
    memmove(w->x, w->x + (size_t)rows * (size_t)w->channels, (size_t)w->history * (size_t)w->channels * sizeof(float));
}

/* Run stage i on the `rows` rows in p->raw. to: out, the input of the next stage. Returns the number of rows of `to`. */
static int32_t run_stage(pass *p, int32_t i, int32_t rows, float *to) {
    const q3t_encoder_stage *s = &p->e->stage[i];
    int32_t channels = s->channels, narrow = channels / p->e->config.compress, strides = q3t_ceil_div(rows, s->rate);
    for (int32_t u = 0; u < p->e->config.units; u++) {
        const window *w = &p->unit[i][u];
        elu(p, rows_of(w), p->raw, rows, channels);
        run(p, (q3t_conv_step){.conv = &s->unit[u].conv1, .x = w->x, .ldx = (size_t)channels, .y = p->half, .ldy = (size_t)narrow,
                               .rows = rows, .epilogue = Q3T_EPILOGUE_ELU});
        /* the rows of the window are not needed any more: they take the output of conv2 before it is added to p->raw */
        advance(w, rows);
        run(p, (q3t_conv_step){.conv = &s->unit[u].conv2, .x = p->half, .ldx = (size_t)narrow, .y = rows_of(w), .ldy = (size_t)channels,
                               .rows = rows, .epilogue = Q3T_EPILOGUE_ADD, .residual = p->raw});
    }
    const window *w = &p->down[i];
    elu(p, rows_of(w), p->raw, rows, channels);
    /* only the last segment can end in the middle of a stride */
    memset(rows_of(w) + (size_t)rows * (size_t)channels, 0, (size_t)(strides * s->rate - rows) * (size_t)channels * sizeof(float));
    run(p, (q3t_conv_step){.conv = &s->down, .x = w->x, .ldx = (size_t)s->rate * (size_t)channels, .y = to, .ldy = 2 * (size_t)channels,
                           .rows = strides});
    advance(w, strides * s->rate);
    return strides;
}

/* Run the convolutions on one segment: n samples, which are SEGMENT frames except in the last segment. x: out, rows of the
 * transformer's input. Returns the number of rows. */
static int32_t convolve(pass *p, const float *samples, int32_t n, float *x) {
    const q3t_encoder *e = p->e;
    const q3t_encoder_config *c = &e->config;
    size_t width = (size_t)e->width;
    memcpy(rows_of(&p->samples), samples, (size_t)n * sizeof(float));
    run(p, (q3t_conv_step){.conv = &e->in, .x = p->samples.x, .ldx = 1, .y = p->raw, .ldy = (size_t)c->filters, .rows = n});
    advance(&p->samples, n);
    int32_t rows = n;
    for (int32_t i = 0; i < c->stages; i++) rows = run_stage(p, i, rows, i + 1 < c->stages ? p->raw : rows_of(&p->last));
    elu(p, rows_of(&p->last), rows_of(&p->last), rows, e->width);
    run(p, (q3t_conv_step){.conv = &e->out, .x = p->last.x, .ldx = width, .y = x, .ldy = (size_t)c->transformer.hidden, .rows = rows});
    advance(&p->last, rows);
    return rows;
}

/* ------------------------------------------------------------ transformer */
/* Compute the cosines and sines of the rotary embedding. Angles are rounded to float32, as in the reference. */
static void rotations(const pass *p) {
    int32_t half = p->e->config.transformer.head_dim / 2;
    for (int32_t t = 0; t < p->rows; t++)
        for (int32_t i = 0; i < half; i++) {
            float angle = (float)t * p->e->inv_freq[i];
            p->cos[(size_t)t * (size_t)half + (size_t)i] = (float)cos(angle);
            p->sin[(size_t)t * (size_t)half + (size_t)i] = (float)sin(angle);
        }
}

/* Arguments of the tasks on a block of positions. */
typedef struct block {
    const pass *p;
    const float *x, *weight, *bias;
    int32_t first, rows;   /* positions [first, first + rows) */
} block;

static void norm_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    const block *b = arg;
    const q3t_transformer_config *t = &b->p->e->config.transformer;
    (void)worker;
    for (int32_t i = begin; i < end; i++) {
        size_t at = (size_t)i * (size_t)t->hidden;
        b->p->e->kernels.layernorm(b->p->h + at, b->x + at, b->weight, b->bias, t->hidden, t->rms_eps);
    }
}

static void norm(block *b, const float *weight, const float *bias) {
    b->weight = weight, b->bias = bias;
    q3t_pool_run(b->p->e->pool, b->rows, 8, norm_task, b);
}

/* Item: a position of the block. Rotates its queries and keys, and stores its keys and values. */
static void store_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    const block *b = arg;
    const pass *p = b->p;
    const q3t_transformer_config *t = &p->e->config.transformer;
    const q3t_kernels *k = &p->e->kernels;
    size_t d = (size_t)t->head_dim, half = d / 2, heads = (size_t)t->heads, kv = (size_t)t->kv_heads;
    (void)worker;
    for (size_t i = (size_t)begin; i < (size_t)end; i++) {
        float *row = p->qkv + i * (heads + 2 * kv) * d;
        size_t at = (size_t)b->first + i;
        for (size_t h = 0; h < heads + kv; h++) k->head_rope(row + h * d, NULL, p->cos + at * half, p->sin + at * half, t->head_dim, 0);
        for (size_t h = 0; h < kv; h++) {
            const float *key = row + (heads + h) * d;
            q3t_kv_store(&p->cache, (int32_t)h, (int32_t)at, key, key + kv * d);
        }
    }
}

/* Item: KV head * parts + part, where a part is QUERIES positions of the block. Computes their attention. */
static void attend_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    const block *b = arg;
    const pass *p = b->p;
    const q3t_transformer_config *t = &p->e->config.transformer;
    int32_t parts = q3t_ceil_div(b->rows, QUERIES), group = t->heads / t->kv_heads, d = t->head_dim;
    size_t width = (size_t)t->heads * (size_t)d, qkv = width + 2 * (size_t)t->kv_heads * (size_t)d;
    for (int32_t item = begin; item < end; item++) {
        int32_t head = item / parts, from = item % parts * QUERIES, to = q3t_min(from + QUERIES, b->rows);
        size_t at = (size_t)head * (size_t)group * (size_t)d;
        for (int32_t i = from; i < to; i++)
            q3t_kv_attend(&p->e->kernels, &p->cache, head, p->mixed + (size_t)i * width + at, p->qkv + (size_t)i * qkv + at, group, 0,
                          b->first + i + 1, p->scores + (size_t)worker * p->score_floats);
    }
}

/* Run a layer on the positions [first, first + rows). The layer must have run on all earlier positions. */
static void run_layer(const pass *p, const q3t_encoder_layer *l, int32_t first, int32_t rows) {
    const q3t_transformer_config *t = &p->e->config.transformer;
    size_t hidden = (size_t)t->hidden, width = (size_t)t->heads * (size_t)t->head_dim, inter = (size_t)t->intermediate;
    float *x = p->x + ((size_t)p->e->config.halving + (size_t)first) * hidden;
    block b = {.p = p, .x = x, .first = first, .rows = rows};
    norm(&b, l->input_norm, l->input_norm_bias);
    run(p, (q3t_conv_step){.conv = &l->qkv, .x = p->h, .ldx = hidden, .y = p->qkv, .ldy = (size_t)l->qkv.out, .rows = rows});
    q3t_pool_run(p->e->pool, rows, 8, store_task, &b);
    q3t_pool_run(p->e->pool, t->kv_heads * q3t_ceil_div(rows, QUERIES), 1, attend_task, &b);
    run(p, (q3t_conv_step){.conv = &l->o, .x = p->mixed, .ldx = width, .y = p->h, .ldy = hidden, .rows = rows,
                           .epilogue = Q3T_EPILOGUE_ADD_SCALED, .scale = l->attn_scale, .residual = x});
    norm(&b, l->post_norm, l->post_norm_bias);
    run(p, (q3t_conv_step){.conv = &l->fc1, .x = p->h, .ldx = hidden, .y = p->wide, .ldy = inter, .rows = rows,
                           .epilogue = Q3T_EPILOGUE_GELU});
    run(p, (q3t_conv_step){.conv = &l->fc2, .x = p->wide, .ldx = inter, .y = p->h, .ldy = hidden, .rows = rows,
                           .epilogue = Q3T_EPILOGUE_ADD_SCALED, .scale = l->mlp_scale, .residual = x});
}

/* Copy the first row to the edge before the rows, and the last row to the edge after them. */
static void repeat_edges(const pass *p) {
    size_t hidden = (size_t)p->e->config.transformer.hidden, edge = (size_t)p->e->config.halving;
    float *first = p->x + edge * hidden, *last = first + (size_t)(p->rows - 1) * hidden;
    for (size_t i = 1; i <= edge; i++) {
        memcpy(first - i * hidden, first, hidden * sizeof(float));
        memcpy(last + i * hidden, last, hidden * sizeof(float));
    }
}

/* ------------------------------------------------------------ quantizer */
typedef struct search {
    const pass *p;
    int32_t group;
    int32_t *codes;       /* out: codes of the frames of the block, (frames, code_groups) */
} search;

/* Item: a frame. Its code is the index of the codebook vector nearest to the residual; of equally near vectors, the first. The
 * vector is subtracted from the residual. */
static void nearest_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    const search *s = arg;
    const q3t_encoder *e = s->p->e;
    const q3t_conv *book = &e->books[s->group];
    const float *norms = e->norms + (size_t)s->group * (size_t)book->out;
    (void)worker;
    for (int32_t t = begin; t < end; t++) {
        const float *dots = s->p->dots + (size_t)t * (size_t)book->out;
        int32_t best = 0;
        for (int32_t k = 1; k < book->out; k++)
            if (norms[k] - 2 * dots[k] < norms[best] - 2 * dots[best]) best = k;
        s->codes[(size_t)t * (size_t)e->config.code_groups + (size_t)s->group] = best;
        float *residual = s->p->residual + (size_t)t * (size_t)book->in;
        const float *v = book->w + (size_t)(best / Q3T_BLOCK) * (size_t)book->in * Q3T_BLOCK + best % Q3T_BLOCK;
        for (int32_t i = 0; i < book->in; i++) residual[i] -= v[i * Q3T_BLOCK];
    }
}

static void quantize_block(const pass *p, int32_t frames, int32_t *codes) {
    const q3t_encoder *e = p->e;
    size_t hidden = (size_t)e->config.transformer.hidden, dim = (size_t)e->config.codebook_dim;
    for (int32_t g = 0; g < e->config.code_groups; g++) {
        search s = {.p = p, .group = g, .codes = codes};
        /* the first acoustic code starts from another projection of the frame: it does not use the residual of the semantic code */
        if (g < 2)
            run(p, (q3t_conv_step){.conv = g ? &e->acoustic : &e->semantic, .x = p->latent, .ldx = hidden, .y = p->residual, .ldy = dim,
                                   .rows = frames});
        run(p, (q3t_conv_step){.conv = &e->books[g], .x = p->residual, .ldx = dim, .y = p->dots, .ldy = (size_t)e->config.codebook_size,
                               .rows = frames});
        q3t_pool_run(e->pool, frames, 4, nearest_task, &s);
    }
}

static q3t_status encode(pass *p, const float *samples, int32_t n, int32_t *codes) {
    const q3t_encoder *e = p->e;
    const q3t_encoder_config *c = &e->config;
    size_t hidden = (size_t)c->transformer.hidden, halving = (size_t)c->halving;
    int32_t segment = SEGMENT * e->frame_samples, rows = 0;
    for (int32_t at = 0, some; at < n; at += some) {
        if (atomic_load(&e->stop)) return Q3T_E_STOPPED;
        some = q3t_min(segment, n - at);
        rows += convolve(p, samples + at, some, p->x + (halving + (size_t)rows) * hidden);
    }
    rotations(p);
    for (int32_t i = 0; i < c->transformer.layers; i++)
        for (int32_t first = 0; first < p->rows; first += BLOCK) {
            if (atomic_load(&e->stop)) return Q3T_E_STOPPED;
            run_layer(p, &e->layers[i], first, q3t_min(BLOCK, p->rows - first));
        }
    repeat_edges(p);
    for (int32_t first = 0; first < p->frames; first += BLOCK) {
        if (atomic_load(&e->stop)) return Q3T_E_STOPPED;
        int32_t some = q3t_min(BLOCK, p->frames - first);
        run(p, (q3t_conv_step){.conv = &e->halve, .x = p->x + (size_t)first * halving * hidden, .ldx = halving * hidden, .y = p->latent,
                               .ldy = hidden, .rows = some});
        if (!e->kernels.finite(p->latent, some * c->transformer.hidden)) return Q3T_E_ENCODER_NONFINITE;
        quantize_block(p, some, codes + (size_t)first * (size_t)c->code_groups);
    }
    return Q3T_OK;
}

q3t_status q3t_encoder_run(q3t_encoder *e, const float *samples, int32_t n, int32_t *codes) {
    if (!e || !samples || !codes || n < 1 || n > INT32_MAX - e->frame_samples) return Q3T_E_ARGUMENT;
    Q3T_TRY(q3t_pool_ready(e->pool));
    pass p = {.e = e, .rows = q3t_ceil_div(n, e->frame_samples / e->config.halving), .frames = q3t_ceil_div(n, e->frame_samples)};
    carve(&p, &p.arena);
    Q3T_TRY(q3t_arena_reserve(&p.arena));
    carve(&p, &p.arena);
    q3t_status status = encode(&p, samples, n, codes);
    q3t_arena_free(&p.arena);
    return status;
}
