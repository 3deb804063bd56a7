/* kernels/bodies/vector.h - what a vector_<isa>.h defines, as the one vocabulary of the bodies:
 *   V, V_LEN                      floats in a vector
 *   v_set1 v_load v_store         any alignment
 *   v_load_n v_store_n v_first    the first n (1 .. V_LEN - 1) lanes; zeros elsewhere
 *   v_widen v_widen_n             from bf16
 *   v_even v_odd                  of 2 * V_LEN bf16, widened
 *   v_unzip                       of two vectors, the even and the odd elements
 *   v_add v_sub v_mul v_div v_abs v_round (to nearest even)
 *   v_fma(a, b, c) = a * b + c    v_fnma(a, b, c) = c - a * b
 *   v_accumulate                  v_fma into the register of c: compilers else move sums about and spill
 *   v_min v_max                   NaN where b is NaN
 *   v_keep(x, a, limit)           x, but 0 where a < limit
 *   v_scale(x, n) = x * 2^n       n integral, -126 .. 129
 *   v_sum v_sum4 v_largest        over the lanes, of one vector or of four
 *   v_held(x) = x                 in a register: GCC else repeats the load in each instruction that uses it */
#define V_INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define V_UNROLL _Pragma("clang loop unroll(full)")
#else
#define V_UNROLL _Pragma("GCC unroll 16")
#endif
