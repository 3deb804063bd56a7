/* kernels/neon/overlay_bf16.c - the kernels for BF16 and CODED weights for NEON with the instruction BFDOT. A column is split into
 * two bf16 parts (kernels/bodies/split.h), so that weights are multiplied without conversion to float. BFDOT treats subnormal
 * inputs and sums as 0. */
#if defined(__aarch64__)
#include "kernels/table.h"
#include "q3t.h"
#include "base/target.h"
#if Q3T_ARM_EXT
#include <arm_neon.h>
Q3T_TARGET_BEGIN(Q3T_TGT("+bf16"))
#include "kernels/neon/vector.h"
#include "kernels/bodies/split.h"

V_INLINE V v_half(const int format, const int half, const char *w) {
    return (void)format, (void)half, vreinterpretq_f32_u8(vld1q_u8((const uint8_t *)w));
}
V_INLINE V v_dot(const int format, V w, V x, V sum) {
    return (void)format, vbfdotq_f32(sum, vreinterpretq_bf16_f32(w), vreinterpretq_bf16_f32(x));
}
#define LINEAR_SPLIT
#define LINEAR_TILES(X) X(6, 3) X(4, 4) X(3, 4) X(2, 8) X(1, 8)
enum { LINEAR_LONG_ROWS = 8 };
#include "kernels/bodies/linear.h"
#include "kernels/neon/coded.h"
#include "kernels/bodies/coded.h"

void q3t_kernels_init_neon_bf16(q3t_kernels *k) {
    static const char isa[] = "neon_bf16";
    Q3T_SET(k, prepare_bf16, isa);
    Q3T_SET(k, linear_bf16, isa);
    Q3T_SET(k, linear_coded, isa);
}
Q3T_TARGET_END
#else
void q3t_kernels_init_neon_bf16(q3t_kernels *k) { (void)k; }
#endif
#else
typedef int q3t_empty_tu;
#endif
