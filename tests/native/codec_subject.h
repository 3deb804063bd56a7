/* codec_subject.h - a codec to check: read from a file of dump_codec.py, or with random weights for any config. */
#include "codec/decoder.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAGIC = 0x44335451, MAX_TENSORS = 1024 };

typedef struct subject {
    q3t_config config;
    q3t_tensor tensors[MAX_TENSORS];
    int32_t count, frames, samples;
    int32_t *codes;     /* (frames, groups) */
    float *expected;    /* (samples,), or NULL if there is no golden */
    double least_db;    /* signal-to-noise ratio that the decoder must reach, in dB */
    q3t_weights weights;
    q3t_tensor *sorted;
} subject;

/* Returns zeroed memory; ends the program if there is none. */
static void *get(size_t bytes) {
    void *p = calloc(bytes ? bytes : 1, 1);
    if (!p) {
        fprintf(stderr, "out of memory\n");
        exit(2);
    }
    return p;
}

/* ------------------------------------------------------------ subjects */
/* Fill s->weights as q3t_codec_weights_open does, but without checks. */
static void sort_tensors(subject *s) {
    s->sorted = get((size_t)s->count * sizeof *s->sorted);
    int32_t n = 0;
    for (int32_t slot = 0; slot < Q3T_W_SLOTS; slot++) {
        s->weights.slot[slot] = s->sorted + n;
        int32_t first = n;
        for (int32_t i = 0; i < s->count; i++)
            if (s->tensors[i].slot == slot) s->sorted[first + s->tensors[i].layer] = s->tensors[i], n++;
    }
}

static inline void read_bytes(FILE *f, void *to, size_t bytes) {
    if (fread(to, 1, bytes, f) != bytes) {
        fprintf(stderr, "the dump is too short\n");
        exit(2);
    }
}

static inline void read_dump(const char *path, subject *s) {
    FILE *f = fopen(path, "rb");
    int32_t magic = 0, n[30];
    double real[2];
    if (f) read_bytes(f, &magic, 4);
    if (magic != MAGIC) {
        fprintf(stderr, "%s: cannot be read as a file of dump_codec.py\n", path);
        exit(2);
    }
    read_bytes(f, n, sizeof n);
    read_bytes(f, real, sizeof real);
    q3t_config *c = &s->config;
    c->codec = (q3t_transformer_config){n[0], n[1], n[2], n[3], n[4], n[5], (float)real[0], real[1]};
    c->code_groups = n[6], c->codebook_size = n[7], c->codebook_dim = n[8], c->latent_dim = n[9], c->decoder_dim = n[10];
    c->sliding_window = n[11], c->upsampling = n[12], c->rates = n[21];
    memcpy(c->upsampling_ratios, n + 13, 32);
    memcpy(c->upsample_rates, n + 22, 32);
    read_bytes(f, &s->count, 4);
    for (int32_t i = 0; i < s->count; i++) {
        q3t_tensor *t = &s->tensors[i];
        int64_t bytes;
        read_bytes(f, t, 16);
        read_bytes(f, t->shape, 32);
        read_bytes(f, &bytes, 8);
        void *data = get((size_t)bytes);
        read_bytes(f, data, (size_t)bytes);
        t->data = data;
    }
    read_bytes(f, &s->frames, 4);
    read_bytes(f, &s->samples, 4);
    s->codes = get((size_t)s->frames * (size_t)c->code_groups * 4);
    s->expected = get((size_t)s->samples * 4);
    read_bytes(f, s->codes, (size_t)s->frames * (size_t)c->code_groups * 4);
    read_bytes(f, s->expected, (size_t)s->samples * 4);
    read_bytes(f, &s->least_db, 8);
    fclose(f);
    sort_tensors(s);
}

static uint32_t random_bits(void) {
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32);
}

/* Add a tensor of shape (a,), (a, b) or (a, b, c), F32 or BF16: uniform random values in middle - spread .. middle + spread. */
static void add_tensor(subject *s, int32_t slot, int32_t layer, int32_t dtype, float middle, float spread, int32_t a, int32_t b, int32_t c) {
    q3t_tensor *t = &s->tensors[s->count++];
    size_t n = (size_t)a * (size_t)(b ? b : 1) * (size_t)(c ? c : 1);
    float *data = get(n * sizeof *data);
    uint16_t *half = (uint16_t *)data;
    *t = (q3t_tensor){slot, layer, dtype, 1 + !!b + !!c, {a, b, c, 0}, data};
    for (size_t i = 0; i < n; i++) {
        float x = middle + spread * ((float)(random_bits() >> 8) / 8388608.0f - 1);
        uint32_t u;
        memcpy(&u, &x, 4);
        if (dtype == Q3T_BF16) half[i] = (uint16_t)(u >> 16);
        else data[i] = x;
    }
}

