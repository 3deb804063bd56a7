/* speech/step.c - the step, which advances the sessions of a batch by one frame. The talker takes in prompt rows and runs on the
 * inputs made from the last frames (speech/forward.c). From its logits code 0 is chosen. The code predictor makes codes 1 .. 15, and
 * the 16 codes are the codec part of the talker's next input. Then the frames that are due are decoded.
 *
 * Source: modeling_qwen3_tts.py, Qwen3TTSTalkerForConditionalGeneration.forward, and GenerationMixin._sample. */
#define _POSIX_C_SOURCE 200809L
#include "base/clock.h"
#include "base/small.h"
#include "speech/forward.h"

enum { GROUP = Q3T_COLUMNS,           /* sessions whose talker runs together */
       TOGETHER = Q3T_COLUMNS / 2 };  /* sessions in a pass of the code predictor, which begins with two columns for each of them */
_Static_assert((int)TOGETHER <= (int)Q3T_DECODED_TOGETHER, "the decoders of a pass run together");

typedef struct step {
    q3t_model *m;
    int32_t budget, rows;             /* argument of q3t_step; what is left of it */
    int spread;                       /* argument of q3t_step */
    int32_t silent;                   /* frames of references taken in so far */
} step;

static int running(const q3t_session *s) { return s->state == Q3T_RUNNING && s->status == Q3T_OK; }

/* Returns how many prompt rows a step takes in for a session, if its budget has `rows` left. */
static int32_t prompt_rows(const q3t_session *s, int32_t rows) {
    return running(s) ? q3t_max(q3t_min(s->prompt.rows - s->positions, rows), 0) : 0;
}

/* 1 if the KV cache has room for what a step with a budget of `rows` does for the session. */
static int has_room(const q3t_session *s, int32_t rows) {
    if (!running(s) || q3t_session_needs_text(s)) return 1;
    return q3t_session_room(s) >= (s->positions < s->prompt.rows ? prompt_rows(s, rows) : 1);
}

/* Set what the step does for a session. */
static void begin(q3t_session *s) {
    int waits = q3t_session_needs_text(s);
    if (s->waited && !waits) q3t_session_decoder_resume(&s->decoder);
    s->waited = waits;
    s->stage = !running(s) || waits ? Q3T_STAGE_NONE : s->positions < s->prompt.rows ? Q3T_STAGE_PROMPT : Q3T_STAGE_INPUT;
}

/* Choose code 0 of the next frame from the logits, or stop the session. */
static void choose(const q3t_model *m, q3t_session *s) {
    const q3t_config *c = &m->config;
    size_t vocab = (size_t)c->vocab;
    if (!m->kernels.finite(s->logits, c->vocab)) {
        s->status = Q3T_E_TALKER_NONFINITE;
        return;
    }
    memcpy(s->scores, s->logits, vocab * sizeof(float));
    q3t_talker_scores(s->scores, c->vocab, s->talker.repetition_penalty, s->seen, c->codec_eos, s->frames < s->min_frames);
    const int32_t *forced = q3t_session_forced(s, s->frames);
    if (forced) {
        q3t_session_frame(s, s->frames)[0] = forced[0];
        return;
    }
    float *work = s->scores + vocab; /* q3t_choose overwrites its input, and q3t_session_peek returns s->scores */
    memcpy(work, s->scores, vocab * sizeof(float));
    double u = s->talker.greedy ? 0 : q3t_draw(s->seed, s->key, (uint32_t)s->frames, 0);
    int32_t code = q3t_choose(&m->kernels, &s->talker, work, c->vocab, u, work + vocab, s->order);
    if (code == c->codec_eos) s->state = Q3T_STOP_EOS;
    else if (s->frames == s->max_frames) s->state = Q3T_STOP_MAX_FRAMES;
    else q3t_session_frame(s, s->frames)[0] = code;
}

