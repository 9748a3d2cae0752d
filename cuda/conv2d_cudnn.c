/* Convolution by cuDNN, one call a pass; a matrix product where a filter is one pixel. */
#include "cuda/conv2d_plan.h"

#include "base/log.h"
#include "kernels/matmul.h"

dmq_status dmq_conv2d_forward_cuda(dmq_queue *queue, const dmq_conv2d_args *a);
dmq_status dmq_conv2d_backward_data_cuda(dmq_queue *queue, const dmq_conv2d_args *a);
dmq_status dmq_conv2d_backward_weights_cuda(dmq_queue *queue, const dmq_conv2d_args *a);
dmq_status dmq_conv2d_forward_plain_cuda(dmq_queue *queue, const dmq_conv2d_args *a);
dmq_status dmq_conv2d_backward_data_plain_cuda(dmq_queue *queue, const dmq_conv2d_args *a);
dmq_status dmq_conv2d_backward_weights_plain_cuda(dmq_queue *queue, const dmq_conv2d_args *a);
dmq_status dmq_conv2d_weights_each_cuda(dmq_queue *queue, const dmq_conv2d_args *a);
dmq_status dmq_matmul_cuda(dmq_queue *queue, const dmq_matmul_args *a);
dmq_status dmq_col_sum_cuda(dmq_queue *queue, const dmq_col_sum_args *a);

static int refused(cudnnStatus_t status)
{
    return CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_NOT_SUPPORTED;
}

/* A pixel at a time: a matrix product. */
static int is_product(const dmq_conv2d_args *a)
{
    return a->r == 1 && a->s == 1 && a->stride == 1 && a->pad_top == 0 && a->pad_left == 0 &&
           a->ho == a->h && a->wo == a->wd;
}

/* It said that it would, and now will not: our own kernel from now on, and a word about it. */
static void give_up(dmq_cuda_conv_plan *p, const char *pass, const dmq_conv2d_args *a)
{
    dmq_log_warn("cudnn-refuses", "cuDNN refuses %s of %dx%d, %d to %d channels; by our own kernel",
                 pass, a->h, a->wd, a->c, a->k);
    p->algorithm = DMQ_CUDA_PLAIN;
}

/* Conv, add and bias; the fused form does not add. Refusals come before anything is written. */
static cudnnStatus_t run_forward(dmq_queue *q, const dmq_cudnn *nn, dmq_cuda_conv_plan *p,
                                 const dmq_conv2d_args *a)
{
    const float one = 1, zero = 0, beta = a->add ? 1 : 0;
    cudnnStatus_t status = CUDNN_STATUS_NOT_SUPPORTED;

    if (a->bias && !a->add && p->fuses_bias) {
        status = nn->ConvolutionBiasActivationForward(
            q->cudnn, &one, p->x, a->x, p->w, a->w, p->conv,
            (cudnnConvolutionFwdAlgo_t)p->algorithm, q->workspace, p->workspace, &zero, p->y, a->y,
            p->bias, a->bias, p->identity, p->y, a->y);
        if (!refused(status))
            return status;
        p->fuses_bias = 0;
    }
    status = nn->ConvolutionForward(q->cudnn, &one, p->x, a->x, p->w, a->w, p->conv,
                                    (cudnnConvolutionFwdAlgo_t)p->algorithm, q->workspace,
                                    p->workspace, &beta, p->y, a->y);
    if (status == CUDNN_STATUS_SUCCESS && a->bias)
        status = nn->AddTensor(q->cudnn, &one, p->bias, a->bias, &one, p->y, a->y);
    return status;
}

dmq_status dmq_conv2d_forward_cuda(dmq_queue *queue, const dmq_conv2d_args *a)
{
    const dmq_cudnn *nn = NULL;
    dmq_cuda_conv_plan *p = NULL;
    dmq_status st = DMQ_OK;

    if (is_product(a)) { /* y = x W^T + bias over pixels */
        dmq_matmul_args product = { .a = a->x,
                                    .b = a->w,
                                    .c = a->y,
                                    .bias = a->bias,
                                    .batch = 1,
                                    .m = a->n * a->h * a->wd,
                                    .n = a->k,
                                    .k = a->c,
                                    .trans_b = 1,
                                    .lda = a->c,
                                    .ldb = a->c,
                                    .ldc = a->k,
                                    .alpha = 1,
                                    .add = a->add };

        return dmq_matmul_cuda(queue, &product);
    }
    DMQ_TRY(dmq_cuda_use());
    DMQ_TRY(dmq_cuda_conv_plan_of(&p, queue, a, DMQ_CONV_FORWARD));
    if (p->algorithm != DMQ_CUDA_PLAIN) {
        cudnnStatus_t status;

        DMQ_TRY(dmq_cudnn_load(&nn));
        status = run_forward(queue, nn, p, a);
        if (!refused(status))
            return dmq_cudnn_status(status, "cudnnConvolutionForward");
        give_up(p, "the forward pass", a);
    }
    st = dmq_conv2d_forward_plain_cuda(queue, a);
done:
    return st;
}

