/* check_pool.c - checks the thread pool: q3t_pool_run processes every item once, in ranges that begin at multiples of the grain;
 * tasks see what the caller wrote before the run, and the caller sees what the tasks wrote. */
#define _POSIX_C_SOURCE 200809L
#include "base/pool.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ITEMS = 300, RUNS = 3000, MANY = 5000000 };

typedef struct job {
    int32_t n, grain, threads, failed[64];
    const int32_t *in;  /* written by the caller before the run */
    int32_t *out;       /* written by the tasks */
    uint8_t *times;
} job;

static void task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    job *j = arg;
    if (worker < 0 || worker >= j->threads) exit(2);
    if (begin < 0 || begin >= end || end > j->n || begin % j->grain) j->failed[worker]++;
    for (int32_t i = begin; i < end; i++) {
        j->times[i]++;
        j->out[i] = j->in[i] + 1;
    }
}

static uint32_t random_below(uint32_t *state, uint32_t n) {
    *state = *state * 1664525 + 1013904223;
    return (*state >> 8) % n;
}

static int run_job(q3t_pool *pool, job *j) {
    int failed = 0;
    memset(j->times, 0, (size_t)j->n);
    q3t_pool_run(pool, j->n, j->grain, task, j);
    for (int32_t i = 0; i < j->n; i++) failed += j->times[i] != 1 || j->out[i] != j->in[i] + 1;
    for (int32_t w = 0; w < j->threads; w++) failed += j->failed[w];
    return failed;
}

/* Run many sizes. Each run reads the output of the run before it; some begin after the workers have gone to sleep. */
static int runs(int32_t threads) {
    static int32_t a[ITEMS], b[ITEMS];
    static uint8_t times[ITEMS];
    uint32_t state = (uint32_t)threads;
    int failed = 0;
    q3t_pool *pool = NULL;
    if (q3t_pool_open(threads, &pool) != Q3T_OK) return 1;
    for (int r = 0; r < RUNS; r++) {
        job j = {.n = 1 + (int32_t)random_below(&state, ITEMS), .grain = 1 + (int32_t)random_below(&state, 20), .threads = threads,
                 .in = r % 2 ? a : b, .out = r % 2 ? b : a, .times = times};
        failed += run_job(pool, &j);
        if (r % 100 == 0) nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    q3t_pool_close(pool);
    return failed;
}

/* Run more grains than fit in the counter of a parallel run (base/pool.c). */
static int many(void) {
    int32_t *in = calloc(MANY, sizeof *in), *out = calloc(MANY, sizeof *out);
    uint8_t *times = calloc(MANY, 1);
    int failed = 1;
    q3t_pool *pool = NULL;
    if (in && out && times && q3t_pool_open(2, &pool) == Q3T_OK)
        failed = run_job(pool, &(job){.n = MANY, .grain = 1, .threads = 2, .in = in, .out = out, .times = times});
    q3t_pool_close(pool);
    free(in);
    free(out);
    free(times);
    return failed;
}

int main(void) {
    static const int32_t threads[] = {1, 2, 3, 8, 40};
    int failed = many();
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) failed += runs(threads[i]);
    printf("%d failed\n", failed);
    return failed != 0;
}
