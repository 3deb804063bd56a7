/* kernels/peaks/neon.c - the loops of kernels/peaks/loops.h for AArch64. */
#if defined(__aarch64__)
#include "q3t.h"
#include "kernels/peaks/loops.h"
#include "base/target.h"
#include <arm_neon.h>

#define PEAK_OPAQUE(x) __asm__ volatile("" : "+w"(x))
PEAK(f32_neon, float32x4_t, 24, vdupq_n_f32(1), 8, __asm__("fmla %0.4s, %1.4s, %2.4s" : "+w"(sum) : "w"(a), "w"(b)))
PEAK(int8_neon, int8x16_t, 12, vdupq_n_s8(1), 32,
     sum = vreinterpretq_s8_s32(vpadalq_s16(vreinterpretq_s32_s8(sum), vpaddq_s16(vmull_s8(vget_low_s8(a), vget_low_s8(b)), vmull_high_s8(a, b)))))

#if Q3T_ARM_EXT
Q3T_TARGET_BEGIN(Q3T_TGT("+dotprod"))
PEAK(int8_dotprod, int8x16_t, 24, vdupq_n_s8(1), 32, __asm__("sdot %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(a), "w"(b)))
Q3T_TARGET_END
Q3T_TARGET_BEGIN(Q3T_TGT("+dotprod+i8mm"))
PEAK(int8_i8mm, int8x16_t, 24, vdupq_n_s8(1), 64, __asm__("smmla %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(a), "w"(b)))
Q3T_TARGET_END
Q3T_TARGET_BEGIN(Q3T_TGT("+bf16"))
PEAK(bf16_mmla, int16x8_t, 24, vdupq_n_s16(0x3f80), 32, __asm__("bfmmla %0.4s, %1.8h, %2.8h" : "+w"(sum) : "w"(a), "w"(b)))
Q3T_TARGET_END
#endif

void q3t_peaks_init_neon(q3t_peaks *p, uint32_t flags) {
    if (flags & Q3T_CPU_NEON) p->f32 = f32_neon, p->int8 = int8_neon;
#if Q3T_ARM_EXT
    if (flags & Q3T_CPU_NEON_DOTPROD) p->int8 = int8_dotprod;
    if (flags & Q3T_CPU_NEON_I8MM) p->int8 = int8_i8mm;
    if (flags & Q3T_CPU_NEON_BF16) p->bf16 = bf16_mmla;
#endif
}
#else
typedef int q3t_empty_tu;
#endif
