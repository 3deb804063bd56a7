/* voice/speaker_encoder.c - the speaker encoder, an ECAPA-TDNN: computes one speaker vector from the T rows of a mel spectrogram.
 * conv is a convolution, k1 a convolution with one tap, [a, b] the channels of a and b side by side; means, sums and the softmax
 * are over the T rows:
 *
 *   x = relu(conv(mel))
 *   each block:   h = relu(k1 x), cut into parts p0, p1, p2, ... of its channels
 *                 in h, p1 = relu(conv p1), then for i = 2, 3, ... pi = relu(conv(pi + p(i - 1)))
 *                 g = relu(k1 h); x += sigmoid(k1 relu(k1 mean(g))) * g
 *   y = relu(k1 [the outputs of all blocks])
 *   w = softmax(k1 tanh(relu(k1 [y, mean(y), deviation(y)])))
 *   m = sum(w y); vector = k1 [m, sqrt(sum(w (y - m)^2))]
 *
 * Convolutions keep the number of rows: their input is reflected at both ends. Sums over the T rows are computed in double. The
 * memory used grows with T.
 * Source: modeling_qwen3_tts.py, Qwen3TTSSpeakerEncoder. */
#include "base/small.h"
#include "conv/run.h"
#include "voice/loader.h"
#include "voice/mel_spectrogram.h"
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { BLOCK = 256,      /* rows that are computed at a time where not all rows must be in memory */
       COLUMNS = 32,     /* channels handed to a thread at a time in sums over T */
       MAX_LAYERS = 8, MAX_CHANNELS = 16384 };

typedef struct speaker_block {
    q3t_conv tdnn1, tdnn2, se1, se2;
    q3t_conv *res;                   /* (scale - 1,) */
} speaker_block;

struct q3t_speaker {
    q3t_speaker_config config;
    q3t_kernels kernels;
    q3t_pool *pool;
    atomic_int stop;                 /* 1 after q3t_speaker_stop */
    q3t_arena arena;
    q3t_mel mel;
    int32_t joined;                  /* channels of the outputs of all blocks together */
    q3t_conv in, mfa, attention, weigh, out;
    speaker_block block[MAX_LAYERS];
};

static int32_t last_of(const q3t_speaker *s) { return s->config.layers - 1; }
static int32_t blocks_of(const q3t_speaker *s) { return s->config.layers - 2; }
/* Returns how many rows a convolution reads beyond each end of its input. */
static int32_t edge(const q3t_conv *c) { return (c->taps - 1) * c->dilation / 2; }

/* ------------------------------------------------------------ opening */
static q3t_status check_config(const q3t_speaker_config *c) {
    if (!q3t_in_range(c->layers, 3, MAX_LAYERS) || !q3t_in_range(c->scale, 2, 64) || !q3t_in_range(c->se, 1, MAX_CHANNELS) ||
        !q3t_in_range(c->attention, 1, MAX_CHANNELS) || !q3t_in_range(c->embedding, 1, MAX_CHANNELS))
        return Q3T_E_CONFIG;
    for (int32_t i = 0; i < c->layers; i++) {
        if (!q3t_in_range(c->channels[i], 1, MAX_CHANNELS) || !q3t_in_range(c->kernels[i], 1, 31) || c->kernels[i] % 2 == 0 ||
            !q3t_in_range(c->dilations[i], 1, 64))
            return Q3T_E_CONFIG;
        /* the input of a block is added to its output */
        if (i > 0 && i + 1 < c->layers && (c->channels[i] != c->channels[i - 1] || c->channels[i] % c->scale)) return Q3T_E_CONFIG;
    }
    return c->kernels[c->layers - 1] == 1 ? Q3T_OK : Q3T_E_CONFIG;
}

static void load_conv(q3t_loader *from, q3t_arena *a, q3t_conv *conv, int32_t slot, int32_t layer, int32_t in, int32_t out,
                      int32_t kernel, int32_t dilation) {
    q3t_load_conv(from, a, conv, &(q3t_conv_shape){.slot = slot, .bias_slot = slot + 1, .layer = layer, .in = in, .out = out,
                                                .kernel = kernel, .dilation = dilation});
}

