/* kernels/bodies/level.h - rounding of a weight to an integer level. */
#ifndef Q3T_LEVEL_H
#define Q3T_LEVEL_H
/* Limits x to low .. high and rounds it to the nearest integer, ties to even: a float near 1.5 * 2^23 has no bits for a fraction.
 * x is limited before the addition. Otherwise, if x is a product, a compiler could fuse it with the addition and so round once
 * instead of twice. */
static inline float level(float x, float low, float high) {
    const float no_fraction = 12582912;
    x = x > low ? x : low;
    x = x < high ? x : high;
    return (x + no_fraction) - no_fraction;
}
#endif
