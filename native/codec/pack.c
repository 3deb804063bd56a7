/* codec/pack.c - converts the weights of the codec's decoder from the layout of the checkpoint to the layout that the kernels
 * read. It also computes everything that depends on weights alone: it divides codebook vectors by their usage, takes the
 * exponentials of SnakeBeta's parameters, and stacks matrices that have the same input.
 *
 * The packed weights are one dense arena in the order of q3t_codec_carve. They have the same bytes on every CPU, so a packed file
 * may hold them. A change of what is carved or packed must raise Q3T_CODEC_LAYOUT. */
#include "codec/internal.h"
#include "base/small.h"
#include <math.h>

enum { STAGE = 4096,   /* floats that are widened at a time */
       DIVISOR_GRAIN = 64 };

/* ------------------------------------------------------------ carving */
static void carve_toom(q3t_arena *a, q3t_conv *c, int32_t channels, int32_t dilation) {
    q3t_conv_carve(a, c, channels, channels, Q3T_TOOM_POINTS, dilation);
    c->taps = Q3T_TOOM_TAPS;
    c->points = Q3T_TOOM_POINTS;
}

static const float *carve_vector(q3t_arena *a, int32_t n) { return q3t_carve(a, (size_t)n, sizeof(float)); }

static void carve_snake(q3t_arena *a, q3t_snake *s, int32_t channels) {
    s->alpha = carve_vector(a, channels);
    s->inv_beta = carve_vector(a, channels);
}

static void carve_transformer(q3t_codec *c, q3t_arena *a) {
    const q3t_transformer_config *t = &c->config.codec;
    q3t_codec_layer *layers = q3t_carve(&c->arena, (size_t)t->layers, sizeof *layers), measured;
    for (int32_t i = 0; i < t->layers; i++) {
        q3t_codec_layer *l = layers ? &layers[i] : &measured;
        q3t_conv_carve(a, &l->qkv, t->hidden, c->qkv_width, 1, 1);
        q3t_conv_carve(a, &l->o, c->q_width, t->hidden, 1, 1);
        q3t_conv_carve(a, &l->gate_up, t->hidden, 2 * t->intermediate, 1, 1);
        q3t_conv_carve(a, &l->down, t->intermediate, t->hidden, 1, 1);
        l->input_norm = carve_vector(a, t->hidden);
        l->post_norm = carve_vector(a, t->hidden);
        l->attn_scale = carve_vector(a, t->hidden);
        l->mlp_scale = carve_vector(a, t->hidden);
    }
    c->layers = layers;
    c->norm = carve_vector(a, t->hidden);
    c->inv_freq = carve_vector(a, t->head_dim / 2);
}

static void carve_upsample(q3t_arena *a, q3t_upsample *u, int32_t latent, int32_t ratio) {
    u->ratio = ratio;
    q3t_conv_carve(a, &u->expand, latent, ratio * latent, 1, 1);
    u->depthwise = q3t_carve(a, Q3T_TAPS, (size_t)latent * sizeof(float));
    u->depthwise_bias = carve_vector(a, latent);
    u->norm = carve_vector(a, latent);
    u->norm_bias = carve_vector(a, latent);
    q3t_conv_carve(a, &u->widen, latent, 4 * latent, 1, 1);
    q3t_conv_carve(a, &u->narrow, 4 * latent, latent, 1, 1);
    u->gamma = carve_vector(a, latent);
}

static void carve_block(q3t_arena *a, q3t_vocoder_block *b) {
    carve_snake(a, &b->act, b->in);
    q3t_conv_carve(a, &b->expand, b->in, b->rate * b->out, 2, 1);
    for (int32_t u = 0, dilation = 1; u < Q3T_UNITS; u++, dilation *= 3) {
        carve_snake(a, &b->unit[u].act1, b->out);
        if (q3t_toom_is_faster(b->out, dilation, b->frame_rows * b->rate)) carve_toom(a, &b->unit[u].conv1, b->out, dilation);
        else q3t_conv_carve(a, &b->unit[u].conv1, b->out, b->out, Q3T_TAPS, dilation);
        carve_snake(a, &b->unit[u].act2, b->out);
        q3t_conv_carve(a, &b->unit[u].conv2, b->out, b->out, 1, 1);
    }
}

