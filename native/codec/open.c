/* codec/open.c - opens the codec's decoder: computes its sizes from the config, and reserves or takes over the memory of the
 * packed weights. */
#include "codec/internal.h"
#include <stdlib.h>

enum { STEP_BYTES = 1 << 20 };  /* largest size of the output of a vocoder block in one call, unless one frame is larger */

/* Returns the number for q3t_codec_reach. The loops go from the last convolution to the first. `row` is the time of one row there,
 * and `back` is how far before a sample the input that the sample depends on begins; both are counted in samples. Each window
 * adds its history to `back`. A transposed convolution makes several rows of one row: the start of that row may be up to one
 * row further back. */
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

static void derive_sizes(q3t_codec *c) {
    const q3t_config *f = &c->config;
    c->frame_samples = q3t_frame_samples(f);
    c->q_width = f->codec.heads * f->codec.head_dim;
    c->kv_width = f->codec.kv_heads * f->codec.head_dim;
    c->qkv_width = c->q_width + 2 * c->kv_width;
    int32_t rows = 1, frames = Q3T_CODEC_STREAM_FRAMES;
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
    while (c->batched_blocks + 1 < f->rates && c->block[c->batched_blocks].frames == Q3T_CODEC_STREAM_FRAMES) c->batched_blocks++;
    c->channels = f->decoder_dim >> f->rates;
    c->reach = reach(c);
}

/* Allocate a codec, compute its sizes and do the measuring run of its arenas. */
static q3t_status measure(const q3t_config *config, q3t_codec **codec) {
    q3t_codec *c = calloc(1, sizeof *c);
    if (!c) return Q3T_E_MEMORY;
    c->config = *config;
    c->weights.dense = 1;
    derive_sizes(c);
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
    Q3T_TRY(measure(config, &c));
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
    Q3T_TRY(measure(config, &c));
    q3t_status status = c->weights.overflow ? Q3T_E_SIZE : Q3T_OK;
    if (status == Q3T_OK) *bytes = c->weights.used;
    q3t_codec_close(c);
    return status;
}
