#include "backend/backend.h"
#include "backend/cuda.h"

#include <stdio.h>
#include <string.h>

/* The double build of the reference is for tests: the libraries behind cpu have no double form there. */
#ifdef DMQ_REAL_DOUBLE
#define BEST "ref"
#define CPU  NULL
#else
#define BEST "cpu"
#define CPU  dmq_backend_cpu()
#endif

/* cuda, cuda:1 */
static dmq_status open_cuda(const dmq_backend **out, const char *name)
{
#ifdef DMQ_HAVE_CUDA
    int device = 0;
    char rest;

    if (name[4] == ':' && sscanf(name + 5, "%d%c", &device, &rest) != 1)
        return dmq_fail(DMQ_EINVAL, "backend: \"%s\": must be cuda, or cuda:0, cuda:1, ...", name);
    return dmq_backend_cuda_open(out, device);
#else
    (void)out;
    return dmq_fail(DMQ_ENOTSUP,
                    "backend: %s is not in this build, which was made without CUDA\n"
                    "  hint: use cpu, or auto for the best that is here",
                    name);
#endif
}

dmq_status dmq_backend_open(const dmq_backend **out, const char *name)
{
    const char *wanted = strcmp(name, "auto") == 0 ? BEST : name;

    *out = NULL;
    if (strcmp(wanted, "ref") == 0) {
        *out = dmq_backend_ref();
    } else if (strcmp(wanted, "check") == 0) {
        *out = dmq_backend_check();
    } else if (strcmp(wanted, "cpu") == 0) {
        *out = CPU;
        if (!*out) {
            return dmq_fail(DMQ_ENOTSUP, "backend: cpu is not in this build, which computes in "
                                         "double\n  hint: use ref or check");
        }
    } else if (strcmp(wanted, "cuda") == 0 || strncmp(wanted, "cuda:", 5) == 0) {
        return open_cuda(out, wanted);
    } else {
        return dmq_fail(DMQ_EINVAL,
                        "backend: \"%s\" is unknown: must be auto, cpu, cuda, ref or check", name);
    }
    return DMQ_OK;
}

dmq_status dmq_backend_precision(const dmq_backend *backend, dmq_precision precision)
{
#ifdef DMQ_HAVE_CUDA
    if (strcmp(backend->name, "cuda") == 0)
        return dmq_backend_cuda_precision(precision);
#endif
    if (precision == DMQ_FP32)
        return DMQ_OK;
    return dmq_fail(DMQ_ENOTSUP,
                    "backend: %s computes in fp32; device.precision = %s is for cuda\n"
                    "  hint: leave device.precision out, or --device cuda",
                    backend->name, precision == DMQ_TF32 ? "tf32" : "fp16");
}

#ifndef DMQ_HAVE_CUDA
void dmq_backend_cuda_choices(char *text, size_t room)
{
    if (room > 0)
        text[0] = 0;
}

void dmq_backend_cuda_print(FILE *out)
{
    (void)fprintf(out, "CUDA     not in this build\n");
}

int dmq_backend_cuda_self_test(FILE *out)
{
    (void)out;
    return 0;
}
#endif
