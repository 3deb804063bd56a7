/* speech/forward.c - the talker's part of a step. A forward pass takes the next position of every session that generates, then
 * prompt rows of the sessions whose prompt is not complete, in the order of the list, as far as the budget and Q3T_COLUMNS allow.
 * So the weights are read once for all of them. Further passes follow while prompt rows are left that the budget allows.
 *
 * The text parts that the columns of a pass need are projected together before it. If a pass projects any, the sessions also get
 * the text parts of their next inputs, so that few steps project. */
#define _POSIX_C_SOURCE 200809L
#include "speech/forward.h"
#include "base/clock.h"
#include "base/small.h"

enum { TEXT_IDS = 2 * Q3T_COLUMNS }; /* text ids that are projected together */

typedef struct pass {
    q3t_model *m;
    q3t_session *const *sessions;
    int32_t n;
    q3t_talker_column columns[Q3T_COLUMNS];
    q3t_session *generating[Q3T_COLUMNS];  /* sessions of the first columns; the other columns are prompt rows */
    int32_t cols, inputs;                  /* number of all columns, and of the first ones */
    int32_t ids[TEXT_IDS], count;          /* text ids to be projected */
    float *text[TEXT_IDS];                 /* where their rows go */
    int32_t projects;                      /* 1 if the pass projects text ids */
} pass;

static void project(pass *p) {
    q3t_talker_text(&p->m->talker, &p->m->workspace, p->ids, p->count, p->text);
    p->count = 0;
}

/* Have text id `id` projected to out (hidden,). */
static void want_text(pass *p, int32_t id, float *out) {
    if (p->count == TEXT_IDS) project(p);
    p->ids[p->count] = id;
    p->text[p->count++] = out;
    p->projects = 1;
}

static float *trailing_row(const q3t_session *s, int32_t i) {
    return s->trailing_rows + (size_t)(i % Q3T_TRAILING_ROWS) * (size_t)s->model->config.talker.hidden;
}

static void want_trailing(pass *p, q3t_session *s) {
    want_text(p, s->trailing_ids[s->projected], trailing_row(s, s->projected));
    s->projected++;
}

/* Add the column of a session that generates. */
static void add_input(pass *p, q3t_session *s) {
    int32_t next = s->frames - 1;
    if (next < s->trailing && s->projected == next) want_trailing(p, s);
    p->columns[p->cols] = (q3t_talker_column){
        .at = {&s->cache, s->positions},
        .input = s->input,
        .text = next < s->trailing ? trailing_row(s, next) : s->pad,
        .hidden = s->hidden,
        .logits = s->logits,
    };
    p->generating[p->cols++] = s;
    s->stage = Q3T_STAGE_FRAME;
}

/* 1 if the pass computes the same prefix for another session, so that s can take it from the prefix cache in the next pass. */
static int prefix_comes(const pass *p, const q3t_session *s) {
    for (int32_t i = 0; i < p->n; i++) {
        const q3t_session *other = p->sessions[i];
        if (other->taken && other->positions < other->prompt.prefix_rows &&
            q3t_talker_same_prefix(&p->m->talker, &other->prompt, &s->prompt))
            return 1;
    }
    return 0;
}

/* Add columns for the next prompt rows of s, at most `rows`, and no more than its KV cache has room for: what other sessions leave
 * of the budget is known only while the passes run. */
static void add_prompt(pass *p, q3t_session *s, int32_t *rows) {
    size_t hidden = (size_t)p->m->config.talker.hidden;
    if (s->positions == 0) {
        if (prefix_comes(p, s)) return;
        s->cached_rows = s->positions = q3t_talker_load_prefix(&p->m->talker, &s->prompt, &s->cache);
    }
    s->taken = q3t_min(q3t_min(s->prompt.rows - s->positions, Q3T_COLUMNS - p->cols), q3t_min(*rows, q3t_session_room(s)));
    if (s->taken == 0) return;
    *rows -= s->taken;
    if (s->embedded == 0) want_text(p, p->m->config.tts_pad, s->pad);
    for (int32_t i = s->embedded; i < s->positions + s->taken; i++)
        if (s->prompt.text_ids[i] >= 0) want_text(p, s->prompt.text_ids[i], s->prompt_rows + (size_t)i * hidden);
    for (int32_t i = s->positions; i < s->positions + s->taken; i++) {
        int last = i == s->prompt.rows - 1;
        p->columns[p->cols++] = (q3t_talker_column){
            .at = {&s->cache, i},
            .input = s->prompt_rows + (size_t)i * hidden,
            .hidden = last ? s->hidden : NULL,
            .logits = last ? s->logits : NULL,
        };
    }
}

