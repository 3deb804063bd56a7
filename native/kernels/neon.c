/* neon.c - every kernel on AArch64 NEON: the shared bodies over vector_neon.h. */
#if defined(__aarch64__)
#include "../kernels.h"
#include "../q3t.h"
#include <arm_neon.h>
#include "vector_neon.h"
enum { CONV_VECTORS = 4, CONV_TIMES = 6 };
#define LINEAR_TILES(X) X(6, 3) X(4, 4) X(3, 4) X(2, 8) X(1, 8)
enum { LINEAR_LONG_ROWS = 8 };
#include "body.h"
#include "body_attend.h"
#include "body_conv.h"
#include "body_linear.h"
#include "coded_neon.h"
#include "body_coded.h"
#include "body_toom.h"
#include "quant_neon.h"
#include "quant_neon_base.h"
#include "body_probe.h"
#include "body_quant.h"

void q3t_kernels_init_neon(q3t_kernels *k) {
    static const char isa[] = "neon";
    Q3T_KERNEL_TABLE(BODY_SET)
}
#else
typedef int q3t_empty_tu;
#endif
