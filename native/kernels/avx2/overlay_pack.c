/* kernels/avx2/overlay_pack.c - the same on 256-bit vectors, left to the compiler. Without FMA, which would round otherwise. */
#if defined(__x86_64__)
#include "kernels/table.h"
#include "base/target.h"
#include <math.h>
Q3T_TARGET_BEGIN("avx2")
#include "kernels/bodies/pack.h"

void q3t_int4_pack_avx2(const float (*x)[Q3T_BLOCK], uint8_t *out) { pack_group(x, out); }
Q3T_TARGET_END
#else
typedef int q3t_empty_tu;
#endif
