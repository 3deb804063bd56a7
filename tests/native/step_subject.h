/* step_subject.h - sessions for the checks of q3t_step: prompts of a dump, one of them with a reference, and the record of what a
 * session generates. */
#ifndef STEP_SUBJECT_H
#define STEP_SUBJECT_H
#include "dump.h"

enum { SUBJECTS = 4, REFERENCE_FRAMES = 90 };

static int failures;

static void expect(int ok, const char *what, const char *detail) {
    if (ok) return;
    failures++;
    printf("  FAIL %s: %s\n", what, detail);
}

static q3t_model *open_model(const dump *d, int32_t threads) {
    q3t_model_options options = {.cpu_mask = Q3T_CPU_ALL, .threads = threads};
    q3t_model *m = NULL;
    if (q3t_model_open(&d->config, d->tensors, (size_t)d->tensor_count, &options, &m) != Q3T_OK) exit(2);
    return m;
}

static void *get(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    if (!memory) exit(2);
    return memory;
}

/* The parameters of SUBJECTS sessions of max_frames frames: streaming text, greedy and sampled; a full text; a full text with a
 * reference. release_subjects frees their memory. */
static void make_subjects(const dump *d, int32_t max_frames, q3t_session_params *p) {
    const q3t_sampling greedy = {1, 1, 0, 1, 1.05f}, sampled = {0, 0.9f, 20, 0.95f, 1.05f};
    for (int32_t i = 0; i < SUBJECTS; i++) {
        const dump_case *c = &d->cases[i < 2 ? 0 : 1];
        p[i] = (q3t_session_params){
            .rows = c->rows, .text_ids = c->text_ids, .codec_ids = c->codec_ids, .prefix_rows = c->prefix_rows,
            .trailing = c->trailing, .trailing_ids = c->trailing_ids, .talker = i % 2 ? sampled : greedy,
            .predictor = i % 2 ? sampled : greedy, .seed = 3, .key = (uint64_t)i, .max_frames = max_frames, .min_frames = max_frames,
        };
    }
    q3t_session_params *clone = &p[SUBJECTS - 1];
    int32_t rows = clone->rows + REFERENCE_FRAMES, groups = d->config.code_groups;
    int32_t *text = get((size_t)rows, sizeof *text), *codec = get((size_t)rows, sizeof *codec);
    int32_t *codes = get((size_t)(REFERENCE_FRAMES * groups), sizeof *codes);
    for (int32_t i = 0; i < rows; i++) {
        text[i] = i < clone->rows ? clone->text_ids[i] : i % 3 ? -1 : i;
        codec[i] = i < clone->rows ? clone->codec_ids[i] : Q3T_ROW_REFERENCE - (i - clone->rows);
    }
    for (int32_t i = 0; i < REFERENCE_FRAMES * groups; i++) codes[i] = i * 7 % d->config.codebook_size;
    clone->rows = rows, clone->text_ids = text, clone->codec_ids = codec;
    clone->reference_frames = REFERENCE_FRAMES, clone->reference_codes = codes;
}

static void release_subjects(q3t_session_params *p) {
    free((void *)(uintptr_t)p[SUBJECTS - 1].text_ids);
    free((void *)(uintptr_t)p[SUBJECTS - 1].codec_ids);
    free((void *)(uintptr_t)p[SUBJECTS - 1].reference_codes);
}

/* A session and a hash of all that it has given so far. */
typedef struct record {
    q3t_session *s;
    q3t_session_info info;           /* after the last step */
    uint64_t logits, samples, codes; /* hashes of the logits of each frame, of the samples, of the codes */
    int32_t count;                   /* samples */
} record;

static uint64_t hash(uint64_t h, const void *bytes, size_t n) {
    const unsigned char *b = bytes;
    for (size_t i = 0; i < n; i++) h = (h ^ b[i]) * 1099511628211u;
    return h;
}

static record begin(q3t_model *m, const q3t_session_params *p) {
    record r = {.logits = 1, .samples = 1, .codes = 1};
    expect(q3t_session_open(m, p, &r.s) == Q3T_OK && q3t_session_reserve(r.s, INT32_MAX) == Q3T_OK, "session", "open");
    q3t_session_info_get(r.s, &r.info);
    return r;
}

/* Add what a step gave to the record. */
static void observe(const dump *d, record *r) {
    float samples[4096], *logits = get((size_t)d->config.vocab, sizeof *logits);
    int32_t before = r->info.frames, n = 1, *codes = get((size_t)d->config.code_groups, sizeof *codes);
    q3t_session_info_get(r->s, &r->info);
    if (r->info.frames > before) {
        q3t_session_peek(r->s, Q3T_PEEK_LOGITS, logits, (size_t)d->config.vocab);
        q3t_session_codes(r->s, before, 1, codes);
        r->logits = hash(r->logits, logits, (size_t)d->config.vocab * sizeof *logits);
        r->codes = hash(r->codes, codes, (size_t)d->config.code_groups * sizeof *codes);
    }
    while (n > 0) {
        q3t_session_read(r->s, samples, 4096, r->info.state != Q3T_RUNNING, &n);
        r->samples = hash(r->samples, samples, (size_t)n * sizeof *samples);
        r->count += n;
    }
    q3t_session_info_get(r->s, &r->info);
    free(logits);
    free(codes);
}

static int ended(const record *r) { return r->info.state != Q3T_RUNNING && r->info.decoded == r->info.frames; }

static int same(const record *a, const record *b) {
    return a->info.frames == b->info.frames && a->info.state == b->info.state && a->count == b->count && a->logits == b->logits &&
           a->samples == b->samples && a->codes == b->codes;
}

/* Step n sessions once, with a budget, and record what they gave. */
static void step(const dump *d, q3t_model *m, record *const *records, int32_t n, int32_t rows) {
    q3t_session **sessions = get((size_t)n, sizeof *sessions);
    int32_t *status = get((size_t)n, sizeof *status);
    for (int32_t i = 0; i < n; i++) sessions[i] = records[i]->s;
    expect(q3t_step(m, sessions, n, rows, 0, status) == Q3T_OK, "step", "call");
    for (int32_t i = 0; i < n; i++) {
        expect(status[i] == Q3T_OK, "step", q3t_status_text((q3t_status)status[i]));
        observe(d, records[i]);
    }
    free(sessions);
    free(status);
}

/* Generate a session alone, without a limit. */
static record alone(const dump *d, q3t_model *m, const q3t_session_params *p) {
    record r = begin(m, p), *one = &r;
    for (int i = 0; i < 10000 && !ended(&r); i++) step(d, m, &one, 1, INT32_MAX);
    q3t_session_close(r.s);
    return r;
}
#endif
