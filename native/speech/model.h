/* speech/model.h - the model: weights, kernels, thread pool, caches and scratch that all sessions of one checkpoint share. */
#ifndef Q3T_MODEL_H
#define Q3T_MODEL_H
#include "codec/decoder.h"
#include "lm/predictor.h"
#include "lm/talker.h"
#include <stdatomic.h>

struct q3t_model {
    atomic_int references;  /* 1 until q3t_model_close, and 1 for each open session; at 0 the model is freed */
    q3t_config config;
    q3t_kernels kernels;
    q3t_weights weights;
    q3t_pool *pool;
    q3t_codec *codec;
    q3t_arena arena;
    /* scratch and caches: one q3t_step at a time uses them, and no result depends on what they hold before it */
    q3t_workspace workspace;
    q3t_talker talker;
    q3t_predictor predictor;
    q3t_codec_work *codec_work;
};

/* Add a reference. */
void q3t_model_retain(q3t_model *model);
/* Remove a reference; frees the model with the last one. */
void q3t_model_release(q3t_model *model);
#endif
