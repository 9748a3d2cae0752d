#include "cuda/conv2d_graph.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "cuda/choices.h"
#include "cuda/conv2d_bench.h"
#include "cuda/half.h"
#include "kernels/pointwise.h"

#include <string.h>

/* An engine is timed over REPEATS launches. Those of halves are compiled when their plan is made, a second each. */
enum { ALIGNED = 16, REPEATS = 10, TIMED = 8, TIMED_COMPILED = 4 };

struct dmq_cuda_conv_graph {
    dmq_conv_form form;
    dmq_conv_ops ops;
    dmq_engine engine;
};

dmq_status dmq_axpby_cuda(dmq_queue *queue, const dmq_axpby_args *a);
dmq_status dmq_binary_forward_cuda(dmq_queue *queue, const dmq_binary_args *a);

#define NN(call) DMQ_TRY(dmq_cudnn_status(nn->call, "cudnn" #call))

/* ------------------------------------------------------------------ a pass and its arrays */

/* What a pass reads and makes, by the names of conv2d_ops.h. */
typedef struct arrays {
    void *
        at[DMQ_CONV_TENSORS]; /* read alone, but for the result: the library has one type for all */
    int read[2];
    size_t rows[DMQ_CONV_Y + 1], cols[DMQ_CONV_Y + 1];
} arrays;

static arrays arrays_of(const dmq_conv2d_args *a, dmq_conv_direction pass)
{
    const int read[][2] = { [DMQ_CONV_FORWARD] = { DMQ_CONV_X, DMQ_CONV_W },
                            [DMQ_CONV_BACKWARD_DATA] = { DMQ_CONV_Y, DMQ_CONV_W },
                            [DMQ_CONV_BACKWARD_WEIGHTS] = { DMQ_CONV_X, DMQ_CONV_Y } };
    arrays r = { .read = { read[pass][0], read[pass][1] } };

    r.rows[DMQ_CONV_X] = (size_t)a->n * (size_t)a->h * (size_t)a->wd;
    r.rows[DMQ_CONV_W] = (size_t)a->k * (size_t)a->r * (size_t)a->s;
    r.rows[DMQ_CONV_Y] = (size_t)a->n * (size_t)a->ho * (size_t)a->wo;
    r.cols[DMQ_CONV_X] = r.cols[DMQ_CONV_W] = (size_t)a->c;
    r.cols[DMQ_CONV_Y] = (size_t)a->k;
    r.at[DMQ_CONV_X] = pass == DMQ_CONV_BACKWARD_DATA ? NULL : (void *)a->x;
    r.at[DMQ_CONV_W] = pass == DMQ_CONV_BACKWARD_WEIGHTS ? NULL : (void *)a->w;
    r.at[DMQ_CONV_Y] = pass == DMQ_CONV_FORWARD ? NULL : (void *)a->dy;
    r.at[DMQ_CONV_BIAS] = pass == DMQ_CONV_FORWARD && !a->add ? (void *)a->bias : NULL;
    r.at[DMQ_CONV_RESULT] = pass == DMQ_CONV_FORWARD         ? a->y
                            : pass == DMQ_CONV_BACKWARD_DATA ? a->dx
                                                             : a->dw;
    return r;
}

/* A view into a block of parameters may begin at any number. */
static int alignment_of(const void *array)
{
    return (uintptr_t)array % 16 == 0 ? 16 : (uintptr_t)array % 8 == 0 ? 8 : 4;
}

dmq_conv_form dmq_cuda_conv_form(const dmq_conv2d_args *a, dmq_conv_direction pass,
                                 dmq_precision precision)
{
    arrays r = arrays_of(a, pass);
    dmq_conv_form f = { .pass = pass,
                        .precision = precision,
                        .bias = r.at[DMQ_CONV_BIAS] != NULL,
                        .add = a->add && precision != DMQ_FP16 };

    for (int k = DMQ_CONV_X; k < DMQ_CONV_TENSORS; k++)
        f.align[k] = alignment_of(r.at[k]);
    if (precision == DMQ_FP16) { /* operands lie in memory of the queue's, and what is added does */
        f.align[r.read[0]] = f.align[r.read[1]] = ALIGNED;
        f.align[DMQ_CONV_FACTOR] = sizeof(float);
        if (a->add)
            f.align[DMQ_CONV_RESULT] = ALIGNED;
    }
    return f;
}

/* ------------------------------------------------------------------ execution */

/* ENOTSUP where the library does not take what it made. */
static dmq_status execute(const dmq_conv_form *f, const dmq_engine *e, dmq_queue *q,
                          const arrays *r)
{
    int64_t id[DMQ_CONV_TENSORS];
    void *data[DMQ_CONV_TENSORS];
    cudnnBackendDescriptor_t pack = NULL;
    const dmq_cudnn *nn = NULL;
    cudnnStatus_t status;
    int64_t n = 0;
    dmq_status st = DMQ_OK;

    for (int k = DMQ_CONV_X; k < DMQ_CONV_TENSORS; k++) {
        if (r->at[k] && (k != DMQ_CONV_FACTOR || f->precision == DMQ_FP16)) {
            id[n] = k;
            data[n++] = r->at[k];
        }
    }
    DMQ_TRY(dmq_cudnn_load(&nn));
    NN(BackendCreateDescriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack));
    NN(BackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, n, id));
    NN(BackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, n,
                           data));
    NN(BackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1,
                           &q->workspace));
    NN(BackendFinalize(pack));
    status = nn->BackendExecute(q->cudnn, e->plan, pack);
    st = CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_NOT_SUPPORTED
             ? DMQ_ENOTSUP
             : dmq_cudnn_status(status, "cudnnBackendExecute");
