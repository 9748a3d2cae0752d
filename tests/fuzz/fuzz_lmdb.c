/* LMDB databases: every key and value of those that are taken is read. */
#include "fuzz.h"

#include "io/lmdb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dmq_lmdb *file = NULL;
    char key[DMQ_LMDB_KEY];
    void *value = NULL;

    if (dmq_lmdb_open(&file, fuzz_file(data, size)) != DMQ_OK)
        return 0;
    FUZZ_HOLDS(dmq_alloc(&value, size, 1) == DMQ_OK);
    FUZZ_HOLDS(dmq_lmdb_count(file) > 0 && (uint64_t)dmq_lmdb_count(file) < size);
    for (int64_t i = 0; i < dmq_lmdb_count(file); i++) {
        dmq_lmdb_key(key, file, i);
        FUZZ_HOLDS(dmq_lmdb_size(file, i) <= size);
        (void)dmq_lmdb_read(value, file, i);
    }
    dmq_free(value);
    dmq_lmdb_close(file);
    return 0;
}
