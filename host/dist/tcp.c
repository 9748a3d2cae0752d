/* The link of processes: the ranks around rank 0. What rank 0 does is in tcp_hub.c. */
#include "dist/tcp.h"

#include "base/clock.h"
#include "base/memory.h"

#include <stdio.h>
#include <string.h>

/* Of the room of an all_to_all on rank 0. */
enum { TURN_BYTES = 8 << 20 };

static dmq_tcp *tcp_of(dmq_link *link)
{
    return (dmq_tcp *)link;
}

static dmq_status fail_text(dmq_tcp *t, const char *text)
{
    if (!t->roll.why[0])
        (void)snprintf(t->roll.why, sizeof t->roll.why, "%s", text);
    return dmq_roll_failed(&t->roll);
}

/* Rank 0 has gone, or does not answer. */
static dmq_status fail_hub(dmq_tcp *t, const dmq_call *call, const char *what)
{
    char text[DMQ_CALL_TEXT], last[DMQ_CALL_TEXT], why[DMQ_PEER_TEXT];

    dmq_call_text(text, call, t->link.label);
    dmq_call_text(last, &t->last, "");
    (void)snprintf(why, sizeof why,
                   "group: rank 0%s%s%s of %d %s, and rank %d waits for it in %s; %s%s",
                   t->roll.rank[0].where[0] ? " (" : "", t->roll.rank[0].where,
                   t->roll.rank[0].where[0] ? ")" : "", t->link.size, what, t->link.rank, text,
                   t->last.kind ? "it last took part in " : "it took part in no call",
                   t->last.kind ? last : "");
    return fail_text(t, why);
}

/* A head has come, or nothing: what it says but for a result. */
static dmq_status read_verdict(dmq_tcp *t, dmq_wire *w, dmq_step step, const dmq_call *call,
                               double end)
{
    char text[DMQ_PEER_TEXT], limit[DMQ_CLOCK_TEXT], what[64];

    if (step == DMQ_STEP_WAIT) {
        dmq_clock_duration(limit, t->link.seconds);
        (void)snprintf(what, sizeof what, "does not answer within %s", limit);
        return fail_hub(t, call, what);
    }
    if (step == DMQ_STEP_GONE || w->head.kind == DMQ_FRAME_LEAVE)
        return fail_hub(t, call, "has gone");
    if (w->head.kind == DMQ_FRAME_FAIL &&
        dmq_wire_text_until(w, text, sizeof text, end) == DMQ_STEP_DONE)
        return fail_text(t, text);
    return fail_hub(t, call, "speaks out of turn");
}

/* To the next head that is no question, which is for those who wait for their devices. */
static dmq_step next_head(dmq_wire *w, double end)
{
    for (;;) {
        dmq_step step;

        w->at = 0;
        w->span = (dmq_span){ NULL, 0, 0, 0 };
        step = dmq_wire_head_until(w, end);
        if (step != DMQ_STEP_DONE || w->head.kind != DMQ_FRAME_ASK)
            return step;
    }
}

/* What of memory goes out and comes in, `n` bytes of each part from `at` on. */
static void spans(dmq_span *out, dmq_span *in, const dmq_tcp *t, const dmq_call *c, size_t at,
                  size_t n)
{
    size_t size = (size_t)t->link.size, rank = (size_t)t->link.rank;

    *out = *in = (dmq_span){ NULL, 0, 0, 0 };
    if (n == 0)
        return;
    if (c->kind == DMQ_CALL_GATHER) {
        *out = (dmq_span){ (char *)c->data + rank * n, 1, n, 0 };
        *in = (dmq_span){ c->data, 1, size * n, 0 };
    } else if (c->kind == DMQ_CALL_BROADCAST && c->root == t->link.rank) {
        *out = (dmq_span){ c->data, 1, n, 0 };
    } else if (c->kind == DMQ_CALL_BROADCAST) {
        *in = (dmq_span){ c->data, 1, n, 0 };
    } else if (c->kind == DMQ_CALL_TURN) {
        /* memory that is only read: a wire sends from it and never writes */
        union {
            const void *in;
            char *out;
        } own = { c->in };

        *out = (dmq_span){ own.out + at, size, n, c->bytes };
        *in = (dmq_span){ (char *)c->data + at, size, n, c->bytes };
    }
}

static dmq_status call_part(dmq_tcp *t, const dmq_call *call, size_t at, size_t n)
{
    double end = dmq_clock_seconds() + t->link.seconds + DMQ_TCP_GRACE;
    dmq_wire *w = t->wire;
    dmq_span out, in;
    dmq_step step = DMQ_STEP_WAIT;

    spans(&out, &in, t, call, at, n);
    dmq_wire_begin(w, DMQ_FRAME_CALL, call, t->link.label, out);
    /* rank 0 speaks before it has heard all only to say that the group has failed */
    while (step == DMQ_STEP_WAIT && dmq_clock_seconds() < end && !dmq_socket_readable(w->fd, 0))
        step = dmq_wire_send_until(w, dmq_clock_seconds() + 0.05);
    step = next_head(w, end);
    if (step != DMQ_STEP_DONE || w->head.kind != DMQ_FRAME_RESULT)
        return read_verdict(t, w, step, call, end);
    if (w->head.body != (uint64_t)in.parts * in.bytes)
        return fail_hub(t, call, "answers another call");
    w->span = in;
    step = dmq_wire_body_until(w, end);
    return step == DMQ_STEP_DONE ? DMQ_OK : read_verdict(t, w, step, call, end);
}

