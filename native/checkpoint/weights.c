/* checkpoint/weights.c - checks the config and the tensors of a checkpoint. The table `rules` gives, for each slot, the number of
 * layers and the shape in terms of the config. Tensors with another shape are an error, so the rest of the engine indexes weights
 * without checks. */
#include "checkpoint/weights.h"
#include "kernels/table.h"
#include "base/small.h"
#include <math.h>
#include <stdlib.h>

enum { MAX_DIM = 1 << 20, MAX_LAYERS = 1024, MAX_RATE = 64, MAX_GROUPS = 64, MAX_SAMPLES = 1 << 16 };

/* A dimension of a shape; dim_of returns its size. D_END ends a shape of fewer than three dimensions. */
typedef enum dim {
    D_END, D_1, D_3, D_7, D_TEXT_VOCAB, D_TEXT_HIDDEN, D_VOCAB, D_HIDDEN, D_INTER, D_Q, D_KV, D_HEAD,
    D_PHIDDEN, D_PINTER, D_PQ, D_PKV, D_PHEAD, D_PEMBED, D_PVOCAB,
    D_BOOK, D_CODE, D_VQ, D_LATENT, D_LATENT4, D_CHIDDEN, D_CINTER, D_CQ, D_CKV, D_RATIO, D_DEC,
    D_BLOCK_IN, D_BLOCK_OUT, D_BLOCK_KERNEL, D_UNIT, D_LAST
} dim;
/* How many layers a slot has; count_of returns the number. */
typedef enum layers { L_ONE, L_TALKER, L_PREDICTOR, L_CODEC, L_CODES, L_REST, L_PROJECTION, L_UP, L_BLOCKS, L_UNITS } layers;

typedef struct rule {
    uint8_t layers, dim[3];
} rule;

