/**
 * The libraries of the device, found at run time: a program that was built with their headers starts on a
 * machine without them, and says which is missing when it is asked for.
 *
 * A library is looked for in the folders of DMQ_CUDA_LIBS (separated by ":"; in F itself and in
 * F/nvidia/<any>/lib and F/<any>/lib, so that a Python environment's site-packages will do), then where the loader looks
 * (LD_LIBRARY_PATH and the system's list), then in the toolkit's folder. One file each resolves its
 * symbols, once.
 */
#ifndef DMQ_CUDA_LIBRARIES_H
#define DMQ_CUDA_LIBRARIES_H

#include "base/status.h"

#include <cublasLt.h>
#include <cudnn.h>
#include <nccl.h>
#include <stddef.h>

/* The functions of each that we call, without their prefix. */
#define DMQ_CUDNN_CALLS(X)                       \
    X(Create)                                    \
    X(Destroy)                                   \
    X(SetStream)                                 \
    X(GetVersion)                                \
    X(GetErrorString)                            \
    X(CreateTensorDescriptor)                    \
    X(SetTensor4dDescriptor)                     \
    X(DestroyTensorDescriptor)                   \
    X(CreateFilterDescriptor)                    \
    X(SetFilter4dDescriptor)                     \
    X(DestroyFilterDescriptor)                   \
    X(CreateConvolutionDescriptor)               \
    X(SetConvolution2dDescriptor)                \
    X(SetConvolutionMathType)                    \
    X(DestroyConvolutionDescriptor)              \
    X(CreateActivationDescriptor)                \
    X(SetActivationDescriptor)                   \
    X(DestroyActivationDescriptor)               \
    X(GetConvolutionForwardAlgorithm_v7)         \
    X(GetConvolutionBackwardDataAlgorithm_v7)    \
    X(GetConvolutionBackwardFilterAlgorithm_v7)  \
    X(FindConvolutionForwardAlgorithmEx)         \
    X(FindConvolutionBackwardDataAlgorithmEx)    \
    X(FindConvolutionBackwardFilterAlgorithmEx)  \
    X(GetConvolutionForwardWorkspaceSize)        \
    X(GetConvolutionBackwardDataWorkspaceSize)   \
    X(GetConvolutionBackwardFilterWorkspaceSize) \
    X(ConvolutionForward)                        \
    X(ConvolutionBiasActivationForward)          \
    X(ConvolutionBackwardData)                   \
    X(ConvolutionBackwardFilter)                 \
    X(AddTensor)                                 \
    X(BackendCreateDescriptor)                   \
    X(BackendDestroyDescriptor)                  \
    X(BackendSetAttribute)                       \
    X(BackendGetAttribute)                       \
    X(BackendFinalize)                           \
    X(BackendExecute)

#define DMQ_CUBLASLT_CALLS(X)       \
    X(Create)                       \
    X(Destroy)                      \
    X(GetVersion)                   \
    X(GetStatusString)              \
    X(MatmulDescCreate)             \
    X(MatmulDescDestroy)            \
    X(MatmulDescSetAttribute)       \
    X(MatrixLayoutCreate)           \
    X(MatrixLayoutDestroy)          \
    X(MatrixLayoutSetAttribute)     \
    X(MatmulPreferenceCreate)       \
    X(MatmulPreferenceDestroy)      \
    X(MatmulPreferenceSetAttribute) \
    X(MatmulAlgoGetHeuristic)       \
    X(Matmul)

#define DMQ_NCCL_CALLS(X) \
    X(GetVersion)         \
    X(GetErrorString)     \
    X(GetLastError)       \
    X(GetUniqueId)        \
    X(CommInitRankConfig) \
    X(CommFinalize)       \
    X(CommDestroy)        \
    X(CommAbort)          \
    X(CommGetAsyncError)  \
    X(AllGather)          \
    X(Broadcast)          \
    X(Send)               \
    X(Recv)               \
    X(GroupStart)         \
    X(GroupEnd)

#define DMQ_CUDNN_FIELD(name)    __typeof__(cudnn##name) *name;
#define DMQ_CUBLASLT_FIELD(name) __typeof__(cublasLt##name) *name;
#define DMQ_NCCL_FIELD(name)     __typeof__(nccl##name) *name;

typedef struct dmq_cudnn {
    DMQ_CUDNN_CALLS(DMQ_CUDNN_FIELD)
} dmq_cudnn;

typedef struct dmq_cublaslt {
    DMQ_CUBLASLT_CALLS(DMQ_CUBLASLT_FIELD)
} dmq_cublaslt;

typedef struct dmq_nccl {
    DMQ_NCCL_CALLS(DMQ_NCCL_FIELD)
} dmq_nccl;

/** The library's functions; ENOTSUP with its name and where it was looked for. The table lasts. */
dmq_status dmq_cudnn_load(const dmq_cudnn **out);
dmq_status dmq_cublaslt_load(const dmq_cublaslt **out);
dmq_status dmq_nccl_load(const dmq_nccl **out);

/** Where a loaded library was found, as the person would name it; "" before it is loaded. */
const char *dmq_cudnn_place(void);
const char *dmq_cublaslt_place(void);
const char *dmq_nccl_place(void);

/* ------------------------------------------------------------------ for the files that load one */

/** What one load leaves behind, for all who ask later. */
typedef struct dmq_cuda_library {
    const char *title, *file;   /* "cuDNN", "libcudnn.so.9" */
    const char *const *symbols; /* count names, in the order of the table's fields */
    size_t count;
    void *table;
    char place[512];    /* where it was found */
    char message[1024]; /* of the failure */
    int tried, here;
} dmq_cuda_library;

/** Load it if nobody has; ENOTSUP with the message, the same at every call. */
dmq_status dmq_cuda_library_load(dmq_cuda_library *library);

#endif
