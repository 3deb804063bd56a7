#if defined(__x86_64__)
#include "../kernels.h"
void q3t_kernels_init_avx512_bf16(q3t_kernels *k) { (void)k; }
#else
typedef int q3t_empty_tu;
#endif