static void carve(q3t_speaker *s, q3t_arena *a, q3t_loader *from) {
    const q3t_speaker_config *c = &s->config;
    int32_t width = c->channels[last_of(s)];
    q3t_mel_carve(&s->mel, a);
    load_conv(from, a, &s->in, Q3T_W_SPEAKER_IN, 0, Q3T_MEL_BINS, c->channels[0], c->kernels[0], c->dilations[0]);
    s->joined = 0;
    for (int32_t i = 0; i < blocks_of(s); i++) {
        speaker_block *b = &s->block[i];
        int32_t n = c->channels[i + 1], part = n / c->scale;
        q3t_conv measured;
        load_conv(from, a, &b->tdnn1, Q3T_W_SPEAKER_TDNN1, i, n, n, 1, 1);
        b->res = q3t_carve(a, (size_t)c->scale - 1, sizeof *b->res);
        for (int32_t j = 0; j < c->scale - 1; j++)
            load_conv(from, a, b->res ? &b->res[j] : &measured, Q3T_W_SPEAKER_RES, (c->scale - 1) * i + j, part, part,
                      c->kernels[i + 1], c->dilations[i + 1]);
        load_conv(from, a, &b->tdnn2, Q3T_W_SPEAKER_TDNN2, i, n, n, 1, 1);
        load_conv(from, a, &b->se1, Q3T_W_SPEAKER_SE1, i, n, c->se, 1, 1);
        load_conv(from, a, &b->se2, Q3T_W_SPEAKER_SE2, i, c->se, n, 1, 1);
        s->joined += n;
    }
    load_conv(from, a, &s->mfa, Q3T_W_SPEAKER_MFA, 0, s->joined, width, 1, 1);
    load_conv(from, a, &s->attention, Q3T_W_SPEAKER_ATTENTION, 0, 3 * width, c->attention, 1, 1);
    load_conv(from, a, &s->weigh, Q3T_W_SPEAKER_POOL, 0, c->attention, width, 1, 1);
    load_conv(from, a, &s->out, Q3T_W_SPEAKER_OUT, 0, 2 * width, c->embedding, 1, 1);
}

static q3t_status open_parts(q3t_speaker *s, const q3t_tensor *tensors, size_t count, int32_t threads) {
    q3t_loader from = {.tensors = tensors, .count = count};
    carve(s, &s->arena, &from);
    Q3T_TRY(q3t_loader_status(&from));
    Q3T_TRY(q3t_pool_open(threads, &s->pool));
    Q3T_TRY(q3t_arena_reserve(&s->arena));
    from.pool = s->pool;
    carve(s, &s->arena, &from);
    return Q3T_OK;
}

q3t_status q3t_speaker_open(const q3t_speaker_config *config, const q3t_tensor *tensors, size_t count,
                            const q3t_model_options *options, q3t_speaker **speaker) {
    if (!config || !tensors || !options || !speaker || options->threads < 1) return Q3T_E_ARGUMENT;
    Q3T_TRY(check_config(config));
    q3t_speaker *s = calloc(1, sizeof *s);
    if (!s) return Q3T_E_MEMORY;
    s->config = *config;
    q3t_kernels_init(&s->kernels, q3t_cpu_flags() & options->cpu_mask);
    q3t_status status = open_parts(s, tensors, count, options->threads);
    if (status != Q3T_OK) {
        q3t_speaker_close(s);
        return status;
    }
    *speaker = s;
    return Q3T_OK;
}

void q3t_speaker_stop(q3t_speaker *s) {
    if (s) atomic_store(&s->stop, 1);
}

void q3t_speaker_close(q3t_speaker *s) {
    if (!s) return;
    q3t_pool_close(s->pool);
    q3t_arena_free(&s->arena);
    free(s);
}

/* ------------------------------------------------------------ sums over T */
/* Arguments of the tasks below; each task reads some of them. Item, if the comment of a task says no other: a channel. x and logits
 * are (rows, channels), with ld and ld_logits floats from row to row. */
