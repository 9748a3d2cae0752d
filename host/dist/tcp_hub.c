/* Rank 0 of a group of processes: it hears all, keeps the roll, and says what becomes of a call. */
#include "base/clock.h"
#include "base/memory.h"
#include "dist/tcp.h"

#include <string.h>

static const dmq_span nothing = { NULL, 0, 0, 0 };

static dmq_tcp *tcp_of(dmq_link *link)
{
    return (dmq_tcp *)link;
}

/* All others are told why, and the group has failed. */
static dmq_status fail_all(dmq_tcp *t)
{
    for (int r = 1; r < t->link.size; r++) {
        if (t->fd[r] >= 0 && !t->roll.rank[r].gone) {
            (void)dmq_wire_send_text(t->fd[r], DMQ_FRAME_FAIL, t->roll.why,
                                     dmq_clock_seconds() + DMQ_ROLL_GRACE);
        }
    }
    return dmq_roll_failed(&t->roll);
}

static void note_call(dmq_tcp *t, int rank, const dmq_frame *f)
{
    dmq_roll_entry *e = &t->roll.rank[rank];

    e->call = (dmq_call){
        .kind = (dmq_call_kind)f->call, .root = f->root, .bytes = f->bytes, .number = f->number
    };
    memcpy(e->label, f->label, sizeof e->label);
}

/* A head that is no call: 1 where the group has failed by it. */
static int note_other(dmq_tcp *t, int rank, dmq_wire *w)
{
    dmq_roll_entry *e = &t->roll.rank[rank];
    char text[DMQ_PEER_TEXT];

    if (w->head.kind == DMQ_FRAME_LATE) {
        e->calls = w->head.number;
        memcpy(e->label, w->head.label, sizeof e->label);
        if (w->head.call != DMQ_CALL_NONE) { /* it was the first, and was not asked */
            t->late = (dmq_call){ .kind = (dmq_call_kind)w->head.call,
                                  .bytes = w->head.bytes,
                                  .number = w->head.number };
        }
        return 0;
    }
    if (w->head.kind == DMQ_FRAME_LEAVE) {
        e->gone = 1;
        return 0;
    }
    if (w->head.kind != DMQ_FRAME_FAIL ||
        dmq_wire_text_until(w, text, sizeof text, dmq_clock_seconds() + DMQ_ROLL_GRACE) !=
            DMQ_STEP_DONE) {
        (void)strcpy(text, "its connection broke");
    }
    dmq_roll_fail(&t->roll, rank, text);
    return 1;
}

/* ------------------------------------------------------------------ who waits for its device in vain */

static void ask_all(dmq_tcp *t)
{
    for (int r = 1; r < t->link.size; r++) {
        if (t->roll.rank[r].calls < 0 && !t->roll.rank[r].gone) {
            (void)dmq_wire_send_text(t->fd[r], DMQ_FRAME_ASK, "",
                                     dmq_clock_seconds() + DMQ_ROLL_GRACE);
        }
    }
}

/* Heads of those who have not answered yet; a call is an answer of another kind, and read no further. */
static void hear_answers(dmq_tcp *t, int heard[])
{
    for (int r = 1; r < t->link.size; r++) {
        dmq_wire *w = &t->wire[r];
        dmq_step step;

        if (heard[r] || t->roll.rank[r].gone || t->roll.rank[r].calls >= 0)
            continue;
        step = dmq_wire_head(w);
        if (step == DMQ_STEP_WAIT)
            continue;
        if (step == DMQ_STEP_GONE) {
            t->roll.rank[r].gone = 1;
        } else if (w->head.kind == DMQ_FRAME_CALL) {
            note_call(t, r, &w->head);
            heard[r] = 1;
        } else {
            (void)note_other(t, r, w);
            w->at = 0;
        }
    }
}

static dmq_status find_late(dmq_tcp *t, const dmq_call *last)
{
    double end = dmq_clock_seconds() + DMQ_ROLL_GRACE;
    int *heard = NULL;

    if (dmq_alloc((void **)&heard, (size_t)t->link.size, sizeof *heard) == DMQ_OK) {
        ask_all(t);
        while (!t->roll.why[0] && !dmq_roll_all_late(&t->roll) && dmq_clock_seconds() < end) {
            hear_answers(t, heard);
            (void)poll(NULL, 0, 5);
        }
    }
    dmq_free(heard);
    dmq_roll_fail_late(&t->roll, last);
    return fail_all(t);
}

dmq_status dmq_tcp_hub_late(dmq_link *link, const dmq_call *last)
{
    dmq_tcp *t = tcp_of(link);

    if (t->roll.why[0])
        return dmq_roll_failed(&t->roll);
    t->roll.rank[0].calls = link->device_calls;
    for (int r = 1; r < link->size; r++)
        t->wire[r] = (dmq_wire){ .fd = t->fd[r] };
    return find_late(t, last);
}

/* ------------------------------------------------------------------ a call: hear all */

