/* The five pickles of a legacy file of PyTorch, and the storages behind them. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_checkpoint(data, size, DMQ_CONTAINER_TORCH_LEGACY);
}
