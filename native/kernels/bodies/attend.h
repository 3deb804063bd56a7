/* kernels/bodies/attend.h - the attention kernels, written with the vectors of kernels/bodies/vector.h.
 *
 * The keys of a key group, Q3T_KEYS positions, are stored dimension by dimension, so one vector holds one dimension of V_LEN
 * positions, and the score of a position is accumulated over the dimensions in one lane: no sums across lanes. Softmax and the sum
 * of the values count positions from `first`, so the result does not depend on where key groups or blocks of the cache begin. Two
 * heads are computed together, so that keys and values are loaded once for both. The parameter bf16 is 1 if keys and values are
 * bf16, 0 if they are float. */
enum { KEY_VECTORS = Q3T_KEYS / V_LEN,
       KEY_TILE = V_LEN / 4 };    /* key groups in a tile: with two heads, eight independent chains of additions */

/* The blocks of a KV cache and the place of one head in each of them; see Q3T_ATTEND. */
typedef struct cache_blocks {
    const void *const *blocks;
    size_t at;
    int32_t block, head_dim;
} cache_blocks;

V_INLINE V cache_get(const int bf16, const void *p, size_t at, int32_t n) {
    const uint16_t *narrow = (const uint16_t *)p + at;
    if (bf16) return n >= V_LEN ? v_widen(narrow) : v_widen_n(narrow, n);
    return v_get((const float *)p + at, n);
}

/* Compute the dot products of q (heads, head_dim) with the keys of `groups` key groups of one block, the first of which begins at
 * cache[at]. The Q3T_KEYS products of head h with key group b go to scores + h * stride + b * Q3T_KEYS. Prefetches the values of the
 * same positions, from cache[value] on, because they are read next. */
V_INLINE void score_tile(const int heads, const int groups, const int bf16, const float *q, const void *cache, size_t at,
                         size_t value, int32_t head_dim, float *scores, size_t stride) {
    const size_t item = bf16 ? 2 : 4, step = (size_t)groups * Q3T_KEYS * item;
    const char *ahead = (const char *)cache + value * item;
    V sum[2][KEY_TILE][KEY_VECTORS];
    V_UNROLL for (int h = 0; h < heads; h++)
        V_UNROLL for (int b = 0; b < groups; b++)
            V_UNROLL for (int n = 0; n < KEY_VECTORS; n++) sum[h][b][n] = v_set1(0);
    for (int32_t d = 0; d < head_dim; d++, ahead += step) {
        V_UNROLL for (size_t i = 0; i < step; i += 64) __builtin_prefetch(ahead + i);
        V_UNROLL for (int b = 0; b < groups; b++)
            V_UNROLL for (int n = 0; n < KEY_VECTORS; n++) {
                V key = cache_get(bf16, cache, at + ((size_t)b * head_dim + d) * Q3T_KEYS + n * V_LEN, V_LEN);
                V_UNROLL for (int h = 0; h < heads; h++)
                    sum[h][b][n] = v_fma(key, v_set1(q[(size_t)h * head_dim + d]), sum[h][b][n]);
            }
    }
    V_UNROLL for (int h = 0; h < heads; h++)
        V_UNROLL for (int b = 0; b < groups; b++)
            V_UNROLL for (int n = 0; n < KEY_VECTORS; n++)
                v_store(scores + h * stride + b * Q3T_KEYS + n * V_LEN, sum[h][b][n]);
}

/* Compute the scores of the positions [first, first + count) before the softmax: that of head h and position p goes to
 * scores[h * stride + p - begin], where begin is the first position of the key group of `first`. */
V_INLINE void score_all(const int heads, const int bf16, const float *q, const cache_blocks *c, int32_t first, int32_t count,
                        float *scores, size_t stride) {
    const int32_t end = first + count, dim = c->head_dim;
    for (int32_t p = first / Q3T_KEYS * Q3T_KEYS, groups; p < end; p += groups * Q3T_KEYS) {
        const int32_t in = p % c->block, left = (end - p + Q3T_KEYS - 1) / Q3T_KEYS, here = (c->block - in) / Q3T_KEYS;
        const void *memory = c->blocks[p / c->block];
        const size_t group = (size_t)dim * Q3T_KEYS, values = (size_t)c->block * dim;
        size_t at = c->at + (size_t)in * dim;
        float *to = scores;
        int32_t g = 0;
        groups = left < here ? left : here;
        for (; g + KEY_TILE <= groups; g += KEY_TILE, at += KEY_TILE * group, to += KEY_TILE * Q3T_KEYS)
            score_tile(heads, KEY_TILE, bf16, q, memory, at, at + values, dim, to, stride);
        for (; g < groups; g++, at += group, to += Q3T_KEYS) score_tile(heads, 1, bf16, q, memory, at, at + values, dim, to, stride);
        scores = to;
    }
}

