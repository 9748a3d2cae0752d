/**
 * What the files of the pretended cuDNN share: handles and the older descriptors.
 */
#ifndef DMQ_TESTS_CUDNN_OBJECTS_H
#define DMQ_TESTS_CUDNN_OBJECTS_H

#include "convolve.h"
#include "judge.h"

#include <cudnn.h>

/* Kinds of living objects. */
#define KIND_HANDLE     "cudnnHandle_t"
#define KIND_TENSOR     "cudnnTensorDescriptor_t"
#define KIND_FILTER     "cudnnFilterDescriptor_t"
#define KIND_CONV       "cudnnConvolutionDescriptor_t"
#define KIND_ACTIVATION "cudnnActivationDescriptor_t"

struct cudnnContext {
    cudaStream_t stream;
    int has_stream;
};

struct cudnnTensorStruct {
    int set;
    cudnnTensorFormat_t format;
    cudnnDataType_t type;
    conv_tensor tensor;
};

struct cudnnFilterStruct {
    int set;
    cudnnTensorFormat_t format;
    cudnnDataType_t type;
    conv_tensor tensor;
};

struct cudnnConvolutionStruct {
    int set;
    conv_shape shape;
    cudnnConvolutionMode_t mode;
    cudnnDataType_t compute;
    cudnnMathType_t math;
};

struct cudnnActivationStruct {
    int set;
    cudnnActivationMode_t mode;
};

/** The living handle; dies without one, or where its stream was never set: the null stream orders nothing here. */
struct cudnnContext *cudnn_handle(cudnnHandle_t handle, const char *call);

/** Put work into the handle's stream; the status with which the library tells of a launch that failed. */
cudnnStatus_t cudnn_enqueue(cudnnHandle_t handle, const char *call, void (*run)(void *context),
                            void (*drop)(void *context), void *context);

/** The living descriptor, which was set. */
const struct cudnnTensorStruct *cudnn_tensor(cudnnTensorDescriptor_t d, const char *call,
                                             const char *argument);
const struct cudnnFilterStruct *cudnn_filter(cudnnFilterDescriptor_t d, const char *call,
                                             const char *argument);
const struct cudnnConvolutionStruct *cudnn_conv(cudnnConvolutionDescriptor_t d, const char *call);
const struct cudnnActivationStruct *cudnn_activation(cudnnActivationDescriptor_t d,
                                                     const char *call);

/** What PRETEND_CUDNN_REFUSES=n says to a shape: one in n is refused, in one of four ways. */
typedef enum cudnn_refusal {
    CUDNN_TAKES,
    CUDNN_KNOWS_NONE,    /* no algorithm, no engine */
    CUDNN_REFUSES_CALLS, /* says that it would, and then will not */
    CUDNN_REFUSES_BIAS,  /* the fused form alone */
    CUDNN_KNOWS_NO_GRAPH /* by the older calls alone */
} cudnn_refusal;

cudnn_refusal cudnn_refuses(conv_pass pass, const conv_tensor tensor[CONV_TENSORS],
                            const conv_shape *shape);

#endif
