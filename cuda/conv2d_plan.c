/* Descriptors and algorithms of convolutions by cuDNN. */
#include "cuda/conv2d_plan.h"

#include "base/log.h"
#include "base/memory.h"

#include <stdio.h>
#include <string.h>

enum { ALGORITHMS_MOST = 16 };

#define NN(call) DMQ_TRY(dmq_cudnn_status(nn->call, "cudnn" #call))

dmq_status dmq_cudnn_status(cudnnStatus_t status, const char *call)
{
    const dmq_cudnn *nn = NULL;

    if (status == CUDNN_STATUS_SUCCESS)
        return DMQ_OK;
    (void)dmq_cudnn_load(&nn);
    return dmq_fail(DMQ_EDEVICE, "cuda: %.*s: %s (%d)", (int)strcspn(call, "("), call,
                    nn ? nn->GetErrorString(status) : "?", (int)status);
}

void dmq_cuda_conv_plan_destroy(void *plan)
{
    dmq_cuda_conv_plan *p = plan;
    const dmq_cudnn *nn = NULL;

    if (!p)
        return;
    dmq_cuda_conv_graph_destroy(p->graph);
    if (dmq_cudnn_load(&nn) == DMQ_OK) {
        if (p->x)
            (void)nn->DestroyTensorDescriptor(p->x);
        if (p->y)
            (void)nn->DestroyTensorDescriptor(p->y);
        if (p->bias)
            (void)nn->DestroyTensorDescriptor(p->bias);
        if (p->w)
            (void)nn->DestroyFilterDescriptor(p->w);
        if (p->conv)
            (void)nn->DestroyConvolutionDescriptor(p->conv);
        if (p->identity)
            (void)nn->DestroyActivationDescriptor(p->identity);
    }
    dmq_free(p);
}

static dmq_status describe(dmq_cuda_conv_plan *p, const dmq_cudnn *nn, const dmq_conv2d_args *a)
{
    dmq_status st = DMQ_OK;

    NN(CreateTensorDescriptor(&p->x));
    NN(CreateTensorDescriptor(&p->y));
    NN(CreateTensorDescriptor(&p->bias));
    NN(CreateFilterDescriptor(&p->w));
    NN(CreateConvolutionDescriptor(&p->conv));
    NN(CreateActivationDescriptor(&p->identity));
    NN(SetTensor4dDescriptor(p->x, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, a->n, a->c, a->h, a->wd));
    NN(SetTensor4dDescriptor(p->y, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, a->n, a->k, a->ho, a->wo));
    NN(SetTensor4dDescriptor(p->bias, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, 1, a->k, 1, 1));
    NN(SetFilter4dDescriptor(p->w, CUDNN_DATA_FLOAT, CUDNN_TENSOR_NHWC, a->k, a->c, a->r, a->s));
    NN(SetConvolution2dDescriptor(p->conv, a->pad_top, a->pad_left, a->stride, a->stride, 1, 1,
                                  CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT));
    /* FMA: products of FP32 as they are. DEFAULT allows tensor cores, which round them to TF32. */
    NN(SetConvolutionMathType(p->conv, dmq_cuda_precision() == DMQ_FP32 ? CUDNN_FMA_MATH
                                                                        : CUDNN_DEFAULT_MATH));
    NN(SetActivationDescriptor(p->identity, CUDNN_ACTIVATION_IDENTITY, CUDNN_NOT_PROPAGATE_NAN, 0));
done:
    return st;
}

/* Memory to time algorithms on; no zeros, which a device multiplies faster. */
typedef struct bench {
    void *x, *y, *w;
} bench;

static dmq_status bench_array(void **out, dmq_queue *queue, size_t first, size_t middle,
                              size_t last)
{
    size_t bytes = first * middle * last * sizeof(float);
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_cuda_alloc(out, bytes));
    DMQ_CUDA(cudaMemsetAsync(*out, 0x3d, bytes, queue->stream)); /* 0.046 */
done:
    return st;
}

static dmq_status bench_open(bench *b, dmq_queue *queue, const dmq_conv2d_args *a)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(bench_array(&b->x, queue, (size_t)a->n, (size_t)a->h * (size_t)a->wd, (size_t)a->c));
    DMQ_TRY(bench_array(&b->y, queue, (size_t)a->n, (size_t)a->ho * (size_t)a->wo, (size_t)a->k));
    DMQ_TRY(bench_array(&b->w, queue, (size_t)a->k, (size_t)a->r * (size_t)a->s, (size_t)a->c));
done:
    return st;
}

static void bench_close(bench *b)
{
    dmq_cuda_free(b->x);
    dmq_cuda_free(b->y);
    dmq_cuda_free(b->w);
}

typedef struct candidate {
    int algorithm, deterministic;
    cudnnStatus_t status;
    float time_ms;
    size_t workspace;
} candidate;

/* The three passes have three types for the same fields. */
#define COPY_CANDIDATES(perf)                                                                    \
    for (int i = 0; i < *count; i++) {                                                           \
        out[i] = (candidate){ (int)(perf)[i].algo, (perf)[i].determinism == CUDNN_DETERMINISTIC, \
                              (perf)[i].status, (perf)[i].time, (perf)[i].memory };              \
    }

