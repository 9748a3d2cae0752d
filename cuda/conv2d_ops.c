#include "cuda/conv2d_ops.h"

#include "cuda/device.h"

#include <assert.h>
#include <stdbool.h>

enum { BETWEEN = 16 }; /* numbers of tensors that no memory has */

#define NN(call) DMQ_TRY(dmq_cudnn_status(nn->call, "cudnn" #call))

int dmq_conv_made(dmq_conv_direction pass)
{
    return pass == DMQ_CONV_FORWARD         ? DMQ_CONV_Y
           : pass == DMQ_CONV_BACKWARD_DATA ? DMQ_CONV_X
                                            : DMQ_CONV_W;
}

/* ------------------------------------------------------------------ descriptors */

static dmq_status make(cudnnBackendDescriptor_t *out, dmq_conv_ops *ops, const dmq_cudnn *nn,
                       cudnnBackendDescriptorType_t type)
{
    dmq_status st = DMQ_OK;

    NN(BackendCreateDescriptor(type, out));
    ops->part[ops->count++] = *out;
done:
    return st;
}

static dmq_status set_part(const dmq_cudnn *nn, cudnnBackendDescriptor_t d,
                           cudnnBackendAttributeName_t name, cudnnBackendDescriptor_t part)
{
    return dmq_cudnn_set(nn, d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &part);
}

/* A tensor but for its place in memory. */
typedef struct shape {
    int n, c, h, w; /* of a filter: k, c, r, s */
} shape;

/* (n, c, h, w) as the library counts, in NHWC memory. */
static dmq_status make_tensor(cudnnBackendDescriptor_t *out, dmq_conv_ops *ops, const dmq_cudnn *nn,
                              int number, cudnnDataType_t type, shape s, int bytes)
{
    const int64_t dim[4] = { s.n, s.c, s.h, s.w };
    const int64_t stride[4] = { dim[1] * dim[2] * dim[3], 1, dim[1] * dim[3], dim[1] };
    const int64_t aligned = bytes, unique = number;
    const bool nowhere = number >= BETWEEN;
    dmq_status st = DMQ_OK;

    DMQ_TRY(make(out, ops, nn, CUDNN_BACKEND_TENSOR_DESCRIPTOR));
    DMQ_TRY(dmq_cudnn_set(nn, *out, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &unique));
    DMQ_TRY(dmq_cudnn_set(nn, *out, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type));
    DMQ_TRY(dmq_cudnn_set(nn, *out, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dim));
    DMQ_TRY(dmq_cudnn_set(nn, *out, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, stride));
    DMQ_TRY(
        dmq_cudnn_set(nn, *out, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &aligned));
    DMQ_TRY(dmq_cudnn_set(nn, *out, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &nowhere));
    NN(BackendFinalize(*out));
done:
    return st;
}

/* Padding behind the last pixel: as before the first where that gives the same size, since some engines know one
   padding alone; else what the size asks for. Pixels that no filter reaches are no padding. */
static int64_t behind_of(int in, int out, int stride, int filter, int before)
{
    int behind = (out - 1) * stride + filter - before - in;

    if ((in + 2 * before - filter) / stride + 1 == out)
        return before;
    return behind > 0 ? behind : 0;
}

/* Padding of either side is its own here. */
static dmq_status make_conv(cudnnBackendDescriptor_t *out, dmq_conv_ops *ops, const dmq_cudnn *nn,
                            const dmq_conv2d_args *a)
{
    const int64_t two = 2, dilation[2] = { 1, 1 }, stride[2] = { a->stride, a->stride };
    const int64_t before[2] = { a->pad_top, a->pad_left };
    const int64_t behind[2] = { behind_of(a->h, a->ho, a->stride, a->r, a->pad_top),
                                behind_of(a->wd, a->wo, a->stride, a->s, a->pad_left) };
    const cudnnDataType_t sums = CUDNN_DATA_FLOAT;
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    dmq_status st = DMQ_OK;

    DMQ_TRY(make(out, ops, nn, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR));
    DMQ_TRY(
        dmq_cudnn_set(nn, *out, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &sums));
    DMQ_TRY(dmq_cudnn_set(nn, *out, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE,
                          1, &mode));
    DMQ_TRY(
        dmq_cudnn_set(nn, *out, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &two));
    DMQ_TRY(
        dmq_cudnn_set(nn, *out, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, dilation));
    DMQ_TRY(dmq_cudnn_set(nn, *out, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2,
                          stride));
    DMQ_TRY(
        dmq_cudnn_set(nn, *out, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, before));
    DMQ_TRY(
        dmq_cudnn_set(nn, *out, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, behind));
    NN(BackendFinalize(*out));
done:
    return st;
}

