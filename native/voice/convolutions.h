/* voice/convolutions.h - convolutions of the encoders: tensors checked and packed one by one,
 * then run over long inputs on the pool.
 *
 * A carve function runs twice over the same q3t_picker: while measuring, each
 * tensor is found and its shape checked; the second run packs it in place. */
#ifndef Q3T_CONVS_H
#define Q3T_CONVS_H
#include "base/arena.h"
#include "kernels/table.h"
#include "base/pool.h"
#include "checkpoint/weights.h"

/* Tensors of a part that is opened by itself. Each must be asked for once. */
typedef struct q3t_picker {
    const q3t_tensor *tensors;
    size_t count, taken;             /* taken: asked for by the run that measures */
    q3t_pool *pool;
    q3t_status status;               /* Q3T_E_SHAPE once a tensor was missing or of another shape; sticky */
} q3t_picker;

/* The tensor of a slot and layer if it has `dims` dimensions of exactly this shape; else NULL, and the status is set. */
const q3t_tensor *q3t_pick(q3t_picker *p, int32_t slot, int32_t layer, int32_t dims, int64_t a, int64_t b, int64_t c);
/* A vector (n,) widened to f32; NULL while measuring. */
const float *q3t_pick_vector(q3t_picker *p, q3t_arena *a, int32_t slot, int32_t layer, int32_t n);

/* How a tensor (out, in, kernel), or (out, in) with kernel 0, becomes a q3t_conv. */
typedef struct q3t_conv_shape {
    int32_t slot, bias_slot, layer;  /* bias_slot -1: none */
    int32_t in, out, kernel, dilation;
    int32_t fold;                    /* input rows that stand as one row of fold * in: the stride, a divisor of kernel; 0 = 1 */
} q3t_conv_shape;

/* Carve a convolution and, in the second run, pack the tensor. Folded, tap k reads part k % fold of row k / fold. */
void q3t_pick_conv(q3t_picker *p, q3t_arena *a, q3t_conv *conv, const q3t_conv_shape *shape);
/* The same in two steps, for a convolution that several tensors share: each fills shape->out outputs from `at` on,
 * a multiple of Q3T_BLOCK or behind the outputs already there. */
void q3t_conv_carve(q3t_arena *a, q3t_conv *conv, int32_t in, int32_t out, int32_t taps, int32_t dilation);
void q3t_pick_into(q3t_picker *p, const q3t_conv *conv, const q3t_conv_shape *shape, int32_t at);
/* Whether all tensors that were given have been asked for, and were right. */
q3t_status q3t_picker_done(const q3t_picker *p);

/* What follows a convolution, element by element, while its output is in the cache. */
typedef enum q3t_after {
    Q3T_AFTER_NOTHING,
    Q3T_AFTER_ELU, Q3T_AFTER_RELU, Q3T_AFTER_GELU, Q3T_AFTER_TANH_RELU,
    Q3T_AFTER_ADD,                   /* residual += y */
    Q3T_AFTER_ADD_SCALED             /* residual += scale * y */
} q3t_after;

typedef struct q3t_conv_run {
    const q3t_conv *conv;
    const float *x;
    size_t ldx;
    float *y;
    size_t ldy;
    int32_t rows;
    q3t_after after;
    float *residual;                 /* (rows, ldy) */
    const float *scale;              /* (conv->out,) */
} q3t_conv_run;

/* y may not be x. The same bits however many threads there are. */
void q3t_convs_run(const q3t_kernels *k, q3t_pool *pool, const q3t_conv_run *run);
#endif
