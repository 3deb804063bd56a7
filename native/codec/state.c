/* codec/state.c - allocates the memory of the codec's decoder: the state of one stream, and the scratch for the rows of several
 * streams. */
#include "codec/internal.h"
#include "base/small.h"
#include <stdlib.h>

enum { MAX_PARTS = 16 };  /* largest `count` of q3t_toom_scratch */

int32_t q3t_window_channels(const q3t_codec *c, int32_t window) {
    if (window >= Q3T_WIN_UNIT) return c->block[(window - Q3T_WIN_UNIT) / Q3T_UNITS].out;
    if (window >= Q3T_WIN_BLOCK) return c->block[window - Q3T_WIN_BLOCK].in;
    if (window == Q3T_WIN_QUANTIZED) return c->config.codebook_dim;
    return window == Q3T_WIN_SAMPLES ? c->channels : c->config.latent_dim;
}

size_t q3t_window_history(const q3t_codec *c, int32_t window) {
    int32_t rows = Q3T_TAPS - 1, block = window - Q3T_WIN_BLOCK, unit = window - Q3T_WIN_UNIT;
    if (unit >= 0) rows *= unit / Q3T_UNITS < c->config.rates ? c->block[unit / Q3T_UNITS].unit[unit % Q3T_UNITS].conv1.dilation : 0;
    else if (block >= 0) rows = block < c->config.rates ? c->block[block].expand.taps - 1 : 0;
    else if (window >= Q3T_WIN_UP) rows = window - Q3T_WIN_UP < c->config.upsampling ? rows : 0;
    else if (window == Q3T_WIN_QUANTIZED) rows = Q3T_PRE_TAPS - 1;
    return (size_t)rows * (size_t)q3t_window_channels(c, window);
}

/* ------------------------------------------------------------ the state of a stream */
static void carve_state(const q3t_codec *c, q3t_codec_state *s) {
    const q3t_transformer_config *t = &c->config.codec;
    /* the attention window, the new positions, and more blocks of positions, so that positions are seldom removed */
    int32_t capacity = ((c->config.sliding_window + Q3T_CODEC_STREAM_FRAMES) / Q3T_KEYS + 4) * Q3T_KEYS;
    q3t_kv_carve(&s->cache, &s->arena, Q3T_FORMAT_F32, t->layers * t->kv_heads, t->head_dim, capacity);
    for (int32_t i = 0; i < Q3T_WINDOWS; i++) s->history[i] = q3t_carve(&s->arena, q3t_window_history(c, i), sizeof(float));
}

q3t_status q3t_codec_state_open(const q3t_codec *c, q3t_codec_state **state) {
    q3t_codec_state *s = calloc(1, sizeof *s);
    if (!s) return Q3T_E_MEMORY;
    carve_state(c, s);
    q3t_status status = q3t_arena_reserve(&s->arena);
    if (status != Q3T_OK) {
        q3t_codec_state_close(s);
        return status;
    }
    carve_state(c, s);
    *state = s;
    return Q3T_OK;
}

void q3t_codec_state_close(q3t_codec_state *s) {
    if (!s) return;
    q3t_arena_free(&s->arena);
    free(s);
}

size_t q3t_codec_state_bytes(const q3t_codec *c) {
    q3t_codec_state s = {0};
    carve_state(c, &s);
    return sizeof s + q3t_zeros_bytes(s.arena.used);
}

/* ------------------------------------------------------------ scratch */
static float *carve_rows(q3t_codec_work *w, int32_t rows, int32_t channels) {
    return q3t_carve(&w->arena, (size_t)rows, (size_t)channels * sizeof(float));
}

/* Carve a window for the histories of `streams` streams and `rows` rows of all streams together. */
static void carve_window(const q3t_codec *c, q3t_codec_work *w, int32_t window, int32_t rows, int32_t streams) {
    size_t floats = (size_t)rows * (size_t)q3t_window_channels(c, window);
    w->window[window] = q3t_carve(&w->arena, floats + (size_t)streams * q3t_window_history(c, window), sizeof(float));
}

