/* lm/talker.h - the talker: the language model that makes code 0 of each frame. Functions for its embeddings, for
 * the prefix cache and for a forward pass. */
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
    int64_t projections;                /* text ids projected so far, without those that were cached */
    uint64_t clock;                     /* counts uses of the prefix cache */
    q3t_prefix prefixes[Q3T_PREFIXES];
} q3t_talker;

/* One column of q3t_talker_forward: one position of one sequence. */
typedef struct q3t_talker_column {
    q3t_column at;
    const float *input, *text;          /* (hidden,): the input is their sum; text NULL: input alone */
    float *hidden, *logits;             /* out: (hidden,), the normed output; (vocab,); NULL: not wanted */
} q3t_talker_column;

/* Carve caches and scratch. q3t_model_open sets the weights. */
void q3t_talker_carve(q3t_talker *talker, q3t_arena *a);
void q3t_talker_close(q3t_talker *talker);
/* Compute the projected text embeddings: out[i] (hidden,) = fc2(silu(fc1(text_embedding[ids[i]]))) for ids (n,), all >= 0. Cached
 * rows have the same bits as computed rows. */
void q3t_talker_text(q3t_talker *talker, q3t_workspace *w, const int32_t *ids, int32_t n, float *const *out);
/* y (hidden,) = sum of the embeddings of the codes (code_groups,) of one frame. */
void q3t_talker_codes(const q3t_talker *talker, const q3t_kernels *k, const int32_t *codes, float *y);
/* Finish row `row` (hidden,) of a prompt, the talker's input: add its codec part to its text part, or set it to the codec part if
 * it has no text id. */
void q3t_talker_embed(q3t_talker *talker, const q3t_kernels *k, const q3t_prompt *prompt, int32_t row, float *out);
/* Copy the longest cached prefix of a prompt that its KV cache has room for to the positions 0, 1, ... of this cache. Returns the
 * number of its rows; 0: there is none. */
int32_t q3t_talker_load_prefix(q3t_talker *talker, const q3t_prompt *prompt, const q3t_kv_cache *cache);
/* Add the prefix of a prompt to the prefix cache. cache: the KV cache that holds all of its rows. If the prefix is cached already,
 * cannot be cached, or the memory cannot be allocated, nothing changes. */
void q3t_talker_keep_prefix(q3t_talker *talker, const q3t_prompt *prompt, const q3t_kv_cache *cache);
/* 1 if the prefixes of two prompts can be cached and are the same. */
int q3t_talker_same_prefix(const q3t_talker *talker, const q3t_prompt *a, const q3t_prompt *b);
/* Run cols <= Q3T_COLUMNS columns through all layers, and those whose output is wanted through the head. The columns of one
 * sequence are neighbours and have consecutive positions; the earlier positions of the sequence are in its KV cache. */
void q3t_talker_forward(q3t_talker *talker, q3t_workspace *w, const q3t_talker_column *columns, int32_t cols);
#endif
