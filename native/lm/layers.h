/* lm/layers.h - the Qwen3 transformer of the talker and of the code predictor: one forward pass over a few columns, on the thread
 * pool.
 *
 * A column is one position of one sequence. A forward pass takes any mix of columns: the next position of several sequences
 * (a step of a batch), or consecutive positions of one sequence (prefill). The output of a column does not depend on the other
 * columns of the call. For the language models only lm/layers.c runs tasks on the pool. */
#ifndef Q3T_LAYERS_H
#define Q3T_LAYERS_H
#include "attention/kv_cache.h"
#include "base/pool.h"
#include "checkpoint/weights.h"

enum { Q3T_COLUMNS = 64 };            /* most columns in one forward pass */

typedef struct q3t_block {            /* one layer: matrices in the memory of the tensors, norms in the arena of the model */
    q3t_matrix q, k, v, o, gate, up, down;
    const float *input_norm, *post_norm, *q_norm, *k_norm;
} q3t_block;

typedef struct q3t_transformer {
    q3t_transformer_config c;
    q3t_block *blocks;                /* (layers,) */
    q3t_format kv_format;             /* format of the KV cache: BF16 if the layers are INT8 or INT4, else F32 */
    const float *norm;                /* (hidden,) */
    const float *inv_freq;            /* (head_dim / 2,) */
} q3t_transformer;

typedef struct q3t_column {
    const q3t_kv_cache *cache;        /* KV cache of the column's sequence */
    int32_t position;
} q3t_column;

/* Scratch of one forward pass of either of two transformers, for Q3T_COLUMNS columns. */
typedef struct q3t_workspace {
    const q3t_kernels *kernels;
    q3t_pool *pool;
    unsigned char *act;               /* the prepared columns of the next matrix: (columns, q3t_act_bytes(k)) */
    float *h, *qkv, *attention, *gate, *up, *delta;  /* intermediate results: (columns, width of the result) */
    float *cos, *sin;                 /* (columns, head_dim / 2) */
    float *scores;                    /* (threads, score_floats) */
    size_t score_floats;
} q3t_workspace;

/* Carve the scratch. one, two: the transformers; max_k: the longest column that q3t_linear gets; max_context: the most positions
 * that a column attends to; threads: of the pool. */
void q3t_workspace_carve(q3t_workspace *w, q3t_arena *a, const q3t_transformer_config *one, const q3t_transformer_config *two,
                         int32_t max_k, int32_t max_context, int32_t threads);
/* Returns the bytes of the keys and values of one position in all layers. */
size_t q3t_transformer_position_bytes(const q3t_transformer *t);
/* Carve the KV cache of one sequence of `positions` positions, for all layers, in one block. */
void q3t_transformer_carve_cache(const q3t_transformer *t, q3t_kv_cache *cache, q3t_arena *a, int32_t positions);
/* Carve the table of the KV cache of one sequence of up to `positions` positions, for all layers. */
void q3t_transformer_carve_table(const q3t_transformer *t, q3t_kv_cache *cache, q3t_arena *a, int32_t positions);

/* Run all layers on x (cols, hidden), in place, and store the keys and values of each column in its cache. The final norm is not
 * applied. columns: (cols,). shared: 1 if several columns may belong to one sequence; then all keys and values of a layer are
 * stored before the attention of the layer begins. */
void q3t_transformer_forward(const q3t_transformer *t, q3t_workspace *w, const q3t_column *columns, int32_t cols, float *x, int shared);
/* y = x m^T + bias. x: (cols, m->k), ldx floats from row to row; y: (cols, m->rows), ldy floats from row to row; bias: (m->rows,)
 * or NULL. */
void q3t_linear(q3t_workspace *w, const q3t_matrix *m, const float *bias, const float *x, size_t ldx, int32_t cols, float *y, size_t ldy);
/* Add row `row` of an embedding table (rows, n), F32 or BF16, to y (n,). */
void q3t_add_row(const q3t_kernels *k, const q3t_tensor *table, int32_t row, float *y);
#endif
