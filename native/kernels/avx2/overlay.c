/* kernels/avx2/overlay.c - every kernel for AVX2 and FMA: compiles the bodies with the vectors of kernels/avx2/vector.h. */
#if defined(__x86_64__)
#include "kernels/table.h"
#include "q3t.h"
#include "base/target.h"
#include <immintrin.h>
Q3T_TARGET_BEGIN("avx2,fma,f16c")
#include "kernels/avx2/vector.h"
enum { CONV_VECTORS = 2, CONV_TIMES = 6 };
#define LINEAR_TILES(X) X(6, 2) X(4, 3) X(3, 4) X(2, 4) X(1, 8)
enum { LINEAR_LONG_ROWS = 2 };
#include "kernels/bodies/elementwise.h"
#include "kernels/bodies/attend.h"
#include "kernels/bodies/conv.h"
#include "kernels/bodies/linear.h"
#include "kernels/avx2/coded.h"
#include "kernels/bodies/coded.h"
#include "kernels/bodies/toom.h"
#include "kernels/avx2/quant.h"
#include "kernels/bodies/probe.h"
#include "kernels/bodies/quant.h"

void q3t_kernels_init_avx2(q3t_kernels *k) {
    static const char isa[] = "avx2";
    Q3T_KERNEL_TABLE(BODY_SET)
}
Q3T_TARGET_END
#else
typedef int q3t_empty_tu;
#endif
