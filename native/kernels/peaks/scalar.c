/* kernels/peaks/scalar.c - the loops of kernels/peaks/loops.h in plain C, for processors without a vector unit that the other files
 * know; the compiler may vectorise them. */
#include "kernels/peaks/loops.h"

static Q3T_PEAK_LOOP(f32) {
    enum { LANES = 32 };
    float sums[LANES];
    volatile float operand = 1, result;
    float a = operand;
    for (int j = 0; j < LANES; j++) sums[j] = operand;
    for (int32_t i = 0; i < rounds; i++)
        for (int j = 0; j < LANES; j++) sums[j] = sums[j] * a + a;
    for (int j = 0; j < LANES; j++) result = sums[j];
    (void)result;
    return 2.0 * LANES * rounds;
}

static Q3T_PEAK_LOOP(int8) {
    enum { LANES = 32 };
    uint32_t sums[LANES];
    volatile int8_t operand = 3;
    volatile uint32_t result;
    for (int j = 0; j < LANES; j++) sums[j] = (uint32_t)j;
    for (int32_t i = 0; i < rounds; i++) {
        int8_t a = operand;
        for (int j = 0; j < LANES; j++) sums[j] += (uint32_t)((int8_t)sums[j] * a);
    }
    for (int j = 0; j < LANES; j++) result = sums[j];
    (void)result;
    return 2.0 * LANES * rounds;
}

void q3t_peaks_init_scalar(q3t_peaks *p) { *p = (q3t_peaks){f32, NULL, int8}; }