done:
    if (pack)
        (void)nn->BackendDestroyDescriptor(pack);
    return st;
}

/* What a pass knows of an operand (conv2d.h). */
static dmq_cuda_half operand(const arrays *r, int k, const dmq_conv2d_args *a,
                             dmq_conv_direction pass)
{
    dmq_cuda_half h = {
        .array = { .x = r->at[k],
                   .batch = 1,
                   .rows = r->rows[k],
                   .cols = r->cols[k],
                   .ld = r->cols[k] },
        .same = k == DMQ_CONV_Y ? a->same_dy : a->same,
    };

    h.as = k == DMQ_CONV_Y                               ? DMQ_HALF_GRADIENT
           : pass != DMQ_CONV_FORWARD                    ? DMQ_HALF_OPERAND
           : (k == DMQ_CONV_X ? a->again_x : a->again_w) ? DMQ_HALF_KEPT
                                                         : DMQ_HALF_OPERAND;
    if (pass == DMQ_CONV_FORWARD && h.as == DMQ_HALF_OPERAND)
        h.same = 0; /* what forward reads may be new */
    return h;
}

/* Operands in half precision, and a place for the result where it is to be added. */
static dmq_status cast(arrays *r, dmq_queue *q, const dmq_conv2d_args *a, dmq_conv_direction pass,
                       size_t count)
{
    dmq_cuda_half first = operand(r, r->read[0], a, pass);
    dmq_cuda_half second = operand(r, r->read[1], a, pass);
    dmq_cuda_halves halves;
    float *result = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_cuda_halves_make(&halves, q, &first, &second, 1, 0));
    r->at[r->read[0]] = (void *)halves.a;
    r->at[r->read[1]] = (void *)halves.b;
    r->at[DMQ_CONV_FACTOR] = (void *)halves.factor;
    if (a->add) {
        DMQ_TRY(dmq_cuda_halves_result(&result, q, count * sizeof *result));
        r->at[DMQ_CONV_RESULT] = result;
    }
done:
    return st;
}

/* y += bias, over pixels */
static dmq_status add_bias(dmq_queue *q, const dmq_conv2d_args *a)
{
    return dmq_binary_forward_cuda(q, &(dmq_binary_args){ .kind = DMQ_ADD,
                                                          .p = a->y,
                                                          .q = a->bias,
                                                          .y = a->y,
                                                          .dim = { 1, a->n * a->ho * a->wo, a->k },
                                                          .stride_p = { 0, a->k, 1 },
                                                          .stride_q = { 0, 0, 1 } });
}

dmq_status dmq_cuda_conv_graph_run(const dmq_cuda_conv_graph *g, dmq_queue *q,
                                   const dmq_conv2d_args *a)
{
    const dmq_conv_form *f = &g->form;
    int made = dmq_conv_made(f->pass), halves = f->precision == DMQ_FP16;
    arrays r = arrays_of(a, f->pass);
    dmq_real *out = r.at[DMQ_CONV_RESULT];
    size_t count = r.rows[made] * r.cols[made];
    dmq_status st = DMQ_OK;

    if (halves)
        DMQ_TRY(cast(&r, q, a, f->pass, count));
    DMQ_TRY(execute(f, &g->engine, q, &r));
    if (halves && a->add) {
        DMQ_TRY(dmq_axpby_cuda(
            q, &(dmq_axpby_args){
                   .x = r.at[DMQ_CONV_RESULT], .y = out, .alpha = 1, .beta = 1, .count = count }));
    }
    if (a->add && a->bias && f->pass == DMQ_CONV_FORWARD)
        DMQ_TRY(add_bias(q, a));
done:
    return st;
}

/* ------------------------------------------------------------------ choice */

static dmq_status time_of(float *time_ms, const dmq_cuda_conv_graph *g, const dmq_engine *e,
                          dmq_queue *q, const dmq_conv_bench *b)
{
    int made = dmq_conv_made(g->form.pass);
    arrays r = { .at = { [DMQ_CONV_X] = b->x,
                         [DMQ_CONV_W] = b->w,
                         [DMQ_CONV_Y] = b->y,
                         [DMQ_CONV_FACTOR] = b->factor,
                         [DMQ_CONV_BIAS] = g->form.bias ? b->bias : NULL } };
    double began;
    dmq_status st = DMQ_OK;

    r.at[DMQ_CONV_RESULT] = r.at[made];
    r.at[made] = NULL;
    DMQ_TRY(execute(&g->form, e, q, &r));
    DMQ_TRY(dmq_cuda_sync(q));
    began = dmq_clock_seconds();
    for (int i = 0; i < REPEATS; i++)
        DMQ_TRY(execute(&g->form, e, q, &r));
    DMQ_TRY(dmq_cuda_sync(q));
    *time_ms = (float)((dmq_clock_seconds() - began) * 1000 / REPEATS);
done:
    return st;
}

