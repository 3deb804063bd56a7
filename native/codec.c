/* codec.c - the streaming speech decoder, strictly causal. One frame of codes:
 *
 *   16 codebook vectors -> 2 projections -> pre_conv k3 -> (1, latent)
 *   transformer: in -> layers of windowed attention and SwiGLU -> norm -> out
 *   upsampling: transposed k = stride -> x + gamma * ConvNeXt(x)        (rows: * ratio each)
 *   vocoder: conv k7 -> blocks: snake, transposed k = 2 stride, 3 residual units   (rows: * rate each)
 *   snake -> conv k7 -> clamp -> samples
 *
 * Each convolution reads a window: the rows of this call behind the last rows
 * of the one before. After the call the window's tail becomes its history.
 * Source: modeling_qwen3_tts_tokenizer_v2.py, Qwen3TTSTokenizerV2Decoder. */
#include "codec_internal.h"
#include <math.h>
#include <stdlib.h>

enum { STEP_BYTES = 1 << 20,  /* of a block's rows worked on at a time */
       MAX_PARTS = 16 };      /* threads with scratch of their own */

static int32_t min2(int32_t a, int32_t b) { return a < b ? a : b; }
static size_t max_size(size_t a, size_t b) { return a > b ? a : b; }

/* ------------------------------------------------------------ the packed codec */
/* From the samples of a frame back through every window to the oldest frame that has a part in them. In samples:
 * `row` is one row, each window adds its history, and a row of several at most one row for where in it the need begins. */
static int32_t reach(const q3t_codec *c) {
    int64_t row = 1, back = Q3T_TAPS - 1;
    for (int32_t i = c->config.rates - 1; i >= 0; i--) {
        for (int32_t u = 0, dilation = 1; u < Q3T_UNITS; u++, dilation *= 3) back += (Q3T_TAPS - 1) * dilation * row;
        row *= c->block[i].rate;
        back += 2 * row;
    }
    back += (Q3T_TAPS - 1) * row;
    for (int32_t i = c->config.upsampling - 1; i >= 0; i--) {
        back += (Q3T_TAPS - 1) * row;
        row *= c->config.upsampling_ratios[i];
        back += row;
    }
    return (int32_t)((back - 1) / row) + 1;
}

static void plan(q3t_codec *c) {
    const q3t_config *f = &c->config;
    c->frame_samples = q3t_frame_samples(f);
    c->q_width = f->codec.heads * f->codec.head_dim;
    c->kv_width = f->codec.kv_heads * f->codec.head_dim;
    c->qkv_width = c->q_width + 2 * c->kv_width;
    int32_t rows = 1, frames = Q3T_CODEC_PIECE;
    for (int32_t i = 0; i < f->upsampling; i++) rows *= f->upsampling_ratios[i];
    for (int32_t i = 0; i < f->rates; i++) {
        q3t_vocoder_block *b = &c->block[i];
        b->in = f->decoder_dim >> i;
        b->out = b->in / 2;
        b->rate = f->upsample_rates[i];
        b->frame_rows = rows;
        rows *= b->rate;
        size_t bytes = (size_t)rows * (size_t)b->out * sizeof(float);
        b->frames = frames = bytes * (size_t)frames <= STEP_BYTES ? frames : bytes < STEP_BYTES ? (int32_t)(STEP_BYTES / bytes) : 1;
    }
    c->channels = f->decoder_dim >> f->rates;
    c->reach = reach(c);
}

/* A codec that has been measured. */
static q3t_status measured(const q3t_config *config, q3t_codec **codec) {
    q3t_codec *c = calloc(1, sizeof *c);
    if (!c) return Q3T_E_MEMORY;
    c->config = *config;
    c->weights.dense = 1;
    plan(c);
    q3t_codec_carve(c);
    *codec = c;
    return Q3T_OK;
}

static q3t_status reserve(q3t_codec *c, void *packed) {
    Q3T_TRY(q3t_arena_reserve(&c->arena));
    if (!packed) return q3t_arena_reserve(&c->weights);
    if ((uintptr_t)packed % 64) return Q3T_E_ARGUMENT;
    c->borrowed = 1;
    c->weights = (q3t_arena){.base = packed, .size = c->weights.used, .dense = 1};
    return Q3T_OK;
}

