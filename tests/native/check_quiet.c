/* check_quiet.c - checks that the loop that generates frames allocates no memory, takes no lock, and with one thread makes no
 * system call.
 *
 *   check_quiet DUMP                 count the calls of malloc and similar functions and of pthread_mutex_lock
 *   check_quiet --loop THREADS DUMP  for strace: run the loop between two calls of getppid
 *
 * The loop goes over the border of two blocks of the KV cache. Room in the cache is made before it. Calls are counted as in
 * counted_memory.h. */
#define _GNU_SOURCE
#include "dump.h"
#include "counted_memory.h"
#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

enum { WARM = 3, THREADS = 3, FRAMES = 100, BLOCK = 64 }; /* BLOCK: positions of a block of the KV cache */
static atomic_int locks;

static int (*real_lock)(pthread_mutex_t *);
static void find_real(void) {
    void *found = dlsym(RTLD_NEXT, "pthread_mutex_lock");
    memcpy(&real_lock, &found, sizeof real_lock);
}
#if COUNTED
int pthread_mutex_lock(pthread_mutex_t *mutex) {
    if (atomic_load(&counting)) atomic_fetch_add(&locks, 1);
    return real_lock(mutex);
}
#endif

typedef struct loop {
    q3t_model *model;
    q3t_session *session;
    float *wav;
    int32_t room, frames;
} loop;

static void need(q3t_status status) {
    if (status == Q3T_OK) return;
    printf("%s\n", q3t_status_text(status));
    exit(2);
}

static loop open_loop(const dump *d, int32_t threads) {
    const dump_case *c = &d->cases[0];
    q3t_model_options options = {.cpu_mask = Q3T_CPU_ALL, .threads = threads};
    q3t_sampling sampling = {0, 0.9f, 20, 0.95f, c->repetition_penalty};
    q3t_session_params p = {
        .rows = c->rows, .text_ids = c->text_ids, .codec_ids = c->codec_ids, .prefix_rows = c->prefix_rows,
        .trailing = c->trailing, .trailing_ids = c->trailing_ids, .talker = sampling, .predictor = sampling,
        .seed = 5, .key = 77, .max_frames = FRAMES, .min_frames = FRAMES,
    };
    loop l = {.room = c->samples / c->frames * FRAMES + 1};
    l.wav = calloc((size_t)l.room, sizeof(float));
    need(q3t_model_open(&d->config, d->tensors, (size_t)d->tensor_count, &options, &l.model));
    need(q3t_session_open(l.model, &p, &l.session));
    need(q3t_session_reserve(l.session, INT32_MAX));
    return l;
}

/* Generate and read frames until the utterance ends, at most `most` frames. */
static void step(loop *l, int32_t most) {
    q3t_session_info info = {0};
    for (int32_t i = 0; i < most && info.state == Q3T_RUNNING; i++, l->frames++) {
        int32_t status, n;
        need(q3t_step(l->model, &l->session, 1, INT32_MAX, 0, &status));
        need((q3t_status)status);
        need(q3t_session_read(l->session, l->wav, l->room, 0, &n));
        q3t_session_info_get(l->session, &info);
    }
}

static void close_loop(loop *l) {
    q3t_session_close(l->session);
    q3t_model_close(l->model);
    free(l->wav);
}

int main(int argc, char **argv) {
    const int traced = argc == 4 && !strcmp(argv[1], "--loop");
    int failures = 0;
    if (!traced && argc != 2) return 2;
    dump d;
    dump_open(argv[argc - 1], &d);
    find_real();
    for (int32_t threads = traced ? atoi(argv[2]) : 1, last = traced ? threads : THREADS; threads <= last; threads++) {
        loop l = open_loop(&d, threads);
        step(&l, WARM);
        if (traced) (void)getppid();
        atomic_store(&counting, 1);
        step(&l, INT32_MAX);
        atomic_store(&counting, 0);
        if (traced) (void)getppid();
        q3t_session_info info;
        q3t_session_info_get(l.session, &info);
        if (d.cases[0].rows + WARM > BLOCK || info.positions <= BLOCK || allocations || locks) {
            failures++;
            printf("  FAIL %d threads: %d frames, %d allocations, %d locks\n", threads, l.frames, allocations, locks);
        }
        close_loop(&l);
    }
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    atomic_store(&counting, 1); /* first check that calls are counted at all */
    loop l = open_loop(&d, 1);
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
    atomic_store(&counting, 0);
    if (COUNTED && (!allocations || locks != 1)) failures++, printf("  FAIL counted %d allocations, %d locks\n", allocations, locks);
    close_loop(&l);
    dump_close(&d);
    printf("%s%d failed\n", COUNTED ? "" : "calls are not counted here: ", failures);
    return failures != 0;
}