static dmq_status tcp_call(dmq_link *link, const dmq_call *call)
{
    dmq_tcp *t = tcp_of(link);
    size_t most = call->kind == DMQ_CALL_TURN ? t->turn_bytes : call->bytes, at = 0;
    dmq_status st = DMQ_OK;

    if (t->roll.why[0])
        return dmq_roll_failed(&t->roll);
    do {
        size_t n = call->bytes - at < most ? call->bytes - at : most;

        DMQ_TRY(call_part(t, call, at, n));
        at += n;
    } while (at < call->bytes);
    t->last = *call;
done:
    return st;
}

/* What rank 0 says while this rank waits for its device; a question is answered. */
static dmq_status tcp_watch(dmq_link *link)
{
    static const dmq_call none = { .kind = DMQ_CALL_NONE };
    dmq_tcp *t = tcp_of(link);
    dmq_wire *w = t->wire, late = { .fd = t->fd[0] };
    dmq_call calls = { .number = link->device_calls };

    if (t->roll.why[0])
        return dmq_roll_failed(&t->roll);
    while (!t->roll.rank[0].gone && dmq_socket_readable(w->fd, 0)) {
        double end = dmq_clock_seconds() + DMQ_ROLL_GRACE;
        dmq_step step;

        w->at = 0;
        step = dmq_wire_head_until(w, end);
        if (step == DMQ_STEP_DONE && w->head.kind == DMQ_FRAME_LEAVE) {
            t->roll.rank[0].gone = 1; /* the next call will miss it */
        } else if (step == DMQ_STEP_DONE && w->head.kind == DMQ_FRAME_ASK) {
            dmq_wire_begin(&late, DMQ_FRAME_LATE, &calls, link->label, (dmq_span){ NULL, 0, 0, 0 });
            (void)dmq_wire_send_until(&late, end);
        } else {
            return read_verdict(t, w, step, &none, end);
        }
    }
    return DMQ_OK;
}

static dmq_status tcp_late(dmq_link *link, const dmq_call *last)
{
    dmq_tcp *t = tcp_of(link);
    double end = dmq_clock_seconds() + DMQ_TCP_GRACE;
    dmq_wire *w = t->wire;
    dmq_call calls = *last;
    dmq_step step;

    if (t->roll.why[0])
        return dmq_roll_failed(&t->roll);
    calls.number = t->link.device_calls;
    dmq_wire_begin(w, DMQ_FRAME_LATE, &calls, t->link.label, (dmq_span){ NULL, 0, 0, 0 });
    (void)dmq_wire_send_until(w, end);
    step = next_head(w, end);
    return read_verdict(t, w, step, last, end);
}

static void tcp_tell(dmq_link *link, const char *text)
{
    dmq_tcp *t = tcp_of(link);

    if (t->roll.why[0])
        return;
    (void)dmq_wire_send_text(t->fd[0], DMQ_FRAME_FAIL, text, dmq_clock_seconds() + DMQ_ROLL_GRACE);
    (void)fail_text(t, text);
}

static void tcp_close(dmq_link *link)
{
    dmq_tcp *t = tcp_of(link);

    if (!t->roll.why[0]) {
        (void)dmq_wire_send_text(t->fd[0], DMQ_FRAME_LEAVE, "",
                                 dmq_clock_seconds() + DMQ_ROLL_GRACE);
    }
    dmq_tcp_destroy(t);
}

dmq_status dmq_tcp_create(dmq_tcp **out, int rank, int size, double seconds)
{
    size_t lines = rank == 0 ? (size_t)size : 1;
    dmq_tcp *t = NULL;
    dmq_status st = DMQ_OK;

    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&t, 1, sizeof *t));
    t->link = (dmq_link){ .rank = rank,
                          .size = size,
                          .seconds = seconds,
                          .call = rank ? tcp_call : dmq_tcp_hub_call,
                          .watch = rank ? tcp_watch : dmq_tcp_hub_watch,
                          .late = rank ? tcp_late : dmq_tcp_hub_late,
                          .tell = rank ? tcp_tell : dmq_tcp_hub_tell,
                          .close = rank ? tcp_close : dmq_tcp_hub_close };
    t->turn_bytes = (size_t)TURN_BYTES / (size_t)size / (size_t)size;
    t->turn_bytes = t->turn_bytes < 1024 ? 1024 : t->turn_bytes;
    DMQ_TRY(dmq_alloc((void **)&t->fd, lines, sizeof *t->fd));
    for (size_t i = 0; i < lines; i++)
        t->fd[i] = -1;
    DMQ_TRY(dmq_alloc((void **)&t->wire, lines, sizeof *t->wire));
    DMQ_TRY(dmq_alloc((void **)&t->poll, lines, sizeof *t->poll));
    DMQ_TRY(dmq_alloc((void **)&t->done, lines, sizeof *t->done));
    DMQ_TRY(dmq_roll_create(&t->roll, size, seconds));
    *out = t;
    t = NULL;
done:
    dmq_tcp_destroy(t);
    return st;
}

void dmq_tcp_destroy(dmq_tcp *t)
{
    int lines;

    if (!t)
        return;
    lines = t->link.rank == 0 ? t->link.size : 1;
    for (int i = 0; t->fd && i < lines; i++) /* all at once, before one is waited for */
        dmq_socket_finish(t->fd[i]);
    for (int i = 0; t->fd && i < lines; i++)
        dmq_socket_close(t->fd[i]);
    dmq_roll_release(&t->roll);
    dmq_free(t->turn);
    dmq_free(t->done);
    dmq_free(t->poll);
    dmq_free(t->wire);
    dmq_free(t->fd);
    dmq_free(t);
}
