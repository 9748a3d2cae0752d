/* The graphs of the pretended cuDNN: each engine beside what it says of itself, and mistakes of a caller. */
#include "pretend/libraries/device_arrays.h"
#include "pretend/libraries/numbers.h"

#include <cudnn.h>
#include <math.h>
#include <stdbool.h>

/* y (N, HO, WO, K) = factor x (N, H, W, C) * w (K, R, S, C) + bias, a row of padding before and two columns behind */
enum { N = 2, C = 8, H = 5, W = 6, K = 16, R = 3, S = 3, HO = 4, WO = 6 };
enum { X_COUNT = N * H * W * C, W_COUNT = K * R * S * C, Y_COUNT = N * HO * WO * K };
enum { ID_X = 1, ID_W, ID_Y, ID_FACTOR, ID_BIAS, ID_BETWEEN };
enum { PARTS = 128, WORKSPACE = 1 << 16, CONFIGS = 32 };

static cudnnBackendDescriptor_t part[PARTS];
static int parts;

static cudnnBackendDescriptor_t make(cudnnBackendDescriptorType_t type)
{
    OK(cudnnBackendCreateDescriptor(type, &part[parts]));
    return part[parts++];
}

static void destroy_all(void)
{
    while (parts > 0)
        OK(cudnnBackendDestroyDescriptor(part[--parts]));
}

