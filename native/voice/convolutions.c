/* voice/convolutions.c - see voice/convolutions.h. */
#include "voice/convolutions.h"
#include "base/small.h"
#include <math.h>

enum { STAGE = 128,     /* weights of one output that are widened at a time */
       MAX_TILE = 96,   /* rows in a piece: a panel's weights are read once for each */
       MIN_TILE = 12 }; /* fewer leave the multipliers idle */

static int32_t panels(int32_t outputs) { return (outputs + Q3T_BLOCK - 1) / Q3T_BLOCK; }

/* ------------------------------------------------------------ tensors */
const q3t_tensor *q3t_pick(q3t_picker *p, int32_t slot, int32_t layer, int32_t dims, int64_t a, int64_t b, int64_t c) {
    const int64_t shape[3] = {a, b, c};
    for (size_t i = 0; i < p->count; i++) {
        const q3t_tensor *t = &p->tensors[i];
        if (t->slot != slot || t->layer != layer) continue;
        int right = t->dims == dims && t->data && (t->dtype == Q3T_F32 || t->dtype == Q3T_BF16);
        for (int32_t d = 0; right && d < dims; d++) right = t->shape[d] == shape[d];
        if (!right) break;
        p->taken++;
        return t;
    }
    p->status = Q3T_E_SHAPE;
    return NULL;
}

/* Distinct tensors were asked for and found, so as many as were given means each exactly once. */
q3t_status q3t_picker_done(const q3t_picker *p) { return p->status == Q3T_OK && p->taken != p->count ? Q3T_E_SHAPE : p->status; }

const float *q3t_pick_vector(q3t_picker *p, q3t_arena *a, int32_t slot, int32_t layer, int32_t n) {
    float *v = q3t_carve(a, (size_t)n, sizeof(float));
    const q3t_tensor *t = q3t_pick(p, slot, layer, 1, n, 0, 0);
    if (v && t) q3t_tensor_widen(t, 0, (size_t)n, v);
    return v;
}

/* ------------------------------------------------------------ packing */
typedef struct job {
    const q3t_tensor *t;
    const q3t_conv *conv;
    int32_t at, kernel, fold;   /* first output; kernel >= 1 */
} job;

/* Panels of an (out, in, kernel) tensor: the rows of a panel are widened piece by piece, then read across. */
static void pack_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    const job *j = arg;
    const q3t_conv *c = j->conv;
    int32_t out = (int32_t)j->t->shape[0], in = (int32_t)j->t->shape[1], length = in * j->kernel;
    float stage[Q3T_BLOCK][STAGE];
    (void)worker;
    for (int32_t p = j->at / Q3T_BLOCK + begin; p < j->at / Q3T_BLOCK + end; p++) {
        int32_t first = q3t_max(p * Q3T_BLOCK, j->at), n = q3t_min((p + 1) * Q3T_BLOCK, j->at + out) - first;
        float *panel = (float *)c->w + (size_t)p * (size_t)c->taps * (size_t)c->in * Q3T_BLOCK + first % Q3T_BLOCK;
        for (int32_t from = 0; from < length; from += STAGE) {
            int32_t some = q3t_min(STAGE, length - from);
            for (int32_t r = 0; r < n; r++)
                q3t_tensor_widen(j->t, (size_t)(first - j->at + r) * (size_t)length + (size_t)from, (size_t)some, stage[r]);
            for (int32_t e = 0; e < some; e++) {
                int32_t i = (from + e) / j->kernel, k = (from + e) % j->kernel;
                size_t pair = (size_t)(k / j->fold) * (size_t)c->in + (size_t)(k % j->fold) * (size_t)in + (size_t)i;
                for (int32_t r = 0; r < n; r++) panel[pair * Q3T_BLOCK + (size_t)r] = stage[r][e];
            }
        }
    }
}

void q3t_conv_carve(q3t_arena *a, q3t_conv *conv, int32_t in, int32_t out, int32_t taps, int32_t dilation) {
    size_t n = (size_t)panels(out);
    *conv = (q3t_conv){.in = in, .out = out, .taps = taps, .dilation = dilation};
    conv->w = q3t_carve(a, n * (size_t)taps * (size_t)in, Q3T_BLOCK * sizeof(float));
    conv->bias = q3t_carve(a, n, Q3T_BLOCK * sizeof(float));
}

