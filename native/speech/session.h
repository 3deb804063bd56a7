/* speech/session.h - a session: the state of one utterance, in one arena and the blocks of its KV cache. */
#ifndef Q3T_SESSION_H
#define Q3T_SESSION_H
#include "speech/model.h"
#include "speech/session_decoder.h"

enum { Q3T_TRAILING_ROWS = 64 };         /* projected trailing text that a session holds, in rows */
enum { Q3T_TEXT_IDS_OF_ROW = 32 };       /* text ids whose projection takes about as long as a prompt row in all layers */

/* What is left to do for a session in the step that runs. */
typedef enum q3t_stage {
    Q3T_STAGE_NONE,                      /* nothing but decoding: it has ended or failed, or waits for text */
    Q3T_STAGE_PROMPT,                    /* rows of its prompt are left */
    Q3T_STAGE_INPUT,                     /* the talker runs on its next input */
    Q3T_STAGE_FRAME                      /* the logits are there: the codes of its next frame are chosen */
} q3t_stage;

struct q3t_session {
    q3t_model *model;
    q3t_arena arena;
    q3t_prompt prompt;
    int32_t max_frames, min_frames, reference_frames;
    int32_t *trailing_ids;               /* (trailing,), or room for max_positions ids if the text is open */
    int32_t trailing, open;              /* ids so far; 1: q3t_session_append may add more */
    int32_t projected;                   /* trailing ids whose rows were computed */
    float *prompt_rows;                  /* (rows, hidden): the talker's input for the prompt */
    float *trailing_rows;                /* (Q3T_TRAILING_ROWS, hidden): text part of trailing id i in row i % Q3T_TRAILING_ROWS */
    float *pad;                          /* (hidden,): the text part of the inputs after the last trailing id */
    q3t_sampling talker, predictor;
    uint64_t seed, key;
    q3t_kv_cache cache, predictor_cache; /* of the talker, which grows; of the code predictor */
    float *hidden, *input;               /* (hidden,): the talker's last output; the codec part of its next input */
    float *logits, *scores;              /* (vocab,); (5, vocab): the scores, a copy of them, and scratch of q3t_choose */
    int32_t *order;                      /* (vocab,): scratch of q3t_choose */
    float *predictor_logits;             /* (code_groups - 1, code_vocab) */
    unsigned char *seen;                 /* (vocab,): 1 for each value of code 0 generated so far */
    int32_t *codes;                      /* (reference_frames + max_frames, code_groups): reference, then generated frames */
    int32_t *forced;                     /* (forced_frames, code_groups): codes that are taken instead of chosen codes */
    int32_t frames, forced_frames, cached_rows;
    int32_t positions;                   /* positions in the KV cache; of the prompt: rows taken in */
    int32_t embedded, taken;             /* prompt rows whose input was computed; prompt rows in the forward pass that runs */
    q3t_stage stage;
    int waited;                          /* 1 if the last step left the session out because text was missing */
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

/* 1 if the session cannot make its next frame before q3t_session_append gives it text. */
static inline int q3t_session_needs_text(const q3t_session *s) {
    return s->state == Q3T_RUNNING && s->open && s->frames > s->trailing;
}

/* The positions that the KV cache has room for, after those in use. */
static inline int32_t q3t_session_room(const q3t_session *s) { return s->cache.capacity - s->positions; }
#endif
