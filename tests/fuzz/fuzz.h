/** What the fuzzers share: bytes as a file, and every tensor of it read. */
#ifndef DMQ_FUZZ_H
#define DMQ_FUZZ_H

#include "base/memory.h"
#include "io/checkpoint.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

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

/** A file without a name, in memory where there is such a folder: on a disk it would be ten times slower. */
static inline int fuzz_nameless(void)
{
    char name[64];
    int fd;

    (void)snprintf(name, sizeof name, "/dev/shm/fuzz-%d", (int)getpid());
    fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) {
        (void)unlink(name);
        return fd;
    }
    return fileno(tmpfile());
}

/** The bytes in that file, for a reader that takes a path. */
static inline const char *fuzz_file(const uint8_t *data, size_t size)
{
    static int file = -1;
    static char path[64];

    if (file < 0) {
        file = fuzz_nameless();
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    }
    FUZZ_HOLDS(ftruncate(file, 0) == 0);
    FUZZ_HOLDS(pwrite(file, data, size, 0) == (ssize_t)size);
    return path;
}

#endif
