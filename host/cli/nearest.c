#include "base/text.h"
#include "cli/verbs.h"

const char *dmq_nearest_verb(const char *name)
{
    const char *names[32];
    int n = 0, i;

    while (dmq_verbs[n].name && n < 32) {
        names[n] = dmq_verbs[n].name;
        n++;
    }
    i = dmq_text_nearest(name, names, n);
    return i < 0 ? NULL : names[i];
}
