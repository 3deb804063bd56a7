/* codec/run.c - runs the streaming decoder of the codec: frames of codes in, samples out. For each frame, in this order (k is the
 * number of taps of a convolution):
 *
 *   quantizer      sum of 16 codebook vectors, in two groups; a projection of each group; convolution k = 3; one row (latent,)
 *   transformer    matrix `in`; layers of windowed attention and SwiGLU; RMS norm; matrix `out`
 *   upsampling     each stage: transposed convolution k = stride, then x + gamma * ConvNeXt(x); multiplies the rows by its ratio
 *   vocoder        convolution k = 7; each block: SnakeBeta, transposed convolution k = 2 * stride, three residual units;
 *                  multiplies the rows by its rate
 *   end            SnakeBeta, convolution k = 7, clamp to [-1, 1]
 *
 * Each convolution reads a window: a stream's history, then its rows of this call. Up to the last of the batched vocoder blocks
 * there are many weights and few rows, so the rows of all streams are computed together; later blocks run stream by stream.
 * Source: modeling_qwen3_tts_tokenizer_v2.py, Qwen3TTSTokenizerV2Decoder. */
#include "codec/internal.h"
#include "base/small.h"
#include <math.h>

/* ------------------------------------------------------------ windows */
/* Copy the history of each stream into a window, before the place of the stream's rows. rows: number of rows for each frame.
 * from: the rows of all streams, which are copied to their places; NULL: the caller writes them there later. */
static void load_history(const q3t_codec *c, q3t_codec_work *w, int32_t window, int32_t rows, const float *from) {
    size_t history = q3t_window_history(c, window), row = (size_t)q3t_window_channels(c, window);
    float *to = w->window[window];
    for (int32_t i = 0; i < w->streams.count; i++) {
        size_t n = (size_t)q3t_stream_frames(w, i) * (size_t)rows * row;
        memcpy(to, w->call[i]->state->history[window], history * sizeof *to);
        if (from) {
            memcpy(to + history, from, n * sizeof *to);
            from += n;
        }
        to += history + n;
    }
}

/* Copy the last rows of each stream in a window to the history in the stream's state. rows: number of rows for each frame. */
static void save_history(const q3t_codec *c, const q3t_codec_work *w, int32_t window, int32_t rows) {
    size_t history = q3t_window_history(c, window), row = (size_t)q3t_window_channels(c, window);
    const float *x = w->window[window];
    for (int32_t i = 0; i < w->streams.count; i++) {
        x += (size_t)q3t_stream_frames(w, i) * (size_t)rows * row;
        memcpy(w->call[i]->state->history[window], x, history * sizeof *x);
        x += history;
    }
}

static float *rows_of(const q3t_codec *c, const q3t_codec_work *w, int32_t window) {
    return w->window[window] + q3t_window_history(c, window);
}

/* Move the last rows of a window of one stream to its front, as the history of the next call. rows: rows of this call. */
static void advance(const q3t_codec *c, const q3t_codec_work *w, int32_t window, int32_t rows) {
    size_t moved = (size_t)rows * (size_t)q3t_window_channels(c, window);
    memmove(w->window[window], w->window[window] + moved, q3t_window_history(c, window) * sizeof(float));
}

/* ------------------------------------------------------------ codes to latent rows */
static void linear(const q3t_codec *c, q3t_pool *pool, const q3t_conv *conv, const float *x, size_t ldx, float *y, int32_t rows) {
    q3t_conv_run(c->kernels, pool, &(q3t_conv_step){.conv = conv, .x = x, .ldx = ldx, .y = y, .rows = rows});
}

/* Frames of all streams in the current round. */
static int32_t all_frames(const q3t_codec_work *w) { return w->first[w->streams.count]; }

/* Add up the codebook vectors of one frame, code (code_groups,): the vector of code 0 goes to first (codebook_dim / 2,), the sum
 * of the other vectors after it. */
static void sum_vectors(const q3t_codec *c, const int32_t *code, float *first) {
    int32_t n = c->config.codebook_dim / 2;
    size_t book = (size_t)c->config.codebook_size * (size_t)n;
    float *rest = first + n;
    memcpy(first, c->books + (size_t)code[0] * (size_t)n, (size_t)n * sizeof(float));
    memcpy(rest, c->books + book + (size_t)code[1] * (size_t)n, (size_t)n * sizeof(float));
    for (int32_t g = 2; g < c->config.code_groups; g++)
        c->kernels->add(rest, c->books + (size_t)g * book + (size_t)code[g] * (size_t)n, n);
}

