/* kernels/neon/quant_base.h - the dot products of kernels/bodies/quant.h for NEON without the dot product extension. INT8 weights
 * and columns are in -127 .. 127, so a sum of two products fits in 16 bits. */
typedef int8x16_t QW;
typedef QI Q4;
#define Q8_ZERO 0

V_INLINE QW q8_weights(QB w) { return vreinterpretq_s8_u8(veorq_u8(w, vdupq_n_u8(128))); }
V_INLINE QI q8_dot(QI sum, QW w, QB x) {
    int8x16_t four = vreinterpretq_s8_u8(x);
    return vpadalq_s16(sum, vpaddq_s16(vmull_s8(vget_low_s8(w), vget_low_s8(four)), vmull_high_s8(w, four)));
}
V_INLINE Q4 q4_start(int32_t start) { return vdupq_n_s32(start); }
V_INLINE Q4 q4_dot(Q4 sum, QB w, QB x) { return q8_dot(sum, vreinterpretq_s8_u8(w), x); }
V_INLINE QI q4_sum(Q4 sum, int32_t start) { return (void)start, sum; }
