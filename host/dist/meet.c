#include "dist/meet.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "dist/comm_inner.h"
#include "dist/meet_file.h"
#include "dist/tcp.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Who comes to rank 0. Texts are ended by a zero. */
typedef struct hello {
    int32_t rank, size;
    char job[64], word[64], secret[DMQ_MEET_SECRET], where[96];
} hello;

enum {
    HELLO_SECONDS = 3, /* for one that connects and says nothing: others wait */
    HEARD_SECONDS = 30 /* for a rank 0 that has others to greet first */
};

static dmq_span span_of(void *memory, size_t bytes)
{
    return (dmq_span){ memory, 1, bytes, 0 };
}

static void fill_hello(hello *h, const dmq_meet *m, const char *word, const char *secret)
{
    char host[64] = "";

    memset(h, 0, sizeof *h);
    (void)gethostname(host, sizeof host - 1);
    h->rank = m->rank;
    h->size = m->size;
    (void)snprintf(h->job, sizeof h->job, "%s", m->job);
    (void)snprintf(h->word, sizeof h->word, "%s", word ? word : "");
    (void)snprintf(h->secret, sizeof h->secret, "%s", secret);
    (void)snprintf(h->where, sizeof h->where, "%s, process %ld", host, (long)getpid());
}

/* ------------------------------------------------------------------ rank 0 */

static int is_ours(const hello *h, const hello *own)
{
    return strcmp(h->job, own->job) == 0 && strcmp(h->word, own->word) == 0 &&
           strcmp(h->secret, own->secret) == 0;
}

/* One that has said who it is: 1 where it is a rank that was waited for. The roll has a why where it cannot be. */
static int take_in(dmq_tcp *t, int fd, const hello *h)
{
    char why[512];
    int rank = h->rank;

    if (h->size != t->link.size || rank < 1 || rank >= t->link.size) {
        (void)snprintf(why, sizeof why,
                       "group: %s is rank %d of %d, and rank 0 (%s) has %d ranks\n"
                       "  hint: all ranks are started at once, by one command",
                       h->where, rank, h->size, t->roll.rank[0].where, t->link.size);
        (void)snprintf(t->roll.why, sizeof t->roll.why, "%s", why);
        return 0;
    }
    if (t->roll.rank[rank].joined) {
        (void)snprintf(t->roll.why, sizeof t->roll.why,
                       "group: two processes are rank %d: %s and %s", rank,
                       t->roll.rank[rank].where, h->where);
        return 0;
    }
    t->fd[rank] = fd;
    t->roll.rank[rank].joined = 1;
    (void)snprintf(t->roll.rank[rank].where, sizeof t->roll.rank[rank].where, "%s", h->where);
    return 1;
}

/* Whoever connects: a rank, a stranger, or nobody of ours at all. */
static void greet(dmq_tcp *t, int fd, const hello *own, int *open)
{
    double end = dmq_clock_seconds() + HELLO_SECONDS;
    dmq_wire w = { .fd = fd };
    hello h;

    if (dmq_wire_head_until(&w, end) != DMQ_STEP_DONE || w.head.kind != DMQ_FRAME_HELLO ||
        w.head.body != sizeof h) {
        dmq_socket_close(fd);
        return;
    }
    w.span = span_of(&h, sizeof h);
    if (dmq_wire_body_until(&w, end) != DMQ_STEP_DONE) {
        dmq_socket_close(fd);
        return;
    }
    h.job[sizeof h.job - 1] = h.word[sizeof h.word - 1] = h.secret[sizeof h.secret - 1] = 0;
    h.where[sizeof h.where - 1] = 0;
    if (!is_ours(&h, own)) {
        dmq_log_detail("group: %s knocked, and is of another job", h.where);
        (void)dmq_wire_send_text(fd, DMQ_FRAME_STRANGER, "", end);
        dmq_socket_close(fd);
        return;
    }
    (*open)--;
    if (!t->roll.why[0] && take_in(t, fd, &h)) {
        (void)dmq_wire_send_text(fd, DMQ_FRAME_HEARD, "", end);
    } else {
        (void)dmq_wire_send_text(fd, DMQ_FRAME_FAIL, t->roll.why, end);
        dmq_socket_close(fd);
    }
}

