/* kernels/avx512/overlay.c - every kernel for AVX-512 (F, BW, DQ, VL): compiles the bodies with the vectors of
 * kernels/avx512/vector.h. */
#if defined(__x86_64__)
#include "kernels/table.h"
#include "q3t.h"
#include "base/target.h"
#include <immintrin.h>
Q3T_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
#include "kernels/avx512/vector.h"
enum { CONV_VECTORS = 2, CONV_TIMES = 12 };
#define LINEAR_TILES(X) X(8, 3) X(6, 4) X(4, 4) X(3, 4) X(2, 8) X(1, 8)
enum { LINEAR_LONG_ROWS = 1 };
#include "kernels/bodies/elementwise.h"
#include "kernels/bodies/attend.h"
#include "kernels/bodies/conv.h"
#include "kernels/bodies/linear.h"
#include "kernels/avx512/coded.h"
#include "kernels/bodies/coded.h"
#include "kernels/bodies/toom.h"
#include "kernels/avx512/quant.h"
#include "kernels/avx512/quant_bw.h"
enum { QUANT_TILE_COLS = 6, QUANT_SINGLE_COLS = QUANT_TILE_COLS };
#define QUANT_TILES(X) X(6, 1) X(5, 1) X(4, 1) X(3, 1) X(2, 1) X(1, 2)
#include "kernels/bodies/probe.h"
#include "kernels/bodies/quant.h"

void q3t_kernels_init_avx512(q3t_kernels *k) {
    static const char isa[] = "avx512";
    Q3T_KERNEL_TABLE(BODY_SET)
}
Q3T_TARGET_END
#else
typedef int q3t_empty_tu;
#endif
