/* lm/talker.h - the talker: the language model that makes code 0 of each frame. Functions for its embeddings, for the prefill of a
 * prompt and for a step. */
#ifndef Q3T_TALKER_H
#define Q3T_TALKER_H
#include "lm/layers.h"

enum { Q3T_TEXT_ROWS = 2048,    /* rows of the cache of projected text embeddings; text id i uses row i % Q3T_TEXT_ROWS */
       Q3T_PREFIXES = 4,        /* entries of the prefix cache */
       Q3T_PREFIX_ROWS = 64 };  /* longest prefix that is cached */

/* The rows of a prompt, as in q3t_session_params. */
typedef struct q3t_prompt {
    int32_t rows, prefix_rows;
    const int32_t *text_ids, *codec_ids;
    const float *speaker;
    const int32_t *reference_codes;
} q3t_prompt;

/* An entry of the prefix cache: the first rows of a prompt, and their keys and values. */
typedef struct q3t_prefix {
    int32_t rows;               /* 0: empty */
    uint64_t used;              /* value of q3t_talker.clock at the last use; the oldest entry is replaced */
    int32_t *text_ids, *codec_ids;
    float *speaker;             /* NULL unless a row is Q3T_ROW_SPEAKER */
    q3t_kv_cache cache;
    q3t_arena arena;
} q3t_prefix;

typedef struct q3t_talker {
    q3t_transformer t;
    q3t_matrix fc1, fc2, head;
    const float *fc1_bias, *fc2_bias;
    const q3t_tensor *text_embedding, *codec_embedding;
    const q3t_tensor *code_embeddings;  /* (code_groups - 1,): embeddings of codes 1 .. 15 */
    int32_t code_groups;
    float *text_in, *text_mid;          /* scratch (Q3T_COLUMNS, text_hidden): inputs of fc1 and of fc2 */
    float *text_rows;                   /* (Q3T_TEXT_ROWS, hidden): the cache of projected text embeddings */
    int32_t *text_keys;                 /* (Q3T_TEXT_ROWS,): text id + 1 of each row of text_rows; 0: the row is empty */
    float *x, *logits;                  /* scratch: (Q3T_COLUMNS, hidden), (Q3T_COLUMNS, vocab) */
    uint64_t clock;                     /* counts uses of the prefix cache */
    q3t_prefix prefixes[Q3T_PREFIXES];
} q3t_talker;

/* Carve caches and scratch. q3t_model_open sets the weights. */
void q3t_talker_carve(q3t_talker *talker, q3t_arena *a);
void q3t_talker_close(q3t_talker *talker);
/* Compute the projected text embeddings: out (n, hidden) = fc2(silu(fc1(text_embedding[id]))) for ids (n,), all >= 0. Cached rows
 * have the same bits as computed rows. */
void q3t_talker_text(q3t_talker *talker, q3t_workspace *w, const int32_t *ids, int32_t n, float *out);
/* y (hidden,) = sum of the embeddings of the codes (code_groups,) of one frame. */
void q3t_talker_codes(const q3t_talker *talker, const q3t_kernels *k, const int32_t *codes, float *y);
/* Compute out (prompt->rows, hidden), the talker's input for a prompt. */
void q3t_talker_embed(q3t_talker *talker, q3t_workspace *w, const q3t_prompt *prompt, float *out);
/* Prefill: run a prompt through all layers. embeds: its input rows from q3t_talker_embed. The keys and values go to the positions
 * 0 .. prompt->rows - 1 of the KV cache. hidden (hidden,), logits (vocab,): out, the normed output and the logits of the last row.
 * Returns how many rows came from the prefix cache. */
int32_t q3t_talker_prefill(q3t_talker *talker, q3t_workspace *w, const q3t_prompt *prompt, const float *embeds, const q3t_kv_cache *cache,
                           float *hidden, float *logits);
/* Advance cols <= Q3T_COLUMNS sequences by one position. For each column there is a pointer to its input (hidden,), and pointers
 * for its normed output (hidden,) and its logits (vocab,). */
void q3t_talker_step(q3t_talker *talker, q3t_workspace *w, const q3t_column *columns, int32_t cols, const float *const *inputs,
                     float *const *hidden, float *const *logits);
#endif
