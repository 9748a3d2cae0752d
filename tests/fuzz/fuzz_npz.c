/* NumPy archives and arrays. Their reader takes a path: the bytes lie in a file without a name. */
#include "fuzz.h"

#include "io/npz.h"

/* The last row and then the first, so that a compressed array is begun again. */
static void read_rows(const char *path)
{
    dmq_npz *file = NULL;

    if (dmq_npz_open(&file, path) != DMQ_OK)
        return;
    for (int i = 0; i < dmq_npz_count(file); i++) {
        dmq_npz_rows *rows = NULL;
        const dmq_npz_info *info;
        void *row = NULL;

        if (dmq_npz_rows_open(&rows, file, dmq_npz_name(file, i)) != DMQ_OK)
            continue;
        info = dmq_npz_rows_info(rows);
        if (info->count / info->dims[0] <= FUZZ_READ) {
            FUZZ_HOLDS(dmq_alloc(&row, FUZZ_READ, sizeof(double)) == DMQ_OK);
            (void)dmq_npz_rows_read(row, rows, info->dims[0] - 1, 1);
            (void)dmq_npz_rows_read(row, rows, 0, 1);
            dmq_free(row);
        }
        dmq_npz_rows_close(rows);
    }
    dmq_npz_close(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path;
    dmq_container kind = DMQ_CONTAINER_UNKNOWN;
    dmq_checkpoint *c = NULL;
    dmq_input *input = NULL;

    FUZZ_HOLDS(dmq_input_memory(&input, "memory", data, size) == DMQ_OK);
    FUZZ_HOLDS(dmq_container_of(&kind, input) == DMQ_OK);
    dmq_input_close(input);
    if (kind != DMQ_CONTAINER_NPY && kind != DMQ_CONTAINER_ZIP)
        return -1;
    path = fuzz_file(data, size);
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
    read_rows(path);
    return 0;
}