static void look_after_joined(dmq_tcp *t)
{
    for (int r = 1; r < t->link.size; r++) {
        if (t->fd[r] >= 0 && dmq_socket_closed(t->fd[r]))
            dmq_roll_fail(&t->roll, r, "it has gone before all had come");
    }
}

static dmq_status fail_joined(dmq_tcp *t)
{
    for (int r = 1; r < t->link.size; r++) {
        if (t->fd[r] >= 0) {
            (void)dmq_wire_send_text(t->fd[r], DMQ_FRAME_FAIL, t->roll.why,
                                     dmq_clock_seconds() + DMQ_ROLL_GRACE);
        }
    }
    return dmq_roll_failed(&t->roll);
}

/* Until all ranks are here; then they are told. Where it cannot be, those who come a little later are told as well. */
static dmq_status gather(dmq_tcp *t, int listening, const hello *own)
{
    double end = dmq_clock_seconds() + t->link.seconds, now = 0;
    int open = t->link.size - 1, failed = 0;

    while (open > 0 && now < end) {
        now = dmq_clock_seconds();
        if (dmq_socket_readable(listening, now + 0.2 < end ? now + 0.2 : end)) {
            int fd = dmq_socket_accept(listening);

            if (fd >= 0)
                greet(t, fd, own, &open);
        }
        look_after_joined(t);
        if (t->roll.why[0] && !failed) {
            failed = 1;
            end = now + DMQ_ROLL_GRACE;
        }
    }
    if (open > 0 && !failed)
        dmq_roll_fail_absent(&t->roll);
    for (int r = 1; r < t->link.size && !t->roll.why[0]; r++) {
        if (dmq_wire_send_text(t->fd[r], DMQ_FRAME_WELCOME, own->where,
                               dmq_clock_seconds() + DMQ_ROLL_GRACE) != DMQ_STEP_DONE)
            dmq_roll_fail(&t->roll, r, "it has gone before all had come");
    }
    return t->roll.why[0] ? fail_joined(t) : DMQ_OK;
}

static dmq_status be_hub(dmq_tcp *t, const dmq_meet *m, const char *path, const char *word)
{
    dmq_meet_address at = { .port = m->port };
    hello h;
    dmq_status st = DMQ_OK;
    int listening = -1;

    DMQ_TRY(dmq_socket_listen(&listening, &at.port, m->local ? "127.0.0.1" : NULL));
    if (path) {
        DMQ_TRY(dmq_meet_file_fill(&at, m));
        DMQ_TRY(dmq_meet_file_write(path, &at));
    }
    fill_hello(&h, m, word, at.secret);
    t->roll.rank[0].joined = 1;
    memcpy(t->roll.rank[0].where, h.where, sizeof h.where);
    st = gather(t, listening, &h);
done:
    if (listening >= 0)
        (void)close(listening);
    if (path && at.secret[0])
        (void)unlink(path);
    return st;
}

/* ------------------------------------------------------------------ the others */

/* How far one has come, for the message at the end of the time. */
typedef struct search {
    char saw[512];
    double end;
} search;

/* What rank 0 says at last: 1 where this rank is in. */
static int hear_verdict(dmq_tcp *t, search *s, dmq_wire *w, dmq_step step)
{
    char text[DMQ_PEER_TEXT];

    if (step == DMQ_STEP_DONE && w->head.kind == DMQ_FRAME_STRANGER) {
        (void)snprintf(s->saw + strlen(s->saw), sizeof s->saw - strlen(s->saw),
                       " is of another job or start");
        return 0;
    }
    if (step != DMQ_STEP_DONE ||
        dmq_wire_text_until(w, text, sizeof text, s->end + DMQ_TCP_GRACE) != DMQ_STEP_DONE) {
        (void)snprintf(s->saw + strlen(s->saw), sizeof s->saw - strlen(s->saw),
                       step == DMQ_STEP_WAIT ? " says nothing" : " has closed the connection");
        return 0;
    }
    if (w->head.kind == DMQ_FRAME_WELCOME) {
        (void)snprintf(t->roll.rank[0].where, sizeof t->roll.rank[0].where, "%.90s", text);
        return 1;
    }
    (void)snprintf(t->roll.why, sizeof t->roll.why, "%s", text);
    return 0;
}

