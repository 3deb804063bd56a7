/* pool.c - fork and join over a few threads, in a fraction of a microsecond.
 *
 * A run is published by opening a gate: one word that holds the number of the
 * run, whether it is open, and how many workers are inside. Every thread has a
 * part of [0, n) with a cursor of its own that anyone may advance: first one's
 * own, then the others'. When nothing is left the caller closes the gate as
 * soon as it is empty: it waits for workers that are inside, never for one that
 * has not come, since its core may be gone to somebody else.
 * A worker that has waited long sleeps until a word changes, on Linux on the
 * futex itself: no run takes a lock, nor makes a system call but to wake it. */
#define _GNU_SOURCE
#include "pool.h"
#include "kernels/target.h"
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#endif

/* Long enough to bridge the gaps inside one frame and a short visit to the caller's language, short enough to cost
 * nothing when the caller is away: about 100 microseconds. With more threads than cores a spinning one would keep
 * another from working. */
enum { SPINS = 4000, SPINS_CROWDED = 20, LINE = 64 };

/* The gate: run number << 32 | OPEN | workers inside. */
static const uint64_t OPEN = 1u << 31, INSIDE = (1u << 31) - 1;

typedef struct part {
    _Alignas(LINE) atomic_int next;
    int32_t end;
} part;

typedef struct worker {
    q3t_pool *pool;
    pthread_t thread;
    int32_t index;
} worker;

struct q3t_pool {
    _Alignas(LINE) _Atomic uint64_t gate;
    _Alignas(LINE) atomic_int sleepers;
    atomic_int stop;
    atomic_uint called;  /* changes when sleepers are to look again */
#ifndef __linux__
    pthread_mutex_t mutex;
    pthread_cond_t wake;
#endif
    q3t_task task;
    void *arg;
    int32_t grain, threads, started, spins;
    part *parts;      /* (threads,) */
    worker *workers;  /* (threads,): the first is the caller */
};

static void work(q3t_pool *p, int32_t me) {
    for (int32_t i = 0; i < p->threads; i++) {
        part *q = &p->parts[(me + i) % p->threads];
        while (atomic_load_explicit(&q->next, memory_order_relaxed) < q->end) {
            int32_t begin = atomic_fetch_add_explicit(&q->next, p->grain, memory_order_relaxed);
            if (begin >= q->end) break;
            p->task(p->arg, begin, q->end - begin < p->grain ? q->end : begin + p->grain, me);
        }
    }
}

/* Step inside a run that is not `*seen` yet. */
static int enter(q3t_pool *p, uint32_t *seen) {
    uint64_t gate = atomic_load(&p->gate);
    while ((gate & OPEN) && (uint32_t)(gate >> 32) != *seen)
        if (atomic_compare_exchange_weak(&p->gate, &gate, gate + 1)) {
            *seen = (uint32_t)(gate >> 32);
            return 1;
        }
    return 0;
}

