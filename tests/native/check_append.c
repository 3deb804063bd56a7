/* check_append.c - checks text that is appended: however a text is cut and whenever its parts come, alone and in company, the logits,
 * codes and samples have the bytes that they have with the whole text given at opening. A session without text waits, and wrong
 * calls change nothing.
 *
 *   check_append DUMP */
#include "step_subject.h"

enum { TEXT = 70, SHORT_TEXT = 6, SHORT_FRAMES = 9, LONG_FRAMES = TEXT + 3, LIMIT = 4000 };

/* How a text of n ids is given. first: ids at opening. part: ids of each call; 0: calls that give 0, 1, 2, 3, 0, ... ids. early: 1 if a
 * call comes before every step, 0 if a call comes only when the session needs text. late_last: 1 if the last id is announced by a
 * call of its own. */
typedef struct manner {
    int32_t first, part, early, late_last, rows;
} manner;

static q3t_session_params opened(const q3t_session_params *whole, int32_t first) {
    q3t_session_params p = *whole;
    p.open_text = 1;
    p.trailing = first;
    return p;
}

/* A step that finds no text: nothing changes, but all frames are decoded. */
static void check_waiting(const dump *d, q3t_model *m, record *r, int pipeline) {
    const q3t_session_info before = r->info;
    step(d, m, &r, 1, INT32_MAX);
    expect(r->info.state == Q3T_RUNNING && r->info.frames == before.frames && r->info.positions == before.positions, "waiting", "not left out");
    expect(r->info.needs_text == 1, "waiting", "does not need text");
    for (int i = 0; pipeline && i < 1000 && r->info.decoded < r->info.frames; i++) {
        float samples[4096];
        int32_t n;
        q3t_session_read(r->s, samples, 4096, 1, &n);
        r->samples = hash(r->samples, samples, (size_t)n * sizeof *samples);
        r->count += n;
        q3t_session_info_get(r->s, &r->info);
    }
    expect(r->info.decoded == r->info.frames, "waiting", "frames are not decoded");
}

/* Generate a session whose text is given as `how` says. company: NULL, or sessions that take part in every step. */
static record append(const dump *d, q3t_model *m, const q3t_session_params *whole, manner how, record *company, int32_t companions) {
    q3t_session_params p = opened(whole, how.first);
    record r = begin(m, &p), *batch[1 + SUBJECTS] = {&r};
    int32_t given = how.first, calls = 0, last = 0;
    for (int32_t i = 0; i < companions; i++) batch[1 + i] = &company[i];
    for (int i = 0; i < LIMIT && !ended(&r); i++) {
        expect(r.info.needs_text == (r.info.frames > given && !last && r.info.state == Q3T_RUNNING), "needs_text", "wrong");
        if (r.info.needs_text && calls % 5 == 0) check_waiting(d, m, &r, p.pipeline);
        if (!last && (how.early || r.info.needs_text)) {
            int32_t part = how.part ? how.part : calls % 4, left = whole->trailing - given;
            if (part > left) part = left;
            last = part == left && (!how.late_last || left == 0);
            expect(q3t_session_append(r.s, part ? whole->trailing_ids + given : NULL, part, last) == Q3T_OK, "append", "refused");
            given += part;
            calls++;
            q3t_session_info_get(r.s, &r.info);
        }
        step(d, m, batch, 1 + companions, how.rows);
    }
    expect(ended(&r), "append", "does not end");
    q3t_session_close(r.s);
    return r;
}

/* Every cut of a text into two, and into parts of equal length, with budgets, with and without a decoder thread. */
static void check_cuts(const dump *d, q3t_model *m, q3t_session_params *p, const record *want) {
    for (int32_t first = 0; first <= p->trailing; first++)
        for (int32_t k = 0; k < 8; k++) {
            manner how = {first, k & 1 ? p->trailing : 1 + first % 3, k >> 1 & 1, k >> 2, first % 2 ? INT32_MAX : 1};
            p->pipeline = first % 4 == 3;
            record got = append(d, m, p, how, NULL, 0);
            expect(same(&got, want), "cut", "another output than with the whole text");
        }
    p->pipeline = 0;
}

/* A text that is longer than what is projected in advance, in company of sessions that generate at the same time. */
static void check_long(const dump *d, q3t_model *m, const q3t_session_params *p, const record *want) {
    static const manner hows[] = {{0, 1, 1, 0, 7}, {0, 1, 0, 1, INT32_MAX}, {3, 0, 1, 1, 1}, {1, 0, 0, 0, 64}, {0, TEXT, 1, 0, 2}, {TEXT, 1, 0, 1, 3},
                                  {66, 2, 1, 0, INT32_MAX}};
    for (size_t i = 0; i < sizeof hows / sizeof *hows; i++) {
        record others[2] = {begin(m, p), begin(m, p)};
        record got = append(d, m, p, hows[i], others, 2);
        expect(same(&got, want), "long text", "another output than with the whole text");
        for (int32_t k = 0; k < 2; k++) {
            record *one = &others[k];
            while (!ended(one)) step(d, m, &one, 1, INT32_MAX);
            expect(same(one, want), "long text", "the company has another output");
            q3t_session_close(one->s);
        }
    }
}