/* Where the body of rank r goes. */
static dmq_span body_of(const dmq_tcp *t, const dmq_call *c, int r, size_t n)
{
    size_t size = (size_t)t->link.size, rank = (size_t)r;

    if (n == 0)
        return nothing;
    if (c->kind == DMQ_CALL_GATHER)
        return (dmq_span){ (char *)c->data + rank * n, 1, n, 0 };
    if (c->kind == DMQ_CALL_BROADCAST && c->root == r)
        return (dmq_span){ c->data, 1, n, 0 };
    if (c->kind == DMQ_CALL_TURN)
        return (dmq_span){ t->turn + rank * n, size, n, size * n };
    return nothing;
}

/* What rank r gets. */
static dmq_span answer_of(const dmq_tcp *t, const dmq_call *c, int r, size_t n)
{
    size_t size = (size_t)t->link.size, rank = (size_t)r;

    if (n == 0)
        return nothing;
    if (c->kind == DMQ_CALL_GATHER)
        return (dmq_span){ c->data, 1, size * n, 0 };
    if (c->kind == DMQ_CALL_BROADCAST && c->root != r)
        return (dmq_span){ c->data, 1, n, 0 };
    if (c->kind == DMQ_CALL_TURN)
        return (dmq_span){ t->turn + rank * size * n, 1, size * n, 0 };
    return nothing;
}

/* What one rank has to say just now. DONE: all of its part; GONE: the group has failed. */
static dmq_step hear(dmq_tcp *t, int r, const dmq_call *call, size_t n)
{
    dmq_wire *w = &t->wire[r];
    dmq_step step = dmq_wire_head(w);

    if (step == DMQ_STEP_DONE && w->head.kind == DMQ_FRAME_CALL) {
        note_call(t, r, &w->head);
        w->span = body_of(t, call, r, n);
        if (!dmq_call_same(&t->roll.rank[r].call, call)) {
            (void)dmq_roll_fail_different(&t->roll);
            return DMQ_STEP_GONE;
        }
        if (w->head.body != (uint64_t)w->span.parts * w->span.bytes) {
            dmq_roll_fail(&t->roll, r, "its part has another length");
            return DMQ_STEP_GONE;
        }
        step = dmq_wire_body(w);
        if (step == DMQ_STEP_GONE)
            dmq_roll_fail(&t->roll, r, "its connection broke");
        return step;
    }
    if (step == DMQ_STEP_DONE) {
        if (note_other(t, r, w))
            return DMQ_STEP_GONE;
        if (t->roll.rank[r].calls >= 0) { /* it waits for its device, and this rank does not */
            w->at = 0;
            (void)find_late(t, &t->late);
            return DMQ_STEP_GONE;
        }
        step = DMQ_STEP_GONE;
    }
    if (step == DMQ_STEP_GONE) {
        t->roll.rank[r].gone = 1;
        dmq_roll_fail_gone(&t->roll, r, 0, call);
    }
    return step;
}

/* What rank r gets, as far as it takes it just now. */
static dmq_step answer(dmq_tcp *t, int r, const dmq_call *call, size_t n)
{
    dmq_step step = dmq_wire_send(&t->wire[r]);

    (void)n;
    if (step == DMQ_STEP_GONE) {
        t->roll.rank[r].gone = 1;
        dmq_roll_fail_gone(&t->roll, r, 0, call);
    }
    return step;
}

static int milliseconds(double end)
{
    double left = end - dmq_clock_seconds();

    return left <= 0 ? 0 : left > 1e6 ? -1 : (int)(left * 1e3 + 0.999);
}

typedef dmq_step visit_fn(dmq_tcp *t, int r, const dmq_call *call, size_t n);

/* A rank that can go on. What is done is listened to no more, but for its end while others are still heard. */
static int visit(dmq_tcp *t, int r, visit_fn *fn, const dmq_call *call, size_t n)
{
    struct pollfd *p = &t->poll[r];

    if (t->done[r]) {
        p->fd = -1;
        if (dmq_socket_closed(t->fd[r])) {
            t->roll.rank[r].gone = 1;
            dmq_roll_fail_gone(&t->roll, r, 0, call);
        }
        return 0;
    }
    if (fn(t, r, call, n) != DMQ_STEP_DONE)
        return 0;
    t->done[r] = 1;
    if (p->events == POLLOUT)
        p->fd = -1;
    return 1;
}

/* Visits the ranks that can go on until all are done; the roll has a why where they are not. */
static void visit_all(dmq_tcp *t, short events, visit_fn *fn, const dmq_call *call, size_t n)
{
    double end = dmq_clock_seconds() + t->link.seconds;
    int open = t->link.size - 1;

    for (int r = 1; r < t->link.size; r++) {
        t->poll[r] = (struct pollfd){ .fd = t->fd[r], .events = events };
        t->done[r] = 0;
    }
    while (open > 0 && !t->roll.why[0]) {
        int found = poll(t->poll + 1, (nfds_t)(t->link.size - 1), milliseconds(end));

        for (int r = 1; r < t->link.size && found > 0 && !t->roll.why[0]; r++) {
            if (t->poll[r].revents)
                open -= visit(t, r, fn, call, n);
        }
        if (found > 0 || dmq_clock_seconds() < end)
            continue;
        for (int r = 1; r < t->link.size && events == POLLOUT; r++) {
            if (!t->done[r])
                dmq_roll_fail(&t->roll, r, "it does not take what it is sent");
        }
        dmq_roll_fail_missing(&t->roll, call);
    }
}

