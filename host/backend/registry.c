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

/* What auto chose. One thread opens backends. */
static struct {
    const dmq_backend *backend;
    char reason[640];
} automatic;

const char *dmq_backend_auto_reason(void)
{
    return automatic.reason;
}

#ifdef DMQ_HAVE_CUDA
/* Whether the device can do the work; if not, what is missing, in one line without the name of who says it. */
static int take_device(char *why, size_t room)
{
    const char *text;

    if (dmq_backend_cuda_probe(&automatic.backend, 0, why, room) == DMQ_OK)
        return 1;
    text = dmq_message();
    if (strncmp(text, "backend: ", 9) == 0)
        text += 9;
    (void)snprintf(why, room, "%.*s", (int)strcspn(text, "\n"), text);
    return 0;
}
#else
static int take_device(char *why, size_t room)
{
    (void)snprintf(why, room, "this build has no CUDA");
    return 0;
}
#endif

static dmq_status choose(void)
{
    char why[512];
    int device = take_device(why, sizeof why);

    (void)snprintf(automatic.reason, sizeof automatic.reason,
                   device ? "cuda, since it is here (%s)" : BEST ", since %s", why);
    return device ? DMQ_OK : dmq_backend_open(&automatic.backend, BEST);
}

dmq_status dmq_backend_open(const dmq_backend **out, const char *name)
{
    dmq_status st = DMQ_OK;

    *out = NULL;
    if (strcmp(name, "auto") == 0) {
        if (!automatic.backend)
            st = choose();
        *out = automatic.backend;
    } else if (strcmp(name, "ref") == 0) {
        *out = dmq_backend_ref();
    } else if (strcmp(name, "check") == 0) {
        *out = dmq_backend_check();
    } else if (strcmp(name, "cpu") == 0) {
        *out = CPU;
        if (!*out) {
            return dmq_fail(DMQ_ENOTSUP, "backend: cpu is not in this build, which computes in "
                                         "double\n  hint: use ref or check");
        }
    } else if (strcmp(name, "cuda") == 0 || strncmp(name, "cuda:", 5) == 0) {
        st = open_cuda(out, name);
    } else {
        return dmq_fail(DMQ_EINVAL,
                        "backend: \"%s\" is unknown: must be auto, cpu, cuda, ref or check", name);
    }
    return st;
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
