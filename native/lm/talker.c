/* lm/talker.c - runs the talker: makes its input rows, runs its layers and computes the logits of code 0.
 *
 * An input row is the sum of a text part and a codec part. The text part is fc2(silu(fc1(text_embedding[text id]))). The codec part
 * is the embedding of a codec id, the speaker vector, or the sum of the embeddings of the 16 codes of a frame. The layers, the
 * final norm and codec_head follow.
 * Source: modeling_qwen3_tts.py, Qwen3TTSForConditionalGeneration.generate and Qwen3TTSTalkerForConditionalGeneration. */
#include "lm/talker.h"

void q3t_talker_carve(q3t_talker *t, q3t_arena *a) {
    size_t hidden = (size_t)t->t.c.hidden * sizeof(float), text = (size_t)t->fc1.k * sizeof(float);
    t->text_in = q3t_carve(a, Q3T_COLUMNS, text);
    t->text_mid = q3t_carve(a, Q3T_COLUMNS, text);
    t->text_rows = q3t_carve(a, Q3T_TEXT_ROWS, hidden);
    t->text_keys = q3t_carve(a, Q3T_TEXT_ROWS, sizeof(int32_t));
    t->x = q3t_carve(a, Q3T_COLUMNS, hidden);
    t->logits = q3t_carve(a, Q3T_COLUMNS, (size_t)t->head.rows * sizeof(float));
}

void q3t_talker_close(q3t_talker *t) {
    for (int i = 0; i < Q3T_PREFIXES; i++) q3t_arena_free(&t->prefixes[i].arena);
}

/* Compute the projected text embeddings, out (n, hidden), of n <= Q3T_COLUMNS text ids. */
static void project(q3t_talker *t, q3t_workspace *w, const int32_t *ids, int32_t n, float *out) {
    const q3t_kernels *k = w->kernels;
    size_t text = (size_t)t->fc1.k, hidden = (size_t)t->t.c.hidden;
    memset(t->text_in, 0, (size_t)n * text * sizeof(float));
    for (int32_t i = 0; i < n; i++) q3t_add_row(k, t->text_embedding, ids[i], t->text_in + (size_t)i * text);
    q3t_linear(w, &t->fc1, t->fc1_bias, t->text_in, text, n, t->text_mid, text);
    k->silu(t->text_mid, n * (int32_t)text);
    q3t_linear(w, &t->fc2, t->fc2_bias, t->text_mid, text, n, out, hidden);
}

void q3t_talker_text(q3t_talker *t, q3t_workspace *w, const int32_t *ids, int32_t n, float *const *out) {
    size_t hidden = (size_t)t->t.c.hidden, bytes = hidden * sizeof(float);
    int32_t missing[Q3T_COLUMNS], count = 0, from = 0;
    for (int32_t i = 0; i <= n; i++) {
        if (count > 0 && (i == n || count == Q3T_COLUMNS)) {
            /* copied to `out` first and to the cache later, because two ids of this round may share a row of the cache */
            project(t, w, missing, count, t->x);
            for (int32_t j = from; j < i; j++)
                for (int32_t m = 0; m < count; m++)
                    if (missing[m] == ids[j]) memcpy(out[j], t->x + (size_t)m * hidden, bytes);
            for (int32_t m = 0; m < count; m++) {
                int32_t place = missing[m] % Q3T_TEXT_ROWS;
                t->text_keys[place] = missing[m] + 1;
                memcpy(t->text_rows + (size_t)place * hidden, t->x + (size_t)m * hidden, bytes);
            }
            t->projections += count;
            count = 0;
            from = i;
        }
        if (i == n) break;
        int32_t place = ids[i] % Q3T_TEXT_ROWS, known = 0;
        if (t->text_keys[place] == ids[i] + 1) {
            memcpy(out[i], t->text_rows + (size_t)place * hidden, bytes);
            continue;
        }
        for (int32_t m = 0; m < count; m++) known |= missing[m] == ids[i];
        if (!known) missing[count++] = ids[i];
    }
}

void q3t_talker_codes(const q3t_talker *t, const q3t_kernels *k, const int32_t *codes, float *y) {
    memset(y, 0, (size_t)t->t.c.hidden * sizeof(float));
    q3t_add_row(k, t->codec_embedding, codes[0], y);
    for (int32_t g = 1; g < t->code_groups; g++) q3t_add_row(k, &t->code_embeddings[g - 1], codes[g], y);
}

void q3t_talker_embed(q3t_talker *t, const q3t_kernels *k, const q3t_prompt *p, int32_t row, float *out) {
    int32_t hidden = t->t.c.hidden, id = p->codec_ids[row];
    if (p->text_ids[row] < 0) memset(out, 0, (size_t)hidden * sizeof(float));
    if (id >= 0) {
        q3t_add_row(k, t->codec_embedding, id, out);
    } else if (id == Q3T_ROW_SPEAKER) {
        k->add(out, p->speaker, hidden);
    } else if (id <= Q3T_ROW_REFERENCE) {
        q3t_talker_codes(t, k, p->reference_codes + (size_t)(Q3T_ROW_REFERENCE - id) * (size_t)t->code_groups, t->x);
        k->add(out, t->x, hidden);
    }
}

/* ------------------------------------------------------------ prefix cache */
static int same_prefix(const q3t_talker *t, const q3t_prefix *e, const q3t_prompt *p) {
    size_t ids = (size_t)e->rows * sizeof(int32_t);
    if (e->rows == 0 || e->rows >= p->rows || memcmp(e->text_ids, p->text_ids, ids) || memcmp(e->codec_ids, p->codec_ids, ids)) return 0;
    return !e->speaker || memcmp(e->speaker, p->speaker, (size_t)t->t.c.hidden * sizeof(float)) == 0;
}

