/* kernels/peaks/loops.h - loops that measure the peak arithmetic rate of a core. Their sums stay in registers, so that memory does
 * not limit them. */
#ifndef Q3T_PEAKS_H
#define Q3T_PEAKS_H
#include "kernels/table.h"

/* Runs `rounds` rounds of a loop. Returns the number of operations; a multiply-add counts as two. */
#define Q3T_PEAK_LOOP(name) double name(int32_t rounds)

/* The fastest loop of each kind; NULL: the processor has no such instruction. */
typedef struct q3t_peaks {
    Q3T_PEAK_LOOP((*f32));   /* multiply-adds */
    Q3T_PEAK_LOOP((*bf16));  /* dot products of bf16 into f32 in one instruction */
    Q3T_PEAK_LOOP((*int8));  /* dot products of bytes into int32 */
} q3t_peaks;

/* Choose the loops that `flags` (bits of q3t_cpu) allow. */
void q3t_peaks_init(q3t_peaks *p, uint32_t flags);
/* Each of these functions sets the loops of some instruction sets. */
void q3t_peaks_init_scalar(q3t_peaks *p);
void q3t_peaks_init_x86(q3t_peaks *p, uint32_t flags);
void q3t_peaks_init_neon(q3t_peaks *p, uint32_t flags);

#ifdef __clang__
#define PEAK_UNROLL _Pragma("clang loop unroll(full)")
#else
#define PEAK_UNROLL _Pragma("GCC unroll 32")
#endif
/* Defines a loop over `chains` independent sums of type T, enough sums to hide the latency. `step` adds a product of a and b to
 * `sum` and does `operations` operations. The including file defines PEAK_OPAQUE(x), which hides the value of x from the compiler:
 * it could otherwise compute a step once and leave out the others. */
#define PEAK(name, T, chains, value, operations, step) \
    static Q3T_PEAK_LOOP(name) { \
        T sums[chains], a = value, b = value; \
        PEAK_UNROLL for (int j = 0; j < (chains); j++) sums[j] = value; \
        for (int32_t i = 0; i < rounds; i++) \
            PEAK_UNROLL for (int j = 0; j < (chains); j++) { \
                T sum = sums[j]; \
                PEAK_OPAQUE(a); \
                PEAK_OPAQUE(b); \
                step; \
                sums[j] = sum; \
            } \
        PEAK_UNROLL for (int j = 0; j < (chains); j++) PEAK_OPAQUE(sums[j]); \
        return (double)rounds * (chains) * (operations); \
    }
#endif