q3t_status q3t_codec_open(const q3t_config *config, const q3t_weights *weights, void *packed, const q3t_kernels *kernels,
                          q3t_pool *pool, q3t_codec **codec) {
    q3t_codec *c = NULL;
    if (!weights && !packed) return Q3T_E_ARGUMENT;
    Q3T_TRY(measured(config, &c));
    c->kernels = kernels;
    c->threads = q3t_pool_threads(pool);
    q3t_status status = c->weights.overflow ? Q3T_E_SIZE : reserve(c, packed);
    if (status != Q3T_OK) {
        q3t_codec_close(c);
        return status;
    }
    q3t_codec_carve(c);
    if (weights) q3t_codec_pack(c, weights, pool);
    *codec = c;
    return Q3T_OK;
}

void q3t_codec_close(q3t_codec *c) {
    if (!c) return;
    q3t_arena_free(&c->arena);
    if (!c->borrowed) q3t_arena_free(&c->weights);
    free(c);
}

q3t_status q3t_codec_packed_bytes(const q3t_config *config, size_t *bytes) {
    q3t_codec *c = NULL;
    Q3T_TRY(measured(config, &c));
    q3t_status status = c->weights.overflow ? Q3T_E_SIZE : Q3T_OK;
    if (status == Q3T_OK) *bytes = c->weights.used;
    q3t_codec_close(c);
    return status;
}

size_t q3t_codec_bytes(const q3t_codec *c) { return sizeof *c + c->arena.size + (c->borrowed ? 0 : c->weights.size); }

/* ------------------------------------------------------------ the state of a stream */
static float *carve_rows(q3t_arena *a, int32_t rows, int32_t channels) {
    return q3t_carve(a, (size_t)rows, (size_t)channels * sizeof(float));
}

static void carve_window(q3t_arena *a, q3t_window *w, int32_t history, int32_t rows, int32_t channels) {
    *w = (q3t_window){.history = history, .channels = channels};
    w->x = q3t_carve(a, (size_t)history + (size_t)rows, (size_t)channels * sizeof(float));
}

static void carve_transformer(const q3t_codec *c, q3t_codec_state *s, q3t_arena *a, int32_t piece) {
    const q3t_transformer_config *t = &c->config.codec;
    /* the window before the first new position, the new ones, and room to move them rarely */
    int32_t blocks = (c->config.sliding_window + piece) / Q3T_KEYS + 4;
    s->capacity = blocks * Q3T_KEYS;
    size_t row = (size_t)t->layers * (size_t)c->kv_width * sizeof(float);
    s->keys = q3t_carve(a, (size_t)s->capacity, row);
    s->values = q3t_carve(a, (size_t)s->capacity, row);
    s->cos = carve_rows(a, piece, t->head_dim / 2);
    s->sin = carve_rows(a, piece, t->head_dim / 2);
    s->x = carve_rows(a, piece, t->hidden);
    s->h = carve_rows(a, piece, t->hidden);
    s->delta = carve_rows(a, piece, t->hidden);
    s->qkv = carve_rows(a, piece, c->qkv_width);
    s->mixed = carve_rows(a, piece, c->q_width);
    s->gate_up = carve_rows(a, piece, 2 * t->intermediate);
    s->score_floats = (size_t)(t->heads / t->kv_heads) * ((size_t)c->config.sliding_window + 2 * Q3T_KEYS);
    s->scores = q3t_carve(a, (size_t)t->kv_heads, s->score_floats * sizeof(float));
}

