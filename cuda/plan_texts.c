#include "cuda/plan_texts.h"

#include "base/log.h"
#include "base/memory.h"
#include "cuda/engines.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH = 1024, HEAD = 512, TEXT_MOST = 16 << 20 };

static const char *folder(void)
{
    const char *path = getenv("DMQ_CUDA_PLANS");

    return path && *path ? path : NULL;
}

int dmq_plan_texts_kept(void)
{
    return folder() != NULL;
}

/* The first line of a file: the whole key, since two may have one name; the first number counts what we changed in
   the numbers of tensors (conv2d_ops.h). */
static int head_of(char head[HEAD], const dmq_cudnn *nn, const char *key)
{
    int n = snprintf(head, HEAD, "1, cudnn %zu: %s\n", nn->GetVersion(), key);

    return n > 0 && n < HEAD;
}

/* FNV of the head; suffix: of a file that is being written. */
static int path_of(char path[PATH], const char *head, const char *suffix)
{
    uint64_t h = UINT64_C(14695981039346656037);
    int n;

    for (const char *c = head; *c; c++)
        h = (h ^ (unsigned char)*c) * UINT64_C(1099511628211);
    n = snprintf(path, PATH, "%s/%016llx.plan%s", folder(), (unsigned long long)h, suffix);
    return n > 0 && n < PATH;
}

/* The text behind the head, ended by 0; NULL: none. */
static char *read_text(size_t *size, const char *path, const char *head)
{
    FILE *file = fopen(path, "rb");
    char line[HEAD] = "";
    void *text = NULL;
    size_t n = 0;

    if (!file)
        return NULL;
    if (fgets(line, sizeof line, file) && strcmp(line, head) == 0 &&
        dmq_alloc(&text, TEXT_MOST + 1, 1) == DMQ_OK)
        n = fread(text, 1, TEXT_MOST, file);
    (void)fclose(file);
    if (n == 0) {
        dmq_free(text);
        return NULL;
    }
    *size = n;
    return text;
}

int dmq_plan_text_load(cudnnBackendDescriptor_t plan, const char *key)
{
    char head[HEAD], path[PATH], *text = NULL;
    const dmq_cudnn *nn = NULL;
    size_t size = 0;
    int loaded = 0;

    if (dmq_cudnn_load(&nn) != DMQ_OK || !head_of(head, nn, key) || !path_of(path, head, ""))
        return 0;
    text = read_text(&size, path, head);
    if (text) {
        loaded =
            nn->BackendSetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION,
                                    CUDNN_TYPE_CHAR, (int64_t)size, text) == CUDNN_STATUS_SUCCESS &&
            nn->BackendFinalize(plan) == CUDNN_STATUS_SUCCESS;
        dmq_log_detail("plan of \"%s\" %s %s", key, loaded ? "from" : "is not to be had from",
                       path);
    }
    dmq_free(text);
    return loaded;
}

static int write_text(const char *path, const char *head, const char *text, size_t size)
{
    FILE *file = fopen(path, "wb");
    int bad = !file || fputs(head, file) < 0 || fwrite(text, 1, size, file) != size;

    return !((file && fclose(file) != 0) || bad);
}

void dmq_plan_text_save(cudnnBackendDescriptor_t plan, const char *key)
{
    const cudnnBackendAttributeName_t name = CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION;
    char head[HEAD], path[PATH], temporary[PATH], suffix[32];
    const dmq_cudnn *nn = NULL;
    void *text = NULL;
    int64_t size = 0;

    (void)snprintf(suffix, sizeof suffix, ".%ld", (long)getpid());
    if (dmq_cudnn_load(&nn) != DMQ_OK || !head_of(head, nn, key) || !path_of(path, head, "") ||
        !path_of(temporary, head, suffix))
        return;
    if (nn->BackendGetAttribute(plan, name, CUDNN_TYPE_CHAR, 0, &size, NULL) ==
            CUDNN_STATUS_SUCCESS &&
        size > 0 && size <= TEXT_MOST && dmq_alloc(&text, (size_t)size, 1) == DMQ_OK &&
        nn->BackendGetAttribute(plan, name, CUDNN_TYPE_CHAR, size, &size, text) ==
            CUDNN_STATUS_SUCCESS) {
        if (!write_text(temporary, head, text, (size_t)size) || rename(temporary, path) != 0) {
            (void)remove(temporary);
            dmq_log_warn("cuda-plans", "DMQ_CUDA_PLANS: cannot write %s: %s", path,
                         strerror(errno));
        }
    }
    dmq_free(text);
}
