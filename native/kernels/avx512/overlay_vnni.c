/* kernels/avx512/overlay_vnni.c - the kernels for INT8 and INT4 weights for AVX-512 with VNNI, which has an instruction that
 * multiplies unsigned weights by a signed column and adds the products. */
#if defined(__x86_64__)
#include "kernels/table.h"
#include "q3t.h"
#include "base/target.h"
#include <immintrin.h>
Q3T_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")
#include "kernels/avx512/vector.h"
#include "kernels/avx512/quant.h"
typedef QB QW;
typedef QI Q4;
enum { QUANT_TILE_COLS = 6, QUANT_SINGLE_COLS = 8 };
#define QUANT_TILES(X) X(8, 1) X(7, 1) X(6, 1) X(5, 1) X(4, 2) X(3, 2) X(2, 2) X(1, 2)

/* Written in assembly, because GCC 12 copies the sum to another register and back for the intrinsic. */
V_INLINE QI q8_dot(QI sum, QW w, QB x) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(w), "v"(x));
    return sum;
}
V_INLINE QW q8_weights(QB w) { return w; }
V_INLINE Q4 q4_start(int32_t start) { return _mm512_set1_epi32(start); }
V_INLINE Q4 q4_dot(Q4 sum, QB w, QB x) { return q8_dot(sum, w, x); }
V_INLINE QI q4_sum(Q4 sum, int32_t start) { return (void)start, sum; }
#include "kernels/bodies/quant.h"

void q3t_kernels_init_avx512_vnni(q3t_kernels *k) {
    static const char isa[] = "avx512_vnni";
    Q3T_SET(k, linear_int8, isa);
    Q3T_SET(k, linear_int4, isa);
    (void)prepare_int8, (void)prepare_int4;
}
Q3T_TARGET_END
#else
typedef int q3t_empty_tu;
#endif
