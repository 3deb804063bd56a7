/* kernels/avx2/vector.h - the operations of kernels/bodies/vector.h for AVX2 and FMA; included inside a region of base/target.h. */
#include "kernels/bodies/vector.h"
typedef __m256 V;
enum { V_LEN = 8 };

V_INLINE V v_in_register(V x) {
    __asm__("" : "+x"(x));
    return x;
}
V_INLINE __m256i v_lanes(int32_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
V_INLINE V v_set1(float x) { return _mm256_set1_ps(x); }
V_INLINE V v_load(const float *p) { return _mm256_loadu_ps(p); }
V_INLINE void v_store(float *p, V x) { _mm256_storeu_ps(p, x); }
V_INLINE V v_load_n(const float *p, int32_t n) {
    float whole[8] = {0};
    memcpy(whole, p, (size_t)n * 4);
    return _mm256_loadu_ps(whole);
}
V_INLINE void v_store_n(float *p, V x, int32_t n) {
    float whole[8];
    _mm256_storeu_ps(whole, x);
    memcpy(p, whole, (size_t)n * 4);
}
V_INLINE V v_first(V x, int32_t n) { return _mm256_and_ps(x, _mm256_castsi256_ps(v_lanes(n))); }
V_INLINE V v_add(V a, V b) { return _mm256_add_ps(a, b); }
V_INLINE V v_sub(V a, V b) { return _mm256_sub_ps(a, b); }
V_INLINE V v_mul(V a, V b) { return _mm256_mul_ps(a, b); }
V_INLINE V v_div(V a, V b) { return _mm256_div_ps(a, b); }
V_INLINE V v_fma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
V_INLINE V v_accumulate(V a, V b, V c) {
    __asm__("vfmadd231ps %2, %1, %0" : "+x"(c) : "x"(a), "x"(b));
    return c;
}
V_INLINE V v_fnma(V a, V b, V c) { return _mm256_fnmadd_ps(a, b, c); }
V_INLINE V v_min(V a, V b) { return _mm256_min_ps(a, b); }
V_INLINE V v_max(V a, V b) { return _mm256_max_ps(a, b); }
V_INLINE V v_abs(V x) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x); }
V_INLINE V v_round(V x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
V_INLINE V v_keep(V x, V a, V limit) { return _mm256_andnot_ps(_mm256_cmp_ps(a, limit, _CMP_LT_OQ), x); }

V_INLINE V v_power(__m256i n) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23)); }
/* Multiplies by two factors, because 2^n may not be a normal float. */
V_INLINE V v_scale(V x, V n) {
    __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1);
    return _mm256_mul_ps(_mm256_mul_ps(x, v_power(half)), v_power(_mm256_sub_epi32(whole, half)));
}
/* Each sum adds lanes that are 4 apart, then 2 apart, then neighbours. */
V_INLINE void v_sum4(float *p, V a, V b, V c, V d) {
    V ab = _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
    V cd = _mm256_add_ps(_mm256_permute2f128_ps(c, d, 0x20), _mm256_permute2f128_ps(c, d, 0x31));
    V pairs = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xee));
    V all = _mm256_add_ps(_mm256_shuffle_ps(pairs, pairs, 0x88), _mm256_shuffle_ps(pairs, pairs, 0xdd));
    _mm_storeu_ps(p, _mm_unpacklo_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1)));
}
V_INLINE float v_sum(V x) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
V_INLINE float v_largest(V x) {
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

V_INLINE void v_unzip(V a, V b, V *even, V *odd) {
    V low = _mm256_permute2f128_ps(a, b, 0x20), high = _mm256_permute2f128_ps(a, b, 0x31);
    *even = _mm256_shuffle_ps(low, high, 0x88);
    *odd = _mm256_shuffle_ps(low, high, 0xdd);
}
V_INLINE V v_widen(const uint16_t *p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)), 16));
}
V_INLINE V v_widen_n(const uint16_t *p, int32_t n) {
    uint16_t whole[8] = {0};
    memcpy(whole, p, (size_t)n * 2);
    return v_widen(whole);
}

V_INLINE V v_even(const void *p) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256(p), 16)); }
V_INLINE V v_odd(const void *p) {
    return _mm256_castsi256_ps(_mm256_and_si256(_mm256_loadu_si256(p), _mm256_set1_epi32((int32_t)0xffff0000)));
}