/* Rank 0's own parts of an all_to_all. */
static void turn_own(dmq_tcp *t, const dmq_call *c, size_t at, size_t n, int out)
{
    size_t size = (size_t)t->link.size;

    for (size_t q = 0; q < size && n > 0; q++) {
        if (out) {
            memcpy(t->turn + q * size * n, (const char *)c->in + q * c->bytes + at, n);
        } else {
            memcpy((char *)c->data + q * c->bytes + at, t->turn + q * n, n);
        }
    }
}

static dmq_status call_part(dmq_tcp *t, const dmq_call *call, size_t at, size_t n)
{
    for (int r = 1; r < t->link.size; r++)
        t->wire[r] = (dmq_wire){ .fd = t->fd[r] };
    if (call->kind == DMQ_CALL_TURN)
        turn_own(t, call, at, n, 1);
    visit_all(t, POLLIN, hear, call, n);
    for (int r = 1; r < t->link.size; r++)
        dmq_wire_begin(&t->wire[r], DMQ_FRAME_RESULT, call, "", answer_of(t, call, r, n));
    if (!t->roll.why[0])
        visit_all(t, POLLOUT, answer, call, n);
    if (t->roll.why[0])
        return fail_all(t);
    if (call->kind == DMQ_CALL_TURN)
        turn_own(t, call, at, n, 0);
    return DMQ_OK;
}

dmq_status dmq_tcp_hub_call(dmq_link *link, const dmq_call *call)
{
    dmq_tcp *t = tcp_of(link);
    size_t size = (size_t)link->size, at = 0;
    size_t most = call->kind == DMQ_CALL_TURN ? t->turn_bytes : call->bytes;
    dmq_status st = DMQ_OK;

    if (t->roll.why[0])
        return dmq_roll_failed(&t->roll);
    t->roll.rank[0].call = *call;
    memcpy(t->roll.rank[0].label, link->label, sizeof link->label);
    if (call->kind == DMQ_CALL_TURN && !t->turn)
        DMQ_TRY(dmq_alloc((void **)&t->turn, size * size, t->turn_bytes));
    do {
        size_t n = call->bytes - at < most ? call->bytes - at : most;

        DMQ_TRY(call_part(t, call, at, n));
        at += n;
    } while (at < call->bytes);
    t->last = *call;
done:
    return st;
}

/* ------------------------------------------------------------------ beside calls */

/* A head that is here as a whole is read, unless it is a call's, which the call will read. */
static void look(dmq_tcp *t, int r, int *late)
{
    dmq_frame head;
    dmq_wire w = { .fd = t->fd[r] };

    if (t->roll.rank[r].gone || !dmq_socket_readable(t->fd[r], 0))
        return;
    if (dmq_socket_closed(t->fd[r])) {
        t->roll.rank[r].gone = 1;
        dmq_roll_fail(&t->roll, r, "it has gone without a word");
        return;
    }
    if (!dmq_socket_peek(t->fd[r], &head) || head.kind == DMQ_FRAME_CALL)
        return;
    if (dmq_wire_head(&w) == DMQ_STEP_DONE)
        (void)note_other(t, r, &w);
    *late = *late || t->roll.rank[r].calls >= 0;
}

dmq_status dmq_tcp_hub_watch(dmq_link *link)
{
    dmq_tcp *t = tcp_of(link);
    int late = 0;

    if (t->roll.why[0])
        return dmq_roll_failed(&t->roll);
    for (int r = 1; r < link->size && !t->roll.why[0]; r++)
        look(t, r, &late);
    if (t->roll.why[0])
        return fail_all(t);
    return late ? dmq_tcp_hub_late(link, &t->late) : DMQ_OK; /* this rank waits as well */
}

void dmq_tcp_hub_tell(dmq_link *link, const char *text)
{
    dmq_tcp *t = tcp_of(link);

    if (t->roll.why[0])
        return;
    dmq_roll_fail(&t->roll, 0, text);
    (void)fail_all(t);
}

void dmq_tcp_hub_close(dmq_link *link)
{
    dmq_tcp *t = tcp_of(link);

    for (int r = 1; r < link->size && !t->roll.why[0]; r++) {
        if (!t->roll.rank[r].gone) {
            (void)dmq_wire_send_text(t->fd[r], DMQ_FRAME_LEAVE, "",
                                     dmq_clock_seconds() + DMQ_ROLL_GRACE);
        }
    }
    dmq_tcp_destroy(t);
}