void q3t_codec_carve(q3t_codec *c) {
    const q3t_config *f = &c->config;
    q3t_arena *a = &c->weights;
    int32_t vector = f->codebook_dim / 2;
    c->books = q3t_carve(a, (size_t)f->code_groups * (size_t)f->codebook_size, (size_t)vector * sizeof(float));
    q3t_conv_carve(a, &c->project, 2 * vector, f->codebook_dim, 1, 1);
    q3t_conv_carve(a, &c->pre, f->codebook_dim, f->latent_dim, Q3T_PRE_TAPS, 1);
    q3t_conv_carve(a, &c->in, f->latent_dim, f->codec.hidden, 1, 1);
    carve_transformer(c, a);
    q3t_conv_carve(a, &c->out, f->codec.hidden, f->latent_dim, 1, 1);
    for (int32_t i = 0; i < f->upsampling; i++) carve_upsample(a, &c->up[i], f->latent_dim, f->upsampling_ratios[i]);
    q3t_conv_carve(a, &c->vocoder_in, f->latent_dim, f->decoder_dim, Q3T_TAPS, 1);
    for (int32_t i = 0; i < f->rates; i++) carve_block(a, &c->block[i]);
    carve_snake(a, &c->act, c->channels);
    q3t_conv_carve(a, &c->samples, c->channels, 1, Q3T_TAPS, 1);
}

/* ------------------------------------------------------------ small tensors
 * The fields of a codec are pointers to const. The memory of the arena is writable, so the casts below are safe. */
static void copy_vector(const float *to, const q3t_tensor *t) {
    q3t_tensor_widen(t, 0, (size_t)t->shape[0], (float *)to);
}

/* exp is computed in double and then rounded to float, so that every C library gives the same float. */
static void copy_snake(const q3t_snake *to, const q3t_tensor *alpha, const q3t_tensor *beta) {
    float *a = (float *)to->alpha, *b = (float *)to->inv_beta;
    copy_vector(a, alpha);
    copy_vector(b, beta);
    for (int64_t i = 0; i < alpha->shape[0]; i++) {
        a[i] = (float)exp(a[i]);
        b[i] = 1 / ((float)exp(b[i]) + 1e-9f);
    }
}

/* Transpose a tensor (channels, 1, taps) to (taps, channels). */
static void pack_depthwise(const float *to, const q3t_tensor *t) {
    int64_t channels = t->shape[0], taps = t->shape[2];
    for (int64_t i = 0; i < channels; i++)
        for (int64_t tap = 0; tap < taps; tap++)
            ((float *)to)[tap * channels + i] = q3t_tensor_at(t, (size_t)(i * taps + tap));
}

/* ------------------------------------------------------------ large tensors, on the pool */
typedef struct job {
    const q3t_tensor *t, *usage;
    const q3t_conv *conv;
    float *to;
    int32_t stride;      /* transposed_task only: the stride of the convolution */
} job;

/* Item: a row of a codebook. Its vector is the row of `t` (rows, n), a sum, divided by the element of `usage` (rows,). */
static void book_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    const job *j = arg;
    size_t n = (size_t)j->t->shape[1];
    (void)worker;
    for (int32_t r = begin; r < end; r++) {
        float *row = j->to + (size_t)r * n, usage = q3t_tensor_at(j->usage, (size_t)r);
        q3t_tensor_widen(j->t, (size_t)r * n, n, row);
        /* not fmaxf: a NaN must remain */
        float divisor = usage < 1e-5f ? 1e-5f : usage;
        for (size_t i = 0; i < n; i++) row[i] /= divisor;
    }
}

