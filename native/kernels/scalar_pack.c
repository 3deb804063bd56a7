/* scalar_pack.c - weights to 4 bits in plain C, see body_pack.h. */
#include "../kernels.h"
#include <math.h>
#include "body_pack.h"

void q3t_int4_pack_scalar(const float (*x)[Q3T_BLOCK], uint8_t *out) { pack_group(x, out); }
