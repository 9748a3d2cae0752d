/** What the fuzzers share: bytes as a file, and every tensor of it read. */
#ifndef DMQ_FUZZ_H
#define DMQ_FUZZ_H

#include "base/memory.h"
#include "io/checkpoint.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/** Stop where something does not hold that every reader promises. */
#define FUZZ_HOLDS(what) \
    do {                 \
        if (!(what))     \
            abort();     \
    } while (0)

enum { FUZZ_READ = 1 << 16 /* numbers of a tensor that are read; an expanded one may have 2^40 */ };

/** Every tensor of the table lies in the file's size bytes, is found by its name, and can be asked for. */
static inline void fuzz_read_all(const dmq_checkpoint *c, size_t size)
{
    const dmq_table *table = dmq_checkpoint_table(c);
    void *y = NULL;

    FUZZ_HOLDS(dmq_alloc(&y, FUZZ_READ, sizeof(float)) == DMQ_OK);
    for (int i = 0; i < table->count; i++) {
        const dmq_stored *t = &table->tensor[i];

        FUZZ_HOLDS(t->count == 0 || t->bytes <= size);
        FUZZ_HOLDS(t->count == 0 || t->bytes == 0 || t->offset <= size - t->bytes);
        FUZZ_HOLDS(dmq_table_find(table, t->name) == t);
        if (t->count <= FUZZ_READ)
            (void)dmq_checkpoint_read_f32(y, c, t);
    }
    dmq_free(y);
}

/** The bytes as a checkpoint, if they are one of that container. */
static inline int fuzz_checkpoint(const uint8_t *data, size_t size, dmq_container wanted)
{
    dmq_container kind = DMQ_CONTAINER_UNKNOWN;
    dmq_checkpoint *c = NULL;
    dmq_input *input = NULL;

    FUZZ_HOLDS(dmq_input_memory(&input, "memory", data, size) == DMQ_OK);
    FUZZ_HOLDS(dmq_container_of(&kind, input) == DMQ_OK);
    if (kind != wanted) {
        dmq_input_close(input);
        return -1; /* not for the corpus */
    }
    if (dmq_checkpoint_read(&c, input, 0) == DMQ_OK) {
        fuzz_read_all(c, size);
        (void)dmq_checkpoint_check(c);
    }
    dmq_checkpoint_close(c);
    return 0;
}

#endif
