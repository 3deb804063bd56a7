/* kernels/neon/overlay.c - every kernel for AArch64 NEON: compiles the bodies with the vectors of kernels/neon/vector.h. */
#if defined(__aarch64__)
#include "kernels/table.h"
#include "q3t.h"
#include <arm_neon.h>
#include "kernels/neon/vector.h"
enum { CONV_VECTORS = 4, CONV_TIMES = 6 };
#define LINEAR_TILES(X) X(6, 3) X(4, 4) X(3, 4) X(2, 8) X(1, 8)
enum { LINEAR_LONG_ROWS = 8 };
#include "kernels/bodies/elementwise.h"
#include "kernels/bodies/attend.h"
#include "kernels/bodies/conv.h"
#include "kernels/bodies/linear.h"
#include "kernels/neon/coded.h"
#include "kernels/bodies/coded.h"
#include "kernels/bodies/toom.h"
#include "kernels/neon/quant.h"
#include "kernels/neon/quant_base.h"
#include "kernels/bodies/probe.h"
#include "kernels/bodies/quant.h"

void q3t_kernels_init_neon(q3t_kernels *k) {
    static const char isa[] = "neon";
    Q3T_KERNEL_TABLE(BODY_SET)
}
#else
typedef int q3t_empty_tu;
#endif
