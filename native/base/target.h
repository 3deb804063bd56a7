/* base/target.h - macros that compile a region of a file for a larger instruction set than the rest of the library. Pragmas that
 * differ between compilers to do that are in this file only. */
#define Q3T_PRAGMA(x) _Pragma(#x)
#ifdef Q3T_NO_TARGET_PRAGMA            /* the build system passes -m flags for each file */
#define Q3T_TARGET_BEGIN(t)
#define Q3T_TARGET_END
#elif defined(__clang__)
#define Q3T_TARGET_BEGIN(t) Q3T_PRAGMA(clang attribute push(__attribute__((target(t))), apply_to = function))
#define Q3T_TARGET_END Q3T_PRAGMA(clang attribute pop)
#else
#define Q3T_TARGET_BEGIN(t) Q3T_PRAGMA(GCC push_options) Q3T_PRAGMA(GCC target(t))
#define Q3T_TARGET_END Q3T_PRAGMA(GCC pop_options)
#endif
/* aarch64: GCC inlines an intrinsic only into a function whose architecture is at least the one that arm_neon.h declares it
 * for (armv8.2-a): "+dotprod" alone fails; "arch=armv8.2-a+dotprod" is accepted by GCC and clang. */
#define Q3T_TGT(f) "arch=armv8.2-a" f
/* For a waiting loop: leaves the core's execution units to the other hyperthread. */
#if defined(__x86_64__)
#define Q3T_PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define Q3T_PAUSE() __asm__ volatile("yield")
#else
#define Q3T_PAUSE() ((void)0)
#endif
/* clang before 16 declares the intrinsics of extensions only under -march, so that a region cannot use them: there the
 * overlays of the extensions are empty and the baseline NEON kernels remain. */
#if defined(__clang__) && __clang_major__ < 16 && !defined(Q3T_NO_TARGET_PRAGMA)
#define Q3T_ARM_EXT 0
#else
#define Q3T_ARM_EXT 1
#endif
