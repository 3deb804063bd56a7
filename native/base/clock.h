/* base/clock.h - seconds of a monotonic clock. A file defines _POSIX_C_SOURCE 200809L before it includes this header. */
#ifndef Q3T_CLOCK_H
#define Q3T_CLOCK_H
#include <time.h>

static inline double q3t_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
#endif
