#include "backend/cpu_conv2d.h"
#include "backend/cpu.h"
#include "backend/cpu_winograd.h"

/*
 * The fastest by measurement on one thread (bench_conv2d; AVX-512).
 *
 * y and dx: the number of images has no say, since it must not change a bit. Our columns where the
 * result has few channels and direct code leaves most of a register empty. Winograd from maps of 4x4
 * on; on those of less than a tile the products are mostly of zeros.
 */
static dmq_conv_algorithm preferred_map(dmq_conv_pass pass, const dmq_conv2d_args *a, int in,
                                        int out)
{
    if (out < 16 && in >= 16)
        return DMQ_CONV_IM2COL;
    if (dmq_cpu_winograd_fits(pass, a) && a->ho >= 4 && a->wo >= 4)
        return DMQ_CONV_WINOGRAD;
    return DMQ_CONV_DIRECT;
}

/*
 * dw, a sum over the images: Winograd from 8 tiles of 4x4 on; our columns, whose product writes dw as
 * it lies, where there are few pixels for each weight, and for strides with many channels.
 */
static dmq_conv_algorithm preferred_weights(const dmq_conv2d_args *a)
{
    int tiles = (a->ho + 3) / 4 * ((a->wo + 3) / 4);

    if (a->k < 16 && a->c >= 16)
        return DMQ_CONV_IM2COL;
    if (dmq_cpu_winograd_fits(DMQ_CONV_BACKWARD_WEIGHTS, a) && tiles * a->n >= 8)
        return DMQ_CONV_WINOGRAD;
    if (a->n * a->ho * a->wo < 256 || (a->stride > 1 && a->c * a->k >= 64 * 64))
        return DMQ_CONV_IM2COL;
    return DMQ_CONV_DIRECT;
}

static dmq_conv_algorithm preferred(dmq_conv_pass pass, const dmq_conv2d_args *a)
{
    return pass == DMQ_CONV_FORWARD         ? preferred_map(pass, a, a->c, a->k)
           : pass == DMQ_CONV_BACKWARD_DATA ? preferred_map(pass, a, a->k, a->c)
                                            : preferred_weights(a);
}

dmq_status dmq_cpu_conv_choose(dmq_conv_algorithm *out, dmq_conv_pass pass,
                               const dmq_conv2d_args *a)
{
    dmq_status st = DMQ_OK;

    *out = preferred(pass, a);
    if (*out == DMQ_CONV_DIRECT) {
        st = dmq_cpu_conv_dnnl(NULL, pass, a, NULL);
        if (st == DMQ_ENOTSUP)
            *out = DMQ_CONV_IM2COL;
    }
    return st == DMQ_ENOTSUP ? DMQ_OK : st;
}

static dmq_status im2col(dmq_queue *queue, dmq_conv_pass pass, const dmq_conv2d_args *a)
{
    dmq_status st = DMQ_OK;
    void *scratch = NULL;

    DMQ_TRY(dmq_cpu_scratch(&scratch, queue, dmq_cpu_im2col_bytes(a)));
    DMQ_TRY(dmq_cpu_im2col(pass, a, scratch));
done:
    return st;
}

/* oneDNN's own makes a NaN 0. */
static dmq_status relu(dmq_queue *queue, const dmq_conv2d_args *a)
{
    return dmq_unary_forward_cpu(
        queue, &(dmq_unary_args){ .kind = DMQ_RELU,
                                  .x = a->y,
                                  .y = a->y,
                                  .count = (size_t)a->n * (size_t)(a->ho * a->wo) * (size_t)a->k });
}

