/* packed_check.h - shared by the checks of packed weights: memory, random numbers, comparison and time. */
#ifndef PACKED_CHECK_H
#define PACKED_CHECK_H
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Returns memory at a 64-byte boundary; ends the program if there is none. */
static void *reserve(size_t bytes) {
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!p) exit(2);
    return p;
}

static uint64_t random_state = 1;
/* Returns 31 random bits. */
static uint32_t draw(void) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33);
}
/* Returns a random number, uniform in -0.5 .. 0.5. */
static float uniform(void) { return (float)(draw() >> 7) / (float)(1 << 24) - 0.5f; }
/* Returns a random number of a distribution that is about normal, with variance 1. */
static float normal(void) {
    float sum = 0;
    for (int i = 0; i < 6; i++) sum += uniform();
    return sum * 1.4142f;
}

/* 1 if a and b, (n,) each, have equal bits; all NaN count as equal. */
static int same(const float *a, const float *b, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (memcmp(a + i, b + i, 4) && !(isnan(a[i]) && isnan(b[i]))) return 0;
    return 1;
}

/* Seconds of a monotonic clock. */
static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
#endif