/* The first that makes a plan; timed, the fastest of the first few that do. */
static dmq_status choose(dmq_cuda_conv_graph *g, float *time_ms, dmq_queue *q,
                         const dmq_engine_ask *ask, const dmq_conv2d_args *a, int timed)
{
    dmq_engine list[DMQ_ENGINES_MOST] = { { .config = NULL } };
    dmq_conv_bench bench = { .x = NULL };
    int count = 0, tried = 0, most = 1;
    dmq_status st = DMQ_OK;

    if (timed) {
        most = g->form.precision == DMQ_FP16 ? TIMED_COMPILED : TIMED;
        DMQ_TRY(dmq_conv_bench_open(&bench, q, a));
    }
    DMQ_TRY(dmq_engines_list(list, DMQ_ENGINES_MOST, &count, ask));
    for (int i = 0; i < count && tried < most; i++) {
        float ms = 0;
        int made = 0;

        DMQ_TRY(dmq_engine_plan(&list[i], &made, ask));
        if (made && timed)
            made = time_of(&ms, g, &list[i], q, &bench) == DMQ_OK;
        if (!made)
            continue;
        if (tried == 0 || ms < *time_ms) {
            dmq_engine_release(&g->engine);
            g->engine = list[i];
            list[i] = (dmq_engine){ .config = NULL };
            *time_ms = ms;
        }
        tried++;
    }
    if (tried == 0)
        st = dmq_fail(DMQ_ENOTSUP, "cuda: cuDNN has no engine for it");
done:
    for (int i = 0; i < count; i++)
        dmq_engine_release(&list[i]);
    dmq_conv_bench_close(&bench);
    return st;
}

static dmq_status take_named(dmq_cuda_conv_graph *g, const dmq_engine_ask *ask,
                             const dmq_cuda_choice *choice)
{
    dmq_engine_release(&g->engine);
    if (dmq_engine_named(&g->engine, choice->engine, ask) == DMQ_OK)
        return DMQ_OK;
    return dmq_fail(
        DMQ_EDATA,
        "cuda: cuDNN does not take engine \"%s\" for \"%s\"\n  hint: the choices are of "
        "another device or version: time them anew",
        choice->engine, choice->key);
}

/* Find an engine by the choice of the key, or make one. */
static dmq_status find_engine(dmq_cuda_conv_graph *g, dmq_queue *q, const dmq_conv2d_args *a,
                              const char *key)
{
    const dmq_engine_ask ask = { .graph = g->ops.graph,
                                 .handle = q->cudnn,
                                 .precision = g->form.precision,
                                 .workspace = q->workspace_bytes,
                                 .key = key };
    dmq_cuda_choice choice = { .algorithm = DMQ_CUDA_GRAPH };
    int timed = dmq_cuda_choices_timed() && !q->captures;
    dmq_status st = DMQ_OK;

    if (dmq_cuda_choices_find(&choice, key)) {
        return choice.algorithm == DMQ_CUDA_GRAPH
                   ? take_named(g, &ask, &choice)
                   : dmq_fail(DMQ_ENOTSUP, "cuda: the choice for \"%s\" is another way", key);
    }
    DMQ_TRY(choose(g, &choice.time_ms, q, &ask, a, timed));
    memcpy(choice.key, key, strlen(key) + 1);
    memcpy(choice.engine, g->engine.name, sizeof choice.engine);
    DMQ_TRY(dmq_cuda_choices_add(&choice));
    /* two lanes may time one shape at once: all take what came first */
    if (dmq_cuda_choices_find(&choice, key) && strcmp(choice.engine, g->engine.name) != 0)
        DMQ_TRY(take_named(g, &ask, &choice));
done:
    return st;
}

dmq_status dmq_cuda_conv_graph_create(dmq_cuda_conv_graph **out, dmq_queue *q,
                                      const dmq_conv2d_args *a, const dmq_conv_form *form,
                                      const char *key)
{
    dmq_cuda_conv_graph *g = NULL;
    dmq_status st = DMQ_OK, found;

    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&g, 1, sizeof *g));
    g->form = *form;
    found = dmq_conv_ops_make(&g->ops, q->cudnn, a, form);
    if (found == DMQ_OK)
        found = find_engine(g, q, a, key);
    if (found == DMQ_OK) {
        *out = g;
        g = NULL;
    } else if (found == DMQ_EDATA || found == DMQ_ENOMEM || found == DMQ_EIO) {
        st = found;
    } else {
        dmq_log_detail("%s: no graph: %s", key, dmq_message());
    }
done:
    dmq_cuda_conv_graph_destroy(g);
    return st;
}

void dmq_cuda_conv_graph_destroy(dmq_cuda_conv_graph *g)
{
    if (!g)
        return;
    dmq_engine_release(&g->engine);
    dmq_conv_ops_release(&g->ops);
    dmq_free(g);
}