typedef struct columns {
    const float *x, *logits;
    size_t ld, ld_logits;
    int32_t rows, channels;
    double *sum, *scale, *largest;   /* (channels,) */
    const double *mean;
    float *y;
    const float *gate, *residual;
} columns;

/* sum += the sum of x over the rows. */
static void sum_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    const columns *p = arg;
    (void)worker;
    for (int32_t t = 0; t < p->rows; t++)
        for (int32_t c = begin; c < end; c++) p->sum[c] += p->x[(size_t)t * p->ld + (size_t)c];
}

/* sum += the sum of (x - mean)^2 over the rows. */
static void square_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    const columns *p = arg;
    (void)worker;
    for (int32_t t = 0; t < p->rows; t++)
        for (int32_t c = begin; c < end; c++) {
            double d = p->x[(size_t)t * p->ld + (size_t)c] - p->mean[c];
            p->sum[c] += d * d;
        }
}

/* One part of a softmax whose rows come in several calls: over the rows of this call, sum += e^(logit - largest) * x and
 * scale += e^(logit - largest). If a row has a larger logit, it becomes `largest`, and sum and scale are rescaled first. */
static void weigh_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    const columns *p = arg;
    (void)worker;
    for (int32_t c = begin; c < end; c++) {
        double top = p->largest[c];
        for (int32_t t = 0; t < p->rows; t++) {
            double logit = p->logits[(size_t)t * p->ld_logits + (size_t)c];
            if (logit > top) top = logit;
        }
        double keep = exp(p->largest[c] - top), sum = p->sum[c] * keep, scale = p->scale[c] * keep;
        for (int32_t t = 0; t < p->rows; t++) {
            double w = expf((float)(p->logits[(size_t)t * p->ld_logits + (size_t)c] - top));
            sum += w * p->x[(size_t)t * p->ld + (size_t)c];
            scale += w;
        }
        p->sum[c] = sum, p->scale[c] = scale, p->largest[c] = top;
    }
}

/* sum += the sum of e^(logit - largest) / scale * (x - mean)^2 over the rows. */
static void spread_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    const columns *p = arg;
    (void)worker;
    for (int32_t c = begin; c < end; c++)
        for (int32_t t = 0; t < p->rows; t++) {
            double w = expf((float)(p->logits[(size_t)t * p->ld_logits + (size_t)c] - p->largest[c]));
            double d = p->x[(size_t)t * p->ld + (size_t)c] - p->mean[c];
            p->sum[c] += w / p->scale[c] * d * d;
        }
}

/* ------------------------------------------------------------ one recording */
typedef struct pass {
    const q3t_speaker *s;
    q3t_arena arena;
    int32_t rows, pad, width;        /* mel rows; most reflected rows at one end; channels of y */
    float *padded;                   /* (pad + rows + pad, channels): input of a convolution with reflected edges */
    float *x, *h, *g;                /* (rows, channels of a block): x before the first block; h and g of a block */
    float *joined;                   /* (rows, ld): outputs of the blocks, then y */
    float *y;                        /* (BLOCK, width) */
    float *wide, *narrow, *logits;   /* (BLOCK, 3 width), (BLOCK, attention), (BLOCK, width) */
    float *vector, *squeezed, *gate; /* (2 width,), (se,), (widest block,) */
    double *sum, *mean, *deviation, *scale, *largest; /* (the larger of the channels of a block and width,) */
    size_t ld;                       /* floats from row to row of `joined`: the larger of s->joined and width */
} pass;

