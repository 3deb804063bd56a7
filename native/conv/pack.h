/* conv/pack.h - converts the weights of a convolution from the layout of a checkpoint to the layout that the conv kernel reads:
 * f32 (panels, taps, in, Q3T_BLOCK), where a panel is Q3T_BLOCK outputs (q3t_conv in kernels/table.h). A kernel reads one panel
 * from front to back, once for each tile of rows. A matrix is a convolution with one tap. */
#ifndef Q3T_CONV_PACK_H
#define Q3T_CONV_PACK_H
#include "base/arena.h"
#include "base/pool.h"
#include "base/small.h"
#include "kernels/table.h"

enum { Q3T_MAX_PACKED_KERNEL = 128 };  /* the longest kernel of a tensor that q3t_conv_pack accepts */

/* Returns the number of panels that `outputs` outputs fill. */
static inline int32_t q3t_panels(int32_t outputs) { return q3t_ceil_div(outputs, Q3T_BLOCK); }

/* Carve the weights and the bias of a convolution, which are zeros until they are packed, and set all fields of *conv. */
void q3t_conv_carve(q3t_arena *a, q3t_conv *conv, int32_t in, int32_t out, int32_t taps, int32_t dilation);
/* Pack a tensor t (outputs, inputs) or (outputs, inputs, kernel), F32 or BF16, kernel <= Q3T_MAX_PACKED_KERNEL, and its bias
 * (outputs,) or NULL. Output 0 of the tensor becomes output out0 of the convolution, input 0 becomes input in0: several tensors
 * may thus fill one convolution.
 * fold: a divisor of `kernel`; 1 for a convolution without stride. A convolution of stride `fold` reads `fold` input rows as one
 * row of fold * inputs floats: element k of the kernel becomes tap k / fold for the inputs from in0 + k % fold * inputs on. */
void q3t_conv_pack(const q3t_conv *conv, q3t_pool *pool, const q3t_tensor *t, const q3t_tensor *bias, int32_t out0, int32_t in0,
                   int32_t fold);
#endif
