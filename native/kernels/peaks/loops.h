/* kernels/peaks/loops.h - arithmetic as fast as a core does it, for measuring: sums that never leave their registers. */
#ifndef Q3T_PEAKS_H
#define Q3T_PEAKS_H
#include "kernels/table.h"

/* Do `rounds` rounds; returns the operations done, of which a multiply-add is two. */
#define Q3T_PEAK_LOOP(name) double name(int32_t rounds)

/* NULL: there is no such instruction. */
typedef struct q3t_peaks {
    Q3T_PEAK_LOOP((*f32));   /* multiply-adds */
    Q3T_PEAK_LOOP((*bf16));  /* dot products of bf16 into f32, by an instruction made for them */
    Q3T_PEAK_LOOP((*int8));  /* dot products of bytes into 32 bits */
} q3t_peaks;

/* The fastest of each that `flags` (q3t_cpu) allows. */
void q3t_peaks_init(q3t_peaks *p, uint32_t flags);
void q3t_peaks_init_scalar(q3t_peaks *p);
void q3t_peaks_init_x86(q3t_peaks *p, uint32_t flags);
void q3t_peaks_init_neon(q3t_peaks *p, uint32_t flags);

#ifdef __clang__
#define PEAK_UNROLL _Pragma("clang loop unroll(full)")
#else
#define PEAK_UNROLL _Pragma("GCC unroll 32")
#endif
/* A loop over CHAINS sums, enough to hide the latency: `step` adds to `sum` what is made of a and b, `operations` in all.
 * PEAK_HELD (x: any operand) hides a value from the compiler, which else would do the work once. */
#define PEAK(name, T, chains, value, operations, step) \
    static Q3T_PEAK_LOOP(name) { \
        T sums[chains], a = value, b = value; \
        PEAK_UNROLL for (int j = 0; j < (chains); j++) sums[j] = value; \
        for (int32_t i = 0; i < rounds; i++) \
            PEAK_UNROLL for (int j = 0; j < (chains); j++) { \
                T sum = sums[j]; \
                PEAK_HELD(a); \
                PEAK_HELD(b); \
                step; \
                sums[j] = sum; \
            } \
        PEAK_UNROLL for (int j = 0; j < (chains); j++) PEAK_HELD(sums[j]); \
        return (double)rounds * (chains) * (operations); \
    }
#endif
