/* check_step.c - checks the budget of q3t_step: however the rows of prompts, the text and the reference frames are spread over
 * steps, alone and in company of other sessions, with and without a cached prefix, the logits, codes and samples have the same bytes.
 *
 *   check_step DUMP */
#include "step_subject.h"

static const int32_t budgets[] = {1, 7, 64, INT32_MAX};
enum { BUDGETS = sizeof budgets / sizeof *budgets, FRAMES = 12, MANY = 70, LIMIT = 20000 };

/* Check one step: no more prompt rows than the budget, no frame before the last row, and progress. */
static void check_progress(const q3t_session_info *before, record *const *records, int32_t n, int32_t rows) {
    int64_t taken = 0;
    int32_t prompts = 0, references = 0, moved = 0;
    for (int32_t i = 0; i < n; i++) {
        const q3t_session_info *a = &before[i], *b = &records[i]->info;
        int32_t part = a->rows_left - b->rows_left - (b->cached_rows - a->cached_rows);
        taken += part;
        prompts += a->rows_left > 0;
        references += a->reference_left > 0;
        moved += a->reference_left > b->reference_left;
        expect(part >= 0, "budget", "rows came back");
        if (b->rows_left > 0) expect(b->frames == 0 && b->state == Q3T_RUNNING, "budget", "a frame before the last row");
        else if (a->rows_left > 0) expect(b->frames == 1, "budget", "the first frame comes with the last row");
        else if (b->state == Q3T_RUNNING) expect(b->frames == a->frames + 1, "budget", "a session that generates was held up");
    }
    expect(taken <= rows, "budget", "more rows than the budget");
    expect(!references || moved, "budget", "no reference frame was taken in");
    expect(!prompts || taken || references, "budget", "nothing was taken in");
    if (rows == INT32_MAX) for (int32_t i = 0; i < n; i++) expect(records[i]->info.rows_left == 0, "budget", "rows are left without a limit");
}

/* Generate n sessions in one batch with a budget; session i joins at step i * apart. */
static void together(const dump *d, q3t_model *m, const q3t_session_params *const *params, record *out, int32_t n, int32_t apart,
                     int32_t rows) {
    record **batch = get((size_t)n, sizeof *batch);
    q3t_session_info *before = get((size_t)n, sizeof *before);
    int32_t left = n, at = 0;
    for (; left > 0 && at < LIMIT; at++) {
        int32_t count = 0;
        for (int32_t i = 0; i < n; i++) {
            if (at == i * apart) out[i] = begin(m, params[i]);
            if (at >= i * apart && out[i].s && !ended(&out[i])) before[count] = out[i].info, batch[count++] = &out[i];
        }
        if (count) step(d, m, batch, count, rows), check_progress(before, batch, count, rows);
        for (int32_t i = 0; i < count; i++) left -= ended(batch[i]);
    }
    expect(left == 0, "batch", "does not end");
    for (int32_t i = 0; i < n; i++) q3t_session_close(out[i].s);
    free(batch);
    free(before);
}

/* Each session alone with each budget, without a cached prefix and with one, with and without a decoder thread. */
static void check_alone(const dump *d, q3t_session_params *params, const record *want) {
    for (int32_t b = 0; b < BUDGETS; b++)
        for (int32_t i = 0; i < SUBJECTS; i++) {
            q3t_model *m = open_model(d, 2);
            for (int32_t round = 0; round < 3; round++) {
                const q3t_session_params *one = &params[i];
                record got;
                params[i].pipeline = round == 2;
                if (round < 2) together(d, m, &one, &got, 1, 1, budgets[b]);
                else got = alone(d, m, one);
                expect(got.info.cached_rows == (round ? one->prefix_rows : 0), "alone", "cached rows");
                expect(same(&got, &want[i]), "alone", round ? "a cached prefix" : "no cached prefix");
            }
            params[i].pipeline = 0;
            q3t_model_close(m);
        }
}

/* Sessions that join a batch one after another, or all at once, of any number of threads. */
static void check_company(const dump *d, const q3t_session_params *params, const record *want) {
    enum { N = 2 * SUBJECTS };
    for (int32_t b = 0; b < BUDGETS; b++)
        for (int32_t apart = 0; apart < 8; apart += 3) {
            q3t_model *m = open_model(d, 1 + b % 3);
            const q3t_session_params *p[N];
            record got[N] = {0};
            for (int32_t i = 0; i < N; i++) p[i] = &params[(i + b) % SUBJECTS];
            together(d, m, p, got, N, apart, budgets[b]);
            for (int32_t i = 0; i < N; i++) expect(same(&got[i], &want[(i + b) % SUBJECTS]), "company", "a session depends on the others");
            if (apart == 0 && budgets[b] == INT32_MAX)
                expect(got[SUBJECTS].info.cached_rows == params[b % SUBJECTS].prefix_rows, "company", "a prefix was computed twice in one step");
            q3t_model_close(m);
        }
}

/* More sessions than one forward pass has columns. */
static void check_many(const dump *d, const q3t_session_params *params, const record *want) {
    for (int32_t b = 1; b < BUDGETS; b += 2) {
        q3t_model *m = open_model(d, 2);
        const q3t_session_params *p[MANY];
        record *got = get(MANY, sizeof *got);
        for (int32_t i = 0; i < MANY; i++) p[i] = &params[i % SUBJECTS];
        together(d, m, p, got, MANY, 0, budgets[b]);
        for (int32_t i = 0; i < MANY; i++) expect(same(&got[i], &want[i % SUBJECTS]), "many", "a session depends on the others");
        free(got);
        q3t_model_close(m);
    }
}

static void check_bad_budget(const dump *d, const q3t_session_params *params) {
    q3t_model *m = open_model(d, 1);
    record r = begin(m, &params[0]);
    int32_t status = 99;
    expect(q3t_step(m, &r.s, 1, 0, 0, &status) == Q3T_E_ARGUMENT && q3t_step(m, &r.s, 1, -1, 0, &status) == Q3T_E_ARGUMENT, "budget", "below 1");
    q3t_session_info_get(r.s, &r.info);
    expect(r.info.rows_left == params[0].rows && status == 99, "budget", "a refused step did something");
    q3t_session_close(r.s);
    q3t_model_close(m);
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    dump d;
    q3t_session_params params[SUBJECTS], few[SUBJECTS];
    record want[SUBJECTS], want_few[SUBJECTS];
    dump_open(argv[1], &d);
    make_subjects(&d, FRAMES, params);
    make_subjects(&d, 4, few);
    for (int32_t i = 0; i < SUBJECTS; i++) {
        q3t_model *m = open_model(&d, 1);
        want[i] = alone(&d, m, &params[i]);
        want_few[i] = alone(&d, m, &few[i]);
        expect(want[i].info.frames == FRAMES && want_few[i].info.frames == 4, "alone", "another number of frames");
        q3t_model_close(m);
    }
    check_alone(&d, params, want);
    check_company(&d, params, want);
    check_many(&d, few, want_few);
    check_bad_budget(&d, params);
    release_subjects(params);
    release_subjects(few);
    dump_close(&d);
    printf("%d failed\n", failures);
    return failures != 0;
}