/* Add a matrix of random weights; its product with `fan_in` inputs has the same variance as the inputs. */
static void add_matrix(subject *s, int32_t slot, int32_t layer, int32_t dtype, int32_t fan_in, int32_t a, int32_t b, int32_t c) {
    add_tensor(s, slot, layer, dtype, 0, sqrtf(3.0f / (float)fan_in), a, b, c);
}

static void add_transformer(subject *s, int32_t type) {
    const q3t_config *c = &s->config;
    const q3t_transformer_config *t = &c->codec;
    int32_t q = t->heads * t->head_dim, kv = t->kv_heads * t->head_dim, h = t->hidden;
    for (int32_t i = 0; i < t->layers; i++) {
        add_tensor(s, Q3T_W_CODEC_INPUT_NORM, i, type, 1, 0.3f, h, 0, 0);
        add_tensor(s, Q3T_W_CODEC_POST_NORM, i, type, 1, 0.3f, h, 0, 0);
        add_matrix(s, Q3T_W_CODEC_Q, i, type, h, q, h, 0);
        add_matrix(s, Q3T_W_CODEC_K, i, type, h, kv, h, 0);
        add_matrix(s, Q3T_W_CODEC_V, i, type, h, kv, h, 0);
        add_matrix(s, Q3T_W_CODEC_O, i, type, q, h, q, 0);
        add_matrix(s, Q3T_W_CODEC_GATE, i, type, h, t->intermediate, h, 0);
        add_matrix(s, Q3T_W_CODEC_UP, i, type, h, t->intermediate, h, 0);
        add_matrix(s, Q3T_W_CODEC_DOWN, i, type, t->intermediate, h, t->intermediate, 0);
        add_tensor(s, Q3T_W_CODEC_ATTN_SCALE, i, type, 0.3f, 0.1f, h, 0, 0);
        add_tensor(s, Q3T_W_CODEC_MLP_SCALE, i, type, 0.3f, 0.1f, h, 0, 0);
    }
    add_matrix(s, Q3T_W_CODEC_IN, 0, type, c->latent_dim, h, c->latent_dim, 0);
    add_tensor(s, Q3T_W_CODEC_IN_BIAS, 0, type, 0, 0.1f, h, 0, 0);
    add_tensor(s, Q3T_W_CODEC_NORM, 0, type, 1, 0.3f, h, 0, 0);
    add_matrix(s, Q3T_W_CODEC_OUT, 0, type, h, c->latent_dim, h, 0);
    add_tensor(s, Q3T_W_CODEC_OUT_BIAS, 0, type, 0, 0.1f, c->latent_dim, 0, 0);
}

static void add_front(subject *s, int32_t type) {
    const q3t_config *c = &s->config;
    int32_t n = c->codebook_dim, l = c->latent_dim, book = c->codebook_size;
    for (int32_t g = 0; g < c->code_groups; g++) {
        add_tensor(s, g ? Q3T_W_REST_SUM : Q3T_W_FIRST_SUM, g ? g - 1 : 0, type, 0, 2, book, n / 2, 0);
        add_tensor(s, g ? Q3T_W_REST_USAGE : Q3T_W_FIRST_USAGE, g ? g - 1 : 0, type, 4, 3, book, 0, 0);
    }
    add_matrix(s, Q3T_W_FIRST_PROJ, 0, type, n / 2, n, n / 2, 1);
    add_matrix(s, Q3T_W_REST_PROJ, 0, type, n / 2, n, n / 2, 1);
    add_matrix(s, Q3T_W_PRE_CONV, 0, type, 3 * n, l, n, 3);
    add_tensor(s, Q3T_W_PRE_CONV_BIAS, 0, type, 0, 0.1f, l, 0, 0);
    for (int32_t i = 0; i < c->upsampling; i++) {
        add_matrix(s, Q3T_W_UP_CONV, i, type, l, l, l, c->upsampling_ratios[i]);
        add_tensor(s, Q3T_W_UP_CONV_BIAS, i, type, 0, 0.1f, l, 0, 0);
        add_matrix(s, Q3T_W_UP_DW, i, type, 7, l, 1, 7);
        add_tensor(s, Q3T_W_UP_DW_BIAS, i, type, 0, 0.1f, l, 0, 0);
        add_tensor(s, Q3T_W_UP_NORM, i, type, 1, 0.3f, l, 0, 0);
        add_tensor(s, Q3T_W_UP_NORM_BIAS, i, type, 0, 0.1f, l, 0, 0);
        add_matrix(s, Q3T_W_UP_PW1, i, type, l, 4 * l, l, 0);
        add_tensor(s, Q3T_W_UP_PW1_BIAS, i, type, 0, 0.1f, 4 * l, 0, 0);
        add_matrix(s, Q3T_W_UP_PW2, i, type, 4 * l, l, 4 * l, 0);
        add_tensor(s, Q3T_W_UP_PW2_BIAS, i, type, 0, 0.1f, l, 0, 0);
        add_tensor(s, Q3T_W_UP_GAMMA, i, type, 0.3f, 0.1f, l, 0, 0);
    }
}

