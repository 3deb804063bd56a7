/* lm/layers.c - runs the layers of a Qwen3 transformer on `cols` columns. A layer is five parallel runs:
 *
 *   h = rmsnorm(x); q, k, v = Wq h, Wk h, Wv h                                    split by rows of the matrices
 *   q, k = rope(norm(q)), rope(norm(k)); store k and v in the KV cache; attend    split by columns and KV heads
 *   x += Wo attention                                                             split by rows of the matrix
 *   h = rmsnorm(x); g = silu(Wgate h) * (Wup h)                                   split by rows of the matrices
 *   x += Wdown g                                                                  split by rows of the matrix
 *
 * Before a matrix is multiplied, one more parallel run prepares its input columns for its kernel, split by columns.
 * Source: modeling_qwen3_tts.py, Qwen3TTSTalkerDecoderLayer and Qwen3TTSTalkerCodePredictorModel. */
#include "lm/layers.h"
#include "base/small.h"
#include <math.h>

enum { ROW_GRAIN = 32 };   /* rows of a matrix handed to a thread at a time */

static int32_t q_width(const q3t_transformer_config *c) { return c->heads * c->head_dim; }
static int32_t kv_width(const q3t_transformer_config *c) { return c->kv_heads * c->head_dim; }

void q3t_workspace_carve(q3t_workspace *w, q3t_arena *a, const q3t_transformer_config *one, const q3t_transformer_config *two,
                         int32_t max_k, int32_t max_context, int32_t threads) {
    int32_t hidden = q3t_max(one->hidden, two->hidden), inter = q3t_max(one->intermediate, two->intermediate);
    int32_t q = q3t_max(q_width(one), q_width(two)), kv = q3t_max(kv_width(one), kv_width(two));
    int32_t k = q3t_max(q3t_max(hidden, inter), q3t_max(q, max_k)), half = q3t_max(one->head_dim, two->head_dim) / 2;
    int32_t group = q3t_max(one->heads / one->kv_heads, two->heads / two->kv_heads);
    w->act = q3t_carve(a, Q3T_COLUMNS, q3t_act_bytes(k));
    w->h = q3t_carve(a, Q3T_COLUMNS, (size_t)k * sizeof(float));
    w->qkv = q3t_carve(a, Q3T_COLUMNS, ((size_t)q + 2 * (size_t)kv) * sizeof(float));
    w->attention = q3t_carve(a, Q3T_COLUMNS, (size_t)q * sizeof(float));
    w->gate = q3t_carve(a, Q3T_COLUMNS, (size_t)inter * sizeof(float));
    w->up = q3t_carve(a, Q3T_COLUMNS, (size_t)inter * sizeof(float));
    w->delta = q3t_carve(a, Q3T_COLUMNS, (size_t)hidden * sizeof(float));
    w->cos = q3t_carve(a, Q3T_COLUMNS, (size_t)half * sizeof(float));
    w->sin = q3t_carve(a, Q3T_COLUMNS, (size_t)half * sizeof(float));
    w->score_floats = q3t_kv_score_floats(group, max_context);
    w->scores = q3t_carve(a, (size_t)threads, w->score_floats * sizeof(float));
}

static int32_t cache_heads(const q3t_transformer *t) { return t->c.layers * t->c.kv_heads; }

size_t q3t_transformer_position_bytes(const q3t_transformer *t) {
    return q3t_kv_position_bytes(t->kv_format, cache_heads(t), t->c.head_dim);
}

void q3t_transformer_carve_cache(const q3t_transformer *t, q3t_kv_cache *cache, q3t_arena *a, int32_t positions) {
    q3t_kv_carve(cache, a, t->kv_format, cache_heads(t), t->c.head_dim, positions);
}

void q3t_transformer_carve_table(const q3t_transformer *t, q3t_kv_cache *cache, q3t_arena *a, int32_t positions) {
    q3t_kv_carve_table(cache, a, t->kv_format, cache_heads(t), t->c.head_dim, positions);
}

void q3t_add_row(const q3t_kernels *k, const q3t_tensor *table, int32_t row, float *y) {
    int32_t n = (int32_t)table->shape[1];
    size_t at = (size_t)row * (size_t)n;
    if (table->dtype == Q3T_BF16) k->add_bf16(y, (const uint16_t *)table->data + at, n);
    else k->add(y, (const float *)table->data + at, n);
}

/* ------------------------------------------------------------ phases
 * The arguments of all tasks; each task reads some of them. */
typedef struct phase {
    const q3t_transformer *t;
    q3t_workspace *w;
    const q3t_block *b;
    const q3t_column *columns;
    const q3t_matrix *m;
    const float *bias, *norm, *in;
    float *x, *y;
    size_t ldin, ldy;
    int32_t cols, k, layer;
} phase;