static const rule rules[Q3T_W_SLOTS] = {
    [Q3T_W_TEXT_EMBEDDING] = {L_ONE, {D_TEXT_VOCAB, D_TEXT_HIDDEN}},
    [Q3T_W_TEXT_FC1] = {L_ONE, {D_TEXT_HIDDEN, D_TEXT_HIDDEN}}, [Q3T_W_TEXT_FC1_BIAS] = {L_ONE, {D_TEXT_HIDDEN}},
    [Q3T_W_TEXT_FC2] = {L_ONE, {D_HIDDEN, D_TEXT_HIDDEN}}, [Q3T_W_TEXT_FC2_BIAS] = {L_ONE, {D_HIDDEN}},
    [Q3T_W_CODEC_EMBEDDING] = {L_ONE, {D_VOCAB, D_HIDDEN}}, [Q3T_W_CODEC_HEAD] = {L_ONE, {D_VOCAB, D_HIDDEN}},
    [Q3T_W_TALKER_NORM] = {L_ONE, {D_HIDDEN}},
    [Q3T_W_TALKER_INPUT_NORM] = {L_TALKER, {D_HIDDEN}}, [Q3T_W_TALKER_POST_NORM] = {L_TALKER, {D_HIDDEN}},
    [Q3T_W_TALKER_Q] = {L_TALKER, {D_Q, D_HIDDEN}}, [Q3T_W_TALKER_K] = {L_TALKER, {D_KV, D_HIDDEN}},
    [Q3T_W_TALKER_V] = {L_TALKER, {D_KV, D_HIDDEN}}, [Q3T_W_TALKER_O] = {L_TALKER, {D_HIDDEN, D_Q}},
    [Q3T_W_TALKER_Q_NORM] = {L_TALKER, {D_HEAD}}, [Q3T_W_TALKER_K_NORM] = {L_TALKER, {D_HEAD}},
    [Q3T_W_TALKER_GATE] = {L_TALKER, {D_INTER, D_HIDDEN}}, [Q3T_W_TALKER_UP] = {L_TALKER, {D_INTER, D_HIDDEN}},
    [Q3T_W_TALKER_DOWN] = {L_TALKER, {D_HIDDEN, D_INTER}},
    [Q3T_W_PREDICTOR_NORM] = {L_ONE, {D_PHIDDEN}},
    [Q3T_W_PREDICTOR_INPUT_NORM] = {L_PREDICTOR, {D_PHIDDEN}}, [Q3T_W_PREDICTOR_POST_NORM] = {L_PREDICTOR, {D_PHIDDEN}},
    [Q3T_W_PREDICTOR_Q] = {L_PREDICTOR, {D_PQ, D_PHIDDEN}}, [Q3T_W_PREDICTOR_K] = {L_PREDICTOR, {D_PKV, D_PHIDDEN}},
    [Q3T_W_PREDICTOR_V] = {L_PREDICTOR, {D_PKV, D_PHIDDEN}}, [Q3T_W_PREDICTOR_O] = {L_PREDICTOR, {D_PHIDDEN, D_PQ}},
    [Q3T_W_PREDICTOR_Q_NORM] = {L_PREDICTOR, {D_PHEAD}}, [Q3T_W_PREDICTOR_K_NORM] = {L_PREDICTOR, {D_PHEAD}},
    [Q3T_W_PREDICTOR_GATE] = {L_PREDICTOR, {D_PINTER, D_PHIDDEN}}, [Q3T_W_PREDICTOR_UP] = {L_PREDICTOR, {D_PINTER, D_PHIDDEN}},
    [Q3T_W_PREDICTOR_DOWN] = {L_PREDICTOR, {D_PHIDDEN, D_PINTER}},
    [Q3T_W_PREDICTOR_EMBEDDING] = {L_CODES, {D_PEMBED, D_HIDDEN}}, [Q3T_W_PREDICTOR_HEAD] = {L_CODES, {D_PVOCAB, D_PHIDDEN}},
    [Q3T_W_PROJECTION] = {L_PROJECTION, {D_PHIDDEN, D_HIDDEN}}, [Q3T_W_PROJECTION_BIAS] = {L_PROJECTION, {D_PHIDDEN}},
    [Q3T_W_FIRST_SUM] = {L_ONE, {D_BOOK, D_VQ}}, [Q3T_W_FIRST_USAGE] = {L_ONE, {D_BOOK}},
    [Q3T_W_FIRST_PROJ] = {L_ONE, {D_CODE, D_VQ, D_1}},
    [Q3T_W_REST_SUM] = {L_REST, {D_BOOK, D_VQ}}, [Q3T_W_REST_USAGE] = {L_REST, {D_BOOK}},
    [Q3T_W_REST_PROJ] = {L_ONE, {D_CODE, D_VQ, D_1}},
    [Q3T_W_PRE_CONV] = {L_ONE, {D_LATENT, D_CODE, D_3}}, [Q3T_W_PRE_CONV_BIAS] = {L_ONE, {D_LATENT}},
    [Q3T_W_CODEC_IN] = {L_ONE, {D_CHIDDEN, D_LATENT}}, [Q3T_W_CODEC_IN_BIAS] = {L_ONE, {D_CHIDDEN}},
    [Q3T_W_CODEC_OUT] = {L_ONE, {D_LATENT, D_CHIDDEN}}, [Q3T_W_CODEC_OUT_BIAS] = {L_ONE, {D_LATENT}},
    [Q3T_W_CODEC_NORM] = {L_ONE, {D_CHIDDEN}},
    [Q3T_W_CODEC_INPUT_NORM] = {L_CODEC, {D_CHIDDEN}}, [Q3T_W_CODEC_POST_NORM] = {L_CODEC, {D_CHIDDEN}},
    [Q3T_W_CODEC_Q] = {L_CODEC, {D_CQ, D_CHIDDEN}}, [Q3T_W_CODEC_K] = {L_CODEC, {D_CKV, D_CHIDDEN}},
    [Q3T_W_CODEC_V] = {L_CODEC, {D_CKV, D_CHIDDEN}}, [Q3T_W_CODEC_O] = {L_CODEC, {D_CHIDDEN, D_CQ}},
    [Q3T_W_CODEC_GATE] = {L_CODEC, {D_CINTER, D_CHIDDEN}}, [Q3T_W_CODEC_UP] = {L_CODEC, {D_CINTER, D_CHIDDEN}},
    [Q3T_W_CODEC_DOWN] = {L_CODEC, {D_CHIDDEN, D_CINTER}},
    [Q3T_W_CODEC_ATTN_SCALE] = {L_CODEC, {D_CHIDDEN}}, [Q3T_W_CODEC_MLP_SCALE] = {L_CODEC, {D_CHIDDEN}},
    [Q3T_W_UP_CONV] = {L_UP, {D_LATENT, D_LATENT, D_RATIO}}, [Q3T_W_UP_CONV_BIAS] = {L_UP, {D_LATENT}},
    [Q3T_W_UP_DW] = {L_UP, {D_LATENT, D_1, D_7}}, [Q3T_W_UP_DW_BIAS] = {L_UP, {D_LATENT}},
    [Q3T_W_UP_NORM] = {L_UP, {D_LATENT}}, [Q3T_W_UP_NORM_BIAS] = {L_UP, {D_LATENT}},
    [Q3T_W_UP_PW1] = {L_UP, {D_LATENT4, D_LATENT}}, [Q3T_W_UP_PW1_BIAS] = {L_UP, {D_LATENT4}},
    [Q3T_W_UP_PW2] = {L_UP, {D_LATENT, D_LATENT4}}, [Q3T_W_UP_PW2_BIAS] = {L_UP, {D_LATENT}},
    [Q3T_W_UP_GAMMA] = {L_UP, {D_LATENT}},
    [Q3T_W_DEC_IN] = {L_ONE, {D_DEC, D_LATENT, D_7}}, [Q3T_W_DEC_IN_BIAS] = {L_ONE, {D_DEC}},
    [Q3T_W_BLOCK_ALPHA] = {L_BLOCKS, {D_BLOCK_IN}}, [Q3T_W_BLOCK_BETA] = {L_BLOCKS, {D_BLOCK_IN}},
    [Q3T_W_BLOCK_CONV] = {L_BLOCKS, {D_BLOCK_IN, D_BLOCK_OUT, D_BLOCK_KERNEL}}, [Q3T_W_BLOCK_CONV_BIAS] = {L_BLOCKS, {D_BLOCK_OUT}},
    [Q3T_W_UNIT_ALPHA1] = {L_UNITS, {D_UNIT}}, [Q3T_W_UNIT_BETA1] = {L_UNITS, {D_UNIT}},
    [Q3T_W_UNIT_CONV1] = {L_UNITS, {D_UNIT, D_UNIT, D_7}}, [Q3T_W_UNIT_CONV1_BIAS] = {L_UNITS, {D_UNIT}},
    [Q3T_W_UNIT_ALPHA2] = {L_UNITS, {D_UNIT}}, [Q3T_W_UNIT_BETA2] = {L_UNITS, {D_UNIT}},
    [Q3T_W_UNIT_CONV2] = {L_UNITS, {D_UNIT, D_UNIT, D_1}}, [Q3T_W_UNIT_CONV2_BIAS] = {L_UNITS, {D_UNIT}},
    [Q3T_W_DEC_ALPHA] = {L_ONE, {D_LAST}}, [Q3T_W_DEC_BETA] = {L_ONE, {D_LAST}},
    [Q3T_W_DEC_OUT] = {L_ONE, {D_1, D_LAST, D_7}}, [Q3T_W_DEC_OUT_BIAS] = {L_ONE, {D_1}},
};

