/* voice/codec_encoder.h - the packed weights of the codec's encoder, shared by voice/codec_encoder.c, which runs the encoder, and
 * voice/codec_encoder_pack.c, which packs the weights.
 *
 * Activations are channel-last: (rows, channels) float32. A convolution of stride r and kernel 2 r reads r rows of C channels
 * as one row of r * C floats in the same memory. */
#ifndef Q3T_ENCODER_H
#define Q3T_ENCODER_H
#include "conv/run.h"
#include "voice/loader.h"
#include <stdatomic.h>

enum { Q3T_ENCODER_UNITS = 4, Q3T_ENCODER_STAGES = 8 };

typedef struct q3t_encoder_unit {    /* x + conv2(elu(conv1(elu(x)))) */
    q3t_conv conv1, conv2;
} q3t_encoder_unit;

typedef struct q3t_encoder_stage {   /* residual units, then elu and a convolution with stride that doubles the channels */
    q3t_encoder_unit unit[Q3T_ENCODER_UNITS];
    q3t_conv down;
    int32_t channels, rate;          /* input channels; stride of `down` */
    int32_t frame_rows;              /* input rows for each frame of codes */
} q3t_encoder_stage;

typedef struct q3t_encoder_layer {
    q3t_conv qkv, o, fc1, fc2;
    const float *input_norm, *input_norm_bias, *post_norm, *post_norm_bias, *attn_scale, *mlp_scale;
} q3t_encoder_layer;

struct q3t_encoder {
    q3t_encoder_config config;
    q3t_kernels kernels;
    q3t_pool *pool;
    atomic_int stop;                 /* 1 after q3t_encoder_stop */
    q3t_arena arena;
    int32_t frame_samples, frame_rows; /* samples, and rows of the transformer, in one frame of codes */
    int32_t width;                   /* channels after the last stage */
    q3t_conv in, out, halve;
    q3t_encoder_stage stage[Q3T_ENCODER_STAGES];
    q3t_encoder_layer *layers;       /* (transformer.layers,) */
    const float *inv_freq;           /* (head_dim / 2,) */
    q3t_conv semantic, acoustic;     /* the projections before the semantic code and before the acoustic codes */
    q3t_conv *books;                 /* (code_groups,): each codebook as a matrix (codebook_size, codebook_dim) */
    float *norms;                    /* (code_groups, codebook_size): squared lengths of the codebook vectors */
};

/* ---- voice/codec_encoder_pack.c */
/* Check config and tensors, start the pool, pack the weights. Returns Q3T_E_CONFIG, Q3T_E_SHAPE, Q3T_E_SIZE, Q3T_E_MEMORY or
 * Q3T_E_THREAD on failure; the caller must close e in this case too. */
q3t_status q3t_encoder_pack(q3t_encoder *e, const q3t_tensor *tensors, size_t count, int32_t threads);
#endif
