/* kernels/bodies/vector.h - what each <isa>/vector.h defines for the bodies:
 *   V, V_LEN                      a vector of floats; their number
 *   v_set1(x)                     x in every lane
 *   v_load v_store                at any alignment
 *   v_load_n v_store_n            the first n (1 .. V_LEN - 1) lanes; a load sets the others to 0
 *   v_first(x, n)                 the first n (1 .. V_LEN - 1) lanes of x, others 0
 *   v_widen v_widen_n             load V_LEN, or the first n, bf16 as floats
 *   v_even v_odd                  load the even or the odd ones of 2 * V_LEN bf16 as floats
 *   v_unzip                       the even and the odd elements of two vectors
 *   v_add v_sub v_mul v_div v_abs v_round (to the nearest integer, ties to even)
 *   v_fma(a, b, c) = a * b + c    v_fnma(a, b, c) = c - a * b
 *   v_accumulate(a, b, c)         v_fma in assembly, into the register of c: compilers otherwise copy and spill sums
 *   v_min(a, b) v_max(a, b)       NaN where b is NaN
 *   v_keep(x, a, limit)           x, but 0 where a < limit
 *   v_scale(x, n) = x * 2^n       n an integer, -126 .. 129
 *   v_sum v_sum4 v_largest        sum over the lanes of one vector, of four vectors; maximum over the lanes
 *   v_in_register(x) = x          loaded once: GCC otherwise repeats the load in each instruction that uses x */
#define V_INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define V_UNROLL _Pragma("clang loop unroll(full)")
#else
#define V_UNROLL _Pragma("GCC unroll 16")
#endif