#ifdef __linux__
static void sleep_until_called(q3t_pool *p, unsigned seen) {
    syscall(SYS_futex, &p->called, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void call(q3t_pool *p) {
    atomic_fetch_add(&p->called, 1);
    syscall(SYS_futex, &p->called, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}
#else
static void sleep_until_called(q3t_pool *p, unsigned seen) {
    pthread_mutex_lock(&p->mutex);
    while (atomic_load(&p->called) == seen) pthread_cond_wait(&p->wake, &p->mutex);
    pthread_mutex_unlock(&p->mutex);
}

static void call(q3t_pool *p) {
    pthread_mutex_lock(&p->mutex);
    atomic_fetch_add(&p->called, 1);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->mutex);
}
#endif

/* Wait for a run and step inside it, or for the end of the pool. */
static int await(q3t_pool *p, uint32_t *seen) {
    for (int i = 0; i < p->spins; i++) {
        if (enter(p, seen)) return 1;
        Q3T_PAUSE();
    }
    atomic_fetch_add(&p->sleepers, 1);
    int in = 0;
    for (;;) {
        unsigned called = atomic_load(&p->called);
        if ((in = enter(p, seen)) || atomic_load(&p->stop)) break;
        sleep_until_called(p, called);
    }
    atomic_fetch_sub(&p->sleepers, 1);
    return in;
}

static void *worker_main(void *arg) {
    worker *w = arg;
    uint32_t seen = 0;
    while (await(w->pool, &seen)) {
        work(w->pool, w->index);
        atomic_fetch_sub(&w->pool->gate, 1);
    }
    return NULL;
}

/* Sequentially consistent on both sides of (gate or stop, sleepers): either the worker sees the change before it
 * sleeps, or this sees the sleeper and wakes it. */
static void wake(q3t_pool *p) {
    if (atomic_load(&p->sleepers) > 0) call(p);
}

static int32_t cores(void) {
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    return (int32_t)sysconf(_SC_NPROCESSORS_ONLN);
}

q3t_status q3t_pool_open(int32_t threads, q3t_pool **pool) {
    if (threads < 1 || threads > 1024) return Q3T_E_ARGUMENT;
    q3t_pool *p = NULL;
    if (posix_memalign((void **)&p, LINE, sizeof *p)) return Q3T_E_MEMORY;
    *p = (q3t_pool){.threads = threads, .spins = threads <= cores() ? SPINS : SPINS_CROWDED};
    if (posix_memalign((void **)&p->parts, LINE, sizeof(part) * (size_t)threads)) p->parts = NULL;
    p->workers = calloc((size_t)threads, sizeof(worker));
#ifndef __linux__
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->wake, NULL);
#endif
    q3t_status status = p->parts && p->workers ? Q3T_OK : Q3T_E_MEMORY;
    for (int32_t i = 1; status == Q3T_OK && i < threads; i++) {
        worker *w = &p->workers[i];
        w->pool = p;
        w->index = i;
        if (pthread_create(&w->thread, NULL, worker_main, w)) status = Q3T_E_THREAD;
        else p->started++;
    }
    if (status != Q3T_OK) {
        q3t_pool_close(p);
        return status;
    }
    *pool = p;
    return Q3T_OK;
}

void q3t_pool_close(q3t_pool *p) {
    if (!p) return;
    atomic_store(&p->stop, 1);
    wake(p);
    for (int32_t i = 1; i <= p->started; i++) pthread_join(p->workers[i].thread, NULL);
#ifndef __linux__
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->mutex);
#endif
    free(p->workers);
    free(p->parts);
    free(p);
}

int32_t q3t_pool_threads(const q3t_pool *pool) { return pool ? pool->threads : 1; }

void q3t_pool_run(q3t_pool *p, int32_t n, int32_t grain, q3t_task task, void *arg) {
    if (n <= 0) return;
    if (grain < 1) grain = 1;
    if (!p || p->threads == 1 || n <= grain) {
        task(arg, 0, n, 0);
        return;
    }
    int32_t grains = (n - 1) / grain + 1;
    for (int32_t i = 0; i < p->threads; i++) {
        int64_t from = (int64_t)grains * i / p->threads * grain, to = (int64_t)grains * (i + 1) / p->threads * grain;
        atomic_store_explicit(&p->parts[i].next, (int)from, memory_order_relaxed);
        p->parts[i].end = (int32_t)(to < n ? to : n);
    }
    p->task = task;
    p->arg = arg;
    p->grain = grain;
    uint64_t run = ((atomic_load_explicit(&p->gate, memory_order_relaxed) >> 32) + 1) << 32;
    atomic_store(&p->gate, run | OPEN);
    wake(p);
    work(p, 0);
    for (int i = 0;; i++) {
        uint64_t empty = run | OPEN;
        if (atomic_compare_exchange_strong(&p->gate, &empty, run)) return;
        while ((atomic_load(&p->gate) & INSIDE) != 0) {
            if (i++ < p->spins * 8) Q3T_PAUSE();
            else sched_yield(); /* a worker inside has lost its core: leave it this one */
        }
    }
}
