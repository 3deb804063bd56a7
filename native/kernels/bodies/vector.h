/* kernels/bodies/vector.h - the list of vector operations that the bodies use. Each instruction set defines them in its own
 * <isa>/vector.h, which includes this file:
 *   V, V_LEN                      a vector of floats; its number of floats
 *   v_set1(x)                     x in every lane
 *   v_load v_store                V_LEN floats at any alignment
 *   v_load_n v_store_n            the first n (1 .. V_LEN - 1) lanes; a load sets the others to 0
 *   v_first(x, n)                 the first n (1 .. V_LEN - 1) lanes of x; the others are 0
 *   v_widen v_widen_n             load V_LEN bf16, or the first n, as floats
 *   v_even v_odd                  load those of 2 * V_LEN bf16 that are at even or at odd places, as floats
 *   v_unzip                       split two vectors into the elements at even places and those at odd places
 *   v_add v_sub v_mul v_div v_abs v_round (to the nearest integer, ties to even)
 *   v_fma(a, b, c) = a * b + c    v_fnma(a, b, c) = c - a * b
 *   v_accumulate(a, b, c)         v_fma in assembly, into the register of c: compilers otherwise copy and spill sums
 *   v_min(a, b) v_max(a, b)       NaN where b is NaN
 *   v_keep(x, a, limit)           x, but 0 where a < limit
 *   v_scale(x, n) = x * 2^n       n: integers as floats, -126 .. 129
 *   v_sum v_sum4 v_largest        sum over the lanes of one vector, of four vectors; maximum over the lanes
 *   v_in_register(x) = x          keeps x in a register: GCC otherwise repeats the load in each instruction that uses x */
#define V_INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define V_UNROLL _Pragma("clang loop unroll(full)")
#else
#define V_UNROLL _Pragma("GCC unroll 16")
#endif
