/* kernels/bodies/level.h - the levels of quantised weights. */
#ifndef Q3T_LEVEL_H
#define Q3T_LEVEL_H
/* x within low .. high and to the nearest integer, ties to even: at this magnitude the sum has no room for a fraction.
 * The product that x may be is cut first, so it cannot be fused with the sum. */
static inline float level(float x, float low, float high) {
    const float no_fraction = 12582912;
    x = x > low ? x : low;
    x = x < high ? x : high;
    return (x + no_fraction) - no_fraction;
}
#endif