dmq_status dmq_conv2d_backward_data_cuda(dmq_queue *queue, const dmq_conv2d_args *a)
{
    const float one = 1, beta = a->add ? 1 : 0;
    const dmq_cudnn *nn = NULL;
    dmq_cuda_conv_plan *p = NULL;
    dmq_status st = DMQ_OK;

    if (is_product(a)) { /* dx = dy W */
        dmq_matmul_args product = { .a = a->dy,
                                    .b = a->w,
                                    .c = a->dx,
                                    .batch = 1,
                                    .m = a->n * a->h * a->wd,
                                    .n = a->c,
                                    .k = a->k,
                                    .lda = a->k,
                                    .ldb = a->c,
                                    .ldc = a->c,
                                    .alpha = 1,
                                    .add = a->add };

        return dmq_matmul_cuda(queue, &product);
    }
    DMQ_TRY(dmq_cuda_use());
    DMQ_TRY(dmq_cuda_conv_plan_of(&p, queue, a, DMQ_CONV_BACKWARD_DATA));
    if (p->algorithm != DMQ_CUDA_PLAIN) {
        cudnnStatus_t status;

        DMQ_TRY(dmq_cudnn_load(&nn));
        status = nn->ConvolutionBackwardData(queue->cudnn, &one, p->w, a->w, p->y, a->dy, p->conv,
                                             (cudnnConvolutionBwdDataAlgo_t)p->algorithm,
                                             queue->workspace, p->workspace, &beta, p->x, a->dx);
        if (!refused(status))
            return dmq_cudnn_status(status, "cudnnConvolutionBackwardData");
        give_up(p, "the gradient of the input", a);
    }
    st = dmq_conv2d_backward_data_plain_cuda(queue, a);
done:
    return st;
}

/* dw alone. */
static dmq_status backward_filter(dmq_queue *queue, const dmq_conv2d_args *a)
{
    const float one = 1, beta = a->add ? 1 : 0;
    dmq_conv2d_args weights = *a;
    const dmq_cudnn *nn = NULL;
    dmq_cuda_conv_plan *p = NULL;
    dmq_status st = DMQ_OK;

    if (is_product(a)) { /* dW = dy^T x */
        dmq_matmul_args product = { .a = a->dy,
                                    .b = a->x,
                                    .c = a->dw,
                                    .batch = 1,
                                    .m = a->k,
                                    .n = a->c,
                                    .k = a->n * a->h * a->wd,
                                    .trans_a = 1,
                                    .lda = a->k,
                                    .ldb = a->c,
                                    .ldc = a->c,
                                    .alpha = 1,
                                    .add = a->add };

        return dmq_matmul_cuda(queue, &product);
    }
    DMQ_TRY(dmq_cuda_conv_plan_of(&p, queue, a, DMQ_CONV_BACKWARD_WEIGHTS));
    if (p->algorithm != DMQ_CUDA_PLAIN) {
        cudnnStatus_t status;

        DMQ_TRY(dmq_cudnn_load(&nn));
        status = nn->ConvolutionBackwardFilter(queue->cudnn, &one, p->x, a->x, p->y, a->dy, p->conv,
                                               (cudnnConvolutionBwdFilterAlgo_t)p->algorithm,
                                               queue->workspace, p->workspace, &beta, p->w, a->dw);
        if (!refused(status))
            return dmq_cudnn_status(status, "cudnnConvolutionBackwardFilter");
        give_up(p, "the gradient of the weights", a);
    }
    weights.dbias = NULL;
    st = dmq_conv2d_backward_weights_plain_cuda(queue, &weights);
done:
    return st;
}

dmq_status dmq_conv2d_backward_weights_cuda(dmq_queue *queue, const dmq_conv2d_args *a)
{
    dmq_col_sum_args bias = {
        .x = a->dy, .y = a->dbias, .rows = a->n * a->ho * a->wo, .cols = a->k, .add = a->add
    };
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_cuda_use());
    if (a->per)
        return dmq_conv2d_weights_each_cuda(queue, a);
    DMQ_TRY(backward_filter(queue, a));
    if (a->dbias)
        DMQ_TRY(dmq_col_sum_cuda(queue, &bias));
done:
    return st;
}