/* ------------------------------------------------------------------ operations */

/* What each pass calls the same things. */
typedef struct names {
    cudnnBackendDescriptorType_t type;
    cudnnBackendAttributeName_t conv, tensor[DMQ_CONV_Y + 1], alpha, beta;
} names;

static const names all[] = {
    [DMQ_CONV_FORWARD] = { CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                           CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                           { [DMQ_CONV_X] = CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                             [DMQ_CONV_W] = CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                             [DMQ_CONV_Y] = CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y },
                           CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                           CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA },
    [DMQ_CONV_BACKWARD_DATA] = { CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                                 CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                                 { [DMQ_CONV_X] = CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                                   [DMQ_CONV_W] = CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                                   [DMQ_CONV_Y] = CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY },
                                 CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                                 CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA },
    [DMQ_CONV_BACKWARD_WEIGHTS] = { CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                                    { [DMQ_CONV_X] = CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                                      [DMQ_CONV_W] = CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                                      [DMQ_CONV_Y] =
                                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY },
                                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA },
};

static dmq_status make_product(cudnnBackendDescriptor_t *out, dmq_conv_ops *ops,
                               const dmq_cudnn *nn, const dmq_conv_form *f,
                               cudnnBackendDescriptor_t conv,
                               const cudnnBackendDescriptor_t tensor[DMQ_CONV_Y + 1])
{
    const names *n = &all[f->pass];
    const float one = 1, beta = f->add ? 1 : 0;
    dmq_status st = DMQ_OK;

    DMQ_TRY(make(out, ops, nn, n->type));
    DMQ_TRY(set_part(nn, *out, n->conv, conv));
    for (int k = DMQ_CONV_X; k <= DMQ_CONV_Y; k++)
        DMQ_TRY(set_part(nn, *out, n->tensor[k], tensor[k]));
    DMQ_TRY(dmq_cudnn_set(nn, *out, n->alpha, CUDNN_TYPE_FLOAT, 1, &one));
    DMQ_TRY(dmq_cudnn_set(nn, *out, n->beta, CUDNN_TYPE_FLOAT, 1, &beta));
    NN(BackendFinalize(*out));
done:
    return st;
}

/* y = x b or x + b, b repeated where its size is 1 */
static dmq_status make_pointwise(cudnnBackendDescriptor_t *out, dmq_conv_ops *ops,
                                 const dmq_cudnn *nn, cudnnPointwiseMode_t mode,
                                 cudnnBackendDescriptor_t x, cudnnBackendDescriptor_t b,
                                 cudnnBackendDescriptor_t y)
{
    const cudnnDataType_t math = CUDNN_DATA_FLOAT;
    cudnnBackendDescriptor_t kind = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(make(&kind, ops, nn, CUDNN_BACKEND_POINTWISE_DESCRIPTOR));
    DMQ_TRY(
        dmq_cudnn_set(nn, kind, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode));
    DMQ_TRY(
        dmq_cudnn_set(nn, kind, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &math));
    NN(BackendFinalize(kind));
    DMQ_TRY(make(out, ops, nn, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR));
    DMQ_TRY(set_part(nn, *out, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, kind));
    DMQ_TRY(set_part(nn, *out, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x));
    DMQ_TRY(set_part(nn, *out, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b));
    DMQ_TRY(set_part(nn, *out, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y));
    NN(BackendFinalize(*out));
done:
    return st;
}

