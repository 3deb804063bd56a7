/* base/pool.c - the thread pool: a parallel run hands ranges of items, called grains, to the caller and the worker threads and
 * waits until all are done (fork-join).
 *
 * A run is published in one cache line: its number, task, argument, item count and grain. Each thread owns a part of the
 * run's grains and a cursor, (run number << GRAIN_BITS | next grain), which any thread may advance by compare-and-swap: a
 * thread takes the grains of its own part first, then the remaining grains of the other parts. A cursor with an older run
 * number means that no grain of the part is taken yet; a cursor with a newer number means that the run is over. So no thread
 * resets cursors, and a late worker takes nothing from a finished run. Each thread counts the grains that it has done, in the
 * cache line of its cursor. The caller waits until all grains are done, not until all workers have seen the run: the core of a
 * worker may be busy with another process.
 * A worker spins after a run, then sleeps until `wakes` changes, on Linux on a futex, elsewhere on a condition variable. A
 * run takes no lock, and its only system call is the one that wakes sleeping workers. */
#define _GNU_SOURCE
#include "base/pool.h"
#include "base/target.h"
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#endif

/* Iterations of a waiting loop before a thread sleeps: enough for the gaps between the runs of a frame and for a short return
 * to the caller's language, few enough that the workers of an idle pool leave their cores. With more threads than cores a
 * spinning thread keeps another thread from its work. */
enum { SPINS = 4000, SPINS_CROWDED = 20, LINE = 64 };

/* One word holds the number of a run and a count of grains: 44 bits of run number do not overflow in the life of a process. */
enum { GRAIN_BITS = 20, MAX_GRAINS = (1 << GRAIN_BITS) - 1 };

typedef struct run {
    uint64_t number;
    q3t_task task;
    void *arg;
    int32_t n, grain;
} run;

/* The state of one thread; slot 0 is the caller's. */
typedef struct slot {
    _Alignas(LINE) _Atomic uint64_t next;  /* the cursor of the thread's part */
    _Atomic uint64_t done;                 /* (run number << GRAIN_BITS | grains of any part that the thread has done) */
    q3t_pool *pool;
    pthread_t thread;
    int32_t index;
} slot;

struct q3t_pool {
    _Alignas(LINE) _Atomic uint64_t number;  /* number of the published run, from 1; 0 while the next run is written */
    uint64_t runs;                           /* number of the last run; only the caller reads it */
    _Atomic(q3t_task) task;
    _Atomic(void *) arg;
    atomic_int n, grain;
    _Alignas(LINE) atomic_int sleepers;
    atomic_int stop;
    atomic_uint wakes;                       /* changes when sleeping workers must look for a run */
#ifndef __linux__
    pthread_mutex_t mutex;
    pthread_cond_t wake;
#endif
    atomic_int references;                   /* 1 for q3t_pool_open, and 1 for each q3t_pool_retain; at 0 the pool is freed */
    int32_t threads, started, spins;
    pid_t process;                           /* process in which the workers run; 0: there are no workers */
    const int *fork_mark;                    /* 1 in that process, 0 in a forked child; NULL: compare getpid() */
    slot *slots;                             /* (threads,) */
};

static uint64_t pack_word(uint64_t number, int32_t grains) { return number << GRAIN_BITS | (uint32_t)grains; }

/* Take one of the grains [first, end), the part of thread `s`, in run `number`. Returns the grain, or `end` if none is left. */
static int32_t take_grain(slot *s, uint64_t number, int32_t first, int32_t end) {
    uint64_t next = atomic_load_explicit(&s->next, memory_order_relaxed);
    for (;;) {
        const uint64_t of = next >> GRAIN_BITS;
        const int32_t grain = of == number ? (int32_t)(next & MAX_GRAINS) : first;
        if (of > number || grain >= end) return end;
        if (atomic_compare_exchange_weak_explicit(&s->next, &next, pack_word(number, grain + 1), memory_order_relaxed,
                                                  memory_order_relaxed))
            return grain;
    }
}

static int32_t part_begin(int32_t grains, int32_t part, int32_t parts) {
    return (int32_t)(((int64_t)grains * part + parts - 1) / parts);
}

static int32_t grains_of(int32_t n, int32_t grain) { return (n - 1) / grain + 1; }

