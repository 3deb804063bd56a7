/* attention/kv_cache.c - the KV cache: stores keys and values of a sequence and computes attention over them. The header
 * attention/kv_cache.h describes the layout. */
#include "attention/kv_cache.h"
#include "base/small.h"
#include <math.h>

static size_t element_bytes(q3t_format format) { return format == Q3T_FORMAT_BF16 ? sizeof(uint16_t) : sizeof(float); }

/* Index of the first element of a head, the same in the keys and in the values. */
static size_t head_at(const q3t_kv_cache *c, int32_t head) { return (size_t)head * (size_t)c->capacity * (size_t)c->head_dim; }

size_t q3t_kv_position_bytes(q3t_format format, int32_t heads, int32_t head_dim) {
    return 2 * (size_t)heads * (size_t)head_dim * element_bytes(format);
}

void q3t_kv_carve(q3t_kv_cache *c, q3t_arena *a, q3t_format format, int32_t heads, int32_t head_dim, int32_t positions) {
    size_t bytes = q3t_kv_position_bytes(format, heads, head_dim) / 2;
    *c = (q3t_kv_cache){.format = format, .heads = heads, .head_dim = head_dim, .capacity = q3t_ceil_div(positions, Q3T_KEYS) * Q3T_KEYS};
    c->keys = q3t_carve(a, (size_t)c->capacity, bytes);
    c->values = q3t_carve(a, (size_t)c->capacity, bytes);
}

void q3t_kv_store(const q3t_kv_cache *c, int32_t head, int32_t position, const float *key, const float *value) {
    size_t d = (size_t)c->head_dim, p = (size_t)position;
    size_t key_at = head_at(c, head) + p / Q3T_KEYS * Q3T_KEYS * d + p % Q3T_KEYS, value_at = head_at(c, head) + p * d;
    if (c->format == Q3T_FORMAT_BF16) {
        uint16_t *keys = (uint16_t *)c->keys + key_at, *values = (uint16_t *)c->values + value_at;
        for (size_t i = 0; i < d; i++) keys[i * Q3T_KEYS] = q3t_narrow(key[i]);
        for (size_t i = 0; i < d; i++) values[i] = q3t_narrow(value[i]);
    } else {
        float *keys = (float *)c->keys + key_at;
        for (size_t i = 0; i < d; i++) keys[i * Q3T_KEYS] = key[i];
        memcpy((float *)c->values + value_at, value, d * sizeof(float));
    }
}

void q3t_kv_attend(const q3t_kernels *k, const q3t_kv_cache *c, int32_t head, float *out, const float *q, int32_t queries, int32_t first,
                   int32_t count, float *scores) {
    int32_t d = c->head_dim;
    size_t at = head_at(c, head);
    float scale = 1 / sqrtf((float)d);
    if (c->format == Q3T_FORMAT_BF16)
        k->attend_bf16(out, q, (const uint16_t *)c->keys + at, (const uint16_t *)c->values + at, queries, d, first, count, scale, scores);
    else k->attend(out, q, (const float *)c->keys + at, (const float *)c->values + at, queries, d, first, count, scale, scores);
}

size_t q3t_kv_score_floats(int32_t queries, int32_t positions) { return (size_t)queries * ((size_t)positions + 2 * Q3T_KEYS); }

void q3t_kv_copy(const q3t_kv_cache *from, const q3t_kv_cache *to, int32_t positions) {
    size_t row = (size_t)from->head_dim * element_bytes(from->format), whole = (size_t)q3t_ceil_div(positions, Q3T_KEYS) * Q3T_KEYS;
    for (int32_t head = 0; head < from->heads; head++) {
        size_t a = (size_t)head * (size_t)from->capacity * row, b = (size_t)head * (size_t)to->capacity * row;
        memcpy((char *)to->keys + b, (const char *)from->keys + a, whole * row);
        memcpy((char *)to->values + b, (const char *)from->values + a, (size_t)positions * row);
    }
}

void q3t_kv_drop(const q3t_kv_cache *c, int32_t positions) {
    size_t row = (size_t)c->head_dim * element_bytes(c->format), moved = (size_t)(c->capacity - positions) * row;
    for (int32_t head = 0; head < c->heads; head++) {
        char *keys = (char *)c->keys + (size_t)head * (size_t)c->capacity * row;
        char *values = (char *)c->values + (size_t)head * (size_t)c->capacity * row;
        memmove(keys, keys + (size_t)positions * row, moved);
        memmove(values, values + (size_t)positions * row, moved);
    }
}
