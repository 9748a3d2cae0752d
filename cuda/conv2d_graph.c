#include "cuda/conv2d_graph.h"

#include "base/log.h"
#include "base/memory.h"
#include "cuda/half.h"

#include <string.h>

enum { CONFIGS_MOST = 16, ALIGNED = 16, TENSORS = 3 };

/* Numbers of the tensors: those of the forward pass, in all three. */
enum { X, W, Y };
#define ID(tensor) ((int64_t)(tensor) + 1)

struct dmq_cuda_conv_graph {
    cudnnBackendDescriptor_t tensor[TENSORS], conv, operation, graph, config, plan;
    int64_t workspace; /* bytes */
};

dmq_status dmq_half_finish_cuda(dmq_queue *queue, const dmq_half_finish_args *a);

#define NN(call) DMQ_TRY(dmq_cudnn_status(nn->call, "cudnn" #call))

/* ------------------------------------------------------------------ descriptors */

static dmq_status set(const dmq_cudnn *nn, cudnnBackendDescriptor_t d,
                      cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                      int64_t count, const void *value)
{
    dmq_status st = DMQ_OK;

    NN(BackendSetAttribute(d, name, type, count, value));
done:
    return st;
}

/* (n, c, h, w) as the library counts, in NHWC memory. A filter is (k, c, r, s) in KRSC. */
static dmq_status describe_tensor(cudnnBackendDescriptor_t *out, const dmq_cudnn *nn, int id,
                                  cudnnDataType_t type, int n, int c, int h, int w)
{
    const int64_t dim[4] = { n, c, h, w };
    const int64_t stride[4] = { dim[1] * dim[2] * dim[3], 1, dim[1] * dim[3], dim[1] };
    const int64_t aligned = ALIGNED, unique = ID(id);
    dmq_status st = DMQ_OK;

    NN(BackendCreateDescriptor(CUDNN_BACKEND_TENSOR_DESCRIPTOR, out));
    DMQ_TRY(set(nn, *out, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &unique));
    DMQ_TRY(set(nn, *out, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type));
    DMQ_TRY(set(nn, *out, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dim));
    DMQ_TRY(set(nn, *out, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, stride));
    DMQ_TRY(set(nn, *out, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &aligned));
    NN(BackendFinalize(*out));
done:
    return st;
}

/* Of the three, the one that a pass makes; the others are halves. */
static int result_of(dmq_conv_direction pass)
{
    return pass == DMQ_CONV_FORWARD ? Y : pass == DMQ_CONV_BACKWARD_DATA ? X : W;
}

static dmq_status describe_tensors(dmq_cuda_conv_graph *g, const dmq_cudnn *nn,
                                   const dmq_conv2d_args *a, dmq_conv_direction pass)
{
    cudnnDataType_t type[TENSORS] = { CUDNN_DATA_HALF, CUDNN_DATA_HALF, CUDNN_DATA_HALF };
    dmq_status st = DMQ_OK;

    type[result_of(pass)] = CUDNN_DATA_FLOAT;
    DMQ_TRY(describe_tensor(&g->tensor[X], nn, X, type[X], a->n, a->c, a->h, a->wd));
    DMQ_TRY(describe_tensor(&g->tensor[W], nn, W, type[W], a->k, a->c, a->r, a->s));
    DMQ_TRY(describe_tensor(&g->tensor[Y], nn, Y, type[Y], a->n, a->k, a->ho, a->wo));
done:
    return st;
}

/* What the output's size asks for behind the last pixel; pixels that no filter reaches are no padding. */
static int64_t behind_of(int out, int stride, int filter, int before)
{
    int behind = (out - 1) * stride + filter - before;

    return behind > 0 ? behind : 0;
}