static void carve_vocoder(const q3t_codec *c, q3t_codec_state *s, q3t_arena *a, int32_t piece) {
    size_t widest = 0;
    int32_t from = piece;   /* frames that the stage before hands over at a time */
    for (int32_t i = 0; i < c->config.rates; i++) {
        const q3t_vocoder_block *b = &c->block[i];
        carve_window(a, &s->block[i], b->expand.taps - 1, from * b->frame_rows, b->in);
        from = min2(from, b->frames);
        int32_t rows = from * b->frame_rows * b->rate;
        for (int32_t u = 0; u < Q3T_UNITS; u++) {
            carve_window(a, &s->unit[i][u], (Q3T_TAPS - 1) * b->unit[u].conv1.dilation, rows, b->out);
            q3t_toom_measure(&b->unit[u].conv1, b->frame_rows * b->rate, from, &s->toom);
        }
        widest = max_size(widest, (size_t)rows * (size_t)b->out);
    }
    s->block_x = q3t_carve(a, widest, sizeof(float));
    s->block_h = q3t_carve(a, widest, sizeof(float));
    s->toom.count = min2(c->threads, MAX_PARTS);
    s->toom.shared = q3t_carve(a, s->toom.shared_floats, sizeof(float));
    s->toom.parts = q3t_carve(a, s->toom.part_floats * (size_t)s->toom.count, sizeof(float));
    carve_window(a, &s->samples, Q3T_TAPS - 1, from * c->frame_samples, c->channels);
}

static void carve(const q3t_codec *c, q3t_codec_state *s, q3t_arena *a) {
    const q3t_config *f = &c->config;
    int32_t piece = min2(s->max_chunk, Q3T_CODEC_PIECE), rows = piece, latent = f->latent_dim;
    s->codes = carve_rows(a, piece, f->codebook_dim);
    carve_window(a, &s->quantized, Q3T_PRE_TAPS - 1, piece, f->codebook_dim);
    carve_transformer(c, s, a, piece);
    s->latent = carve_rows(a, piece, latent);
    for (int32_t i = 0; i < f->upsampling; i++) {
        rows *= c->up[i].ratio;
        carve_window(a, &s->up[i], Q3T_TAPS - 1, rows, latent);
    }
    s->up_h = carve_rows(a, rows, latent);
    s->up_wide = carve_rows(a, rows, 4 * latent);
    s->up_x = carve_rows(a, rows, latent);
    carve_window(a, &s->vocoder_in, Q3T_TAPS - 1, rows, latent);
    carve_vocoder(c, s, a, piece);
}

q3t_status q3t_codec_state_open(const q3t_codec *c, int32_t max_chunk, q3t_codec_state **state) {
    if (max_chunk < 1 || max_chunk > Q3T_CODEC_MAX_CHUNK) return Q3T_E_ARGUMENT;
    q3t_codec_state *s = calloc(1, sizeof *s);
    if (!s) return Q3T_E_MEMORY;
    s->max_chunk = max_chunk;
    carve(c, s, &s->arena);
    q3t_status status = q3t_arena_reserve(&s->arena);
    if (status != Q3T_OK) {
        q3t_codec_state_close(s);
        return status;
    }
    carve(c, s, &s->arena);
    *state = s;
    return Q3T_OK;
}

void q3t_codec_state_close(q3t_codec_state *s) {
    if (!s) return;
    q3t_arena_free(&s->arena);
    free(s);
}

/* The last rows of the window become the history of the next call. */
static void advance(q3t_window *w, int32_t rows) {
    size_t row = (size_t)w->channels;
    memmove(w->x, w->x + (size_t)rows * row, (size_t)w->history * row * sizeof(float));
}

/* ------------------------------------------------------------ codes to latent rows */
static void linear(const q3t_codec *c, q3t_pool *pool, const q3t_conv *conv, const float *x, size_t ldx, float *y, int32_t rows) {
    q3t_codec_conv(c, pool, &(q3t_conv_step){.conv = conv, .x = x, .ldx = ldx, .y = y, .rows = rows});
}

