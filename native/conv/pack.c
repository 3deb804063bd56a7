/* conv/pack.c - packs the weights of a convolution into panels of outputs, the layout that the conv kernel reads (conv/pack.h). */
#include "conv/pack.h"
#include "checkpoint/weights.h"

void q3t_conv_carve(q3t_arena *a, q3t_conv *conv, int32_t in, int32_t out, int32_t taps, int32_t dilation) {
    size_t n = (size_t)q3t_panels(out);
    *conv = (q3t_conv){.in = in, .out = out, .taps = taps, .dilation = dilation};
    conv->w = q3t_carve(a, n * (size_t)taps * (size_t)in, Q3T_BLOCK * sizeof(float));
    conv->bias = q3t_carve(a, n, Q3T_BLOCK * sizeof(float));
}

typedef struct job {
    const q3t_conv *conv;
    const q3t_tensor *t;
    int32_t out0, in0, kernel, fold;
} job;

/* Index in a panel of the first of the Q3T_BLOCK weights for input i of the tensor and element k of its kernel. */
static size_t weight_at(const job *j, int32_t k, int32_t i) {
    int32_t inputs = (int32_t)j->t->shape[1];
    return ((size_t)(k / j->fold) * (size_t)j->conv->in + (size_t)(j->in0 + k % j->fold * inputs + i)) * Q3T_BLOCK;
}

/* Item: a panel. For each of its outputs the weights of `step` inputs are widened to floats in `stage`; then the columns of
 * `stage` are written to the panel. */
static void pack_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    const job *j = arg;
    const q3t_conv *c = j->conv;
    int32_t outputs = (int32_t)j->t->shape[0], inputs = (int32_t)j->t->shape[1], step = Q3T_MAX_PACKED_KERNEL / j->kernel;
    float stage[Q3T_BLOCK][Q3T_MAX_PACKED_KERNEL];
    (void)worker;
    for (int32_t p = j->out0 / Q3T_BLOCK + begin; p < j->out0 / Q3T_BLOCK + end; p++) {
        int32_t first = q3t_max(p * Q3T_BLOCK, j->out0), n = q3t_min((p + 1) * Q3T_BLOCK, j->out0 + outputs) - first;
        /* q3t_conv has a pointer to const, but the memory of the arena is writable: the cast is safe */
        float *panel = (float *)c->w + (size_t)p * (size_t)c->taps * (size_t)c->in * Q3T_BLOCK + first % Q3T_BLOCK;
        for (int32_t i0 = 0; i0 < inputs; i0 += step) {
            int32_t some = q3t_min(step, inputs - i0);
            for (int32_t r = 0; r < n; r++)
                q3t_tensor_widen(j->t, ((size_t)(first - j->out0 + r) * (size_t)inputs + (size_t)i0) * (size_t)j->kernel,
                                 (size_t)(some * j->kernel), stage[r]);
            for (int32_t k = 0; k < j->kernel; k++) {
                float *to = panel + weight_at(j, k, i0);
                for (int32_t i = 0; i < some; i++, to += Q3T_BLOCK)
                    for (int32_t r = 0; r < n; r++) to[r] = stage[r][i * j->kernel + k];
            }
        }
    }
}

void q3t_conv_pack(const q3t_conv *conv, q3t_pool *pool, const q3t_tensor *t, const q3t_tensor *bias, int32_t out0, int32_t in0,
                   int32_t fold) {
    int32_t outputs = (int32_t)t->shape[0];
    job j = {.conv = conv, .t = t, .out0 = out0, .in0 = in0, .kernel = t->dims == 3 ? (int32_t)t->shape[2] : 1, .fold = fold};
    q3t_pool_run(pool, q3t_panels(out0 + outputs) - out0 / Q3T_BLOCK, 1, pack_task, &j);
    if (bias) q3t_tensor_widen(bias, 0, (size_t)outputs, (float *)conv->bias + out0);
}