/* Padding of either side is its own here. */
static dmq_status describe_conv(dmq_cuda_conv_graph *g, const dmq_cudnn *nn,
                                const dmq_conv2d_args *a)
{
    const int64_t two = 2, dilation[2] = { 1, 1 }, stride[2] = { a->stride, a->stride };
    const int64_t before[2] = { a->pad_top, a->pad_left };
    const int64_t behind[2] = { behind_of(a->ho, a->stride, a->r, a->h + a->pad_top),
                                behind_of(a->wo, a->stride, a->s, a->wd + a->pad_left) };
    const cudnnDataType_t sums = CUDNN_DATA_FLOAT;
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    dmq_status st = DMQ_OK;

    NN(BackendCreateDescriptor(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, &g->conv));
    DMQ_TRY(set(nn, g->conv, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &sums));
    DMQ_TRY(
        set(nn, g->conv, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode));
    DMQ_TRY(set(nn, g->conv, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &two));
    DMQ_TRY(set(nn, g->conv, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, dilation));
    DMQ_TRY(set(nn, g->conv, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, stride));
    DMQ_TRY(set(nn, g->conv, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, before));
    DMQ_TRY(set(nn, g->conv, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, behind));
    NN(BackendFinalize(g->conv));
done:
    return st;
}

/* What each pass calls the same five things. */
typedef struct names {
    cudnnBackendDescriptorType_t type;
    cudnnBackendAttributeName_t conv, tensor[TENSORS], alpha, beta;
} names;

static dmq_status describe_operation(dmq_cuda_conv_graph *g, const dmq_cudnn *nn,
                                     dmq_conv_direction pass)
{
    static const names all[] = { { CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                                   CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                                   { CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                                     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                                     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y },
                                   CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                                   CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA },
                                 { CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                                   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                                   { CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY },
                                   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                                   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA },
                                 { CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                                   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                                   { CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY },
                                   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                                   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA } };
    const names *n = &all[pass];
    const float one = 1, zero = 0;
    dmq_status st = DMQ_OK;

    NN(BackendCreateDescriptor(n->type, &g->operation));
    DMQ_TRY(set(nn, g->operation, n->conv, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &g->conv));
    for (int k = 0; k < TENSORS; k++) {
        DMQ_TRY(
            set(nn, g->operation, n->tensor[k], CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &g->tensor[k]));
    }
    DMQ_TRY(set(nn, g->operation, n->alpha, CUDNN_TYPE_FLOAT, 1, &one));
    DMQ_TRY(set(nn, g->operation, n->beta, CUDNN_TYPE_FLOAT, 1, &zero));
    NN(BackendFinalize(g->operation));
done:
    return st;
}

static dmq_status describe_graph(dmq_cuda_conv_graph *g, const dmq_cudnn *nn, cudnnHandle_t handle)
{
    dmq_status st = DMQ_OK;

    NN(BackendCreateDescriptor(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, &g->graph));
    DMQ_TRY(set(nn, g->graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle));
    DMQ_TRY(set(nn, g->graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                &g->operation));
    NN(BackendFinalize(g->graph));
done:
    return st;
}

/* ------------------------------------------------------------------ engines */

/* The same bits in every run, and sums that are not of halves. */
static dmq_status is_wanted(int *wanted, const dmq_cudnn *nn, cudnnBackendDescriptor_t config)
{
    cudnnBackendNumericalNote_t note[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    cudnnBackendDescriptor_t engine = NULL;
    int64_t n = 0;
    dmq_status st = DMQ_OK;

    *wanted = 0;
    NN(BackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine));
    NN(BackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                           &n, &engine));
    NN(BackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                           CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &n, note));
    *wanted = 1;
    for (int64_t i = 0; i < n && i < CUDNN_NUMERICAL_NOTE_TYPE_COUNT; i++) {
        if (note[i] == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC ||
            note[i] == CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION ||
            note[i] == CUDNN_NUMERICAL_NOTE_WINOGRAD || note[i] == CUDNN_NUMERICAL_NOTE_FFT)
            *wanted = 0;
    }
done:
    if (engine)
        (void)nn->BackendDestroyDescriptor(engine);
    return st;
}

