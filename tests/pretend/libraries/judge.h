/**
 * What the stand-ins for cuDNN, cuBLASLt and NCCL ask of their caller: objects that live, memory of the
 * device that is large enough and begins where it was said to, numbers of the host.
 *
 * A mistake that the library itself would refuse is refused with its status, by the library's file. These
 * here are what it would leave undefined: they end the program by pretend_die with the call, the argument and
 * both sides. What was created and never destroyed is told when the program ends, which then fails.
 */
#ifndef DMQ_TESTS_JUDGE_H
#define DMQ_TESTS_JUDGE_H

#include "pretend/pretend.h"

#include <stdint.h>

/** Zeroed memory that is known as a living object of a kind, such as "cudnnTensorDescriptor_t". */
void *judge_create(size_t bytes, const char *kind);

/** The object at p; dies unless it lives and is of that kind. */
void *judge_living(const void *p, const char *kind, const char *call, const char *argument);

/** The kind of the object at p, or NULL where none lives. */
const char *judge_kind(const void *p);

/** Ends a living object; dies where there is none of that kind. */
void judge_destroy(void *p, const char *kind, const char *call);

/** Dies unless [p, p + bytes) lies in one allocation of the device and p is a multiple of alignment. */
void judge_device(const void *p, size_t bytes, size_t alignment, const char *call,
                  const char *argument);

/** Dies unless p is memory of the host. */
void judge_host(const void *p, size_t bytes, const char *call, const char *argument);

/** Dies where an array that a call writes overlaps one that it reads. */
void judge_apart(const void *written, size_t written_bytes, const void *read, size_t read_bytes,
                 const char *call, const char *argument);

/** Memory for a piece of work, or death. */
void *judge_memory(size_t bytes);

/** Put work into a stream, which owns context from here on; 0 where the stream refuses it. */
int judge_enqueue(cudaStream_t stream, const char *name, void (*run)(void *context),
                  void (*drop)(void *context), void *context);

#endif
