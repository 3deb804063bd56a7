/* speech/session.c - opens, reads and closes a session. */
#include "speech/session.h"
#include "base/small.h"
#include <math.h>
#include <stdlib.h>

enum { MIN_FRAMES = 2 };  /* smallest min_frames; a constant in the reference */

/* 1 if low <= id < high for all n ids. */
static int ids_ok(const int32_t *ids, int32_t n, int32_t low, int32_t high) {
    for (int32_t i = 0; i < n; i++)
        if (!q3t_in_range(ids[i], low, high - 1)) return 0;
    return 1;
}

static int sampling_ok(const q3t_sampling *s) {
    if (!(isfinite(s->repetition_penalty) && s->repetition_penalty > 0) || !q3t_in_range(s->greedy, 0, 1)) return 0;
    return s->greedy || (isfinite(s->temperature) && s->temperature > 0 && s->top_k >= 0 && s->top_p > 0 && s->top_p <= 1);
}

static int codec_ids_ok(const q3t_config *c, const q3t_session_params *p) {
    for (int32_t i = 0; i < p->rows; i++) {
        int32_t id = p->codec_ids[i];
        if (id >= c->vocab || (id == Q3T_ROW_SPEAKER && !p->speaker)) return 0;
        if (id <= Q3T_ROW_REFERENCE && Q3T_ROW_REFERENCE - (int64_t)id >= p->reference_frames) return 0;
    }
    return 1;
}

/* 1 if the codes (frames, code_groups) are rows of every embedding that they may index. */
static int frames_ok(const q3t_config *c, const int32_t *codes, int32_t frames) {
    return ids_ok(codes, frames * c->code_groups, 0, c->code_vocab < c->vocab ? c->code_vocab : c->vocab);
}

/* 1 if the parameters that say how much memory the session takes are in range. */
static int sizes_ok(const q3t_config *c, const q3t_session_params *p) {
    if (!q3t_in_range(p->rows, 1, c->max_positions) || !q3t_in_range(p->trailing, 0, c->max_positions)) return 0;
    if (!q3t_in_range(p->open_text, 0, 1) || !q3t_in_range(p->reference_frames, 0, c->max_positions)) return 0;
    if (!q3t_in_range(p->max_frames, 1, c->max_positions - p->rows) || !q3t_in_range(p->min_frames, 0, p->max_frames)) return 0;
    if (!q3t_in_range(p->chunk_frames, 0, Q3T_CODEC_MAX_CHUNK) || !q3t_in_range(p->pipeline, 0, 1)) return 0;
    return q3t_in_range(p->forced_frames, 0, p->max_frames);
}

static int params_ok(const q3t_config *c, const q3t_session_params *p) {
    if (!sizes_ok(c, p) || !p->text_ids || !p->codec_ids || !q3t_in_range(p->prefix_rows, 0, p->rows)) return 0;
    if ((p->trailing && !p->trailing_ids) || (p->reference_frames && !p->reference_codes)) return 0;
    if (p->forced_frames && !p->forced_codes) return 0;
    return sampling_ok(&p->talker) && sampling_ok(&p->predictor) && ids_ok(p->text_ids, p->rows, -1, c->text_vocab) &&
           ids_ok(p->trailing_ids, p->trailing, 0, c->text_vocab) && codec_ids_ok(c, p) &&
           frames_ok(c, p->reference_codes, p->reference_frames) && frames_ok(c, p->forced_codes, p->forced_frames);
}

