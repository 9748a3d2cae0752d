/* cuBLASLt as the machine has it. */
#include "cuda/libraries.h"

#define TEXT_OF(x) #x
#define TEXT(x)    TEXT_OF(x)

#define NAME(name) "cublasLt" #name,
static const char *const names[] = { DMQ_CUBLASLT_CALLS(NAME) };

static dmq_cublaslt table;
_Static_assert(sizeof table == sizeof names, "the table is a row of functions");

static dmq_cuda_library library = { .title = "cuBLASLt",
                                    .file = "libcublasLt.so." TEXT(CUBLAS_VER_MAJOR),
                                    .symbols = names,
                                    .count = sizeof names / sizeof *names,
                                    .table = &table };

dmq_status dmq_cublaslt_load(const dmq_cublaslt **out)
{
    dmq_status st = dmq_cuda_library_load(&library);

    *out = st == DMQ_OK ? &table : NULL;
    return st;
}

const char *dmq_cublaslt_place(void)
{
    return library.place;
}
