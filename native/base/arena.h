/* base/arena.h - one block of memory, carved into 64-byte aligned pieces.
 *
 * The same carve function runs twice: on an empty arena (base NULL) it only
 * measures and every piece is NULL; q3t_arena_reserve then allocates what was
 * measured, zeroed (untouched pages cost nothing), and the second run carves.
 * An overflow is remembered and reported once, by q3t_arena_reserve. An arena
 * may also be carved from memory of the caller's: its base is then set by hand,
 * once a run over nothing has measured what is needed, and nothing is freed. */
#ifndef Q3T_ARENA_H
#define Q3T_ARENA_H
#include "base/status.h"

typedef struct q3t_arena {
    unsigned char *base;
    size_t used, size;
    int overflow;
    int dense;   /* pieces end to end, as they lie in a file: no gaps under ASan either */
} q3t_arena;

/* count items of `bytes` each; NULL while measuring. Under ASan a poisoned gap follows each piece. */
void *q3t_carve(q3t_arena *a, size_t count, size_t bytes);
/* Allocate what was measured and rewind. Q3T_E_SIZE or Q3T_E_MEMORY. */
q3t_status q3t_arena_reserve(q3t_arena *a);
void q3t_arena_free(q3t_arena *a);
/* *out = a * b, or Q3T_E_SIZE. */
q3t_status q3t_mul(size_t a, size_t b, size_t *out);
#endif