dmq_status dmq_cpu_conv_run(dmq_queue *queue, dmq_conv_pass pass, dmq_conv_algorithm algorithm,
                            const dmq_conv2d_args *a)
{
    dmq_status st = DMQ_OK;
    int threads = dmq_cpu_threads_one();

    if (algorithm == DMQ_CONV_AUTO)
        DMQ_TRY(dmq_cpu_conv_choose(&algorithm, pass, a));
    if (algorithm == DMQ_CONV_IM2COL) {
        st = im2col(queue, pass, a);
    } else if (algorithm == DMQ_CONV_DIRECT) {
        st = dmq_cpu_conv_dnnl(queue, pass, a, NULL);
    } else if (dmq_cpu_winograd_fits(pass, a)) {
        st = dmq_cpu_winograd(queue, pass, a);
    } else {
        st = dmq_fail(DMQ_ENOTSUP,
                      "conv2d: Winograd is for 3x3 (forward: also 5x5, and lines of 3 and 7 taps), "
                      "stride 1, multiples of 16 channels, AVX2 or AVX-512");
    }
    if (st == DMQ_OK && pass == DMQ_CONV_FORWARD && a->relu && algorithm != DMQ_CONV_WINOGRAD)
        st = relu(queue, a);
done:
    dmq_cpu_threads_restore(threads);
    if (st == DMQ_OK && pass == DMQ_CONV_BACKWARD_WEIGHTS && a->dbias) {
        st = dmq_col_sum_cpu(queue, &(dmq_col_sum_args){ .x = a->dy,
                                                         .y = a->dbias,
                                                         .rows = a->n * a->ho * a->wo,
                                                         .cols = a->k,
                                                         .add = a->add });
    }
    return st;
}

dmq_status dmq_cpu_conv_name(const char **out, dmq_conv_pass pass, dmq_conv_algorithm algorithm,
                             const dmq_conv2d_args *a)
{
    dmq_status st = DMQ_OK;
    int threads = dmq_cpu_threads_one();

    *out = "im2col";
    if (algorithm == DMQ_CONV_AUTO)
        DMQ_TRY(dmq_cpu_conv_choose(&algorithm, pass, a));
    if (algorithm == DMQ_CONV_DIRECT) {
        st = dmq_cpu_conv_dnnl(NULL, pass, a, out);
    } else if (algorithm == DMQ_CONV_WINOGRAD && !dmq_cpu_winograd_fits(pass, a)) {
        st = DMQ_ENOTSUP;
    } else if (algorithm == DMQ_CONV_WINOGRAD) {
        *out = dmq_cpu_winograd_name();
    }
done:
    dmq_cpu_threads_restore(threads);
    return st;
}

/* A set of weights after the other. */
static dmq_status by_sets(dmq_queue *queue, dmq_conv_pass pass, const dmq_conv2d_args *a)
{
    dmq_status st = DMQ_OK;

    if (a->sets <= 1)
        return dmq_cpu_conv_run(queue, pass, DMQ_CONV_AUTO, a);
    for (int g = 0; g < a->sets; g++) {
        dmq_conv2d_args run = dmq_conv2d_set(a, g);

        DMQ_TRY(dmq_cpu_conv_run(queue, pass, DMQ_CONV_AUTO, &run));
    }
done:
    return st;
}

dmq_status dmq_conv2d_forward_cpu(dmq_queue *queue, const dmq_conv2d_args *a)
{
    return by_sets(queue, DMQ_CONV_FORWARD, a);
}

dmq_status dmq_conv2d_backward_data_cpu(dmq_queue *queue, const dmq_conv2d_args *a)
{
    return by_sets(queue, DMQ_CONV_BACKWARD_DATA, a);
}

dmq_status dmq_conv2d_backward_weights_cpu(dmq_queue *queue, const dmq_conv2d_args *a)
{
    dmq_status st = DMQ_OK;

    if (!a->per)
        return dmq_cpu_conv_run(queue, DMQ_CONV_BACKWARD_WEIGHTS, DMQ_CONV_AUTO, a);
    for (int g = 0; g < a->n / a->per; g++) {
        dmq_conv2d_args run = dmq_conv2d_run(a, g);

        DMQ_TRY(dmq_cpu_conv_run(queue, DMQ_CONV_BACKWARD_WEIGHTS, DMQ_CONV_AUTO, &run));
    }
done:
    return st;
}
