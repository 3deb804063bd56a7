/* kernels/neon/quant.h - the operations that kernels/bodies/quant.h needs, for NEON, except the dot products. */
typedef int32x4_t QI;
typedef uint8x16_t QB;
enum { QUANT_VECTORS = 4, QUANT_TILE_COLS = 4, QUANT_SINGLE_COLS = QUANT_TILE_COLS };
#define QUANT_TILES(X) X(4, 1) X(3, 1) X(2, 1) X(1, 2)

V_INLINE QB q_bytes(const void *p) { return vld1q_u8(p); }
V_INLINE QB q_quad(const void *p) {
    int32_t four;
    memcpy(&four, p, 4);
    return vreinterpretq_u8_s32(vdupq_n_s32(four));
}
V_INLINE QI q_set1(int32_t x) { return vdupq_n_s32(x); }
V_INLINE QI q_add(QI a, QI b) { return vaddq_s32(a, b); }
V_INLINE V q_float(QI x) { return vcvtq_f32_s32(x); }
V_INLINE QB q4_low(QB x) { return vandq_u8(x, vdupq_n_u8(15)); }
V_INLINE QB q4_high(QB x) { return vshrq_n_u8(x, 4); }
/* Each 32 bits hold two scales: in the low half the scale of one of the first 16 rows, in the high half of one of the last 16. */
V_INLINE V q_scales(const void *p, int v) {
    uint32x4_t both = vreinterpretq_u32_u8(vld1q_u8((const uint8_t *)p + v % 4 * 16));
    return vreinterpretq_f32_u32(v > 3 ? vandq_u32(both, vdupq_n_u32(0xffff0000u)) : vshlq_n_u32(both, 16));
}
/* n must be a multiple of 32. */
V_INLINE int32_t q_largest(const float *x, const int n) {
    uint32x4_t most = vdupq_n_u32(0);
    for (int i = 0; i < n; i += 4)
        most = vmaxq_u32(most, vandq_u32(vreinterpretq_u32_f32(vld1q_f32(x + i)), vdupq_n_u32(INT32_MAX)));
    return (int32_t)vmaxvq_u32(most);
}
V_INLINE int32_t q_round(int8_t *out, const float *x, float inverse, const int n) {
    QI sum = vdupq_n_s32(0);
    for (int i = 0; i < n; i += 8) {
        QI a = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + i), inverse)), b = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + i + 4), inverse));
        vst1_s8(out + i, vmovn_s16(vcombine_s16(vmovn_s32(a), vmovn_s32(b))));
        sum = vaddq_s32(sum, vaddq_s32(a, b));
    }
    return vaddvq_s32(sum);
}