#define SET(d, name, type, count, value) \
    cudnnBackendSetAttribute(d, CUDNN_ATTR_##name, CUDNN_TYPE_##type, count, value)
#define PUT(d, name, type, count, value) OK(SET(d, name, type, count, value))

static cudnnBackendDescriptor_t tensor(int64_t id, cudnnDataType_t type, int64_t n, int64_t c,
                                       int64_t h, int64_t w, int64_t aligned, bool nowhere)
{
    cudnnBackendDescriptor_t t = make(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    const int64_t dim[4] = { n, c, h, w }, stride[4] = { c * h * w, 1, w * c, c };

    PUT(t, TENSOR_UNIQUE_ID, INT64, 1, &id);
    PUT(t, TENSOR_DATA_TYPE, DATA_TYPE, 1, &type);
    PUT(t, TENSOR_DIMENSIONS, INT64, 4, dim);
    PUT(t, TENSOR_STRIDES, INT64, 4, stride);
    PUT(t, TENSOR_BYTE_ALIGNMENT, INT64, 1, &aligned);
    PUT(t, TENSOR_IS_VIRTUAL, BOOLEAN, 1, &nowhere);
    OK(cudnnBackendFinalize(t));
    return t;
}

static cudnnBackendDescriptor_t convolution(void)
{
    const int64_t two = 2, ones[2] = { 1, 1 }, before[2] = { 1, 0 }, behind[2] = { 0, 2 };
    const cudnnDataType_t sums = CUDNN_DATA_FLOAT;
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    cudnnBackendDescriptor_t c = make(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);

    PUT(c, CONVOLUTION_COMP_TYPE, DATA_TYPE, 1, &sums);
    PUT(c, CONVOLUTION_CONV_MODE, CONVOLUTION_MODE, 1, &mode);
    PUT(c, CONVOLUTION_SPATIAL_DIMS, INT64, 1, &two);
    PUT(c, CONVOLUTION_DILATIONS, INT64, 2, ones);
    PUT(c, CONVOLUTION_FILTER_STRIDES, INT64, 2, ones);
    PUT(c, CONVOLUTION_PRE_PADDINGS, INT64, 2, before);
    PUT(c, CONVOLUTION_POST_PADDINGS, INT64, 2, behind);
    OK(cudnnBackendFinalize(c));
    return c;
}

static cudnnBackendDescriptor_t pointwise(cudnnPointwiseMode_t mode, cudnnBackendDescriptor_t x,
                                          cudnnBackendDescriptor_t b, cudnnBackendDescriptor_t y)
{
    const cudnnDataType_t math = CUDNN_DATA_FLOAT;
    cudnnBackendDescriptor_t kind = make(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    cudnnBackendDescriptor_t op = make(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);

    PUT(kind, POINTWISE_MODE, POINTWISE_MODE, 1, &mode);
    PUT(kind, POINTWISE_MATH_PREC, DATA_TYPE, 1, &math);
    OK(cudnnBackendFinalize(kind));
    PUT(op, OPERATION_POINTWISE_PW_DESCRIPTOR, BACKEND_DESCRIPTOR, 1, &kind);
    PUT(op, OPERATION_POINTWISE_XDESC, BACKEND_DESCRIPTOR, 1, &x);
    PUT(op, OPERATION_POINTWISE_BDESC, BACKEND_DESCRIPTOR, 1, &b);
    PUT(op, OPERATION_POINTWISE_YDESC, BACKEND_DESCRIPTOR, 1, &y);
    OK(cudnnBackendFinalize(op));
    return op;
}

static cudnnBackendDescriptor_t forward(cudnnBackendDescriptor_t conv, cudnnBackendDescriptor_t x,
                                        cudnnBackendDescriptor_t w, cudnnBackendDescriptor_t y)
{
    const float one = 1, zero = 0;
    cudnnBackendDescriptor_t op = make(CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);

    PUT(op, OPERATION_CONVOLUTION_FORWARD_CONV_DESC, BACKEND_DESCRIPTOR, 1, &conv);
    PUT(op, OPERATION_CONVOLUTION_FORWARD_X, BACKEND_DESCRIPTOR, 1, &x);
    PUT(op, OPERATION_CONVOLUTION_FORWARD_W, BACKEND_DESCRIPTOR, 1, &w);
    PUT(op, OPERATION_CONVOLUTION_FORWARD_Y, BACKEND_DESCRIPTOR, 1, &y);
    PUT(op, OPERATION_CONVOLUTION_FORWARD_ALPHA, FLOAT, 1, &one);
    PUT(op, OPERATION_CONVOLUTION_FORWARD_BETA, FLOAT, 1, &zero);
    return op;
}

/* ------------------------------------------------------------------ a graph and its arrays */

typedef struct setup {
    cudnnHandle_t handle;
    cudaStream_t stream;
    int halves, steps;
    cudnnBackendDescriptor_t graph;
    void *x, *w, *y, *factor, *bias, *workspace; /* of the device */
    float hx[X_COUNT], hw[W_COUNT];              /* as the engine gets them */
    double want[Y_COUNT];
} setup;

static const float the_factor = 0.5f;

static void *fill(float *host, size_t n, unsigned seed, int halves, cudaStream_t stream)
{
    static uint16_t half[X_COUNT + W_COUNT];
    void *p = device_alloc(n * sizeof *host);

    for (size_t i = 0; i < n; i++) {
        host[i] = number_at(seed, i);
        half[i] = half_of_float(host[i]);
        if (halves)
            host[i] = float_of_half(half[i]);
    }
    upload(p, halves ? (const void *)half : host, n * (halves ? 2 : 4), stream);
    return p;
}

static void want_by_loops(setup *s, const float bias[K])
{
    for (int at = 0; at < Y_COUNT; at++) {
        int k = at % K, j = at / K % WO, i = at / K / WO % HO, n = at / K / WO / HO;
        double sum = 0;

        for (int q = 0; q < R * S * C; q++) {
            int c = q % C, row = i - 1 + q / C / S, col = j + q / C % S;

            if (row >= 0 && row < H && col < W)
                sum += (double)s->hx[((n * H + row) * W + col) * C + c] *
                       (double)s->hw[(k * R * S + q / C) * C + c];
        }
        s->want[at] = s->steps ? (double)the_factor * sum + (double)bias[k] : sum;
    }
}

/* With steps: a product with the factor, then a sum with the bias. */
static void open_with(setup *s, int halves, int steps)
{
    cudnnDataType_t type = halves ? CUDNN_DATA_HALF : CUDNN_DATA_FLOAT, f = CUDNN_DATA_FLOAT;
    cudnnBackendDescriptor_t x, w, y, op[3];
    float bias[K];

    memset(s, 0, sizeof *s);
    s->halves = halves;
    s->steps = steps;
    OK(cudaStreamCreateWithFlags(&s->stream, cudaStreamNonBlocking));
    OK(cudnnCreate(&s->handle));
    OK(cudnnSetStream(s->handle, s->stream));
    x = tensor(ID_X, type, N, C, H, W, 16, false);
    w = tensor(ID_W, type, K, C, R, S, 16, false);
    y = tensor(steps ? ID_BETWEEN : ID_Y, f, N, K, HO, WO, 16, steps);
    op[0] = forward(convolution(), x, w, y);
    OK(cudnnBackendFinalize(op[0]));
    if (steps) {
        cudnnBackendDescriptor_t scaled = tensor(ID_BETWEEN + 1, f, N, K, HO, WO, 16, true);

        op[1] =
            pointwise(CUDNN_POINTWISE_MUL, y, tensor(ID_FACTOR, f, 1, 1, 1, 1, 4, false), scaled);
        y = tensor(ID_Y, f, N, K, HO, WO, 16, false);
        op[2] =
            pointwise(CUDNN_POINTWISE_ADD, scaled, tensor(ID_BIAS, f, 1, K, 1, 1, 16, false), y);
    }
    s->graph = make(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    PUT(s->graph, OPERATIONGRAPH_HANDLE, HANDLE, 1, &s->handle);
    PUT(s->graph, OPERATIONGRAPH_OPS, BACKEND_DESCRIPTOR, steps ? 3 : 1, op);
    OK(cudnnBackendFinalize(s->graph));
    s->x = fill(s->hx, X_COUNT, 1, halves, s->stream);
    s->w = fill(s->hw, W_COUNT, 2, halves, s->stream);
    s->bias = fill(bias, K, 3, 0, s->stream);
    s->factor = device_alloc(sizeof the_factor);
    upload(s->factor, &the_factor, sizeof the_factor, s->stream);
    s->y = device_alloc(Y_COUNT * sizeof(float));
    s->workspace = device_alloc(WORKSPACE);
    want_by_loops(s, bias);
}

static void free_memory(setup *s)
{
    OK(cudaFree(s->x));
    OK(cudaFree(s->w));
    OK(cudaFree(s->y));
    OK(cudaFree(s->factor));
    OK(cudaFree(s->bias));
    OK(cudaFree(s->workspace));
    OK(cudaStreamDestroy(s->stream));
}

static void close_all(setup *s)
{
    destroy_all();
    OK(cudnnDestroy(s->handle));
    free_memory(s);
}

static int list(cudnnBackendDescriptor_t config[CONFIGS], const setup *s,
                cudnnBackendHeurMode_t mode)
{
    cudnnBackendDescriptor_t h = make(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    int64_t n = 0;

    PUT(h, ENGINEHEUR_OPERATION_GRAPH, BACKEND_DESCRIPTOR, 1, &s->graph);
    PUT(h, ENGINEHEUR_MODE, HEUR_MODE, 1, &mode);
    OK(cudnnBackendFinalize(h));
    for (int i = 0; i < CONFIGS; i++)
        OK(cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &config[i]));
    OK(cudnnBackendGetAttribute(h, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                CONFIGS, &n, config));
    return (int)n;
}

static void forget(cudnnBackendDescriptor_t config[CONFIGS])
{
    for (int i = 0; i < CONFIGS; i++)
        OK(cudnnBackendDestroyDescriptor(config[i]));
}

/* Bit i: the engine has the i-th note. */
static unsigned notes_of(cudnnBackendDescriptor_t config)
{
    cudnnBackendNumericalNote_t note[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    cudnnBackendDescriptor_t e = NULL;
    unsigned bits = 0;
    int64_t n = 0;

    OK(cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &e));
    OK(cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                1, &n, &e));
    OK(cudnnBackendGetAttribute(e, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                                CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &n, note));
    for (int64_t i = 0; i < n; i++)
        bits |= 1u << note[i];
    OK(cudnnBackendDestroyDescriptor(e));
    return bits;
}

/* The plan of a configuration; NULL where it refuses or wants more than there is. */
static cudnnBackendDescriptor_t plan_of(const setup *s, cudnnBackendDescriptor_t config)
{
    cudnnBackendDescriptor_t p = make(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    int64_t bytes = 0, n = 0;

    PUT(p, EXECUTION_PLAN_HANDLE, HANDLE, 1, &s->handle);
    PUT(p, EXECUTION_PLAN_ENGINE_CONFIG, BACKEND_DESCRIPTOR, 1, &config);
    if (cudnnBackendFinalize(p) != CUDNN_STATUS_SUCCESS)
        return NULL;
    OK(cudnnBackendGetAttribute(p, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1,
                                &n, &bytes));
    return bytes <= WORKSPACE ? p : NULL;
}

static cudnnBackendDescriptor_t pack_of(const setup *s, int without)
{
    int64_t id[5] = { ID_X, ID_W, ID_Y, ID_FACTOR, ID_BIAS };
    void *data[5] = { s->x, s->w, s->y, s->factor, s->bias };
    int64_t n = s->steps ? 5 : 3;
    cudnnBackendDescriptor_t pack = make(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    void *const *workspace = &s->workspace;

    if (without) {
        id[without - 1] = id[n - 1];
        data[without - 1] = data[n - 1];
        n--;
    }
    PUT(pack, VARIANT_PACK_UNIQUE_IDS, INT64, n, id);
    PUT(pack, VARIANT_PACK_DATA_POINTERS, VOID_PTR, n, data);
    PUT(pack, VARIANT_PACK_WORKSPACE, VOID_PTR, 1, workspace);
    OK(cudnnBackendFinalize(pack));
    return pack;
}

static double run(const setup *s, cudnnBackendDescriptor_t plan, float y[Y_COUNT])
{
    double most = 0;

    OK(cudnnBackendExecute(s->handle, plan, pack_of(s, 0)));
    OK(cudnnBackendDestroyDescriptor(
        part[--parts])); /* the pack: what was asked for knows its arrays */
    download(y, s->y, Y_COUNT * sizeof *y, s->stream);
    for (int i = 0; i < Y_COUNT; i++)
        most = fmax(most, isnan(y[i]) ? HUGE_VAL : fabs((double)y[i] - s->want[i]));
    return most;
}

/* ------------------------------------------------------------------ engines */

#define NOTE(name) (1u << CUDNN_NUMERICAL_NOTE_##name)

/* How far an engine may be off, and how far it must be for a wrong choice to show. Sums of 72 products of
   numbers below 1: operands of 11 bits put them off by about sqrt(72) / 2^12, of 8 bits by eight times that. */
static void check_error(double off, unsigned notes, int halves)
{
    if (notes & NOTE(DOWN_CONVERT_INPUTS))
        assert_true(off > 6e-3 && off < 6e-2);
    else if (notes & NOTE(REDUCED_PRECISION_REDUCTION))
        assert_true(off > 1e-3);
    else if (notes & (NOTE(WINOGRAD) | NOTE(FFT)))
        assert_true(off > (halves ? 1e-3 : 1e-6));
    else if (!halves && (notes & NOTE(TENSOR_CORE)))
        assert_true(off > 6e-4 && off < 6e-3);
    else
        assert_true(off < 1e-5);
}

static void engines_are_what_they_say(void **state)
{
    (void)state;
    for (int form = 0; form < 3; form++) { /* floats alone, floats with steps, halves with steps */
        static setup s;
        cudnnBackendDescriptor_t config[CONFIGS];
        static float y[2][Y_COUNT], good[2 * CONFIGS][Y_COUNT];
        int n, taken = 0, changing = 0, refused = 0;

        open_with(&s, form == 2, form > 0);
        n = list(config, &s, CUDNN_HEUR_MODE_A);
        assert_true(n > 0);
        assert_true(notes_of(config[0]) & NOTE(NONDETERMINISTIC));
        for (int i = 0; i < n; i++) {
            unsigned notes = notes_of(config[i]);
            cudnnBackendDescriptor_t plan = plan_of(&s, config[i]);

            refused += !plan;
            if (!plan)
                continue;
            check_error(run(&s, plan, y[0]), notes, s.halves);
            check_error(run(&s, plan, y[1]), notes, s.halves);
            if (notes & NOTE(NONDETERMINISTIC))
                changing += memcmp(y[0], y[1], sizeof y[0]) != 0;
            else
                assert_memory_equal(y[0], y[1], sizeof y[0]);
            if (!(notes & ~NOTE(TENSOR_CORE)))
                memcpy(good[taken++], y[0], sizeof y[0]);
        }
        assert_true(changing > 0 && refused > 0 && taken >= 2);
        /* the last two are one engine with two settings of its knob */
        assert_memory_not_equal(good[taken - 1], good[taken - 2], sizeof good[0]);
        forget(config);
        close_all(&s);
    }
}

static void halves_alone_have_no_float_results(void **state)
{
    static setup s;
    cudnnBackendDescriptor_t config[CONFIGS];

    (void)state;
    open_with(&s, 1, 0);
    assert_int_equal(list(config, &s, CUDNN_HEUR_MODE_A), 0);
    forget(config);
    assert_int_equal(list(config, &s, CUDNN_HEUR_MODE_FALLBACK), 0);
    forget(config);
    close_all(&s);
}

/* An engine that is asked for by number and knob gives the bits of the list's. */
static void an_engine_is_found_by_its_number(void **state)
{
    static setup s;
    static float y[2][2][Y_COUNT];
    cudnnBackendDescriptor_t config[CONFIGS];
    const int64_t number = 17;
    int n, at = -1;

    (void)state;
    open_with(&s, 0, 1);
    n = list(config, &s, CUDNN_HEUR_MODE_A);
    for (int i = 0; i < n && at < 0; i++) {
        cudnnBackendDescriptor_t p = notes_of(config[i]) == 0 ? plan_of(&s, config[i]) : NULL;

        if (p) { /* and the next, whose knob is 0 */
            at = i;
            (void)run(&s, p, y[0][1]);
            (void)run(&s, plan_of(&s, config[i + 1]), y[0][0]);
        }
    }
    assert_true(at >= 0);
    for (int64_t value = 0; value < 3; value++) {
        cudnnBackendDescriptor_t engine = make(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
        cudnnBackendDescriptor_t knob = make(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR);
        cudnnBackendDescriptor_t named = make(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
        cudnnBackendKnobType_t type = CUDNN_KNOB_TYPE_TILE_M;

        PUT(engine, ENGINE_OPERATION_GRAPH, BACKEND_DESCRIPTOR, 1, &s.graph);
        PUT(engine, ENGINE_GLOBAL_INDEX, INT64, 1, &number);
        OK(cudnnBackendFinalize(engine));
        PUT(knob, KNOB_CHOICE_KNOB_TYPE, KNOB_TYPE, 1, &type);
        PUT(knob, KNOB_CHOICE_KNOB_VALUE, INT64, 1, &value);
        OK(cudnnBackendFinalize(knob));
        PUT(named, ENGINECFG_ENGINE, BACKEND_DESCRIPTOR, 1, &engine);
        PUT(named, ENGINECFG_KNOB_CHOICES, BACKEND_DESCRIPTOR, 1, &knob);
        if (value == 2) {
            assert_int_equal(cudnnBackendFinalize(named), CUDNN_STATUS_NOT_SUPPORTED);
            continue;
        }
        OK(cudnnBackendFinalize(named));
        (void)run(&s, plan_of(&s, named), y[1][value]);
        assert_memory_equal(y[0][value], y[1][value], sizeof y[0][0]);
    }
    forget(config);
    close_all(&s);
}

/* ------------------------------------------------------------------ what is refused */

/* The statuses of cuDNN 9.19 itself, but for the second: it takes any number of elements until it is finalized. */
static void attributes_are_refused_as_by_the_library(void **state)
{
    cudnnBackendDescriptor_t t, c;
    int64_t one = 1, dim[4] = { 1, 2, 3, 4 }, n = 0, three = 3;
    float number = 1;

    (void)state;
    t = make(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    assert_int_equal(cudnnBackendFinalize(t), CUDNN_STATUS_BAD_PARAM);
    assert_int_equal(SET(t, TENSOR_DIMENSIONS, INT64, CUDNN_DIM_MAX + 1, dim),
                     CUDNN_STATUS_BAD_PARAM);
    assert_int_equal(SET(t, TENSOR_UNIQUE_ID, FLOAT, 1, &number),
                     CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE);
    assert_int_equal(SET(t, TENSOR_UNIQUE_ID, INT64, 2, dim), CUDNN_STATUS_BAD_PARAM);
    assert_int_equal(SET(t, TENSOR_UNIQUE_ID, INT64, 1, NULL), CUDNN_STATUS_BAD_PARAM);
    assert_int_equal(SET(t, CONVOLUTION_DILATIONS, INT64, 2, dim), CUDNN_STATUS_BAD_PARAM);
    assert_int_equal(
        cudnnBackendGetAttribute(t, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, &n, dim),
        CUDNN_STATUS_NOT_INITIALIZED);
    t = tensor(1, CUDNN_DATA_FLOAT, 1, 2, 3, 4, 16, false);
    assert_int_equal(cudnnBackendFinalize(t), CUDNN_STATUS_BAD_PARAM);
    assert_int_equal(SET(t, TENSOR_UNIQUE_ID, INT64, 1, &one), CUDNN_STATUS_BAD_PARAM);
    OK(cudnnBackendGetAttribute(t, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 0, &n, NULL));
    assert_int_equal(n, 4);
    OK(cudnnBackendGetAttribute(t, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 2, &n, dim));
    assert_int_equal(n, 2);
    assert_int_equal(
        cudnnBackendGetAttribute(t, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_FLOAT, 4, &n, dim),
        CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE);
    t = make(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    PUT(t, TENSOR_UNIQUE_ID, INT64, 1, &one);
    PUT(t, TENSOR_DATA_TYPE, DATA_TYPE, 1, &(cudnnDataType_t){ CUDNN_DATA_FLOAT });
    PUT(t, TENSOR_DIMENSIONS, INT64, 4, dim);
    PUT(t, TENSOR_STRIDES, INT64, 3, dim);
    PUT(t, TENSOR_BYTE_ALIGNMENT, INT64, 1, &(int64_t){ 4 });
    assert_int_equal(cudnnBackendFinalize(t),
                     CUDNN_STATUS_BAD_PARAM); /* four sizes, three strides */
    PUT(t, TENSOR_STRIDES, INT64, 4, dim);
    PUT(t, TENSOR_BYTE_ALIGNMENT, INT64, 1, &three);
    assert_int_equal(cudnnBackendFinalize(t), CUDNN_STATUS_BAD_PARAM);
    c = make(CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
    assert_int_equal(SET(c, OPERATION_CONVOLUTION_FORWARD_X, BACKEND_DESCRIPTOR, 1, &t),
                     CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED);
    c = forward(convolution(), tensor(1, CUDNN_DATA_FLOAT, N, C, H, W, 16, false),
                tensor(2, CUDNN_DATA_FLOAT, K, C, R, S, 16, false),
                tensor(3, CUDNN_DATA_FLOAT, N, K, HO, WO + 1, 16, false));
    assert_int_equal(cudnnBackendFinalize(c), CUDNN_STATUS_BAD_PARAM); /* y is too wide */
    c = make(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    PUT(c, VARIANT_PACK_UNIQUE_IDS, INT64, 2, ((int64_t[]){ 1, 1 }));
    PUT(c, VARIANT_PACK_DATA_POINTERS, VOID_PTR, 2, ((void *[]){ NULL, NULL }));
    assert_int_equal(cudnnBackendFinalize(c), CUDNN_STATUS_BAD_PARAM_DUPLICATED_ENTRIES);
    destroy_all();
}

static void it_refuses_on_wish(void **state)
{
    static setup s;
    cudnnBackendDescriptor_t config[CONFIGS];
    int n;

    (void)state;
    open_with(&s, 0, 1);
    OK(setenv("PRETEND_CUDNN_REFUSES", "1", 1));
    n = list(config, &s, CUDNN_HEUR_MODE_A); /* none, or one whose plan is not executed */
    if (n > 0) {
        cudnnBackendDescriptor_t plan = plan_of(&s, config[0]);

        assert_non_null(plan);
        assert_int_equal(cudnnBackendExecute(s.handle, plan, pack_of(&s, 0)),
                         CUDNN_STATUS_NOT_SUPPORTED);
    }
    OK(unsetenv("PRETEND_CUDNN_REFUSES"));
    forget(config);
    close_all(&s);
}

/* ------------------------------------------------------------------ mistakes */

static int mistake;

static const char *const mistakes[] = {
    "attribute 704 is a cuDNN descriptor of a convolution", /* 0: as x of an operation */
    "no array of number 5",                                 /* 1: the pack lacks the bias */
    "is no multiple of 16 bytes",                           /* 2 */
    "is no living cudnnBackendDescriptor_t",                /* 3: destroyed twice */
    "is not pretended",                              /* 4: an attribute that nobody here has */
    "is a cuDNN descriptor of a heuristic, must be", /* 5: as a plan */
    "was finalized",                                 /* 6: a full engine is to be filled */
    "overlaps",                                      /* 7: y is x */
    "cuDNN descriptor of a tensor not destroyed: ",  /* 8 */
    "is no living", /* 9: the graph is gone before its plan is made */
    "the factor (", /* 10: memory of the host */
};

static void make_mistake(void *with)
{
    setup *s = with;
    cudnnBackendDescriptor_t config[CONFIGS], plan, c, h;
    static float host[K];
    int64_t n;
    bool yes = true;

    (void)list(config, s, CUDNN_HEUR_MODE_A);
    plan = plan_of(s, config[0]);
    c = convolution();
    if (mistake == 0) {
        h = make(CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
        (void)SET(h, OPERATION_CONVOLUTION_FORWARD_X, BACKEND_DESCRIPTOR, 1, &c);
    }
    if (mistake == 1)
        (void)cudnnBackendExecute(s->handle, plan, pack_of(s, ID_BIAS));
    if (mistake == 2)
        s->x = (char *)s->x + 4;
    if (mistake == 3) {
        OK(cudnnBackendDestroyDescriptor(c));
        (void)cudnnBackendDestroyDescriptor(c);
    }
    if (mistake == 4)
        (void)SET(c, TENSOR_IS_BY_VALUE, BOOLEAN, 1, &yes);
    if (mistake == 5) {
        h = make(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
        (void)cudnnBackendExecute(s->handle, h, pack_of(s, 0));
    }
    if (mistake == 6) {
        OK(cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &h));
        for (int i = 0; i < 2; i++) {
            (void)cudnnBackendGetAttribute(config[i], CUDNN_ATTR_ENGINECFG_ENGINE,
                                           CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &n, &h);
        }
    }
    if (mistake == 7)
        s->y = s->x;
    if (mistake == 8) {
        free_memory(s);
        return;
    }
    if (mistake == 9) {
        OK(cudnnBackendDestroyDescriptor(s->graph));
        (void)plan_of(s, config[0]);
    }
    if (mistake == 10)
        s->factor = host;
    (void)cudnnBackendExecute(s->handle, plan, pack_of(s, 0));
}

static void mistakes_end_the_program(void **state)
{
    static setup s;

    (void)state;
    open_with(&s, 0, 1);
    for (mistake = 0; mistake < (int)(sizeof mistakes / sizeof *mistakes); mistake++)
        assert_dies(make_mistake, &s, mistakes[mistake]);
    close_all(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(engines_are_what_they_say),
        cmocka_unit_test(halves_alone_have_no_float_results),
        cmocka_unit_test(an_engine_is_found_by_its_number),
        cmocka_unit_test(attributes_are_refused_as_by_the_library),
        cmocka_unit_test(it_refuses_on_wish),
        cmocka_unit_test(mistakes_end_the_program),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
