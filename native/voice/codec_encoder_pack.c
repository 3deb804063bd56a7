/* voice/codec_encoder_pack.c - prepares the weights of the codec's encoder: checks sizes, finds and packs every tensor, and divides
 * codebook vectors by their usage. */
#include "voice/codec_encoder.h"
#include "base/small.h"
#include <math.h>
#include <stdlib.h>

enum { MAX_WIDTH = 1 << 16, MAX_FRAME = 1 << 16 };

static int transformer_ok(const q3t_transformer_config *t) {
    return q3t_in_range(t->hidden, 1, MAX_WIDTH) && q3t_in_range(t->intermediate, 1, MAX_WIDTH) && q3t_in_range(t->layers, 0, 256) &&
           q3t_in_range(t->heads, 1, 256) && q3t_in_range(t->kv_heads, 1, t->heads) && t->heads % t->kv_heads == 0 &&
           q3t_in_range(t->head_dim, 2, 512) && t->head_dim % 2 == 0 && isfinite(t->rms_eps) && t->rms_eps >= 0 &&
           isfinite(t->rope_theta) && t->rope_theta > 0;
}

static q3t_status check_config(const q3t_encoder_config *c) {
    if (!transformer_ok(&c->transformer)) return Q3T_E_CONFIG;
    if (!q3t_in_range(c->filters, 1, MAX_WIDTH) || !q3t_in_range(c->kernel, 1, 64) || !q3t_in_range(c->last_kernel, 1, 64) ||
        !q3t_in_range(c->residual_kernel, 1, 64) || !q3t_in_range(c->compress, 1, c->filters) || c->filters % c->compress)
        return Q3T_E_CONFIG;
    if (!q3t_in_range(c->units, 0, Q3T_ENCODER_UNITS) || !q3t_in_range(c->dilation_growth, 1, 8) ||
        !q3t_in_range(c->stages, 1, Q3T_ENCODER_STAGES) || !q3t_in_range(c->halving, 1, 8))
        return Q3T_E_CONFIG;
    if (!q3t_in_range(c->code_groups, 2, 64) || !q3t_in_range(c->codebook_size, 1, 1 << 16) ||
        !q3t_in_range(c->codebook_dim, 1, MAX_WIDTH))
        return Q3T_E_CONFIG;
    int64_t samples = c->halving;
    for (int32_t i = 0; i < c->stages; i++) {
        if (!q3t_in_range(c->rates[i], 1, 64)) return Q3T_E_CONFIG;
        samples *= c->rates[i];
    }
    return samples <= MAX_FRAME && (int64_t)c->filters << c->stages <= MAX_WIDTH ? Q3T_OK : Q3T_E_CONFIG;
}

/* Returns the samples in a frame of codes. */
static int32_t frame_samples(const q3t_encoder_config *c) {
    int32_t n = c->halving;
    for (int32_t i = 0; i < c->stages; i++) n *= c->rates[i];
    return n;
}

static void load_conv(q3t_loader *from, q3t_arena *a, q3t_conv *conv, int32_t slot, int32_t layer, int32_t in, int32_t out,
                      int32_t kernel, int32_t fold) {
    q3t_load_conv(from, a, conv, &(q3t_conv_shape){.slot = slot, .bias_slot = slot + 1, .layer = layer, .in = in, .out = out,
                                                   .kernel = kernel, .fold = fold});
}

/* Load a matrix without bias. kernel: 0 if its tensor is (out, in), 1 if it is the convolution (out, in, 1). */
static void load_linear(q3t_loader *from, q3t_arena *a, q3t_conv *conv, int32_t slot, int32_t layer, int32_t in, int32_t out,
                        int32_t kernel) {
    q3t_load_conv(from, a, conv, &(q3t_conv_shape){.slot = slot, .bias_slot = -1, .layer = layer, .in = in, .out = out, .kernel = kernel});
}