/* 1: in; 0: not there, look again; the roll has a why where it is told so. */
static int knock(dmq_tcp *t, search *s, const dmq_meet_address *at, hello *h)
{
    double heard = dmq_clock_seconds() + HEARD_SECONDS;
    dmq_wire w = { .fd = dmq_socket_connect(at->host, at->port, s->end) };
    dmq_step step;

    if (w.fd < 0) {
        (void)snprintf(s->saw, sizeof s->saw, "%.200s, port %d: %s", at->host, at->port,
                       strerror(errno));
        return 0;
    }
    (void)snprintf(s->saw, sizeof s->saw, "%.200s, port %d, which", at->host, at->port);
    dmq_wire_begin(&w, DMQ_FRAME_HELLO, NULL, NULL, span_of(h, sizeof *h));
    step = dmq_wire_send_until(&w, s->end);
    w.at = 0;
    if (step == DMQ_STEP_DONE)
        step = dmq_wire_head_until(&w, heard < s->end ? heard : s->end + DMQ_TCP_GRACE);
    if (step == DMQ_STEP_DONE && w.head.kind == DMQ_FRAME_HEARD) {
        w.at = 0;
        step = dmq_wire_head_until(&w, s->end + DMQ_TCP_GRACE);
    }
    if (hear_verdict(t, s, &w, step)) {
        t->fd[0] = t->wire[0].fd = w.fd;
        return 1;
    }
    dmq_socket_close(w.fd);
    return 0;
}

static dmq_status find_hub(dmq_tcp *t, const dmq_meet *m, const char *path, const char *word)
{
    dmq_meet_address at = { .port = m->port };
    search s = { .saw = "", .end = dmq_clock_seconds() + t->link.seconds };
    char why[512] = ""; /* the file will not do; who was seen once says more */
    long pause_us = 20000;
    hello h;

    (void)snprintf(at.host, sizeof at.host, "%s", m->local ? "127.0.0.1" : m->host);
    while (!t->roll.why[0]) {
        if (!path || dmq_meet_file_read(&at, path, m, why, sizeof why)) {
            fill_hello(&h, m, word, at.secret);
            if (knock(t, &s, &at, &h))
                return DMQ_OK;
        }
        if (!t->roll.why[0] && dmq_clock_seconds() > s.end) {
            char limit[DMQ_CLOCK_TEXT];

            dmq_clock_duration(limit, t->link.seconds);
            return dmq_fail(DMQ_EPEER, "group: rank %d of %d found no rank 0 within %s\n  at %s",
                            m->rank, m->size, limit, s.saw[0] ? s.saw : why);
        }
        (void)nanosleep(&(struct timespec){ 0, pause_us * 1000 }, NULL);
        pause_us = pause_us < 500000 ? pause_us * 3 / 2 : pause_us;
    }
    return dmq_roll_failed(&t->roll);
}

/* ------------------------------------------------------------------ both */

dmq_status dmq_comm_meet(dmq_comm **out, const dmq_meet *m, const char *folder, const char *word,
                         const dmq_comm_config *config)
{
    dmq_tcp *t = NULL;
    char *path = NULL;
    dmq_status st = DMQ_OK;
    double seconds = 0;

    *out = NULL;
    if (m->size == 1)
        return dmq_comm_self(out, config);
    if (m->folder[0])
        folder = m->folder;
    if (!folder && !m->host[0]) {
        return dmq_fail(
            DMQ_EINVAL,
            "group: rank %d of %d (%s) knows no place to meet the others\n"
            "  hint: set DMQ_COMM_FOLDER to a folder that all ranks see, or MASTER_ADDR "
            "and MASTER_PORT",
            m->rank, m->size, m->by);
    }
    DMQ_TRY(dmq_comm_seconds(&seconds, config));
    if (!m->host[0] || m->folder[0])
        DMQ_TRY(dmq_meet_file_name(&path, folder, m));
    DMQ_TRY(dmq_tcp_create(&t, m->rank, m->size, seconds));
    DMQ_TRY(m->rank == 0 ? be_hub(t, m, path, word) : find_hub(t, m, path, word));
    st = dmq_comm_create(out, &t->link, config);
    t = NULL; /* the group's, also where it failed */
done:
    dmq_tcp_destroy(t);
    dmq_free(path);
    return st;
}
