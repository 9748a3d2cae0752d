/* Streams and events: what was asked, in its order, done when somebody waits for it. */
#include "pretend/runtime.h"

#include "base/memory.h"

#include <time.h>

static struct {
    cudaStream_t first;
    cudaEvent_t events;
    const char *running; /* with the lock held, so by one thread */
    pthread_t runner;
    double stuck; /* since when nothing goes on; 0: it does */
} streams;

/* ------------------------------------------------------------------ work */

const char *pretend_running(void)
{
    return streams.running && pthread_equal(streams.runner, pthread_self()) ? streams.running
                                                                            : NULL;
}

void pretend_run(const pretend_work *work)
{
    const char *outer = streams.running; /* the recording that it belongs to */

    if (!outer)
        pretend_handle_faults();
    streams.runner = pthread_self();
    streams.running = work->name;
    work->run(work->context);
    streams.running = outer;
}

node *pretend_node(const pretend_work *work)
{
    node *n = pretend_room(sizeof *n);

    n->holders = 1;
    n->work = *work;
    return n;
}

void pretend_node_let_go(node *n)
{
    if (!n || --n->holders > 0)
        return;
    if (n->work.drop)
        n->work.drop(n->work.context);
    dmq_free(n);
}

static point *point_hold(point *p)
{
    if (p)
        p->holders++;
    return p;
}

static void point_let_go(point *p)
{
    if (p && --p->holders == 0)
        dmq_free(p);
}

/* ------------------------------------------------------------------ doing it */

/* The first of a stream; 0 when it waits for another one and is not to be forced, or is not ready. */
static int step(cudaStream_t stream, int force)
{
    op *o = stream->first;

    while (o->await && !o->await->done) {
        if (!force || !step(o->await->stream, 1))
            return 0;
    }
    if (o->work && o->work->work.ready && !o->work->work.ready(o->work->work.context))
        return 0;
    streams.stuck = 0;
    stream->first = o->next;
    if (!stream->first)
        stream->last = NULL;
    if (o->work)
        pretend_run(&o->work->work);
    if (o->mark)
        o->mark->done = 1;
    pretend_node_let_go(o->work);
    point_let_go(o->mark);
    point_let_go(o->await);
    dmq_free(o);
    return 1;
}

/* A step of each stream; 0 where none could make one. */
static int step_all(void)
{
    int steps = 0;

    for (cudaStream_t s = streams.first; s; s = s->next)
        steps += s->first && step(s, 1);
    return steps > 0;
}

/* What a stream is not ready for comes from another one, from another thread or from another process. */
static void wait_for_others(cudaStream_t stream)
{
    struct timespec now;

    if (step_all())
        return;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    if (streams.stuck == 0)
        streams.stuck = (double)now.tv_sec;
    if ((double)now.tv_sec - streams.stuck > (double)pretend_wish("PATIENCE", 60))
        pretend_die("%s waits for ever",
                    stream->first->work ? stream->first->work->work.name : "a stream");
    pretend_pause();
}

void pretend_drain(cudaStream_t stream)
{
    while (stream->first) {
        if (!step(stream, 1))
            wait_for_others(stream);
    }
    pretend_close_all();
    pretend_pools_trim();
}

/* With the lock let go on the way the list may be another one. */
void pretend_drain_all(void)
{
    cudaStream_t s = streams.first;

    while (s) {
        if (s->first && !step_all())
            wait_for_others(s);
        for (s = streams.first; s && !s->first;)
            s = s->next;
    }
    pretend_close_all();
    pretend_pools_trim();
}

/* A step of the k-th stream that can make one. */
static int step_some(unsigned k)
{
    size_t n = 0;

    for (cudaStream_t s = streams.first; s; s = s->next)
        n += s->first != NULL;
    if (n == 0)
        return 0;
    k %= (unsigned)n;
    for (cudaStream_t s = streams.first; s; s = s->next) {
        if (s->first && k-- == 0)
            return step(s, 0);
    }
    return 0;
}

