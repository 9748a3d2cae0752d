/**
 * Launches on the pretended device: kernels/<op>.cu compiled for the host with launchers named ..._cuda.
 *
 * Included by kernels/device.cuh with DMQ_PRETEND set. Arguments are copied when a launch is asked for, as a
 * device does, and the kernel runs (tests/simt/simt.h) when its stream's turn comes.
 */
#ifndef DMQ_TESTS_PRETEND_LAUNCH_H
#define DMQ_TESTS_PRETEND_LAUNCH_H

#include "simt.h"

#include <tuple>
#include <utility>

#define DMQ_DEVICE(name)   extern "C" dmq_status name##_cuda
#define DMQ_LAUNCHER(name) name##_cuda
#define DMQ_LAUNCH(kernel, grid, block, shared_bytes, queue, ...)                                \
    dmq_pretend::launch(                                                                         \
        #kernel, grid, block, shared_bytes, queue, [](const auto &...args) { kernel(args...); }, \
        __VA_ARGS__)

struct dmq_queue;
extern "C" dmq_status dmq_cuda_launched(const char *kernel);

namespace dmq_pretend
{
/** Puts a kernel into the queue's stream; a refusal is found by dmq_cuda_launched. */
void put(const char *kernel, dim3 grid, dim3 block, size_t shared_bytes, dmq_queue *queue,
         std::function<void()> body);

template <typename Kernel, typename... A>
dmq_status launch(const char *name, dim3 grid, dim3 block, size_t shared_bytes, dmq_queue *queue,
                  Kernel kernel, const A &...args)
{
    if (grid.x == 0 || grid.y == 0 || grid.z == 0) /* as kernels/device.cuh has it */
        return DMQ_OK;
    put(name, grid, block, shared_bytes, queue,
        [kernel, copies = std::tuple<A...>(args...)] { std::apply(kernel, copies); });
    return dmq_cuda_launched(name);
}
} // namespace dmq_pretend

#endif
