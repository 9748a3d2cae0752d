#include "backend/backend.h"

#include <string.h>

/* The double build of the reference is for tests: the libraries behind cpu have no double form there. */
#ifdef DMQ_REAL_DOUBLE
#define BEST "ref"
#define CPU  NULL
#else
#define BEST "cpu"
#define CPU  dmq_backend_cpu()
#endif

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
        return dmq_fail(DMQ_ENOTSUP,
                        "backend: %s is not in this build, which was made without CUDA\n"
                        "  hint: use cpu, or auto for the best that is here",
                        name);
    } else {
        return dmq_fail(DMQ_EINVAL,
                        "backend: \"%s\" is unknown: must be auto, cpu, cuda, ref or check", name);
    }
    return DMQ_OK;
}
