/* codec/internal.h - what the files of the decoder share: packed weights, the history of a stream, scratch, and the parallel
 * steps.
 *
 * Activations are channel-last: (rows, channels) float32, one row for each time step. A transposed convolution of stride r
 * writes rows of r * channels, which are r rows of channels in the same memory. The rows of several streams follow each
 * other. A window is the input of a causal convolution; in it the rows of each stream come after the stream's history, the
 * last rows of the call before. */
#ifndef Q3T_CODEC_INTERNAL_H
#define Q3T_CODEC_INTERNAL_H
#include "attention/kv_cache.h"
#include "codec/decoder.h"
#include "conv/pack.h"
#include "conv/run.h"

enum { Q3T_PRE_TAPS = 3,      /* of pre_conv */
       Q3T_TAPS = 7,          /* of the depthwise convolutions and of the vocoder's */
       Q3T_UNITS = 3,         /* residual units in a vocoder block */
       Q3T_UPS = 8, Q3T_BLOCKS = 8 };  /* upsampling stages and vocoder blocks at most */

/* The windows. Between calls the state of a stream holds its history of each. */
enum { Q3T_WIN_QUANTIZED,     /* into pre */
       Q3T_WIN_VOCODER,       /* into vocoder_in */
       Q3T_WIN_SAMPLES,       /* into the last convolution */
       Q3T_WIN_UP,            /* into the depthwise convolutions */
       Q3T_WIN_BLOCK = Q3T_WIN_UP + Q3T_UPS,       /* into the blocks' transposed convolutions */
       Q3T_WIN_UNIT = Q3T_WIN_BLOCK + Q3T_BLOCKS,  /* into conv1 of the units: block * Q3T_UNITS + unit */
       Q3T_WINDOWS = Q3T_WIN_UNIT + Q3T_BLOCKS * Q3T_UNITS };

typedef struct q3t_codec_layer {
    q3t_conv qkv, o, gate_up, down;  /* matrices: one tap */
    const float *input_norm, *post_norm, *attn_scale, *mlp_scale;
} q3t_codec_layer;

typedef struct q3t_upsample {        /* transposed convolution, then a ConvNeXt block */
    q3t_conv expand, widen, narrow;
    const float *depthwise, *depthwise_bias;  /* (Q3T_TAPS, latent), (latent,) */
    const float *norm, *norm_bias, *gamma;
    int32_t ratio;
} q3t_upsample;

typedef struct q3t_unit {            /* x + conv2(act2(conv1(act1(x)))) */
    q3t_snake act1, act2;
    q3t_conv conv1, conv2;
} q3t_unit;

typedef struct q3t_toom_scratch {    /* for codec/toom.c */
    size_t shared_floats, part_floats;
    float *shared, *parts;           /* (shared_floats,), (count, part_floats) */
    int32_t count;                   /* of parts */
} q3t_toom_scratch;

typedef struct q3t_vocoder_block {
    q3t_snake act;                   /* of the block's input */
    q3t_conv expand;
    q3t_unit unit[Q3T_UNITS];
    int32_t in, out, rate;           /* channels in and out, rows out for one in */
    int32_t frame_rows;              /* rows in, for one frame */
    int32_t frames;                  /* of a stream in one call of the block, so that the rows between two units stay in the cache */
} q3t_vocoder_block;

struct q3t_codec {
    q3t_config config;
    const q3t_kernels *kernels;
    q3t_arena arena;                 /* of the structures with pointers: the layers */
    q3t_arena weights;               /* what they point to; dense */
    int borrowed;                    /* 1: the memory of `weights` belongs to the caller */
    int32_t frame_samples, q_width, kv_width, qkv_width;
    int32_t threads;                 /* of the pool that the codec was opened with */
    int32_t reach;                   /* see q3t_codec_reach */
    int32_t batched_blocks;          /* vocoder blocks [0, batched_blocks) run on the rows of all streams together: they have most
                                        of the weights and few rows; later blocks run stream by stream */
    const float *books;              /* (code_groups, codebook_size, codebook_dim / 2) */
    const float *inv_freq;           /* (head_dim / 2,) */
    q3t_conv project;                /* the two projections of the quantizer, side by side: the sum of their outputs */
    q3t_conv pre, in, out;
    const float *norm;
    q3t_codec_layer *layers;         /* (config.codec.layers,) */
    q3t_upsample up[Q3T_UPS];
    q3t_conv vocoder_in;
    q3t_vocoder_block block[Q3T_BLOCKS];
    q3t_snake act;                   /* after the last block */
    q3t_conv samples;
    int32_t channels;                /* of the last block */
};

