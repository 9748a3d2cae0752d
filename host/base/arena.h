/**
 * Small things that die together: pieces are handed out from chunks, and all of them are given back at
 * once. Pieces do not move.
 */
#ifndef DMQ_BASE_ARENA_H
#define DMQ_BASE_ARENA_H

#include "base/status.h"

#include <stddef.h>

/** All zero is an empty arena. */
typedef struct dmq_arena {
    struct dmq_arena_chunk *chunk; /**< the newest one, from which pieces are cut */
} dmq_arena;

/** bytes, 16-byte aligned, zeroed; ENOMEM leaves the arena as it was. */
dmq_status dmq_arena_alloc(void **out, dmq_arena *arena, size_t bytes);

/** A copy of a string in the arena; NULL gives NULL. */
dmq_status dmq_arena_strdup(const char **out, dmq_arena *arena, const char *text);

/** Give all pieces back; the arena is empty again. */
void dmq_arena_release(dmq_arena *arena);

#endif
