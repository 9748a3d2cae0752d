/**
 * A pretended CUDA device: what the libraries of others that run on it need beside the CUDA runtime.
 *
 * libpretend.so has those functions of the CUDA runtime that cuda/ and the launchers call, under their own
 * names. Work that is put into a stream is done by the host, as late as the rules allow; device memory is
 * closed to the host and open to work alone. Stand-ins for cuDNN, cuBLASLt and NCCL put their arithmetic
 * into streams by pretend_enqueue.
 */
#ifndef DMQ_TESTS_PRETEND_H
#define DMQ_TESTS_PRETEND_H

#include <cuda_runtime_api.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * A piece of work of a stream. run is called once for it, many times when it was recorded; drop once, when
 * nobody will run it again. All may be called by any thread. They call no function of the runtime.
 *
 * ready says whether what the work waits for from outside of this process, or of another stream, has come: the
 * stream stays before the work until then, while others go on. Who waits longer than PRETEND_PATIENCE (60) seconds
 * without anything going on would wait for ever: the program ends.
 */
typedef struct pretend_work {
    const char *name; /* for messages; lives as long as the program */
    void (*run)(void *context);
    void (*drop)(void *context); /* NULL: nothing to drop */
    void *context;
    int (*ready)(void *context); /* NULL: always */
} pretend_work;

/**
 * Put work behind what the stream has; while the stream captures it becomes a node of the recording. The
 * stream owns context from here on, also when it refuses.
 *
 * @return cudaSuccess, or what a launch into this stream would return
 */
cudaError_t pretend_enqueue(cudaStream_t stream, const pretend_work *work);

/** 1 if [p, p + bytes) lies in one living allocation of device memory. */
int pretend_is_device(const void *p, size_t bytes);

/** Ends the program with a message: what a device would leave undefined, hang on or fault at. */
#ifdef __cplusplus
[[noreturn]]
#else
_Noreturn
#endif
void pretend_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/**
 * What is to fail or to differ: the environment variable PRETEND_<name> as a number, `other` where there is
 * none. It is read at every call, so that a test may set it on its way.
 */
long pretend_wish(const char *name, long other);

/**
 * 1 at the n-th call with this name since the variable was last changed, n being PRETEND_FAIL_<name>; 0
 * without the variable.
 */
int pretend_fails(const char *name);

#ifdef __cplusplus
}
#endif

#endif
