/* kernels/peaks/x86.c - the loops of kernels/peaks/loops.h for AVX2 and AVX-512. */
#if defined(__x86_64__)
#include "q3t.h"
#include "kernels/peaks/loops.h"
#include "base/target.h"
#include <immintrin.h>

Q3T_TARGET_BEGIN("avx2,fma")
#define PEAK_OPAQUE(x) __asm__ volatile("" : "+x"(x))
PEAK(f32_avx2, __m256, 12, _mm256_set1_ps(1), 16, __asm__("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b)))
PEAK(int8_avx2, __m256i, 8, _mm256_set1_epi8(1), 64,
     sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), _mm256_set1_epi16(1))))
Q3T_TARGET_END
#undef PEAK_OPAQUE

#define PEAK_OPAQUE(x) __asm__ volatile("" : "+v"(x))
Q3T_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
PEAK(f32_avx512, __m512, 16, _mm512_set1_ps(1), 32, __asm__("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b)))
PEAK(int8_avx512, __m512i, 12, _mm512_set1_epi8(1), 128,
     sum = _mm512_add_epi32(sum, _mm512_madd_epi16(_mm512_maddubs_epi16(a, b), _mm512_set1_epi16(1))))
PEAK(int8_vnni, __m512i, 16, _mm512_set1_epi8(1), 128, __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b)))
PEAK(bf16_avx512, __m512i, 16, _mm512_set1_epi16(0x3f80), 64, __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b)))
Q3T_TARGET_END

void q3t_peaks_init_x86(q3t_peaks *p, uint32_t flags) {
    if (flags & Q3T_CPU_AVX2) p->f32 = f32_avx2, p->int8 = int8_avx2;
    if (flags & Q3T_CPU_AVX512) p->f32 = f32_avx512, p->int8 = int8_avx512;
    if (flags & Q3T_CPU_AVX512_VNNI) p->int8 = int8_vnni;
    if (flags & Q3T_CPU_AVX512_BF16) p->bf16 = bf16_avx512;
}
#else
typedef int q3t_empty_tu;
#endif