static void kernel_prepare(const q3t_workspace *w, int32_t format, void *act, const float *x, int32_t k) {
    switch ((q3t_format)format) {
    case Q3T_FORMAT_BF16:
    case Q3T_FORMAT_CODED: w->kernels->prepare_bf16(act, x, k); break;
    case Q3T_FORMAT_INT8: w->kernels->prepare_int8(act, x, k); break;
    case Q3T_FORMAT_INT4: w->kernels->prepare_int4(act, x, k); break;
    default: w->kernels->prepare_f32(act, x, k);
    }
}

static void kernel_linear(const q3t_workspace *w, const q3t_matrix *m, int32_t begin, int32_t end, int32_t cols, float *y, size_t ldy) {
    if (begin >= end) return;
    switch ((q3t_format)m->format) {
    case Q3T_FORMAT_BF16: w->kernels->linear_bf16(m, begin, end, w->act, cols, y, ldy); break;
    case Q3T_FORMAT_INT8: w->kernels->linear_int8(m, begin, end, w->act, cols, y, ldy); break;
    case Q3T_FORMAT_INT4: w->kernels->linear_int4(m, begin, end, w->act, cols, y, ldy); break;
    case Q3T_FORMAT_CODED: w->kernels->linear_coded(m, begin, end, w->act, cols, y, ldy); break;
    default: w->kernels->linear_f32(m, begin, end, w->act, cols, y, ldy);
    }
}

/* Item: a column c. Its input in[c], after an RMS norm unless `norm` is NULL, is prepared into act[c]. */
static void prepare_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    const phase *p = arg;
    (void)worker;
    size_t bytes = q3t_act_bytes(p->k);
    for (int32_t c = begin; c < end; c++) {
        const float *x = p->in + (size_t)c * p->ldin;
        if (p->norm) {
            float *h = p->w->h + (size_t)c * (size_t)p->k;
            p->w->kernels->rmsnorm(h, x, p->norm, p->k, p->t->c.rms_eps);
            x = h;
        }
        kernel_prepare(p->w, p->m->format, p->w->act + (size_t)c * bytes, x, p->k);
    }
}

/* Prepare the input columns of matrix m. norm: weight of an RMS norm that comes first, or NULL. k and v read the columns prepared
 * for q, and up those for gate: q3t_model_open checks that they take the same format. */
static void prepare(phase *p, const q3t_matrix *m, const float *norm, const float *in, size_t ldin) {
    p->m = m;
    p->k = m->k;
    p->norm = norm;
    p->in = in;
    p->ldin = ldin;
    q3t_pool_run(p->w->pool, p->cols, 4, prepare_task, p);
}

/* Item: a row of the matrices q, k and v, counted as if they were one matrix. */
static void qkv_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    const phase *p = arg;
    (void)worker;
    int32_t width = q_width(&p->t->c) + 2 * kv_width(&p->t->c), from = 0;
    const q3t_matrix *const all[3] = {&p->b->q, &p->b->k, &p->b->v};
    for (int i = 0; i < 3; i++) {
        int32_t rows = all[i]->rows, b = q3t_max(begin - from, 0), e = end - from < rows ? end - from : rows;
        kernel_linear(p->w, all[i], b, e, p->cols, p->w->qkv + from, (size_t)width);
        from += rows;
    }
}

/* For one column and KV head: norm and rotate the key and the queries that use it; store the key and the value. */
static void store(const phase *p, int32_t col, int32_t head) {
    const q3t_transformer_config *c = &p->t->c;
    const q3t_kernels *k = p->w->kernels;
    int32_t d = c->head_dim, group = c->heads / c->kv_heads, half = d / 2;
    const float *cs = p->w->cos + (size_t)col * (size_t)half, *sn = p->w->sin + (size_t)col * (size_t)half;
    float *q = p->w->qkv + (size_t)col * (size_t)(q_width(c) + 2 * kv_width(c)), *key = q + q_width(c) + head * d;
    for (int32_t i = 0; i < group; i++) k->head_rope(q + (head * group + i) * d, p->b->q_norm, cs, sn, d, c->rms_eps);
    k->head_rope(key, p->b->k_norm, cs, sn, d, c->rms_eps);
    q3t_kv_store(p->columns[col].cache, p->layer * c->kv_heads + head, p->columns[col].position, key, key + kv_width(c));
}

