/* kernels/scalar/pack_int4.c - packs a group of INT4 weights in plain C; kernels/bodies/pack_int4.h has the code. */
#include "kernels/table.h"
#include <math.h>
#include "kernels/bodies/pack_int4.h"

void q3t_int4_pack_scalar(const float (*x)[Q3T_BLOCK], uint8_t *out) { pack_group(x, out); }