static void carve_pass(pass *p, q3t_arena *a) {
    const q3t_speaker *s = p->s;
    size_t rows = (size_t)p->rows, block = (size_t)s->config.channels[0], width = (size_t)p->width, f = sizeof(float);
    size_t part = block / (size_t)s->config.scale, reflected = part > Q3T_MEL_BINS ? part : Q3T_MEL_BINS;
    size_t widest = block > width ? block : width;
    p->ld = (size_t)s->joined > width ? (size_t)s->joined : width;
    p->padded = q3t_carve(a, rows + 2 * (size_t)p->pad, reflected * f);
    p->x = q3t_carve(a, rows, block * f);
    p->h = q3t_carve(a, rows, block * f);
    p->g = q3t_carve(a, rows, block * f);
    p->joined = q3t_carve(a, rows, p->ld * f);
    p->y = q3t_carve(a, BLOCK, width * f);
    p->wide = q3t_carve(a, BLOCK, 3 * width * f);
    p->narrow = q3t_carve(a, BLOCK, (size_t)s->config.attention * f);
    p->logits = q3t_carve(a, BLOCK, width * f);
    p->vector = q3t_carve(a, 2, width * f);
    p->squeezed = q3t_carve(a, (size_t)s->config.se, f);
    p->gate = q3t_carve(a, 2, block * f);
    p->sum = q3t_carve(a, widest, sizeof(double));
    p->mean = q3t_carve(a, widest, sizeof(double));
    p->deviation = q3t_carve(a, widest, sizeof(double));
    p->scale = q3t_carve(a, widest, sizeof(double));
    p->largest = q3t_carve(a, widest, sizeof(double));
}

static void run(const pass *p, const q3t_conv *conv, const float *x, size_t ldx, float *y, size_t ldy, int32_t rows,
                q3t_epilogue epilogue) {
    q3t_conv_run(&p->s->kernels, p->s->pool,
                 &(q3t_conv_step){.conv = conv, .x = x, .ldx = ldx, .y = y, .ldy = ldy, .rows = rows, .epilogue = epilogue});
}

/* p->padded holds p->rows rows from row edge_rows on. Fill the edge_rows rows before them and after them by reflection. */
static void reflect(const pass *p, int32_t edge_rows, size_t channels) {
    float *first = p->padded + (size_t)edge_rows * channels, *last = first + (size_t)(p->rows - 1) * channels;
    for (size_t i = 1; i <= (size_t)edge_rows; i++) {
        memcpy(first - i * channels, first + i * channels, channels * sizeof(float));
        memcpy(last + i * channels, last - i * channels, channels * sizeof(float));
    }
}

/* Replace the parts p1, p2, ... of p->h, one after another, as the head of this file says. */
static void res2net(const pass *p, const speaker_block *b, int32_t channels) {
    int32_t scale = p->s->config.scale, part = channels / scale;
    for (int32_t j = 1; j < scale; j++) {
        const q3t_conv *conv = &b->res[j - 1];
        float *rows = p->padded + (size_t)edge(conv) * (size_t)part, *to = p->h + j * part;
        for (int32_t t = 0; t < p->rows; t++) {
            float *row = rows + (size_t)t * (size_t)part;
            const float *from = to + (size_t)t * (size_t)channels;
            memcpy(row, from, (size_t)part * sizeof(float));
            if (j > 1) p->s->kernels.add(row, from - part, part);
        }
        reflect(p, edge(conv), (size_t)part);
        run(p, conv, p->padded, (size_t)part, to, (size_t)channels, p->rows, Q3T_EPILOGUE_RELU);
    }
}

/* p->mean = the mean of x (rows, channels) over the rows. ld: floats from row to row. */
static void means(const pass *p, const float *x, size_t ld, int32_t channels) {
    columns c = {.x = x, .ld = ld, .rows = p->rows, .channels = channels, .sum = p->mean};
    memset(p->mean, 0, (size_t)channels * sizeof(double));
    q3t_pool_run(p->s->pool, channels, COLUMNS, sum_task, &c);
    for (int32_t i = 0; i < channels; i++) p->mean[i] /= p->rows;
}

/* Item: a row. y = residual + gate * x. */
static void excite_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    const columns *c = arg;
    (void)worker;
    for (int32_t t = begin; t < end; t++)
        for (int32_t i = 0; i < c->channels; i++)
            c->y[(size_t)t * c->ld + (size_t)i] =
                c->residual[(size_t)t * c->ld_logits + (size_t)i] + c->gate[i] * c->x[(size_t)t * (size_t)c->channels + (size_t)i];
}

