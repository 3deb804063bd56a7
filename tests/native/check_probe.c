/* check_probe.c - checks that q3t_probe measures with every mask of instruction sets, and that it refuses wrong arguments. */
#include "kernels/peaks/loops.h"
#include "q3t.h"
#include <stdio.h>
#include <stdlib.h>

enum { MEMORY = 3 << 18 };

static int failures;

static void expect(int ok, const char *what, uint32_t mask, int32_t threads) {
    if (ok) return;
    failures++;
    printf("  FAIL %s, mask %x, %d threads\n", what, mask, threads);
}

static void check(uint32_t mask, int32_t threads, const void *memory) {
    q3t_model_options options = {.cpu_mask = mask, .threads = threads};
    q3t_probe *p = NULL;
    q3t_peaks peaks;
    double value = 0;
    expect(q3t_probe_open(&options, &p) == Q3T_OK, "open", mask, threads);
    if (!p) return;
    q3t_peaks_init(&peaks, mask & q3t_cpu_flags());
    for (int what = Q3T_PEAK_F32; what <= Q3T_PEAK_INT8; what++) {
        int exists = what != Q3T_PEAK_BF16 || peaks.bf16 != NULL;
        value = -1;
        expect(q3t_probe_peak(p, (q3t_peak)what, 0, &value) == Q3T_OK, "peak", mask, threads);
        expect(exists ? value > 0 : value == 0, "operations a second", mask, threads);
    }
    expect(q3t_probe_read(p, memory, MEMORY, &value) == Q3T_OK && value > 0, "read", mask, threads);
    expect(q3t_probe_barrier(p, 20, &value) == Q3T_OK && value > 0, "barrier", mask, threads);
    expect(q3t_probe_barrier(p, 20, &value) == Q3T_OK && value > 0, "a second barrier", mask, threads);
    q3t_probe_close(p);
}

static void check_arguments(const void *memory) {
    q3t_model_options options = {.cpu_mask = Q3T_CPU_ALL, .threads = 1}, none = {.cpu_mask = Q3T_CPU_ALL};
    q3t_probe *p = NULL;
    double value;
    expect(q3t_probe_open(NULL, &p) == Q3T_E_ARGUMENT, "no options", 0, 0);
    expect(q3t_probe_open(&none, &p) == Q3T_E_ARGUMENT && !p, "no threads", 0, 0);
    if (q3t_probe_open(&options, &p) != Q3T_OK) return;
    expect(q3t_probe_read(p, memory, 1000, &value) == Q3T_E_ARGUMENT, "too few bytes", 0, 1);
    expect(q3t_probe_read(p, NULL, MEMORY, &value) == Q3T_E_ARGUMENT, "no memory", 0, 1);
    expect(q3t_probe_peak(p, (q3t_peak)7, 0, &value) == Q3T_E_ARGUMENT, "no such peak", 0, 1);
    expect(q3t_probe_barrier(p, 0, &value) == Q3T_E_ARGUMENT, "no rounds", 0, 1);
    q3t_probe_close(p);
    q3t_probe_close(NULL);
}

int main(void) {
    static const uint32_t masks[] = {
        0, Q3T_CPU_AVX2, Q3T_CPU_AVX2 | Q3T_CPU_AVX512, Q3T_CPU_AVX2 | Q3T_CPU_AVX512 | Q3T_CPU_AVX512_VNNI,
        Q3T_CPU_NEON, Q3T_CPU_NEON | Q3T_CPU_NEON_DOTPROD, Q3T_CPU_ALL};
    char *memory = calloc(1, MEMORY);
    if (!memory) return 2;
    for (size_t i = 0; i < sizeof masks / sizeof *masks; i++)
        for (int32_t threads = 1; threads <= 3; threads++) check(masks[i], threads, memory);
    check_arguments(memory);
    free(memory);
    if (!failures) printf("check_probe: ok\n");
    return failures != 0;
}
