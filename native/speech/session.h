/* speech/session.h - a session: the state of one utterance, in one arena. */
#ifndef Q3T_SESSION_H
#define Q3T_SESSION_H
#include "speech/model.h"
#include "speech/session_decoder.h"

struct q3t_session {
    q3t_model *model;
    q3t_arena arena;
    q3t_prompt prompt;
    int32_t trailing, max_frames, min_frames, reference_frames;
    int32_t *trailing_ids;
    float *prompt_rows, *trailing_rows;  /* computed by the first step: the talker's input for the prompt, (rows, hidden); the text
                                            embeddings of trailing_ids, (trailing, hidden) */
    float *pad;                          /* (hidden,): the text part of the input after the last trailing id */
    q3t_sampling talker, predictor;
    uint64_t seed, key;
    q3t_kv_cache cache, predictor_cache;
    float *hidden, *input;               /* (hidden,): the talker's last output and next input */
    float *logits, *scores;              /* (vocab,); (5, vocab): the scores, a copy of them, and scratch of q3t_choose */
    int32_t *order;                      /* (vocab,): scratch of q3t_choose */
    float *predictor_logits;             /* (code_groups - 1, code_vocab) */
    unsigned char *seen;                 /* (vocab,): 1 for each value of code 0 generated so far */
    int32_t *codes;                      /* (reference_frames + max_frames, code_groups): reference, then generated frames */
    int32_t *forced;                     /* (forced_frames, code_groups): codes that are taken instead of chosen codes */
    int32_t frames, forced_frames, positions, cached_rows;
    q3t_state state;
    q3t_status status;                   /* the first failure; the session then makes no more frames */
    double prefill_seconds, talker_seconds, predictor_seconds;
    q3t_session_decoder decoder;
};

/* The codes of generated frame `frame`: (code_groups,). */
static inline int32_t *q3t_session_frame(const q3t_session *s, int32_t frame) {
    return s->codes + (size_t)(s->reference_frames + frame) * (size_t)s->model->config.code_groups;
}

/* The codes that generated frame `frame` must get: (code_groups,), or NULL if they are chosen. */
static inline const int32_t *q3t_session_forced(const q3t_session *s, int32_t frame) {
    return frame < s->forced_frames ? s->forced + (size_t)frame * (size_t)s->model->config.code_groups : NULL;
}
#endif
