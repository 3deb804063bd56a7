/* kernels/avx2/coded.h - CT, c_table and c_row of kernels/bodies/coded.h for AVX2. */
typedef __m256i CT;

V_INLINE CT c_table(const uint8_t *p) { return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)p)); }
/* Decode 128 weights of a row at `from` to out (128,) bf16, 64-byte aligned. */
V_INLINE void c_row(uint16_t *out, const uint8_t *from, CT table) {
    const __m256i nibble = _mm256_set1_epi8(15);
    V_UNROLL for (int part = 0; part < 2; part++) {
        const __m256i codes = _mm256_loadu_si256((const __m256i *)(from + Q3T_CODED_STEP + 32 * part));
        V_UNROLL for (int half = 0; half < 2; half++) {
            __m256i low = _mm256_loadu_si256((const __m256i *)(from + 64 * half + 32 * part));
            __m256i high = _mm256_shuffle_epi8(table, _mm256_and_si256(half ? _mm256_srli_epi16(codes, 4) : codes, nibble));
            _mm256_store_si256((__m256i *)(out + 64 * half + 16 * part), _mm256_unpacklo_epi8(low, high));
            _mm256_store_si256((__m256i *)(out + 64 * half + 16 * part + 32), _mm256_unpackhi_epi8(low, high));
        }
    }
}
