/* codec/internal.h - shared by the files of the codec's decoder: the structures of packed weights, history and scratch, and the
 * functions that run layers on the thread pool.
 *
 * Activations are channel-last: (rows, channels) float32, one row for each time step. A transposed convolution of stride r
 * writes one row of r * channels floats for each input row; the same memory read as (r * rows, channels) is its output. The rows
 * of one stream follow the rows of another. A window is the input of a causal convolution: for each stream its history, which
 * is the last rows of the call before, then its rows of this call. */
#ifndef Q3T_CODEC_INTERNAL_H
#define Q3T_CODEC_INTERNAL_H
#include "attention/kv_cache.h"
#include "codec/decoder.h"
#include "conv/pack.h"
#include "conv/run.h"

enum { Q3T_PRE_TAPS = 3,      /* taps of pre_conv */
       Q3T_TAPS = 7,          /* taps of the depthwise convolutions and of the vocoder's convolutions */
       Q3T_UNITS = 3,         /* residual units in a vocoder block */
       Q3T_UPS = 8, Q3T_BLOCKS = 8 };  /* largest numbers of upsampling stages and of vocoder blocks */

/* The windows, each the input of one convolution of struct q3t_codec. Between calls the state of a stream holds the stream's
 * history of each window. */
enum { Q3T_WIN_QUANTIZED,     /* input of `pre` */
       Q3T_WIN_VOCODER,       /* input of `vocoder_in` */
       Q3T_WIN_SAMPLES,       /* input of `samples`, the last convolution */
       Q3T_WIN_UP,            /* Q3T_WIN_UP + i: input of the depthwise convolution of up[i] */
       Q3T_WIN_BLOCK = Q3T_WIN_UP + Q3T_UPS,       /* Q3T_WIN_BLOCK + i: input of `expand` of block[i] */
       Q3T_WIN_UNIT = Q3T_WIN_BLOCK + Q3T_BLOCKS,  /* Q3T_WIN_UNIT + i * Q3T_UNITS + u: input of `conv1` of block[i].unit[u] */
       Q3T_WINDOWS = Q3T_WIN_UNIT + Q3T_BLOCKS * Q3T_UNITS };

typedef struct q3t_codec_layer {
    q3t_conv qkv, o, gate_up, down;  /* matrices: convolutions of one tap */
    const float *input_norm, *post_norm, *attn_scale, *mlp_scale;
} q3t_codec_layer;

typedef struct q3t_upsample {        /* transposed convolution, then a ConvNeXt block */
    q3t_conv expand, widen, narrow;  /* the transposed convolution; matrices latent to 4 * latent and 4 * latent to latent */
    const float *depthwise, *depthwise_bias;  /* (Q3T_TAPS, latent), (latent,) */
    const float *norm, *norm_bias, *gamma;    /* (latent,) */
    int32_t ratio;                   /* output rows for each input row */
} q3t_upsample;

typedef struct q3t_unit {            /* x + conv2(act2(conv1(act1(x)))) */
    q3t_snake act1, act2;
    q3t_conv conv1, conv2;
} q3t_unit;

typedef struct q3t_toom_scratch {    /* scratch of codec/toom.c */
    size_t shared_floats, part_floats;
    float *shared, *parts;           /* (shared_floats,), for all threads; (count, part_floats), a part is for one thread */
    int32_t count;
} q3t_toom_scratch;

typedef struct q3t_vocoder_block {
    q3t_snake act;                   /* activation of the block's input */
    q3t_conv expand;
    q3t_unit unit[Q3T_UNITS];
    int32_t in, out, rate;           /* input channels, output channels, output rows for each input row */
    int32_t frame_rows;              /* input rows for each frame */
    int32_t frames;                  /* frames of a stream in one call of the block: few, so that the rows stay in the cache */
} q3t_vocoder_block;

struct q3t_codec {
    q3t_config config;
    const q3t_kernels *kernels;
    q3t_arena arena;                 /* memory of `layers` */
    q3t_arena weights;               /* the packed weights; dense */
    int borrowed;                    /* 1: the memory of `weights` belongs to the caller */
    int32_t frame_samples, q_width, kv_width, qkv_width;
    int32_t threads;                 /* threads of the pool that the codec was opened with */
    int32_t reach;                   /* returned by q3t_codec_reach */
    int32_t batched_blocks;          /* vocoder blocks [0, batched_blocks) run on the rows of all streams together, because they
                                        have most of the weights and few rows; later blocks run stream by stream */
    const float *books;              /* (code_groups, codebook_size, codebook_dim / 2) */
    const float *inv_freq;           /* (head_dim / 2,): frequencies of the rotary embedding */
    q3t_conv project;                /* the two projections of the quantizer as one matrix: its output is the sum of theirs */
    q3t_conv pre, in, out;
    const float *norm;
    q3t_codec_layer *layers;         /* (config.codec.layers,) */
    q3t_upsample up[Q3T_UPS];
    q3t_conv vocoder_in;
    q3t_vocoder_block block[Q3T_BLOCKS];
    q3t_snake act;                   /* after the last block */
    q3t_conv samples;                /* the last convolution, whose output is the samples */
    int32_t channels;                /* output channels of the last block */
};

