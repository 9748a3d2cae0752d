/**
 * For the tests of the pretended libraries: arrays of the device, numbers to fill them with, and calls that
 * are expected to end the program.
 */
#ifndef DMQ_TESTS_DEVICE_ARRAYS_H
#define DMQ_TESTS_DEVICE_ARRAYS_H

#include "pretend/pretend.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after them */
#include <cmocka.h>

#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define OK(call) assert_int_equal((call), 0)

/* Numbers in [-1, 1) that no two places share, from a hash of the place. */
static inline float number_at(unsigned seed, size_t i)
{
    uint32_t h = (uint32_t)i * 2654435761u ^ seed * 40503u;

    h = (h ^ h >> 15) * 2246822519u;
    h = (h ^ h >> 13) * 3266489917u;
    return (float)(h >> 8) * 0x1p-23f - 1;
}

static inline void *device_alloc(size_t bytes)
{
    void *p = NULL;

    OK(cudaMalloc(&p, bytes));
    return p;
}

static inline void upload(void *to, const void *from, size_t bytes, cudaStream_t stream)
{
    OK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream));
    OK(cudaStreamSynchronize(stream));
}

static inline void download(void *to, const void *from, size_t bytes, cudaStream_t stream)
{
    OK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream));
    OK(cudaStreamSynchronize(stream));
}

/* Runs `what` in a child, which must end by a message that holds `words`. */
static inline void assert_dies(void (*what)(void *), void *with, const char *words)
{
    char text[4096] = "";
    size_t n = 0;
    ssize_t got;
    int ends[2], status = 0;
    pid_t child;

    OK(pipe(ends));
    (void)fflush(NULL);
    child = fork();
    if (child == 0) {
        (void)dup2(ends[1], STDERR_FILENO);
        (void)close(ends[0]);
        what(with);
        exit(0);
    }
    (void)close(ends[1]);
    while (n + 1 < sizeof text && (got = read(ends[0], text + n, sizeof text - 1 - n)) > 0)
        n += (size_t)got;
    (void)close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    if ((WIFEXITED(status) && WEXITSTATUS(status) == 0) || !strstr(text, words))
        fail_msg("no end with \"%s\", but status %d and: %s", words, status, text);
}

#endif
