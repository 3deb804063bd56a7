/* base/arena.h - one block of memory, carved into pieces on 64-byte boundaries.
 *
 * A carve function calls q3t_carve for each piece that a structure needs. It runs twice over an arena. In the measuring run, on
 * an empty arena (base NULL), q3t_carve only adds up the sizes and returns NULL. q3t_arena_reserve then allocates the sum as
 * zeros, and in the second run q3t_carve returns the pieces. If the sum overflows, q3t_arena_reserve returns Q3T_E_SIZE.
 * An arena may also use memory of the caller, who sets `base` after the measuring run and frees the memory. */
#ifndef Q3T_ARENA_H
#define Q3T_ARENA_H
#include "base/status.h"

typedef struct q3t_arena {
    unsigned char *base;
    size_t used, size;   /* bytes carved so far; bytes of the block */
    int overflow;        /* 1: the sum of the sizes overflowed */
    int dense;           /* 1: no gaps between the pieces, not even under ASan: their layout is the layout of a file */
} q3t_arena;

/* Returns a piece for `count` items of `bytes` bytes each, NULL in the measuring run. Under ASan a poisoned gap follows the
 * piece, unless the arena is dense. */
void *q3t_carve(q3t_arena *a, size_t count, size_t bytes);
/* Allocate the bytes that the measuring run added up, as zeros, for the second run. Returns Q3T_E_SIZE or Q3T_E_MEMORY on
 * failure. */
q3t_status q3t_arena_reserve(q3t_arena *a);
void q3t_arena_free(q3t_arena *a);
/* Allocate `bytes` bytes of zeros on a 64-byte boundary. Returns NULL on failure. */
void *q3t_zeros(size_t bytes);
/* As q3t_zeros, for memory that is read at many places: in huge pages where the system has them. */
void *q3t_huge_zeros(size_t bytes);
/* Free memory of q3t_zeros or q3t_huge_zeros; takes NULL. */
void q3t_zeros_free(void *memory);
/* Returns how many bytes q3t_zeros or q3t_huge_zeros, or q3t_arena_reserve after so many bytes were carved, asks the C library for. */
size_t q3t_zeros_bytes(size_t bytes);
/* *out = a * b; returns Q3T_E_SIZE if that overflows. */
q3t_status q3t_mul(size_t a, size_t b, size_t *out);
#endif