/* A plan of a configuration; none where the engine refuses or wants more memory than there is. */
static dmq_status try_config(dmq_cuda_conv_graph *g, const dmq_cudnn *nn, dmq_queue *q,
                             cudnnBackendDescriptor_t config)
{
    cudnnBackendDescriptor_t plan = NULL;
    int64_t n = 0, bytes = 0;
    dmq_status st = DMQ_OK;

    NN(BackendCreateDescriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &plan));
    DMQ_TRY(set(nn, plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &q->cudnn));
    DMQ_TRY(set(nn, plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                &config));
    if (nn->BackendFinalize(plan) != CUDNN_STATUS_SUCCESS)
        goto done;
    NN(BackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &n,
                           &bytes));
    if (bytes > (int64_t)q->workspace_bytes)
        goto done;
    g->workspace = bytes;
    g->plan = plan;
    plan = NULL;
done:
    if (plan)
        (void)nn->BackendDestroyDescriptor(plan);
    return st;
}

/* The first configuration of a list that will do becomes the graph's. */
static dmq_status choose_from(dmq_cuda_conv_graph *g, const dmq_cudnn *nn, dmq_queue *q,
                              cudnnBackendHeurMode_t mode)
{
    cudnnBackendDescriptor_t heuristic = NULL, config[CONFIGS_MOST] = { NULL };
    int64_t count = 0;
    int wanted;
    dmq_status st = DMQ_OK;

    NN(BackendCreateDescriptor(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, &heuristic));
    DMQ_TRY(set(nn, heuristic, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                1, &g->graph));
    DMQ_TRY(set(nn, heuristic, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode));
    NN(BackendFinalize(heuristic));
    for (int i = 0; i < CONFIGS_MOST; i++)
        NN(BackendCreateDescriptor(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &config[i]));
    NN(BackendGetAttribute(heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                           CONFIGS_MOST, &count, config));
    for (int i = 0; i < CONFIGS_MOST && i < count && !g->plan; i++) {
        DMQ_TRY(is_wanted(&wanted, nn, config[i]));
        if (wanted)
            DMQ_TRY(try_config(g, nn, q, config[i]));
        if (g->plan) { /* which refers to it */
            g->config = config[i];
            config[i] = NULL;
        }
    }
done:
    for (int i = 0; i < CONFIGS_MOST; i++) {
        if (config[i])
            (void)nn->BackendDestroyDescriptor(config[i]);
    }
    if (heuristic)
        (void)nn->BackendDestroyDescriptor(heuristic);
    return st;
}

static dmq_status build(dmq_cuda_conv_graph *g, const dmq_cudnn *nn, dmq_queue *q,
                        const dmq_conv2d_args *a, dmq_conv_direction pass)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(describe_tensors(g, nn, a, pass));
    DMQ_TRY(describe_conv(g, nn, a));
    DMQ_TRY(describe_operation(g, nn, pass));
    DMQ_TRY(describe_graph(g, nn, q->cudnn));
    DMQ_TRY(choose_from(g, nn, q, CUDNN_HEUR_MODE_A));
    if (!g->plan)
        DMQ_TRY(choose_from(g, nn, q, CUDNN_HEUR_MODE_FALLBACK));
    if (!g->plan)
        st = dmq_fail(DMQ_ENOTSUP, "cuda: cuDNN has no engine for it");
done:
    return st;
}

/* ------------------------------------------------------------------ from outside */

dmq_status dmq_cuda_conv_graph_create(dmq_cuda_conv_graph **out, dmq_queue *q,
                                      const dmq_conv2d_args *a, dmq_conv_direction pass)
{
    dmq_cuda_conv_graph *g = NULL;
    const dmq_cudnn *nn = NULL;
    dmq_status st = DMQ_OK;

    *out = NULL;
    DMQ_TRY(dmq_cudnn_load(&nn));
    DMQ_TRY(dmq_alloc((void **)&g, 1, sizeof *g));
    if (build(g, nn, q, a, pass) == DMQ_OK) {
        *out = g;
        g = NULL;
    } else {
        dmq_log_detail("convolution of halves, %dx%d, %d to %d channels: %s", a->h, a->wd, a->c,
                       a->k, dmq_message());
    }
done:
    dmq_cuda_conv_graph_destroy(g);
    return st;
}

