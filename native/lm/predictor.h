/* lm/predictor.h - the code predictor: the language model that makes codes 1 .. 15 of each frame. */
#ifndef Q3T_PREDICTOR_H
#define Q3T_PREDICTOR_H
#include "lm/layers.h"
#include "lm/sample.h"

typedef struct q3t_predictor {
    q3t_transformer t;
    q3t_matrix projection;              /* (hidden, talker hidden); data NULL: the identity */
    const float *projection_bias;       /* (hidden,) */
    q3t_matrix *heads;                  /* (code_groups - 1,): heads[g] gives the logits of code g + 1 */
    const q3t_tensor *codec_embedding;  /* embedding of code 0 */
    const q3t_tensor *embeddings;       /* (code_groups - 1,): embeddings[g - 1] is of code g, 1 .. 15 */
    int32_t code_groups, code_vocab, talker_hidden;
    float *in, *x, *logits;             /* scratch (Q3T_COLUMNS, n), n = talker_hidden, hidden, code_vocab */
    float *scratch;                     /* (4 * code_vocab,): scratch of the choice of a code */
    int32_t *order;                     /* (code_vocab,): scratch of q3t_choose */
} q3t_predictor;

/* One frame of one session. */
typedef struct q3t_prediction {
    const q3t_kv_cache *cache;          /* code_groups positions; overwritten by each frame */
    const float *hidden;                /* (talker_hidden,): the talker's normed output, from which code 0 was chosen */
    const q3t_sampling *sampling;
    uint64_t seed, key;
    uint32_t frame;
    int32_t *codes;                     /* (code_groups,): in: code 0; out: the other codes */
    const int32_t *forced;              /* (code_groups,): codes that are taken instead of chosen codes; NULL: codes are chosen */
    float *logits;                      /* out: (code_groups - 1, code_vocab) */
    q3t_status status;                  /* out: Q3T_OK or Q3T_E_PREDICTOR_NONFINITE */
} q3t_prediction;

/* Carve the scratch. q3t_model_open sets the weights. */
void q3t_predictor_carve(q3t_predictor *p, q3t_arena *a);
/* Make codes 1 .. code_groups - 1 of one frame for each of n <= Q3T_COLUMNS / 2 sessions together. frames: (n,). */
void q3t_predictor_frames(q3t_predictor *p, q3t_workspace *w, q3t_prediction *frames, int32_t n);
#endif