static void pack_book(q3t_codec *c, const q3t_weights *w, q3t_pool *pool, int32_t group) {
    size_t floats = (size_t)c->config.codebook_size * (size_t)(c->config.codebook_dim / 2);
    job j = {.to = (float *)c->books + (size_t)group * floats};
    j.t = group ? q3t_weight(w, Q3T_W_REST_SUM, group - 1) : q3t_weight(w, Q3T_W_FIRST_SUM, 0);
    j.usage = group ? q3t_weight(w, Q3T_W_REST_USAGE, group - 1) : q3t_weight(w, Q3T_W_FIRST_USAGE, 0);
    q3t_pool_run(pool, c->config.codebook_size, DIVISOR_GRAIN, book_task, &j);
}

/* Item: a panel of a tensor (channels, channels, Q3T_TOOM_TAPS). The taps of each input become weights at the points of
 * Toom-Cook. */
static void toom_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    enum { SOME = STAGE / Q3T_BLOCK / Q3T_TOOM_TAPS };
    const job *j = arg;
    const q3t_conv *c = j->conv;
    size_t point = (size_t)c->in * Q3T_BLOCK, row = (size_t)c->in * Q3T_TOOM_TAPS;
    float stage[Q3T_BLOCK][SOME * Q3T_TOOM_TAPS], taps[Q3T_TOOM_TAPS][Q3T_BLOCK];
    (void)worker;
    for (int32_t p = begin; p < end; p++) {
        int32_t n = q3t_min(Q3T_BLOCK, c->out - p * Q3T_BLOCK);
        float *panel = (float *)c->w + (size_t)p * Q3T_TOOM_POINTS * point;
        memset(taps, 0, sizeof taps);
        for (int32_t i = 0; i < c->in; i++) {
            int32_t at = i % SOME;
            for (int32_t r = 0; at == 0 && r < n; r++)
                q3t_tensor_widen(j->t, (size_t)(p * Q3T_BLOCK + r) * row + (size_t)i * Q3T_TOOM_TAPS,
                                 (size_t)q3t_min(SOME, c->in - i) * Q3T_TOOM_TAPS, stage[r]);
            for (int32_t r = 0; r < n; r++)
                for (int32_t tap = 0; tap < Q3T_TOOM_TAPS; tap++) taps[tap][r] = stage[r][at * Q3T_TOOM_TAPS + tap];
            q3t_toom_weights(panel + (size_t)i * Q3T_BLOCK, point, (const float(*)[Q3T_BLOCK])taps);
        }
    }
}

/* Pack a tensor (outputs, inputs) or (outputs, inputs, taps) into conv: its output 0 becomes output out0 of conv, its input 0
 * becomes input in0. bias: (outputs,) or NULL. */
static void pack_dense(const q3t_conv *conv, q3t_pool *pool, const q3t_tensor *t, const q3t_tensor *bias, int32_t out0, int32_t in0) {
    q3t_conv_pack(conv, pool, t, bias, out0, in0, 1);
}

/* Pack the first convolution of a residual unit: for Toom-Cook if conv->points is not 0, else for direct convolution. */
static void pack_unit_conv(const q3t_conv *conv, q3t_pool *pool, const q3t_tensor *t, const q3t_tensor *bias) {
    job j = {.t = t, .conv = conv};
    if (!conv->points) {
        pack_dense(conv, pool, t, bias, 0, 0);
        return;
    }
    q3t_pool_run(pool, q3t_panels(conv->out), 1, toom_task, &j);
    copy_vector(conv->bias, bias);
}

/* Item: an input channel of the tensor (inputs, outputs, kernel) of a transposed convolution, kernel = taps * stride. The packed
 * convolution makes `stride` output rows at once: its output n is output n % outputs of row n / outputs. Tap 0 reads the oldest
 * input row, so it gets the last `stride` elements of the kernel. */
