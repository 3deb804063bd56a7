/* base/pool.c - fork and join over a few threads, in a fraction of a microsecond.
 *
 * What a run costs is cache lines that go from core to core, up to 300 ns each
 * where the cores share no cache. So all that a worker needs to know of a run is
 * in one line, and each thread writes a line of its own: the cursor of its part
 * of [0, n), which anyone may advance, first one's own, then the others', and
 * how much it has done. Cursors name the run they are of: nobody resets them, a
 * worker that comes late finds nothing to take, and the caller waits for what
 * was taken, never for a worker whose core may be gone to somebody else.
 * A worker that has waited long sleeps until a word changes, on Linux on the
 * futex itself: no run takes a lock, nor makes a system call but to wake it. */
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

/* Long enough to bridge the gaps inside one frame and a short visit to the caller's language, short enough to cost
 * nothing when the caller is away: about 100 microseconds. With more threads than cores a spinning one would keep
 * another from working. */
enum { SPINS = 4000, SPINS_CROWDED = 20, LINE = 64 };

/* A run's number and some of its grains, in one word: 44 bits last for years of runs that take five microseconds. */
enum { GRAIN_BITS = 20, MAX_GRAINS = (1 << GRAIN_BITS) - 1 };

typedef struct run {
    uint64_t number;
    q3t_task task;
    void *arg;
    int32_t n, grain;
} run;

/* One thread: the first is the caller. */
typedef struct lane {
    _Alignas(LINE) _Atomic uint64_t next;  /* grain of its part to take next; of an older run: none is taken */
    _Atomic uint64_t done;                 /* grains that the thread has done, of any part */
    q3t_pool *pool;
    pthread_t thread;
    int32_t index;
} lane;

struct q3t_pool {
    _Alignas(LINE) _Atomic uint64_t number;  /* of the run, from 1; 0 while the next one is written */
    uint64_t runs;                           /* the caller's count */
    _Atomic(q3t_task) task;
    _Atomic(void *) arg;
    atomic_int n, grain;
    _Alignas(LINE) atomic_int sleepers;
    atomic_int stop;
    atomic_uint called;  /* changes when sleepers are to look again */
#ifndef __linux__
    pthread_mutex_t mutex;
    pthread_cond_t wake;
#endif
    int32_t threads, started, spins;
    pid_t process;                           /* whose threads the workers are; 0: there are none */
    const int *mark;                         /* not 0 in that process, 0 in a forked child; NULL: ask for the process */
    lane *lanes;  /* (threads,) */
};

static uint64_t word(uint64_t number, int32_t grains) { return number << GRAIN_BITS | (uint32_t)grains; }

/* Take a grain of [first, end) of a lane's part; end if there is none. */
static int32_t take(lane *l, uint64_t number, int32_t first, int32_t end) {
    uint64_t next = atomic_load_explicit(&l->next, memory_order_relaxed);
    for (;;) {
        const uint64_t of = next >> GRAIN_BITS;
        const int32_t grain = of == number ? (int32_t)(next & MAX_GRAINS) : first;
        if (of > number || grain >= end) return end;
        if (atomic_compare_exchange_weak_explicit(&l->next, &next, word(number, grain + 1), memory_order_relaxed, memory_order_relaxed))
            return grain;
    }
}

static int32_t part_begin(int32_t grains, int32_t part, int32_t parts) {
    return (int32_t)(((int64_t)grains * part + parts - 1) / parts);
}

static int32_t grains_of(int32_t n, int32_t grain) { return (n - 1) / grain + 1; }

/* Do what is left of a run; returns the grains that were done here. */
static int32_t work(q3t_pool *p, const run *r, int32_t me) {
    const int32_t grains = grains_of(r->n, r->grain);
    int32_t done = 0;
    for (int32_t i = 0; i < p->threads; i++) {
        const int32_t part = (me + i) % p->threads, before = done;
        const int32_t first = part_begin(grains, part, p->threads), end = part_begin(grains, part + 1, p->threads);
        for (int32_t g; (g = take(&p->lanes[part], r->number, first, end)) < end; done++)
            r->task(r->arg, g * r->grain, g + 1 < grains ? (g + 1) * r->grain : r->n, me);
        if (done > before) atomic_store_explicit(&p->lanes[me].done, word(r->number, done), memory_order_release);
    }
    return done;
}

/* A run that is not number `seen`, read whole. */
static int enter(q3t_pool *p, uint64_t seen, run *r) {
    r->number = atomic_load(&p->number);
    if (r->number == 0 || r->number == seen) return 0;
    r->task = atomic_load_explicit(&p->task, memory_order_acquire);
    r->arg = atomic_load_explicit(&p->arg, memory_order_acquire);
    r->n = atomic_load_explicit(&p->n, memory_order_acquire);
    r->grain = atomic_load_explicit(&p->grain, memory_order_acquire);
    return atomic_load_explicit(&p->number, memory_order_relaxed) == r->number;
}

#ifdef __linux__
/* brief: for a millisecond at most. */
static void sleep_until_called(q3t_pool *p, unsigned seen, int brief) {
    const struct timespec millisecond = {.tv_nsec = 1000000};
    syscall(SYS_futex, &p->called, FUTEX_WAIT_PRIVATE, seen, brief ? &millisecond : NULL, NULL, 0);
}