/* Compute V_LEN * vectors elements, from element d on, of the output of each head h: inverse[h] * sum over the positions
 * j < count from `first` on of p[h * stride + j] * (value of position first + j). If n < V_LEN, `vectors` is 1 and only the first n
 * lanes are computed. */
V_INLINE void value_tile(const int heads, const int vectors, const int bf16, float *out, const float *p, size_t stride,
                         const cache_blocks *c, int32_t d, int32_t first, int32_t count, int32_t n, const float *inverse) {
    const int32_t end = first + count, head_dim = c->head_dim;
    V sum[2][4];
    V_UNROLL for (int h = 0; h < heads; h++)
        V_UNROLL for (int i = 0; i < vectors; i++) sum[h][i] = v_set1(0);
    for (int32_t at = first; at < end;) {
        const int32_t in = at % c->block, stop = end - at < c->block - in ? end : at + c->block - in;
        const void *memory = c->blocks[at / c->block];
        size_t row = c->at + ((size_t)c->block + in) * head_dim + d;
        for (; at < stop; at++, p++, row += head_dim)
            V_UNROLL for (int i = 0; i < vectors; i++) {
                V value = cache_get(bf16, memory, row + i * V_LEN, n);
                V_UNROLL for (int h = 0; h < heads; h++) sum[h][i] = v_fma(value, v_set1(p[h * stride]), sum[h][i]);
            }
    }
    V_UNROLL for (int h = 0; h < heads; h++)
        V_UNROLL for (int i = 0; i < vectors; i++)
            v_put(out + (size_t)h * head_dim + d + i * V_LEN, v_mul(sum[h][i], v_set1(inverse[h])), n);
}

/* The kernel of Q3T_ATTEND for one or two heads. */
V_INLINE void attend_heads(const int heads, const int bf16, float *out, const float *q, const cache_blocks *c, int32_t first,
                           int32_t count, float scale, float *scores) {
    const size_t stride = (size_t)count + 2 * Q3T_KEYS;
    const int32_t head_dim = c->head_dim;
    float inverse[2];
    int32_t d = 0;
    score_all(heads, bf16, q, c, first, count, scores, stride);
    scores += first % Q3T_KEYS;
    for (int h = 0; h < heads; h++) {
        float *p = scores + h * stride;
        inverse[h] = 1 / exp_sum(p, p, count, max(p, count), scale);
    }
    for (; d + 4 * V_LEN <= head_dim; d += 4 * V_LEN)
        value_tile(heads, 4, bf16, out, scores, stride, c, d, first, count, V_LEN, inverse);
    for (; d + V_LEN <= head_dim; d += V_LEN) value_tile(heads, 1, bf16, out, scores, stride, c, d, first, count, V_LEN, inverse);
    if (d < head_dim) value_tile(heads, 1, bf16, out, scores, stride, c, d, first, count, head_dim - d, inverse);
}

V_INLINE void attend_all(const int bf16, float *out, const float *q, const cache_blocks *c, int32_t heads, int32_t first,
                         int32_t count, float scale, float *scores) {
    int32_t h = 0;
    for (; h + 2 <= heads; h += 2, out += 2 * c->head_dim, q += 2 * c->head_dim)
        attend_heads(2, bf16, out, q, c, first, count, scale, scores);
    if (h < heads) attend_heads(1, bf16, out, q, c, first, count, scale, scores);
}

static Q3T_ATTEND(attend) {
    const cache_blocks c = {blocks, at, block, head_dim};
    attend_all(0, out, q, &c, heads, first, count, scale, scores);
}

static Q3T_ATTEND(attend_bf16) {
    const cache_blocks c = {blocks, at, block, head_dim};
    attend_all(1, out, q, &c, heads, first, count, scale, scores);
}
