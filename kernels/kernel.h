/**
 * What every kernel header builds on: the number type, the queue, and scalar functions that mean the
 * same in C11, in the double build of the reference, and in CUDA.
 *
 * Arrays are in memory order: activations NHWC, weights KRSC. Messages and files say NCHW and KCRS.
 * Every operation is `dmq_status dmq_<op>_<pass>_<backend>(dmq_queue *queue, const dmq_<op>_args *a)`:
 * the pass has happened when the queue has been synchronized; CPU backends finish before returning.
 * Output arrays that carry an `add` flag are overwritten when it is 0 and added to when it is 1.
 * Pointers marked optional may be NULL.
 *
 * Arrays of numbers are device memory (what alloc of the backend gave, which the host reaches through
 * upload and download alone), indices, codes and results of a single number included. The argument struct
 * itself and the small arrays of structs or pointers in it (`layer` of adaround, `x` of sum_blocks) are
 * host memory, read during the call.
 */
#ifndef DMQ_KERNELS_KERNEL_H
#define DMQ_KERNELS_KERNEL_H

#include "base/status.h"

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __CUDACC__
#define DMQ_HD static __host__ __device__ __forceinline__
#else
#define DMQ_HD static inline
#endif

#ifdef DMQ_REAL_DOUBLE
typedef double dmq_real;
#define dmq_exp   exp
#define dmq_log   log
#define dmq_sqrt  sqrt
#define dmq_rint  rint
#define dmq_floor floor
#define dmq_fabs  fabs
#define dmq_pow   pow
#define dmq_erf   erf
#define dmq_sin   sin
#define dmq_cos   cos
#else
typedef float dmq_real;
#define dmq_exp   expf
#define dmq_log   logf
#define dmq_sqrt  sqrtf
#define dmq_rint  rintf
#define dmq_floor floorf
#define dmq_fabs  fabsf
#define dmq_pow   powf
#define dmq_erf   erff
#define dmq_sin   sinf
#define dmq_cos   cosf
#endif

/** Order of execution on one device. One thread uses a queue at a time. */
typedef struct dmq_queue dmq_queue;

#endif