/* Have the text parts of later inputs of the sessions projected, as many as the budget allows. */
static void look_ahead(pass *p, int32_t *rows) {
    int64_t left = (int64_t)*rows * Q3T_TEXT_IDS_OF_ROW, before = left;
    for (int32_t i = 0; i < p->n; i++) {
        q3t_session *s = p->sessions[i];
        int32_t ahead = s->projected - q3t_max(s->frames - 1, 0);
        if (s->stage == Q3T_STAGE_NONE || s->positions + s->taken < s->prompt.rows) continue;
        if (2 * ahead >= Q3T_TRAILING_ROWS) continue;
        for (int32_t room = Q3T_TRAILING_ROWS - ahead; room > 0 && s->projected < s->trailing && left > 0; room--, left--)
            want_trailing(p, s);
    }
    *rows -= (int32_t)((before - left + Q3T_TEXT_IDS_OF_ROW - 1) / Q3T_TEXT_IDS_OF_ROW);
}

/* Make the talker's inputs of the prompt rows of the pass: all parts but the text were there before. */
static void embed(pass *p) {
    size_t hidden = (size_t)p->m->config.talker.hidden;
    for (int32_t i = 0; i < p->n; i++) {
        q3t_session *s = p->sessions[i];
        if (!s->taken) continue;
        for (; s->embedded < s->positions + s->taken; s->embedded++)
            q3t_talker_embed(&p->m->talker, &p->m->kernels, &s->prompt, s->embedded, s->prompt_rows + (size_t)s->embedded * hidden);
    }
}

/* Update the sessions after the pass. seconds: for each column. */
static void finish(pass *p, double seconds) {
    for (int32_t i = 0; i < p->inputs; i++) {
        p->generating[i]->positions++;
        p->generating[i]->talker_seconds += seconds;
    }
    for (int32_t i = 0; i < p->n; i++) {
        q3t_session *s = p->sessions[i];
        if (!s->taken) continue;
        int32_t before = s->positions;
        s->positions += s->taken;
        s->prefill_seconds += seconds * s->taken;
        s->taken = 0;
        if (before < s->prompt.prefix_rows && s->positions >= s->prompt.prefix_rows)
            q3t_talker_keep_prefix(&p->m->talker, &s->prompt, &s->cache);
        if (s->positions == s->prompt.rows) s->stage = Q3T_STAGE_FRAME;
    }
}

/* Run one forward pass. Returns 0 if there is no column for it, else 1. */
static int run_pass(pass *p, int32_t *rows) {
    double start = q3t_now();
    p->cols = p->projects = 0;
    for (int32_t i = 0; i < p->n; i++)
        if (p->sessions[i]->stage == Q3T_STAGE_INPUT) add_input(p, p->sessions[i]);
    p->inputs = p->cols;
    for (int32_t i = 0; i < p->n && p->cols < Q3T_COLUMNS && *rows > 0; i++)
        if (p->sessions[i]->stage == Q3T_STAGE_PROMPT) add_prompt(p, p->sessions[i], rows);
    if (p->cols == 0) return 0;
    if (p->projects) look_ahead(p, rows);
    project(p);
    embed(p);
    q3t_talker_forward(&p->m->talker, &p->m->workspace, p->columns, p->cols);
    finish(p, (q3t_now() - start) / p->cols);
    return 1;
}

/* Returns the part of the budget that is left for the references of cloned voices: a session's prompt and its reference come
 * before those of later sessions. */
static int32_t reserved(q3t_session *const *sessions, int32_t n, int32_t rows) {
    int32_t left = rows, sum = 0;
    for (int32_t i = 0; i < n; i++) {
        const q3t_session *s = sessions[i];
        if (s->stage == Q3T_STAGE_PROMPT) left -= q3t_min(left, s->prompt.rows - s->positions);
        int32_t part = q3t_min(left, q3t_session_decoder_reference_rows(&s->decoder));
        left -= part;
        sum += part;
    }
    return sum;
}

void q3t_step_forward(q3t_model *m, q3t_session *const *sessions, int32_t n, int32_t *rows) {
    pass p = {.m = m, .sessions = sessions, .n = n};
    int32_t kept = reserved(sessions, n, *rows), left = *rows - kept;
    while (run_pass(&p, &left)) {}
    *rows = left + kept;
}