static void add_unit(subject *s, int32_t i, int32_t type, int32_t n) {
    add_tensor(s, Q3T_W_UNIT_ALPHA1, i, type, 0, 0.5f, n, 0, 0);
    add_tensor(s, Q3T_W_UNIT_BETA1, i, type, 0, 0.5f, n, 0, 0);
    add_matrix(s, Q3T_W_UNIT_CONV1, i, type, 14 * n, n, n, 7);
    add_tensor(s, Q3T_W_UNIT_CONV1_BIAS, i, type, 0, 0.1f, n, 0, 0);
    add_tensor(s, Q3T_W_UNIT_ALPHA2, i, type, 0, 0.5f, n, 0, 0);
    add_tensor(s, Q3T_W_UNIT_BETA2, i, type, 0, 0.5f, n, 0, 0);
    add_matrix(s, Q3T_W_UNIT_CONV2, i, type, 2 * n, n, n, 1);
    add_tensor(s, Q3T_W_UNIT_CONV2_BIAS, i, type, 0, 0.1f, n, 0, 0);
}

/* Returns a codec with random weights of dtype `type`, and `frames` frames of random codes; free it with drop. */
static subject *synthetic(const q3t_config *config, int32_t type, int32_t frames) {
    subject *s = get(sizeof *s);
    s->config = *config;
    const q3t_config *c = &s->config;
    int32_t d = c->decoder_dim, last = d >> c->rates;
    add_front(s, type);
    add_transformer(s, type);
    add_matrix(s, Q3T_W_DEC_IN, 0, type, 7 * c->latent_dim, d, c->latent_dim, 7);
    add_tensor(s, Q3T_W_DEC_IN_BIAS, 0, type, 0, 0.1f, d, 0, 0);
    for (int32_t i = 0; i < c->rates; i++, d /= 2) {
        add_tensor(s, Q3T_W_BLOCK_ALPHA, i, type, 0, 0.5f, d, 0, 0);
        add_tensor(s, Q3T_W_BLOCK_BETA, i, type, 0, 0.5f, d, 0, 0);
        add_matrix(s, Q3T_W_BLOCK_CONV, i, type, 4 * d, d, d / 2, 2 * c->upsample_rates[i]);
        add_tensor(s, Q3T_W_BLOCK_CONV_BIAS, i, type, 0, 0.1f, d / 2, 0, 0);
        for (int32_t u = 0; u < 3; u++) add_unit(s, 3 * i + u, type, d / 2);
    }
    add_tensor(s, Q3T_W_DEC_ALPHA, 0, type, 0, 0.5f, last, 0, 0);
    add_tensor(s, Q3T_W_DEC_BETA, 0, type, 0, 0.5f, last, 0, 0);
    add_tensor(s, Q3T_W_DEC_OUT, 0, type, 0, 0.2f / sqrtf((float)last), 1, last, 7);
    add_tensor(s, Q3T_W_DEC_OUT_BIAS, 0, type, 0, 0.1f, 1, 0, 0);
    sort_tensors(s);
    s->frames = frames;
    s->samples = frames * q3t_frame_samples(c);
    s->codes = get((size_t)frames * (size_t)c->code_groups * 4);
    for (int32_t i = 0; i < frames * c->code_groups; i++) s->codes[i] = (int32_t)(random_bits() % (uint32_t)c->codebook_size);
    return s;
}

static void drop(subject *s) {
    for (int32_t i = 0; i < s->count; i++) free((void *)(uintptr_t)s->tensors[i].data);
    free(s->sorted);
    free(s->codes);
    free(s->expected);
    free(s);
}
