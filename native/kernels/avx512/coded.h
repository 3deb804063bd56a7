/* kernels/avx512/coded.h - CT, c_table and c_row of kernels/bodies/coded.h for AVX-512. */
typedef __m512i CT;

V_INLINE CT c_table(const uint8_t *p) { return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)p)); }
/* Decode 128 weights of a row at `from` to out (128,) bf16, 64-byte aligned. */
V_INLINE void c_row(uint16_t *out, const uint8_t *from, CT table) {
    const __m512i nibble = _mm512_set1_epi8(15), codes = _mm512_loadu_si512(from + Q3T_CODED_STEP);
    V_UNROLL for (int half = 0; half < 2; half++) {
        __m512i low = _mm512_loadu_si512(from + 64 * half);
        __m512i high = _mm512_shuffle_epi8(table, _mm512_and_si512(half ? _mm512_srli_epi16(codes, 4) : codes, nibble));
        _mm512_store_si512(out + 64 * half, _mm512_unpacklo_epi8(low, high));
        _mm512_store_si512(out + 64 * half + 32, _mm512_unpackhi_epi8(low, high));
    }
}
