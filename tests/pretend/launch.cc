/* Kernels as work of a stream. */
#include "launch.h"

extern "C" {
void *dmq_cuda_stream(dmq_queue *queue);

/* streams.c; what the toolkit's headers declare cannot be seen beside simt.h */
void pretend_launch(void *stream, const char *kernel, int refused, void (*run)(void *context),
                    void (*drop)(void *context), void *context);
[[noreturn]] void pretend_die(const char *format, ...);
}

namespace
{
/* Without an attribute of the kernel, which none of ours sets. */
constexpr size_t SHARED_MOST = 48 << 10;
constexpr unsigned THREADS_MOST = 1024, ROWS_MOST = 65535;

struct launched {
    const char *kernel;
    dim3 grid, block;
    size_t shared_bytes;
    std::function<void()> body;
};

void run(void *context)
{
    const launched *l = static_cast<const launched *>(context);

    if (dmq_simt::launch(l->kernel, l->grid, l->block, l->shared_bytes, l->body) != DMQ_OK)
        pretend_die("%s", dmq_message());
}

void drop(void *context)
{
    delete static_cast<launched *>(context);
}

bool is_refused(const launched &l)
{
    return l.grid.x == 0 || l.grid.y == 0 || l.grid.z == 0 || l.grid.x > 0x7fffffffu ||
           l.grid.y > ROWS_MOST || l.grid.z > ROWS_MOST || l.block.x * l.block.y * l.block.z == 0 ||
           l.block.x * l.block.y * l.block.z > THREADS_MOST || l.shared_bytes > SHARED_MOST;
}
} // namespace

namespace dmq_pretend
{
void put(const char *kernel, dim3 grid, dim3 block, size_t shared_bytes, dmq_queue *queue,
         std::function<void()> body)
{
    launched *l = new launched{ kernel, grid, block, shared_bytes, std::move(body) };

    pretend_launch(dmq_cuda_stream(queue), kernel, is_refused(*l), run, drop, l);
}
} // namespace dmq_pretend