static int32_t count_of(const q3t_config *c, int kind) {
    switch ((layers)kind) {
    case L_TALKER: return c->talker.layers;
    case L_PREDICTOR: return c->predictor.layers;
    case L_CODEC: return c->codec.layers;
    case L_CODES: return c->code_groups - 1;
    case L_REST: return c->code_groups - 1;
    case L_PROJECTION: return c->has_projection;
    case L_UP: return c->upsampling;
    case L_BLOCKS: return c->rates;
    case L_UNITS: return 3 * c->rates;
    case L_ONE: break;
    }
    return 1;
}

static int64_t dim_of(const q3t_config *c, int d, int32_t layer) {
    const q3t_transformer_config *t = &c->talker, *p = &c->predictor, *k = &c->codec;
    switch ((dim)d) {
    case D_END: break;
    case D_1: return 1;
    case D_3: return 3;
    case D_7: return 7;
    case D_TEXT_VOCAB: return c->text_vocab;
    case D_TEXT_HIDDEN: return c->text_hidden;
    case D_VOCAB: return c->vocab;
    case D_HIDDEN: return t->hidden;
    case D_INTER: return t->intermediate;
    case D_Q: return (int64_t)t->heads * t->head_dim;
    case D_KV: return (int64_t)t->kv_heads * t->head_dim;
    case D_HEAD: return t->head_dim;
    case D_PHIDDEN: return p->hidden;
    case D_PINTER: return p->intermediate;
    case D_PQ: return (int64_t)p->heads * p->head_dim;
    case D_PKV: return (int64_t)p->kv_heads * p->head_dim;
    case D_PHEAD: return p->head_dim;
    case D_PEMBED: return c->code_embedding_rows;
    case D_PVOCAB: return c->code_vocab;
    case D_BOOK: return c->codebook_size;
    case D_CODE: return c->codebook_dim;
    case D_VQ: return c->codebook_dim / 2;
    case D_LATENT: return c->latent_dim;
    case D_LATENT4: return 4 * (int64_t)c->latent_dim;
    case D_CHIDDEN: return k->hidden;
    case D_CINTER: return k->intermediate;
    case D_CQ: return (int64_t)k->heads * k->head_dim;
    case D_CKV: return (int64_t)k->kv_heads * k->head_dim;
    case D_RATIO: return c->upsampling_ratios[layer];
    case D_DEC: return c->decoder_dim;
    case D_BLOCK_IN: return c->decoder_dim >> layer;
    case D_BLOCK_OUT: return c->decoder_dim >> (layer + 1);
    case D_BLOCK_KERNEL: return 2 * (int64_t)c->upsample_rates[layer];
    case D_UNIT: return c->decoder_dim >> (layer / 3 + 1);
    case D_LAST: return c->decoder_dim >> c->rates;
    }
    return 0;
}

