/* A pretended cuDNN: handles, and the descriptors of the older calls. */
#include "cudnn_objects.h"

enum { LEGACY_ALIGNMENT = 16 }; /* kernels read 16 bytes at a time */

size_t cudnnGetVersion(void)
{
    return CUDNN_VERSION;
}

const char *cudnnGetErrorString(cudnnStatus_t status)
{
    switch (CUDNN_STATUS_CATEGORY(status)) {
    case CUDNN_STATUS_SUCCESS:
        return "CUDNN_STATUS_SUCCESS";
    case CUDNN_STATUS_BAD_PARAM:
        return "CUDNN_STATUS_BAD_PARAM";
    case CUDNN_STATUS_NOT_SUPPORTED:
        return "CUDNN_STATUS_NOT_SUPPORTED";
    default:
        return "another status";
    }
}

/* ------------------------------------------------------------------ handles */

cudnnStatus_t cudnnCreate(cudnnHandle_t *handle)
{
    if (!handle)
        return CUDNN_STATUS_BAD_PARAM;
    *handle = judge_create(sizeof **handle, KIND_HANDLE);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t handle)
{
    judge_destroy(handle, KIND_HANDLE, __func__);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream)
{
    struct cudnnContext *h = judge_living(handle, KIND_HANDLE, __func__, "handle");

    h->stream = stream;
    h->has_stream = 1;
    return CUDNN_STATUS_SUCCESS;
}

struct cudnnContext *cudnn_handle(cudnnHandle_t handle, const char *call)
{
    struct cudnnContext *h = judge_living(handle, KIND_HANDLE, call, "handle");

    if (!h->has_stream)
        pretend_die("%s: cudnnSetStream was not called for the handle", call);
    return h;
}

cudnnStatus_t cudnn_enqueue(cudnnHandle_t handle, const char *call, void (*run)(void *context),
                            void (*drop)(void *context), void *context)
{
    return judge_enqueue(cudnn_handle(handle, call)->stream, call, run, drop, context)
               ? CUDNN_STATUS_SUCCESS
               : CUDNN_STATUS_EXECUTION_FAILED;
}

/* ------------------------------------------------------------------ descriptors */

static int is_type(cudnnDataType_t type)
{
    return type == CUDNN_DATA_FLOAT || type == CUDNN_DATA_HALF;
}

static conv_tensor lay_out(cudnnTensorFormat_t format, cudnnDataType_t type, int n, int c, int h,
                           int w)
{
    conv_tensor t = { .dim = { n, c, h, w }, .half = type == CUDNN_DATA_HALF };
    int last = format == CUDNN_TENSOR_NHWC;

    t.alignment = LEGACY_ALIGNMENT;
    t.stride[0] = (int64_t)c * h * w;
    t.stride[1] = last ? 1 : (int64_t)h * w;
    t.stride[2] = last ? (int64_t)w * c : w;
    t.stride[3] = last ? c : 1;
    return t;
}

cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t *out)
{
    *out = judge_create(sizeof **out, KIND_TENSOR);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t descriptor,
                                         cudnnTensorFormat_t format, cudnnDataType_t type, int n,
                                         int c, int h, int w)
{
    struct cudnnTensorStruct *d = judge_living(descriptor, KIND_TENSOR, __func__, "tensorDesc");

    if (n < 1 || c < 1 || h < 1 || w < 1 || !is_type(type))
        return CUDNN_STATUS_BAD_PARAM;
    if (format != CUDNN_TENSOR_NCHW && format != CUDNN_TENSOR_NHWC)
        return CUDNN_STATUS_BAD_PARAM;
    *d = (struct cudnnTensorStruct){ 1, format, type, lay_out(format, type, n, c, h, w) };
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t descriptor)
{
    judge_destroy(descriptor, KIND_TENSOR, __func__);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t *out)
{
    *out = judge_create(sizeof **out, KIND_FILTER);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t descriptor, cudnnDataType_t type,
                                         cudnnTensorFormat_t format, int k, int c, int h, int w)
{
    struct cudnnFilterStruct *d = judge_living(descriptor, KIND_FILTER, __func__, "filterDesc");

    if (k < 1 || c < 1 || h < 1 || w < 1 || !is_type(type))
        return CUDNN_STATUS_BAD_PARAM;
    if (format != CUDNN_TENSOR_NCHW && format != CUDNN_TENSOR_NHWC)
        return CUDNN_STATUS_BAD_PARAM;
    *d = (struct cudnnFilterStruct){ 1, format, type, lay_out(format, type, k, c, h, w) };
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t descriptor)
{
    judge_destroy(descriptor, KIND_FILTER, __func__);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t *out)
{
    *out = judge_create(sizeof **out, KIND_CONV);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t descriptor, int pad_h,
                                              int pad_w, int u, int v, int dilation_h,
                                              int dilation_w, cudnnConvolutionMode_t mode,
                                              cudnnDataType_t compute)
{
    struct cudnnConvolutionStruct *d = judge_living(descriptor, KIND_CONV, __func__, "convDesc");

    if (pad_h < 0 || pad_w < 0 || u < 1 || v < 1 || dilation_h < 1 || dilation_w < 1 ||
        !is_type(compute) || (mode != CUDNN_CONVOLUTION && mode != CUDNN_CROSS_CORRELATION))
        return CUDNN_STATUS_BAD_PARAM;
    d->set = 1;
    d->mode = mode;
    d->compute = compute;
    d->shape =
        (conv_shape){ { u, v }, { dilation_h, dilation_w }, { pad_h, pad_w }, { pad_h, pad_w } };
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t descriptor,
                                          cudnnMathType_t math)
{
    struct cudnnConvolutionStruct *d = judge_living(descriptor, KIND_CONV, __func__, "convDesc");

    if ((int)math < CUDNN_DEFAULT_MATH || math > CUDNN_FMA_MATH)
        return CUDNN_STATUS_BAD_PARAM;
    d->math = math;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnDestroyConvolutionDescriptor(cudnnConvolutionDescriptor_t descriptor)
{
    judge_destroy(descriptor, KIND_CONV, __func__);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnCreateActivationDescriptor(cudnnActivationDescriptor_t *out)
{
    *out = judge_create(sizeof **out, KIND_ACTIVATION);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetActivationDescriptor(cudnnActivationDescriptor_t descriptor,
                                           cudnnActivationMode_t mode, cudnnNanPropagation_t nans,
                                           double coefficient)
{
    struct cudnnActivationStruct *d =
        judge_living(descriptor, KIND_ACTIVATION, __func__, "activationDesc");

    (void)coefficient;
    if ((int)mode < 0 || mode > CUDNN_ACTIVATION_SWISH ||
        (nans != CUDNN_NOT_PROPAGATE_NAN && nans != CUDNN_PROPAGATE_NAN))
        return CUDNN_STATUS_BAD_PARAM;
    *d = (struct cudnnActivationStruct){ 1, mode };
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnDestroyActivationDescriptor(cudnnActivationDescriptor_t descriptor)
{
    judge_destroy(descriptor, KIND_ACTIVATION, __func__);
    return CUDNN_STATUS_SUCCESS;
}

/* ------------------------------------------------------------------ for the calls */

static void die_unless_set(int set, const char *call, const char *argument)
{
    if (!set)
        pretend_die("%s: %s was created, but not set", call, argument);
}

const struct cudnnTensorStruct *cudnn_tensor(cudnnTensorDescriptor_t d, const char *call,
                                             const char *argument)
{
    const struct cudnnTensorStruct *t = judge_living(d, KIND_TENSOR, call, argument);

    die_unless_set(t->set, call, argument);
    return t;
}

const struct cudnnFilterStruct *cudnn_filter(cudnnFilterDescriptor_t d, const char *call,
                                             const char *argument)
{
    const struct cudnnFilterStruct *t = judge_living(d, KIND_FILTER, call, argument);

    die_unless_set(t->set, call, argument);
    return t;
}

const struct cudnnConvolutionStruct *cudnn_conv(cudnnConvolutionDescriptor_t d, const char *call)
{
    const struct cudnnConvolutionStruct *c = judge_living(d, KIND_CONV, call, "convDesc");

    die_unless_set(c->set, call, "convDesc");
    return c;
}

const struct cudnnActivationStruct *cudnn_activation(cudnnActivationDescriptor_t d,
                                                     const char *call)
{
    const struct cudnnActivationStruct *a =
        judge_living(d, KIND_ACTIVATION, call, "activationDesc");

    die_unless_set(a->set, call, "activationDesc");
    return a;
}

cudnn_refusal cudnn_refuses(conv_pass pass, const conv_tensor tensor[CONV_TENSORS],
                            const conv_shape *shape)
{
    static const cudnn_refusal ways[] = { CUDNN_REFUSES_CALLS, CUDNN_KNOWS_NONE, CUDNN_REFUSES_BIAS,
                                          CUDNN_KNOWS_NO_GRAPH };
    uint64_t one_in = (uint64_t)pretend_wish("CUDNN_REFUSES", 0);
    uint64_t number = conv_hash(pass, tensor, shape);

    if (one_in == 0 || number % one_in != 0)
        return CUDNN_TAKES;
    return ways[number / one_in % 4];
}