/* Run block i. x: its input (rows, n), ldx floats from row to row. out: its output (rows, n), p->ld floats from row to row. */
static void run_block(const pass *p, int32_t i, const float *x, size_t ldx, float *out) {
    const speaker_block *b = &p->s->block[i];
    int32_t n = p->s->config.channels[i + 1];
    float *mean = p->gate + n;
    run(p, &b->tdnn1, x, ldx, p->h, (size_t)n, p->rows, Q3T_EPILOGUE_RELU);
    res2net(p, b, n);
    run(p, &b->tdnn2, p->h, (size_t)n, p->g, (size_t)n, p->rows, Q3T_EPILOGUE_RELU);
    means(p, p->g, (size_t)n, n);
    for (int32_t c = 0; c < n; c++) mean[c] = (float)p->mean[c];
    run(p, &b->se1, mean, (size_t)n, p->squeezed, (size_t)p->s->config.se, 1, Q3T_EPILOGUE_RELU);
    run(p, &b->se2, p->squeezed, (size_t)p->s->config.se, p->gate, (size_t)n, 1, Q3T_EPILOGUE_NONE);
    for (int32_t c = 0; c < n; c++) p->gate[c] = 1 / (1 + expf(-p->gate[c]));
    columns c = {.x = p->g, .y = out, .ld = p->ld, .residual = x, .ld_logits = ldx, .gate = p->gate, .channels = n};
    q3t_pool_run(p->s->pool, p->rows, BLOCK, excite_task, &c);
}

/* Compute y from the outputs of the blocks. Both are in p->joined: y replaces them. */
static void join(const pass *p) {
    for (int32_t t = 0; t < p->rows; t += BLOCK) {
        int32_t n = q3t_min(BLOCK, p->rows - t);
        float *rows = p->joined + (size_t)t * p->ld;
        run(p, &p->s->mfa, rows, p->ld, p->y, (size_t)p->width, n, Q3T_EPILOGUE_RELU);
        for (int32_t i = 0; i < n; i++)
            memcpy(rows + (size_t)i * p->ld, p->y + (size_t)i * (size_t)p->width, (size_t)p->width * sizeof(float));
    }
}

/* Compute the logits of the softmax for the rows [t, t + n): p->logits (n, width). */
static void logits(const pass *p, int32_t t, int32_t n) {
    int32_t width = p->width;
    for (int32_t i = 0; i < n; i++) {
        float *row = p->wide + (size_t)i * 3 * (size_t)width;
        memcpy(row, p->joined + (size_t)(t + i) * p->ld, (size_t)width * sizeof(float));
        if (t) continue;   /* the other two thirds of the row, mean and deviation, are the same for all t */
        for (int32_t c = 0; c < width; c++) row[width + c] = p->vector[c], row[2 * width + c] = p->vector[width + c];
    }
    run(p, &p->s->attention, p->wide, 3 * (size_t)width, p->narrow, (size_t)p->s->config.attention, n, Q3T_EPILOGUE_TANH_RELU);
    run(p, &p->s->weigh, p->narrow, (size_t)p->s->config.attention, p->logits, (size_t)width, n, Q3T_EPILOGUE_NONE);
}

static float root(double variance) { return (float)sqrt(variance < 1e-12 ? 1e-12 : variance); }

