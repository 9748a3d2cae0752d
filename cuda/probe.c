/* Whether the device can do the work, before a run decides for it: what --device auto asks. */
#include "cuda/device.h"

#include <stdio.h>

dmq_status dmq_matmul_cuda(dmq_queue *queue, const dmq_matmul_args *a);
dmq_status dmq_conv2d_forward_cuda(dmq_queue *queue, const dmq_conv2d_args *a);

enum { CHANNELS = 8, SIDE = 8, PIXELS = SIDE * SIDE, FILTER = 3 };

/* Whole numbers, whose sums are exact in every precision. */
static float x_number(int i)
{
    return (float)(i * 7 % 5 - 2);
}

static float w_number(int i)
{
    return (float)(i * 11 % 7 - 3);
}

static float at(int y, int x, int c)
{
    return y < 0 || y >= SIDE || x < 0 || x >= SIDE ? 0 : x_number((y * SIDE + x) * CHANNELS + c);
}

/* Output channel k of a pixel: a 3 x 3 filter, or one of a pixel alone. */
static float wanted(int filter, int pixel, int k)
{
    float sum = 0;

    for (int r = 0; r < filter; r++) {
        for (int s = 0; s < filter; s++) {
            for (int c = 0; c < CHANNELS; c++) {
                sum += at(pixel / SIDE + r - filter / 2, pixel % SIDE + s - filter / 2, c) *
                       w_number(((k * filter + r) * filter + s) * CHANNELS + c);
            }
        }
    }
    return sum;
}

static dmq_status compare(dmq_queue *queue, const float *device, int filter, const char *what)
{
    float y[PIXELS * CHANNELS];
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_cuda_download(queue, y, device, sizeof y));
    for (int i = 0; i < PIXELS * CHANNELS; i++) {
        float want = wanted(filter, i / CHANNELS, i % CHANNELS);

        if (y[i] != want) {
            return dmq_fail(DMQ_EDEVICE, "cuda: number %d of %s is %g, must be %g", i, what,
                            (double)y[i], (double)want);
        }
    }
done:
    return st;
}

/* A product and a convolution, by the ways that a run takes. */
static dmq_status compute(dmq_queue *queue)
{
    float x[PIXELS * CHANNELS], w[CHANNELS * FILTER * FILTER * CHANNELS];
    float *memory = NULL, *w_at, *y_at;
    dmq_status st = DMQ_OK;

    for (size_t i = 0; i < sizeof x / sizeof *x; i++)
        x[i] = x_number((int)i);
    for (size_t i = 0; i < sizeof w / sizeof *w; i++)
        w[i] = w_number((int)i);
    DMQ_TRY(dmq_cuda_alloc((void **)&memory, 2 * sizeof x + sizeof w));
    w_at = memory + sizeof x / sizeof *x;
    y_at = w_at + sizeof w / sizeof *w;
    DMQ_TRY(dmq_cuda_upload(queue, memory, x, sizeof x));
    DMQ_TRY(dmq_cuda_upload(queue, w_at, w, sizeof w));
    DMQ_TRY(dmq_matmul_cuda(queue, &(dmq_matmul_args){ .a = memory,
                                                       .b = w_at,
                                                       .c = y_at,
                                                       .batch = 1,
                                                       .m = PIXELS,
                                                       .n = CHANNELS,
                                                       .k = CHANNELS,
                                                       .trans_b = 1,
                                                       .lda = CHANNELS,
                                                       .ldb = CHANNELS,
                                                       .ldc = CHANNELS,
                                                       .alpha = 1 }));
    DMQ_TRY(compare(queue, y_at, 1, "a product"));
    DMQ_TRY(dmq_conv2d_forward_cuda(queue, &(dmq_conv2d_args){ .x = memory,
                                                               .w = w_at,
                                                               .y = y_at,
                                                               .n = 1,
                                                               .c = CHANNELS,
                                                               .h = SIDE,
                                                               .wd = SIDE,
                                                               .k = CHANNELS,
                                                               .r = FILTER,
                                                               .s = FILTER,
                                                               .stride = 1,
                                                               .pad_top = 1,
                                                               .pad_left = 1,
                                                               .ho = SIDE,
                                                               .wo = SIDE }));
    DMQ_TRY(compare(queue, y_at, FILTER, "a convolution"));
done:
    dmq_cuda_free(memory);
    return st;
}

dmq_status dmq_backend_cuda_probe(const dmq_backend **out, int device, char *text, size_t room)
{
    const dmq_backend *be = NULL;
    const dmq_cublaslt *lt = NULL;
    const dmq_cudnn *nn = NULL;
    struct cudaDeviceProp p;
    dmq_queue *queue = NULL;
    dmq_status st = DMQ_OK;

    *out = NULL;
    DMQ_TRY(dmq_backend_cuda_open(&be, device));
    DMQ_TRY(dmq_cublaslt_load(&lt));
    DMQ_TRY(dmq_cudnn_load(&nn));
    DMQ_CUDA(cudaGetDeviceProperties(&p, device));
    DMQ_TRY(be->queue_create(&queue, 0));
    DMQ_TRY(compute(queue));
    (void)snprintf(text, room, "%s; cuDNN %zu.%zu.%zu and cuBLASLt %zu.%zu.%zu work", p.name,
                   nn->GetVersion() / 10000, nn->GetVersion() / 100 % 100, nn->GetVersion() % 100,
                   lt->GetVersion() / 10000, lt->GetVersion() / 100 % 100, lt->GetVersion() % 100);
    *out = be;
done:
    dmq_cuda_queue_destroy(queue);
    return st;
}