/* Candidates, best first: as the library expects them, or as they took on b. */
static dmq_status list(candidate *out, int *count, dmq_queue *q, const dmq_cuda_conv_plan *p,
                       dmq_conv_direction pass, const bench *b)
{
    const dmq_cudnn *nn = NULL;
    dmq_status st = DMQ_OK;
    cudnnHandle_t h = q->cudnn;
    void *ws = q->workspace;
    size_t bytes = q->workspace_bytes;
    const int most = ALGORITHMS_MOST;

    *count = 0;
    DMQ_TRY(dmq_cudnn_load(&nn));
    if (pass == DMQ_CONV_FORWARD) {
        cudnnConvolutionFwdAlgoPerf_t perf[ALGORITHMS_MOST];

        if (b) {
            NN(FindConvolutionForwardAlgorithmEx(h, p->x, b->x, p->w, b->w, p->conv, p->y, b->y,
                                                 most, count, perf, ws, bytes));
        } else {
            NN(GetConvolutionForwardAlgorithm_v7(h, p->x, p->w, p->conv, p->y, most, count, perf));
        }
        COPY_CANDIDATES(perf);
    } else if (pass == DMQ_CONV_BACKWARD_DATA) {
        cudnnConvolutionBwdDataAlgoPerf_t perf[ALGORITHMS_MOST];

        if (b) {
            NN(FindConvolutionBackwardDataAlgorithmEx(h, p->w, b->w, p->y, b->y, p->conv, p->x,
                                                      b->x, most, count, perf, ws, bytes));
        } else {
            NN(GetConvolutionBackwardDataAlgorithm_v7(h, p->w, p->y, p->conv, p->x, most, count,
                                                      perf));
        }
        COPY_CANDIDATES(perf);
    } else {
        cudnnConvolutionBwdFilterAlgoPerf_t perf[ALGORITHMS_MOST];

        if (b) {
            NN(FindConvolutionBackwardFilterAlgorithmEx(h, p->x, b->x, p->y, b->y, p->conv, p->w,
                                                        b->w, most, count, perf, ws, bytes));
        } else {
            NN(GetConvolutionBackwardFilterAlgorithm_v7(h, p->x, p->y, p->conv, p->w, most, count,
                                                        perf));
        }
        COPY_CANDIDATES(perf);
    }
done:
    return st;
}

/* What an algorithm needs; a refusal is no error here. */
static cudnnStatus_t workspace_of(size_t *out, dmq_queue *q, const dmq_cudnn *nn,
                                  const dmq_cuda_conv_plan *p, dmq_conv_direction pass,
                                  int algorithm)
{
    *out = 0;
    if (pass == DMQ_CONV_FORWARD) {
        return nn->GetConvolutionForwardWorkspaceSize(q->cudnn, p->x, p->w, p->conv, p->y,
                                                      (cudnnConvolutionFwdAlgo_t)algorithm, out);
    }
    if (pass == DMQ_CONV_BACKWARD_DATA) {
        return nn->GetConvolutionBackwardDataWorkspaceSize(
            q->cudnn, p->w, p->y, p->conv, p->x, (cudnnConvolutionBwdDataAlgo_t)algorithm, out);
    }
    return nn->GetConvolutionBackwardFilterWorkspaceSize(
        q->cudnn, p->x, p->y, p->conv, p->w, (cudnnConvolutionBwdFilterAlgo_t)algorithm, out);
}

static int fits(dmq_cuda_conv_plan *p, dmq_queue *q, const dmq_cudnn *nn, dmq_conv_direction pass,
                int algorithm)
{
    return workspace_of(&p->workspace, q, nn, p, pass, algorithm) == CUDNN_STATUS_SUCCESS &&
           p->workspace <= q->workspace_bytes;
}

static void write_key(char *key, const dmq_conv2d_args *a, dmq_conv_direction pass)
{
    static const char *const passes[] = { "forward", "backward_data", "backward_weights" };
    static const char *const precisions[] = { "fp32", "tf32", "fp16" };

    (void)snprintf(key, DMQ_CUDA_CHOICE_KEY, "%s %d %d %d %d %d %d %d %d %d %d %s", passes[pass],
                   a->n, a->h, a->wd, a->c, a->k, a->r, a->s, a->stride, a->pad_top, a->pad_left,
                   precisions[dmq_cuda_precision()]);
}

