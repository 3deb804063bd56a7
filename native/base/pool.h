/* base/pool.h - a thread pool: worker threads, and parallel runs that split a loop over them.
 *
 * q3t_pool_run splits the items [0, n) over the workers and the caller and returns when all are done. Each thread begins with
 * its own part of the items, the same part in every run of n items, so that it finds the same weights in the cache of its core;
 * then it takes the remaining items of other parts. A task must give the same results however the items are split. One run at
 * a time. */
#ifndef Q3T_POOL_H
#define Q3T_POOL_H
#include "base/status.h"

/* Do the items [begin, end) on thread `worker`, 0 .. threads - 1; a task may use this number to select scratch memory. */
typedef void (*q3t_task)(void *arg, int32_t begin, int32_t end, int32_t worker);

/* Add a reference, which q3t_pool_close removes. The last one ends the workers and frees the pool; a forked child has no workers
 * and only frees the pool. */
void q3t_pool_retain(q3t_pool *pool);
/* Call it at the beginning of every API call that runs tasks: in a child that was forked since the last call it starts the
 * workers again. Returns Q3T_E_THREAD if that fails. Takes NULL. */
q3t_status q3t_pool_ready(q3t_pool *pool);
/* Number of threads, the caller included. If `pool` is NULL, here and in q3t_pool_run, the caller is the only thread. */
int32_t q3t_pool_threads(const q3t_pool *pool);
/* Call task(arg, begin, end, worker) on the threads of the pool until all items [0, n) are done. grain: the smallest number of
 * items handed to a thread; every `begin` is a multiple of it. */
void q3t_pool_run(q3t_pool *pool, int32_t n, int32_t grain, q3t_task task, void *arg);
#endif