/* Take and do grains of a run until none is left. me: this thread. Returns the number of grains that it did. */
static int32_t do_grains(q3t_pool *p, const run *r, int32_t me) {
    const int32_t grains = grains_of(r->n, r->grain);
    int32_t done = 0;
    for (int32_t i = 0; i < p->threads; i++) {
        const int32_t part = (me + i) % p->threads, before = done;
        const int32_t first = part_begin(grains, part, p->threads), end = part_begin(grains, part + 1, p->threads);
        for (int32_t g; (g = take_grain(&p->slots[part], r->number, first, end)) < end; done++)
            r->task(r->arg, g * r->grain, g + 1 < grains ? (g + 1) * r->grain : r->n, me);
        if (done > before) atomic_store_explicit(&p->slots[me].done, pack_word(r->number, done), memory_order_release);
    }
    return done;
}

/* Copy the published run to *r and return 1. Returns 0 if there is none, if its number is `seen`, or if it changed meanwhile. */
static int read_run(q3t_pool *p, uint64_t seen, run *r) {
    r->number = atomic_load(&p->number);
    if (r->number == 0 || r->number == seen) return 0;
    r->task = atomic_load_explicit(&p->task, memory_order_acquire);
    r->arg = atomic_load_explicit(&p->arg, memory_order_acquire);
    r->n = atomic_load_explicit(&p->n, memory_order_acquire);
    r->grain = atomic_load_explicit(&p->grain, memory_order_acquire);
    return atomic_load_explicit(&p->number, memory_order_relaxed) == r->number;
}

#ifdef __linux__
/* Sleep until p->wakes differs from `seen`; if `brief` is 1, for one millisecond at most. */
static void sleep_until_woken(q3t_pool *p, unsigned seen, int brief) {
    const struct timespec millisecond = {.tv_nsec = 1000000};
    syscall(SYS_futex, &p->wakes, FUTEX_WAIT_PRIVATE, seen, brief ? &millisecond : NULL, NULL, 0);
}

static void wake_sleepers(q3t_pool *p) {
    atomic_fetch_add(&p->wakes, 1);
    syscall(SYS_futex, &p->wakes, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}
#else
static void sleep_until_woken(q3t_pool *p, unsigned seen, int brief) {
    (void)brief;
    pthread_mutex_lock(&p->mutex);
    while (atomic_load(&p->wakes) == seen) pthread_cond_wait(&p->wake, &p->mutex);
    pthread_mutex_unlock(&p->mutex);
}

static void wake_sleepers(q3t_pool *p) {
    pthread_mutex_lock(&p->mutex);
    atomic_fetch_add(&p->wakes, 1);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->mutex);
}
#endif

/* Wait for a run whose number is not `seen` and copy it to *r. Returns 0 when the pool ends, else 1. */
static int wait_for_run(q3t_pool *p, uint64_t seen, run *r) {
    for (int i = 0; i < p->spins; i++) {
        if (read_run(p, seen, r)) return 1;
        Q3T_PAUSE();
    }
    atomic_fetch_add(&p->sleepers, 1);
    int in = 0;
    for (int brief = 1;; brief = 0) {
        unsigned wakes = atomic_load(&p->wakes);
        if ((in = read_run(p, seen, r)) || atomic_load(&p->stop)) break;
        sleep_until_woken(p, wakes, brief);
    }
    atomic_fetch_sub(&p->sleepers, 1);
    return in;
}

static void *worker_main(void *arg) {
    slot *s = arg;
    run r = {0};
    while (wait_for_run(s->pool, r.number, &r)) do_grains(s->pool, &r, s->index);
    return NULL;
}

/* Publish the run and wake sleeping workers. On Linux the store is not sequentially consistent, so that it need not wait for
 * other cores. A worker that falls asleep at that moment is not woken; it looks again after a millisecond. */
static void publish(q3t_pool *p, uint64_t number) {
#ifdef __linux__
    atomic_store_explicit(&p->number, number, memory_order_release);
#else
    atomic_store(&p->number, number);
#endif
    if (atomic_load(&p->sleepers) > 0) wake_sleepers(p);
}

static int32_t cores(void) {
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    return (int32_t)sysconf(_SC_NPROCESSORS_ONLN);
}

/* Returns an int that is 1 here and that the system zeroes in a forked child, so that a call can find out that it runs in a
 * child without a system call. NULL if the system has no such pages. */
static const int *map_fork_mark(void) {
#if defined(__linux__) && defined(MADV_WIPEONFORK)
    const size_t size = (size_t)sysconf(_SC_PAGESIZE);
    int *mark = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mark == MAP_FAILED) return NULL;
    if (madvise(mark, size, MADV_WIPEONFORK) == 0) {
        *mark = 1;
        return mark;
    }
    munmap(mark, size);
#endif
    return NULL;
}

static void unmap_fork_mark(q3t_pool *p) {
#ifdef __linux__
    if (p->fork_mark) munmap((void *)(uintptr_t)p->fork_mark, (size_t)sysconf(_SC_PAGESIZE));
#endif
    p->fork_mark = NULL;
}

