/* speech/model.c - opens and closes a model, which holds everything that sessions share. Matrices stay in the caller's memory,
 * usually a mapped file. Norms and biases are widened to float32 in the model's arena. The codec's weights are packed here, unless
 * the caller gives packed weights. */
#include "speech/model.h"
#include <math.h>
#include <stdlib.h>

static q3t_matrix matrix(const q3t_tensor *t) {
    static const int32_t format[] = {
        [Q3T_F32] = Q3T_FORMAT_F32, [Q3T_BF16] = Q3T_FORMAT_BF16, [Q3T_INT8] = Q3T_FORMAT_INT8, [Q3T_INT4] = Q3T_FORMAT_INT4,
        [Q3T_CODED] = Q3T_FORMAT_CODED};
    return (q3t_matrix){format[t->dtype], (int32_t)t->shape[0], (int32_t)t->shape[1], t->data};
}

/* Returns a copy of a vector as float32, or NULL in the measuring run (base/arena.h). */
static const float *vector(q3t_arena *a, const q3t_tensor *t) {
    float *v = q3t_carve(a, (size_t)t->shape[0], sizeof(float));
    if (v) q3t_tensor_widen(t, 0, (size_t)t->shape[0], v);
    return v;
}

/* Carve and fill a transformer. norm: its first slot, Q3T_W_TALKER_NORM or Q3T_W_PREDICTOR_NORM. */
static void carve_transformer(q3t_transformer *t, q3t_arena *a, const q3t_weights *w, int norm) {
    const int at = norm - Q3T_W_TALKER_NORM;
    int32_t half = t->c.head_dim / 2;
    t->blocks = q3t_carve(a, (size_t)t->c.layers, sizeof *t->blocks);
    t->norm = vector(a, q3t_weight(w, norm, 0));
    float *inv = q3t_carve(a, (size_t)half, sizeof(float));
    /* as in the reference, the exponent, the power and its inverse are rounded to float32 */
    for (int32_t i = 0; inv && i < half; i++)
        inv[i] = 1.0f / (float)pow(t->c.rope_theta, (double)((float)(2 * i) / (float)t->c.head_dim));
    t->inv_freq = inv;
    for (int32_t i = 0; i < t->c.layers; i++) {
        q3t_block b = {
            .q = matrix(q3t_weight(w, at + Q3T_W_TALKER_Q, i)),
            .k = matrix(q3t_weight(w, at + Q3T_W_TALKER_K, i)),
            .v = matrix(q3t_weight(w, at + Q3T_W_TALKER_V, i)),
            .o = matrix(q3t_weight(w, at + Q3T_W_TALKER_O, i)),
            .gate = matrix(q3t_weight(w, at + Q3T_W_TALKER_GATE, i)),
            .up = matrix(q3t_weight(w, at + Q3T_W_TALKER_UP, i)),
            .down = matrix(q3t_weight(w, at + Q3T_W_TALKER_DOWN, i)),
            .input_norm = vector(a, q3t_weight(w, at + Q3T_W_TALKER_INPUT_NORM, i)),
            .post_norm = vector(a, q3t_weight(w, at + Q3T_W_TALKER_POST_NORM, i)),
            .q_norm = vector(a, q3t_weight(w, at + Q3T_W_TALKER_Q_NORM, i)),
            .k_norm = vector(a, q3t_weight(w, at + Q3T_W_TALKER_K_NORM, i)),
        };
        if (t->blocks) t->blocks[i] = b;
    }
}

/* Returns the format of the prepared columns that a matrix is multiplied by. CODED takes the columns of BF16. */
static int32_t activation_format(const q3t_matrix *m) { return m->format == Q3T_FORMAT_CODED ? Q3T_FORMAT_BF16 : m->format; }

/* Returns Q3T_E_SHAPE unless matrices that are multiplied by the same prepared columns take the same format of columns. */
static q3t_status check_formats(const q3t_transformer *t) {
    for (int32_t i = 0; i < t->c.layers; i++) {
        const q3t_block *b = &t->blocks[i];
        int32_t attention = activation_format(&b->q), mlp = activation_format(&b->gate);
        if (activation_format(&b->k) != attention || activation_format(&b->v) != attention || activation_format(&b->up) != mlp)
            return Q3T_E_SHAPE;
    }
    return Q3T_OK;
}

/* Returns the format of the KV cache. It is bf16 if the layers are quantised, because quantisation has a much larger error than
 * bf16. */
static q3t_format kv_format(const q3t_transformer *t) {
    int32_t format = t->blocks[0].k.format;
    return format == Q3T_FORMAT_INT8 || format == Q3T_FORMAT_INT4 ? Q3T_FORMAT_BF16 : Q3T_FORMAT_F32;
}

