/* Convolution by cuDNN, one call a pass; a matrix product where a filter is one pixel. */
#include "cuda/conv2d_plan.h"
#include "cuda/sides.h"

#include "base/log.h"
#include "kernels/matmul.h"
#include "kernels/pointwise.h"

dmq_status dmq_conv2d_forward_cuda(dmq_queue *queue, const dmq_conv2d_args *a);
dmq_status dmq_conv2d_backward_data_cuda(dmq_queue *queue, const dmq_conv2d_args *a);
dmq_status dmq_conv2d_backward_weights_cuda(dmq_queue *queue, const dmq_conv2d_args *a);
dmq_status dmq_conv2d_forward_plain_cuda(dmq_queue *queue, const dmq_conv2d_args *a);
dmq_status dmq_conv2d_backward_data_plain_cuda(dmq_queue *queue, const dmq_conv2d_args *a);
dmq_status dmq_conv2d_backward_weights_plain_cuda(dmq_queue *queue, const dmq_conv2d_args *a);
dmq_status dmq_conv2d_weights_each_cuda(dmq_queue *queue, const dmq_conv2d_args *a);
dmq_status dmq_matmul_cuda(dmq_queue *queue, const dmq_matmul_args *a);
dmq_status dmq_col_sum_cuda(dmq_queue *queue, const dmq_col_sum_args *a);
dmq_status dmq_unary_forward_cuda(dmq_queue *queue, const dmq_unary_args *a);

/* Images of a run whose gradient of the weights is a convolution's; of fewer it is a product's (conv2d_each.cu). */
enum { RUN_LEAST = 4 };

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

static cudnnStatus_t run_backward_data(dmq_queue *q, const dmq_cudnn *nn, dmq_cuda_conv_plan *p,
                                       const dmq_conv2d_args *a)
{
    const float one = 1, beta = a->add ? 1 : 0;

    return nn->ConvolutionBackwardData(q->cudnn, &one, p->w, a->w, p->y, a->dy, p->conv,
                                       (cudnnConvolutionBwdDataAlgo_t)p->algorithm, q->workspace,
                                       p->workspace, &beta, p->x, a->dx);
}

static cudnnStatus_t run_backward_weights(dmq_queue *q, const dmq_cudnn *nn, dmq_cuda_conv_plan *p,
                                          const dmq_conv2d_args *a)
{
    const float one = 1, beta = a->add ? 1 : 0;

    return nn->ConvolutionBackwardFilter(q->cudnn, &one, p->x, a->x, p->y, a->dy, p->conv,
                                         (cudnnConvolutionBwdFilterAlgo_t)p->algorithm,
                                         q->workspace, p->workspace, &beta, p->w, a->dw);
}

/* ------------------------------------------------------------------ a filter of one pixel */

/* y = x W^T + bias over pixels */
static dmq_matmul_args product_forward(const dmq_conv2d_args *a)
{
    return (dmq_matmul_args){ .a = a->x,
                              .b = a->w,
                              .c = a->y,
                              .bias = a->bias,
                              .m = a->n * a->h * a->wd,
                              .n = a->k,
                              .k = a->c,
                              .trans_b = 1,
                              .lda = a->c,
                              .ldb = a->c,
                              .ldc = a->k };
}

/* dx = dy W */
static dmq_matmul_args product_backward_data(const dmq_conv2d_args *a)
{
    return (dmq_matmul_args){ .a = a->dy,
                              .b = a->w,
                              .c = a->dx,
                              .m = a->n * a->h * a->wd,
                              .n = a->c,
                              .k = a->k,
                              .lda = a->k,
                              .ldb = a->c,
                              .ldc = a->c };
}

/* dW = dy^T x */
static dmq_matmul_args product_backward_weights(const dmq_conv2d_args *a)
{
    return (dmq_matmul_args){ .a = a->dy,
                              .b = a->x,
                              .c = a->dw,
                              .m = a->k,
                              .n = a->c,
                              .k = a->n * a->h * a->wd,
                              .trans_a = 1,
                              .lda = a->k,
                              .ldb = a->c,
                              .ldc = a->c };
}

/* ------------------------------------------------------------------ a pass */

/* The ways of a pass: a product, the library (conv2d_plan.h), our own kernel. */
typedef struct ways {
    const char *title, *call;
    dmq_matmul_args (*product)(const dmq_conv2d_args *a);
    cudnnStatus_t (*run)(dmq_queue *q, const dmq_cudnn *nn, dmq_cuda_conv_plan *p,
                         const dmq_conv2d_args *a);
    dmq_status (*plain)(dmq_queue *queue, const dmq_conv2d_args *a);
} ways;

static const ways all[] = {
    [DMQ_CONV_FORWARD] = { "the forward pass", "cudnnConvolutionForward", product_forward,
                           run_forward, dmq_conv2d_forward_plain_cuda },
    [DMQ_CONV_BACKWARD_DATA] = { "the gradient of the input", "cudnnConvolutionBackwardData",
                                 product_backward_data, run_backward_data,
                                 dmq_conv2d_backward_data_plain_cuda },
    [DMQ_CONV_BACKWARD_WEIGHTS] = { "the gradient of the weights", "cudnnConvolutionBackwardFilter",
                                    product_backward_weights, run_backward_weights,
                                    dmq_conv2d_backward_weights_plain_cuda },
};

/* Of images with weights of their own: a product of the batch for each set. */
static void batch_sets(dmq_matmul_args *p, const dmq_conv2d_args *a)
{
    p->batch = a->sets;
    p->m /= a->sets;
    p->stride_a = (ptrdiff_t)p->m * p->lda;
    p->stride_b = (ptrdiff_t)a->sets_apart;
    p->stride_c = (ptrdiff_t)p->m * p->ldc;
}