static void quantize(const q3t_codec *c, q3t_codec_state *s, q3t_pool *pool, const int32_t *codes, int32_t frames) {
    int32_t groups = c->config.code_groups, n = c->config.codebook_dim / 2;
    size_t book = (size_t)c->config.codebook_size * (size_t)n;
    for (int32_t t = 0; t < frames; t++) {
        const int32_t *code = codes + (size_t)t * (size_t)groups;
        float *first = s->codes + (size_t)t * 2 * (size_t)n, *rest = first + n;
        memcpy(first, c->books + (size_t)code[0] * (size_t)n, (size_t)n * sizeof(float));
        memcpy(rest, c->books + book + (size_t)code[1] * (size_t)n, (size_t)n * sizeof(float));
        for (int32_t g = 2; g < groups; g++) c->kernels->add(rest, c->books + (size_t)g * book + (size_t)code[g] * (size_t)n, n);
    }
    linear(c, pool, &c->project, s->codes, 2 * (size_t)n, q3t_window_rows(&s->quantized), frames);
    linear(c, pool, &c->pre, s->quantized.x, 2 * (size_t)n, s->latent, frames);
    advance(&s->quantized, frames);
}

/* Make room for `frames` more positions. Whole blocks of keys move, so that a position keeps its place in its block. */
static void make_room(const q3t_codec *c, q3t_codec_state *s, int32_t frames) {
    int32_t used = (int32_t)(s->position - s->base), keep = c->config.sliding_window - 1;
    if (used + frames <= s->capacity) return;
    int32_t drop = (used - keep) / Q3T_KEYS * Q3T_KEYS;
    size_t d = (size_t)c->config.codec.head_dim, heads = (size_t)c->config.codec.layers * (size_t)c->config.codec.kv_heads;
    for (size_t i = 0; i < heads; i++) {
        size_t at = i * (size_t)s->capacity * d, bytes = (size_t)(s->capacity - drop) * d * sizeof(float);
        memmove(s->keys + at, s->keys + at + (size_t)drop * d, bytes);
        memmove(s->values + at, s->values + at + (size_t)drop * d, bytes);
    }
    s->base += drop;
}

/* Positions are absolute. The product is exact in double, so that the angle between two positions depends on their
 * distance alone, however long the stream. */
static void rotations(const q3t_codec *c, q3t_codec_state *s, int32_t frames) {
    int32_t half = c->config.codec.head_dim / 2;
    for (int32_t t = 0; t < frames; t++)
        for (int32_t i = 0; i < half; i++) {
            double angle = (double)(s->position + t) * (double)c->inv_freq[i];
            s->cos[t * half + i] = (float)cos(angle);
            s->sin[t * half + i] = (float)sin(angle);
        }
}

static void norm_rows(const q3t_codec *c, const float *weight, const float *x, float *y, int32_t rows) {
    int32_t n = c->config.codec.hidden;
    for (int32_t t = 0; t < rows; t++)
        c->kernels->rmsnorm(y + (size_t)t * (size_t)n, x + (size_t)t * (size_t)n, weight, n, c->config.codec.rms_eps);
}

/* s->x += scale * linear(x) */
static void add_linear(const q3t_codec *c, q3t_codec_state *s, q3t_pool *pool, const q3t_conv *conv, const float *x, size_t ldx,
                       const float *scale, int32_t frames) {
    q3t_codec_conv(c, pool, &(q3t_conv_step){.conv = conv, .x = x, .ldx = ldx, .y = s->delta, .rows = frames,
                                             .then = Q3T_THEN_ADD_SCALED, .scale = scale, .residual = s->x});
}

