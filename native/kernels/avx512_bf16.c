/* avx512_bf16.c - bf16 weights times a column in two bf16 parts, by VDPBF16PS:
 * nothing is widened. Subnormal inputs and sums count as zero there. */
#if defined(__x86_64__)
#include "../kernels.h"
#include "../q3t.h"
#include "target.h"
#include <immintrin.h>
Q3T_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")
#include "vector_avx512.h"
#include "body_split.h"

V_INLINE V v_half(const int format, const int half, const char *w) {
    return (void)format, (void)half, _mm512_castsi512_ps(_mm512_loadu_si512(w));
}
V_INLINE V v_dot(const int format, V w, V x, V sum) {
    return (void)format, _mm512_dpbf16_ps(sum, (__m512bh)_mm512_castps_si512(w), (__m512bh)_mm512_castps_si512(x));
}
#define LINEAR_SPLIT
#define LINEAR_TILES(X) X(8, 3) X(6, 4) X(4, 4) X(3, 4) X(2, 8) X(1, 8)
#include "body_linear.h"
#include "coded_avx512.h"
#include "body_coded.h"

void q3t_kernels_init_avx512_bf16(q3t_kernels *k) {
    static const char isa[] = "avx512_bf16";
    Q3T_SET(k, prepare_bf16, isa);
    Q3T_SET(k, linear_bf16, isa);
    Q3T_SET(k, linear_coded, isa);
}
Q3T_TARGET_END
#else
typedef int q3t_empty_tu;
#endif
