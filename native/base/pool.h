/* base/pool.h - the worker threads of a model.
 *
 * q3t_pool_run splits [0, n) over the workers and the caller and returns when
 * all of it is done. Each worker begins with its own part, so that the same
 * weights meet the same cache again, then takes what is left of the others'.
 * Which worker does what never changes a result. One run at a time. */
#ifndef Q3T_POOL_H
#define Q3T_POOL_H
#include "base/status.h"

typedef struct q3t_pool q3t_pool;
/* Do the items [begin, end); worker: 0 .. threads - 1, for scratch. */
typedef void (*q3t_task)(void *arg, int32_t begin, int32_t end, int32_t worker);

/* threads: >= 1, the caller of q3t_pool_run included. */
q3t_status q3t_pool_open(int32_t threads, q3t_pool **pool);
/* In a forked child the workers do not exist: then memory is freed and nobody is waited for. */
void q3t_pool_close(q3t_pool *pool);
/* To be called before the runs of one call of the API: in a child that was forked since the last one, outside a run, it
 * starts the workers again. NULL is ready. */
q3t_status q3t_pool_ready(q3t_pool *pool);
/* NULL is a pool of one: the caller. */
int32_t q3t_pool_threads(const q3t_pool *pool);
/* grain: items that are worth handing out at a time; ranges begin at multiples of it. */
void q3t_pool_run(q3t_pool *pool, int32_t n, int32_t grain, q3t_task task, void *arg);
#endif