static int transformer_ok(const q3t_transformer_config *t) {
    return q3t_in_range(t->hidden, 1, MAX_DIM) && q3t_in_range(t->intermediate, 1, MAX_DIM) &&
           q3t_in_range(t->layers, 1, MAX_LAYERS) && q3t_in_range(t->heads, 1, 4096) && q3t_in_range(t->kv_heads, 1, t->heads) &&
           t->heads % t->kv_heads == 0 && q3t_in_range(t->head_dim, 2, 4096) && t->head_dim % 2 == 0 &&
           (int64_t)t->heads * t->head_dim <= MAX_DIM && isfinite(t->rms_eps) && t->rms_eps >= 0 && isfinite(t->rope_theta) &&
           t->rope_theta > 0;
}

int32_t q3t_frame_samples(const q3t_config *c) {
    int64_t n = 1;
    for (int32_t i = 0; i < c->upsampling; i++) n *= c->upsampling_ratios[i];
    for (int32_t i = 0; i < c->rates; i++) n *= c->upsample_rates[i];
    return (int32_t)n;
}

q3t_status q3t_codec_config_check(const q3t_config *c) {
    if (!transformer_ok(&c->codec) || !q3t_in_range(c->code_groups, 2, MAX_GROUPS)) return Q3T_E_CONFIG;
    if (!q3t_in_range(c->codebook_size, 1, MAX_DIM) || !q3t_in_range(c->codebook_dim, 2, MAX_DIM) || c->codebook_dim % 2)
        return Q3T_E_CONFIG;
    if (!q3t_in_range(c->latent_dim, 1, MAX_DIM / 4) || !q3t_in_range(c->decoder_dim, 1, MAX_DIM)) return Q3T_E_CONFIG;
    if (!q3t_in_range(c->sliding_window, 1, 1 << 16)) return Q3T_E_CONFIG;
    if (!q3t_in_range(c->upsampling, 0, 8) || !q3t_in_range(c->rates, 1, 8) || c->decoder_dim % (1 << c->rates)) return Q3T_E_CONFIG;
    int64_t samples = 1;
    for (int32_t i = 0; i < c->upsampling + c->rates; i++) {
        int32_t r = i < c->upsampling ? c->upsampling_ratios[i] : c->upsample_rates[i - c->upsampling];
        if (!q3t_in_range(r, 1, MAX_RATE)) return Q3T_E_CONFIG;
        samples *= r;
        if (samples > MAX_SAMPLES) return Q3T_E_CONFIG;
    }
    return Q3T_OK;
}

