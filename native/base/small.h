/* base/small.h - arithmetic on integers that many files need. */
#ifndef Q3T_SMALL_H
#define Q3T_SMALL_H
#include <stddef.h>
#include <stdint.h>

static inline int32_t q3t_min(int32_t a, int32_t b) { return a < b ? a : b; }
static inline int32_t q3t_max(int32_t a, int32_t b) { return a > b ? a : b; }
static inline size_t q3t_max_size(size_t a, size_t b) { return a > b ? a : b; }
/* a / b rounded up; a >= 0, b >= 1. */
static inline int32_t q3t_ceil_div(int32_t a, int32_t b) { return a / b + (a % b != 0); }
/* 1 if low <= v <= high. */
static inline int q3t_in_range(int64_t v, int64_t low, int64_t high) { return v >= low && v <= high; }
#endif
