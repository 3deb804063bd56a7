/* base/arena.c - the arena: one block of memory from calloc, carved into pieces (base/arena.h). The pages of a large block from
 * calloc take no memory until they are written to: an arena for the longest utterance takes only what the utterance uses. */
#define _DEFAULT_SOURCE
#include "base/arena.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define Q3T_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define Q3T_ASAN 1
#endif
#endif
#ifdef Q3T_ASAN
#include <sanitizer/asan_interface.h>
enum { GAP = 64 };
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
enum { GAP = 0 };
#endif
enum { ALIGN = 64, HUGE_PAGE = 2 << 20 };

q3t_status q3t_mul(size_t a, size_t b, size_t *out) {
    if (b != 0 && a > SIZE_MAX / b) return Q3T_E_SIZE;
    *out = a * b;
    return Q3T_OK;
}

void *q3t_carve(q3t_arena *a, size_t count, size_t bytes) {
    size_t n;
    if (q3t_mul(count, bytes, &n) != Q3T_OK || n > SIZE_MAX / 4 - a->used) {
        a->overflow = 1;
        return NULL;
    }
    size_t whole = (n + ALIGN - 1) / ALIGN * ALIGN + (a->dense ? 0 : GAP);
    unsigned char *piece = a->base ? a->base + a->used : NULL;
    if (piece && !a->dense) ASAN_POISON_MEMORY_REGION(piece + n, whole - n);
    a->used += whole;
    return piece;
}

size_t q3t_zeros_bytes(size_t bytes) { return bytes + 2 * ALIGN; }

void *q3t_zeros(size_t bytes) {
    /* not aligned_alloc, whose memory would have to be zeroed; the start of the block is stored just below the base */
    unsigned char *block = bytes > SIZE_MAX / 2 ? NULL : calloc(q3t_zeros_bytes(bytes), 1);
    if (!block) return NULL;
    unsigned char *base = (unsigned char *)(((uintptr_t)block + 2 * ALIGN - 1) / ALIGN * ALIGN);
    memcpy(base - sizeof block, &block, sizeof block);
    return base;
}

void *q3t_huge_zeros(size_t bytes) {
    unsigned char *memory = q3t_zeros(bytes);
#ifdef MADV_HUGEPAGE
    /* only an advice: without it the memory lies in small pages */
    unsigned char *first = (unsigned char *)(((uintptr_t)memory + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
    size_t skipped = (size_t)(first - memory);
    if (memory && bytes >= skipped + HUGE_PAGE) (void)madvise(first, (bytes - skipped) / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
#endif
    return memory;
}

void q3t_zeros_free(void *memory) {
    unsigned char *block;
    if (!memory) return;
    memcpy(&block, (unsigned char *)memory - sizeof block, sizeof block);
    free(block);
}

q3t_status q3t_arena_reserve(q3t_arena *a) {
    if (a->overflow) return Q3T_E_SIZE;
    unsigned char *base = q3t_zeros(a->used);
    if (!base) return Q3T_E_MEMORY;
    a->base = base;
    a->size = a->used;
    a->used = 0;
    return Q3T_OK;
}

void q3t_arena_free(q3t_arena *a) {
    if (a->base) {
        ASAN_UNPOISON_MEMORY_REGION(a->base, a->size);
        q3t_zeros_free(a->base);
    }
    *a = (q3t_arena){0};
}