/* Compute w->latent (frames, latent) from the codes of every stream's frames in this round. */
static void quantize(const q3t_codec *c, q3t_codec_work *w, q3t_pool *pool) {
    int32_t dim = c->config.codebook_dim, frames = all_frames(w);
    for (int32_t i = 0; i < w->streams.count; i++)
        for (int32_t t = 0; t < q3t_stream_frames(w, i); t++)
            sum_vectors(c, w->call[i]->codes + (size_t)(w->call[i]->done + t) * (size_t)c->config.code_groups,
                        w->codes + (size_t)(w->first[i] + t) * (size_t)dim);
    linear(c, pool, &c->project, w->codes, (size_t)dim, w->quantized, frames);
    load_history(c, w, Q3T_WIN_QUANTIZED, 1, w->quantized);
    q3t_conv_run(c->kernels, pool, &(q3t_conv_step){.conv = &c->pre, .x = w->window[Q3T_WIN_QUANTIZED], .ldx = (size_t)dim, .y = w->latent,
                                                    .rows = frames, .frame_rows = 1, .streams = &w->streams,
                                                    .x_gap = q3t_window_history(c, Q3T_WIN_QUANTIZED)});
    save_history(c, w, Q3T_WIN_QUANTIZED, 1);
}

/* Make room for `frames` more positions in the KV cache: remove whole blocks of positions that have left the attention window. */
static void make_room(const q3t_codec *c, q3t_codec_state *s, int32_t frames) {
    int32_t used = (int32_t)(s->position - s->base), keep = c->config.sliding_window - 1;
    if (used + frames <= s->cache.capacity) return;
    int32_t drop = (used - keep) / Q3T_KEYS * Q3T_KEYS;
    q3t_kv_drop(&s->cache, drop);
    s->base += drop;
}

/* Compute the cosines and sines of the rotary embedding for a stream's positions. The angle is an exact product in double, so
 * the angle between two positions depends on their distance alone, however long the stream is. */
static void rotations(const q3t_codec *c, q3t_codec_work *w, int32_t stream) {
    int32_t half = c->config.codec.head_dim / 2;
    for (int32_t t = 0; t < q3t_stream_frames(w, stream); t++)
        for (int32_t i = 0; i < half; i++) {
            double angle = (double)(w->call[stream]->state->position + t) * (double)c->inv_freq[i];
            w->cos[(w->first[stream] + t) * half + i] = (float)cos(angle);
            w->sin[(w->first[stream] + t) * half + i] = (float)sin(angle);
        }
}

static void norm_rows(const q3t_codec *c, const float *weight, const float *x, float *y, int32_t rows) {
    int32_t n = c->config.codec.hidden;
    for (int32_t t = 0; t < rows; t++)
        c->kernels->rmsnorm(y + (size_t)t * (size_t)n, x + (size_t)t * (size_t)n, weight, n, c->config.codec.rms_eps);
}

/* w->x += scale * (conv applied to x); conv has one tap. */
static void add_linear(const q3t_codec *c, q3t_codec_work *w, q3t_pool *pool, const q3t_conv *conv, const float *x, size_t ldx,
                       const float *scale) {
    q3t_conv_run(c->kernels, pool, &(q3t_conv_step){.conv = conv, .x = x, .ldx = ldx, .y = w->delta, .rows = all_frames(w),
                                                    .epilogue = Q3T_EPILOGUE_ADD_SCALED, .scale = scale, .residual = w->x});
}

/* Run the transformer on w->latent (frames, latent), in place. */
static void transform(const q3t_codec *c, q3t_codec_work *w, q3t_pool *pool) {
    const q3t_transformer_config *f = &c->config.codec;
    size_t hidden = (size_t)f->hidden, inter = (size_t)f->intermediate;
    int32_t frames = all_frames(w);
    for (int32_t i = 0; i < w->streams.count; i++) {
        make_room(c, w->call[i]->state, q3t_stream_frames(w, i));
        rotations(c, w, i);
    }
    linear(c, pool, &c->in, w->latent, (size_t)c->config.latent_dim, w->x, frames);
    for (int32_t i = 0; i < f->layers; i++) {
        const q3t_codec_layer *l = &c->layers[i];
        norm_rows(c, l->input_norm, w->x, w->h, frames);
        linear(c, pool, &l->qkv, w->h, hidden, w->qkv, frames);
        q3t_codec_attend(c, w, pool, i);
        add_linear(c, w, pool, &l->o, w->mixed, (size_t)c->q_width, l->attn_scale);
        norm_rows(c, l->post_norm, w->x, w->h, frames);
        linear(c, pool, &l->gate_up, w->h, hidden, w->gate_up, frames);
        for (int32_t t = 0; t < frames; t++) {
            float *gate = w->gate_up + (size_t)t * 2 * inter;
            c->kernels->silu_mul(gate, gate, gate + inter, f->intermediate);
        }
        add_linear(c, w, pool, &l->down, w->gate_up, 2 * inter, l->mlp_scale);
    }
    norm_rows(c, c->norm, w->x, w->h, frames);
    linear(c, pool, &c->out, w->h, hidden, w->latent, frames);
    for (int32_t i = 0; i < w->streams.count; i++) w->call[i]->state->position += q3t_stream_frames(w, i);
}

