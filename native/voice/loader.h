/* voice/loader.h - loads the tensors of an encoder: finds, checks and packs them one by one.
 *
 * A carve function (base/arena.h) runs twice with the same loader. In the measuring run each tensor is found and its shape checked;
 * the second run also widens or packs the tensor into the carved memory. */
#ifndef Q3T_LOADER_H
#define Q3T_LOADER_H
#include "checkpoint/weights.h"
#include "conv/pack.h"

/* A run must load each tensor of the list exactly once. */
typedef struct q3t_loader {
    const q3t_tensor *tensors;
    size_t count, found;             /* tensors in the list; tensors that were loaded */
    q3t_pool *pool;
    q3t_status status;               /* Q3T_E_SHAPE after a tensor was missing or had another shape, else Q3T_OK */
} q3t_loader;

/* Returns the tensor of a slot and layer. It must be F32 or BF16 and have the shape (a,), (a, b) or (a, b, c), as `dims` says. If
 * there is none, returns NULL and sets the status. */
const q3t_tensor *q3t_load_tensor(q3t_loader *l, int32_t slot, int32_t layer, int32_t dims, int64_t a, int64_t b, int64_t c);
/* Load a vector (n,): returns its elements as float32, in the arena. Returns NULL in the measuring run. */
const float *q3t_load_vector(q3t_loader *l, q3t_arena *a, int32_t slot, int32_t layer, int32_t n);

/* How a tensor (out, in, kernel), or (out, in) with kernel 0, becomes a q3t_conv. */
typedef struct q3t_conv_shape {
    int32_t slot, bias_slot, layer;  /* bias_slot -1: no bias */
    int32_t in, out, kernel, dilation;
    int32_t fold;                    /* as in q3t_conv_pack; 0 means 1 */
} q3t_conv_shape;

/* Carve a convolution and pack its tensor. */
void q3t_load_conv(q3t_loader *l, q3t_arena *a, q3t_conv *conv, const q3t_conv_shape *shape);
/* Pack a tensor into a carved convolution that several tensors share: output 0 of the tensor becomes output out0. */
void q3t_load_conv_part(q3t_loader *l, const q3t_conv *conv, const q3t_conv_shape *shape, int32_t out0);
/* Returns Q3T_E_SHAPE unless the measuring run loaded every tensor of the list and each had the right shape. */
q3t_status q3t_loader_status(const q3t_loader *l);
#endif