struct q3t_codec_state {
    q3t_arena arena;
    int64_t position;                /* frames decoded so far */
    int64_t base;                    /* position of the first key in the KV cache; a multiple of Q3T_KEYS */
    q3t_kv_cache cache;              /* of all layers, f32 */
    float *history[Q3T_WINDOWS];     /* (history rows, channels) of each window */
};

struct q3t_codec_work {              /* for at most `frames` frames of at most as many streams */
    q3t_arena arena;
    int32_t frames;
    q3t_codec_call *call[Q3T_CODEC_BATCH_FRAMES];  /* of the current round, one for each stream */
    int32_t first[Q3T_CODEC_BATCH_FRAMES + 1];
    q3t_streams streams;             /* points to `first`; at most Q3T_CODEC_STREAM_FRAMES frames of each */
    float *window[Q3T_WINDOWS];      /* (streams * history + rows, channels) */
    float *codes;                    /* (frames, codebook_dim): the vector of code 0, then the sum of the other vectors */
    float *quantized;                /* (frames, codebook_dim) */
    float *cos, *sin;                /* (frames, head_dim / 2) */
    float *x, *h, *delta;            /* (frames, hidden) */
    float *qkv;                      /* (frames, qkv_width) */
    float *mixed;                    /* (frames, q_width) */
    float *gate_up;                  /* (frames, 2 * intermediate) */
    float *scores;                   /* (streams, kv_heads, score_floats), for as many streams as frames */
    size_t score_floats;
    float *latent;                   /* (frames, latent): before and after the transformer */
    float *up_h;                     /* (rows of the last stage, latent) */
    float *up_wide;                  /* (rows of the last stage, 4 * latent) */
    float *up_x, *up_y;              /* (rows of the last stage, latent): output of the even and of the odd stages */
    float *block_x, *block_h;        /* the rows of the widest block: residual; between the convolutions of a unit */
    q3t_toom_scratch toom;
};

/* Frames of a stream in the current round. */
static inline int32_t q3t_stream_frames(const q3t_codec_work *w, int32_t stream) { return w->first[stream + 1] - w->first[stream]; }

/* ---- codec/state.c */
/* Floats of a stream's history in a window, 0 if the codec does not have this window; floats of a row. */
size_t q3t_window_history(const q3t_codec *c, int32_t window);
int32_t q3t_window_channels(const q3t_codec *c, int32_t window);

/* ---- codec/pack.c */
/* Carve c->weights and c->arena; runs twice, see base/arena.h. */
void q3t_codec_carve(q3t_codec *c);
void q3t_codec_pack(q3t_codec *c, const q3t_weights *w, q3t_pool *pool);

/* ---- codec/layers.c: steps on the thread pool */

/* The two convolutions of a residual unit. */
void q3t_codec_unit(const q3t_codec *c, const q3t_toom_scratch *scratch, q3t_pool *pool, const q3t_conv_step *first,
                    const q3t_conv_step *second);
/* Attention of one layer for the positions of every stream: w->qkv -> w->mixed; their keys and values go to the KV caches. */
void q3t_codec_attend(const q3t_codec *c, q3t_codec_work *w, q3t_pool *pool, int32_t layer);
/* Depthwise convolution, then layer norm, of the new rows of upsampling stage i. Reads the stage's window (its history and
 * the new rows), writes w->up_h. rows: new rows for each frame. */
void q3t_codec_depthwise(const q3t_codec *c, q3t_codec_work *w, q3t_pool *pool, int32_t i, int32_t rows);

/* ---- codec/toom.c */

/* 1 if Toom-Cook is faster than the direct convolution of Q3T_TAPS taps, for frames of frame_rows rows. */
int32_t q3t_toom_is_faster(int32_t channels, int32_t dilation, int32_t frame_rows);
/* The taps of one input and Q3T_BLOCK outputs -> its weights at each point: point p at to[p * step]. */
void q3t_toom_weights(float *to, size_t step, const float taps[Q3T_TOOM_TAPS][Q3T_BLOCK]);
/* Raise the sizes in *t to what convolution c needs for `frames` frames. */
void q3t_toom_reserve(const q3t_conv *c, int32_t frame_rows, int32_t frames, q3t_toom_scratch *t);
/* q3t_codec_unit for a first convolution with points. */
void q3t_toom_unit(const q3t_codec *c, const q3t_toom_scratch *scratch, q3t_pool *pool, const q3t_conv_step *first,
                   const q3t_conv_step *second);
#endif
