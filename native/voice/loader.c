/* voice/loader.c - finds the tensors of an encoder in the caller's list, checks their shapes, and widens or packs them. */
#include "voice/loader.h"

const q3t_tensor *q3t_load_tensor(q3t_loader *l, int32_t slot, int32_t layer, int32_t dims, int64_t a, int64_t b, int64_t c) {
    const int64_t shape[3] = {a, b, c};
    for (size_t i = 0; i < l->count; i++) {
        const q3t_tensor *t = &l->tensors[i];
        if (t->slot != slot || t->layer != layer) continue;
        int right = t->dims == dims && t->data && (t->dtype == Q3T_F32 || t->dtype == Q3T_BF16);
        for (int32_t d = 0; right && d < dims; d++) right = t->shape[d] == shape[d];
        if (!right) break;
        l->found++;
        return t;
    }
    l->status = Q3T_E_SHAPE;
    return NULL;
}

/* Every tensor that was loaded was found, and no tensor is loaded twice. So if as many were found as the list has, each was loaded
 * exactly once. */
q3t_status q3t_loader_status(const q3t_loader *l) { return l->status == Q3T_OK && l->found != l->count ? Q3T_E_SHAPE : l->status; }

const float *q3t_load_vector(q3t_loader *l, q3t_arena *a, int32_t slot, int32_t layer, int32_t n) {
    float *v = q3t_carve(a, (size_t)n, sizeof(float));
    const q3t_tensor *t = q3t_load_tensor(l, slot, layer, 1, n, 0, 0);
    if (v && t) q3t_tensor_widen(t, 0, (size_t)n, v);
    return v;
}

void q3t_load_conv_part(q3t_loader *l, const q3t_conv *conv, const q3t_conv_shape *s, int32_t out0) {
    const q3t_tensor *t = q3t_load_tensor(l, s->slot, s->layer, s->kernel ? 3 : 2, s->out, s->in, s->kernel);
    const q3t_tensor *bias = s->bias_slot < 0 ? NULL : q3t_load_tensor(l, s->bias_slot, s->layer, 1, s->out, 0, 0);
    if (conv->w && l->status == Q3T_OK) q3t_conv_pack(conv, l->pool, t, bias, out0, 0, q3t_max(s->fold, 1));
}

void q3t_load_conv(q3t_loader *l, q3t_arena *a, q3t_conv *conv, const q3t_conv_shape *s) {
    int32_t fold = q3t_max(s->fold, 1), taps = q3t_max(s->kernel, 1) / fold;
    q3t_conv_carve(a, conv, fold * s->in, s->out, taps, q3t_max(s->dilation, 1));
    q3t_load_conv_part(l, conv, s, 0);
}