void pretend_go_on(void)
{
    if (pretend_is_early()) {
        while (step_all()) {
        }
        pretend_close_all();
        pretend_pools_trim();
    } else {
        for (unsigned steps = pretend_chance() % 4; steps > 0; steps--)
            (void)step_some(pretend_chance());
        pretend_close_all();
    }
}

/* ------------------------------------------------------------------ asking for it */

static op *append(cudaStream_t stream)
{
    op *o = pretend_room(sizeof *o);

    if (stream->last) {
        stream->last->next = o;
    } else {
        stream->first = o;
    }
    stream->last = o;
    return o;
}

cudaError_t pretend_put(cudaStream_t stream, const pretend_work *work)
{
    cudaError_t error;

    if (!stream)
        pretend_die("%s is asked of the legacy stream", work->name);
    error = pretend_refuse_broken(stream);
    if (error == cudaSuccess && stream->capture)
        error = pretend_capture_put(stream, work);
    else if (error == cudaSuccess)
        append(stream)->work = pretend_node(work);
    if (error != cudaSuccess && work->drop)
        work->drop(work->context);
    return error;
}

void pretend_put_node(cudaStream_t stream, node *n)
{
    n->holders++;
    append(stream)->work = n;
}

cudaError_t pretend_enqueue(cudaStream_t stream, const pretend_work *work)
{
    cudaError_t error = pretend_enter("cudaLaunchKernel");

    if (error == cudaSuccess && stream && stream->device != pretend_device())
        error = cudaErrorInvalidResourceHandle;
    if (error == cudaSuccess)
        error = pretend_put(stream, work);
    else if (work->drop)
        work->drop(work->context);
    return pretend_leave(error);
}

/* A launch, for launch.cc: an error is kept for cudaGetLastError. */
void pretend_launch(void *stream, const char *kernel, int refused, void (*run)(void *context),
                    void (*drop)(void *context), void *context);

void pretend_launch(void *stream, const char *kernel, int refused, void (*run)(void *context),
                    void (*drop)(void *context), void *context)
{
    const pretend_work work = { .name = kernel, .run = run, .drop = drop, .context = context };

    if (refused) {
        drop(context);
        (void)pretend_enter("");
        (void)pretend_leave(cudaErrorInvalidConfiguration);
    } else {
        (void)pretend_enqueue(stream, &work);
    }
}

/* ------------------------------------------------------------------ streams */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags)
{
    cudaError_t error = pretend_enter("cudaStreamCreateWithFlags");

    if (error == cudaSuccess && flags != cudaStreamNonBlocking)
        pretend_die("a stream that waits for the legacy stream: nobody has said what that is");
    if (error == cudaSuccess) {
        cudaStream_t s = pretend_room(sizeof *s);

        s->device = pretend_device();
        s->next = streams.first;
        streams.first = s;
        *out = s;
    }
    return pretend_leave(error);
}

/* At once on a device, which finishes what the stream holds; that is done here. */
cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    cudaError_t error = pretend_enter("cudaStreamDestroy");

    if (error == cudaSuccess) {
        cudaStream_t *at = &streams.first;

        if (stream->capture)
            pretend_die("a stream is destroyed that captures");
        pretend_drain(stream);
        while (*at && *at != stream)
            at = &(*at)->next;
        if (!*at)
            pretend_die("a stream is destroyed that there is not");
        *at = stream->next;
        dmq_free(stream);
    }
    return pretend_leave(error);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    cudaError_t error = pretend_enter("cudaStreamSynchronize");

    if (error == cudaSuccess && stream->capture)
        error = pretend_break(stream->capture, cudaErrorStreamCaptureUnsupported);
    if (error == cudaSuccess)
        error = pretend_refuse_unsafe();
    if (error == cudaSuccess)
        pretend_drain(stream);
    return pretend_leave(error);
}

