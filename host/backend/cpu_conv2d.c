#include "backend/cpu_conv2d.h"
#include "backend/cpu.h"

/* 3x3, stride 1, one pixel of padding all around, whole blocks of channels. */
static int winograd_fits(const dmq_conv2d_args *a)
{
    return a->r == 3 && a->s == 3 && a->stride == 1 && a->pad_top == 1 && a->pad_left == 1 &&
           a->ho == a->h && a->wo == a->wd && a->c % 16 == 0 && a->k % 16 == 0;
}

/*
 * The fastest by measurement on one thread (bench_conv2d; AVX-512), whether the machine has it or not.
 *
 * y and dx: the number of images has no say, since it must not change a bit. Our columns where the
 * result has few channels and direct code leaves most of a register empty. Winograd from maps of 8x8
 * on: on 4x4, making and reading 36 weights of every 9 costs more than they save.
 */
static dmq_conv_algorithm preferred_map(const dmq_conv2d_args *a, int in, int out)
{
    int tiles = (a->ho + 3) / 4 * ((a->wo + 3) / 4);

    if (out < 16 && in >= 16)
        return DMQ_CONV_IM2COL;
    if (winograd_fits(a) && tiles >= 4)
        return DMQ_CONV_WINOGRAD;
    return DMQ_CONV_DIRECT;
}

/*
 * dw, a sum over the images: Winograd from 16 tiles of 4x4 on; our columns, whose product writes dw as
 * it lies, where there are few pixels for each weight, and for strides with many channels.
 */
static dmq_conv_algorithm preferred_weights(const dmq_conv2d_args *a)
{
    int tiles = (a->ho + 3) / 4 * ((a->wo + 3) / 4);

    if (a->k < 16 && a->c >= 16)
        return DMQ_CONV_IM2COL;
    if (winograd_fits(a) && tiles * a->n >= 16)
        return DMQ_CONV_WINOGRAD;
    if (a->n * a->ho * a->wo < 256 || (a->stride > 1 && a->c * a->k >= 64 * 64))
        return DMQ_CONV_IM2COL;
    return DMQ_CONV_DIRECT;
}

static dmq_conv_algorithm preferred(dmq_conv_pass pass, const dmq_conv2d_args *a)
{
    return pass == DMQ_CONV_FORWARD         ? preferred_map(a, a->c, a->k)
           : pass == DMQ_CONV_BACKWARD_DATA ? preferred_map(a, a->k, a->c)
                                            : preferred_weights(a);
}

dmq_status dmq_cpu_conv_choose(dmq_conv_algorithm *out, dmq_conv_pass pass,
                               const dmq_conv2d_args *a)
{
    dmq_status st = DMQ_OK;

    *out = preferred(pass, a);
    if (*out == DMQ_CONV_WINOGRAD) {
        st = dmq_cpu_conv_dnnl(NULL, pass, *out, a, NULL);
        if (st == DMQ_ENOTSUP)
            *out = DMQ_CONV_DIRECT;
    }
    if (*out == DMQ_CONV_DIRECT) {
        st = dmq_cpu_conv_dnnl(NULL, pass, *out, a, NULL);
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

dmq_status dmq_cpu_conv_run(dmq_queue *queue, dmq_conv_pass pass, dmq_conv_algorithm algorithm,
                            const dmq_conv2d_args *a)
{
    dmq_status st = DMQ_OK;
    int threads = dmq_cpu_threads_one();

    if (algorithm == DMQ_CONV_AUTO)
        DMQ_TRY(dmq_cpu_conv_choose(&algorithm, pass, a));
    if (algorithm == DMQ_CONV_WINOGRAD && !winograd_fits(a))
        st = dmq_fail(DMQ_ENOTSUP, "conv2d: Winograd is for 3x3, stride 1, padding 1, 16 channels");
    else if (algorithm == DMQ_CONV_IM2COL)
        st = im2col(queue, pass, a);
    else
        st = dmq_cpu_conv_dnnl(queue, pass, algorithm, a, NULL);
done:
    dmq_cpu_threads_restore(threads);
    if (st == DMQ_OK && pass == DMQ_CONV_BACKWARD_WEIGHTS && a->dbias)
        st = dmq_col_sum_cpu(queue, &(dmq_col_sum_args){ .x = a->dy,
                                                         .y = a->dbias,
                                                         .rows = a->n * a->ho * a->wo,
                                                         .cols = a->k,
                                                         .add = a->add });
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
    if (algorithm == DMQ_CONV_WINOGRAD && !winograd_fits(a))
        st = DMQ_ENOTSUP;
    else if (algorithm != DMQ_CONV_IM2COL)
        st = dmq_cpu_conv_dnnl(NULL, pass, algorithm, a, out);
done:
    dmq_cpu_threads_restore(threads);
    return st;
}

dmq_status dmq_conv2d_forward_cpu(dmq_queue *queue, const dmq_conv2d_args *a)
{
    return dmq_cpu_conv_run(queue, DMQ_CONV_FORWARD, DMQ_CONV_AUTO, a);
}

dmq_status dmq_conv2d_backward_data_cpu(dmq_queue *queue, const dmq_conv2d_args *a)
{
    return dmq_cpu_conv_run(queue, DMQ_CONV_BACKWARD_DATA, DMQ_CONV_AUTO, a);
}

dmq_status dmq_conv2d_backward_weights_cpu(dmq_queue *queue, const dmq_conv2d_args *a)
{
    return dmq_cpu_conv_run(queue, DMQ_CONV_BACKWARD_WEIGHTS, DMQ_CONV_AUTO, a);
}
