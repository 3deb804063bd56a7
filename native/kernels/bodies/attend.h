/* kernels/bodies/attend.h - the attention kernels, written with the vectors of kernels/bodies/vector.h.
 *
 * The keys of a block are stored dimension by dimension, so one vector holds one dimension of V_LEN positions, and the score of
 * a position is accumulated over the dimensions in one lane: no sums across lanes. Softmax and the sum of the values count
 * positions from `first`, so the result does not depend on where blocks begin. Two heads are computed together, so that keys and
 * values are loaded once for both. The parameter bf16 is 1 if keys and values are bf16, 0 if they are float. */
enum { KEY_VECTORS = Q3T_KEYS / V_LEN,
       KEY_TILE = V_LEN / 4 };    /* blocks of keys in a tile: with two heads, eight independent chains of additions */

V_INLINE V cache_get(const int bf16, const void *p, size_t at, int32_t n) {
    const uint16_t *narrow = (const uint16_t *)p + at;
    if (bf16) return n >= V_LEN ? v_widen(narrow) : v_widen_n(narrow, n);
    return v_get((const float *)p + at, n);
}

/* Compute the dot products of q (heads, head_dim) with the keys of `blocks` blocks, the first of which begins at k[at]. The
 * Q3T_KEYS products of head h with block b go to scores + h * stride + b * Q3T_KEYS. Prefetches the values of the same positions,
 * from v[at] on, because they are read next. */
V_INLINE void score_tile(const int heads, const int blocks, const int bf16, const float *q, const void *k, const void *v,
                         size_t at, int32_t head_dim, float *scores, size_t stride) {
    const size_t item = bf16 ? 2 : 4, step = (size_t)blocks * Q3T_KEYS * item;
    const char *ahead = (const char *)v + at * item;
    V sum[2][KEY_TILE][KEY_VECTORS];
    V_UNROLL for (int h = 0; h < heads; h++)
        V_UNROLL for (int b = 0; b < blocks; b++)
            V_UNROLL for (int n = 0; n < KEY_VECTORS; n++) sum[h][b][n] = v_set1(0);
    for (int32_t d = 0; d < head_dim; d++, ahead += step) {
        V_UNROLL for (size_t i = 0; i < step; i += 64) __builtin_prefetch(ahead + i);
        V_UNROLL for (int b = 0; b < blocks; b++)
            V_UNROLL for (int n = 0; n < KEY_VECTORS; n++) {
                V key = cache_get(bf16, k, at + ((size_t)b * head_dim + d) * Q3T_KEYS + n * V_LEN, V_LEN);
                V_UNROLL for (int h = 0; h < heads; h++)
                    sum[h][b][n] = v_fma(key, v_set1(q[(size_t)h * head_dim + d]), sum[h][b][n]);
            }
    }
    V_UNROLL for (int h = 0; h < heads; h++)
        V_UNROLL for (int b = 0; b < blocks; b++)
            V_UNROLL for (int n = 0; n < KEY_VECTORS; n++)
                v_store(scores + h * stride + b * Q3T_KEYS + n * V_LEN, sum[h][b][n]);
}

/* Compute V_LEN * vectors elements of the output of each head h: inverse[h] * sum over positions j < count of
 * p[h * stride + j] * v[at + j * head_dim]. If n < V_LEN, `vectors` is 1 and only the first n lanes are computed. */
V_INLINE void value_tile(const int heads, const int vectors, const int bf16, float *out, const float *p, size_t stride, const void *v,
                       size_t at, int32_t head_dim, int32_t count, int32_t n, const float *inverse) {
    V sum[2][4];
    V_UNROLL for (int h = 0; h < heads; h++)
        V_UNROLL for (int i = 0; i < vectors; i++) sum[h][i] = v_set1(0);
    for (int32_t j = 0; j < count; j++, at += head_dim)
        V_UNROLL for (int i = 0; i < vectors; i++) {
            V value = cache_get(bf16, v, at + i * V_LEN, n);
            V_UNROLL for (int h = 0; h < heads; h++) sum[h][i] = v_fma(value, v_set1(p[h * stride + j]), sum[h][i]);
        }
    V_UNROLL for (int h = 0; h < heads; h++)
        V_UNROLL for (int i = 0; i < vectors; i++)
            v_put(out + (size_t)h * head_dim + i * V_LEN, v_mul(sum[h][i], v_set1(inverse[h])), n);
}

/* The kernel of Q3T_ATTEND for one or two heads. */
V_INLINE void attend_heads(const int heads, const int bf16, float *out, const float *q, const void *k, const void *v,
                           int32_t head_dim, int32_t first, int32_t count, float scale, float *scores) {
    const int32_t skip = first % Q3T_KEYS, blocks = (skip + count + Q3T_KEYS - 1) / Q3T_KEYS;
    const size_t stride = (size_t)count + 2 * Q3T_KEYS, block = (size_t)head_dim * Q3T_KEYS, at = (size_t)first * head_dim;
    size_t key = first / Q3T_KEYS * block;
    float inverse[2];
    int32_t b = 0, d = 0;
    for (; b + KEY_TILE <= blocks; b += KEY_TILE, key += KEY_TILE * block)
        score_tile(heads, KEY_TILE, bf16, q, k, v, key, head_dim, scores + b * Q3T_KEYS, stride);
    for (; b < blocks; b++, key += block) score_tile(heads, 1, bf16, q, k, v, key, head_dim, scores + b * Q3T_KEYS, stride);
    for (int h = 0; h < heads; h++) {
        float *p = scores + h * stride + skip;
        inverse[h] = 1 / exp_sum(p, p, count, max(p, count), scale);
    }
    scores += skip;
    for (; d + 4 * V_LEN <= head_dim; d += 4 * V_LEN)
        value_tile(heads, 4, bf16, out + d, scores, stride, v, at + d, head_dim, count, V_LEN, inverse);
    for (; d + V_LEN <= head_dim; d += V_LEN)
        value_tile(heads, 1, bf16, out + d, scores, stride, v, at + d, head_dim, count, V_LEN, inverse);
    if (d < head_dim) value_tile(heads, 1, bf16, out + d, scores, stride, v, at + d, head_dim, count, head_dim - d, inverse);
}

V_INLINE void attend_all(const int bf16, float *out, const float *q, const void *k, const void *v, int32_t heads, int32_t head_dim,
                         int32_t first, int32_t count, float scale, float *scores) {
    int32_t h = 0;
    for (; h + 2 <= heads; h += 2, out += 2 * head_dim, q += 2 * head_dim)
        attend_heads(2, bf16, out, q, k, v, head_dim, first, count, scale, scores);
    if (h < heads) attend_heads(1, bf16, out, q, k, v, head_dim, first, count, scale, scores);
}

static Q3T_ATTEND(attend) { attend_all(0, out, q, k, v, heads, head_dim, first, count, scale, scores); }

static Q3T_ATTEND_BF16(attend_bf16) { attend_all(1, out, q, k, v, heads, head_dim, first, count, scale, scores); }