static dmq_status choose(dmq_cuda_conv_plan *p, dmq_queue *q, const dmq_cudnn *nn,
                         const dmq_conv2d_args *a, dmq_conv_direction pass)
{
    dmq_cuda_choice choice = { .algorithm = DMQ_CUDA_PLAIN };
    candidate found[ALGORITHMS_MOST];
    bench b = { NULL, NULL, NULL };
    int count = 0, timed = dmq_cuda_choices_timed() && !q->captures;
    dmq_status st = DMQ_OK;

    write_key(choice.key, a, pass);
    if (dmq_cuda_choices_find(&choice, choice.key)) {
        p->algorithm = choice.algorithm;
        if (p->algorithm != DMQ_CUDA_PLAIN && !fits(p, q, nn, pass, p->algorithm)) {
            st = dmq_fail(DMQ_EDATA,
                          "cuda: cuDNN does not take algorithm %d for \"%s\"\n  hint: the choices "
                          "are of another device or version: time them anew",
                          p->algorithm, choice.key);
        }
        return st;
    }
    if (timed)
        DMQ_TRY(bench_open(&b, q, a));
    if (list(found, &count, q, p, pass, timed ? &b : NULL) != DMQ_OK) {
        dmq_log_detail("%s", dmq_message()); /* it knows none: our own */
        count = 0;
    }
    for (int i = 0; i < count && choice.algorithm == DMQ_CUDA_PLAIN; i++) {
        if (found[i].status == CUDNN_STATUS_SUCCESS && found[i].deterministic &&
            fits(p, q, nn, pass, found[i].algorithm)) {
            choice.algorithm = found[i].algorithm;
            choice.time_ms = timed ? found[i].time_ms : 0;
        }
    }
    p->algorithm = choice.algorithm;
    DMQ_TRY(dmq_cuda_choices_add(&choice));
done:
    bench_close(&b);
    return st;
}

/* cuDNN knows one padding for both sides. Ours differ on the way down of a DDPM UNet alone: 1 % of its
   products, so that our kernel costs less than a padded copy would be worth. */
static int is_symmetric(const dmq_conv2d_args *a)
{
    return (a->h + 2 * a->pad_top - a->r) / a->stride + 1 == a->ho &&
           (a->wd + 2 * a->pad_left - a->s) / a->stride + 1 == a->wo;
}

/* cuDNN reads 16 bytes at a time; a view into a block of parameters may begin anywhere. */
static int is_aligned(const dmq_conv2d_args *a, dmq_conv_direction pass)
{
    const void *in = pass == DMQ_CONV_BACKWARD_DATA ? a->dy : a->x;
    const void *other = pass == DMQ_CONV_BACKWARD_WEIGHTS ? a->dy : a->w;
    const void *out = pass == DMQ_CONV_FORWARD         ? a->y
                      : pass == DMQ_CONV_BACKWARD_DATA ? a->dx
                                                       : a->dw;

    return ((uintptr_t)in | (uintptr_t)other | (uintptr_t)out) % 16 == 0;
}

/* Halves: their graph, where the library has one. It reads 16 bytes of a pixel's channels at a time. */
static dmq_status find_graph(dmq_cuda_conv_plan *p, dmq_queue *q, const dmq_conv2d_args *a,
                             dmq_conv_direction pass)
{
    dmq_status st = DMQ_OK;

    if (dmq_cuda_precision() != DMQ_FP16 || !q->cudnn || a->c % 8 != 0 || a->k % 8 != 0)
        return DMQ_OK;
    DMQ_TRY(dmq_cuda_conv_graph_create(&p->graph, q, a, pass));
    if (!p->graph) {
        dmq_log_warn("fp16-as-tf32",
                     "cuDNN has no convolution of halves with FP32 results for %dx%d, %d to %d "
                     "channels; its products are taken in TF32",
                     a->h, a->wd, a->c, a->k);
    }
done:
    return st;
}

dmq_status dmq_cuda_conv_plan_of(dmq_cuda_conv_plan **out, dmq_queue *q, const dmq_conv2d_args *a,
                                 dmq_conv_direction pass)
{
    dmq_cuda_key key = { .word = { pass, a->n, a->h, a->wd, a->c, a->k, a->r, a->s, a->stride,
                                   a->pad_top, a->pad_left, a->ho, a->wo, dmq_cuda_precision(),
                                   is_aligned(a, pass) } };
    const dmq_cudnn *nn = NULL;
    dmq_cuda_conv_plan *p = NULL;
    dmq_status st = DMQ_OK;

    *out = dmq_cuda_plans_find(&q->conv, &key);
    if (*out)
        return DMQ_OK;
    DMQ_TRY(dmq_alloc((void **)&p, 1, sizeof *p));
    p->algorithm = DMQ_CUDA_PLAIN;
    DMQ_TRY(find_graph(p, q, a, pass));
    if (p->graph) {
        dmq_log_detail("convolution of halves by a graph: %dx%d, %d to %d channels", a->h, a->wd,
                       a->c, a->k);
    } else if (!is_aligned(a, pass)) {
        dmq_log_warn(
            "cudnn-alignment",
            "arrays of a convolution of %dx%d, %d to %d channels do not begin at multiples of "
            "16 bytes, as cuDNN needs it; by our own kernel",
            a->h, a->wd, a->c, a->k);
    } else if (q->cudnn && is_symmetric(a)) {
        DMQ_TRY(dmq_cudnn_load(&nn));
        DMQ_TRY(describe(p, nn, a));
        DMQ_TRY(choose(p, q, nn, a, pass));
        p->fuses_bias = p->algorithm == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM;
    }
    DMQ_TRY(dmq_cuda_plans_add(&q->conv, &key, p));
    *out = p;
    p = NULL;
done:
    dmq_cuda_conv_plan_destroy(p);
    return st;
}