/* ------------------------------------------------------------------ the graph */

dmq_status dmq_conv_ops_make(dmq_conv_ops *ops, cudnnHandle_t handle, const dmq_conv2d_args *a,
                             const dmq_conv_form *f)
{
    const shape shapes[] = { [DMQ_CONV_X] = { a->n, a->c, a->h, a->wd },
                             [DMQ_CONV_W] = { a->k, a->c, a->r, a->s },
                             [DMQ_CONV_Y] = { a->n, a->k, a->ho, a->wo },
                             [DMQ_CONV_FACTOR] = { 1, 1, 1, 1 },
                             [DMQ_CONV_BIAS] = { 1, a->k, 1, 1 } };
    const int halves = f->precision == DMQ_FP16, made = dmq_conv_made(f->pass);
    const int second[2] = { halves ? DMQ_CONV_FACTOR : 0, f->bias ? DMQ_CONV_BIAS : 0 };
    int steps = !!halves + !!f->bias, count = 1, left = steps;
    cudnnBackendDescriptor_t tensor[DMQ_CONV_Y + 1] = { NULL }, conv = NULL, op[3] = { NULL };
    cudnnBackendDescriptor_t now;
    const dmq_cudnn *nn = NULL;
    dmq_status st = DMQ_OK;

    assert(!(f->add && (f->bias || halves)) && !(f->bias && f->pass != DMQ_CONV_FORWARD));
    DMQ_TRY(dmq_cudnn_load(&nn));
    for (int k = DMQ_CONV_X; k <= DMQ_CONV_Y; k++) {
        int number = k != made ? k : steps ? BETWEEN : DMQ_CONV_RESULT;

        DMQ_TRY(make_tensor(&tensor[k], ops, nn, number,
                            k != made && halves ? CUDNN_DATA_HALF : CUDNN_DATA_FLOAT, shapes[k],
                            f->align[k == made ? DMQ_CONV_RESULT : k]));
    }
    DMQ_TRY(make_conv(&conv, ops, nn, a));
    DMQ_TRY(make_product(&op[0], ops, nn, f, conv, tensor));
    now = tensor[made];
    for (int i = 0; i < 2; i++) {
        cudnnBackendDescriptor_t other = NULL, next = NULL;

        if (!second[i])
            continue;
        left--;
        DMQ_TRY(make_tensor(&other, ops, nn, second[i], CUDNN_DATA_FLOAT, shapes[second[i]],
                            f->align[second[i]]));
        DMQ_TRY(make_tensor(&next, ops, nn, left ? BETWEEN + count : DMQ_CONV_RESULT,
                            CUDNN_DATA_FLOAT, shapes[made], f->align[DMQ_CONV_RESULT]));
        DMQ_TRY(
            make_pointwise(&op[count], ops, nn,
                           second[i] == DMQ_CONV_FACTOR ? CUDNN_POINTWISE_MUL : CUDNN_POINTWISE_ADD,
                           now, other, next));
        count++;
        now = next;
    }
    DMQ_TRY(make(&ops->graph, ops, nn, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR));
    if (handle) {
        DMQ_TRY(dmq_cudnn_set(nn, ops->graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE,
                              1, &handle));
    }
    DMQ_TRY(dmq_cudnn_set(nn, ops->graph, CUDNN_ATTR_OPERATIONGRAPH_OPS,
                          CUDNN_TYPE_BACKEND_DESCRIPTOR, count, op));
    NN(BackendFinalize(ops->graph));
done:
    return st;
}

void dmq_conv_ops_release(dmq_conv_ops *ops)
{
    const dmq_cudnn *nn = NULL;

    if (dmq_cudnn_load(&nn) == DMQ_OK) {
        for (int i = ops->count - 1; i >= 0; i--)
            (void)nn->BackendDestroyDescriptor(ops->part[i]);
    }
    *ops = (dmq_conv_ops){ { NULL }, NULL, 0 };
}
