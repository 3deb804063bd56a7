/* kernels/avx512/vector.h - the operations of kernels/bodies/vector.h for AVX-512; included inside a region of base/target.h. */
#include "kernels/bodies/vector.h"
typedef __m512 V;
enum { V_LEN = 16 };

V_INLINE V v_in_register(V x) {
    __asm__("" : "+v"(x));
    return x;
}
V_INLINE __mmask16 v_lanes(int32_t n) { return (__mmask16)((1u << n) - 1); }
V_INLINE V v_set1(float x) { return _mm512_set1_ps(x); }
V_INLINE V v_load(const float *p) { return _mm512_loadu_ps(p); }
V_INLINE void v_store(float *p, V x) { _mm512_storeu_ps(p, x); }
V_INLINE V v_load_n(const float *p, int32_t n) { return _mm512_maskz_loadu_ps(v_lanes(n), p); }
V_INLINE void v_store_n(float *p, V x, int32_t n) { _mm512_mask_storeu_ps(p, v_lanes(n), x); }
V_INLINE V v_first(V x, int32_t n) { return _mm512_maskz_mov_ps(v_lanes(n), x); }
V_INLINE V v_add(V a, V b) { return _mm512_add_ps(a, b); }
V_INLINE V v_sub(V a, V b) { return _mm512_sub_ps(a, b); }
V_INLINE V v_mul(V a, V b) { return _mm512_mul_ps(a, b); }
V_INLINE V v_div(V a, V b) { return _mm512_div_ps(a, b); }
V_INLINE V v_fma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
V_INLINE V v_accumulate(V a, V b, V c) {
    __asm__("vfmadd231ps %2, %1, %0" : "+v"(c) : "v"(a), "v"(b));
    return c;
}
V_INLINE V v_fnma(V a, V b, V c) { return _mm512_fnmadd_ps(a, b, c); }
V_INLINE V v_min(V a, V b) { return _mm512_min_ps(a, b); }
V_INLINE V v_max(V a, V b) { return _mm512_max_ps(a, b); }
V_INLINE V v_abs(V x) { return _mm512_abs_ps(x); }
V_INLINE V v_round(V x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
V_INLINE V v_keep(V x, V a, V limit) { return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, limit, _CMP_NLT_UQ), x); }
V_INLINE V v_scale(V x, V n) { return _mm512_scalef_ps(x, n); }
/* Each sum adds lanes that are 8 apart, then 4, then 2 apart, then neighbours. */
V_INLINE void v_sum4(float *p, V a, V b, V c, V d) {
    V ab = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
    V cd = _mm512_add_ps(_mm512_shuffle_f32x4(c, d, 0x44), _mm512_shuffle_f32x4(c, d, 0xee));
    V all = _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
    all = _mm512_add_ps(all, _mm512_permute_ps(all, 0x4e));
    all = _mm512_add_ps(all, _mm512_permute_ps(all, 0xb1));
    _mm_storeu_ps(p, _mm512_castps512_ps128(_mm512_maskz_compress_ps(0x1111, all)));
}
V_INLINE float v_sum(V x) {
    __m256 s8 = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}
V_INLINE float v_largest(V x) { return _mm512_reduce_max_ps(x); }
V_INLINE void v_unzip(V a, V b, V *even, V *odd) {
    const __m512i at = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    *even = _mm512_permutex2var_ps(a, at, b);
    *odd = _mm512_permutex2var_ps(a, _mm512_add_epi32(at, _mm512_set1_epi32(1)), b);
}
V_INLINE V v_widen_bits(__m256i x) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16)); }
V_INLINE V v_widen(const uint16_t *p) { return v_widen_bits(_mm256_loadu_si256((const __m256i *)p)); }
V_INLINE V v_widen_n(const uint16_t *p, int32_t n) { return v_widen_bits(_mm256_maskz_loadu_epi16(v_lanes(n), p)); }

V_INLINE V v_even(const void *p) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16)); }
V_INLINE V v_odd(const void *p) {
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi32((int32_t)0xffff0000)));
}