/* ------------------------------------------------------------ latent rows to samples */
/* Run upsampling stage i. x: its input, `rows` rows for each frame. y: its output, rows * ratio rows for each frame:
 * y = e + gamma * narrow(gelu(widen(norm(depthwise(e))))) with e = expand(x), the transposed convolution. */
static void upsample(const q3t_codec *c, q3t_codec_work *w, q3t_pool *pool, int32_t i, const float *x, int32_t rows, float *y) {
    const q3t_upsample *u = &c->up[i];
    size_t latent = (size_t)c->config.latent_dim;
    int32_t all = all_frames(w) * rows * u->ratio;
    linear(c, pool, &u->expand, x, latent, y, all_frames(w) * rows);
    load_history(c, w, Q3T_WIN_UP + i, rows * u->ratio, y);
    q3t_codec_depthwise(c, w, pool, i, rows * u->ratio);
    save_history(c, w, Q3T_WIN_UP + i, rows * u->ratio);
    q3t_conv_run(c->kernels, pool, &(q3t_conv_step){.conv = &u->widen, .x = w->up_h, .ldx = latent, .y = w->up_wide, .rows = all,
                                                    .epilogue = Q3T_EPILOGUE_GELU});
    q3t_conv_run(c->kernels, pool, &(q3t_conv_step){.conv = &u->narrow, .x = w->up_wide, .ldx = 4 * latent, .y = w->up_h, .rows = all,
                                                    .epilogue = Q3T_EPILOGUE_ADD_SCALED, .scale = u->gamma, .residual = y});
}

/* Run the last convolution on `frames` frames of one stream, which are in its window, and write the clamped samples. */
static q3t_status finish(const q3t_codec *c, q3t_codec_work *w, q3t_pool *pool, int32_t frames, float *samples) {
    int32_t n = frames * c->frame_samples;
    linear(c, pool, &c->samples, w->window[Q3T_WIN_SAMPLES], (size_t)c->channels, samples, n);
    advance(c, w, Q3T_WIN_SAMPLES, n);
    if (!c->kernels->finite(samples, n)) return Q3T_E_CODEC_NONFINITE;
    c->kernels->clamp(samples, n);
    return Q3T_OK;
}

/* Run vocoder block i on `frames` frames of the streams, or of one stream if streams is NULL. x: where the rows of these frames
 * begin in the block's window. The output goes to the window of the next block or of the last convolution. */
