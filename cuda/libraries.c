#include "cuda/libraries.h"

#include "base/memory.h"

#include <dlfcn.h>
#include <glob.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char toolkit[] = "/usr/local/cuda/lib64";

static void *open_at(dmq_cuda_library *l, const char *path)
{
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);

    if (handle)
        (void)snprintf(l->place, sizeof l->place, "%s", path);
    return handle;
}

/* In a folder itself, or below the folders of NVIDIA's Python packages. */
static void *open_below(dmq_cuda_library *l, const char *folder, int length)
{
    static const char *const below[] = { "", "/nvidia/*/lib", "/*/lib" };
    void *handle = NULL;

    for (size_t i = 0; !handle && i < sizeof below / sizeof *below; i++) {
        char pattern[1024];
        glob_t found = { 0 };
        int n = snprintf(pattern, sizeof pattern, "%.*s%s/%s", length, folder, below[i], l->file);

        if (n < 0 || (size_t)n >= sizeof pattern || glob(pattern, 0, NULL, &found) != 0)
            continue;
        for (size_t k = 0; !handle && k < found.gl_pathc; k++)
            handle = open_at(l, found.gl_pathv[k]);
        globfree(&found);
    }
    return handle;
}

static void *find(dmq_cuda_library *l)
{
    const char *folders = getenv("DMQ_CUDA_LIBS"), *at = folders;
    void *handle = NULL;

    while (!handle && at && *at) {
        int length = (int)strcspn(at, ":");

        if (length > 0)
            handle = open_below(l, at, length);
        at += length + (at[length] == ':');
    }
    if (!handle)
        handle = open_at(l, l->file);
    if (!handle) {
        const char *why = dlerror();

        (void)snprintf(l->message, sizeof l->message,
                       "cuda: %s is not here: %s\n"
                       "  at DMQ_CUDA_LIBS (%s), the loader's own folders, %s\n"
                       "  hint: name the folder of %s in DMQ_CUDA_LIBS; a Python environment's "
                       "site-packages will do",
                       l->title, why ? why : "not found", folders ? folders : "not set", toolkit,
                       l->file);
        handle = open_below(l, toolkit, (int)(sizeof toolkit - 1));
    }
    return handle;
}

static void load(dmq_cuda_library *l)
{
    void *handle = find(l);
    char *table = l->table;

    if (!handle)
        return;
    for (size_t i = 0; i < l->count; i++) {
        void *function = dlsym(handle, l->symbols[i]);

        if (!function) {
            (void)snprintf(l->message, sizeof l->message,
                           "cuda: %s (%s) has no %s: another version than this build's headers?",
                           l->title, l->place, l->symbols[i]);
            return;
        }
        memcpy(table + i * sizeof function, &function, sizeof function);
    }
    l->here = 1;
}

dmq_status dmq_cuda_library_load(dmq_cuda_library *library)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

    (void)pthread_mutex_lock(&lock);
    if (!library->tried)
        load(library);
    library->tried = 1;
    (void)pthread_mutex_unlock(&lock);
    return library->here ? DMQ_OK : dmq_fail(DMQ_ENOTSUP, "%s", library->message);
}
