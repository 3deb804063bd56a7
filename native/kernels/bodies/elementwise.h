/* kernels/bodies/elementwise.h - the kernels that work on elements, rows or heads, written with the vectors of
 * kernels/bodies/vector.h.
 *
 * A tail of fewer than V_LEN elements goes through the same operations as a full vector, and a product that is added to a sum is
 * always a v_fma, so the bits of an element do not depend on its place in the range. */

/* Load V_LEN floats, or n if n < V_LEN; the other lanes are 0. */
V_INLINE V v_get(const float *p, int32_t n) { return n >= V_LEN ? v_load(p) : v_load_n(p, n); }

/* Store V_LEN lanes of x, or the first n if n < V_LEN. */
V_INLINE void v_put(float *p, V x, int32_t n) {
    if (n >= V_LEN) v_store(p, x);
    else v_store_n(p, x, n);
}

/* Returns p and sets *n such that exp(y) = (1 + p) 2^n, for y in -87.3 .. 89. Source: Cephes expf. */
V_INLINE V v_exp_parts(V y, V *n) {
    *n = v_round(v_mul(y, v_set1(1.44269504f)));
    V r = v_fnma(*n, v_set1(-1.90465430e-9f), v_fnma(*n, v_set1(0.693147182f), y));
    V p = v_fma(v_set1(1.9875691500e-4f), r, v_set1(1.3981999507e-3f));
    p = v_fma(p, r, v_set1(8.3334519073e-3f));
    p = v_fma(p, r, v_set1(4.1665795894e-2f));
    p = v_fma(p, r, v_set1(1.6666665459e-1f));
    p = v_fma(p, r, v_set1(5.0000001201e-1f));
    return v_fma(v_mul(p, r), r, r);
}

/* exp(x) with an error of at most 2 ulp; 0 where the result would be subnormal. */
V_INLINE V v_exp(V x) {
    V n, p = v_exp_parts(v_max(v_set1(-87.3f), v_min(v_set1(89.0f), x)), &n);
    return v_keep(v_scale(v_add(p, v_set1(1)), n), x, v_set1(-87.3f));
}

/* x where x > 0, else exp(x) - 1, without cancellation near 0. */
V_INLINE V v_elu(V x) {
    V n, p = v_exp_parts(v_max(v_set1(-87.3f), v_min(v_set1(0), x)), &n), by = v_scale(v_set1(1), n);
    return v_add(v_max(v_set1(0), x), v_fma(p, by, v_sub(by, v_set1(1))));
}

V_INLINE V v_silu(V x) { return v_div(x, v_add(v_set1(1), v_exp(v_sub(v_set1(0), x)))); }

/* x Phi(x) = max(x, 0) - |x| erfc(|x| / sqrt 2) / 2, which has no cancellation for x < 0.
 * Source: Abramowitz & Stegun 7.1.26, |error| of erfc <= 1.5e-7. */
V_INLINE V v_gelu(V x) {
    V a = v_abs(x), z = v_mul(a, v_set1(0.707106781f));
    V t = v_div(v_set1(1), v_fma(z, v_set1(0.3275911f), v_set1(1)));
    V p = v_fma(v_set1(1.061405429f), t, v_set1(-1.453152027f));
    p = v_fma(p, t, v_set1(1.421413741f));
    p = v_fma(p, t, v_set1(-0.284496736f));
    p = v_fma(p, t, v_set1(0.254829592f));
    V erfc = v_mul(v_mul(p, t), v_exp(v_sub(v_set1(0), v_mul(z, z))));
    return v_fnma(v_mul(a, v_set1(0.5f)), erfc, v_max(x, v_set1(0)));
}

/* sin(x)^2. x is reduced to r = x - n pi in [-pi/2, pi/2]. If x is so large that n pi has no fraction in float, the clamp of r
 * keeps the result in [0, 1]. The polynomial is a minimax approximation of sin with an error of 5e-9. */
V_INLINE V v_sin2(V x) {
    const float half_pi = 1.57079637f;
    V n = v_round(v_mul(x, v_set1(0.318309886f)));
    V r = v_fnma(n, v_set1(-8.74227766e-8f), v_fnma(n, v_set1(3.14159274f), x));
    r = v_max(v_set1(-half_pi), v_min(v_set1(half_pi), r));
    V u = v_mul(r, r);
    V p = v_fma(v_set1(2.59990315e-6f), u, v_set1(-1.98065463e-4f));
    p = v_fma(p, u, v_set1(8.33301619e-3f));
    p = v_fma(p, u, v_set1(-0.166666567f));
    V s = v_fma(v_mul(r, u), p, r);
    return v_mul(s, s);
}

static Q3T_SILU_MUL(silu_mul) {
    for (int32_t i = 0; i < n; i += V_LEN)
        v_put(y + i, v_mul(v_silu(v_get(gate + i, n - i)), v_get(up + i, n - i)), n - i);
}

static Q3T_SILU(silu) {
    for (int32_t i = 0; i < n; i += V_LEN) v_put(x + i, v_silu(v_get(x + i, n - i)), n - i);
}

static Q3T_GELU(gelu) {
    for (int32_t i = 0; i < n; i += V_LEN) v_put(x + i, v_gelu(v_get(x + i, n - i)), n - i);
}

static Q3T_ELU(elu) {
    for (int32_t i = 0; i < n; i += V_LEN) v_put(y + i, v_elu(v_get(x + i, n - i)), n - i);
}

static Q3T_SNAKE(snake) {
    for (int32_t r = 0; r < rows; r++, x += channels, y += channels)
        for (int32_t c = 0; c < channels; c += V_LEN) {
            int32_t n = channels - c;
            V v = v_get(x + c, n);
            v_put(y + c, v_fma(v_get(inv_beta + c, n), v_sin2(v_mul(v, v_get(alpha + c, n))), v), n);
        }
}