static void attend(const phase *p, int32_t col, int32_t head, int32_t worker) {
    const q3t_transformer_config *c = &p->t->c;
    int32_t group = c->heads / c->kv_heads, at = head * group * c->head_dim;
    const float *q = p->w->qkv + (size_t)col * (size_t)(q_width(c) + 2 * kv_width(c)) + at;
    float *out = p->w->attention + (size_t)col * (size_t)q_width(c) + at, *scores = p->w->scores + (size_t)worker * p->w->score_floats;
    q3t_kv_attend(p->w->kernels, p->columns[col].cache, p->layer * c->kv_heads + head, out, q, group, 0, p->columns[col].position + 1,
                  scores);
}

static void store_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    const phase *p = arg;
    (void)worker;
    for (int32_t i = begin; i < end; i++) store(p, i % p->cols, i / p->cols);
}

static void attend_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    const phase *p = arg;
    for (int32_t i = begin; i < end; i++) attend(p, i % p->cols, i / p->cols, worker);
}

static void store_attend_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    store_task(arg, begin, end, worker);
    attend_task(arg, begin, end, worker);
}

/* Item: a row of matrix m. x += m * (prepared column), for each column. */
static void residual_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    const phase *p = arg;
    (void)worker;
    size_t hidden = (size_t)p->t->c.hidden;
    kernel_linear(p->w, p->m, begin, end, p->cols, p->w->delta, hidden);
    for (int32_t c = 0; c < p->cols; c++)
        p->w->kernels->add(p->x + (size_t)c * hidden + begin, p->w->delta + (size_t)c * hidden + begin, end - begin);
}

/* Item: a row of the matrices gate and up. gate = silu(Wgate h) * (Wup h), for each column. */
static void gate_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    const phase *p = arg;
    (void)worker;
    size_t inter = (size_t)p->t->c.intermediate;
    kernel_linear(p->w, &p->b->gate, begin, end, p->cols, p->w->gate, inter);
    kernel_linear(p->w, &p->b->up, begin, end, p->cols, p->w->up, inter);
    for (int32_t c = 0; c < p->cols; c++) {
        float *g = p->w->gate + (size_t)c * inter + begin;
        p->w->kernels->silu_mul(g, g, p->w->up + (size_t)c * inter + begin, end - begin);
    }
}

static void layer(phase *p, int shared) {
    const q3t_transformer_config *c = &p->t->c;
    const q3t_block *b = p->b;
    q3t_pool *pool = p->w->pool;
    int32_t heads = p->cols * c->kv_heads;
    prepare(p, &b->q, b->input_norm, p->x, (size_t)c->hidden);
    q3t_pool_run(pool, q_width(c) + 2 * kv_width(c), ROW_GRAIN, qkv_task, p);
    if (shared) {
        q3t_pool_run(pool, heads, p->cols, store_task, p);
        q3t_pool_run(pool, heads, 1, attend_task, p);
    } else {
        q3t_pool_run(pool, heads, 1, store_attend_task, p);
    }
    prepare(p, &b->o, NULL, p->w->attention, (size_t)q_width(c));
    q3t_pool_run(pool, c->hidden, ROW_GRAIN, residual_task, p);
    prepare(p, &b->gate, b->post_norm, p->x, (size_t)c->hidden);
    q3t_pool_run(pool, c->intermediate, ROW_GRAIN, gate_task, p);
    prepare(p, &b->down, NULL, p->w->gate, (size_t)c->intermediate);
    q3t_pool_run(pool, c->hidden, ROW_GRAIN, residual_task, p);
}

void q3t_transformer_forward(const q3t_transformer *t, q3t_workspace *w, const q3t_column *columns, int32_t cols, float *x, int shared) {
    int32_t half = t->c.head_dim / 2;
    for (int32_t c = 0; c < cols; c++)
        for (int32_t i = 0; i < half; i++) {
            float angle = (float)columns[c].position * t->inv_freq[i];
            w->cos[c * half + i] = cosf(angle);
            w->sin[c * half + i] = sinf(angle);
        }
    phase p = {.t = t, .w = w, .columns = columns, .cols = cols, .x = x};
    for (int32_t i = 0; i < t->c.layers; i++) {
        p.b = &t->blocks[i];
        p.layer = i;
        layer(&p, shared);
    }
}

static void linear_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    const phase *p = arg;
    (void)worker;
    kernel_linear(p->w, p->m, begin, end, p->cols, p->y, p->ldy);
    for (int32_t c = 0; p->bias && c < p->cols; c++)
        p->w->kernels->add(p->y + (size_t)c * p->ldy + begin, p->bias + begin, end - begin);
}

void q3t_linear(q3t_workspace *w, const q3t_matrix *m, const float *bias, const float *x, size_t ldx, int32_t cols, float *y, size_t ldy) {
    phase p = {.w = w, .cols = cols, .bias = bias, .y = y, .ldy = ldy};
    prepare(&p, m, NULL, x, ldx);
    q3t_pool_run(w->pool, m->rows, ROW_GRAIN, linear_task, &p);
}
