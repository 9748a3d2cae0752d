/* A pretended cuDNN: descriptors of graphs, their attributes, and what a graph of operations computes. */
#include "cudnn_graph.h"
#include "numbers.h"

#include <stdbool.h>
#include <stdlib.h>

/* ------------------------------------------------------------------ rules */

typedef struct rule {
    cudnnBackendDescriptorType_t of;
    cudnnBackendAttributeName_t name;
    cudnnBackendAttributeType_t type;
    int least, most; /* elements */
    int required;
    int element; /* the type of a descriptor that is an element; OPERATION: any operation */
} rule;

enum { NONE = -1, OPERATION = -2 };

#define TENSOR   CUDNN_BACKEND_TENSOR_DESCRIPTOR
#define CONV     CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR
#define FORWARD  CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR
#define DATA     CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR
#define FILTER   CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR
#define POINT    CUDNN_BACKEND_POINTWISE_DESCRIPTOR
#define POINT_OP CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR
#define GRAPH    CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR
#define HEUR     CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR
#define ENGINE   CUDNN_BACKEND_ENGINE_DESCRIPTOR
#define CONFIG   CUDNN_BACKEND_ENGINECFG_DESCRIPTOR
#define KNOB     CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR
#define PLAN     CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR
#define PACK     CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR

#define INT64S(of, name, least, most, required)                              \
    {                                                                        \
        of, CUDNN_ATTR_##name, CUDNN_TYPE_INT64, least, most, required, NONE \
    }
#define ONE(of, name, type, required)                                  \
    {                                                                  \
        of, CUDNN_ATTR_##name, CUDNN_TYPE_##type, 1, 1, required, NONE \
    }
#define PART(of, name, element, required)                                             \
    {                                                                                 \
        of, CUDNN_ATTR_##name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, 1, required, element \
    }