static void carve(q3t_model *m, q3t_arena *a) {
    const q3t_config *c = &m->config;
    const q3t_weights *w = &m->weights;
    q3t_talker *t = &m->talker;
    q3t_predictor *p = &m->predictor;
    t->t.c = c->talker;
    carve_transformer(&t->t, a, w, Q3T_W_TALKER_NORM);
    t->fc1 = matrix(q3t_weight(w, Q3T_W_TEXT_FC1, 0));
    t->fc2 = matrix(q3t_weight(w, Q3T_W_TEXT_FC2, 0));
    t->head = matrix(q3t_weight(w, Q3T_W_CODEC_HEAD, 0));
    t->fc1_bias = vector(a, q3t_weight(w, Q3T_W_TEXT_FC1_BIAS, 0));
    t->fc2_bias = vector(a, q3t_weight(w, Q3T_W_TEXT_FC2_BIAS, 0));
    t->text_embedding = q3t_weight(w, Q3T_W_TEXT_EMBEDDING, 0);
    t->codec_embedding = q3t_weight(w, Q3T_W_CODEC_EMBEDDING, 0);
    t->code_embeddings = q3t_weight(w, Q3T_W_PREDICTOR_EMBEDDING, 0);
    t->code_groups = c->code_groups;
    q3t_talker_carve(t, a);

    p->t.c = c->predictor;
    carve_transformer(&p->t, a, w, Q3T_W_PREDICTOR_NORM);
    p->codec_embedding = t->codec_embedding;
    p->embeddings = t->code_embeddings;
    p->code_groups = c->code_groups;
    p->talker_hidden = c->talker.hidden;
    if (c->has_projection) {
        p->projection = matrix(q3t_weight(w, Q3T_W_PROJECTION, 0));
        p->projection_bias = vector(a, q3t_weight(w, Q3T_W_PROJECTION_BIAS, 0));
    }
    p->code_vocab = c->code_vocab;
    p->heads = q3t_carve(a, (size_t)c->code_groups - 1, sizeof *p->heads);
    for (int32_t g = 0; p->heads && g < c->code_groups - 1; g++) p->heads[g] = matrix(q3t_weight(w, Q3T_W_PREDICTOR_HEAD, g));
    q3t_predictor_carve(p, a);

    q3t_workspace_carve(&m->workspace, a, &c->talker, &c->predictor, c->text_hidden, c->max_positions, q3t_pool_threads(m->pool));
    m->workspace.kernels = &m->kernels;
    m->workspace.pool = m->pool;
}

static q3t_status open_parts(q3t_model *m, const q3t_tensor *tensors, size_t count, const q3t_model_options *o) {
    if (o->codec) Q3T_TRY(q3t_lm_weights_open(&m->config, tensors, count, &m->weights));
    else Q3T_TRY(q3t_weights_open(&m->config, tensors, count, &m->weights));
    if (o->pool) q3t_pool_retain(m->pool = o->pool);
    else Q3T_TRY(q3t_pool_open(o->threads, &m->pool));
    Q3T_TRY(q3t_pool_ready(m->pool));
    carve(m, &m->arena);
    Q3T_TRY(q3t_arena_reserve(&m->arena));
    carve(m, &m->arena);
    Q3T_TRY(check_formats(&m->talker.t));
    Q3T_TRY(check_formats(&m->predictor.t));
    m->talker.t.kv_format = kv_format(&m->talker.t);
    m->predictor.t.kv_format = kv_format(&m->predictor.t);
    if (o->codec) {
        size_t bytes;
        Q3T_TRY(q3t_codec_packed_bytes(&m->config, &bytes));
        if (bytes != o->codec_bytes) return Q3T_E_SHAPE;
    }
    /* the cast removes const: q3t_codec_open only reads packed weights if it gets no tensors */
    Q3T_TRY(q3t_codec_open(&m->config, o->codec ? NULL : &m->weights, (void *)o->codec, &m->kernels, m->pool, &m->codec));
    return q3t_codec_work_open(m->codec, Q3T_CODEC_BATCH_FRAMES, &m->codec_work);
}

q3t_status q3t_model_open(const q3t_config *config, const q3t_tensor *tensors, size_t count, const q3t_model_options *options,
                          q3t_model **model) {
    if (!config || !tensors || !options || !model || (!options->pool && options->threads < 1)) return Q3T_E_ARGUMENT;
    Q3T_TRY(q3t_config_check(config));
    q3t_model *m = calloc(1, sizeof *m);
    if (!m) return Q3T_E_MEMORY;
    m->config = *config;
    atomic_store(&m->references, 1);
    q3t_kernels_init(&m->kernels, q3t_cpu_flags() & options->cpu_mask);
    q3t_status status = open_parts(m, tensors, count, options);
    if (status != Q3T_OK) {
        q3t_model_close(m);
        return status;
    }
    *model = m;
    return Q3T_OK;
}

void q3t_model_retain(q3t_model *m) { atomic_fetch_add(&m->references, 1); }

void q3t_model_close(q3t_model *m) {
    if (m) q3t_model_release(m);
}

void q3t_model_release(q3t_model *m) {
    if (atomic_fetch_sub(&m->references, 1) > 1) return;
    q3t_talker_close(&m->talker);
    q3t_codec_work_close(m->codec_work);
    q3t_codec_close(m->codec);
    q3t_pool_close(m->pool);
    q3t_arena_free(&m->arena);
    q3t_weights_close(&m->weights);
    free(m);
}

size_t q3t_model_position_bytes(const q3t_model *m) { return m ? q3t_transformer_position_bytes(&m->talker.t) : 0; }

int64_t q3t_model_projections(const q3t_model *m) { return m ? m->talker.projections : 0; }
