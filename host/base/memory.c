#include "base/memory.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static atomic_long allocations;
static atomic_long fail_at;

static int must_fail(void)
{
    long n = atomic_fetch_add(&allocations, 1) + 1;
    long at = atomic_load(&fail_at);

    return at > 0 && n == at;
}

void dmq_alloc_fail_at(long n)
{
    atomic_store(&fail_at, n > 0 ? atomic_load(&allocations) + n : 0);
}

long dmq_alloc_count(void)
{
    return atomic_load(&allocations);
}

dmq_status dmq_alloc(void **out, size_t count, size_t size)
{
    size_t bytes;
    void *p;

    *out = NULL;
    if (size > 0 && count > (SIZE_MAX - 64) / size) {
        return dmq_fail(DMQ_ENOMEM, "memory: %zu x %zu bytes is more than can be addressed", count,
                        size);
    }
    bytes = (count * size + 63) / 64 * 64;
    if (bytes == 0)
        bytes = 64;
    p = must_fail() ? NULL : aligned_alloc(64, bytes);
    if (!p)
        return dmq_fail(DMQ_ENOMEM, "memory: no %zu bytes left", bytes);
    memset(p, 0, bytes);
    *out = p;
    return DMQ_OK;
}

dmq_status dmq_grow(void **array, size_t old_count, size_t new_count, size_t size)
{
    void *p = NULL;
    dmq_status st = dmq_alloc(&p, new_count, size);

    if (st != DMQ_OK)
        return st;
    if (*array)
        memcpy(p, *array, old_count * size);
    dmq_free(*array);
    *array = p;
    return DMQ_OK;
}

dmq_status dmq_strdup(char **out, const char *text)
{
    dmq_status st;

    *out = NULL;
    if (!text)
        return DMQ_OK;
    st = dmq_alloc((void **)out, strlen(text) + 1, 1);
    if (st == DMQ_OK)
        memcpy(*out, text, strlen(text) + 1);
    return st;
}

void dmq_free(void *memory)
{
    free(memory);
}
