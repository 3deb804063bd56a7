/* counted_memory.h - replaces malloc and similar functions of the C library, to count calls and to let them fail. It does not
 * count under sanitizers, which replace the same functions, and in a static program, where they cannot be replaced. COUNTED is
 * 1 where it counts, else 0. */
#ifndef COUNTED_MEMORY_H
#define COUNTED_MEMORY_H
#include <stdatomic.h>
#include <stddef.h>

static atomic_int counting;            /* 1 while calls are counted */
static atomic_int allocations;         /* counted calls */
static _Atomic size_t allocated_bytes; /* the sum of the sizes that they asked for */
static atomic_int refuse_after = -1;   /* counted calls that succeed from now on, before all fail; negative: none fails */

#if defined(__GLIBC__) && !defined(CHECK_STATIC) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define COUNTED 1
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t), *__libc_memalign(size_t, size_t);

/* Count a call. Returns 1 if it may succeed. */
static int count_memory(size_t bytes) {
    if (!atomic_load(&counting)) return 1;
    atomic_fetch_add(&allocations, 1);
    atomic_fetch_add(&allocated_bytes, bytes);
    int left = atomic_load(&refuse_after);
    if (left > 0) atomic_store(&refuse_after, left - 1);
    return left != 0;
}
void *malloc(size_t bytes) { return count_memory(bytes) ? __libc_malloc(bytes) : NULL; }
void *calloc(size_t n, size_t bytes) { return count_memory(n * bytes) ? __libc_calloc(n, bytes) : NULL; }
void *realloc(void *p, size_t bytes) { return count_memory(bytes) ? __libc_realloc(p, bytes) : NULL; }
void *aligned_alloc(size_t align, size_t bytes) { return count_memory(bytes) ? __libc_memalign(align, bytes) : NULL; }
int posix_memalign(void **p, size_t align, size_t bytes) {
    *p = count_memory(bytes) ? __libc_memalign(align, bytes) : NULL;
    return *p ? 0 : 12;
}
#else
#define COUNTED 0
#endif

/* Count calls from now on, beginning at 0. succeed: the calls that succeed before all others fail; negative: none fails. */
static inline void count_from_here(int succeed) {
    atomic_store(&allocations, 0);
    atomic_store(&allocated_bytes, 0);
    atomic_store(&refuse_after, succeed);
    atomic_store(&counting, 1);
}

static inline void count_no_more(void) {
    atomic_store(&counting, 0);
    atomic_store(&refuse_after, -1);
}
#endif
