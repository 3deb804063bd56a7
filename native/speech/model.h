/* speech/model.h - everything the sessions of one checkpoint share. */
#ifndef Q3T_MODEL_H
#define Q3T_MODEL_H
#include "codec/decoder.h"
#include "lm/predictor.h"
#include "lm/talker.h"
#include <stdatomic.h>

struct q3t_model {
    atomic_int holders;  /* the opener until q3t_model_close, and each session until it is closed: the last one frees */
    q3t_config config;
    q3t_kernels kernels;
    q3t_weights weights;
    q3t_pool *pool;
    q3t_codec *codec;
    q3t_arena arena;
    /* Used by one q3t_step at a time: scratch and caches, nothing that a result depends on. */
    q3t_workspace workspace;
    q3t_talker talker;
    q3t_predictor predictor;
    q3t_codec_work *codec_work;
};

/* One more session uses the model. */
void q3t_model_hold(q3t_model *model);
/* One holder less; the last one frees the model. */
void q3t_model_release(q3t_model *model);
#endif
