/* Descriptors and algorithms of convolutions by cuDNN. */
#include "cuda/conv2d_plan.h"

#include "base/log.h"
#include "base/memory.h"
#include "cuda/conv2d_bench.h"

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

dmq_status dmq_cudnn_set(const dmq_cudnn *nn, cudnnBackendDescriptor_t descriptor,
                         cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                         int64_t count, const void *value)
{
    dmq_status st = DMQ_OK;

    NN(BackendSetAttribute(descriptor, name, type, count, value));
done:
    return st;
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
                       dmq_conv_direction pass, const dmq_conv_bench *b)
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

/* The older calls know one padding for both sides. */
static int is_symmetric(const dmq_conv2d_args *a)
{
    return (a->h + 2 * a->pad_top - a->r) / a->stride + 1 == a->ho &&
           (a->wd + 2 * a->pad_left - a->s) / a->stride + 1 == a->wo;
}

/* " align w4 b8": what does not begin at a multiple of 16 bytes. */
static void write_align(char *out, size_t room, const dmq_conv_form *f)
{
    static const char letter[] = { [DMQ_CONV_X] = 'x',
                                   [DMQ_CONV_W] = 'w',
                                   [DMQ_CONV_Y] = 'y',
                                   [DMQ_CONV_BIAS] = 'b',
                                   [DMQ_CONV_RESULT] = 'r' };
    size_t used = 0;

    out[0] = 0;
    for (int k = DMQ_CONV_X; k < DMQ_CONV_TENSORS; k++) {
        if (k != DMQ_CONV_FACTOR && f->align[k] < 16) {
            used += (size_t)snprintf(out + used, room - used, "%s %c%d", used ? "" : " align",
                                     letter[k], f->align[k]);
        }
    }
}

/* All that a graph depends on; what is as nearly everywhere is left out. */
static void write_key(char key[DMQ_CUDA_CHOICE_KEY], const dmq_conv2d_args *a,
                      const dmq_conv_form *f)
{
    static const char *const passes[] = { "forward", "backward_data", "backward_weights" };
    static const char *const precisions[] = { "fp32", "tf32", "fp16" };
    char out[32] = "", align[32];

    write_align(align, sizeof align, f);
    if (!is_symmetric(a))
        (void)snprintf(out, sizeof out, " to %d %d", a->ho, a->wo);
    (void)snprintf(key, DMQ_CUDA_CHOICE_KEY, "%s %d %d %d %d %d %d %d %d %d %d%s %s%s%s%s",
                   passes[f->pass], a->n, a->h, a->wd, a->c, a->k, a->r, a->s, a->stride,
                   a->pad_top, a->pad_left, out, precisions[f->precision], f->bias ? " bias" : "",
                   f->add ? " add" : "", align);
}

static dmq_status choose(dmq_cuda_conv_plan *p, dmq_queue *q, const dmq_cudnn *nn,
                         const dmq_conv2d_args *a, const dmq_conv_form *form)
{
    const dmq_conv_direction pass = form->pass;
    dmq_cuda_choice choice = { .algorithm = DMQ_CUDA_PLAIN };
    candidate found[ALGORITHMS_MOST];
    dmq_conv_bench b = { .x = NULL };
    int count = 0, timed = dmq_cuda_choices_timed() && !q->captures;
    dmq_status st = DMQ_OK;

    write_key(choice.key, a, form);
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
        DMQ_TRY(dmq_conv_bench_open(&b, q, a));
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
    dmq_conv_bench_close(&b);
    return st;
}

/* The older calls read 16 bytes at a time. */
static int is_aligned(const dmq_conv_form *f)
{
    return f->align[DMQ_CONV_X] == 16 && f->align[DMQ_CONV_W] == 16 && f->align[DMQ_CONV_Y] == 16 &&
           f->align[DMQ_CONV_RESULT] == 16;
}

/* All that a graph depends on, in one number: what an array begins at a multiple of, two bits each. */
static int64_t code_of(const dmq_conv_form *f)
{
    int64_t code = f->bias | f->add << 1;

    for (int k = DMQ_CONV_X; k < DMQ_CONV_TENSORS; k++)
        code = code << 2 | (f->align[k] == 16 ? 2 : f->align[k] == 8 ? 1 : 0);
    return code;
}

/* The plan of a form. Of halves it may be none: neither a graph nor anything else. */
static dmq_status plan_of_form(dmq_cuda_conv_plan **out, dmq_queue *q, const dmq_conv2d_args *a,
                               const dmq_conv_form *form)
{
    dmq_cuda_key key = { .word = { form->pass, a->n, a->h, a->wd, a->c, a->k, a->r, a->s, a->stride,
                                   a->pad_top, a->pad_left, a->ho, a->wo, form->precision,
                                   code_of(form) } };
    char name[DMQ_CUDA_CHOICE_KEY];
    const dmq_cudnn *nn = NULL;
    dmq_cuda_conv_plan *p = NULL;
    dmq_status st = DMQ_OK;

    *out = dmq_cuda_plans_find(&q->conv, &key);
    if (*out)
        return DMQ_OK;
    DMQ_TRY(dmq_alloc((void **)&p, 1, sizeof *p));
    p->algorithm = DMQ_CUDA_PLAIN;
    write_key(name, a, form);
    if (q->cudnn)
        DMQ_TRY(dmq_cuda_conv_graph_create(&p->graph, q, a, form, name));
    if (p->graph) {
        dmq_log_detail("convolution by a graph: %s", name);
    } else if (form->precision == DMQ_FP16) {
        dmq_log_warn("fp16-as-tf32",
                     "cuDNN has no convolution of halves with FP32 results for %dx%d, %d to %d "
                     "channels; its products are taken in TF32",
                     a->h, a->wd, a->c, a->k);
    } else if (!is_aligned(form)) {
        dmq_log_warn(
            "cudnn-alignment",
            "arrays of a convolution of %dx%d, %d to %d channels do not begin at multiples of "
            "16 bytes, as cuDNN needs it; by our own kernel",
            a->h, a->wd, a->c, a->k);
    } else if (q->cudnn && is_symmetric(a)) {
        DMQ_TRY(dmq_cudnn_load(&nn));
        DMQ_TRY(describe(p, nn, a));
        DMQ_TRY(choose(p, q, nn, a, form));
        p->fuses_bias = p->algorithm == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM &&
                        form->align[DMQ_CONV_BIAS] == 16;
    }
    DMQ_TRY(dmq_cuda_plans_add(&q->conv, &key, p));
    *out = p;
    p = NULL;
done:
    dmq_cuda_conv_plan_destroy(p);
    return st;
}

dmq_status dmq_cuda_conv_plan_of(dmq_cuda_conv_plan **out, dmq_queue *q, const dmq_conv2d_args *a,
                                 dmq_conv_direction pass)
{
    dmq_precision precision = dmq_cuda_precision();
    dmq_conv_form form = dmq_cuda_conv_form(a, pass, precision);
    dmq_status st = DMQ_OK;

    *out = NULL;
    if (precision == DMQ_FP16) {
        /* tensor cores take 16 bytes of a pixel's channels */
        if (a->c % 8 == 0 && a->k % 8 == 0)
            DMQ_TRY(plan_of_form(out, q, a, &form));
        if (*out && (*out)->graph)
            return DMQ_OK;
        form = dmq_cuda_conv_form(a, pass, DMQ_TF32);
    }
    st = plan_of_form(out, q, a, &form);
done:
    return st;
}
