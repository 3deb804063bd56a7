/* kernels/avx2/quant.h - the operations that kernels/bodies/quant.h needs, for AVX2. INT8 weights and columns are in -127 .. 127,
 * so a sum of two products fits in 16 bits. INT4 weights are so small that all products of a group that are summed in a 16-bit
 * lane fit in it. */
typedef __m256i QI;
typedef __m256i QB;
typedef struct { __m256i size, sign; } QW;
typedef __m256i Q4;
enum { QUANT_VECTORS = 2, QUANT_TILE_COLS = 4, QUANT_SINGLE_COLS = QUANT_TILE_COLS };
#define Q8_ZERO 0
#define QUANT_TILES(X) X(4, 1) X(3, 1) X(2, 1) X(1, 2)

V_INLINE QB q_bytes(const void *p) { return _mm256_loadu_si256(p); }
V_INLINE QB q_quad(const void *p) {
    int32_t four;
    memcpy(&four, p, 4);
    return _mm256_set1_epi32(four);
}
V_INLINE QI q_set1(int32_t x) { return _mm256_set1_epi32(x); }
V_INLINE QI q_add(QI a, QI b) { return _mm256_add_epi32(a, b); }
V_INLINE V q_float(QI x) { return _mm256_cvtepi32_ps(x); }
V_INLINE QI q_pairs(__m256i x) { return _mm256_madd_epi16(x, _mm256_set1_epi16(1)); }
V_INLINE QW q8_weights(QB w) {
    w = _mm256_xor_si256(w, _mm256_set1_epi8(-128));
    return (QW){_mm256_abs_epi8(w), w};
}
V_INLINE QI q8_dot(QI sum, QW w, QB x) {
    return _mm256_add_epi32(sum, q_pairs(_mm256_maddubs_epi16(w.size, _mm256_sign_epi8(x, w.sign))));
}
V_INLINE QB q4_low(QB x) { return _mm256_and_si256(x, _mm256_set1_epi8(15)); }
V_INLINE QB q4_high(QB x) { return _mm256_and_si256(_mm256_srli_epi16(x, 4), _mm256_set1_epi8(15)); }
V_INLINE Q4 q4_start(int32_t start) { return (void)start, _mm256_setzero_si256(); }
V_INLINE Q4 q4_dot(Q4 sum, QB w, QB x) { return _mm256_add_epi16(sum, _mm256_maddubs_epi16(w, x)); }
V_INLINE QI q4_sum(Q4 sum, int32_t start) { return _mm256_add_epi32(q_pairs(sum), _mm256_set1_epi32(start)); }
/* Each 32 bits hold two scales: in the low half the scale of one of the first 16 rows, in the high half of one of the last 16. */
V_INLINE V q_scales(const void *p, int v) {
    QI both = _mm256_loadu_si256((const __m256i *)p + v % 2);
    return _mm256_castsi256_ps(v > 1 ? _mm256_and_si256(both, _mm256_set1_epi32((int32_t)0xffff0000)) : _mm256_slli_epi32(both, 16));
}
/* n must be a multiple of 32. */
V_INLINE int32_t q_largest(const float *x, const int n) {
    QI most = _mm256_setzero_si256();
    for (int i = 0; i < n; i += 8)
        most = _mm256_max_epi32(most, _mm256_and_si256(_mm256_loadu_si256((const __m256i *)(x + i)), _mm256_set1_epi32(INT32_MAX)));
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(most), _mm256_extracti128_si256(most, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    return _mm_cvtsi128_si32(_mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1)));
}
V_INLINE int32_t q_round(int8_t *out, const float *x, float inverse, const int n) {
    QI sum = _mm256_setzero_si256();
    for (int i = 0; i < n; i += 8) {
        QI whole = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i), _mm256_set1_ps(inverse)));
        __m128i half = _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
        _mm_storel_epi64((__m128i *)(out + i), _mm_packs_epi16(half, half));
        sum = _mm256_add_epi32(sum, whole);
    }
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}
