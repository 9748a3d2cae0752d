/* Captures: what is asked is noted, not done, until a graph of it is launched. */
#include "pretend/runtime.h"

#include "base/memory.h"

#include <string.h>

struct CUgraph_st {
    cudaGraph_t next;
    node **node;
    size_t n;
};

struct CUgraphExec_st {
    cudaGraphExec_t next;
    node **node;
    size_t n;
    int device, waiting; /* launches that have not run */
};

static struct {
    capture *first;
    unsigned long captures;
    cudaGraph_t graphs;
    cudaGraphExec_t execs;
} all;

/* ------------------------------------------------------------------ refusals */

cudaError_t pretend_break(capture *c, cudaError_t error)
{
    c->broken = 1;
    return error;
}

/* In a thread that captures (in any thread, beside a global capture) but for a relaxed one. */
cudaError_t pretend_refuse_unsafe(void)
{
    cudaError_t error = cudaSuccess;

    for (capture *c = all.first; c; c = c->next) {
        int mine = pthread_equal(c->thread, pthread_self());

        if (c->mode == cudaStreamCaptureModeGlobal ||
            (c->mode == cudaStreamCaptureModeThreadLocal && mine))
            error = pretend_break(c, cudaErrorStreamCaptureUnsupported);
    }
    return error;
}

cudaError_t pretend_refuse_broken(cudaStream_t stream)
{
    return stream->capture && stream->capture->broken ? cudaErrorStreamCaptureInvalidated
                                                      : cudaSuccess;
}

/* ------------------------------------------------------------------ what is asked meanwhile */

static void step_on(cudaStream_t stream)
{
    stream->reach.of[stream->member] = ++stream->capture->asked[stream->member];
}

static void reach_join(reach *r, const reach *other)
{
    for (int i = 0; i < PRETEND_MEMBERS; i++)
        r->of[i] = r->of[i] > other->of[i] ? r->of[i] : other->of[i];
}

cudaError_t pretend_capture_put(cudaStream_t stream, const pretend_work *work)
{
    capture *c = stream->capture;

    pretend_grow((void **)&c->node, &c->room, c->n, sizeof *c->node);
    c->node[c->n++] = pretend_node(work);
    step_on(stream);
    return cudaSuccess;
}

void pretend_capture_record(cudaEvent_t event, cudaStream_t stream)
{
    event->captured = stream->capture->number;
    event->reach = stream->reach;
}

static capture *capture_of(unsigned long number)
{
    for (capture *c = all.first; c; c = c->next) {
        if (c->number == number)
            return c;
    }
    return NULL;
}

static void join(capture *c, cudaStream_t stream)
{
    if (c->members == PRETEND_MEMBERS)
        pretend_die("a capture of more than %d streams", PRETEND_MEMBERS);
    stream->capture = c;
    stream->member = c->members;
    memset(&stream->reach, 0, sizeof stream->reach);
    c->member[c->members++] = stream;
}

cudaError_t pretend_capture_wait(cudaStream_t stream, cudaEvent_t event)
{
    capture *c = event->captured ? capture_of(event->captured) : NULL;

    if (!event->captured && !event->point)
        return cudaSuccess; /* never recorded: nothing to wait for */
    if (stream->capture && !event->captured)
        return pretend_break(stream->capture, cudaErrorStreamCaptureIsolation);
    if (!c)
        return cudaErrorCapturedEvent; /* of a capture that is over */
    if (stream->capture && stream->capture != c) {
        (void)pretend_break(c, cudaSuccess);
        return pretend_break(stream->capture, cudaErrorStreamCaptureMerge);
    }
    if (!stream->capture)
        join(c, stream);
    reach_join(&stream->reach, &event->reach);
    step_on(stream);
    return cudaSuccess;
}

/* ------------------------------------------------------------------ begin and end */

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode)
{
    cudaError_t error = pretend_enter("cudaStreamBeginCapture");

    if (error == cudaSuccess && stream->capture)
        error = pretend_break(stream->capture, cudaErrorIllegalState);
    if (error == cudaSuccess) {
        capture *c = pretend_room(sizeof *c);

        c->number = ++all.captures;
        c->mode = mode;
        c->thread = pthread_self();
        c->next = all.first;
        all.first = c;
        join(c, stream);
    }
    return pretend_leave(error);
}

/* What the stream that began stands behind must be all that was asked of the others. */
static int is_joined(const capture *c)
{
    const reach *r = &c->member[0]->reach;

    for (int i = 1; i < c->members; i++) {
        if (r->of[i] < c->asked[i])
            return 0;
    }
    return 1;
}

static void forget(capture *c)
{
    capture **at = &all.first;

    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    for (int i = 0; i < c->members; i++)
        c->member[i]->capture = NULL;
    for (size_t i = 0; i < c->n; i++)
        pretend_node_let_go(c->node[i]);
    dmq_free(c->node);
    dmq_free(c);
}

