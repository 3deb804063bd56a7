/* kernels/neon/coded.h - CT, c_table and c_row of kernels/bodies/coded.h for NEON. */
typedef uint8x16_t CT;

V_INLINE CT c_table(const uint8_t *p) { return vld1q_u8(p); }
/* Decode 128 weights of a row at `from` to out (128,) bf16, 64-byte aligned. */
V_INLINE void c_row(uint16_t *out, const uint8_t *from, CT table) {
    V_UNROLL for (int part = 0; part < 4; part++) {
        const uint8x16_t codes = vld1q_u8(from + Q3T_CODED_STEP + 16 * part);
        V_UNROLL for (int half = 0; half < 2; half++) {
            uint8x16_t low = vld1q_u8(from + 64 * half + 16 * part);
            uint8x16_t high = vqtbl1q_u8(table, half ? vshrq_n_u8(codes, 4) : vandq_u8(codes, vdupq_n_u8(15)));
            vst1q_u8((uint8_t *)(out + 64 * half + 8 * part), vzip1q_u8(low, high));
            vst1q_u8((uint8_t *)(out + 64 * half + 8 * part + 32), vzip2q_u8(low, high));
        }
    }
}