static void carve_transformer(const q3t_codec *c, q3t_codec_work *w) {
    const q3t_transformer_config *t = &c->config.codec;
    w->codes = carve_rows(w, w->frames, c->config.codebook_dim);
    w->quantized = carve_rows(w, w->frames, c->config.codebook_dim);
    carve_window(c, w, Q3T_WIN_QUANTIZED, w->frames, w->frames);
    w->latent = carve_rows(w, w->frames, c->config.latent_dim);
    w->cos = carve_rows(w, w->frames, t->head_dim / 2);
    w->sin = carve_rows(w, w->frames, t->head_dim / 2);
    w->x = carve_rows(w, w->frames, t->hidden);
    w->h = carve_rows(w, w->frames, t->hidden);
    w->delta = carve_rows(w, w->frames, t->hidden);
    w->qkv = carve_rows(w, w->frames, c->qkv_width);
    w->mixed = carve_rows(w, w->frames, c->q_width);
    w->gate_up = carve_rows(w, w->frames, 2 * t->intermediate);
    w->score_floats = q3t_kv_score_floats(t->heads / t->kv_heads, c->config.sliding_window);
    w->scores = q3t_carve(&w->arena, (size_t)w->frames * (size_t)t->kv_heads, w->score_floats * sizeof(float));
}

/* Carve the scratch of the vocoder. The batched blocks take the frames of all streams. A later block takes frames of one stream,
 * at most as many as the block before it. */
static void carve_vocoder(const q3t_codec *c, q3t_codec_work *w) {
    size_t widest = 0;
    int32_t from = w->frames, streams = w->frames;
    for (int32_t i = 0; i < c->config.rates; i++) {
        const q3t_vocoder_block *b = &c->block[i];
        carve_window(c, w, Q3T_WIN_BLOCK + i, from * b->frame_rows, streams);
        if (i >= c->batched_blocks) {
            from = q3t_min(from, b->frames);
            streams = 1;
        }
        int32_t rows = from * b->frame_rows * b->rate;
        for (int32_t u = 0; u < Q3T_UNITS; u++) {
            carve_window(c, w, Q3T_WIN_UNIT + i * Q3T_UNITS + u, rows, streams);
            q3t_toom_reserve(&b->unit[u].conv1, b->frame_rows * b->rate, from, &w->toom);
        }
        widest = q3t_max_size(widest, (size_t)rows * (size_t)b->out);
    }
    w->block_x = q3t_carve(&w->arena, widest, sizeof(float));
    w->block_h = q3t_carve(&w->arena, widest, sizeof(float));
    w->toom.count = q3t_min(c->threads, MAX_PARTS);
    w->toom.shared = q3t_carve(&w->arena, w->toom.shared_floats, sizeof(float));
    w->toom.parts = q3t_carve(&w->arena, w->toom.part_floats * (size_t)w->toom.count, sizeof(float));
    carve_window(c, w, Q3T_WIN_SAMPLES, from * c->frame_samples, 1);
}

static void carve_work(const q3t_codec *c, q3t_codec_work *w) {
    int32_t rows = w->frames, latent = c->config.latent_dim;
    carve_transformer(c, w);
    for (int32_t i = 0; i < c->config.upsampling; i++) carve_window(c, w, Q3T_WIN_UP + i, rows *= c->up[i].ratio, w->frames);
    w->up_h = carve_rows(w, rows, latent);
    w->up_wide = carve_rows(w, rows, 4 * latent);
    w->up_x = carve_rows(w, rows, latent);
    w->up_y = carve_rows(w, rows, latent);
    carve_window(c, w, Q3T_WIN_VOCODER, rows, w->frames);
    carve_vocoder(c, w);
}

q3t_status q3t_codec_work_open(const q3t_codec *c, int32_t frames, q3t_codec_work **work) {
    if (frames < 1 || frames > Q3T_CODEC_BATCH_FRAMES) return Q3T_E_ARGUMENT;
    q3t_codec_work *w = calloc(1, sizeof *w);
    if (!w) return Q3T_E_MEMORY;
    w->frames = frames;
    carve_work(c, w);
    q3t_status status = q3t_arena_reserve(&w->arena);
    if (status != Q3T_OK) {
        q3t_codec_work_close(w);
        return status;
    }
    carve_work(c, w);
    *work = w;
    return Q3T_OK;
}

size_t q3t_codec_work_bytes(const q3t_codec *c, int32_t frames) {
    q3t_codec_work w = {.frames = frames};
    carve_work(c, &w);
    return sizeof w + q3t_zeros_bytes(w.arena.used);
}

void q3t_codec_work_close(q3t_codec_work *w) {
    if (!w) return;
    q3t_arena_free(&w->arena);
    free(w);
}