/* Wrong calls, before every step: none of them changes anything. */
static void check_refused(const dump *d, q3t_model *m, const q3t_session_params *whole, const record *want) {
    const int32_t many = d->config.max_positions, good[1] = {1}, low[2] = {1, -1}, high[2] = {1, d->config.text_vocab};
    int32_t *ids = get((size_t)many, sizeof *ids);
    q3t_session_params p = opened(whole, 1), bad = *whole;
    record r = begin(m, &p), *one = &r, closed = begin(m, whole);
    bad.open_text = 2;
    q3t_session *none = NULL;
    expect(q3t_session_open(m, &bad, &none) == Q3T_E_ARGUMENT && !none, "refused", "open_text 2");
    expect(q3t_session_append(NULL, good, 1, 0) == Q3T_E_ARGUMENT, "refused", "no session");
    expect(q3t_session_append(closed.s, good, 1, 1) == Q3T_E_ARGUMENT, "refused", "the text is not open");
    expect(q3t_session_append(closed.s, NULL, 0, 1) == Q3T_E_ARGUMENT, "refused", "the text is not open");
    q3t_session_close(closed.s);
    for (int32_t given = 1, i = 0; i < LIMIT && !ended(&r); i++) {
        expect(q3t_session_append(r.s, good, -1, 0) == Q3T_E_ARGUMENT, "refused", "a negative number");
        expect(q3t_session_append(r.s, NULL, 1, 0) == Q3T_E_ARGUMENT, "refused", "no ids");
        expect(q3t_session_append(r.s, low, 2, 1) == Q3T_E_ARGUMENT, "refused", "an id below 0");
        expect(q3t_session_append(r.s, high, 2, 1) == Q3T_E_ARGUMENT, "refused", "an id above the vocabulary");
        expect(q3t_session_append(r.s, good, 1, 2) == Q3T_E_ARGUMENT, "refused", "last 2");
        expect(q3t_session_append(r.s, ids, many, 1) == Q3T_E_ARGUMENT, "refused", "more ids than positions");
        expect(q3t_session_append(r.s, ids, INT32_MAX, 1) == Q3T_E_ARGUMENT, "refused", "many more ids than positions");
        if (given < whole->trailing) {
            expect(q3t_session_append(r.s, whole->trailing_ids + given, 1, given + 1 == whole->trailing) == Q3T_OK, "append", "refused");
            if (++given == whole->trailing) expect(q3t_session_append(r.s, NULL, 0, 0) == Q3T_E_ARGUMENT, "refused", "after the last id");
        } else {
            expect(q3t_session_append(r.s, good, 1, 1) == Q3T_E_ARGUMENT, "refused", "after the last id");
        }
        step(d, m, &one, 1, 4);
    }
    expect(same(&r, want), "refused", "a refused call changed the output");
    q3t_session_close(r.s);
    p = opened(whole, 0);
    r = begin(m, &p);
    expect(q3t_session_append(r.s, ids, many, 0) == Q3T_OK, "append", "as many ids as positions");
    expect(q3t_session_append(r.s, good, 1, 0) == Q3T_E_ARGUMENT && q3t_session_append(r.s, NULL, 0, 1) == Q3T_OK, "append", "a full text");
    step(d, m, &one, 1, INT32_MAX);
    q3t_session_close(r.s);
    free(ids);
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    dump d;
    dump_open(argv[1], &d);
    int32_t *ids = get(TEXT, sizeof *ids);
    for (int32_t i = 0; i < TEXT; i++) ids[i] = (i * 31 + 5) % d.config.text_vocab;
    q3t_session_params p[SUBJECTS], more[SUBJECTS];
    make_subjects(&d, SHORT_FRAMES, p);
    make_subjects(&d, LONG_FRAMES, more);
    q3t_model *m = open_model(&d, 2);
    for (int32_t i = 0; i < 2; i++) { /* greedy, sampled */
        p[i].trailing = SHORT_TEXT, p[i].trailing_ids = ids;
        more[i].trailing = TEXT, more[i].trailing_ids = ids;
        record want = alone(&d, m, &p[i]), want_more = alone(&d, m, &more[i]);
        expect(want.info.frames == SHORT_FRAMES && want_more.info.frames == LONG_FRAMES, "alone", "another number of frames");
        check_cuts(&d, m, &p[i], &want);
        check_long(&d, m, &more[i], &want_more);
        check_refused(&d, m, &p[i], &want);
    }
    q3t_model_close(m);
    release_subjects(p);
    release_subjects(more);
    free(ids);
    dump_close(&d);
    printf("%d failed\n", failures);
    return failures != 0;
}