static Q3T_ADD(add) {
    for (int32_t i = 0; i < n; i += V_LEN) v_put(y + i, v_add(v_get(y + i, n - i), v_get(x + i, n - i)), n - i);
}

static Q3T_ADD_SCALED(add_scaled) {
    for (int32_t i = 0; i < n; i += V_LEN)
        v_put(y + i, v_fma(v_get(scale + i, n - i), v_get(x + i, n - i), v_get(y + i, n - i)), n - i);
}

static Q3T_ADD_BF16(add_bf16) {
    for (int32_t i = 0; i < n; i += V_LEN) {
        V wide = n - i >= V_LEN ? v_widen(x + i) : v_widen_n(x + i, n - i);
        v_put(y + i, v_add(v_get(y + i, n - i), wide), n - i);
    }
}

static Q3T_EXP_SUM(exp_sum) {
    V sum = v_set1(0), top = v_set1(max), by = v_set1(scale);
    for (int32_t i = 0; i < n; i += V_LEN) {
        V e = v_exp(v_mul(v_sub(v_get(x + i, n - i), top), by));
        v_put(y + i, e, n - i);
        sum = v_add(sum, n - i >= V_LEN ? e : v_first(e, n - i));
    }
    return v_sum(sum);
}

static Q3T_MAX(max) {
    if (n < V_LEN) {
        float largest = x[0];
        for (int32_t i = 1; i < n; i++) largest = x[i] > largest ? x[i] : largest;
        return largest;
    }
    V largest = v_load(x + n - V_LEN);
    for (int32_t i = 0; i + V_LEN <= n; i += V_LEN) largest = v_max(largest, v_load(x + i));
    return v_largest(largest);
}

/* 0 * x is NaN exactly where x is NaN or infinite, and the sum keeps a NaN. */
static Q3T_FINITE(finite) {
    V sum = v_set1(0);
    for (int32_t i = 0; i < n; i += V_LEN) sum = v_fma(v_get(x + i, n - i), v_set1(0), sum);
    return v_sum(sum) == 0;
}

static Q3T_CLAMP(clamp) {
    for (int32_t i = 0; i < n; i += V_LEN)
        v_put(x + i, v_min(v_set1(1), v_max(v_set1(-1), v_get(x + i, n - i))), n - i);
}

static Q3T_DEPTHWISE(depthwise) {
    for (int32_t t = 0; t < rows; t++, x += channels, y += channels)
        for (int32_t c = 0; c < channels; c += V_LEN) {
            int32_t n = channels - c;
            V sum = v_get(bias + c, n);
            for (int32_t tap = 0; tap < taps; tap++)
                sum = v_fma(v_get(w + (size_t)tap * channels + c, n), v_get(x + (size_t)tap * channels + c, n), sum);
            v_put(y + c, sum, n);
        }
}

/* Returns the sum of (x - mean)^2 over the n elements of x, computed in four independent chains of additions. */
V_INLINE float sum_squares(const float *x, int32_t n, float mean) {
    V sum[4], m = v_set1(mean);
    int32_t i = 0;
    V_UNROLL for (int j = 0; j < 4; j++) sum[j] = v_set1(0);
    for (; i + 4 * V_LEN <= n; i += 4 * V_LEN)
        V_UNROLL for (int j = 0; j < 4; j++) {
            V d = v_sub(v_load(x + i + j * V_LEN), m);
            sum[j] = v_fma(d, d, sum[j]);
        }
    for (; i < n; i += V_LEN) {
        V d = v_sub(v_get(x + i, n - i), m);
        if (n - i < V_LEN) d = v_first(d, n - i);
        sum[0] = v_fma(d, d, sum[0]);
    }
    return v_sum(v_add(v_add(sum[0], sum[1]), v_add(sum[2], sum[3])));
}

static Q3T_RMSNORM(rmsnorm) {
    V scale = v_set1(1 / __builtin_sqrtf(sum_squares(x, n, 0) / (float)n + eps));
    for (int32_t i = 0; i < n; i += V_LEN)
        v_put(y + i, v_mul(v_mul(v_get(x + i, n - i), scale), v_get(w + i, n - i)), n - i);
}

static Q3T_LAYERNORM(layernorm) {
    V sum = v_set1(0);
    for (int32_t i = 0; i < n; i += V_LEN) sum = v_add(sum, v_get(x + i, n - i));
    float mean = v_sum(sum) / (float)n;
    V m = v_set1(mean), scale = v_set1(1 / __builtin_sqrtf(sum_squares(x, n, mean) / (float)n + eps));
    for (int32_t i = 0; i < n; i += V_LEN) {
        V d = v_mul(v_sub(v_get(x + i, n - i), m), scale);
        v_put(y + i, v_fma(d, v_get(w + i, n - i), v_get(b + i, n - i)), n - i);
    }
}

static Q3T_HEAD_ROPE(head_rope) {
    int32_t half = head_dim / 2;
    if (w) rmsnorm(x, x, w, head_dim, eps);
    for (int32_t i = 0; i < half; i += V_LEN) {
        int32_t n = half - i;
        V a = v_get(x + i, n), b = v_get(x + half + i, n), c = v_get(cos + i, n), s = v_get(sin + i, n);
        v_put(x + i, v_fnma(b, s, v_mul(a, c)), n);
        v_put(x + half + i, v_fma(a, s, v_mul(b, c)), n);
    }
}

/* For Q3T_KERNEL_TABLE, in an overlay that has every kernel: sets one entry of the table. */
#define BODY_SET(entry, SIGNATURE) Q3T_SET(k, entry, isa);
