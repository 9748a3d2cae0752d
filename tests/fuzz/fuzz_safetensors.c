/* The header of a safetensors file, and the tensors that it tells of. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_checkpoint(data, size, DMQ_CONTAINER_SAFETENSORS);
}
