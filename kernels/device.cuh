/**
 * What every kernels/<op>.cu begins with: the launch, the loop over indices, scratch memory.
 *
 * A file <op>.cu holds the kernels of kernels/<op>.h and, under them, their launchers:
 *
 *   DMQ_DEVICE(dmq_axpby)(dmq_queue *queue, const dmq_axpby_args *a)
 *   {
 *       return DMQ_LAUNCH(axpby, dmq_grid(a->count, 256), 256, 0, queue, *a);
 *   }
 *
 * The args struct goes by value into the kernel. Arrays of numbers and indices are device memory;
 * arrays of structs and of pointers in the args are the host's and are read before the call returns.
 * A launcher knows block and grid and nothing else: it neither allocates nor waits nor logs.
 *
 * The same file is compiled by nvcc for the device (launchers named ..._cuda), and by the host compiler
 * under tests/simt/simt.h, which runs a kernel thread by thread on a CPU under the sanitizers: at once (named
 * ..._simt), or in the order of a stream (DMQ_PRETEND: tests/pretend/launch.h). So no inline assembly, no
 * tensor-core instruction and no cooperative groups here; what needs them goes to <op>_sm90.cu.
 *
 * Products and sums are not contracted (-fmad=false): codes and random numbers must have the bits of
 * the host. Where a fused multiply-add is wanted, say fmaf.
 */
#ifndef DMQ_KERNELS_DEVICE_CUH
#define DMQ_KERNELS_DEVICE_CUH

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>

extern "C" {
#include "kernels/kernel.h"
}

#ifdef DMQ_SIMT
#include "simt.h"
#define DMQ_SHARED(T, name) T *name = static_cast<T *>(dmq_simt::shared())
enum { DMQ_GRID_MOST = 5 }; /* few, so that the loops behind them are run */
#endif
#if defined DMQ_PRETEND
#include "pretend/launch.h"
#elif defined DMQ_SIMT
#define DMQ_DEVICE(name)   extern "C" dmq_status name##_simt
#define DMQ_LAUNCHER(name) name##_simt
#define dmq_cuda_scratch   dmq_simt_scratch
#define DMQ_LAUNCH(kernel, grid, block, shared_bytes, queue, ...) \
    ((void)(queue),                                               \
     dmq_simt::launch(#kernel, grid, block, shared_bytes, [&] { kernel(__VA_ARGS__); }))
#else
#include <cuda_runtime.h>
#define DMQ_DEVICE(name)   extern "C" dmq_status name##_cuda
#define DMQ_LAUNCHER(name) name##_cuda /* as another launcher calls it */
/** Dynamic shared memory of the block, as an array of T (at most 16-byte aligned). */
#define DMQ_SHARED(T, name)                                           \
    extern __shared__ __align__(16) unsigned char dmq_shared_bytes[]; \
    T *name = reinterpret_cast<T *>(dmq_shared_bytes)
/** Launch on the queue's stream; the value is a dmq_status. A template goes in parentheses. No blocks are no
    work: the device would refuse a grid of none. */
#define DMQ_LAUNCH(kernel, grid, block, shared_bytes, queue, ...)                       \
    (dmq_no_blocks(grid)                                                                \
         ? DMQ_OK                                                                       \
         : (kernel<<<grid, block, shared_bytes,                                         \
                     static_cast<cudaStream_t>(dmq_cuda_stream(queue))>>>(__VA_ARGS__), \
            dmq_cuda_launched(#kernel)))
static inline bool dmq_no_blocks(dim3 grid)
{
    return grid.x == 0 || grid.y == 0 || grid.z == 0;
}
enum { DMQ_GRID_MOST = 132 * 16 };
#endif

/** The cudaStream_t of a queue. */
extern "C" void *dmq_cuda_stream(dmq_queue *queue);

/** Status of the launch just made; EDEVICE with the kernel's name. */
extern "C" dmq_status dmq_cuda_launched(const char *kernel);

enum { DMQ_SCRATCH_BYTES = 32 << 20 };

/** Scratch of the queue, for the partial sums of one launcher's kernels; at most DMQ_SCRATCH_BYTES,
    overwritten by the next launcher on the queue. ENOMEM beyond that. */
extern "C" dmq_status dmq_cuda_scratch(void **out, dmq_queue *queue, size_t bytes);

/** Blocks for a loop over `count` items with `block` threads, a loop in each thread. At least one. */
static inline unsigned dmq_grid(size_t count, unsigned block)
{
    size_t blocks = (count + block - 1) / block;

    return blocks < 1 ? 1u : blocks > DMQ_GRID_MOST ? (unsigned)DMQ_GRID_MOST : (unsigned)blocks;
}

/** x / d where an ulp or two do not matter: SiLU, softmax. Never for a code. */
static __device__ __forceinline__ float dmq_quotient_near(float x, float d)
{
#ifdef DMQ_SIMT
    return x / d;
#else
    return __fdividef(x, d);
#endif
}

/** for (each index of 0..count-1 that is this thread's), neighbouring threads at neighbouring indices. */
#define DMQ_EACH_INDEX(i, count)                                                \
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < (count); \
         i += (size_t)gridDim.x * blockDim.x)

#endif
