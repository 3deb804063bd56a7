/* lm/layers.h - a Qwen3 transformer over a few columns, on the thread pool.
 *
 * A column is one position of one sequence. One forward pass takes any mix of them: the next position of several sequences
 * (a step of a batch), or consecutive positions of one (prefill). The output of a column does not depend on the other
 * columns of the call. Only this file runs the pool for the language models. */
#ifndef Q3T_LAYERS_H
#define Q3T_LAYERS_H
#include "attention/kv_cache.h"
#include "base/pool.h"
#include "checkpoint/weights.h"

enum { Q3T_COLUMNS = 64 };            /* columns in one forward pass at most */

typedef struct q3t_block {            /* one layer; the matrices point into the caller's tensors, the norms into the model's arena */
    q3t_matrix q, k, v, o, gate, up, down;
    const float *input_norm, *post_norm, *q_norm, *k_norm;
} q3t_block;

typedef struct q3t_transformer {
    q3t_transformer_config c;
    q3t_block *blocks;                /* (layers,) */
    q3t_format kv_format;             /* of the KV cache: BF16 where the layers are INT8 or INT4, else F32 */
    const float *norm;                /* (hidden,) */
    const float *inv_freq;            /* (head_dim / 2,) */
} q3t_transformer;

typedef struct q3t_column {
    const q3t_kv_cache *cache;
    int32_t position;
} q3t_column;

/* Scratch of one forward pass, for the larger of two transformers and Q3T_COLUMNS columns. */
typedef struct q3t_workspace {
    const q3t_kernels *kernels;
    q3t_pool *pool;
    unsigned char *act;               /* prepared activations: (columns, q3t_act_bytes(k)) */
    float *h, *qkv, *attention, *gate, *up, *delta;  /* (columns, width of each) */
    float *cos, *sin;                 /* (columns, head_dim / 2) */
    float *scores;                    /* (threads, score_floats) */
    size_t score_floats;
} q3t_workspace;

/* max_k: the widest input of q3t_linear; max_context: the most positions that a column attends to. */
void q3t_workspace_carve(q3t_workspace *w, q3t_arena *a, const q3t_transformer_config *one, const q3t_transformer_config *two,
                         int32_t max_k, int32_t max_context, int32_t threads);
/* Bytes of the keys and values of one position, of all layers. */
size_t q3t_transformer_position_bytes(const q3t_transformer *t);
/* Carve the KV cache of one sequence of `positions` positions, for all layers. */
void q3t_transformer_carve_cache(const q3t_transformer *t, q3t_kv_cache *cache, q3t_arena *a, int32_t positions);

/* Run all layers over x (cols, hidden) in place and store each column's keys and values; the final norm is not applied.
 * shared: 1 if several columns may belong to one sequence; then all keys and values of a layer are stored before its
 * attention begins. */
void q3t_transformer_forward(const q3t_transformer *t, q3t_workspace *w, const q3t_column *columns, int32_t cols, float *x, int shared);
/* y = x m^T + bias; x (cols, m->k) with row stride ldx, y (cols, m->rows) with row stride ldy; bias (m->rows,) or NULL. */
void q3t_linear(q3t_workspace *w, const q3t_matrix *m, const float *bias, const float *x, size_t ldx, int32_t cols, float *y, size_t ldy);
/* y (n,) += row `row` of an embedding table (rows, n), F32 or BF16. */
void q3t_add_row(const q3t_kernels *k, const q3t_tensor *table, int32_t row, float *y);
#endif
