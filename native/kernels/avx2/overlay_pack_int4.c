/* kernels/avx2/overlay_pack_int4.c - packs a group of INT4 weights for AVX2; the compiler vectorises the code of kernels/bodies/pack_int4.h.
 * FMA is not used, because it would round differently. */
#if defined(__x86_64__)
#include "kernels/table.h"
#include "base/target.h"
#include <math.h>
Q3T_TARGET_BEGIN("avx2")
#include "kernels/bodies/pack_int4.h"

void q3t_int4_pack_avx2(const float (*x)[Q3T_BLOCK], uint8_t *out) { pack_group(x, out); }
Q3T_TARGET_END
#else
typedef int q3t_empty_tu;
#endif
