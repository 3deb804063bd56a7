/* pool.c - fork and join over a few threads, in a fraction of a microsecond.
 *
 * A run is published by raising `epoch`; each worker spins on it for a while,
 * then sleeps on a condition variable. Every thread has a part of [0, n) with a
 * cursor of its own that anyone may advance: first one's own, then the others'.
 * The caller waits until all workers have left the run, so that the next one
 * can reuse the cursors. */
#define _GNU_SOURCE
#include "pool.h"
#include "kernels/target.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Long enough to bridge the gaps inside one frame and a short visit to the caller's language, short enough to cost
 * nothing when the caller is away: about 100 microseconds. */
enum { SPINS = 4000, LINE = 64 };

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
    _Alignas(LINE) atomic_uint epoch;
    _Alignas(LINE) atomic_int running; /* workers still in the current run */
    _Alignas(LINE) atomic_int sleepers;
    atomic_int stop;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    q3t_task task;
    void *arg;
    int32_t grain, threads, started;
    part *parts;      /* (threads,) */
    worker *workers;  /* (threads - 1,) */
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

/* Wait until the epoch is no longer `seen`. */
static void await(q3t_pool *p, unsigned seen) {
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&p->epoch, memory_order_acquire) != seen) return;
        Q3T_PAUSE();
    }
    pthread_mutex_lock(&p->mutex);
    atomic_fetch_add(&p->sleepers, 1);
    while (atomic_load(&p->epoch) == seen) pthread_cond_wait(&p->wake, &p->mutex);
    atomic_fetch_sub(&p->sleepers, 1);
    pthread_mutex_unlock(&p->mutex);
}

static void *worker_main(void *arg) {
    worker *w = arg;
    q3t_pool *p = w->pool;
    unsigned seen = 0;
    for (;;) {
        await(p, seen);
        seen = atomic_load_explicit(&p->epoch, memory_order_acquire);
        if (atomic_load_explicit(&p->stop, memory_order_relaxed)) return NULL;
        work(p, w->index);
        atomic_fetch_sub_explicit(&p->running, 1, memory_order_release);
    }
}

/* Sequentially consistent on both sides of (epoch, sleepers): either the worker sees the new epoch before it
 * sleeps, or the publisher sees the sleeper and wakes it. */
static void publish(q3t_pool *p) {
    atomic_fetch_add(&p->epoch, 1);
    if (atomic_load(&p->sleepers) > 0) {
        pthread_mutex_lock(&p->mutex);
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->mutex);
    }
}

q3t_status q3t_pool_open(int32_t threads, q3t_pool **pool) {
    if (threads < 1 || threads > 1024) return Q3T_E_ARGUMENT;
    q3t_pool *p = NULL;
    if (posix_memalign((void **)&p, LINE, sizeof *p)) return Q3T_E_MEMORY;
    *p = (q3t_pool){.threads = threads};
    if (posix_memalign((void **)&p->parts, LINE, sizeof(part) * (size_t)threads)) p->parts = NULL;
    p->workers = calloc((size_t)threads, sizeof(worker));
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->wake, NULL);
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
    publish(p);
    for (int32_t i = 1; i <= p->started; i++) pthread_join(p->workers[i].thread, NULL);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->mutex);
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
    atomic_store_explicit(&p->running, p->threads - 1, memory_order_relaxed);
    publish(p);
    work(p, 0);
    for (int i = 0; atomic_load_explicit(&p->running, memory_order_acquire) > 0; i++) {
        if (i < SPINS * 8) Q3T_PAUSE();
        else sched_yield(); /* a worker has lost its core: leave it this one */
    }
}
