/* A pretended cuDNN: engines of a graph, the lists in which the library tells of them, plans and their turn. */
#include "cudnn_graph.h"
#include "numbers.h"

/* ------------------------------------------------------------------ engines */

enum { NOTES = 3, END = -1 };

typedef struct engine {
    int64_t number;
    int of_halves;
    int note[NOTES]; /* up to END */
    enum { WORKS, MAKES_NO_PLAN, WANTS_TOO_MUCH } plan;
    int wide;     /* reads and writes 16 bytes at a time */
    int fallback; /* listed there alone */
    conv_manner manner;
} engine;

#define TENSOR_CORE CUDNN_NUMERICAL_NOTE_TENSOR_CORE
#define CHANGING    CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC
#define DOWN        CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS
#define REDUCED     CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION
#define WINOGRAD    CUDNN_NUMERICAL_NOTE_WINOGRAD
#define FFT         CUDNN_NUMERICAL_NOTE_FFT

/* In the order of the library's list: the first are those that a careful caller does not take. Winograd's and
   Fourier's transforms are not made; their operands lose three bits instead. */
static const engine engines[] = {
    { 10, 0, { CHANGING, END }, WORKS, 0, 0, { .bits = BITS_FLOAT, .nondeterministic = 1 } },
    { 11, 0, { END }, MAKES_NO_PLAN, 0, 0, { .bits = BITS_FLOAT } },
    { 12, 0, { TENSOR_CORE, DOWN, END }, WORKS, 1, 0, { .bits = BITS_BFLOAT } },
    { 13, 0, { TENSOR_CORE, END }, WORKS, 1, 0, { .bits = BITS_TF32 } },
    { 14, 0, { WINOGRAD, END }, WORKS, 0, 0, { .bits = BITS_FLOAT - 3 } },
    { 15, 0, { FFT, END }, WORKS, 0, 0, { .bits = BITS_FLOAT - 3 } },
    { 16, 0, { END }, WANTS_TOO_MUCH, 0, 0, { .bits = BITS_FLOAT } },
    { 17, 0, { END }, WORKS, 1, 0, { .bits = BITS_FLOAT } },
    { 18, 0, { END }, WORKS, 0, 1, { .bits = BITS_FLOAT } },
    { 20,
      1,
      { TENSOR_CORE, CHANGING, END },
      WORKS,
      1,
      0,
      { .bits = BITS_FLOAT, .nondeterministic = 1 } },
    { 21, 1, { TENSOR_CORE, END }, MAKES_NO_PLAN, 1, 0, { .bits = BITS_FLOAT } },
    { 22, 1, { TENSOR_CORE, REDUCED, END }, WORKS, 1, 0, { .bits = BITS_FLOAT, .reduced = 1 } },
    { 23, 1, { TENSOR_CORE, WINOGRAD, END }, WORKS, 1, 0, { .bits = BITS_HALF - 3 } },
    { 24, 1, { END }, WORKS, 1, 0, { .bits = BITS_FLOAT } },
    { 25, 1, { TENSOR_CORE, END }, WANTS_TOO_MUCH, 1, 0, { .bits = BITS_FLOAT } },
    { 26, 1, { TENSOR_CORE, END }, WORKS, 1, 0, { .bits = BITS_FLOAT } },
};

enum { ENGINES = sizeof engines / sizeof *engines };

/* The one knob: 1 turns the order of sums around. */
#define THE_KNOB CUDNN_KNOB_TYPE_TILE_M

static const engine *engine_of(int64_t number)
{
    for (int i = 0; i < ENGINES; i++) {
        if (engines[i].number == number)
            return &engines[i];
    }
    return NULL;
}

static const conv_tensor *operand(const conv_work *w)
{
    return &w->tensor[w->pass == CONV_BACKWARD_DATA ? CONV_W : CONV_X];
}

/* 16 bytes of channels, and arrays that begin so. */
static int is_wide(const conv_work *w)
{
    int64_t numbers = operand(w)->half ? 8 : 4;

    if (w->tensor[CONV_W].dim[0] % numbers != 0 || w->tensor[CONV_W].dim[1] % numbers != 0)
        return 0;
    for (int i = 0; i < CONV_TENSORS; i++) {
        if (w->tensor[i].alignment < 16 || w->tensor[i].stride[1] != 1)
            return 0;
    }
    for (int i = 0; i < w->steps; i++) {
        if (w->step[i].tensor.dim[1] > 1 && w->step[i].tensor.alignment < 16)
            return 0;
    }
    return 1;
}

/* A product of halves alone gives halves; with FP32 results it is to be had with something behind it. */
static int knows(const backend *graph)
{
    const conv_work *w = &graph->work;
    cudnn_refusal refusal = cudnn_refuses(w->pass, w->tensor, &w->shape);

    if (refusal == CUDNN_KNOWS_NONE || refusal == CUDNN_KNOWS_NO_GRAPH ||
        (refusal == CUDNN_REFUSES_BIAS && w->steps > 0))
        return 0;
    return !operand(w)->half || w->steps > 0 || w->tensor[conv_result(w->pass)].half;
}