/* s->latent -> y, (frames, latent). */
static void transform(const q3t_codec *c, q3t_codec_state *s, q3t_pool *pool, int32_t frames, float *y) {
    const q3t_transformer_config *f = &c->config.codec;
    size_t hidden = (size_t)f->hidden, inter = (size_t)f->intermediate;
    make_room(c, s, frames);
    rotations(c, s, frames);
    linear(c, pool, &c->in, s->latent, (size_t)c->config.latent_dim, s->x, frames);
    for (int32_t i = 0; i < f->layers; i++) {
        const q3t_codec_layer *l = &c->layers[i];
        norm_rows(c, l->input_norm, s->x, s->h, frames);
        linear(c, pool, &l->qkv, s->h, hidden, s->qkv, frames);
        q3t_codec_attend(c, s, pool, i, frames);
        add_linear(c, s, pool, &l->o, s->mixed, (size_t)c->q_width, l->attn_scale, frames);
        norm_rows(c, l->post_norm, s->x, s->h, frames);
        linear(c, pool, &l->gate_up, s->h, hidden, s->gate_up, frames);
        for (int32_t t = 0; t < frames; t++) {
            float *gate = s->gate_up + (size_t)t * 2 * inter;
            c->kernels->silu_mul(gate, gate, gate + inter, f->intermediate);
        }
        add_linear(c, s, pool, &l->down, s->gate_up, 2 * inter, l->mlp_scale, frames);
    }
    norm_rows(c, c->norm, s->x, s->h, frames);
    linear(c, pool, &c->out, s->h, hidden, y, frames);
    s->position += frames;
}

/* ------------------------------------------------------------ latent rows to samples */
/* One stage over `rows` rows of x: x = transposed(x); y = x + gamma * narrow(gelu(widen(norm(depthwise(x))))). */
static void upsample(const q3t_codec *c, q3t_codec_state *s, q3t_pool *pool, int32_t i, const float *x, int32_t rows, float *y) {
    const q3t_upsample *u = &c->up[i];
    size_t latent = (size_t)c->config.latent_dim;
    linear(c, pool, &u->expand, x, latent, q3t_window_rows(&s->up[i]), rows);
    rows *= u->ratio;
    q3t_codec_depthwise(c, s, pool, i, rows);
    memcpy(y, q3t_window_rows(&s->up[i]), (size_t)rows * latent * sizeof(float));
    advance(&s->up[i], rows);
    q3t_codec_conv(c, pool, &(q3t_conv_step){.conv = &u->widen, .x = s->up_h, .ldx = latent, .y = s->up_wide, .rows = rows,
                                             .then = Q3T_THEN_GELU});
    q3t_codec_conv(c, pool, &(q3t_conv_step){.conv = &u->narrow, .x = s->up_wide, .ldx = 4 * latent, .y = s->up_h, .rows = rows,
                                             .then = Q3T_THEN_ADD_SCALED, .scale = u->gamma, .residual = y});
}

/* The frames in the last window -> samples. */
static q3t_status finish(const q3t_codec *c, q3t_codec_state *s, q3t_pool *pool, int32_t frames, float *samples) {
    int32_t n = frames * c->frame_samples;
    linear(c, pool, &c->samples, s->samples.x, (size_t)c->channels, samples, n);
    advance(&s->samples, n);
    if (!c->kernels->finite(samples, n)) return Q3T_E_CODEC_NONFINITE;
    c->kernels->clamp(samples, n);
    return Q3T_OK;
}

/* One block over `rows` rows of its window, beginning at x; the result is in the window of what comes next. */
static void run_block(const q3t_codec *c, q3t_codec_state *s, q3t_pool *pool, int32_t i, const float *x, int32_t rows) {
    const q3t_vocoder_block *b = &c->block[i];
    int32_t last = i + 1 == c->config.rates, wide = rows * b->rate;
    const q3t_window *next = last ? &s->samples : &s->block[i + 1];
    q3t_codec_conv(c, pool, &(q3t_conv_step){.conv = &b->expand, .x = x, .ldx = (size_t)b->in, .y = s->block_x, .rows = rows,
                                             .then = Q3T_THEN_SNAKE, .channels = b->out, .snake = b->unit[0].act1,
                                             .out = q3t_window_rows(&s->unit[i][0])});
    for (int32_t u = 0; u < Q3T_UNITS; u++) {
        const q3t_unit *unit = &b->unit[u];
        int32_t more = u + 1 < Q3T_UNITS;
        float *to = more ? q3t_window_rows(&s->unit[i][u + 1]) : q3t_window_rows(next);
        q3t_conv_step first = {.conv = &unit->conv1, .x = s->unit[i][u].x, .ldx = (size_t)b->out, .y = s->block_h, .rows = wide,
                               .frame_rows = b->frame_rows * b->rate, .then = Q3T_THEN_SNAKE, .channels = b->out, .snake = unit->act2, .out = s->block_h};
        q3t_conv_step second = {.conv = &unit->conv2, .x = s->block_h, .ldx = (size_t)b->out, .y = to, .rows = wide,
                                .then = Q3T_THEN_ADD_SNAKE, .channels = b->out, .residual = s->block_x, .out = to,
                                .snake = more ? b->unit[u + 1].act1 : last ? c->act : c->block[i + 1].act};
        q3t_codec_unit(c, &s->toom, pool, &first, &second);
        advance(&s->unit[i][u], wide);
    }
}