/* p->vector = the mean and the standard deviation of each channel of y, weighted by the softmax w. */
static void pool_statistics(const pass *p) {
    int32_t width = p->width;
    size_t bytes = (size_t)width * sizeof(double);
    means(p, p->joined, p->ld, width);
    columns c = {.x = p->joined, .ld = p->ld, .rows = p->rows, .channels = width, .mean = p->mean, .sum = p->deviation};
    memset(p->deviation, 0, bytes);
    q3t_pool_run(p->s->pool, width, COLUMNS, square_task, &c);
    for (int32_t i = 0; i < width; i++) {
        p->vector[i] = (float)p->mean[i];
        p->vector[width + i] = root(p->deviation[i] / p->rows);
        p->largest[i] = -INFINITY;
    }
    c.logits = p->logits, c.ld_logits = (size_t)width, c.scale = p->scale, c.largest = p->largest, c.sum = p->sum;
    memset(p->sum, 0, bytes);
    memset(p->scale, 0, bytes);
    for (int32_t t = 0; t < p->rows; t += BLOCK) {
        logits(p, t, c.rows = q3t_min(BLOCK, p->rows - t));
        c.x = p->joined + (size_t)t * p->ld;
        q3t_pool_run(p->s->pool, width, COLUMNS, weigh_task, &c);
    }
    for (int32_t i = 0; i < width; i++) p->mean[i] = p->sum[i] / p->scale[i];
    c.sum = p->deviation;
    memset(p->deviation, 0, bytes);
    for (int32_t t = 0; t < p->rows; t += BLOCK) {
        logits(p, t, c.rows = q3t_min(BLOCK, p->rows - t));
        c.x = p->joined + (size_t)t * p->ld;
        q3t_pool_run(p->s->pool, width, COLUMNS, spread_task, &c);
    }
    for (int32_t i = 0; i < width; i++) {
        p->vector[i] = (float)p->mean[i];
        p->vector[width + i] = root(p->deviation[i]);
    }
}

static q3t_status embed(const pass *p, const float *samples, int32_t n, float *embedding) {
    const q3t_speaker *s = p->s;
    int32_t before = edge(&s->in), channels = s->config.channels[0];
    q3t_mel_run(&s->mel, s->pool, samples, n, p->padded + (size_t)before * Q3T_MEL_BINS, Q3T_MEL_BINS);
    reflect(p, before, Q3T_MEL_BINS);
    run(p, &s->in, p->padded, Q3T_MEL_BINS, p->x, (size_t)channels, p->rows, Q3T_EPILOGUE_RELU);
    const float *x = p->x;
    size_t ldx = (size_t)channels;
    for (int32_t i = 0; i < blocks_of(s); i++) {
        if (atomic_load(&p->s->stop)) return Q3T_E_STOPPED;
        float *out = p->joined + (size_t)i * (size_t)channels;
        run_block(p, i, x, ldx, out);
        x = out, ldx = p->ld;
    }
    if (atomic_load(&p->s->stop)) return Q3T_E_STOPPED;
    join(p);
    pool_statistics(p);
    if (!s->kernels.finite(p->vector, 2 * p->width)) return Q3T_E_ENCODER_NONFINITE;
    run(p, &s->out, p->vector, 2 * (size_t)p->width, embedding, (size_t)s->config.embedding, 1, Q3T_EPILOGUE_NONE);
    return s->kernels.finite(embedding, s->config.embedding) ? Q3T_OK : Q3T_E_ENCODER_NONFINITE;
}

q3t_status q3t_speaker_embed(q3t_speaker *s, const float *samples, int32_t n, float *embedding) {
    if (!s || !samples || !embedding || n <= Q3T_MEL_FFT) return Q3T_E_ARGUMENT;
    Q3T_TRY(q3t_pool_ready(s->pool));
    pass p = {.s = s, .rows = q3t_mel_frames(n), .pad = edge(&s->in), .width = s->config.channels[last_of(s)]};
    for (int32_t i = 0; i < blocks_of(s); i++) p.pad = edge(&s->block[i].res[0]) > p.pad ? edge(&s->block[i].res[0]) : p.pad;
    if (p.rows <= p.pad) return Q3T_E_ARGUMENT;
    carve_pass(&p, &p.arena);
    Q3T_TRY(q3t_arena_reserve(&p.arena));
    carve_pass(&p, &p.arena);
    q3t_status status = embed(&p, samples, n, embedding);
    q3t_arena_free(&p.arena);
    return status;
}

q3t_status q3t_speaker_mel(q3t_speaker *s, const float *samples, int32_t n, float *mel) {
    if (!s || !samples || !mel || n <= Q3T_MEL_FFT) return Q3T_E_ARGUMENT;
    Q3T_TRY(q3t_pool_ready(s->pool));
    q3t_mel_run(&s->mel, s->pool, samples, n, mel, Q3T_MEL_BINS);
    return Q3T_OK;
}
