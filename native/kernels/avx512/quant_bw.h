/* kernels/avx512/quant_bw.h - the dot products of kernels/bodies/quant.h for AVX-512 without VNNI. INT8 weights and columns are in
 * -127 .. 127, so a sum of two products fits in 16 bits. INT4 weights are so small that all products of a group that are summed in
 * a 16-bit lane fit in it. */
typedef struct { __m512i size; __mmask64 negative; } QW;
typedef __m512i Q4;
#define Q8_ZERO 0

V_INLINE QW q8_weights(QB w) {
    w = _mm512_xor_si512(w, _mm512_set1_epi8(-128));
    return (QW){_mm512_abs_epi8(w), _mm512_movepi8_mask(w)};
}
V_INLINE QI q_pairs(__m512i x) { return _mm512_madd_epi16(x, _mm512_set1_epi16(1)); }
V_INLINE QI q8_dot(QI sum, QW w, QB x) {
    QB signed_x = _mm512_mask_sub_epi8(x, w.negative, _mm512_setzero_si512(), x);
    return _mm512_add_epi32(sum, q_pairs(_mm512_maddubs_epi16(w.size, signed_x)));
}
V_INLINE Q4 q4_start(int32_t start) { return (void)start, _mm512_setzero_si512(); }
V_INLINE Q4 q4_dot(Q4 sum, QB w, QB x) { return _mm512_add_epi16(sum, _mm512_maddubs_epi16(w, x)); }
V_INLINE QI q4_sum(Q4 sum, int32_t start) { return _mm512_add_epi32(q_pairs(sum), _mm512_set1_epi32(start)); }