/* Make codes 1 .. 15 and the codec part of the next input of n <= TOGETHER sessions, if they make a frame. */
static void predict(q3t_model *m, q3t_session *const *sessions, int32_t n) {
    q3t_prediction frames[TOGETHER];
    q3t_session *predicted[TOGETHER];
    int32_t count = 0;
    double start = q3t_now();
    for (int32_t i = 0; i < n; i++) {
        q3t_session *s = sessions[i];
        if (!running(s) || s->stage != Q3T_STAGE_FRAME) continue;
        frames[count] = (q3t_prediction){
            .cache = &s->predictor_cache,
            .hidden = s->hidden,
            .sampling = &s->predictor,
            .seed = s->seed,
            .key = s->key,
            .frame = (uint32_t)s->frames,
            .codes = q3t_session_frame(s, s->frames),
            .forced = q3t_session_forced(s, s->frames),
            .logits = s->predictor_logits,
        };
        predicted[count++] = s;
    }
    if (!count) return;
    q3t_predictor_frames(&m->predictor, &m->workspace, frames, count);
    double seconds = (q3t_now() - start) / count;
    for (int32_t i = 0; i < count; i++) {
        q3t_session *s = predicted[i];
        s->predictor_seconds += seconds;
        s->status = frames[i].status;
        if (s->status != Q3T_OK) continue;
        s->seen[frames[i].codes[0]] = 1;
        q3t_talker_codes(&m->talker, &m->kernels, frames[i].codes, s->input);
        s->frames++;
    }
}

/* Returns how many frames of n sessions are decoded besides those that playback needs at once; see q3t_session_decoders_run. In a step
 * that took in prompt rows there are none: later steps decode more. */
static int32_t most_decoded(const step *t, int32_t n) {
    if (!t->spread) return INT32_MAX;
    return t->rows < t->budget || t->silent > 0 ? 0 : q3t_max(n, Q3T_STEADY_CHUNK);
}

/* Decode what is due in n <= TOGETHER sessions. */
static void decode(step *t, q3t_session *const *sessions, int32_t n) {
    q3t_session_decoder *decoders[TOGETHER];
    for (int32_t i = 0; i < n; i++) {
        q3t_session *s = sessions[i];
        decoders[i] = &s->decoder;
        q3t_session_decoder_push(&s->decoder, s->reference_frames + s->frames, s->state != Q3T_RUNNING || s->waited);
    }
    /* without budget a step takes in one part of a reference, so that every reference ends */
    int32_t extra = t->rows == 0 && t->silent == 0, rows = t->rows + extra;
    t->silent += q3t_session_decoders_run(decoders, n, t->m->codec_work, t->m->pool, &rows, most_decoded(t, n));
    t->rows = q3t_max(rows - extra, 0);
}

/* Advance n <= GROUP sessions. *status[i]: out, the q3t_status of session i. */
static void step_group(step *t, q3t_session *const *sessions, int32_t n, int32_t *const *status) {
    for (int32_t i = 0; i < n; i++) begin(sessions[i]);
    q3t_step_forward(t->m, sessions, n, &t->rows);
    for (int32_t i = 0; i < n; i++)
        if (sessions[i]->stage == Q3T_STAGE_FRAME) choose(t->m, sessions[i]);
    for (int32_t i = 0; i < n; i += TOGETHER) predict(t->m, sessions + i, q3t_min(n - i, TOGETHER));
    for (int32_t i = 0; i < n; i += TOGETHER) decode(t, sessions + i, q3t_min(n - i, TOGETHER));
    for (int32_t i = 0; i < n; i++) {
        q3t_session *s = sessions[i];
        if (s->status == Q3T_OK) s->status = (q3t_status)atomic_load(&s->decoder.status);
        *status[i] = (int32_t)s->status;
    }
}

/* 1 if session i belongs to the model and is not among the sessions before it. */
static int steppable(const q3t_model *m, q3t_session *const *sessions, int32_t i) {
    if (!sessions[i] || sessions[i]->model != m) return 0;
    for (int32_t j = 0; j < i; j++)
        if (sessions[j] == sessions[i]) return 0;
    return 1;
}

q3t_status q3t_step(q3t_model *model, q3t_session *const *sessions, int32_t n, int32_t rows, int32_t spread, int32_t *status) {
    if (!model || !sessions || !status || n < 1 || rows < 1 || !q3t_in_range(spread, 0, 1)) return Q3T_E_ARGUMENT;
    Q3T_TRY(q3t_pool_ready(model->pool));
    step t = {model, rows, rows, spread, 0};
    q3t_session *group[GROUP];
    int32_t *group_status[GROUP], count = 0, left = rows; /* left: of the budget, after the prompt rows of the group */
    for (int32_t i = 0; i < n; i++) {
        if (!steppable(model, sessions, i)) {
            status[i] = Q3T_E_ARGUMENT;
        } else if (!has_room(sessions[i], left)) {
            status[i] = Q3T_E_CACHE_ROOM;
        } else {
            left -= prompt_rows(sessions[i], left);
            group[count] = sessions[i];
            group_status[count++] = &status[i];
        }
        if (count == GROUP || (count && i == n - 1)) {
            step_group(&t, group, count, group_status);
            count = 0;
            left = t.rows;
        }
    }
    return Q3T_OK;
}