static void carve_stages(q3t_encoder *e, q3t_arena *a, q3t_loader *from) {
    const q3t_encoder_config *c = &e->config;
    int32_t channels = c->filters, rows = e->frame_samples;
    for (int32_t i = 0; i < c->stages; i++) {
        q3t_encoder_stage *s = &e->stage[i];
        s->channels = channels, s->rate = c->rates[i], s->frame_rows = rows;
        for (int32_t u = 0, dilation = 1; u < c->units; u++, dilation *= c->dilation_growth) {
            q3t_conv_shape shape = {.slot = Q3T_W_ENCODER_UNIT1, .bias_slot = Q3T_W_ENCODER_UNIT1_BIAS, .layer = c->units * i + u,
                                    .in = channels, .out = channels / c->compress, .kernel = c->residual_kernel, .dilation = dilation};
            q3t_load_conv(from, a, &s->unit[u].conv1, &shape);
            load_conv(from, a, &s->unit[u].conv2, Q3T_W_ENCODER_UNIT2, c->units * i + u, channels / c->compress, channels, 1, 1);
        }
        load_conv(from, a, &s->down, Q3T_W_ENCODER_DOWN, i, channels, 2 * channels, 2 * s->rate, s->rate);
        channels *= 2, rows /= s->rate;
    }
    e->width = channels, e->frame_rows = rows;
}

static void carve_layer(q3t_encoder *e, q3t_encoder_layer *l, q3t_arena *a, q3t_loader *from, int32_t i) {
    const q3t_transformer_config *t = &e->config.transformer;
    int32_t n = t->hidden, q = t->heads * t->head_dim, kv = t->kv_heads * t->head_dim;
    const struct { int32_t slot, out, at; } parts[3] = {
        {Q3T_W_ENCODER_Q, q, 0}, {Q3T_W_ENCODER_K, kv, q}, {Q3T_W_ENCODER_V, kv, q + kv}};
    q3t_conv_carve(a, &l->qkv, n, q + 2 * kv, 1, 1);
    for (int j = 0; j < 3; j++) {
        q3t_conv_shape shape = {.slot = parts[j].slot, .bias_slot = -1, .layer = i, .in = n, .out = parts[j].out};
        q3t_load_conv_part(from, &l->qkv, &shape, parts[j].at);
    }
    load_linear(from, a, &l->o, Q3T_W_ENCODER_O, i, q, n, 0);
    load_linear(from, a, &l->fc1, Q3T_W_ENCODER_FC1, i, n, t->intermediate, 0);
    load_linear(from, a, &l->fc2, Q3T_W_ENCODER_FC2, i, t->intermediate, n, 0);
    l->input_norm = q3t_load_vector(from, a, Q3T_W_ENCODER_INPUT_NORM, i, n);
    l->input_norm_bias = q3t_load_vector(from, a, Q3T_W_ENCODER_INPUT_NORM_BIAS, i, n);
    l->post_norm = q3t_load_vector(from, a, Q3T_W_ENCODER_POST_NORM, i, n);
    l->post_norm_bias = q3t_load_vector(from, a, Q3T_W_ENCODER_POST_NORM_BIAS, i, n);
    l->attn_scale = q3t_load_vector(from, a, Q3T_W_ENCODER_ATTN_SCALE, i, n);
    l->mlp_scale = q3t_load_vector(from, a, Q3T_W_ENCODER_MLP_SCALE, i, n);
}

/* Divide the packed sums of a codebook by their usage (codebook_size,); the results are the codebook vectors. norms: out,
 * (codebook_size,), their squared lengths. */