/* Whoever asks again and again comes to the end: a step each time. "Not ready" is an error that is kept, as
   a device keeps it. */
cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    cudaError_t error = pretend_enter("cudaStreamQuery");

    if (error == cudaSuccess && stream->capture)
        error = pretend_break(stream->capture, cudaErrorStreamCaptureUnsupported);
    if (error == cudaSuccess)
        error = pretend_refuse_unsafe();
    if (error == cudaSuccess && stream->first) {
        if (!step(stream, 1))
            (void)step_all();
        pretend_close_all();
        error = cudaErrorNotReady;
    }
    return pretend_leave(error);
}

/* ------------------------------------------------------------------ events */

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags)
{
    cudaError_t error = pretend_enter("cudaEventCreateWithFlags");

    if (error == cudaSuccess && flags != cudaEventDisableTiming)
        pretend_die("an event that tells times: nobody has said which");
    if (error == cudaSuccess) {
        cudaEvent_t e = pretend_room(sizeof *e);

        e->device = pretend_device();
        e->next = streams.events;
        streams.events = e;
        *out = e;
    }
    return pretend_leave(error);
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    cudaError_t error = pretend_enter("cudaEventDestroy");

    if (error == cudaSuccess) {
        cudaEvent_t *at = &streams.events;

        while (*at && *at != event)
            at = &(*at)->next;
        if (!*at)
            pretend_die("an event is destroyed that there is not");
        *at = event->next;
        point_let_go(event->point);
        dmq_free(event);
    }
    return pretend_leave(error);
}

static void record(cudaEvent_t event, cudaStream_t stream)
{
    point *p = pretend_room(sizeof *p);

    p->holders = 2; /* the event and the stream */
    p->stream = stream;
    point_let_go(event->point);
    event->point = p;
    event->captured = 0;
    append(stream)->mark = p;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    cudaError_t error = pretend_enter("cudaEventRecord");

    if (error == cudaSuccess && event->device != stream->device)
        error = cudaErrorInvalidResourceHandle;
    if (error == cudaSuccess)
        error = pretend_refuse_broken(stream);
    if (error == cudaSuccess && stream->capture) {
        point_let_go(event->point);
        event->point = NULL;
        pretend_capture_record(event, stream);
    } else if (error == cudaSuccess) {
        record(event, stream);
    }
    return pretend_leave(error);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    cudaError_t error = pretend_enter("cudaEventSynchronize");

    if (error == cudaSuccess && event->captured)
        error = cudaErrorCapturedEvent;
    if (error == cudaSuccess)
        error = pretend_refuse_unsafe();
    if (error == cudaSuccess && event->point) {
        point *p = point_hold(event->point); /* it may be recorded anew meanwhile */

        while (!p->done) {
            if (!step(p->stream, 1))
                wait_for_others(p->stream);
        }
        point_let_go(p);
        pretend_close_all();
        pretend_pools_trim();
    }
    return pretend_leave(error);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags)
{
    cudaError_t error = pretend_enter("cudaStreamWaitEvent");

    if (error == cudaSuccess && flags != 0)
        error = cudaErrorInvalidValue;
    if (error == cudaSuccess)
        error = pretend_refuse_broken(stream);
    if (error == cudaSuccess && (stream->capture || event->captured))
        error = pretend_capture_wait(stream, event);
    else if (error == cudaSuccess && event->point && !event->point->done)
        append(stream)->await = point_hold(event->point);
    return pretend_leave(error);
}

void pretend_streams_left(void)
{
    size_t n = 0;

    /* a process keeps the stream of its allocations (cuda/device.c) */
    for (cudaStream_t s = streams.first; s; s = s->next)
        n++;
    pretend_count("streams", n > 1 ? n - 1 : 0);
    n = 0;
    for (cudaEvent_t e = streams.events; e; e = e->next)
        n++;
    pretend_count("events", n);
}
