/* base/target.h - compile a region of a file for a wider instruction set than the
 * rest of the library. GCC and clang spell it differently; nothing else may. */
#define Q3T_PRAGMA(x) _Pragma(#x)
#ifdef Q3T_NO_TARGET_PRAGMA            /* build system passes -m flags per file */
#define Q3T_TARGET_BEGIN(t)
#define Q3T_TARGET_END
#elif defined(__clang__)
#define Q3T_TARGET_BEGIN(t) Q3T_PRAGMA(clang attribute push(__attribute__((target(t))), apply_to = function))
#define Q3T_TARGET_END Q3T_PRAGMA(clang attribute pop)
#else
#define Q3T_TARGET_BEGIN(t) Q3T_PRAGMA(GCC push_options) Q3T_PRAGMA(GCC target(t))
#define Q3T_TARGET_END Q3T_PRAGMA(GCC pop_options)
#endif
/* aarch64: GCC inlines an intrinsic only into a caller whose base architecture is
 * at least the one arm_neon.h compiled it for (armv8.2-a), so "+dotprod" alone
 * fails there; "arch=armv8.2-a+dotprod" is accepted by both. */
#define Q3T_TGT(f) "arch=armv8.2-a" f
/* What a waiting loop does to leave the core to the other hyperthread. */
#if defined(__x86_64__)
#define Q3T_PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define Q3T_PAUSE() __asm__ volatile("yield")
#else
#define Q3T_PAUSE() ((void)0)
#endif
/* clang < 16 declares the extension intrinsics only under -march, so a region
 * cannot reach them: those files then add nothing and baseline NEON stays. */
#if defined(__clang__) && __clang_major__ < 16 && !defined(Q3T_NO_TARGET_PRAGMA)
#define Q3T_ARM_EXT 0
#else
#define Q3T_ARM_EXT 1
#endif