static void divide(const q3t_conv *book, const q3t_tensor *usage, float *norms) {
    for (int32_t k = 0; k < book->out; k++) {
        float *v = (float *)book->w + (size_t)(k / Q3T_BLOCK) * (size_t)book->in * Q3T_BLOCK + k % Q3T_BLOCK;
        float used = q3t_tensor_at(usage, (size_t)k);
        double sum = 0;
        /* not fmaxf: a NaN must remain */
        float divisor = used < 1e-5f ? 1e-5f : used;
        for (int32_t i = 0; i < book->in; i++) {
            v[i * Q3T_BLOCK] /= divisor;
            sum += (double)v[i * Q3T_BLOCK] * v[i * Q3T_BLOCK];
        }
        norms[k] = (float)sum;
    }
}

static void carve_quantizer(q3t_encoder *e, q3t_arena *a, q3t_loader *from) {
    const q3t_encoder_config *c = &e->config;
    int32_t n = c->transformer.hidden, dim = c->codebook_dim, size = c->codebook_size;
    load_linear(from, a, &e->semantic, Q3T_W_ENCODER_SEMANTIC, 0, n, dim, 1);
    load_linear(from, a, &e->acoustic, Q3T_W_ENCODER_ACOUSTIC, 0, n, dim, 1);
    e->books = q3t_carve(a, (size_t)c->code_groups, sizeof *e->books);
    e->norms = q3t_carve(a, (size_t)c->code_groups * (size_t)size, sizeof(float));
    for (int32_t g = 0; g < c->code_groups; g++) {
        q3t_conv measured, *book = e->books ? &e->books[g] : &measured;
        load_linear(from, a, book, Q3T_W_ENCODER_BOOK_SUM, g, dim, size, 0);
        const q3t_tensor *usage = q3t_load_tensor(from, Q3T_W_ENCODER_BOOK_USAGE, g, 1, size, 0, 0);
        if (e->books && from->status == Q3T_OK) divide(book, usage, e->norms + (size_t)g * (size_t)size);
    }
}

static void carve(q3t_encoder *e, q3t_arena *a, q3t_loader *from) {
    const q3t_encoder_config *c = &e->config;
    const q3t_transformer_config *t = &c->transformer;
    /* there is one input channel: the whole kernel becomes the inputs of one tap */
    load_conv(from, a, &e->in, Q3T_W_ENCODER_IN, 0, 1, c->filters, c->kernel, c->kernel);
    carve_stages(e, a, from);
    load_conv(from, a, &e->out, Q3T_W_ENCODER_OUT, 0, e->width, t->hidden, c->last_kernel, 1);
    q3t_encoder_layer *layers = q3t_carve(a, (size_t)t->layers, sizeof *layers), measured;
    for (int32_t i = 0; i < t->layers; i++) carve_layer(e, layers ? &layers[i] : &measured, a, from, i);
    e->layers = layers;
    float *inv = q3t_carve(a, (size_t)t->head_dim / 2, sizeof(float));
    /* the exponent, the power and its inverse are computed in float32, as in the reference */
    for (int32_t i = 0; inv && i < t->head_dim / 2; i++)
        inv[i] = 1.0f / powf((float)t->rope_theta, (float)(2 * i) / (float)t->head_dim);
    e->inv_freq = inv;
    q3t_load_conv(from, a, &e->halve, &(q3t_conv_shape){.slot = Q3T_W_ENCODER_HALVE, .bias_slot = -1, .in = t->hidden, .out = t->hidden,
                                                     .kernel = 2 * c->halving, .fold = c->halving});
    carve_quantizer(e, a, from);
}

q3t_status q3t_encoder_pack(q3t_encoder *e, const q3t_tensor *tensors, size_t count, int32_t threads) {
    q3t_loader from = {.tensors = tensors, .count = count};
    Q3T_TRY(check_config(&e->config));
    e->frame_samples = frame_samples(&e->config);
    carve(e, &e->arena, &from);
    Q3T_TRY(q3t_loader_status(&from));
    Q3T_TRY(q3t_pool_open(threads, &e->pool));
    Q3T_TRY(q3t_arena_reserve(&e->arena));
    from.pool = e->pool;
    carve(e, &e->arena, &from);
    return Q3T_OK;
}
