/* lm/predictor.h - the small model that makes codes 1 .. 15 of a frame. */
#ifndef Q3T_PREDICTOR_H
#define Q3T_PREDICTOR_H
#include "lm/layers.h"
#include "lm/sample.h"

typedef struct q3t_predictor {
    q3t_transformer t;
    q3t_matrix projection;              /* talker hidden -> hidden; data NULL where it is the identity */
    const float *projection_bias;
    q3t_matrix *heads;                  /* (code_groups - 1,) */
    const q3t_tensor *codec_embedding;  /* of code 0 */
    const q3t_tensor *embeddings;       /* (code_groups - 1,): codes 1 .. 15 */
    int32_t code_groups, code_vocab, talker_hidden;
    float *in, *x, *logits;             /* (Q3T_COLUMNS, talker hidden), (.., hidden), (.., code vocab) */
    float *scratch;                     /* (4 * code vocab,) */
    int32_t *order;                     /* (code vocab,) */
} q3t_predictor;

/* One frame of one sequence. */
typedef struct q3t_prediction {
    const q3t_kv_cache *cache;             /* room for code_groups positions; emptied by each frame */
    const float *hidden;                /* (talker hidden,): what the talker made code 0 from */
    const q3t_sampling *sampling;
    uint64_t seed, key;
    uint32_t frame;
    int32_t *codes;                     /* (code_groups,): code 0 in, the others out */
    float *logits;                      /* (code_groups - 1, code vocab) out */
    q3t_status status;                  /* out: Q3T_OK or Q3T_E_PREDICTOR_NONFINITE */
} q3t_prediction;

void q3t_predictor_carve(q3t_predictor *p, q3t_arena *a);
/* Predict the frames of n (<= Q3T_COLUMNS / 2) sequences together. */
void q3t_predictor_frames(q3t_predictor *p, q3t_workspace *w, q3t_prediction *frames, int32_t n);
#endif