static void carve(q3t_session *s, q3t_arena *a, const q3t_session_params *p) {
    const q3t_config *c = &s->model->config;
    size_t hidden = (size_t)c->talker.hidden * sizeof(float), vocab = (size_t)c->vocab * sizeof(float);
    s->prompt.text_ids = q3t_carve(a, (size_t)p->rows, sizeof(int32_t));
    s->prompt.codec_ids = q3t_carve(a, (size_t)p->rows, sizeof(int32_t));
    s->prompt.speaker = p->speaker ? q3t_carve(a, 1, hidden) : NULL;
    s->trailing_ids = q3t_carve(a, (size_t)(p->open_text ? c->max_positions : p->trailing), sizeof(int32_t));
    s->prompt_rows = q3t_carve(a, (size_t)p->rows, hidden);
    s->trailing_rows = q3t_carve(a, Q3T_TRAILING_ROWS, hidden);
    s->pad = q3t_carve(a, 1, hidden);
    s->hidden = q3t_carve(a, 1, hidden);
    s->input = q3t_carve(a, 1, hidden);
    s->logits = q3t_carve(a, 1, vocab);
    s->scores = q3t_carve(a, 5, vocab);
    s->order = q3t_carve(a, (size_t)c->vocab, sizeof(int32_t));
    s->predictor_logits = q3t_carve(a, (size_t)c->code_groups - 1, (size_t)c->code_vocab * sizeof(float));
    s->seen = q3t_carve(a, (size_t)c->vocab, 1);
    s->codes = q3t_carve(a, (size_t)p->reference_frames + (size_t)p->max_frames, (size_t)c->code_groups * sizeof(int32_t));
    s->forced = q3t_carve(a, (size_t)p->forced_frames, (size_t)c->code_groups * sizeof(int32_t));
    q3t_transformer_carve_table(&s->model->talker.t, &s->cache, a, p->rows + p->max_frames);
    q3t_transformer_carve_cache(&s->model->predictor.t, &s->predictor_cache, a, c->code_groups);
    q3t_session_decoder_carve(&s->decoder, a, p->chunk_frames, q3t_frame_samples(c));
}

/* Copy n ids to `to`, in the session's arena. The fields of q3t_prompt are pointers to const, but the memory is writable. */
static void copy(const int32_t *from, int32_t n, const int32_t *to) { memcpy((int32_t *)(uintptr_t)to, from, (size_t)n * sizeof(int32_t)); }

static q3t_status open_parts(q3t_session *s, const q3t_session_params *p) {
    const q3t_config *c = &s->model->config;
    carve(s, &s->arena, p);
    Q3T_TRY(q3t_arena_reserve(&s->arena));
    carve(s, &s->arena, p);
    s->prompt.rows = p->rows;
    s->prompt.prefix_rows = p->prefix_rows;
    copy(p->text_ids, p->rows, s->prompt.text_ids);
    copy(p->codec_ids, p->rows, s->prompt.codec_ids);
    if (p->trailing) copy(p->trailing_ids, p->trailing, s->trailing_ids);
    if (p->speaker) memcpy((float *)(uintptr_t)s->prompt.speaker, p->speaker, (size_t)c->talker.hidden * sizeof(float));
    if (p->reference_frames) copy(p->reference_codes, p->reference_frames * c->code_groups, s->codes);
    s->prompt.reference_codes = s->codes;
    if (p->forced_frames) copy(p->forced_codes, p->forced_frames * c->code_groups, s->forced);
    s->forced_frames = p->forced_frames;
    s->trailing = p->trailing;
    s->open = p->open_text;
    s->max_frames = p->max_frames;
    s->min_frames = q3t_max(p->min_frames, MIN_FRAMES);
    s->reference_frames = p->reference_frames;
    s->talker = p->talker;
    s->predictor = p->predictor;
    s->seed = p->seed;
    s->key = p->key;
    s->decoder.codec = s->model->codec;
    s->decoder.codes = s->codes;
    s->decoder.groups = c->code_groups;
    s->decoder.silent = p->reference_frames;
    s->decoder.pipeline = p->pipeline;
    return q3t_session_decoder_open(&s->decoder);
}

q3t_status q3t_session_open(q3t_model *model, const q3t_session_params *params, q3t_session **session) {
    if (!model || !params || !session || !params_ok(&model->config, params)) return Q3T_E_ARGUMENT;
    q3t_session *s = calloc(1, sizeof *s);
    if (!s) return Q3T_E_MEMORY;
    s->model = model;
    q3t_model_retain(model);
    q3t_status status = open_parts(s, params);
    if (status != Q3T_OK) {
        q3t_session_close(s);
        return status;
    }
    *session = s;
    return Q3T_OK;
}

void q3t_session_close(q3t_session *s) {
    if (!s) return;
    q3t_session_decoder_close(&s->decoder);
    q3t_kv_free(&s->cache);
    q3t_arena_free(&s->arena);
    q3t_model_release(s->model);
    free(s);
}

q3t_status q3t_session_append(q3t_session *s, const int32_t *ids, int32_t n, int32_t last) {
    if (!s || !s->open || !q3t_in_range(last, 0, 1) || (n > 0 && !ids)) return Q3T_E_ARGUMENT;
    const q3t_config *c = &s->model->config;
    if (!q3t_in_range(n, 0, c->max_positions - s->trailing) || !ids_ok(ids, n, 0, c->text_vocab)) return Q3T_E_ARGUMENT;
    if (n > 0) copy(ids, n, s->trailing_ids + s->trailing);
    s->trailing += n;
    s->open = !last;
    return Q3T_OK;
}