/* What the documentation asks for; HANDLE of graphs and plans may be left out since 9.8, with another device. */
static const rule rules[] = {
    INT64S(TENSOR, TENSOR_UNIQUE_ID, 1, 1, 1),
    ONE(TENSOR, TENSOR_DATA_TYPE, DATA_TYPE, 1),
    INT64S(TENSOR, TENSOR_DIMENSIONS, 1, CUDNN_DIM_MAX, 1),
    INT64S(TENSOR, TENSOR_STRIDES, 1, CUDNN_DIM_MAX, 1),
    INT64S(TENSOR, TENSOR_BYTE_ALIGNMENT, 1, 1, 1),
    ONE(TENSOR, TENSOR_IS_VIRTUAL, BOOLEAN, 0),
    ONE(CONV, CONVOLUTION_COMP_TYPE, DATA_TYPE, 1),
    ONE(CONV, CONVOLUTION_CONV_MODE, CONVOLUTION_MODE, 1),
    INT64S(CONV, CONVOLUTION_SPATIAL_DIMS, 1, 1, 1),
    INT64S(CONV, CONVOLUTION_DILATIONS, 1, 6, 1),
    INT64S(CONV, CONVOLUTION_FILTER_STRIDES, 1, 6, 1),
    INT64S(CONV, CONVOLUTION_PRE_PADDINGS, 1, 6, 1),
    INT64S(CONV, CONVOLUTION_POST_PADDINGS, 1, 6, 1),
    PART(FORWARD, OPERATION_CONVOLUTION_FORWARD_CONV_DESC, CONV, 1),
    PART(FORWARD, OPERATION_CONVOLUTION_FORWARD_X, TENSOR, 1),
    PART(FORWARD, OPERATION_CONVOLUTION_FORWARD_W, TENSOR, 1),
    PART(FORWARD, OPERATION_CONVOLUTION_FORWARD_Y, TENSOR, 1),
    ONE(FORWARD, OPERATION_CONVOLUTION_FORWARD_ALPHA, FLOAT, 1),
    ONE(FORWARD, OPERATION_CONVOLUTION_FORWARD_BETA, FLOAT, 1),
    PART(DATA, OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, CONV, 1),
    PART(DATA, OPERATION_CONVOLUTION_BWD_DATA_DX, TENSOR, 1),
    PART(DATA, OPERATION_CONVOLUTION_BWD_DATA_W, TENSOR, 1),
    PART(DATA, OPERATION_CONVOLUTION_BWD_DATA_DY, TENSOR, 1),
    ONE(DATA, OPERATION_CONVOLUTION_BWD_DATA_ALPHA, FLOAT, 1),
    ONE(DATA, OPERATION_CONVOLUTION_BWD_DATA_BETA, FLOAT, 1),
    PART(FILTER, OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC, CONV, 1),
    PART(FILTER, OPERATION_CONVOLUTION_BWD_FILTER_X, TENSOR, 1),
    PART(FILTER, OPERATION_CONVOLUTION_BWD_FILTER_DW, TENSOR, 1),
    PART(FILTER, OPERATION_CONVOLUTION_BWD_FILTER_DY, TENSOR, 1),
    ONE(FILTER, OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, FLOAT, 1),
    ONE(FILTER, OPERATION_CONVOLUTION_BWD_FILTER_BETA, FLOAT, 1),
    ONE(POINT, POINTWISE_MODE, POINTWISE_MODE, 1),
    ONE(POINT, POINTWISE_MATH_PREC, DATA_TYPE, 1),
    PART(POINT_OP, OPERATION_POINTWISE_PW_DESCRIPTOR, POINT, 1),
    PART(POINT_OP, OPERATION_POINTWISE_XDESC, TENSOR, 1),
    PART(POINT_OP, OPERATION_POINTWISE_BDESC, TENSOR, 1),
    PART(POINT_OP, OPERATION_POINTWISE_YDESC, TENSOR, 1),
    ONE(GRAPH, OPERATIONGRAPH_HANDLE, HANDLE, 0),
    { GRAPH, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, BACKEND_ELEMENTS, 1,
      OPERATION },
    PART(HEUR, ENGINEHEUR_OPERATION_GRAPH, GRAPH, 1),
    ONE(HEUR, ENGINEHEUR_MODE, HEUR_MODE, 1),
    PART(ENGINE, ENGINE_OPERATION_GRAPH, GRAPH, 1),
    INT64S(ENGINE, ENGINE_GLOBAL_INDEX, 1, 1, 1),
    PART(CONFIG, ENGINECFG_ENGINE, ENGINE, 1),
    { CONFIG, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, BACKEND_ELEMENTS,
      0, KNOB },
    ONE(KNOB, KNOB_CHOICE_KNOB_TYPE, KNOB_TYPE, 1),
    INT64S(KNOB, KNOB_CHOICE_KNOB_VALUE, 1, 1, 1),
    ONE(PLAN, EXECUTION_PLAN_HANDLE, HANDLE, 1),
    PART(PLAN, EXECUTION_PLAN_ENGINE_CONFIG, CONFIG, 1),
    INT64S(PACK, VARIANT_PACK_UNIQUE_IDS, 1, BACKEND_ELEMENTS, 1),
    { PACK, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 1, BACKEND_ELEMENTS, 1,
      NONE },
    ONE(PACK, VARIANT_PACK_WORKSPACE, VOID_PTR, 0),
};

enum { RULES = sizeof rules / sizeof *rules };

static const struct {
    cudnnBackendDescriptorType_t type;
    const char *kind;
} kinds[] = {
    { TENSOR, "cuDNN descriptor of a tensor" },
    { CONV, "cuDNN descriptor of a convolution" },
    { FORWARD, "cuDNN descriptor of an operation (forward)" },
    { DATA, "cuDNN descriptor of an operation (backward data)" },
    { FILTER, "cuDNN descriptor of an operation (backward filter)" },
    { POINT, "cuDNN descriptor of a pointwise mode" },
    { POINT_OP, "cuDNN descriptor of an operation (pointwise)" },
    { GRAPH, "cuDNN descriptor of an operation graph" },
    { HEUR, "cuDNN descriptor of a heuristic" },
    { ENGINE, "cuDNN descriptor of an engine" },
    { CONFIG, "cuDNN descriptor of an engine's configuration" },
    { KNOB, "cuDNN descriptor of a knob's choice" },
    { PLAN, "cuDNN descriptor of an execution plan" },
    { PACK, "cuDNN descriptor of a variant pack" },
};

static const char *kind_of(cudnnBackendDescriptorType_t type)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (kinds[i].type == type)
            return kinds[i].kind;
    }
    return NULL;
}

static size_t element_bytes(cudnnBackendAttributeType_t type)
{
    switch (type) {
    case CUDNN_TYPE_BOOLEAN:
        return sizeof(bool);
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
        return 8;
    default:
        return 4; /* a float, or one of the enumerations */
    }
}

