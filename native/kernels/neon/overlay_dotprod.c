/* kernels/neon/overlay_dotprod.c - the kernels for INT8 and INT4 weights for NEON with the instruction SDOT, a dot product of four
 * signed bytes. */
#if defined(__aarch64__)
#include "kernels/table.h"
#include "q3t.h"
#include "base/target.h"
#include <arm_neon.h>
#if Q3T_ARM_EXT
Q3T_TARGET_BEGIN(Q3T_TGT("+dotprod"))
#include "kernels/neon/vector.h"
#include "kernels/neon/quant.h"
typedef int8x16_t QW;
typedef QI Q4;
#define Q8_ZERO 0

V_INLINE QW q8_weights(QB w) { return vreinterpretq_s8_u8(veorq_u8(w, vdupq_n_u8(128))); }
V_INLINE QI q8_dot(QI sum, QW w, QB x) { return vdotq_s32(sum, w, vreinterpretq_s8_u8(x)); }
V_INLINE Q4 q4_start(int32_t start) { return vdupq_n_s32(start); }
V_INLINE Q4 q4_dot(Q4 sum, QB w, QB x) { return q8_dot(sum, vreinterpretq_s8_u8(w), x); }
V_INLINE QI q4_sum(Q4 sum, int32_t start) { return (void)start, sum; }
#include "kernels/bodies/quant.h"

void q3t_kernels_init_neon_dotprod(q3t_kernels *k) {
    static const char isa[] = "neon_dotprod";
    Q3T_SET(k, linear_int8, isa);
    Q3T_SET(k, linear_int4, isa);
    (void)prepare_int8, (void)prepare_int4;
}
Q3T_TARGET_END
#else
void q3t_kernels_init_neon_dotprod(q3t_kernels *k) { (void)k; }
#endif
#else
typedef int q3t_empty_tu;
#endif