void dmq_cuda_conv_graph_destroy(dmq_cuda_conv_graph *g)
{
    const dmq_cudnn *nn = NULL;

    if (!g)
        return;
    if (dmq_cudnn_load(&nn) == DMQ_OK) {
        const cudnnBackendDescriptor_t all[] = {
            g->plan, g->config,    g->graph,     g->operation,
            g->conv, g->tensor[X], g->tensor[W], g->tensor[Y]
        };

        for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
            if (all[i])
                (void)nn->BackendDestroyDescriptor(all[i]);
        }
    }
    dmq_free(g);
}

/* The arrays of a pass as rows of columns: two that are read, one that is made. */
typedef struct arrays {
    const dmq_real *in[2];
    dmq_real *out;
    int which[2]; /* X, W or Y */
    size_t rows[TENSORS], cols[TENSORS];
} arrays;

static arrays arrays_of(const dmq_conv2d_args *a, dmq_conv_direction pass)
{
    arrays r = { .rows = { (size_t)a->n * (size_t)a->h * (size_t)a->wd,
                           (size_t)a->k * (size_t)a->r * (size_t)a->s,
                           (size_t)a->n * (size_t)a->ho * (size_t)a->wo },
                 .cols = { (size_t)a->c, (size_t)a->c, (size_t)a->k } };

    r.which[0] = pass == DMQ_CONV_BACKWARD_DATA ? Y : X;
    r.which[1] = pass == DMQ_CONV_BACKWARD_WEIGHTS ? Y : W;
    r.in[0] = pass == DMQ_CONV_BACKWARD_DATA ? a->dy : a->x;
    r.in[1] = pass == DMQ_CONV_BACKWARD_WEIGHTS ? a->dy : a->w;
    r.out = pass == DMQ_CONV_FORWARD ? a->y : pass == DMQ_CONV_BACKWARD_DATA ? a->dx : a->dw;
    return r;
}

static dmq_half_args whole(const arrays *r, int k)
{
    size_t cols = r->cols[r->which[k]];

    return (dmq_half_args){
        .x = r->in[k], .batch = 1, .rows = r->rows[r->which[k]], .cols = cols, .ld = cols
    };
}

static dmq_status execute(const dmq_cuda_conv_graph *g, dmq_queue *q, void *const data[TENSORS])
{
    const int64_t id[TENSORS] = { ID(X), ID(W), ID(Y) };
    cudnnBackendDescriptor_t pack = NULL;
    const dmq_cudnn *nn = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_cudnn_load(&nn));
    NN(BackendCreateDescriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack));
    DMQ_TRY(set(nn, pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, TENSORS, id));
    DMQ_TRY(
        set(nn, pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, TENSORS, data));
    DMQ_TRY(
        set(nn, pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &q->workspace));
    NN(BackendFinalize(pack));
    NN(BackendExecute(q->cudnn, g->plan, pack));
done:
    if (pack)
        (void)nn->BackendDestroyDescriptor(pack);
    return st;
}

dmq_status dmq_cuda_conv_graph_run(dmq_cuda_conv_graph *g, dmq_queue *q, const dmq_conv2d_args *a,
                                   dmq_conv_direction pass)
{
    arrays r = arrays_of(a, pass);
    dmq_half_args first = whole(&r, 0), second = whole(&r, 1);
    int made = result_of(pass);
    size_t count = r.rows[made] * r.cols[made];
    dmq_cuda_halves halves;
    void *data[TENSORS] = { NULL };
    float *result = r.out;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_cuda_halves_make(&halves, q, &first, &second, 1, a->add ? 1 : 0));
    if (a->add || (uintptr_t)r.out % ALIGNED != 0)
        DMQ_TRY(dmq_cuda_halves_result(&result, q, count * sizeof *result));
    data[r.which[0]] = (void *)halves.a; /* read alone: the library has one type for all */
    data[r.which[1]] = (void *)halves.b;
    data[made] = result;
    DMQ_TRY(execute(g, q, data));
    DMQ_TRY(dmq_half_finish_cuda(
        q, &(dmq_half_finish_args){ .p = result,
                                    .factor = halves.factor,
                                    .bias = pass == DMQ_CONV_FORWARD ? a->bias : NULL,
                                    .y = r.out,
                                    .rows = r.rows[made],
                                    .cols = r.cols[made],
                                    .add = a->add }));
done:
    return st;
}
