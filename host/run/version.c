#include "run/version.h"

const char *dmq_version(void)
{
    return DMQ_VERSION;
}