/* The rule; NULL for an attribute of other descriptors. Dies for one that nothing here has. */
static const rule *rule_of(const backend *b, cudnnBackendAttributeName_t name, const char *call)
{
    int known = 0;

    for (int i = 0; i < RULES; i++) {
        if (rules[i].name == name && rules[i].of == b->type)
            return &rules[i];
        known |= rules[i].name == name;
    }
    if (!known)
        pretend_die("%s: attribute %d of a %s is not pretended", call, (int)name, kind_of(b->type));
    return NULL;
}

/* ------------------------------------------------------------------ descriptors */

backend *backend_living(const void *d, const char *call, const char *argument)
{
    const char *kind = judge_kind(d);

    for (size_t i = 0; kind && i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kind, kinds[i].kind) == 0)
            return (backend *)(uintptr_t)d;
    }
    pretend_die("%s: %s is no living cudnnBackendDescriptor_t (%p)", call, argument, d);
}

backend *backend_of_type(const void *d, cudnnBackendDescriptorType_t type, const char *call,
                         const char *argument)
{
    return judge_living(d, kind_of(type), call, argument);
}

const void *backend_get(const backend *b, cudnnBackendAttributeName_t name)
{
    for (int i = 0; i < BACKEND_VALUES; i++) {
        if (b->value[i].elements && b->value[i].name == name)
            return b->value[i].elements;
    }
    return NULL;
}

int64_t backend_count(const backend *b, cudnnBackendAttributeName_t name)
{
    for (int i = 0; i < BACKEND_VALUES; i++) {
        if (b->value[i].elements && b->value[i].name == name)
            return b->value[i].count;
    }
    return 0;
}

void backend_put(backend *b, cudnnBackendAttributeName_t name, int64_t count, const void *elements,
                 size_t bytes)
{
    int at = 0;

    while (b->value[at].elements && b->value[at].name != name)
        at++;
    free(b->value[at].elements);
    b->value[at] = (backend_value){ name, count, judge_memory(bytes) };
    memcpy(b->value[at].elements, elements, bytes);
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type,
                                           cudnnBackendDescriptor_t *out)
{
    backend *b;

    if (!out)
        return CUDNN_STATUS_BAD_PARAM_NULL_POINTER;
    if (!kind_of(type))
        pretend_die("%s: a descriptor of type %d is not pretended", __func__, (int)type);
    b = judge_create(sizeof *b, kind_of(type));
    b->type = type;
    *out = b;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor)
{
    backend *b = backend_living(descriptor, __func__, "descriptor");

    for (int i = 0; i < BACKEND_VALUES; i++)
        free(b->value[i].elements);
    judge_destroy(b, kind_of(b->type), __func__);
    return CUDNN_STATUS_SUCCESS;
}

/* Elements that are descriptors: the library copies what it is pointed at, without a look. */
static cudnnStatus_t check_elements(const rule *r, const void *elements, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        backend *e =
            backend_living(((void *const *)elements)[i], "cudnnBackendSetAttribute", "an element");

        if (r->element == OPERATION
                ? e->type != FORWARD && e->type != DATA && e->type != FILTER && e->type != POINT_OP
                : (int)e->type != r->element)
            pretend_die("cudnnBackendSetAttribute: attribute %d is a %s", (int)r->name,
                        kind_of(e->type));
        if (!e->finalized)
            return CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED;
    }
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count,
                                       const void *elements)
{
    backend *b = backend_living(descriptor, __func__, "descriptor");
    const rule *r = rule_of(b, name, __func__);
    cudnnStatus_t status = CUDNN_STATUS_SUCCESS;

    if (b->finalized || !r || !elements)
        return CUDNN_STATUS_BAD_PARAM;
    if (type != r->type)
        return CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE;
    if (count < r->least || count > r->most)
        return CUDNN_STATUS_BAD_PARAM;
    if (type == CUDNN_TYPE_HANDLE)
        (void)judge_living(*(void *const *)elements, KIND_HANDLE, __func__, "the handle");
    if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR)
        status = check_elements(r, elements, count);
    if (status != CUDNN_STATUS_SUCCESS)
        return status;
    backend_put(b, name, count, elements, (size_t)count * element_bytes(type));
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const descriptor,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t wanted,
                                       int64_t *count, void *elements)
{
    backend *b = backend_living(descriptor, __func__, "descriptor");
    const rule *r;
    cudnnStatus_t status;
    int64_t have;

    if (!b->finalized)
        return CUDNN_STATUS_NOT_INITIALIZED;
    if (wanted < 0 || (wanted > 0 && !elements) || (wanted == 0 && !count))
        return CUDNN_STATUS_BAD_PARAM;
    status = backend_answer(b, name, type, wanted, count, elements);
    if (status != CUDNN_STATUS_NOT_INITIALIZED)
        return status;
    r = rule_of(b, name, __func__);
    if (!r || r->type == CUDNN_TYPE_BACKEND_DESCRIPTOR)
        return CUDNN_STATUS_BAD_PARAM;
    if (type != r->type)
        return CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE;
    have = backend_count(b, name);
    if (count)
        *count = wanted > 0 && wanted < have ? wanted : have;
    if (wanted > 0 && have > 0) {
        memcpy(elements, backend_get(b, name),
               (size_t)(wanted < have ? wanted : have) * element_bytes(type));
    }
    return CUDNN_STATUS_SUCCESS;
}

