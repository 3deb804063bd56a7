/* voice/loader.h - the tensors of an encoder: found, checked and packed one by one.
 *
 * A carve function runs twice over the same loader: on the measuring run each tensor is found and its shape checked; the
 * second run also widens or packs it into the carved memory. */
#ifndef Q3T_LOADER_H
#define Q3T_LOADER_H
#include "checkpoint/weights.h"
#include "conv/pack.h"

/* Each tensor of the list must be asked for exactly once in a run. */
typedef struct q3t_loader {
    const q3t_tensor *tensors;
    size_t count, found;             /* tensors in the list; of these, asked for by the measuring run */
    q3t_pool *pool;
    q3t_status status;               /* Q3T_E_SHAPE once a tensor was missing or had another shape; sticky */
} q3t_loader;

/* The F32 or BF16 tensor of this slot and layer with `dims` dimensions of exactly this shape. Returns NULL and sets the
 * status if there is none. */
const q3t_tensor *q3t_load_tensor(q3t_loader *l, int32_t slot, int32_t layer, int32_t dims, int64_t a, int64_t b, int64_t c);
/* A vector (n,) widened to f32. Returns NULL while measuring. */
const float *q3t_load_vector(q3t_loader *l, q3t_arena *a, int32_t slot, int32_t layer, int32_t n);

/* How a tensor (out, in, kernel), or (out, in) with kernel 0, becomes a q3t_conv. */
typedef struct q3t_conv_shape {
    int32_t slot, bias_slot, layer;  /* bias_slot -1: no bias */
    int32_t in, out, kernel, dilation;
    int32_t fold;                    /* as of q3t_conv_pack; 0 = 1 */
} q3t_conv_shape;

/* Carve a convolution and pack its tensor. */
void q3t_load_conv(q3t_loader *l, q3t_arena *a, q3t_conv *conv, const q3t_conv_shape *shape);
/* Pack a tensor into a convolution that several tensors share, from output out0 on. */
void q3t_load_conv_part(q3t_loader *l, const q3t_conv *conv, const q3t_conv_shape *shape, int32_t out0);
/* Q3T_E_SHAPE unless every tensor of the list was asked for and had the right shape. */
q3t_status q3t_loader_status(const q3t_loader *l);
#endif