/* Returns the longest cached prefix of a prompt, of at most `rows` rows; NULL: there is none. */
static q3t_prefix *find_prefix(q3t_talker *t, const q3t_prompt *p, int32_t rows) {
    q3t_prefix *best = NULL;
    for (int i = 0; i < Q3T_PREFIXES; i++) {
        q3t_prefix *e = &t->prefixes[i];
        if (e->rows <= rows && same_prefix(t, e, p) && (!best || e->rows > best->rows)) best = e;
    }
    return best;
}

static void carve_prefix(q3t_prefix *e, const q3t_transformer *t, int speaker) {
    e->text_ids = q3t_carve(&e->arena, (size_t)e->rows, sizeof(int32_t));
    e->codec_ids = q3t_carve(&e->arena, (size_t)e->rows, sizeof(int32_t));
    e->speaker = speaker ? q3t_carve(&e->arena, (size_t)t->c.hidden, sizeof(float)) : NULL;
    q3t_transformer_carve_cache(t, &e->cache, &e->arena, e->rows);
}

/* 1 if the prefix of a prompt can be cached. *speaker: out, 1 if one of its rows is the speaker vector. */
static int can_cache(const q3t_prompt *p, int *speaker) {
    *speaker = 0;
    if (p->prefix_rows < 1 || p->prefix_rows > Q3T_PREFIX_ROWS || p->prefix_rows >= p->rows) return 0;
    for (int32_t i = 0; i < p->prefix_rows; i++) {
        if (p->codec_ids[i] <= Q3T_ROW_REFERENCE) return 0; /* same_prefix does not compare reference codes */
        *speaker |= p->codec_ids[i] == Q3T_ROW_SPEAKER;
    }
    return 1;
}

int q3t_talker_same_prefix(const q3t_talker *t, const q3t_prompt *a, const q3t_prompt *b) {
    size_t ids = (size_t)a->prefix_rows * sizeof(int32_t);
    int speaker, other;
    if (a->prefix_rows != b->prefix_rows || !can_cache(a, &speaker) || !can_cache(b, &other) || speaker != other) return 0;
    if (memcmp(a->text_ids, b->text_ids, ids) || memcmp(a->codec_ids, b->codec_ids, ids)) return 0;
    return !speaker || memcmp(a->speaker, b->speaker, (size_t)t->t.c.hidden * sizeof(float)) == 0;
}

int32_t q3t_talker_load_prefix(q3t_talker *t, const q3t_prompt *p, const q3t_kv_cache *cache) {
    q3t_prefix *e = find_prefix(t, p, cache->capacity);
    if (!e) return 0;
    e->used = ++t->clock;
    q3t_kv_copy(&e->cache, cache, e->rows);
    return e->rows;
}

void q3t_talker_keep_prefix(q3t_talker *t, const q3t_prompt *p, const q3t_kv_cache *cache) {
    int speaker;
    q3t_prefix *e = find_prefix(t, p, p->rows);
    if (!can_cache(p, &speaker) || (e && e->rows >= p->prefix_rows)) return;
    e = &t->prefixes[0];
    for (int i = 1; i < Q3T_PREFIXES; i++)
        if (t->prefixes[i].used < e->used) e = &t->prefixes[i];
    q3t_arena_free(&e->arena);
    *e = (q3t_prefix){.rows = p->prefix_rows, .used = ++t->clock};
    carve_prefix(e, &t->t, speaker);
    if (q3t_arena_reserve(&e->arena) != Q3T_OK) {
        *e = (q3t_prefix){0};
        return;
    }
    carve_prefix(e, &t->t, speaker);
    memcpy(e->text_ids, p->text_ids, (size_t)e->rows * sizeof(int32_t));
    memcpy(e->codec_ids, p->codec_ids, (size_t)e->rows * sizeof(int32_t));
    if (speaker) memcpy(e->speaker, p->speaker, (size_t)t->t.c.hidden * sizeof(float));
    q3t_kv_copy(cache, &e->cache, e->rows);
}

/* ------------------------------------------------------------ running */
void q3t_talker_forward(q3t_talker *t, q3t_workspace *w, const q3t_talker_column *columns, int32_t cols) {
    size_t width = (size_t)t->t.c.hidden, vocab = (size_t)t->head.rows;
    q3t_column at[Q3T_COLUMNS];
    const q3t_talker_column *wanted[Q3T_COLUMNS];
    int32_t count = 0;
    int shared = 0;
    if (cols < 1) return;
    for (int32_t i = 0; i < cols; i++) {
        const q3t_talker_column *c = &columns[i];
        float *x = t->x + (size_t)i * width;
        at[i] = c->at;
        shared |= i > 0 && at[i].cache == at[i - 1].cache;
        memcpy(x, c->input, width * sizeof(float));
        if (c->text) w->kernels->add(x, c->text, (int32_t)width);
    }
    q3t_transformer_forward(&t->t, w, at, cols, t->x, shared);
    for (int32_t i = 0; i < cols; i++) {
        if (!columns[i].logits) continue;
        float *x = t->x + (size_t)count * width;
        w->kernels->rmsnorm(x, t->x + (size_t)i * width, t->t.norm, (int32_t)width, t->t.c.rms_eps);
        memcpy(columns[i].hidden, x, width * sizeof(float));
        wanted[count++] = &columns[i];
    }
    if (!count) return;
    q3t_linear(w, &t->head, NULL, t->x, width, count, t->logits, vocab);
    for (int32_t i = 0; i < count; i++) memcpy(wanted[i]->logits, t->logits + (size_t)i * vocab, vocab * sizeof(float));
}