q3t_status q3t_config_check(const q3t_config *c) {
    if (!transformer_ok(&c->talker) || !transformer_ok(&c->predictor)) return Q3T_E_CONFIG;
    /* code 0 of a frame is below vocab - Q3T_RESERVED, and is an index into a codebook */
    if (!q3t_in_range(c->vocab, Q3T_RESERVED + 1, MAX_DIM) || c->vocab - Q3T_RESERVED > c->codebook_size) return Q3T_E_CONFIG;
    if (!q3t_in_range(c->text_vocab, 1, 1 << 24) || !q3t_in_range(c->text_hidden, 1, MAX_DIM)) return Q3T_E_CONFIG;
    if (!q3t_in_range(c->code_groups, 2, MAX_GROUPS) || !q3t_in_range(c->code_vocab, 1, MAX_DIM)) return Q3T_E_CONFIG;
    if (c->code_vocab > c->codebook_size || !q3t_in_range(c->code_embedding_rows, c->code_vocab, MAX_DIM)) return Q3T_E_CONFIG;
    if (!q3t_in_range(c->codec_eos, 0, c->vocab - 1) || !q3t_in_range(c->tts_pad, 0, c->text_vocab - 1)) return Q3T_E_CONFIG;
    if (!q3t_in_range(c->max_positions, 1, 1 << 24) || !q3t_in_range(c->has_projection, 0, 1)) return Q3T_E_CONFIG;
    if (!c->has_projection && c->talker.hidden != c->predictor.hidden) return Q3T_E_CONFIG;
    return q3t_codec_config_check(c);
}

/* 1 if a slot is a matrix that only the linear kernels read: then its tensor may be packed. */
static int may_be_packed(int32_t slot) {
    switch ((q3t_slot)slot) {
    case Q3T_W_TALKER_Q: case Q3T_W_TALKER_K: case Q3T_W_TALKER_V: case Q3T_W_TALKER_O:
    case Q3T_W_TALKER_GATE: case Q3T_W_TALKER_UP: case Q3T_W_TALKER_DOWN: case Q3T_W_CODEC_HEAD:
    case Q3T_W_PREDICTOR_Q: case Q3T_W_PREDICTOR_K: case Q3T_W_PREDICTOR_V: case Q3T_W_PREDICTOR_O:
    case Q3T_W_PREDICTOR_GATE: case Q3T_W_PREDICTOR_UP: case Q3T_W_PREDICTOR_DOWN: case Q3T_W_PREDICTOR_HEAD: case Q3T_W_PROJECTION:
        return 1;
    default: return 0;
    }
}