q3t_status q3t_session_reserve(q3t_session *s, int32_t positions) {
    if (!s || positions < 0) return Q3T_E_ARGUMENT;
    if (s->state != Q3T_RUNNING || s->status != Q3T_OK) return Q3T_OK;
    int32_t left = s->prompt.rows + s->max_frames - s->positions;
    return q3t_kv_grow(&s->cache, s->positions + q3t_min(positions, left));
}

q3t_status q3t_session_bytes(const q3t_model *m, const q3t_session_params *p, int32_t positions, size_t *bytes) {
    if (!m || !p || !bytes || positions < 0 || !sizes_ok(&m->config, p)) return Q3T_E_ARGUMENT;
    q3t_session s = {.model = (q3t_model *)(uintptr_t)m}; /* the measuring run of `carve` only reads the model */
    q3t_arena arena = {0};
    size_t blocks;
    carve(&s, &arena, p);
    if (arena.overflow) return Q3T_E_SIZE;
    Q3T_TRY(q3t_kv_grow_bytes(&s.cache, q3t_min(positions, p->rows + p->max_frames), &blocks));
    *bytes = sizeof s + q3t_zeros_bytes(arena.used) + blocks + q3t_session_decoder_bytes(m->codec, p->pipeline);
    return Q3T_OK;
}

q3t_status q3t_session_read(q3t_session *s, float *samples, int32_t capacity, int32_t wait, int32_t *count) {
    if (!s || !samples || capacity < 1 || !count) return Q3T_E_ARGUMENT;
    *count = q3t_session_decoder_read(&s->decoder, samples, capacity, wait != 0);
    return Q3T_OK;
}

q3t_status q3t_session_codes(const q3t_session *s, int32_t first, int32_t n, int32_t *codes) {
    if (!s || !codes || first < 0 || n < 0 || n > s->frames - first) return Q3T_E_ARGUMENT;
    memcpy(codes, q3t_session_frame(s, first), (size_t)n * (size_t)s->model->config.code_groups * sizeof(int32_t));
    return Q3T_OK;
}

q3t_status q3t_session_info_get(const q3t_session *s, q3t_session_info *info) {
    if (!s || !info) return Q3T_E_ARGUMENT;
    int32_t decoded = atomic_load(&s->decoder.decoded) - s->reference_frames;
    int32_t rows_left = s->prompt.rows - s->positions;
    *info = (q3t_session_info){
        .state = s->state,
        .frames = s->frames,
        .decoded = decoded > 0 ? decoded : 0,
        .positions = s->positions,
        .cached_rows = s->cached_rows,
        .rows_left = rows_left > 0 ? rows_left : 0,
        .reference_left = decoded < 0 ? -decoded : 0,
        .needs_text = q3t_session_needs_text(s),
        .prefill_seconds = s->prefill_seconds,
        .talker_seconds = s->talker_seconds,
        .predictor_seconds = s->predictor_seconds,
        .codec_seconds = s->decoder.seconds,
    };
    return Q3T_OK;
}

q3t_status q3t_session_peek(const q3t_session *s, q3t_peek what, float *out, size_t count) {
    if (!s || !out) return Q3T_E_ARGUMENT;
    const q3t_config *c = &s->model->config;
    size_t hidden = (size_t)c->talker.hidden, vocab = (size_t)c->vocab;
    const float *from = NULL;
    size_t n = 0;
    switch (what) {
    case Q3T_PEEK_PREFILL: from = s->prompt_rows, n = (size_t)s->prompt.rows * hidden; break;
    case Q3T_PEEK_LOGITS: from = s->logits, n = vocab; break;
    case Q3T_PEEK_SCORES: from = s->scores, n = vocab; break;
    case Q3T_PEEK_HIDDEN: from = s->hidden, n = hidden; break;
    case Q3T_PEEK_INPUT: from = s->input, n = hidden; break;
    case Q3T_PEEK_PREDICTOR_LOGITS: from = s->predictor_logits, n = ((size_t)c->code_groups - 1) * (size_t)c->code_vocab; break;
    }
    if (!from || count != n) return Q3T_E_ARGUMENT;
    memcpy(out, from, n * sizeof(float));
    return Q3T_OK;
}