/* ------------------------------------------------------------------ finalizing */

static int64_t number_of(const backend *b, cudnnBackendAttributeName_t name)
{
    return *(const int64_t *)backend_get(b, name);
}

static int enum_of(const backend *b, cudnnBackendAttributeName_t name)
{
    return *(const int *)backend_get(b, name);
}

static backend *part_of(const backend *b, cudnnBackendAttributeName_t name,
                        cudnnBackendDescriptorType_t type)
{
    return backend_of_type(*(void *const *)backend_get(b, name), type, "a use of a descriptor",
                           "a descriptor that it was made of");
}

static int is_virtual(const backend *tensor)
{
    const bool *set = backend_get(tensor, CUDNN_ATTR_TENSOR_IS_VIRTUAL);

    return set && *set;
}

static cudnnStatus_t check_tensor(const backend *b)
{
    int64_t n = backend_count(b, CUDNN_ATTR_TENSOR_DIMENSIONS);
    int64_t aligned = number_of(b, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT);
    const int64_t *dim = backend_get(b, CUDNN_ATTR_TENSOR_DIMENSIONS);
    const int64_t *stride = backend_get(b, CUDNN_ATTR_TENSOR_STRIDES);
    int type = enum_of(b, CUDNN_ATTR_TENSOR_DATA_TYPE);

    if (n != backend_count(b, CUDNN_ATTR_TENSOR_STRIDES))
        return CUDNN_STATUS_BAD_PARAM;
    if (type != CUDNN_DATA_FLOAT && type != CUDNN_DATA_HALF)
        return CUDNN_STATUS_NOT_SUPPORTED;
    if (aligned < (type == CUDNN_DATA_HALF ? 2 : 4) || (aligned & (aligned - 1)) != 0)
        return CUDNN_STATUS_BAD_PARAM;
    for (int64_t i = 0; i < n; i++) {
        if (dim[i] < 1 || stride[i] < 1)
            return CUDNN_STATUS_BAD_PARAM;
    }
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t check_convolution(const backend *b)
{
    static const cudnnBackendAttributeName_t pairs[] = { CUDNN_ATTR_CONVOLUTION_DILATIONS,
                                                         CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES,
                                                         CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS,
                                                         CUDNN_ATTR_CONVOLUTION_POST_PADDINGS };
    int64_t n = number_of(b, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS);

    if (n != 2 || enum_of(b, CUDNN_ATTR_CONVOLUTION_COMP_TYPE) != CUDNN_DATA_FLOAT ||
        enum_of(b, CUDNN_ATTR_CONVOLUTION_CONV_MODE) != CUDNN_CROSS_CORRELATION)
        return CUDNN_STATUS_NOT_SUPPORTED;
    for (int i = 0; i < 4; i++) {
        const int64_t *v = backend_get(b, pairs[i]);

        if (backend_count(b, pairs[i]) != n || v[0] < (i < 2) || v[1] < (i < 2))
            return CUDNN_STATUS_BAD_PARAM;
    }
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t check_pack(const backend *b)
{
    int64_t n = backend_count(b, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
    const int64_t *id = backend_get(b, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);

    if (n != backend_count(b, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS))
        return CUDNN_STATUS_BAD_PARAM;
    for (int64_t i = 0; i < n; i++) {
        for (int64_t k = 0; k < i; k++) {
            if (id[i] == id[k])
                return CUDNN_STATUS_BAD_PARAM_DUPLICATED_ENTRIES;
        }
    }
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t read_convolution(backend *graph, const backend *op);

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor)
{
    backend *b = backend_living(descriptor, __func__, "descriptor"), scratch;
    cudnnStatus_t status = CUDNN_STATUS_SUCCESS;

    if (b->finalized)
        return CUDNN_STATUS_BAD_PARAM;
    for (int i = 0; i < RULES; i++) {
        if (rules[i].of == b->type && rules[i].required && !backend_get(b, rules[i].name))
            return CUDNN_STATUS_BAD_PARAM;
    }
    switch (b->type) {
    case TENSOR:
        status = check_tensor(b);
        break;
    case CONV:
        status = check_convolution(b);
        break;
    case FORWARD:
    case DATA:
    case FILTER:
        memset(&scratch, 0, sizeof scratch);
        status = read_convolution(&scratch, b);
        break;
    case GRAPH:
        status = backend_read_graph(b);
        break;
    case PACK:
        status = check_pack(b);
        break;
    default:
        status = backend_finalize_engines(b);
        break;
    }
    b->finalized = status == CUDNN_STATUS_SUCCESS;
    return status;
}

/* ------------------------------------------------------------------ what a graph computes */

static cudnnStatus_t read_tensor(conv_tensor *out, const backend *b)
{
    if (backend_count(b, CUDNN_ATTR_TENSOR_DIMENSIONS) != 4)
        return CUDNN_STATUS_NOT_SUPPORTED;
    memcpy(out->dim, backend_get(b, CUDNN_ATTR_TENSOR_DIMENSIONS), sizeof out->dim);
    memcpy(out->stride, backend_get(b, CUDNN_ATTR_TENSOR_STRIDES), sizeof out->stride);
    out->half = enum_of(b, CUDNN_ATTR_TENSOR_DATA_TYPE) == CUDNN_DATA_HALF;
    out->alignment = (int)number_of(b, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT);
    return CUDNN_STATUS_SUCCESS;
}

/* What each pass calls the same things, in the order x, w, y. */
static const struct names {
    cudnnBackendDescriptorType_t type;
    cudnnBackendAttributeName_t conv, tensor[CONV_TENSORS], alpha, beta;
} names[] = {
    [CONV_FORWARD] = { FORWARD,
                       CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                       { CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y },
                       CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                       CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA },
    [CONV_BACKWARD_DATA] = { DATA,
                             CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                             { CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY },
                             CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                             CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA },
    [CONV_BACKWARD_FILTER] = { FILTER,
                               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                               { CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                                 CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                                 CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY },
                               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA },
};

static cudnnStatus_t read_convolution(backend *graph, const backend *op)
{
    conv_pass pass = op->type == FORWARD ? CONV_FORWARD
                     : op->type == DATA  ? CONV_BACKWARD_DATA
                                         : CONV_BACKWARD_FILTER;
    const struct names *n = &names[pass];
    const backend *conv = part_of(op, n->conv, CONV);
    conv_work *w = &graph->work;

    *w = (conv_work){ .pass = pass };
    for (int i = 0; i < CONV_TENSORS; i++) {
        const backend *t = part_of(op, n->tensor[i], TENSOR);
        cudnnStatus_t status = read_tensor(&w->tensor[i], t);

        if (status != CUDNN_STATUS_SUCCESS)
            return status;
        graph->numbers.tensor[i] = number_of(t, CUDNN_ATTR_TENSOR_UNIQUE_ID);
        if (i != conv_result(pass) && is_virtual(t))
            return CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN;
    }
    for (int i = 0; i < 2; i++) {
        w->shape.dilation[i] =
            (int)((const int64_t *)backend_get(conv, CUDNN_ATTR_CONVOLUTION_DILATIONS))[i];
        w->shape.stride[i] =
            (int)((const int64_t *)backend_get(conv, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES))[i];
        w->shape.before[i] =
            (int)((const int64_t *)backend_get(conv, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS))[i];
        w->shape.behind[i] =
            (int)((const int64_t *)backend_get(conv, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS))[i];
    }
    if (w->tensor[pass == CONV_BACKWARD_DATA ? CONV_W : CONV_X].half !=
        w->tensor[pass == CONV_FORWARD ? CONV_W : CONV_Y].half)
        return CUDNN_STATUS_NOT_SUPPORTED_DATA_TYPE;
    w->alpha = *(const float *)backend_get(op, n->alpha);
    w->beta = *(const float *)backend_get(op, n->beta);
    return conv_shapes_agree(w->tensor, &w->shape) ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_BAD_PARAM;
}

/* y = now op b: the next of the chain. */
static cudnnStatus_t read_step(backend *graph, const backend *op, const backend **now)
{
    const backend *x = part_of(op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, TENSOR);
    const backend *b = part_of(op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, TENSOR);
    const backend *y = part_of(op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, TENSOR);
    const backend *mode = part_of(op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, POINT);
    int is = enum_of(mode, CUDNN_ATTR_POINTWISE_MODE), made = conv_result(graph->work.pass);
    conv_step *s = &graph->work.step[graph->work.steps];
    conv_tensor out = graph->work.tensor[made];
    cudnnStatus_t status;

    if (graph->work.steps == CONV_STEPS || x != *now || !is_virtual(x) || is_virtual(b) ||
        (is != CUDNN_POINTWISE_ADD && is != CUDNN_POINTWISE_MUL))
        return CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN;
    if (enum_of(mode, CUDNN_ATTR_POINTWISE_MATH_PREC) != CUDNN_DATA_FLOAT)
        return CUDNN_STATUS_NOT_SUPPORTED_DATA_TYPE;
    status = read_tensor(&s->tensor, b);
    if (status != CUDNN_STATUS_SUCCESS)
        return status;
    status = read_tensor(&graph->work.tensor[made], y);
    if (status != CUDNN_STATUS_SUCCESS)
        return status;
    for (int i = 0; i < 4; i++) {
        if (graph->work.tensor[made].dim[i] != out.dim[i] ||
            (s->tensor.dim[i] != 1 && s->tensor.dim[i] != out.dim[i]))
            return CUDNN_STATUS_BAD_PARAM;
    }
    if (s->tensor.half || (is_virtual(y) && graph->work.tensor[made].half))
        return CUDNN_STATUS_NOT_SUPPORTED_DATA_TYPE;
    s->multiplies = is == CUDNN_POINTWISE_MUL;
    graph->numbers.step[graph->work.steps++] = number_of(b, CUDNN_ATTR_TENSOR_UNIQUE_ID);
    graph->numbers.tensor[made] = number_of(y, CUDNN_ATTR_TENSOR_UNIQUE_ID);
    *now = y;
    return CUDNN_STATUS_SUCCESS;
}

/* Each array has a number of its own. */
static cudnnStatus_t check_numbers(const backend *graph)
{
    int64_t all[CONV_TENSORS + CONV_STEPS];
    int n = 0;

    for (int i = 0; i < CONV_TENSORS; i++)
        all[n++] = graph->numbers.tensor[i];
    for (int i = 0; i < graph->work.steps; i++)
        all[n++] = graph->numbers.step[i];
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < i; k++) {
            if (all[i] == all[k])
                return CUDNN_STATUS_BAD_PARAM_DUPLICATED_ENTRIES;
        }
    }
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t backend_read_graph(backend *graph)
{
    void *const *op = backend_get(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS);
    int64_t count = backend_count(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS);
    const backend *first = backend_living(op[0], "cudnnBackendFinalize", "an operation");
    const backend *now;
    cudnnStatus_t status;

    if (first->type == POINT_OP)
        return CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN;
    status = read_convolution(graph, first);
    if (status != CUDNN_STATUS_SUCCESS)
        return status;
    now = part_of(first, names[graph->work.pass].tensor[conv_result(graph->work.pass)], TENSOR);
    for (int64_t i = 1; i < count; i++) {
        const backend *next = backend_living(op[i], "cudnnBackendFinalize", "an operation");

        if (next->type != POINT_OP || graph->work.beta != 0)
            return CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN;
        status = read_step(graph, next, &now);
        if (status != CUDNN_STATUS_SUCCESS)
            return status;
    }
    if (is_virtual(now))
        return CUDNN_STATUS_BAD_PARAM;
    return check_numbers(graph);
}
