/* base/build.c - tells which compiler built the engine and which C library it runs with. */
#include "q3t.h"
#include <stdio.h>
#if defined(__GLIBC__)
#include <gnu/libc-version.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif

#define TEXT_OF(x) #x
#define VERSION_TEXT(major, minor, patch) TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(patch)
#if defined(__apple_build_version__)
#define COMPILER "Apple clang " VERSION_TEXT(__clang_major__, __clang_minor__, __clang_patchlevel__)
#elif defined(__clang__)
#define COMPILER "clang " VERSION_TEXT(__clang_major__, __clang_minor__, __clang_patchlevel__)
#elif defined(__GNUC__)
#define COMPILER "gcc " VERSION_TEXT(__GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__)
#else
#define COMPILER "unknown compiler"
#endif

/* The C library at run time: its exp, sin and cos take part in the samples, and differ between versions. */
static const char *libc_text(char *version, size_t size) {
#if defined(__GLIBC__)
    snprintf(version, size, "glibc %s", gnu_get_libc_version());
    return version;
#elif defined(__APPLE__)
    char number[32] = "";
    size_t length = sizeof number - 1;
    if (sysctlbyname("kern.osproductversion", number, &length, NULL, 0)) return "macOS";
    snprintf(version, size, "macOS %s", number);
    return version;
#elif defined(__linux__)
    (void)version, (void)size;
    return "musl"; /* of the C libraries for Linux only musl defines no macro */
#else
    (void)version, (void)size;
    return "unknown C library";
#endif
}

size_t q3t_build_text(char *text, size_t size) {
    char version[64];
    const int length = snprintf(text, size, "%s, %s", COMPILER, libc_text(version, sizeof version));
    return length < 0 ? 0 : (size_t)length;
}
