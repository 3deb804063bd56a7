/* check_lifetime.c - checks models and sessions that are closed in any order, models that share a pool, prompt prefixes that replace
 * others in the cache, sessions that do not belong in a step, and a forked child that uses the model of its parent.
 *
 *   check_lifetime DUMP */
#define _POSIX_C_SOURCE 200809L
#include "dump.h"
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FRAMES = 3, CHILD_SECONDS = 60 };

/* FORKS: 1 if a forked child is checked. ThreadSanitizer ends a forked child that starts threads. */
#if defined(__SANITIZE_THREAD__)
enum { FORKS = 0 };
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
enum { FORKS = 0 };
#else
enum { FORKS = 1 };
#endif
#else
enum { FORKS = 1 };
#endif

static int failures;

static void expect(int ok, const char *what) {
    if (ok) return;
    failures++;
    printf("  FAIL %s\n", what);
}

static q3t_model *open_with(const dump *d, q3t_model_options options) {
    options.cpu_mask = Q3T_CPU_ALL;
    q3t_model *m = NULL;
    if (q3t_model_open(&d->config, d->tensors, (size_t)d->tensor_count, &options, &m) != Q3T_OK) exit(2);
    return m;
}

static q3t_model *open_model(const dump *d) { return open_with(d, (q3t_model_options){.threads = 2}); }

static q3t_session_params params(const dump *d) {
    const dump_case *c = &d->cases[0];
    q3t_sampling greedy = {1, 1, 0, 1, c->repetition_penalty};
    return (q3t_session_params){
        .rows = c->rows, .text_ids = c->text_ids, .codec_ids = c->codec_ids, .prefix_rows = c->prefix_rows,
        .trailing = c->trailing, .trailing_ids = c->trailing_ids, .talker = greedy, .predictor = greedy, .key = 1,
        .max_frames = c->max_frames,
    };
}

static q3t_session *open_session(q3t_model *m, const q3t_session_params *p) {
    q3t_session *s = NULL;
    expect(q3t_session_open(m, p, &s) == Q3T_OK && q3t_session_reserve(s, INT32_MAX) == Q3T_OK, "opening a session");
    return s;
}

/* Generate the first frames of a session. Returns 1 if their codes are the codes of the reference, else 0. */
static int generates(const dump *d, q3t_model *m, q3t_session *s) {
    size_t groups = (size_t)d->config.code_groups;
    int32_t status = 0, codes[FRAMES * 64];
    if (groups > 64 || d->cases[0].frames < FRAMES) exit(2);
    for (int32_t i = 0; i < FRAMES; i++)
        if (q3t_step(m, &s, 1, INT32_MAX, 0, &status) != Q3T_OK || status != Q3T_OK) return 0;
    return q3t_session_codes(s, 0, FRAMES, codes) == Q3T_OK && !memcmp(codes, d->cases[0].codes, FRAMES * groups * sizeof *codes);
}

static void check_model_closed_first(const dump *d) {
    for (int32_t pipeline = 0; pipeline < 2; pipeline++) {
        q3t_model *m = open_model(d);
        q3t_session_params p = params(d);
        p.pipeline = pipeline;
        q3t_session *used = open_session(m, &p), *unused = open_session(m, &p);
        expect(generates(d, m, used), "a session before its model is closed");
        q3t_model_close(m);
        q3t_session_close(unused);
        int32_t codes[64];
        expect(q3t_session_codes(used, 0, 1, codes) == Q3T_OK, "codes of a session whose model was closed");
        expect(!memcmp(codes, d->cases[0].codes, (size_t)d->config.code_groups * sizeof *codes), "the codes are unchanged");
        q3t_session_close(used);
    }
}

/* A prefix that cannot be cached, because its last row is a reference frame, must not damage the cached ones. */
static void check_prefix_with_reference(const dump *d) {
    q3t_model *m = open_model(d);
    int32_t status, *text = malloc((size_t)d->cases[0].rows * sizeof *text), *codec = malloc((size_t)d->cases[0].rows * sizeof *codec);
    int32_t reference[64] = {0};
    if (!text || !codec) exit(2);
    for (int32_t round = 0; round < 12; round++) {
        q3t_session_params p = params(d);
        memcpy(text, p.text_ids, (size_t)p.rows * sizeof *text);
        memcpy(codec, p.codec_ids, (size_t)p.rows * sizeof *codec);
        text[0] = round % 6; /* more prefixes than the cache holds */
        p.text_ids = text, p.codec_ids = codec;
        if (round % 3 == 2) {
            codec[p.prefix_rows - 1] = Q3T_ROW_REFERENCE;
            p.reference_codes = reference, p.reference_frames = 1;
        }
        q3t_session *s = open_session(m, &p);
        expect(q3t_step(m, &s, 1, INT32_MAX, 0, &status) == Q3T_OK && status == Q3T_OK, "a step with other prefixes in the cache");
        q3t_session_close(s);
    }
    free(text);
    free(codec);
    q3t_model_close(m);
}

