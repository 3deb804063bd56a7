/* kernels/neon/vector.h - the operations of kernels/bodies/vector.h for AArch64 NEON. */
#include "kernels/bodies/vector.h"
typedef float32x4_t V;
enum { V_LEN = 4 };

V_INLINE V v_in_register(V x) {
    __asm__("" : "+w"(x));
    return x;
}
V_INLINE V v_set1(float x) { return vdupq_n_f32(x); }
V_INLINE V v_load(const float *p) { return vld1q_f32(p); }
V_INLINE void v_store(float *p, V x) { vst1q_f32(p, x); }
V_INLINE V v_load_n(const float *p, int32_t n) {
    float whole[4] = {0};
    memcpy(whole, p, (size_t)n * 4);
    return vld1q_f32(whole);
}
V_INLINE void v_store_n(float *p, V x, int32_t n) {
    float whole[4];
    vst1q_f32(whole, x);
    memcpy(p, whole, (size_t)n * 4);
}
V_INLINE V v_first(V x, int32_t n) {
    static const uint32_t lane[4] = {0, 1, 2, 3};
    uint32x4_t keep = vcltq_u32(vld1q_u32(lane), vdupq_n_u32((uint32_t)n));
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(x), keep));
}
V_INLINE V v_add(V a, V b) { return vaddq_f32(a, b); }
V_INLINE V v_sub(V a, V b) { return vsubq_f32(a, b); }
V_INLINE V v_mul(V a, V b) { return vmulq_f32(a, b); }
V_INLINE V v_div(V a, V b) { return vdivq_f32(a, b); }
V_INLINE V v_fma(V a, V b, V c) { return vfmaq_f32(c, a, b); }
V_INLINE V v_accumulate(V a, V b, V c) {
    __asm__("fmla %0.4s, %1.4s, %2.4s" : "+w"(c) : "w"(a), "w"(b));
    return c;
}
V_INLINE V v_fnma(V a, V b, V c) { return vfmsq_f32(c, a, b); }
V_INLINE V v_min(V a, V b) { return vminq_f32(a, b); }
V_INLINE V v_max(V a, V b) { return vmaxq_f32(a, b); }
V_INLINE V v_abs(V x) { return vabsq_f32(x); }
V_INLINE V v_round(V x) { return vrndnq_f32(x); }
V_INLINE V v_keep(V x, V a, V limit) {
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(x), vcltq_f32(a, limit)));
}
V_INLINE V v_power(int32x4_t n) { return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n, vdupq_n_s32(127)), 23)); }
/* Multiplies by two factors, because 2^n may not be a normal float. */
V_INLINE V v_scale(V x, V n) {
    int32x4_t whole = vcvtq_s32_f32(n), half = vshrq_n_s32(whole, 1);
    return vmulq_f32(vmulq_f32(x, v_power(half)), v_power(vsubq_s32(whole, half)));
}
V_INLINE void v_sum4(float *p, V a, V b, V c, V d) {
    vst1q_f32(p, vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d)));
}
V_INLINE float v_sum(V x) { return vaddvq_f32(x); }
V_INLINE float v_largest(V x) { return vmaxvq_f32(x); }

V_INLINE void v_unzip(V a, V b, V *even, V *odd) {
    *even = vuzp1q_f32(a, b);
    *odd = vuzp2q_f32(a, b);
}
V_INLINE V v_widen(const uint16_t *p) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16)); }
V_INLINE V v_widen_n(const uint16_t *p, int32_t n) {
    uint16_t whole[4] = {0};
    memcpy(whole, p, (size_t)n * 2);
    return v_widen(whole);
}

V_INLINE uint32x4_t v_pairs(const void *p) { return vreinterpretq_u32_u8(vld1q_u8(p)); }
V_INLINE V v_even(const void *p) { return vreinterpretq_f32_u32(vshlq_n_u32(v_pairs(p), 16)); }
V_INLINE V v_odd(const void *p) { return vreinterpretq_f32_u32(vandq_u32(v_pairs(p), vdupq_n_u32(0xffff0000u))); }
