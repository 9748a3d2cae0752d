/**
 * What the two files of the pretended cuDNN's graphs share: descriptors and what is set of them.
 *
 * A descriptor is a row of values, each with the name of its attribute. Rules say which attribute has which type,
 * how many elements, and whether a descriptor can be finalized without it.
 */
#ifndef DMQ_TESTS_CUDNN_GRAPH_H
#define DMQ_TESTS_CUDNN_GRAPH_H

#include "cudnn_objects.h"

enum { BACKEND_VALUES = 12, BACKEND_ELEMENTS = 64 };

typedef struct backend_value {
    cudnnBackendAttributeName_t name;
    int64_t count;
    void *elements; /* NULL: not set */
} backend_value;

/** Arrays of a plan: the number of each, by which a variant pack names it. */
typedef struct backend_numbers {
    int64_t tensor[CONV_TENSORS], step[CONV_STEPS];
} backend_numbers;

/* Also what the library itself knows of an engine, a configuration or a plan. */
typedef struct backend {
    cudnnBackendDescriptorType_t type;
    int finalized;
    backend_value value[BACKEND_VALUES];
    int64_t engine, knob;  /* of an engine, a configuration, a plan */
    struct backend *graph; /* likewise */
    conv_work work;        /* of an operation graph and of a plan */
    backend_numbers numbers;
} backend;

/** The living descriptor; dies without one. */
backend *backend_living(const void *d, const char *call, const char *argument);

/** The living descriptor of that type. */
backend *backend_of_type(const void *d, cudnnBackendDescriptorType_t type, const char *call,
                         const char *argument);

/** The elements of an attribute, or NULL where it was not set. */
const void *backend_get(const backend *b, cudnnBackendAttributeName_t name);
int64_t backend_count(const backend *b, cudnnBackendAttributeName_t name);

/** What an operation graph computes; the status with which the library refuses what it does not know. */
cudnnStatus_t backend_read_graph(backend *graph);

/** Finalize what belongs to engines: heuristics, engines, configurations, plans. */
cudnnStatus_t backend_finalize_engines(backend *b);

/** The attributes that the library answers itself; CUDNN_STATUS_NOT_INITIALIZED for another one. */
cudnnStatus_t backend_answer(backend *b, cudnnBackendAttributeName_t name,
                             cudnnBackendAttributeType_t type, int64_t wanted, int64_t *count,
                             void *elements);

/** Give a descriptor a value, as its caller would. */
void backend_put(backend *b, cudnnBackendAttributeName_t name, int64_t count, const void *elements,
                 size_t bytes);

#endif