/* Block i and all that follow it, over `frames` frames in its window: a block takes as many at a time as its rows
 * allow, and what it makes of them goes all the way to samples before it takes the next. */
static q3t_status vocode(const q3t_codec *c, q3t_codec_state *s, q3t_pool *pool, int32_t i, int32_t frames, float *samples) {
    if (i == c->config.rates) return finish(c, s, pool, frames, samples);
    const q3t_vocoder_block *b = &c->block[i];
    const float *x = s->block[i].x;
    int32_t steps = (frames - 1) / b->frames + 1;
    for (int32_t left = frames; left > 0; steps--) {
        int32_t n = (left - 1) / steps + 1, rows = n * b->frame_rows;
        run_block(c, s, pool, i, x, rows);
        Q3T_TRY(vocode(c, s, pool, i + 1, n, samples));
        x += (size_t)rows * (size_t)b->in;
        samples += (size_t)n * (size_t)c->frame_samples;
        left -= n;
    }
    advance(&s->block[i], frames * b->frame_rows);
    return Q3T_OK;
}

static q3t_status run_piece(const q3t_codec *c, q3t_codec_state *s, q3t_pool *pool, const int32_t *codes, int32_t frames,
                            float *samples) {
    int32_t stages = c->config.upsampling, rows = frames;
    float *first = q3t_window_rows(&s->vocoder_in), *to = q3t_window_rows(&s->block[0]);
    quantize(c, s, pool, codes, frames);
    transform(c, s, pool, frames, stages ? s->latent : first);
    for (int32_t i = 0; i < stages; i++) {
        upsample(c, s, pool, i, i ? s->up_x : s->latent, rows, i + 1 < stages ? s->up_x : first);
        rows *= c->up[i].ratio;
    }
    q3t_codec_conv(c, pool, &(q3t_conv_step){.conv = &c->vocoder_in, .x = s->vocoder_in.x, .ldx = (size_t)c->config.latent_dim,
                                             .y = to, .rows = rows, .then = Q3T_THEN_SNAKE, .channels = c->config.decoder_dim,
                                             .snake = c->block[0].act, .out = to});
    advance(&s->vocoder_in, rows);
    return vocode(c, s, pool, 0, frames, samples);
}

int32_t q3t_codec_reach(const q3t_codec *c) { return c->reach; }

void q3t_codec_skip(const q3t_codec *c, q3t_codec_state *s, q3t_pool *pool, const int32_t *codes, int32_t frames) {
    for (int32_t left = frames, n; left > 0; left -= n) {
        n = min2(left, Q3T_CODEC_PIECE);
        quantize(c, s, pool, codes, n);
        transform(c, s, pool, n, s->latent);
        codes += (size_t)n * (size_t)c->config.code_groups;
    }
}

q3t_status q3t_codec_run(const q3t_codec *c, q3t_codec_state *s, q3t_pool *pool, const int32_t *codes, int32_t frames,
                         float *samples) {
    if (frames < 1 || frames > s->max_chunk) return Q3T_E_ARGUMENT;
    for (int32_t left = frames; left > 0;) {
        int32_t n = min2(left, Q3T_CODEC_PIECE);
        Q3T_TRY(run_piece(c, s, pool, codes, n, samples));
        codes += (size_t)n * (size_t)c->config.code_groups;
        samples += (size_t)n * (size_t)c->frame_samples;
        left -= n;
    }
    return Q3T_OK;
}
