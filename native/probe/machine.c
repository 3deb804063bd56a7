/* probe/machine.c - measures the limits of a machine on a thread pool: how fast it reads memory, how fast it does arithmetic in
 * registers, and how long a barrier of all threads takes. */
#define _POSIX_C_SOURCE 200809L
#include "base/clock.h"
#include "kernels/peaks/loops.h"
#include "base/target.h"
#include "base/pool.h"
#include "q3t.h"
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { READ_BYTES = 1 << 18,     /* memory handed to a thread at a time */
       ROUNDS = 4000,            /* rounds of a loop of arithmetic in one item */
       ITEMS = 32,               /* items of a parallel run for each thread */
       SPINS = 10000,            /* spins of a waiting thread before it yields its core */
       LINE = 64 };              /* bytes of a cache line */

typedef struct flag {
    _Alignas(LINE) atomic_int round;
} flag;

struct q3t_probe {
    q3t_kernels kernels;
    q3t_peaks peaks;
    q3t_pool *pool;
    int32_t threads;
    float *found;                /* (threads,): results of the reads, so that the compiler cannot remove them */
    flag *flags;                 /* (threads,): the round that each thread has reached */
};

q3t_status q3t_probe_open(const q3t_model_options *options, q3t_probe **probe) {
    if (!options || !probe) return Q3T_E_ARGUMENT;
    q3t_probe *p = calloc(1, sizeof *p);
    if (!p) return Q3T_E_MEMORY;
    uint32_t flags = options->cpu_mask & q3t_cpu_flags();
    q3t_kernels_init(&p->kernels, flags);
    q3t_peaks_init(&p->peaks, flags);
    p->threads = options->threads;
    q3t_status status = q3t_pool_open(options->threads, &p->pool);
    if (status == Q3T_OK) {
        p->found = calloc((size_t)p->threads, sizeof *p->found);
        if (posix_memalign((void **)&p->flags, LINE, (size_t)p->threads * sizeof *p->flags)) p->flags = NULL;
        if (!p->found || !p->flags) status = Q3T_E_MEMORY;
    }
    if (status != Q3T_OK) {
        q3t_probe_close(p);
        return status;
    }
    *probe = p;
    return Q3T_OK;
}

void q3t_probe_close(q3t_probe *p) {
    if (!p) return;
    q3t_pool_close(p->pool);
    free(p->found);
    free(p->flags);
    free(p);
}

typedef struct reading {
    q3t_probe *probe;
    const char *memory;
} reading;

static void read_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    reading *r = arg;
    r->probe->found[worker] += r->probe->kernels.sweep(r->memory + (size_t)begin * READ_BYTES, (size_t)(end - begin) * READ_BYTES);
}

q3t_status q3t_probe_read(q3t_probe *probe, const void *memory, size_t bytes, double *seconds) {
    if (!probe || !memory || !seconds || bytes / READ_BYTES < 1 || bytes / READ_BYTES > INT32_MAX) return Q3T_E_ARGUMENT;
    Q3T_TRY(q3t_pool_ready(probe->pool));
    reading r = {probe, memory};
    double start = q3t_now();
    q3t_pool_run(probe->pool, (int32_t)(bytes / READ_BYTES), 1, read_task, &r);
    *seconds = q3t_now() - start;
    return Q3T_OK;
}

typedef struct arithmetic {
    Q3T_PEAK_LOOP((*loop));
} arithmetic;

static void arithmetic_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    const arithmetic *a = arg;
    (void)worker;
    for (int32_t i = begin; i < end; i++) a->loop(ROUNDS);
}

q3t_status q3t_probe_peak(q3t_probe *probe, q3t_peak what, double seconds, double *rate) {
    if (!probe || !rate || !(seconds >= 0)) return Q3T_E_ARGUMENT;
    Q3T_TRY(q3t_pool_ready(probe->pool));
    arithmetic a = {NULL};
    switch (what) {
    case Q3T_PEAK_F32: a.loop = probe->peaks.f32; break;
    case Q3T_PEAK_BF16: a.loop = probe->peaks.bf16; break;
    case Q3T_PEAK_INT8: a.loop = probe->peaks.int8; break;
    default: return Q3T_E_ARGUMENT;
    }
    *rate = 0;
    if (!a.loop) return Q3T_OK;
    int32_t items = (seconds > 0 ? ITEMS : 1) * probe->threads;
    double start = q3t_now(), spent, operations = 0, each = a.loop(1) * ROUNDS;
    do {
        q3t_pool_run(probe->pool, items, 1, arithmetic_task, &a);
        operations += each * items;
        spent = q3t_now() - start;
    } while (spent < seconds);
    *rate = operations / spent;
    return Q3T_OK;
}

typedef struct barrier {
    q3t_probe *probe;
    int32_t rounds;
    double seconds;
} barrier;

/* Item: one thread's part of all barriers. No item ends before all items have begun, so each thread does exactly one item. */
static void barrier_task(void *arg, int32_t begin, int32_t end, int32_t worker) {
    barrier *b = arg;
    flag *flags = b->probe->flags;
    (void)end, (void)worker;
    double start = 0;
    for (int32_t round = 1; round <= b->rounds + 1; round++) {
        atomic_store_explicit(&flags[begin].round, round, memory_order_release);
        for (int32_t other = 0; other < b->probe->threads; other++)
            for (int32_t i = 0; atomic_load_explicit(&flags[other].round, memory_order_acquire) < round; i++) {
                if (i < SPINS) Q3T_PAUSE();
                else sched_yield(); /* the other thread may need this core */
            }
        if (round == 1) start = q3t_now();
    }
    if (begin == 0) b->seconds = q3t_now() - start;
}

q3t_status q3t_probe_barrier(q3t_probe *probe, int32_t rounds, double *seconds) {
    if (!probe || !seconds || rounds < 1 || rounds > 1000000) return Q3T_E_ARGUMENT;
    Q3T_TRY(q3t_pool_ready(probe->pool));
    barrier b = {probe, rounds, 0};
    for (int32_t i = 0; i < probe->threads; i++) atomic_init(&probe->flags[i].round, 0);
    q3t_pool_run(probe->pool, probe->threads, 1, barrier_task, &b);
    *seconds = b.seconds / rounds;
    return Q3T_OK;
}