static dmq_status convolve(dmq_queue *queue, const dmq_conv2d_args *a, dmq_conv_direction pass)
{
    const ways *way = &all[pass];
    const dmq_cudnn *nn = NULL;
    dmq_cuda_conv_plan *p = NULL;
    dmq_status st = DMQ_OK;

    if (is_product(a)) {
        dmq_matmul_args product = way->product(a);

        product.batch = 1;
        product.alpha = 1;
        product.add = a->add;
        if (pass != DMQ_CONV_BACKWARD_WEIGHTS && a->sets > 1)
            batch_sets(&product, a);
        return dmq_matmul_cuda(queue, &product);
    }
    DMQ_TRY(dmq_cuda_use());
    DMQ_TRY(dmq_cuda_conv_plan_of(&p, queue, a, pass));
    if (p->graph || p->algorithm != DMQ_CUDA_PLAIN) {
        if (p->graph) {
            st = dmq_cuda_conv_graph_run(p->graph, queue, a);
        } else {
            cudnnStatus_t status;

            DMQ_TRY(dmq_cudnn_load(&nn));
            status = way->run(queue, nn, p, a);
            st = refused(status) ? DMQ_ENOTSUP : dmq_cudnn_status(status, way->call);
        }
        if (st != DMQ_ENOTSUP)
            return st;
        /* it said that it would, and now will not: our own kernel from now on, and a word about it */
        dmq_log_warn("cudnn-refuses",
                     "cuDNN refuses %s of %dx%d, %d to %d channels; by our own kernel", way->title,
                     a->h, a->wd, a->c, a->k);
        dmq_cuda_conv_graph_destroy(p->graph);
        p->graph = NULL;
        p->algorithm = DMQ_CUDA_PLAIN;
    }
    st = way->plain(queue, a);
done:
    return st;
}

/* Runs of images that have weights, or gradients of weights, of their own. */
typedef dmq_conv2d_args run_fn(const dmq_conv2d_args *a, int g);

/* A convolution for each run, some at a time: none of them has the images to fill a device. `plain` takes all of
   them at once where the library has no way for one. */
static dmq_status by_runs(dmq_queue *queue, const dmq_conv2d_args *a, dmq_conv_direction pass,
                          int runs, run_fn *run_of,
                          dmq_status (*plain)(dmq_queue *queue, const dmq_conv2d_args *a))
{
    dmq_conv2d_args run = run_of(a, 0);
    dmq_cuda_conv_plan *p = NULL;
    dmq_status st = DMQ_OK, joined;
    int n = 1;

    DMQ_TRY(dmq_cuda_use());
    DMQ_TRY(dmq_cuda_conv_plan_of(&p, queue, &run, pass));
    if (!p->graph && p->algorithm == DMQ_CUDA_PLAIN)
        return plain(queue, a);
    st = dmq_cuda_fork(&n, queue);
    for (int g = 0; g < runs && st == DMQ_OK; g++) {
        run = run_of(a, g);
        st = convolve(dmq_cuda_branch(queue, g % n), &run, pass);
    }
    joined = dmq_cuda_join(queue, n);
    st = st != DMQ_OK ? st : joined;
done:
    return st;
}

static dmq_status by_sets(dmq_queue *queue, const dmq_conv2d_args *a, dmq_conv_direction pass)
{
    return a->sets <= 1 || is_product(a)
               ? convolve(queue, a, pass)
               : by_runs(queue, a, pass, a->sets, dmq_conv2d_set, all[pass].plain);
}

/* Libraries' own ReLUs make a NaN 0: it is a launch of ours behind them. */
dmq_status dmq_conv2d_forward_cuda(dmq_queue *queue, const dmq_conv2d_args *a)
{
    dmq_conv2d_args sum = *a;
    dmq_status st = DMQ_OK;

    sum.relu = 0;
    DMQ_TRY(by_sets(queue, &sum, DMQ_CONV_FORWARD));
    if (a->relu) {
        st = dmq_unary_forward_cuda(
            queue,
            &(dmq_unary_args){ .kind = DMQ_RELU,
                               .x = a->y,
                               .y = a->y,
                               .count = (size_t)a->n * (size_t)(a->ho * a->wo) * (size_t)a->k });
    }
done:
    return st;
}

dmq_status dmq_conv2d_backward_data_cuda(dmq_queue *queue, const dmq_conv2d_args *a)
{
    return by_sets(queue, a, DMQ_CONV_BACKWARD_DATA);
}

dmq_status dmq_conv2d_backward_weights_cuda(dmq_queue *queue, const dmq_conv2d_args *a)
{
    dmq_col_sum_args bias = {
        .x = a->dy, .y = a->dbias, .rows = a->n * a->ho * a->wo, .cols = a->k, .add = a->add
    };
    dmq_conv2d_args weights = *a;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_cuda_use());
    if (a->per >= RUN_LEAST && !a->dbias && !is_product(a)) {
        return by_runs(queue, a, DMQ_CONV_BACKWARD_WEIGHTS, a->n / a->per, dmq_conv2d_run,
                       dmq_conv2d_weights_each_cuda);
    }
    if (a->per)
        return dmq_conv2d_weights_each_cuda(queue, a);
    weights.dbias = NULL;
    DMQ_TRY(convolve(queue, &weights, DMQ_CONV_BACKWARD_WEIGHTS));
    if (a->dbias)
        DMQ_TRY(dmq_col_sum_cuda(queue, &bias));
done:
    return st;
}