static cudaGraph_t graph_of(capture *c)
{
    cudaGraph_t g = pretend_room(sizeof *g);

    g->node = c->node;
    g->n = c->n;
    g->next = all.graphs;
    all.graphs = g;
    c->node = NULL;
    c->n = 0;
    return g;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out)
{
    cudaError_t error = pretend_enter("cudaStreamEndCapture");
    capture *c = stream->capture;

    *out = NULL;
    if (!c) {
        error = error == cudaSuccess ? cudaErrorIllegalState : error;
    } else if (c->member[0] != stream) {
        error = pretend_break(c, cudaErrorStreamCaptureUnmatched);
    } else if (c->mode != cudaStreamCaptureModeRelaxed &&
               !pthread_equal(c->thread, pthread_self())) {
        error = pretend_break(c, cudaErrorStreamCaptureWrongThread);
    } else {
        if (error == cudaSuccess && c->broken)
            error = cudaErrorStreamCaptureInvalidated;
        if (error == cudaSuccess && !is_joined(c))
            error = cudaErrorStreamCaptureUnjoined;
        if (error == cudaSuccess)
            *out = graph_of(c);
        forget(c);
    }
    return pretend_leave(error);
}

/* ------------------------------------------------------------------ graphs */

static void let_go_all(node **first, size_t n)
{
    for (size_t i = 0; i < n; i++)
        pretend_node_let_go(first[i]);
    dmq_free(first);
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    cudaError_t error = pretend_enter("cudaGraphDestroy");

    if (error == cudaSuccess) {
        cudaGraph_t *at = &all.graphs;

        while (*at && *at != graph)
            at = &(*at)->next;
        if (!*at)
            pretend_die("a graph is destroyed that there is not");
        *at = graph->next;
        let_go_all(graph->node, graph->n);
        dmq_free(graph);
    }
    return pretend_leave(error);
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long flags)
{
    cudaError_t error = pretend_enter("cudaGraphInstantiate");

    if (error == cudaSuccess && flags != 0)
        error = cudaErrorInvalidValue;
    if (error == cudaSuccess) {
        cudaGraphExec_t e = pretend_room(sizeof *e);

        e->node = pretend_room((graph->n + 1) * sizeof(node *));
        e->n = graph->n;
        for (size_t i = 0; i < e->n; i++) {
            e->node[i] = graph->node[i];
            e->node[i]->holders++;
        }
        e->device = pretend_device();
        e->next = all.execs;
        all.execs = e;
        *out = e;
    }
    return pretend_leave(error);
}

static cudaGraphExec_t *place_of(cudaGraphExec_t exec)
{
    cudaGraphExec_t *at = &all.execs;

    while (*at && *at != exec)
        at = &(*at)->next;
    if (!*at)
        pretend_die("a graph is launched or destroyed that there is not");
    return at;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    cudaError_t error = pretend_enter("cudaGraphExecDestroy");

    if (error == cudaSuccess) {
        cudaGraphExec_t *at = place_of(exec);

        if (exec->waiting)
            pretend_die("a graph is destroyed while a launch of it waits or runs");
        *at = exec->next;
        let_go_all(exec->node, exec->n);
        dmq_free(exec);
    }
    return pretend_leave(error);
}

cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t stream)
{
    cudaError_t error = pretend_enter("cudaGraphUpload");

    if (error == cudaSuccess && stream->device != (*place_of(exec))->device)
        error = cudaErrorInvalidResourceHandle;
    if (error == cudaSuccess)
        error = pretend_refuse_broken(stream);
    return pretend_leave(error);
}

static void run_end(void *context)
{
    cudaGraphExec_t e = context;

    e->waiting--;
}

/* Its nodes one behind the other, since one of them may have to wait. */
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    cudaError_t error = pretend_enter("cudaGraphLaunch");

    if (error == cudaSuccess && stream->device != (*place_of(exec))->device)
        error = cudaErrorInvalidResourceHandle;
    if (error == cudaSuccess && stream->capture)
        pretend_die("a graph is launched into a capture: nobody has said what that is");
    if (error == cudaSuccess) {
        exec->waiting++;
        for (size_t i = 0; i < exec->n; i++)
            pretend_put_node(stream, exec->node[i]);
        error = pretend_put(stream,
                            &(pretend_work){ .name = "a graph", .run = run_end, .context = exec });
    }
    return pretend_leave(error);
}

void pretend_graphs_left(void)
{
    size_t graphs = 0, execs = 0, captures = 0;

    for (cudaGraph_t g = all.graphs; g; g = g->next)
        graphs++;
    for (cudaGraphExec_t e = all.execs; e; e = e->next)
        execs++;
    for (capture *c = all.first; c; c = c->next)
        captures++;
    pretend_count("graphs", graphs);
    pretend_count("graphs that can be launched", execs);
    pretend_count("captures", captures);
}
