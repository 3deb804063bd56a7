/* kernel_check.h - shared by the kernel checks: arrays that detect reads and writes outside them, random and extreme numbers,
 * comparison, and the count of failures. */
#ifndef KERNEL_CHECK_H
#define KERNEL_CHECK_H
#include "kernels/table.h"
#include "q3t.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { REGIONS = 64, REGION_BYTES = 4 << 20, CANARY_BYTES = 256, CANARY = 0xa5 };

static struct {
    unsigned char *end[REGIONS], *data[REGIONS];
    int used, failures;
    uint64_t seed;
    char what[160];  /* the current case, for messages */
} check = {.seed = 1};

/* Count a failure; the first ones are printed. */
static void expect(int ok, const char *how) {
    if (ok) return;
    if (check.failures++ < 20) printf("  FAIL %s: %s\n", check.what, how);
}

/* Map memory regions, each followed by a page without access. */
static void check_open(void) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < REGIONS; i++) {
        unsigned char *p = mmap(NULL, REGION_BYTES + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED || mprotect(p + REGION_BYTES, page, PROT_NONE)) exit(2);
        check.end[i] = p + REGION_BYTES;
    }
}

/* Allocate `bytes` bytes at the end of a region. An access beyond them is a fault. Known bytes, the canary, lie before them and
 * show whether a kernel wrote there. The memory is valid until check_release. */
static void *guarded(size_t bytes) {
    if (check.used == REGIONS || bytes + CANARY_BYTES > REGION_BYTES) exit(2);
    unsigned char *p = check.end[check.used] - bytes;
    memset(p - CANARY_BYTES, CANARY, CANARY_BYTES);
    return check.data[check.used++] = p;
}

static float *guarded_floats(size_t n) { return guarded(n * sizeof(float)); }

/* Free all arrays except the first `used`. A write in front of a freed array counts as a failure. */
static void check_release(int used) {
    while (check.used > used) {
        const unsigned char *p = check.data[--check.used] - CANARY_BYTES;
        int intact = 1;
        for (int i = 0; i < CANARY_BYTES; i++) intact &= p[i] == CANARY;
        expect(intact, "wrote in front of an array");
    }
}

static uint32_t bits(void) {
    check.seed = check.seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(check.seed >> 32);
}
static int32_t below(int32_t n) { return (int32_t)(bits() % (uint32_t)n); }
static float unit(void) { return (float)(int32_t)bits() * 0x1p-31f; }

/* Kinds of random numbers. ORDINARY: -4 .. 4. WIDE: magnitudes 2^-30 .. 2^30. EXTREME: half of them as ORDINARY, half zeros,
 * subnormals, limits of exp, and very large numbers. */
typedef enum kind { ORDINARY, WIDE, EXTREME, KINDS } kind;

static float number(kind k) {
    static const float edges[] = {0.0f, -0.0f, 1e-45f, -1e-40f, 0x1p-126f, 87.0f, 87.3f, 88.7f, -87.2f, -87.4f, -88.8f, -104.0f,
                                  103.0f, 0.5f, -1.0f, 1.0f, 1.5f, 9999.0f, -1e4f, 1e15f, -1e18f, 1e-18f};
    if (k == WIDE) {
        uint32_t u = (bits() & 0x807fffff) | (uint32_t)(97 + below(60)) << 23;
        float f;
        memcpy(&f, &u, 4);
        return f;
    }
    if (k == EXTREME && bits() % 2) return edges[below(sizeof edges / sizeof *edges)];
    return 4 * unit();
}
static void numbers(float *x, size_t n, kind k) {
    for (size_t i = 0; i < n; i++) x[i] = number(k);
}

/* Returns a NaN that no kernel computes: an element that still has these bits was not written. */
static float unwritten(void) {
    const uint32_t u = 0x7fc0dead;
    float f;
    memcpy(&f, &u, 4);
    return f;
}
static void unwrite(float *x, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = unwritten();
}
static int same(const float *a, const float *b, size_t n) { return memcmp(a, b, n * sizeof *a) == 0; }
static int is_unwritten(float x) {
    float f = unwritten();
    return same(&x, &f, 1);
}

/* 1 if `got` is within the tolerance of `want`; if `want` is not finite, 1 if `got` is not finite either. */
static int close_to(double got, double want, double tolerance) {
    return isfinite(want) ? fabs(got - want) <= tolerance : !isfinite(got);
}

#define ULP 0x1p-24  /* relative error of one rounding */
#endif