static void transposed_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    const job *j = arg;
    const q3t_conv *c = j->conv;
    int32_t outputs = (int32_t)j->t->shape[1], kernel = (int32_t)j->t->shape[2], step = q3t_max(STAGE / kernel, 1);
    float stage[STAGE];
    (void)worker;
    for (int32_t i = begin; i < end; i++)
        for (int32_t o0 = 0; o0 < outputs; o0 += step) {
            int32_t some = q3t_min(step, outputs - o0);
            q3t_tensor_widen(j->t, ((size_t)i * (size_t)outputs + (size_t)o0) * (size_t)kernel, (size_t)(some * kernel), stage);
            for (int32_t k = 0; k < kernel; k++) {
                int32_t tap = c->taps - 1 - k / j->stride, n = k % j->stride * outputs + o0;
                for (int32_t o = 0; o < some;) {
                    size_t panel = (size_t)(n + o) / Q3T_BLOCK;
                    int32_t lane = (n + o) % Q3T_BLOCK, run = q3t_min(Q3T_BLOCK - lane, some - o);
                    float *to = (float *)c->w + ((panel * (size_t)c->taps + (size_t)tap) * (size_t)c->in + (size_t)i) * Q3T_BLOCK + lane;
                    for (int32_t q = 0; q < run; q++) to[q] = stage[(o + q) * kernel + k];
                    o += run;
                }
            }
        }
}

static void pack_transposed(const q3t_conv *conv, q3t_pool *pool, const q3t_tensor *t, const q3t_tensor *bias, int32_t stride) {
    job j = {.t = t, .conv = conv, .stride = stride};
    q3t_pool_run(pool, conv->in, 8, transposed_task, &j);
    int64_t outputs = t->shape[1];
    for (int32_t r = 0; r < stride; r++) copy_vector(conv->bias + r * outputs, bias);
}

static void pack_transformer(q3t_codec *c, const q3t_weights *w, q3t_pool *pool) {
    const q3t_transformer_config *t = &c->config.codec;
    for (int32_t i = 0; i < t->layers; i++) {
        const q3t_codec_layer *l = &c->layers[i];
        pack_dense(&l->qkv, pool, q3t_weight(w, Q3T_W_CODEC_Q, i), NULL, 0, 0);
        pack_dense(&l->qkv, pool, q3t_weight(w, Q3T_W_CODEC_K, i), NULL, c->q_width, 0);
        pack_dense(&l->qkv, pool, q3t_weight(w, Q3T_W_CODEC_V, i), NULL, c->q_width + c->kv_width, 0);
        pack_dense(&l->o, pool, q3t_weight(w, Q3T_W_CODEC_O, i), NULL, 0, 0);
        pack_dense(&l->gate_up, pool, q3t_weight(w, Q3T_W_CODEC_GATE, i), NULL, 0, 0);
        pack_dense(&l->gate_up, pool, q3t_weight(w, Q3T_W_CODEC_UP, i), NULL, t->intermediate, 0);
        pack_dense(&l->down, pool, q3t_weight(w, Q3T_W_CODEC_DOWN, i), NULL, 0, 0);
        copy_vector(l->input_norm, q3t_weight(w, Q3T_W_CODEC_INPUT_NORM, i));
        copy_vector(l->post_norm, q3t_weight(w, Q3T_W_CODEC_POST_NORM, i));
        copy_vector(l->attn_scale, q3t_weight(w, Q3T_W_CODEC_ATTN_SCALE, i));
        copy_vector(l->mlp_scale, q3t_weight(w, Q3T_W_CODEC_MLP_SCALE, i));
    }
    copy_vector(c->norm, q3t_weight(w, Q3T_W_CODEC_NORM, 0));
    /* the exponent, the power and its inverse are each rounded to float32, as in the reference */
    for (int32_t i = 0; i < t->head_dim / 2; i++)
        ((float *)c->inv_freq)[i] = 1.0f / (float)pow((float)t->rope_theta, (float)(2 * i) / (float)t->head_dim);
}

static void pack_upsample(const q3t_upsample *u, const q3t_weights *w, q3t_pool *pool, int32_t i) {
    pack_transposed(&u->expand, pool, q3t_weight(w, Q3T_W_UP_CONV, i), q3t_weight(w, Q3T_W_UP_CONV_BIAS, i), u->ratio);
    pack_depthwise(u->depthwise, q3t_weight(w, Q3T_W_UP_DW, i));
    copy_vector(u->depthwise_bias, q3t_weight(w, Q3T_W_UP_DW_BIAS, i));
    copy_vector(u->norm, q3t_weight(w, Q3T_W_UP_NORM, i));
    copy_vector(u->norm_bias, q3t_weight(w, Q3T_W_UP_NORM_BIAS, i));
    pack_dense(&u->widen, pool, q3t_weight(w, Q3T_W_UP_PW1, i), q3t_weight(w, Q3T_W_UP_PW1_BIAS, i), 0, 0);
    pack_dense(&u->narrow, pool, q3t_weight(w, Q3T_W_UP_PW2, i), q3t_weight(w, Q3T_W_UP_PW2_BIAS, i), 0, 0);
    copy_vector(u->gamma, q3t_weight(w, Q3T_W_UP_GAMMA, i));
}

