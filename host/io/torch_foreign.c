/* Which classes and functions a pickle names beyond those that are understood. */
#include "base/memory.h"
#include "io/torch_inner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOLD = 5 /* names in a message before "and so many more" */ };

void dmq_torch_foreign_release(dmq_torch_foreign *f)
{
    for (int i = 0; i < f->count; i++)
        dmq_free(f->name[i]);
    dmq_free(f->name);
    memset(f, 0, sizeof *f);
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);

    return n >= m && strcmp(text + n - m, end) == 0;
}

/* What torch_walk.c looks at, or what says nothing. */
static bool is_known(const char *module, const char *name)
{
    if (strcmp(module, "torch") == 0)
        return ends_with(name, "Storage") || strcmp(name, "Size") == 0;
    if (strcmp(module, "torch._utils") == 0)
        return strncmp(name, "_rebuild_", 9) == 0;
    return (strcmp(module, "collections") == 0 && strcmp(name, "OrderedDict") == 0) ||
           (strcmp(module, "torch.storage") == 0 && ends_with(name, "Storage")) ||
           (strcmp(module, "torch.nn.parameter") == 0 && strcmp(name, "Parameter") == 0) ||
           (strcmp(module, "_codecs") == 0 && strcmp(name, "encode") == 0);
}

/* The module or one inside it: "numpy", "numpy.core.multiarray". */
static bool is_inside(const char *module, const char *package)
{
    size_t n = strlen(package);

    return strncmp(module, package, n) == 0 && (module[n] == '\0' || module[n] == '.');
}

static bool is_trusted(const char *module)
{
    return strcmp(module, "collections") == 0 || strcmp(module, "torch") == 0 ||
           strcmp(module, "torch._utils") == 0 || strcmp(module, "torch.nn.parameter") == 0 ||
           strcmp(module, "torch.storage") == 0 || strcmp(module, "_codecs") == 0 ||
           is_inside(module, "numpy") || is_inside(module, "pytorch_lightning") ||
           is_inside(module, "omegaconf");
}

/* A text of the pickle as a C text that can be printed. */
static void copy(char *out, size_t room, const dmq_pickle *p, dmq_pickle_node node)
{
    size_t size = 0;
    const char *text = dmq_pickle_text(&size, p, node);

    dmq_pickle_plain(out, room, text, size);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort_and_thin(dmq_torch_foreign *f)
{
    int n = 0;

    if (f->count == 0)
        return;
    qsort(f->name, (size_t)f->count, sizeof *f->name, by_text);
    for (int i = 1; i < f->count; i++) {
        if (strcmp(f->name[n], f->name[i]) == 0) {
            dmq_free(f->name[i]);
        } else {
            f->name[++n] = f->name[i];
        }
    }
    f->count = n + 1;
}

static dmq_status add(dmq_torch_foreign *f, size_t *room, const char *module, const char *name)
{
    dmq_status st = DMQ_OK;
    char text[600];

    (void)snprintf(text, sizeof text, "%s.%s", module, name);
    if ((size_t)f->count == *room) {
        sort_and_thin(f); /* most are there already, and then there is room again */
        if ((size_t)f->count >= *room / 2) {
            DMQ_TRY(dmq_grow((void **)&f->name, *room, *room ? 2 * *room : 16, sizeof *f->name));
            *room = *room ? 2 * *room : 16;
        }
    }
    DMQ_TRY(dmq_strdup(&f->name[f->count], text));
    f->count++;
done:
    return st;
}

static dmq_status refuse(const dmq_torch_foreign *f, const char *path)
{
    char text[TOLD * 100 + 64] = "";
    size_t n = 0;

    for (int i = 0; i < f->count && i < TOLD; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%.96s", i ? ", " : "", f->name[i]);
    if (f->count > TOLD)
        (void)snprintf(text + n, sizeof text - n, " and %d more", f->count - TOLD);
    return dmq_fail(DMQ_EDATA,
                    "%s: names what is not needed for tensors: %s\n"
                    "  hint: nothing of it would be called; leave --strict out to read the tensors",
                    path, text);
}

dmq_status dmq_torch_list_foreign(dmq_torch_foreign *foreign, const dmq_pickle *p, int strict,
                                  const char *path)
{
    dmq_status st = DMQ_OK;
    dmq_torch_foreign bad = { 0 };
    size_t room = (size_t)foreign->count, room_bad = 0;
    dmq_pickle_node m, n;
    char module[300], name[300];

    for (dmq_pickle_node node = 0; node < dmq_pickle_count(p); node++) {
        if (!dmq_pickle_global(&m, &n, p, node))
            continue;
        copy(module, sizeof module, p, m);
        copy(name, sizeof name, p, n);
        if (is_known(module, name))
            continue;
        DMQ_TRY(add(foreign, &room, module, name));
        if (strict && !is_trusted(module))
            DMQ_TRY(add(&bad, &room_bad, module, name));
    }
    sort_and_thin(foreign);
    sort_and_thin(&bad);
    if (bad.count > 0)
        st = refuse(&bad, path);
done:
    dmq_torch_foreign_release(&bad);
    return st;
}