void q3t_pick_into(q3t_picker *p, const q3t_conv *conv, const q3t_conv_shape *s, int32_t at) {
    const q3t_tensor *t = q3t_pick(p, s->slot, s->layer, s->kernel ? 3 : 2, s->out, s->in, s->kernel);
    const q3t_tensor *bias = s->bias_slot < 0 ? NULL : q3t_pick(p, s->bias_slot, s->layer, 1, s->out, 0, 0);
    if (!conv->w || p->status != Q3T_OK) return;
    job j = {.t = t, .conv = conv, .at = at, .kernel = q3t_max(s->kernel, 1), .fold = q3t_max(s->fold, 1)};
    q3t_pool_run(p->pool, panels(at + s->out) - at / Q3T_BLOCK, 1, pack_task, &j);
    /* the arena hands out memory of ours: the cast only undoes the const of the finished convolution */
    if (bias) q3t_tensor_widen(bias, 0, (size_t)s->out, (float *)conv->bias + at);
}

void q3t_pick_conv(q3t_picker *p, q3t_arena *a, q3t_conv *conv, const q3t_conv_shape *s) {
    int32_t fold = q3t_max(s->fold, 1), taps = q3t_max(s->kernel, 1) / fold;
    q3t_conv_carve(a, conv, fold * s->in, s->out, taps, q3t_max(s->dilation, 1));
    q3t_pick_into(p, conv, s, 0);
}

/* ------------------------------------------------------------ running */
typedef struct split {
    const q3t_kernels *kernels;
    const q3t_conv_run *run;
    int32_t tile, groups;   /* rows in a piece; 1, or the number of panels: whether a piece is all outputs or a panel */
} split;

static void after(const q3t_kernels *k, const q3t_conv_run *r, float *y, float *residual, int32_t o0, int32_t n) {
    switch (r->after) {
    case Q3T_AFTER_NOTHING: break;
    case Q3T_AFTER_ELU: k->elu(y, y, n); break;
    case Q3T_AFTER_GELU: k->gelu(y, n); break;
    case Q3T_AFTER_RELU:
        for (int32_t i = 0; i < n; i++) y[i] = y[i] < 0 ? 0 : y[i];
        break;
    case Q3T_AFTER_TANH_RELU:
        for (int32_t i = 0; i < n; i++) y[i] = y[i] < 0 ? 0 : tanhf(y[i]);
        break;
    case Q3T_AFTER_ADD: k->add(residual, y, n); break;
    case Q3T_AFTER_ADD_SCALED: k->add_scaled(residual, y, r->scale + o0, n); break;
    }
}

static void run_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    const split *s = arg;
    const q3t_conv_run *r = s->run;
    (void)worker;
    for (int32_t item = begin; item < end; item++) {
        int32_t t0 = item / s->groups * s->tile, t1 = q3t_min(t0 + s->tile, r->rows), all = panels(r->conv->out);
        int32_t p0 = s->groups == 1 ? 0 : item % s->groups, p1 = s->groups == 1 ? all : p0 + 1;
        for (int32_t p = p0; p < p1; p++) s->kernels->conv(r->conv, r->x, r->ldx, r->y, r->ldy, t0, t1, p, p + 1);
        int32_t o0 = p0 * Q3T_BLOCK, n = q3t_min(p1 * Q3T_BLOCK, r->conv->out) - o0;
        for (int32_t t = t0; t < t1; t++) {
            size_t row = (size_t)t * r->ldy + (size_t)o0;
            after(s->kernels, r, r->y + row, r->residual ? r->residual + row : NULL, o0, n);
        }
    }
}

void q3t_convs_run(const q3t_kernels *k, q3t_pool *pool, const q3t_conv_run *run) {
    int32_t threads = q3t_pool_threads(pool);
    if (run->rows < 1) return;
    split s = {.kernels = k, .run = run, .groups = run->rows < MIN_TILE * threads ? panels(run->conv->out) : 1};
    int32_t parts = s.groups > 1 ? (run->rows - 1) / MAX_TILE + 1 : threads * ((run->rows - 1) / threads / MAX_TILE + 1);
    s.tile = ((run->rows - 1) / parts / 4 + 1) * 4;
    q3t_pool_run(pool, ((run->rows - 1) / s.tile + 1) * s.groups, 1, run_task, &s);
}