/* End the workers of this process. */
static void stop(q3t_pool *p) {
    atomic_store(&p->stop, 1);
    wake_sleepers(p);
    for (int32_t i = 1; i <= p->started; i++) pthread_join(p->slots[i].thread, NULL);
    atomic_store(&p->stop, 0);
    p->started = 0;
    p->process = 0;
#ifndef __linux__
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->mutex);
#endif
}

/* Start the workers of this process: all of them or none. */
static q3t_status start(q3t_pool *p) {
#ifndef __linux__
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->wake, NULL);
#endif
    p->process = getpid();
    p->fork_mark = map_fork_mark();
    p->started = 0;
    for (int32_t i = 1; i < p->threads; i++) {
        if (pthread_create(&p->slots[i].thread, NULL, worker_main, &p->slots[i])) {
            stop(p);
            return Q3T_E_THREAD;
        }
        p->started++;
    }
    return Q3T_OK;
}

q3t_status q3t_pool_ready(q3t_pool *p) {
    if (!p || (p->process && (p->fork_mark ? *p->fork_mark : p->process == getpid()))) return Q3T_OK;
    unmap_fork_mark(p);
    p->process = 0;
    atomic_store(&p->number, 0); /* otherwise a new worker would do the parent's last run */
    atomic_store(&p->sleepers, 0);
    return start(p);
}

q3t_status q3t_pool_open(int32_t threads, q3t_pool **pool) {
    if (threads < 1 || threads > 1024 || !pool) return Q3T_E_ARGUMENT;
    q3t_pool *p = NULL;
    if (posix_memalign((void **)&p, LINE, sizeof *p)) return Q3T_E_MEMORY;
    *p = (q3t_pool){.threads = threads, .references = 1, .spins = threads <= cores() ? SPINS : SPINS_CROWDED};
    q3t_status status = Q3T_OK;
    if (posix_memalign((void **)&p->slots, LINE, sizeof(slot) * (size_t)threads)) status = Q3T_E_MEMORY, p->slots = NULL;
    for (int32_t i = 0; status == Q3T_OK && i < threads; i++) p->slots[i] = (slot){.pool = p, .index = i};
    if (status == Q3T_OK) status = start(p);
    if (status != Q3T_OK) {
        q3t_pool_close(p);
        return status;
    }
    *pool = p;
    return Q3T_OK;
}

void q3t_pool_retain(q3t_pool *p) { atomic_fetch_add(&p->references, 1); }

void q3t_pool_close(q3t_pool *p) {
    if (!p || atomic_fetch_sub(&p->references, 1) > 1) return;
    if (p->process == getpid()) stop(p);
    unmap_fork_mark(p);
    free(p->slots);
    free(p);
}

int32_t q3t_pool_threads(const q3t_pool *pool) { return pool ? pool->threads : 1; }

/* Returns how many grains of run `number` the workers have done. */
static int32_t done_by_workers(const q3t_pool *p, uint64_t number) {
    int32_t done = 0;
    for (int32_t i = 1; i < p->threads; i++) {
        const uint64_t theirs = atomic_load_explicit(&p->slots[i].done, memory_order_acquire);
        if (theirs >> GRAIN_BITS == number) done += (int32_t)(theirs & MAX_GRAINS);
    }
    return done;
}

void q3t_pool_run(q3t_pool *p, int32_t n, int32_t grain, q3t_task task, void *arg) {
    if (n <= 0) return;
    if (grain < 1) grain = 1;
    if (!p || p->threads == 1 || n <= grain) {
        task(arg, 0, n, 0);
        return;
    }
    while (grains_of(n, grain) > MAX_GRAINS) grain *= 2;
    const run r = {++p->runs, task, arg, n, grain};
    atomic_store_explicit(&p->slots[0].next, pack_word(r.number, 1), memory_order_relaxed);
    atomic_store_explicit(&p->number, 0, memory_order_relaxed);
    atomic_store_explicit(&p->task, task, memory_order_release);
    atomic_store_explicit(&p->arg, arg, memory_order_release);
    atomic_store_explicit(&p->n, n, memory_order_release);
    atomic_store_explicit(&p->grain, grain, memory_order_release);
    publish(p, r.number);
    task(arg, 0, grain, 0); /* grain 0 is the caller's, without compare-and-swap, which would wait for the stores above */
    const int32_t left = grains_of(n, grain) - 1 - do_grains(p, &r, 0);
    for (int i = 0; done_by_workers(p, r.number) < left; i++) {
        if (i < p->spins * 8) Q3T_PAUSE();
        else sched_yield(); /* a worker may have lost its core in the middle of a grain */
    }
}
