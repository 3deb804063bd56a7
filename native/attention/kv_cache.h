/* attention/kv_cache.h - the KV cache: keys and values of the positions of one sequence that were computed before.
 *
 * The positions lie in blocks of `block` positions each, which never move. A table has the memory of each block:
 *
 *   block:  (heads, keys and values of the head)
 *   keys:   (block / Q3T_KEYS, head_dim, Q3T_KEYS), so that the attend kernels read one element of Q3T_KEYS positions at a time
 *   values: (block, head_dim)
 *
 * A cache of q3t_kv_carve has one block, in an arena. A cache of q3t_kv_carve_table has blocks of Q3T_KV_BLOCK positions, which
 * q3t_kv_grow allocates one by one.
 * A cache that serves several layers has layers * kv_heads heads: KV head h of layer l is head l * kv_heads + h. */
#ifndef Q3T_KV_CACHE_H
#define Q3T_KV_CACHE_H
#include "base/arena.h"
#include "kernels/table.h"

enum { Q3T_KV_BLOCK = 64 };          /* positions of a block of a cache that grows */
_Static_assert((int)Q3T_KV_BLOCK % (int)Q3T_KEYS == 0, "a block has whole key groups");

typedef struct q3t_kv_cache {
    void **blocks;                   /* the memory of each block; NULL where nothing is allocated yet */
    q3t_format format;               /* format of the elements: Q3T_FORMAT_F32 or Q3T_FORMAT_BF16 */
    int32_t heads, head_dim;
    int32_t block;                   /* positions of a block; a multiple of Q3T_KEYS */
    int32_t capacity;                /* positions that have memory; a multiple of `block` */
} q3t_kv_cache;

/* Bytes of the keys and values of one position. */
size_t q3t_kv_position_bytes(q3t_format format, int32_t heads, int32_t head_dim);
/* Carve a cache of one block for `positions` positions, rounded up to a multiple of Q3T_KEYS, and set all of its fields. */
void q3t_kv_carve(q3t_kv_cache *cache, q3t_arena *a, q3t_format format, int32_t heads, int32_t head_dim, int32_t positions);
/* Carve the table of a cache of up to `positions` positions, without memory for any of them, and set all of its fields. */
void q3t_kv_carve_table(q3t_kv_cache *cache, q3t_arena *a, q3t_format format, int32_t heads, int32_t head_dim, int32_t positions);
/* Allocate blocks, zeroed, until the capacity is `positions`, at most those that q3t_kv_carve_table got, or more. On failure,
 * Q3T_E_SIZE or Q3T_E_MEMORY, the cache keeps the blocks that it has got. */
q3t_status q3t_kv_grow(q3t_kv_cache *cache, int32_t positions);
/* *bytes: out, what q3t_kv_grow allocates for an empty cache. Q3T_E_SIZE if that overflows. */
q3t_status q3t_kv_grow_bytes(const q3t_kv_cache *cache, int32_t positions, size_t *bytes);
/* Free the blocks that q3t_kv_grow allocated. Takes a cache whose fields are all 0. */
void q3t_kv_free(q3t_kv_cache *cache);
/* Store the key and the value, float32 (head_dim,) each, of one head at one position below the capacity. */
void q3t_kv_store(const q3t_kv_cache *cache, int32_t head, int32_t position, const float *key, const float *value);
/* Attention of one position to the positions [first, first + count) of one KV head:
 * out (queries, head_dim) = softmax(q keys^T / sqrt(head_dim)) values. q: (queries, head_dim), the query heads that share the
 * KV head. scores: scratch of q3t_kv_score_floats(queries, count) floats. */
void q3t_kv_attend(const q3t_kernels *k, const q3t_kv_cache *cache, int32_t head, float *out, const float *q, int32_t queries,
                   int32_t first, int32_t count, float *scores);
/* Floats of scratch for q3t_kv_attend with `queries` queries and at most `positions` positions. */
size_t q3t_kv_score_floats(int32_t queries, int32_t positions);
/* Copy the positions [0, positions) of every head to a cache of the same format, heads and head_dim. Both have the capacity. The
 * blocks may have different sizes. */
void q3t_kv_copy(const q3t_kv_cache *from, const q3t_kv_cache *to, int32_t positions);
/* Remove the first `positions` positions, a multiple of Q3T_KEYS, of every head of a cache of q3t_kv_carve: position p becomes
 * p - positions. */
void q3t_kv_drop(const q3t_kv_cache *cache, int32_t positions);
#endif