struct q3t_codec_state {
    q3t_arena arena;
    int64_t position;                /* frames decoded so far */
    int64_t base;                    /* position of the first key in the KV cache; a multiple of Q3T_KEYS */
    q3t_kv_cache cache;              /* keys and values of all layers, f32 */
    float *history[Q3T_WINDOWS];     /* for each window: (rows of history, channels of the window) */
};

struct q3t_codec_work {              /* `frames` in a shape below is the field `frames`, `latent` is config.latent_dim */
    q3t_arena arena;
    int32_t frames;                  /* largest number of frames, and so of streams, in a round: one pass through the decoder */
    q3t_codec_call *call[Q3T_CODEC_BATCH_FRAMES];  /* the calls of the current round, one for each stream */
    int32_t first[Q3T_CODEC_BATCH_FRAMES + 1];     /* frames [first[i], first[i + 1]) of the round belong to call[i] */
    q3t_streams streams;             /* points to `first`; at most Q3T_CODEC_STREAM_FRAMES frames of each stream */
    float *window[Q3T_WINDOWS];      /* (streams * rows of history + rows of the round, channels of the window) */
    float *codes;                    /* (frames, codebook_dim): the vector of code 0, then the sum of the other vectors */
    float *quantized;                /* (frames, codebook_dim): output of `project` */
    float *cos, *sin;                /* (frames, head_dim / 2) */
    float *x, *h, *delta;            /* (frames, hidden) */
    float *qkv;                      /* (frames, qkv_width) */
    float *mixed;                    /* (frames, q_width): output of the attention */
    float *gate_up;                  /* (frames, 2 * intermediate) */
    float *scores;                   /* (frames, kv_heads, score_floats): scratch of the attention, for each stream and KV head */
    size_t score_floats;
    float *latent;                   /* (frames, latent): input and output of the transformer */
    float *up_h;                     /* (rows of the last upsampling stage, latent) */
    float *up_wide;                  /* (rows of the last upsampling stage, 4 * latent) */
    float *up_x, *up_y;              /* (rows of the last upsampling stage, latent): output of the even and of the odd stages */
    float *block_x, *block_h;        /* (output rows, output channels) of the largest block: the residual, and the values between
                                        the two convolutions of a unit */
    q3t_toom_scratch toom;
};

/* Frames of a stream in the current round. */
static inline int32_t q3t_stream_frames(const q3t_codec_work *w, int32_t stream) { return w->first[stream + 1] - w->first[stream]; }

/* ---- codec/state.c */
/* Returns the floats of one stream's history in a window; 0 if the codec does not have this window. */
size_t q3t_window_history(const q3t_codec *c, int32_t window);
/* Returns the channels of a window: the floats of one row. */
int32_t q3t_window_channels(const q3t_codec *c, int32_t window);

/* ---- codec/pack.c */
/* Carve c->weights and c->arena; runs twice, see base/arena.h. */
void q3t_codec_carve(q3t_codec *c);
/* Pack the weights into the carved memory of c->weights. */
void q3t_codec_pack(q3t_codec *c, const q3t_weights *w, q3t_pool *pool);

/* ---- codec/layers.c: layers that run on the thread pool */

/* Run the two convolutions of a residual unit. */
void q3t_codec_unit(const q3t_codec *c, const q3t_toom_scratch *scratch, q3t_pool *pool, const q3t_conv_step *first,
                    const q3t_conv_step *second);
/* Compute the attention of one layer for the positions of the round. Reads queries, keys and values from w->qkv, stores keys and
 * values in the KV cache of each stream, and writes the output to w->mixed. */
void q3t_codec_attend(const q3t_codec *c, q3t_codec_work *w, q3t_pool *pool, int32_t layer);
/* Run the depthwise convolution and the layer norm of upsampling stage i. Reads the window Q3T_WIN_UP + i, writes w->up_h.
 * rows: number of rows that the stage has for each frame. */
void q3t_codec_depthwise(const q3t_codec *c, q3t_codec_work *w, q3t_pool *pool, int32_t i, int32_t rows);

/* ---- codec/toom.c */

/* Returns 1 if Toom-Cook is faster than the direct convolution of Q3T_TAPS taps, where each frame has frame_rows rows. */
int32_t q3t_toom_is_faster(int32_t channels, int32_t dilation, int32_t frame_rows);
/* Convert the taps of one input channel for Q3T_BLOCK outputs to weights at the Q3T_TOOM_POINTS points. The Q3T_BLOCK weights of
 * point p go to `to` + p * step. */
void q3t_toom_weights(float *to, size_t step, const float taps[Q3T_TOOM_TAPS][Q3T_BLOCK]);
/* Raise the sizes in *t to the sizes that convolution c needs for `frames` frames of frame_rows rows. */
void q3t_toom_reserve(const q3t_conv *c, int32_t frame_rows, int32_t frames, q3t_toom_scratch *t);
/* Does the same as q3t_codec_unit, if the first convolution has weights for Toom-Cook (conv->points is not 0). */
void q3t_toom_unit(const q3t_codec *c, const q3t_toom_scratch *scratch, q3t_pool *pool, const q3t_conv_step *first,
                   const q3t_conv_step *second);
#endif
