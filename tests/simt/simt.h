/**
 * CUDA's execution model for the host compiler: a kernel is run thread by thread on a CPU.
 *
 * A file kernels/<op>.cu compiled as C++ with DMQ_SIMT sees these names instead of the toolkit's. Blocks
 * run one after the other; the threads of a block are fibers that change places at barriers and warp
 * exchanges only. Every second launch runs blocks and threads in descending order, so that a result
 * which depends on their order shows. Shared memory asked for at launch is a heap block of just that
 * size, poisoned with NaN: the address sanitizer sees an index beyond it.
 *
 * What a device would hang on or leave undefined ends the program with a message: a barrier that not all
 * threads of a block reach, an exchange with a lane that takes no part in it.
 *
 * Not modelled: memory ordering between blocks, bank conflicts, tensor cores, cooperative groups.
 */
#ifndef DMQ_TESTS_SIMT_H
#define DMQ_TESTS_SIMT_H

#include <functional>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

extern "C" {
#include "base/status.h"
}

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __shared__   static thread_local
#define __constant__ static
#define __grid_constant__

struct uint3 {
    unsigned x, y, z;
};

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c)
    {
    }
};

struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) int2 {
    int x, y;
};
struct alignas(16) int4 {
    int x, y, z, w;
};
struct alignas(16) double2 {
    double x, y;
};

static inline float2 make_float2(float x, float y)
{
    return { x, y };
}
static inline float4 make_float4(float x, float y, float z, float w)
{
    return { x, y, z, w };
}
static inline int2 make_int2(int x, int y)
{
    return { x, y };
}
static inline int4 make_int4(int x, int y, int z, int w)
{
    return { x, y, z, w };
}

namespace dmq_simt
{
struct place {
    uint3 thread, block;
    dim3 block_dim, grid_dim;
};

/** Of the thread that runs now. */
extern thread_local place here;

/** Dynamic shared memory of the block. */
void *shared();

/** Run a kernel: body is called once for every thread. Returns when all blocks are done. */
dmq_status launch(const char *kernel, dim3 grid, dim3 block, size_t shared_bytes,
                  const std::function<void()> &body);

void block_barrier();
void warp_barrier(unsigned mask);

/** The bits that lane `from` of the warp gave in this exchange. */
uint64_t exchange(unsigned mask, uint64_t bits, unsigned from);
unsigned lane();

template <typename T> T shuffle(unsigned mask, T value, unsigned from)
{
    uint64_t bits = 0;

    static_assert(sizeof(T) <= sizeof bits, "a shuffle moves at most 8 bytes");
    memcpy(&bits, &value, sizeof value);
    bits = exchange(mask, bits, from);
    memcpy(&value, &bits, sizeof value);
    return value;
}
} // namespace dmq_simt

#define threadIdx (dmq_simt::here.thread)
#define blockIdx  (dmq_simt::here.block)
#define blockDim  (dmq_simt::here.block_dim)
#define gridDim   (dmq_simt::here.grid_dim)
#define warpSize  32

static inline void __syncthreads()
{
    dmq_simt::block_barrier();
}

static inline void __syncwarp(unsigned mask = 0xffffffffu)
{
    dmq_simt::warp_barrier(mask);
}

template <typename T> T __shfl_sync(unsigned mask, T value, int from, int width = 32)
{
    unsigned base = dmq_simt::lane() / (unsigned)width * (unsigned)width;

    return dmq_simt::shuffle(mask, value, base + (unsigned)from % (unsigned)width);
}

template <typename T> T __shfl_xor_sync(unsigned mask, T value, int far, int width = 32)
{
    unsigned me = dmq_simt::lane(), to = me ^ (unsigned)far;

    return dmq_simt::shuffle(mask, value, to / (unsigned)width == me / (unsigned)width ? to : me);
}

template <typename T> T __shfl_down_sync(unsigned mask, T value, unsigned far, int width = 32)
{
    unsigned me = dmq_simt::lane(), to = me + far;

    return dmq_simt::shuffle(mask, value, to / (unsigned)width == me / (unsigned)width ? to : me);
}

template <typename T> T __shfl_up_sync(unsigned mask, T value, unsigned far, int width = 32)
{
    unsigned me = dmq_simt::lane();

    return dmq_simt::shuffle(mask, value, me % (unsigned)width >= far ? me - far : me);
}

unsigned __ballot_sync(unsigned mask, int predicate);

static inline int __any_sync(unsigned mask, int predicate)
{
    return __ballot_sync(mask, predicate) != 0;
}

static inline int __all_sync(unsigned mask, int predicate)
{
    return __ballot_sync(mask, !predicate) == 0;
}

/* Fibers change places at barriers only, so a plain sum is atomic. */
template <typename T> T atomicAdd(T *at, T value)
{
    T old = *at;

    *at = old + value;
    return old;
}

template <typename T> T __ldg(const T *at)
{
    return *at;
}

static inline float rsqrtf(float x)
{
    return 1.0f / sqrtf(x);
}

static inline unsigned __umulhi(unsigned a, unsigned b)
{
    return (unsigned)(((uint64_t)a * b) >> 32);
}

static inline unsigned __float_as_uint(float x)
{
    unsigned bits;

    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float __uint_as_float(unsigned bits)
{
    float x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline void __threadfence()
{
}

#endif
