/* NumPy archives and arrays. Their reader takes a path: the bytes lie in a file without a name. */
#include "fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* In memory where there is such a folder: on a disk it would be ten times slower. */
static int nameless_file(void)
{
    char name[64];
    int fd;

    (void)snprintf(name, sizeof name, "/dev/shm/fuzz-npz-%d", (int)getpid());
    fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) {
        (void)unlink(name);
        return fd;
    }
    return fileno(tmpfile());
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int file = -1;
    static char path[64];
    dmq_container kind = DMQ_CONTAINER_UNKNOWN;
    dmq_checkpoint *c = NULL;
    dmq_input *input = NULL;

    FUZZ_HOLDS(dmq_input_memory(&input, "memory", data, size) == DMQ_OK);
    FUZZ_HOLDS(dmq_container_of(&kind, input) == DMQ_OK);
    dmq_input_close(input);
    if (kind != DMQ_CONTAINER_NPY && kind != DMQ_CONTAINER_ZIP)
        return -1;
    if (file < 0) {
        file = nameless_file();
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    }
    FUZZ_HOLDS(ftruncate(file, 0) == 0);
    FUZZ_HOLDS(pwrite(file, data, size, 0) == (ssize_t)size);
    if (dmq_checkpoint_open(&c, path, 0) == DMQ_OK) {
        const dmq_table *table = dmq_checkpoint_table(c);
        void *y = NULL;

        FUZZ_HOLDS(dmq_alloc(&y, FUZZ_READ, sizeof(float)) == DMQ_OK);
        for (int i = 0; i < table->count; i++) {
            if (table->tensor[i].count <= FUZZ_READ)
                (void)dmq_checkpoint_read_f32(y, c, &table->tensor[i]);
        }
        dmq_free(y);
    }
    dmq_checkpoint_close(c);
    return 0;
}