static int shape_ok(const q3t_config *c, const rule *r, const q3t_tensor *t) {
    int32_t n = 0;
    while (n < 3 && r->dim[n] != D_END) n++;
    if (t->dims != n || !t->data) return 0;
    if (t->dtype == Q3T_INT8 || t->dtype == Q3T_INT4 || t->dtype == Q3T_CODED) {
        if (!may_be_packed(t->slot) || (uintptr_t)t->data % 64) return 0;
    } else if (t->dtype != Q3T_F32 && t->dtype != Q3T_BF16) {
        return 0;
    }
    for (int32_t i = 0; i < n; i++)
        if (t->shape[i] != dim_of(c, r->dim[i], t->layer)) return 0;
    return 1;
}

/* Slots [first, end). */
typedef struct range {
    int first, end;
} range;

/* Number of tensors of slot s; 0 if s is not in the range r. */
static int32_t layers_of(const q3t_config *c, int s, range r) { return s < r.first || s >= r.end ? 0 : count_of(c, rules[s].layers); }

/* Check and copy the tensors: each tensor of the slots in `expected` must be there once, and no other. */
static q3t_status open_slots(const q3t_config *c, const q3t_tensor *tensors, size_t count, range expected, q3t_weights *w) {
    size_t offset[Q3T_W_SLOTS], total = 0;
    for (int s = 0; s < Q3T_W_SLOTS; s++) {
        offset[s] = total;
        total += (size_t)layers_of(c, s, expected);
    }
    if (count != total) return Q3T_E_SHAPE;
    q3t_tensor *all = calloc(total, sizeof *all);
    if (!all) return Q3T_E_MEMORY;
    for (size_t i = 0; i < count; i++) {
        const q3t_tensor *t = &tensors[i];
        if (!q3t_in_range(t->slot, 0, Q3T_W_SLOTS - 1) || !q3t_in_range(t->layer, 0, layers_of(c, t->slot, expected) - 1) ||
            all[offset[t->slot] + (size_t)t->layer].data || !shape_ok(c, &rules[t->slot], t)) {
            free(all);
            return Q3T_E_SHAPE;
        }
        all[offset[t->slot] + (size_t)t->layer] = *t;
    }
    w->tensors = all;
    for (int s = 0; s < Q3T_W_SLOTS; s++) w->slot[s] = layers_of(c, s, expected) ? all + offset[s] : NULL;
    return Q3T_OK;
}

q3t_status q3t_weights_open(const q3t_config *c, const q3t_tensor *tensors, size_t count, q3t_weights *w) {
    return open_slots(c, tensors, count, (range){0, Q3T_W_SLOTS}, w);
}

q3t_status q3t_lm_weights_open(const q3t_config *c, const q3t_tensor *tensors, size_t count, q3t_weights *w) {
    return open_slots(c, tensors, count, (range){0, Q3T_W_FIRST_SUM}, w);
}

q3t_status q3t_codec_weights_open(const q3t_config *c, const q3t_tensor *tensors, size_t count, q3t_weights *w) {
    return open_slots(c, tensors, count, (range){Q3T_W_FIRST_SUM, Q3T_W_SLOTS}, w);
}

void q3t_weights_close(q3t_weights *w) {
    free(w->tensors);
    *w = (q3t_weights){0};
}

float q3t_tensor_at(const q3t_tensor *t, size_t i) {
    float f;
    q3t_tensor_widen(t, i, 1, &f);
    return f;
}

void q3t_tensor_widen(const q3t_tensor *t, size_t first, size_t n, float *out) {
    if (t->dtype == Q3T_F32) {
        memcpy(out, (const char *)t->data + first * 4, n * 4);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, (const char *)t->data + (first + i) * 2, 2);
        out[i] = q3t_widen(h);
    }
}
