/* A pickle alone: the machine, and the walk to its tensors where every storage is there. */
#include "fuzz.h"
#include "io/torch_inner.h"

static dmq_status place(uint64_t *offset, void *context, const dmq_torch_storage *storage)
{
    (void)context;
    *offset = 0;
    FUZZ_HOLDS(storage->key_size > 0 &&
               storage->view_first + storage->view_count <= storage->count);
    return DMQ_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dmq_torch_foreign foreign = { 0 };
    dmq_pickle *pickle = NULL;
    dmq_input *input = NULL;
    dmq_table table = { 0 };

    FUZZ_HOLDS(dmq_input_memory(&input, "memory", data, size) == DMQ_OK);
    if (dmq_pickle_open(&pickle, input, 0, size, "pickle") == DMQ_OK) {
        FUZZ_HOLDS(dmq_pickle_size(pickle) <= size);
        FUZZ_HOLDS(dmq_pickle_count(pickle) <= 2 * size);
        (void)dmq_torch_list_foreign(&foreign, pickle, size % 2, "memory");
        if (dmq_torch_walk(&table, pickle, place, NULL, "memory") == DMQ_OK)
            (void)dmq_table_finish(&table, "memory");
    }
    dmq_pickle_close(pickle);
    dmq_torch_foreign_release(&foreign);
    dmq_table_release(&table);
    dmq_input_close(input);
    return 0;
}
