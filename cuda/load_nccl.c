/* NCCL as the machine has it. */
#include "cuda/libraries.h"

#define TEXT_OF(x) #x
#define TEXT(x)    TEXT_OF(x)

#define NAME(name) "nccl" #name,
static const char *const names[] = { DMQ_NCCL_CALLS(NAME) };

static dmq_nccl table;
_Static_assert(sizeof table == sizeof names, "the table is a row of functions");

static dmq_cuda_library library = { .title = "NCCL",
                                    .file = "libnccl.so." TEXT(NCCL_MAJOR),
                                    .symbols = names,
                                    .count = sizeof names / sizeof *names,
                                    .table = &table };

dmq_status dmq_nccl_load(const dmq_nccl **out)
{
    dmq_status st = dmq_cuda_library_load(&library);

    *out = st == DMQ_OK ? &table : NULL;
    return st;
}

const char *dmq_nccl_place(void)
{
    return library.place;
}
