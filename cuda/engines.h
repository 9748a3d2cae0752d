/**
 * Engines of cuDNN for a graph of operations: which of them compute what we want, and plans of them.
 *
 * An engine and the settings of its knobs have a name, "67 2=0 13=0 27=8": the library's numbers, which mean the
 * same for one version of it. The same name gives the same kernel, and so the same bits.
 *
 * Wanted is an engine that is told by its notes to
 *   - give the same bits in every run                         (not NONDETERMINISTIC)
 *   - add in FP32 what the products are                       (not REDUCED_PRECISION_REDUCTION)
 *   - multiply the numbers themselves, not sums of them       (not WINOGRAD, FFT: their errors grow with the tile,
 *     and are of another size for each shape)
 *   - take operands as they are                               (not DOWN_CONVERT_INPUTS: to halves, unscaled)
 *   - fp32: keep all their bits                               (not TENSOR_CORE, which rounds FP32 to TF32)
 *   - halves: take them to tensor cores                       (TENSOR_CORE; the others are slower than TF32)
 */
#ifndef DMQ_CUDA_ENGINES_H
#define DMQ_CUDA_ENGINES_H

#include "backend/cuda.h"
#include "cuda/libraries.h"

#include <stdint.h>

/* Numbers that headers before 9.8 do not name; a library that does not know them says so when it is asked. */
#if CUDNN_VERSION < 90800
#define CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR       ((cudnnBackendDescriptorType_t)38)
#define CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION ((cudnnBackendAttributeName_t)2702)
#define CUDNN_ATTR_ENGINEHEUR_DEVICEPROP          ((cudnnBackendAttributeName_t)204)
#define CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP      ((cudnnBackendAttributeName_t)407)
#define CUDNN_ATTR_ENGINE_DEVICEPROP              ((cudnnBackendAttributeName_t)1307)
#define CUDNN_TYPE_CHAR                           ((cudnnBackendAttributeType_t)24)
#endif

enum { DMQ_ENGINE_NAME = 128, DMQ_ENGINE_KEY = 128, DMQ_ENGINES_MOST = 64 };

/** For whom engines are sought. */
typedef struct dmq_engine_ask {
    cudnnBackendDescriptor_t graph; /**< finished */
    cudnnHandle_t handle;           /**< of the device; NULL: `device` says what it is */
    cudnnBackendDescriptor_t
        device; /**< CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR: plans for a device that is not here */
    dmq_precision precision;
    size_t workspace; /**< bytes that there are */
    const char
        *key; /**< what the graph is, for plans that are kept (plan_texts.h); NULL: it keeps none */
} dmq_engine_ask;

/** Starts as zeros. */
typedef struct dmq_engine {
    cudnnBackendDescriptor_t config, plan; /**< plan: NULL until it is made */
    size_t workspace;                      /**< bytes; of the plan */
    char name[DMQ_ENGINE_NAME];
} dmq_engine;

/** Wanted engines without plans, best first as the library expects them, one for each name; at most `most`. */
dmq_status dmq_engines_list(dmq_engine *out, int most, int *count, const dmq_engine_ask *ask);

/** The plan of an engine. *made is 0 where it refuses, or needs more memory than there is: no failure. */
dmq_status dmq_engine_plan(dmq_engine *engine, int *made, const dmq_engine_ask *ask);

/** The engine of a name with its plan; EDATA where there is none, or it is not wanted. */
dmq_status dmq_engine_named(dmq_engine *out, const char *name, const dmq_engine_ask *ask);

void dmq_engine_release(dmq_engine *engine);

#endif
