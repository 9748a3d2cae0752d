/* The directory of a ZIP archive, and the pickle and storages of PyTorch in it. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_checkpoint(data, size, DMQ_CONTAINER_ZIP);
}
