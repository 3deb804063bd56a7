/* base/arena.h - one block of memory, carved into pieces on 64-byte boundaries.
 *
 * A carve function runs twice over an arena. The measuring run, on an empty arena (base NULL), only adds up the sizes: every
 * piece is NULL. q3t_arena_reserve then allocates the sum as zeros, and the second run returns the pieces. An overflow of
 * the sum is remembered and reported by q3t_arena_reserve. Pages that nobody writes to take no memory.
 * An arena may also be carved from memory of the caller, who sets the base after the measuring run and frees it himself. */
#ifndef Q3T_ARENA_H
#define Q3T_ARENA_H
#include "base/status.h"

typedef struct q3t_arena {
    unsigned char *base;
    size_t used, size;
    int overflow;
    int dense;   /* no gaps between the pieces, under ASan neither: their layout is the layout of a file */
} q3t_arena;

/* Returns a piece for `count` items of `bytes` bytes each, NULL while measuring. Under ASan a poisoned gap follows it. */
void *q3t_carve(q3t_arena *a, size_t count, size_t bytes);
/* Allocate what was measured, zeroed, and rewind. Returns Q3T_E_SIZE or Q3T_E_MEMORY on failure. */
q3t_status q3t_arena_reserve(q3t_arena *a);
void q3t_arena_free(q3t_arena *a);
/* *out = a * b; returns Q3T_E_SIZE if that overflows. */
q3t_status q3t_mul(size_t a, size_t b, size_t *out);
#endif
