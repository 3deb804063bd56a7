/* kernels/avx512/quant.h - the operations that kernels/bodies/quant.h needs, for AVX-512, except the dot products. */
typedef __m512i QI;
typedef __m512i QB;
enum { QUANT_VECTORS = 2 };

V_INLINE QB q_bytes(const void *p) { return _mm512_loadu_si512(p); }
V_INLINE QB q_quad(const void *p) {
    int32_t four;
    memcpy(&four, p, 4);
    return _mm512_set1_epi32(four);
}
V_INLINE QI q_set1(int32_t x) { return _mm512_set1_epi32(x); }
V_INLINE QI q_add(QI a, QI b) { return _mm512_add_epi32(a, b); }
V_INLINE V q_float(QI x) { return _mm512_cvtepi32_ps(x); }
V_INLINE QB q4_low(QB x) { return _mm512_and_si512(x, _mm512_set1_epi8(15)); }
V_INLINE QB q4_high(QB x) { return _mm512_and_si512(_mm512_srli_epi16(x, 4), _mm512_set1_epi8(15)); }
/* Each 32 bits hold two scales: in the low half the scale of one of the first 16 rows, in the high half of one of the last 16. */
V_INLINE V q_scales(const void *p, int v) {
    QI both = _mm512_loadu_si512(p);
    return _mm512_castsi512_ps(v ? _mm512_and_si512(both, _mm512_set1_epi32((int32_t)0xffff0000)) : _mm512_slli_epi32(both, 16));
}
/* n must be a multiple of 32. */
V_INLINE int32_t q_largest(const float *x, const int n) {
    QI most = _mm512_setzero_si512();
    for (int i = 0; i < n; i += 16)
        most = _mm512_max_epi32(most, _mm512_and_si512(_mm512_loadu_si512(x + i), _mm512_set1_epi32(INT32_MAX)));
    return _mm512_reduce_max_epi32(most);
}
V_INLINE int32_t q_round(int8_t *out, const float *x, float inverse, const int n) {
    QI sum = _mm512_setzero_si512();
    for (int i = 0; i < n; i += 16) {
        QI whole = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + i), _mm512_set1_ps(inverse)));
        _mm_storeu_si128((__m128i *)(out + i), _mm512_cvtepi32_epi8(whole));
        sum = _mm512_add_epi32(sum, whole);
    }
    return _mm512_reduce_add_epi32(sum);
}
