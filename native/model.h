/* model.h - everything the sessions of one checkpoint share. */
#ifndef Q3T_MODEL_H
#define Q3T_MODEL_H
#include "codec.h"
#include "predictor.h"
#include "talker.h"

struct q3t_model {
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
#endif
