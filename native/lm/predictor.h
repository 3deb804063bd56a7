/* lm/predictor.h - the code predictor: the language model that makes codes 1 .. 15 of each frame. */
#ifndef Q3T_PREDICTOR_H
#define Q3T_PREDICTOR_H
#include "lm/layers.h"
#include "lm/sample.h"

typedef struct q3t_predictor {
    q3t_transformer t;
    q3t_matrix projection;              /* (hidden, talker hidden); data NULL: the identity */
    const float *projection_bias;
    q3t_matrix *heads;                  /* (code_groups - 1,) */
    const q3t_tensor *codec_embedding;  /* of code 0 */
    const q3t_tensor *embeddings;       /* (code_groups - 1,): codes 1 .. 15 */
    int32_t code_groups, code_vocab, talker_hidden;
    float *in, *x, *logits;             /* (Q3T_COLUMNS, talker hidden), (.., hidden), (.., code vocab) */
    float *scratch;                     /* (4 * code vocab,) */
    int32_t *order;                     /* (code vocab,) */
} q3t_predictor;

/* One frame of one session. */
typedef struct q3t_prediction {
    const q3t_kv_cache *cache;          /* of code_groups positions; overwritten by each frame */
    const float *hidden;                /* (talker hidden,): the talker's normed output, from which code 0 was chosen */
    const q3t_sampling *sampling;
    uint64_t seed, key;
    uint32_t frame;
    int32_t *codes;                     /* (code_groups,): in: code 0; out: the other codes */
    const int32_t *forced;              /* NULL, or (code_groups,): the codes that are taken instead of chosen ones */
    float *logits;                      /* out: (code_groups - 1, code vocab) */
    q3t_status status;                  /* out: Q3T_OK or Q3T_E_PREDICTOR_NONFINITE */
} q3t_prediction;

/* Carve the scratch. q3t_model_open sets the weights. */
void q3t_predictor_carve(q3t_predictor *p, q3t_arena *a);
/* Make codes 1 .. of one frame for each of n <= Q3T_COLUMNS / 2 sessions together. */
void q3t_predictor_frames(q3t_predictor *p, q3t_workspace *w, q3t_prediction *frames, int32_t n);
#endif