static void run_block(const q3t_codec *c, q3t_codec_work *w, q3t_pool *pool, int32_t i, const float *x, int32_t frames,
                      const q3t_streams *streams) {
    const q3t_vocoder_block *b = &c->block[i];
    int32_t last = i + 1 == c->config.rates, rows = frames * b->frame_rows, frame_rows = b->frame_rows * b->rate;
    int32_t unit0 = Q3T_WIN_UNIT + i * Q3T_UNITS, next = last ? Q3T_WIN_SAMPLES : Q3T_WIN_BLOCK + i + 1;
    q3t_conv_run(c->kernels, pool, &(q3t_conv_step){.conv = &b->expand, .x = x, .ldx = (size_t)b->in, .y = w->block_x, .rows = rows,
                                                    .frame_rows = b->frame_rows, .streams = streams,
                                                    .x_gap = q3t_window_history(c, Q3T_WIN_BLOCK + i), .epilogue = Q3T_EPILOGUE_SNAKE,
                                                    .channels = b->out, .snake = b->unit[0].act1, .out = rows_of(c, w, unit0),
                                                    .out_gap = q3t_window_history(c, unit0)});
    for (int32_t u = 0; u < Q3T_UNITS; u++) {
        const q3t_unit *unit = &b->unit[u];
        int32_t more = u + 1 < Q3T_UNITS, to = more ? unit0 + u + 1 : next;
        q3t_conv_step first = {.conv = &unit->conv1, .x = w->window[unit0 + u], .ldx = (size_t)b->out, .y = w->block_h,
                               .rows = frames * frame_rows, .frame_rows = frame_rows, .streams = streams,
                               .x_gap = q3t_window_history(c, unit0 + u), .epilogue = Q3T_EPILOGUE_SNAKE, .channels = b->out,
                               .snake = unit->act2, .out = w->block_h};
        q3t_conv_step second = {.conv = &unit->conv2, .x = w->block_h, .ldx = (size_t)b->out, .y = rows_of(c, w, to),
                                .rows = frames * frame_rows, .frame_rows = frame_rows, .streams = streams,
                                .y_gap = q3t_window_history(c, to), .out_gap = q3t_window_history(c, to),
                                .epilogue = Q3T_EPILOGUE_ADD_SNAKE, .channels = b->out, .residual = w->block_x, .out = rows_of(c, w, to),
                                .snake = more ? b->unit[u + 1].act1 : last ? c->act : c->block[i + 1].act};
        q3t_codec_unit(c, &w->toom, pool, &first, &second);
        if (!streams) advance(c, w, unit0 + u, frames * frame_rows);
    }
}

/* Run the vocoder blocks [0, batched_blocks) for all streams together. The output of the last of them goes to the window of the
 * next block. */
static void run_batched_blocks(const q3t_codec *c, q3t_codec_work *w, q3t_pool *pool) {
    for (int32_t i = 0; i <= c->batched_blocks; i++) {
        const q3t_vocoder_block *b = &c->block[i];
        if (i) load_history(c, w, Q3T_WIN_BLOCK + i, b->frame_rows, NULL);
        for (int32_t u = 0; u < Q3T_UNITS && i < c->batched_blocks; u++)
            load_history(c, w, Q3T_WIN_UNIT + i * Q3T_UNITS + u, b->frame_rows * b->rate, NULL);
    }
    for (int32_t i = 0; i < c->batched_blocks; i++) {
        const q3t_vocoder_block *b = &c->block[i];
        run_block(c, w, pool, i, w->window[Q3T_WIN_BLOCK + i], all_frames(w), &w->streams);
        for (int32_t u = 0; u < Q3T_UNITS; u++) save_history(c, w, Q3T_WIN_UNIT + i * Q3T_UNITS + u, b->frame_rows * b->rate);
    }
    for (int32_t i = 0; i <= c->batched_blocks; i++) save_history(c, w, Q3T_WIN_BLOCK + i, c->block[i].frame_rows);
}

/* Run vocoder block i, all later blocks and the last convolution on `frames` frames of one stream, which begin at x in the window
 * of block i. A block takes at most b->frames frames at a time. Their samples are finished before the block takes more frames,
 * so that the rows stay in the cache. */
static q3t_status vocode(const q3t_codec *c, q3t_codec_work *w, q3t_pool *pool, int32_t i, const float *x, int32_t frames,
                         float *samples) {
    if (i == c->config.rates) return finish(c, w, pool, frames, samples);
    const q3t_vocoder_block *b = &c->block[i];
    int32_t steps = (frames - 1) / b->frames + 1;
    for (int32_t left = frames; left > 0; steps--) {
        int32_t n = (left - 1) / steps + 1, next = i + 1 < c->config.rates ? Q3T_WIN_BLOCK + i + 1 : Q3T_WIN_SAMPLES;
        run_block(c, w, pool, i, x, n, NULL);
        Q3T_TRY(vocode(c, w, pool, i + 1, w->window[next], n, samples));
        x += (size_t)n * (size_t)b->frame_rows * (size_t)b->in;
        samples += (size_t)n * (size_t)c->frame_samples;
        left -= n;
    }
    if (i > c->batched_blocks) advance(c, w, Q3T_WIN_BLOCK + i, frames * b->frame_rows);
    return Q3T_OK;
}

/* Copy a stream's histories into the windows of the layers that run stream by stream (in = 1), or from these windows back to the
 * stream's state (in = 0). */