static void pack_block(const q3t_vocoder_block *b, const q3t_weights *w, q3t_pool *pool, int32_t i) {
    copy_snake(&b->act, q3t_weight(w, Q3T_W_BLOCK_ALPHA, i), q3t_weight(w, Q3T_W_BLOCK_BETA, i));
    pack_transposed(&b->expand, pool, q3t_weight(w, Q3T_W_BLOCK_CONV, i), q3t_weight(w, Q3T_W_BLOCK_CONV_BIAS, i), b->rate);
    for (int32_t u = 0; u < Q3T_UNITS; u++) {
        const q3t_unit *unit = &b->unit[u];
        int32_t n = Q3T_UNITS * i + u;
        copy_snake(&unit->act1, q3t_weight(w, Q3T_W_UNIT_ALPHA1, n), q3t_weight(w, Q3T_W_UNIT_BETA1, n));
        pack_unit_conv(&unit->conv1, pool, q3t_weight(w, Q3T_W_UNIT_CONV1, n), q3t_weight(w, Q3T_W_UNIT_CONV1_BIAS, n));
        copy_snake(&unit->act2, q3t_weight(w, Q3T_W_UNIT_ALPHA2, n), q3t_weight(w, Q3T_W_UNIT_BETA2, n));
        pack_dense(&unit->conv2, pool, q3t_weight(w, Q3T_W_UNIT_CONV2, n), q3t_weight(w, Q3T_W_UNIT_CONV2_BIAS, n), 0, 0);
    }
}

void q3t_codec_pack(q3t_codec *c, const q3t_weights *w, q3t_pool *pool) {
    const q3t_config *f = &c->config;
    for (int32_t g = 0; g < f->code_groups; g++) pack_book(c, w, pool, g);
    pack_dense(&c->project, pool, q3t_weight(w, Q3T_W_FIRST_PROJ, 0), NULL, 0, 0);
    pack_dense(&c->project, pool, q3t_weight(w, Q3T_W_REST_PROJ, 0), NULL, 0, f->codebook_dim / 2);
    pack_dense(&c->pre, pool, q3t_weight(w, Q3T_W_PRE_CONV, 0), q3t_weight(w, Q3T_W_PRE_CONV_BIAS, 0), 0, 0);
    pack_dense(&c->in, pool, q3t_weight(w, Q3T_W_CODEC_IN, 0), q3t_weight(w, Q3T_W_CODEC_IN_BIAS, 0), 0, 0);
    pack_transformer(c, w, pool);
    pack_dense(&c->out, pool, q3t_weight(w, Q3T_W_CODEC_OUT, 0), q3t_weight(w, Q3T_W_CODEC_OUT_BIAS, 0), 0, 0);
    for (int32_t i = 0; i < f->upsampling; i++) pack_upsample(&c->up[i], w, pool, i);
    pack_dense(&c->vocoder_in, pool, q3t_weight(w, Q3T_W_DEC_IN, 0), q3t_weight(w, Q3T_W_DEC_IN_BIAS, 0), 0, 0);
    for (int32_t i = 0; i < f->rates; i++) pack_block(&c->block[i], w, pool, i);
    copy_snake(&c->act, q3t_weight(w, Q3T_W_DEC_ALPHA, 0), q3t_weight(w, Q3T_W_DEC_BETA, 0));
    pack_dense(&c->samples, pool, q3t_weight(w, Q3T_W_DEC_OUT, 0), q3t_weight(w, Q3T_W_DEC_OUT_BIAS, 0), 0, 0);
}
