/* attention/kv_cache.c - the KV cache: stores keys and values of a sequence and computes attention over them. The header
 * attention/kv_cache.h describes the layout. */
#include "attention/kv_cache.h"
#include "base/small.h"
#include <math.h>

enum { LARGE = 4 << 20, SPREAD = 128 << 10 };  /* bytes: of a block that is spread; of the sets of a processor's cache */

static size_t element_bytes(q3t_format format) { return format == Q3T_FORMAT_BF16 ? sizeof(uint16_t) : sizeof(float); }

/* Elements of the keys of a head in one block; the values have as many. */
static size_t head_elements(const q3t_kv_cache *c) { return (size_t)c->block * (size_t)c->head_dim; }

/* Index of the first element of a head in each block. */
static size_t head_at(const q3t_kv_cache *c, int32_t head) { return 2 * (size_t)head * head_elements(c); }

size_t q3t_kv_position_bytes(q3t_format format, int32_t heads, int32_t head_dim) {
    return 2 * (size_t)heads * (size_t)head_dim * element_bytes(format);
}

void q3t_kv_carve(q3t_kv_cache *c, q3t_arena *a, q3t_format format, int32_t heads, int32_t head_dim, int32_t positions) {
    int32_t room = q3t_ceil_div(positions, Q3T_KEYS) * Q3T_KEYS;
    *c = (q3t_kv_cache){.format = format, .heads = heads, .head_dim = head_dim, .block = room, .capacity = room};
    c->blocks = q3t_carve(a, 1, sizeof *c->blocks);
    void *memory = q3t_carve(a, (size_t)room, q3t_kv_position_bytes(format, heads, head_dim));
    if (c->blocks) c->blocks[0] = memory;
}

void q3t_kv_carve_table(q3t_kv_cache *c, q3t_arena *a, q3t_format format, int32_t heads, int32_t head_dim, int32_t positions) {
    *c = (q3t_kv_cache){.format = format, .heads = heads, .head_dim = head_dim, .block = Q3T_KV_BLOCK};
    c->blocks = q3t_carve(a, (size_t)q3t_ceil_div(positions, Q3T_KV_BLOCK), sizeof *c->blocks);
}

/* Returns the bytes by which blocks begin at different places of their memory. The keys and values of a head have the same place in
 * every block. Where large blocks lie in huge pages, all of them would be in the same few sets of a cache of the processor. */
static size_t spread(const q3t_kv_cache *c) {
    size_t bytes = 2 * (size_t)c->heads * head_elements(c) * element_bytes(c->format);
    return bytes < LARGE ? 0 : SPREAD;
}

/* Returns where in its memory the block with an index begins, in bytes. */
static size_t place(const q3t_kv_cache *c, int32_t index) {
    size_t within = spread(c), head = 2 * head_elements(c) * element_bytes(c->format);
    return within ? (size_t)index * head % within : 0;
}

/* *bytes: out, the memory of one block. */
static q3t_status block_bytes(const q3t_kv_cache *c, size_t *bytes) {
    Q3T_TRY(q3t_mul((size_t)c->block, q3t_kv_position_bytes(c->format, c->heads, c->head_dim), bytes));
    *bytes += spread(c);
    return Q3T_OK;
}

q3t_status q3t_kv_grow(q3t_kv_cache *c, int32_t positions) {
    size_t bytes;
    Q3T_TRY(block_bytes(c, &bytes));
    while (c->capacity < positions) {
        int32_t index = c->capacity / c->block;
        char *memory = q3t_huge_zeros(bytes);
        if (!memory) return Q3T_E_MEMORY;
        c->blocks[index] = memory + place(c, index);
        c->capacity += c->block;
    }
    return Q3T_OK;
}

q3t_status q3t_kv_grow_bytes(const q3t_kv_cache *c, int32_t positions, size_t *bytes) {
    size_t one;
    Q3T_TRY(block_bytes(c, &one));
    return q3t_mul((size_t)q3t_ceil_div(positions, c->block), q3t_zeros_bytes(one), bytes);
}

void q3t_kv_free(q3t_kv_cache *c) {
    for (; c->capacity > 0; c->capacity -= c->block) {
        int32_t index = c->capacity / c->block - 1;
        q3t_zeros_free((char *)c->blocks[index] - place(c, index));
    }
}

void q3t_kv_store(const q3t_kv_cache *c, int32_t head, int32_t position, const float *key, const float *value) {
    size_t d = (size_t)c->head_dim, p = (size_t)(position % c->block);
    size_t key_at = head_at(c, head) + p / Q3T_KEYS * Q3T_KEYS * d + p % Q3T_KEYS;
    size_t value_at = head_at(c, head) + head_elements(c) + p * d;
    void *block = c->blocks[position / c->block];
    if (c->format == Q3T_FORMAT_BF16) {
        uint16_t *keys = (uint16_t *)block + key_at, *values = (uint16_t *)block + value_at;
        for (size_t i = 0; i < d; i++) keys[i * Q3T_KEYS] = q3t_narrow(key[i]);
        for (size_t i = 0; i < d; i++) values[i] = q3t_narrow(value[i]);
    } else {
        float *keys = (float *)block + key_at;
        for (size_t i = 0; i < d; i++) keys[i * Q3T_KEYS] = key[i];
        memcpy((float *)block + value_at, value, d * sizeof(float));
    }
}

void q3t_kv_attend(const q3t_kernels *k, const q3t_kv_cache *c, int32_t head, float *out, const float *q, int32_t queries, int32_t first,
                   int32_t count, float *scores) {
    const void *const *blocks = (const void *const *)c->blocks;
    float scale = 1 / sqrtf((float)c->head_dim);
    if (c->format == Q3T_FORMAT_BF16)
        k->attend_bf16(out, q, blocks, head_at(c, head), c->block, queries, c->head_dim, first, count, scale, scores);
    else k->attend(out, q, blocks, head_at(c, head), c->block, queries, c->head_dim, first, count, scale, scores);
}

size_t q3t_kv_score_floats(int32_t queries, int32_t positions) { return (size_t)queries * ((size_t)positions + 2 * Q3T_KEYS); }

/* Returns where the keys of the key group that begins at a position are; its values lie *values bytes further on. */
static char *group_at(const q3t_kv_cache *c, int32_t head, int32_t position, size_t *values) {
    size_t item = element_bytes(c->format);
    *values = head_elements(c) * item;
    return (char *)c->blocks[position / c->block] + (head_at(c, head) + (size_t)(position % c->block) * (size_t)c->head_dim) * item;
}

void q3t_kv_copy(const q3t_kv_cache *from, const q3t_kv_cache *to, int32_t positions) {
    size_t bytes = Q3T_KEYS * (size_t)from->head_dim * element_bytes(from->format), from_values, to_values;
    for (int32_t p = 0; p < positions; p += Q3T_KEYS)
        for (int32_t head = 0; head < from->heads; head++) {
            const char *source = group_at(from, head, p, &from_values);
            char *target = group_at(to, head, p, &to_values);
            memcpy(target, source, bytes);
            memcpy(target + to_values, source + from_values, bytes);
        }
}

void q3t_kv_drop(const q3t_kv_cache *c, int32_t positions) {
    size_t row = (size_t)c->head_dim * element_bytes(c->format), moved = (size_t)(c->block - positions) * row, values;
    for (int32_t head = 0; head < c->heads; head++) {
        char *keys = group_at(c, head, 0, &values);
        memmove(keys, keys + (size_t)positions * row, moved);
        memmove(keys + values, keys + values + (size_t)positions * row, moved);
    }
}
