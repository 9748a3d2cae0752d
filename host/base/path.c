#include "base/path.h"

#include "base/memory.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

dmq_status dmq_path_join(char **out, const char *folder, const char *name)
{
    size_t n, size;
    dmq_status st;

    if (!folder || !folder[0] || strcmp(folder, ".") == 0 || name[0] == '/')
        return dmq_strdup(out, name);
    n = strlen(folder);
    size = n + strlen(name) + 2;
    st = dmq_alloc((void **)out, size, 1);
    if (st == DMQ_OK)
        (void)snprintf(*out, size, "%s%s%s", folder, folder[n - 1] == '/' ? "" : "/", name);
    return st;
}

dmq_status dmq_path_append(char **out, const char *path, const char *suffix)
{
    size_t size = strlen(path) + strlen(suffix) + 1;
    dmq_status st = dmq_alloc((void **)out, size, 1);

    if (st == DMQ_OK)
        (void)snprintf(*out, size, "%s%s", path, suffix);
    return st;
}

const char *dmq_path_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

dmq_status dmq_path_folder(char **out, const char *path)
{
    const char *slash = strrchr(path, '/');
    dmq_status st;

    if (!slash)
        return dmq_strdup(out, ".");
    if (slash == path)
        return dmq_strdup(out, "/");
    st = dmq_strdup(out, path);
    if (st == DMQ_OK)
        (*out)[slash - path] = '\0';
    return st;
}

bool dmq_path_has_suffix(const char *path, const char *suffix)
{
    size_t n = strlen(path), m = strlen(suffix);

    return n >= m && strcmp(path + n - m, suffix) == 0;
}

/* In place, on an absolute path: the result is never longer. */
static void normalize(char *path)
{
    char *to = path;
    const char *from = path;

    while (*from) {
        size_t n;

        while (*from == '/')
            from++;
        n = strcspn(from, "/");
        if (n == 2 && from[0] == '.' && from[1] == '.') {
            while (to > path && *--to != '/')
                continue;
        } else if (n > 0 && !(n == 1 && from[0] == '.')) {
            *to++ = '/';
            memmove(to, from, n);
            to += n;
        }
        from += n;
    }
    if (to == path)
        *to++ = '/';
    *to = '\0';
}

dmq_status dmq_path_absolute(char **out, const char *path)
{
    char here[PATH_MAX];
    dmq_status st;

    *out = NULL;
    if (path[0] != '/' && !getcwd(here, sizeof here))
        return dmq_fail(DMQ_EIO, "the working folder is not known (%s)", strerror(errno));
    st = dmq_path_join(out, path[0] == '/' ? NULL : here, path);
    if (st == DMQ_OK)
        normalize(*out);
    return st;
}

static dmq_status below(char **out, const char *variable, const char *otherwise, const char *name)
{
    const char *folder = getenv(variable);

    return dmq_path_join(out, folder && folder[0] ? folder : otherwise, name);
}

dmq_status dmq_path_resolve(char **out, const char *path)
{
    if (strncmp(path, "data:", 5) == 0)
        return below(out, "DMQ_DATA", DMQ_SOURCE_DIR "/data", path + 5);
    if (strncmp(path, "experiments:", 12) == 0)
        return below(out, "DMQ_EXPERIMENTS", DMQ_SOURCE_DIR "/experiments", path + 12);
    return dmq_strdup(out, path);
}