/* Give q3t_step a NULL, a session of another model, and a session that is in the batch twice. */
static void check_wrong_sessions(const dump *d) {
    q3t_model *m = open_model(d), *other = open_model(d);
    q3t_session_params p = params(d);
    q3t_session *good = open_session(m, &p), *foreign = open_session(other, &p);
    q3t_session *batch[4] = {NULL, good, foreign, good};
    int32_t status[4];
    for (int32_t i = 0; i < FRAMES; i++) {
        expect(q3t_step(m, batch, 4, INT32_MAX, 0, status) == Q3T_OK, "a step with wrong sessions");
        expect(status[0] == Q3T_E_ARGUMENT && status[2] == Q3T_E_ARGUMENT && status[3] == Q3T_E_ARGUMENT, "each wrong session has an error");
        expect(status[1] == Q3T_OK, "the right session has none");
    }
    q3t_session_info info;
    expect(q3t_session_info_get(good, &info) == Q3T_OK && info.frames == FRAMES, "a session advances once in a step");
    q3t_session_close(good);
    q3t_session_close(foreign);
    q3t_model_close(m);
    q3t_model_close(other);
}

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

typedef struct speaking {
    const dump *d;
    q3t_model *m;
    int ok;
} speaking;

/* Generate the first frames of a session in steps that take turns with those of the other thread. */
static void *speak(void *arg) {
    speaking *a = arg;
    q3t_session_params p = params(a->d);
    int32_t status = 0, codes[FRAMES * 64];
    q3t_session *s = NULL;
    a->ok = q3t_session_open(a->m, &p, &s) == Q3T_OK && q3t_session_reserve(s, INT32_MAX) == Q3T_OK;
    for (int32_t i = 0; i < FRAMES; i++) {
        pthread_mutex_lock(&turn);
        a->ok &= q3t_step(a->m, &s, 1, INT32_MAX, 0, &status) == Q3T_OK && status == Q3T_OK;
        pthread_mutex_unlock(&turn);
    }
    a->ok &= q3t_session_codes(s, 0, FRAMES, codes) == Q3T_OK &&
             !memcmp(codes, a->d->cases[0].codes, (size_t)FRAMES * (size_t)a->d->config.code_groups * sizeof *codes);
    q3t_session_close(s);
    return NULL;
}

/* Models that share a pool, closed with it in every order, and stepped from two threads. */
static void check_shared_pool(const dump *d) {
    q3t_pool *pool = NULL;
    expect(q3t_pool_open(0, &pool) == Q3T_E_ARGUMENT && q3t_pool_open(1025, &pool) == Q3T_E_ARGUMENT && !pool, "a pool of no threads");
    expect(q3t_pool_open(2, NULL) == Q3T_E_ARGUMENT, "a pool that goes nowhere");
    q3t_pool_close(NULL);
    for (int order = 0; order < 3; order++) { /* of closing: the pool first, between the models, last */
        expect(q3t_pool_open(2, &pool) == Q3T_OK, "a pool");
        q3t_model *a = open_with(d, (q3t_model_options){.pool = pool}), *b = open_with(d, (q3t_model_options){.pool = pool, .threads = 7});
        if (order == 0) q3t_pool_close(pool);
        speaking both[2] = {{d, a, 0}, {d, b, 0}};
        pthread_t threads[2];
        for (int i = 0; i < 2; i++)
            if (pthread_create(&threads[i], NULL, speak, &both[i])) exit(2);
        for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
        expect(both[0].ok && both[1].ok, "two models share a pool");
        q3t_session_params p = params(d);
        q3t_session *s = open_session(b, &p);
        q3t_model_close(a);
        if (order == 1) q3t_pool_close(pool);
        expect(generates(d, b, s), "the other model after one was closed");
        q3t_model_close(b);
        q3t_session_close(s);
        if (order == 2) q3t_pool_close(pool);
    }
}

static void check_fork(const dump *d) {
    q3t_model *m = open_model(d);
    q3t_session_params p = params(d), piped_params = params(d);
    piped_params.pipeline = 1;
    q3t_session *s = open_session(m, &p), *piped = open_session(m, &piped_params);
    expect(generates(d, m, piped), "before the fork");
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        alarm(CHILD_SECONDS);
        q3t_session *own = open_session(m, &p);
        expect(generates(d, m, own), "a child's session");
        expect(generates(d, m, s), "the parent's session in a child");
        q3t_session_close(piped);
        q3t_session_close(own);
        q3t_session_close(s);
        q3t_model_close(m);
        fflush(stdout);
        _exit(failures != 0);
    }
    int status = -1;
    expect(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child");
    expect(generates(d, m, s), "the parent after the fork");
    q3t_session_close(piped);
    q3t_session_close(s);
    q3t_model_close(m);
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    dump d;
    dump_open(argv[1], &d);
    check_model_closed_first(&d);
    check_prefix_with_reference(&d);
    check_wrong_sessions(&d);
    check_shared_pool(&d);
    if (FORKS) check_fork(&d);
    else puts("  fork is not checked under ThreadSanitizer");
    dump_close(&d);
    printf("%d failed\n", failures);
    return failures != 0;
}