static size_t workspace_of(const engine *e, const conv_work *w)
{
    return e->plan == WANTS_TOO_MUCH ? (size_t)1 << 40
                                     : conv_tensor_bytes(&w->tensor[CONV_Y]) / 4 + 512;
}

/* ------------------------------------------------------------------ finalizing */

static backend *part(const backend *b, cudnnBackendAttributeName_t name,
                     cudnnBackendDescriptorType_t type)
{
    return backend_of_type(*(void *const *)backend_get(b, name), type, "cudnnBackendFinalize",
                           "a descriptor that this one was made of");
}

static cudnnStatus_t finalize_engine(backend *b)
{
    b->graph = part(b, CUDNN_ATTR_ENGINE_OPERATION_GRAPH, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    b->engine = *(const int64_t *)backend_get(b, CUDNN_ATTR_ENGINE_GLOBAL_INDEX);
    return engine_of(b->engine) ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_NOT_SUPPORTED;
}

static cudnnStatus_t finalize_config(backend *b)
{
    const backend *e = part(b, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    void *const *knob = backend_get(b, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES);
    int64_t count = backend_count(b, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES);

    b->graph = e->graph;
    b->engine = e->engine;
    b->knob = 0;
    for (int64_t i = 0; i < count; i++) {
        const backend *k = backend_of_type(knob[i], CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR,
                                           "cudnnBackendFinalize", "a knob's choice");

        if (*(const int *)backend_get(k, CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE) != (int)THE_KNOB)
            return CUDNN_STATUS_NOT_SUPPORTED;
        b->knob = *(const int64_t *)backend_get(k, CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE);
    }
    return b->knob == 0 || b->knob == 1 ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_NOT_SUPPORTED;
}

static cudnnStatus_t finalize_plan(backend *b)
{
    const backend *config =
        part(b, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    const backend *graph = backend_of_type(config->graph, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR,
                                           "cudnnBackendFinalize", "the graph of a configuration");
    const engine *e = engine_of(config->engine);

    if (!knows(graph) || operand(&graph->work)->half != e->of_halves || e->plan == MAKES_NO_PLAN ||
        (e->wide && !is_wide(&graph->work)))
        return CUDNN_STATUS_NOT_SUPPORTED;
    b->work = graph->work;
    b->work.manner = e->manner;
    b->work.manner.backwards = config->knob == 1;
    b->work.workspace_bytes = workspace_of(e, &graph->work);
    b->numbers = graph->numbers;
    b->engine = config->engine;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t backend_finalize_engines(backend *b)
{
    switch (b->type) {
    case CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR:
        b->graph =
            part(b, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
        return *(const int *)backend_get(b, CUDNN_ATTR_ENGINEHEUR_MODE) < CUDNN_HEUR_MODES_COUNT
                   ? CUDNN_STATUS_SUCCESS
                   : CUDNN_STATUS_BAD_PARAM;
    case CUDNN_BACKEND_ENGINE_DESCRIPTOR:
        return finalize_engine(b);
    case CUDNN_BACKEND_ENGINECFG_DESCRIPTOR:
        return finalize_config(b);
    case CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR:
        return finalize_plan(b);
    default:
        return CUDNN_STATUS_SUCCESS;
    }
}

/* ------------------------------------------------------------------ answers */

/* A caller's descriptor, made and not finalized, for the library to fill. */
static backend *to_fill(void *const *elements, int64_t i, cudnnBackendDescriptorType_t type)
{
    backend *b = backend_of_type(elements[i], type, "cudnnBackendGetAttribute",
                                 "a descriptor that is to be filled");

    if (b->finalized)
        pretend_die("cudnnBackendGetAttribute: a descriptor that is to be filled was finalized");
    b->finalized = 1;
    return b;
}

/* Each engine that has a setting of its knob: the one that turns sums around comes first. */
static int64_t list(const backend *heuristic, int64_t wanted, void *const *out)
{
    const backend *graph =
        backend_of_type(heuristic->graph, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR,
                        "cudnnBackendGetAttribute", "the graph of a heuristic");
    int fallback = *(const int *)backend_get(heuristic, CUDNN_ATTR_ENGINEHEUR_MODE) ==
                   CUDNN_HEUR_MODE_FALLBACK;
    int64_t n = 0;

    for (int i = 0; i < ENGINES && knows(graph); i++) {
        const engine *e = &engines[i];

        if (e->of_halves != operand(&graph->work)->half || e->fallback != fallback)
            continue;
        for (int knob = 1; knob >= 0; knob--) {
            if (wanted > 0 && n < wanted) {
                backend *config = to_fill(out, n, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);

                config->graph = heuristic->graph;
                config->engine = e->number;
                config->knob = knob;
            }
            n++;
        }
    }
    return wanted > 0 && wanted < n ? wanted : n;
}

static int64_t tell_notes(const engine *e, int64_t wanted, void *out)
{
    int64_t n = 0;

    while (e->note[n] != END) {
        if (n < wanted)
            ((cudnnBackendNumericalNote_t *)out)[n] = (cudnnBackendNumericalNote_t)e->note[n];
        n++;
    }
    return wanted > 0 && wanted < n ? wanted : n;
}

static void fill_engine(const backend *config, void *const *out)
{
    backend *e = to_fill(out, 0, CUDNN_BACKEND_ENGINE_DESCRIPTOR);

    e->graph = config->graph;
    e->engine = config->engine;
    backend_put(e, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, 1, &e->engine, sizeof e->engine);
}

static void fill_knob(const backend *config, void *const *out)
{
    backend *k = to_fill(out, 0, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR);
    cudnnBackendKnobType_t type = THE_KNOB;

    backend_put(k, CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, 1, &type, sizeof type);
    backend_put(k, CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, 1, &config->knob, sizeof config->knob);
}

cudnnStatus_t backend_answer(backend *b, cudnnBackendAttributeName_t name,
                             cudnnBackendAttributeType_t type, int64_t wanted, int64_t *count,
                             void *elements)
{
    cudnnBackendAttributeType_t is = CUDNN_TYPE_BACKEND_DESCRIPTOR;
    int64_t n = 1;

    if (name == CUDNN_ATTR_ENGINE_NUMERICAL_NOTE)
        is = CUDNN_TYPE_NUMERICAL_NOTE;
    if (name == CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE ||
        name == CUDNN_ATTR_OPERATIONGRAPH_ENGINE_GLOBAL_COUNT)
        is = CUDNN_TYPE_INT64;
    if (name == CUDNN_ATTR_ENGINEHEUR_RESULTS && b->type == CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR) {
        n = type == is ? list(b, wanted, elements) : 0;
    } else if (name == CUDNN_ATTR_ENGINECFG_ENGINE &&
               b->type == CUDNN_BACKEND_ENGINECFG_DESCRIPTOR) {
        if (type == is && wanted > 0)
            fill_engine(b, elements);
    } else if (name == CUDNN_ATTR_ENGINECFG_KNOB_CHOICES &&
               b->type == CUDNN_BACKEND_ENGINECFG_DESCRIPTOR) {
        if (type == is && wanted > 0)
            fill_knob(b, elements);
    } else if (name == CUDNN_ATTR_ENGINE_NUMERICAL_NOTE &&
               b->type == CUDNN_BACKEND_ENGINE_DESCRIPTOR) {
        n = type == is ? tell_notes(engine_of(b->engine), wanted, elements) : 0;
    } else if (name == CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE &&
               b->type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) {
        if (type == is && wanted > 0)
            *(int64_t *)elements = (int64_t)b->work.workspace_bytes;
    } else if (name == CUDNN_ATTR_OPERATIONGRAPH_ENGINE_GLOBAL_COUNT &&
               b->type == CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR) {
        if (type == is && wanted > 0)
            *(int64_t *)elements = ENGINES;
    } else {
        return CUDNN_STATUS_NOT_INITIALIZED;
    }
    if (type != is)
        return CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE;
    if (count)
        *count = n;
    return CUDNN_STATUS_SUCCESS;
}

/* ------------------------------------------------------------------ execution */

/* The array of a number; dies where the pack has none. */
static void *array_of(const backend *pack, int64_t number)
{
    const int64_t *id = backend_get(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
    void *const *data = backend_get(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);

    for (int64_t i = 0; i < backend_count(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS); i++) {
        if (id[i] == number)
            return data[i];
    }
    pretend_die("cudnnBackendExecute: the variant pack has no array of number %lld",
                (long long)number);
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan,
                                  cudnnBackendDescriptor_t variants)
{
    const backend *p =
        backend_of_type(plan, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, __func__, "the plan");
    const backend *pack = backend_of_type(variants, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, __func__,
                                          "the variant pack");
    void *const *workspace = backend_get(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
    conv_work work = p->work, *late;

    (void)cudnn_handle(handle, __func__);
    if (!p->finalized || !pack->finalized)
        return CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED;
    if (cudnn_refuses(work.pass, work.tensor, &work.shape) == CUDNN_REFUSES_CALLS)
        return CUDNN_STATUS_NOT_SUPPORTED;
    for (int i = 0; i < CONV_TENSORS; i++)
        work.data[i] = array_of(pack, p->numbers.tensor[i]);
    for (int i = 0; i < work.steps; i++)
        work.step[i].data = array_of(pack, p->numbers.step[i]);
    if (work.workspace_bytes > 0 && (!workspace || !*workspace))
        return CUDNN_STATUS_BAD_PARAM_NULL_POINTER;
    if (workspace)
        work.workspace = *workspace;
    conv_judge(&work, __func__);
    late = judge_memory(sizeof *late);
    *late = work;
    return cudnn_enqueue(handle, __func__, conv_run, conv_drop, late);
}