static void call(q3t_pool *p) {
    atomic_fetch_add(&p->called, 1);
    syscall(SYS_futex, &p->called, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}
#else
static void sleep_until_called(q3t_pool *p, unsigned seen, int brief) {
    (void)brief;
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

/* Wait for a run, or for the end of the pool. */
static int await(q3t_pool *p, uint64_t seen, run *r) {
    for (int i = 0; i < p->spins; i++) {
        if (enter(p, seen, r)) return 1;
        Q3T_PAUSE();
    }
    atomic_fetch_add(&p->sleepers, 1);
    int in = 0;
    for (int brief = 1;; brief = 0) {
        unsigned called = atomic_load(&p->called);
        if ((in = enter(p, seen, r)) || atomic_load(&p->stop)) break;
        sleep_until_called(p, called, brief);
    }
    atomic_fetch_sub(&p->sleepers, 1);
    return in;
}

static void *worker_main(void *arg) {
    lane *l = arg;
    run r = {0};
    while (await(l->pool, r.number, &r)) work(l->pool, &r, l->index);
    return NULL;
}

/* On Linux without waiting until the workers' cores have seen the number: one that falls asleep in that moment is not
 * called, and looks again after a millisecond. */
static void publish(q3t_pool *p, uint64_t number) {
#ifdef __linux__
    atomic_store_explicit(&p->number, number, memory_order_release);
#else
    atomic_store(&p->number, number);
#endif
    if (atomic_load(&p->sleepers) > 0) call(p);
}

static int32_t cores(void) {
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    return (int32_t)sysconf(_SC_NPROCESSORS_ONLN);
}

/* A page that a forked child finds wiped, so that the frame loop need not ask the system which process it is in. */
static const int *mark_open(void) {
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

static void mark_close(q3t_pool *p) {
#ifdef __linux__
    if (p->mark) munmap((void *)(uintptr_t)p->mark, (size_t)sysconf(_SC_PAGESIZE));
#endif
    p->mark = NULL;
}

/* End the workers of this process. */
static void stop(q3t_pool *p) {
    atomic_store(&p->stop, 1);
    call(p);
    for (int32_t i = 1; i <= p->started; i++) pthread_join(p->lanes[i].thread, NULL);
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
    p->mark = mark_open();
    p->started = 0;
    for (int32_t i = 1; i < p->threads; i++) {
        if (pthread_create(&p->lanes[i].thread, NULL, worker_main, &p->lanes[i])) {
            stop(p);
            return Q3T_E_THREAD;
        }
        p->started++;
    }
    return Q3T_OK;
}

q3t_status q3t_pool_ready(q3t_pool *p) {
    if (!p || (p->process && (p->mark ? *p->mark : p->process == getpid()))) return Q3T_OK;
    mark_close(p);
    p->process = 0;
    atomic_store(&p->number, 0); /* or a new worker would look at the last run of the parent */
    atomic_store(&p->sleepers, 0);
    return start(p);
}

q3t_status q3t_pool_open(int32_t threads, q3t_pool **pool) {
    if (threads < 1 || threads > 1024) return Q3T_E_ARGUMENT;
    q3t_pool *p = NULL;
    if (posix_memalign((void **)&p, LINE, sizeof *p)) return Q3T_E_MEMORY;
    *p = (q3t_pool){.threads = threads, .spins = threads <= cores() ? SPINS : SPINS_CROWDED};
    q3t_status status = Q3T_OK;
    if (posix_memalign((void **)&p->lanes, LINE, sizeof(lane) * (size_t)threads)) status = Q3T_E_MEMORY, p->lanes = NULL;
    for (int32_t i = 0; status == Q3T_OK && i < threads; i++) p->lanes[i] = (lane){.pool = p, .index = i};
    if (status == Q3T_OK) status = start(p);
    if (status != Q3T_OK) {
        q3t_pool_close(p);
        return status;
    }
    *pool = p;
    return Q3T_OK;
}

void q3t_pool_close(q3t_pool *p) {
    if (!p) return;
    if (p->process == getpid()) stop(p);
    mark_close(p);
    free(p->lanes);
    free(p);
}

int32_t q3t_pool_threads(const q3t_pool *pool) { return pool ? pool->threads : 1; }

/* Grains of a run that the workers have done. */
static int32_t done_by_workers(const q3t_pool *p, uint64_t number) {
    int32_t done = 0;
    for (int32_t i = 1; i < p->threads; i++) {
        const uint64_t theirs = atomic_load_explicit(&p->lanes[i].done, memory_order_acquire);
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
    atomic_store_explicit(&p->lanes[0].next, word(r.number, 1), memory_order_relaxed);
    atomic_store_explicit(&p->number, 0, memory_order_relaxed);
    atomic_store_explicit(&p->task, task, memory_order_release);
    atomic_store_explicit(&p->arg, arg, memory_order_release);
    atomic_store_explicit(&p->n, n, memory_order_release);
    atomic_store_explicit(&p->grain, grain, memory_order_release);
    publish(p, r.number);
    task(arg, 0, grain, 0); /* its own without taking it: an atomic operation waits until the stores above are seen */
    const int32_t left = grains_of(n, grain) - 1 - work(p, &r, 0);
    for (int i = 0; done_by_workers(p, r.number) < left; i++) {
        if (i < p->spins * 8) Q3T_PAUSE();
        else sched_yield(); /* a worker has lost its core at its work: leave it this one */
    }
}