static void copy_histories(const q3t_codec *c, const q3t_codec_work *w, const q3t_codec_state *s, int in) {
    for (int32_t i = 0; i < Q3T_WINDOWS; i++) {
        int32_t block = i >= Q3T_WIN_UNIT ? (i - Q3T_WIN_UNIT) / Q3T_UNITS : i - Q3T_WIN_BLOCK - 1;
        size_t bytes = q3t_window_history(c, i) * sizeof(float);
        if (i != Q3T_WIN_SAMPLES && (i < Q3T_WIN_BLOCK || block < c->batched_blocks || bytes == 0)) continue;
        if (in) memcpy(w->window[i], s->history[i], bytes);
        else memcpy(s->history[i], w->window[i], bytes);
    }
}

/* ------------------------------------------------------------ rounds */
/* Choose the frames of the next round: from each call that still has frames, as many as there is room for. Returns 0 if no call
 * has frames left, else 1. */
static int begin_round(q3t_codec_work *w, q3t_codec_call *calls, int32_t n) {
    int32_t frames = 0, count = 0;
    for (int32_t i = 0; i < n; i++) {
        int32_t part = q3t_min(q3t_min(calls[i].frames - calls[i].done, Q3T_CODEC_STREAM_FRAMES), w->frames - frames);
        if (part <= 0 || calls[i].status != Q3T_OK) continue;
        w->call[count] = &calls[i];
        w->first[count++] = frames;
        frames += part;
    }
    w->first[count] = frames;
    w->streams = (q3t_streams){count, w->first};
    return count > 0;
}

static void end_round(q3t_codec_work *w) {
    for (int32_t i = 0; i < w->streams.count; i++) w->call[i]->done += q3t_stream_frames(w, i);
}

/* Decode the frames of a round. */
static void run_round(const q3t_codec *c, q3t_codec_work *w, q3t_pool *pool) {
    int32_t stages = c->config.upsampling, rows = 1;
    const float *x = w->latent;
    quantize(c, w, pool);
    transform(c, w, pool);
    for (int32_t i = 0; i < stages; i++) {
        float *y = i % 2 ? w->up_y : w->up_x;
        upsample(c, w, pool, i, x, rows, y);
        rows *= c->up[i].ratio;
        x = y;
    }
    load_history(c, w, Q3T_WIN_VOCODER, rows, x);
    load_history(c, w, Q3T_WIN_BLOCK, rows, NULL);
    float *to = rows_of(c, w, Q3T_WIN_BLOCK);
    size_t gap = q3t_window_history(c, Q3T_WIN_BLOCK);
    q3t_conv_run(c->kernels, pool, &(q3t_conv_step){.conv = &c->vocoder_in, .x = w->window[Q3T_WIN_VOCODER],
                                                    .ldx = (size_t)c->config.latent_dim, .y = to, .rows = all_frames(w) * rows,
                                                    .frame_rows = rows, .streams = &w->streams,
                                                    .x_gap = q3t_window_history(c, Q3T_WIN_VOCODER), .y_gap = gap, .out_gap = gap,
                                                    .epilogue = Q3T_EPILOGUE_SNAKE, .channels = c->config.decoder_dim,
                                                    .snake = c->block[0].act, .out = to});
    save_history(c, w, Q3T_WIN_VOCODER, rows);
    run_batched_blocks(c, w, pool);
    const q3t_vocoder_block *b = &c->block[c->batched_blocks];
    int32_t window = Q3T_WIN_BLOCK + c->batched_blocks;
    x = w->window[window];
    for (int32_t i = 0; i < w->streams.count; i++) {
        q3t_codec_call *call = w->call[i];
        copy_histories(c, w, call->state, 1);
        float *samples = call->samples + (size_t)call->done * (size_t)c->frame_samples;
        call->status = vocode(c, w, pool, c->batched_blocks, x, q3t_stream_frames(w, i), samples);
        copy_histories(c, w, call->state, 0);
        x += (size_t)q3t_stream_frames(w, i) * (size_t)b->frame_rows * (size_t)b->in + q3t_window_history(c, window);
    }
}

int32_t q3t_codec_reach(const q3t_codec *c) { return c->reach; }

void q3t_codec_run(const q3t_codec *c, q3t_codec_work *w, q3t_pool *pool, q3t_codec_call *calls, int32_t n) {
    for (int32_t i = 0; i < n; i++) calls[i].done = 0, calls[i].status = Q3T_OK;
    while (begin_round(w, calls, n)) {
        run_round(c, w, pool);
        end_round(w);
    }
}

void q3t_codec_skip(const q3t_codec *c, q3t_codec_work *w, q3t_pool *pool, q3t_codec_call *call) {
    call->done = 0, call->status = Q3T_OK;
    while (begin_round(w, call, 1)) {
        quantize(c, w, pool);
        transform(c, w, pool);
        end_round(w);
    }
}
