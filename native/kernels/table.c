/* kernels/table.c - fills the kernel table for a processor: the scalar kernels first, then the overlays of its instruction sets.
 * A later overlay replaces entries that an earlier one set. */
#include "kernels/peaks/loops.h"
#include "q3t.h"

void q3t_kernels_init(q3t_kernels *k, uint32_t flags) {
    q3t_kernels_init_scalar(k);
    q3t_kernels_init_scalar_quant(k);
    q3t_kernels_init_scalar_coded(k);
#if defined(__x86_64__)
    if (!(flags & Q3T_CPU_AVX2)) return;
    q3t_kernels_init_avx2(k);
    if (!(flags & Q3T_CPU_AVX512)) return;
    q3t_kernels_init_avx512(k);
    if (flags & Q3T_CPU_AVX512_VNNI) q3t_kernels_init_avx512_vnni(k);
#elif defined(__aarch64__)
    if (!(flags & Q3T_CPU_NEON)) return;
    q3t_kernels_init_neon(k);
    if (flags & Q3T_CPU_NEON_DOTPROD) q3t_kernels_init_neon_dotprod(k);
    if ((flags & Q3T_CPU_NEON_DOTPROD) && (flags & Q3T_CPU_NEON_I8MM)) q3t_kernels_init_neon_i8mm(k);
    if (flags & Q3T_CPU_NEON_BF16) q3t_kernels_init_neon_bf16(k);
#else
    (void)flags;
#endif
}

q3t_int4_packer *q3t_int4_packer_for(uint32_t flags) {
#if defined(__x86_64__)
    if (flags & Q3T_CPU_AVX2) return q3t_int4_pack_avx2;
#else
    (void)flags;
#endif
    return q3t_int4_pack_scalar;
}

void q3t_peaks_init(q3t_peaks *p, uint32_t flags) {
    q3t_peaks_init_scalar(p);
#if defined(__x86_64__)
    q3t_peaks_init_x86(p, flags);
#elif defined(__aarch64__)
    q3t_peaks_init_neon(p, flags);
#else
    (void)flags;
#endif
}

/* Copy s to text + used as far as it fits into `size` bytes with a final zero; returns used + the full length of s. */
static size_t append(char *text, size_t size, size_t used, const char *s) {
    for (; *s; s++, used++)
        if (used + 1 < size) text[used] = *s;
    return used;
}

size_t q3t_kernels_text(uint32_t cpu_mask, char *text, size_t size) {
    q3t_kernels k;
    size_t used = 0;
    q3t_kernels_init(&k, cpu_mask & q3t_cpu_flags());
#define Q3T_APPEND(entry, SIGNATURE) \
    used = append(text, size, used, used ? " " #entry "=" : #entry "="); \
    used = append(text, size, used, k.entry##_isa);
    Q3T_KERNEL_TABLE(Q3T_APPEND)
#undef Q3T_APPEND
    if (size) text[used < size ? used : size - 1] = '\0';
    return used;
}
