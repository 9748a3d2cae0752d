#include "base/arena.h"

#include "base/memory.h"

#include <string.h>

enum { CHUNK_BYTES = 16384, ALIGN = 16 };

struct dmq_arena_chunk {
    struct dmq_arena_chunk *next;
    size_t used, size; /* bytes behind this head */
    _Alignas(ALIGN) char data[];
};

dmq_status dmq_arena_alloc(void **out, dmq_arena *arena, size_t bytes)
{
    struct dmq_arena_chunk *chunk = arena->chunk;

    *out = NULL;
    bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    if (!chunk || chunk->size - chunk->used < bytes) {
        size_t size = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
        dmq_status st = dmq_alloc((void **)&chunk, 1, sizeof *chunk + size);

        if (st != DMQ_OK)
            return st;
        chunk->size = size;
        chunk->next = arena->chunk;
        arena->chunk = chunk;
    }
    *out = chunk->data + chunk->used;
    chunk->used += bytes;
    return DMQ_OK;
}

dmq_status dmq_arena_strdup(const char **out, dmq_arena *arena, const char *text)
{
    void *copy = NULL;
    dmq_status st = DMQ_OK;

    if (text)
        st = dmq_arena_alloc(&copy, arena, strlen(text) + 1);
    if (copy)
        memcpy(copy, text, strlen(text) + 1);
    *out = copy;
    return st;
}

void dmq_arena_release(dmq_arena *arena)
{
    while (arena->chunk) {
        struct dmq_arena_chunk *next = arena->chunk->next;

        dmq_free(arena->chunk);
        arena->chunk = next;
    }
}
