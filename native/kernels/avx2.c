/* avx2.c - every kernel on 256-bit vectors (AVX2, FMA): the shared bodies over vector_avx2.h. */
#if defined(__x86_64__)
#include "../kernels.h"
#include "../q3t.h"
#include "target.h"
#include <immintrin.h>
Q3T_TARGET_BEGIN("avx2,fma,f16c")
#include "vector_avx2.h"
enum { CONV_VECTORS = 2, CONV_TIMES = 6 };
#define LINEAR_TILES(X) X(6, 2) X(4, 3) X(3, 4) X(2, 4) X(1, 8)
enum { LINEAR_LONG_ROWS = 2 };
#include "body.h"
#include "body_attend.h"
#include "body_conv.h"
#include "body_linear.h"
#include "coded_avx2.h"
#include "body_coded.h"
#include "body_toom.h"
#include "quant_avx2.h"
#include "body_probe.h"
#include "body_quant.h"

void q3t_kernels_init_avx2(q3t_kernels *k) {
    static const char isa[] = "avx2";
    Q3T_KERNEL_TABLE(BODY_SET)
}
Q3T_TARGET_END
#else
typedef int q3t_empty_tu;
#endif
