/* speech/step.c - the step, which advances the sessions of a batch by one frame. In a session's first step the prompt is
 * prefilled; in a later step the talker runs on the input made from the last frame. From the talker's logits code 0 is chosen. The
 * code predictor makes codes 1 .. 15, and the 16 codes are the talker's next input. Then the frames that are due are decoded.
 *
 * Source: modeling_qwen3_tts.py, Qwen3TTSTalkerForConditionalGeneration.forward, and GenerationMixin._sample. */
#define _POSIX_C_SOURCE 200809L
#include "base/clock.h"
#include "speech/session.h"

enum { GROUP = Q3T_COLUMNS / 2 }; /* sessions in one forward pass: the code predictor begins with two columns for each session */
_Static_assert((int)GROUP <= (int)Q3T_DECODED_TOGETHER, "the decoders of a group run together");

static int running(const q3t_session *s) { return s->state == Q3T_RUNNING && s->status == Q3T_OK; }

/* The first step of a session: compute the embeddings of the trailing text, and prefill the prompt. */
static void first_step(q3t_model *m, q3t_session *s) {
    double start = q3t_now();
    q3t_talker_embed(&m->talker, &m->workspace, &s->prompt, s->prompt_rows);
    q3t_talker_text(&m->talker, &m->workspace, s->trailing_ids, s->trailing, s->trailing_rows);
    q3t_talker_text(&m->talker, &m->workspace, &m->config.tts_pad, 1, s->pad);
    s->cached_rows = q3t_talker_prefill(&m->talker, &m->workspace, &s->prompt, s->prompt_rows, &s->cache, s->hidden, s->logits);
    s->positions = s->prompt.rows;
    s->prefill_seconds = q3t_now() - start;
}

/* Run the talker for every running session: sets hidden and logits of the session. */
static void talker(q3t_model *m, q3t_session *const *sessions, int32_t n) {
    q3t_column columns[GROUP];
    const float *inputs[GROUP];
    float *hidden[GROUP], *logits[GROUP];
    q3t_session *stepped[GROUP];
    int32_t cols = 0;
    double start = q3t_now();
    for (int32_t i = 0; i < n; i++) {
        q3t_session *s = sessions[i];
        if (!running(s) || s->positions == 0) continue;
        columns[cols] = (q3t_column){&s->cache, s->positions};
        inputs[cols] = s->input;
        hidden[cols] = s->hidden;
        logits[cols] = s->logits;
        stepped[cols++] = s;
    }
    if (cols) q3t_talker_step(&m->talker, &m->workspace, columns, cols, inputs, hidden, logits);
    double seconds = cols ? (q3t_now() - start) / cols : 0;
    for (int32_t i = 0; i < cols; i++) {
        stepped[i]->positions++;
        stepped[i]->talker_seconds += seconds;
    }
    for (int32_t i = 0; i < n; i++)
        if (running(sessions[i]) && sessions[i]->positions == 0) first_step(m, sessions[i]);
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

/* Make codes 1 .. 15 and the next input of every running session. */
static void predict(q3t_model *m, q3t_session *const *sessions, int32_t n) {
    q3t_prediction frames[GROUP];
    q3t_session *predicted[GROUP];
    int32_t count = 0;
    double start = q3t_now();
    for (int32_t i = 0; i < n; i++) {
        q3t_session *s = sessions[i];
        if (!running(s)) continue;
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
        const float *text = s->frames < s->trailing ? s->trailing_rows + (size_t)s->frames * (size_t)m->config.talker.hidden : s->pad;
        m->kernels.add(s->input, text, m->config.talker.hidden);
        s->frames++;
    }
}

/* Advance n <= GROUP sessions by one frame. *status[i]: out, the q3t_status of session i. */
static void step_group(q3t_model *m, q3t_session *const *sessions, int32_t n, int32_t *const *status) {
    talker(m, sessions, n);
    for (int32_t i = 0; i < n; i++)
        if (running(sessions[i])) choose(m, sessions[i]);
    predict(m, sessions, n);
    q3t_session_decoder *decoders[GROUP];
    for (int32_t i = 0; i < n; i++) {
        q3t_session *s = sessions[i];
        decoders[i] = &s->decoder;
        q3t_session_decoder_push(&s->decoder, s->reference_frames + s->frames, s->state != Q3T_RUNNING);
    }
    q3t_session_decoders_run(decoders, n, m->codec_work, m->pool);
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

q3t_status q3t_step(q3t_model *model, q3t_session *const *sessions, int32_t n, int32_t *status) {
    if (!model || !sessions || !status || n < 1) return Q3T_E_ARGUMENT;
    Q3T_TRY(q3t_pool_ready(model->pool));
    q3t_session *group[GROUP];
    int32_t *group_status[GROUP], count = 0;
    for (int32_t i = 0; i < n; i++) {
        if (steppable(model, sessions, i)) {
            group[count] = sessions[i];
            group_status[count++] = &status[i];
        } else {
            status[i] = Q3T_E_ARGUMENT;
        }
        if (count == GROUP || (count && i == n - 1)) {
            step_group(model, group, count, group_status);
            count = 0;
        }
    }
    return Q3T_OK;
}
