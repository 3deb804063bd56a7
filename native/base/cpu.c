/* base/cpu.c - finds the instruction sets that the processor and the operating system support. It reads cpuid and xgetbv on
 * x86-64, HWCAP or sysctl on AArch64, because __builtin_cpu_supports is not reliable everywhere. */
#include "q3t.h"
#if defined(__x86_64__)
#include <cpuid.h>
static uint64_t xgetbv0(void) {
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return ((uint64_t)hi << 32) | lo;
}
uint32_t q3t_cpu_flags(void) {
    uint32_t a, b, c, d, f = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
    if ((c & 0x38001000u) != 0x38001000u) return 0;      /* F16C, OSXSAVE, AVX, FMA */
    uint64_t xcr0 = xgetbv0();
    if ((xcr0 & 0x6) != 0x6) return 0;                    /* the OS saves XMM and YMM */
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    uint32_t max_sub = a;
    if (!(b & (1u << 5))) return 0;
    f |= Q3T_CPU_AVX2;
    if ((xcr0 & 0xe6) != 0xe6) return f;                  /* the OS saves the mask registers and ZMM */
    if ((b & 0xC0030000u) != 0xC0030000u) return f;       /* F, DQ, BW, VL */
    f |= Q3T_CPU_AVX512;
    if (c & (1u << 11)) f |= Q3T_CPU_AVX512_VNNI;
    if (max_sub >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & (1u << 5)))
        f |= Q3T_CPU_AVX512_BF16;
    return f;
}
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
uint32_t q3t_cpu_flags(void) {
    unsigned long h = getauxval(AT_HWCAP), h2 = getauxval(AT_HWCAP2);
    uint32_t f = Q3T_CPU_NEON;
    if (h & (1ul << 20)) f |= Q3T_CPU_NEON_DOTPROD;
    if (h2 & (1ul << 13)) f |= Q3T_CPU_NEON_I8MM;
    if (h2 & (1ul << 14)) f |= Q3T_CPU_NEON_BF16;
    return f;
}
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
static int has(const char *k) { int v = 0; size_t n = sizeof v; return !sysctlbyname(k, &v, &n, 0, 0) && v; }
uint32_t q3t_cpu_flags(void) {
    uint32_t f = Q3T_CPU_NEON;
    if (has("hw.optional.arm.FEAT_DotProd")) f |= Q3T_CPU_NEON_DOTPROD;
    if (has("hw.optional.arm.FEAT_I8MM")) f |= Q3T_CPU_NEON_I8MM;
    if (has("hw.optional.arm.FEAT_BF16")) f |= Q3T_CPU_NEON_BF16;
    return f;
}
#else
uint32_t q3t_cpu_flags(void) { return 0; }
#endif
