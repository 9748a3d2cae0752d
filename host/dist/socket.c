#include "dist/socket.h"

#include "base/clock.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const uint32_t magic = 0x716d6431; /* also tells the byte order */

/* ------------------------------------------------------------------ frames */

void dmq_wire_begin(dmq_wire *w, dmq_frame_kind kind, const dmq_call *call, const char *label,
                    dmq_span span)
{
    memset(&w->head, 0, sizeof w->head);
    w->head.magic = magic;
    w->head.kind = (uint32_t)kind;
    if (call) {
        w->head.call = (int32_t)call->kind;
        w->head.root = call->root;
        w->head.number = call->number;
        w->head.bytes = call->bytes;
    }
    w->head.body = (uint64_t)span.parts * span.bytes;
    (void)snprintf(w->head.label, sizeof w->head.label, "%s", label ? label : "");
    w->span = span;
    w->at = 0;
}

/* Where byte `at` of the frame lies, and how many follow it there. */
static char *place(dmq_wire *w, size_t *n)
{
    size_t at;

    if (w->at < sizeof w->head) {
        *n = sizeof w->head - w->at;
        return (char *)&w->head + w->at;
    }
    at = w->at - sizeof w->head;
    if (at >= w->span.parts * w->span.bytes) {
        *n = 0;
        return NULL;
    }
    *n = w->span.bytes - at % w->span.bytes;
    return w->span.base + at / w->span.bytes * w->span.stride + at % w->span.bytes;
}

static int would_wait(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

dmq_step dmq_wire_send(dmq_wire *w)
{
    size_t n;

    for (;;) {
        char *from = place(w, &n);
        ssize_t sent;

        if (n == 0)
            return DMQ_STEP_DONE;
        sent = send(w->fd, from, n, MSG_NOSIGNAL);
        if (sent < 0)
            return would_wait() ? DMQ_STEP_WAIT : DMQ_STEP_GONE;
        w->at += (size_t)sent;
    }
}

/* Up to byte `end` of the frame. */
static dmq_step receive(dmq_wire *w, size_t end)
{
    while (w->at < end) {
        size_t n;
        char *to = place(w, &n);
        ssize_t got = recv(w->fd, to, n, 0);

        if (got < 0)
            return would_wait() ? DMQ_STEP_WAIT : DMQ_STEP_GONE;
        if (got == 0)
            return DMQ_STEP_GONE;
        w->at += (size_t)got;
    }
    return DMQ_STEP_DONE;
}

dmq_step dmq_wire_head(dmq_wire *w)
{
    dmq_step step = receive(w, sizeof w->head);

    if (step != DMQ_STEP_DONE)
        return step;
    w->head.label[sizeof w->head.label - 1] = 0;
    return w->head.magic == magic ? DMQ_STEP_DONE : DMQ_STEP_GONE;
}

dmq_step dmq_wire_body(dmq_wire *w)
{
    assert(w->span.parts * w->span.bytes == w->head.body);
    return receive(w, sizeof w->head + w->head.body);
}

/* ------------------------------------------------------------------ waiting */

/* 0 when the time is over. */
static int wait_for(int fd, short events, double end)
{
    struct pollfd p = { .fd = fd, .events = events };

    for (;;) {
        double left = end - dmq_clock_seconds();
        int found = poll(&p, 1, left <= 0 ? 0 : left > 1e6 ? -1 : (int)(left * 1e3 + 0.999));

        if (found > 0)
            return 1;
        if (left <= 0)
            return 0;
    }
}

static dmq_step until(dmq_wire *w, dmq_step (*move)(dmq_wire *), short events, double end)
{
    for (;;) {
        dmq_step step = move(w);

        if (step != DMQ_STEP_WAIT || !wait_for(w->fd, events, end))
            return step;
    }
}

dmq_step dmq_wire_send_until(dmq_wire *w, double end)
{
    return until(w, dmq_wire_send, POLLOUT, end);
}

dmq_step dmq_wire_head_until(dmq_wire *w, double end)
{
    return until(w, dmq_wire_head, POLLIN, end);
}

dmq_step dmq_wire_body_until(dmq_wire *w, double end)
{
    return until(w, dmq_wire_body, POLLIN, end);
}

dmq_step dmq_wire_text_until(dmq_wire *w, char *text, size_t room, double end)
{
    dmq_step step;

    text[0] = 0;
    if (w->head.body >= room)
        return DMQ_STEP_GONE;
    w->span = (dmq_span){ text, 1, (size_t)w->head.body, 0 };
    step = dmq_wire_body_until(w, end);
    text[step == DMQ_STEP_DONE ? w->head.body : 0] = 0;
    return step;
}

dmq_step dmq_wire_send_text(int fd, dmq_frame_kind kind, const char *text, double end)
{
    dmq_wire w = { .fd = fd };
    char copy[DMQ_PEER_TEXT];

    (void)snprintf(copy, sizeof copy, "%s", text);
    dmq_wire_begin(&w, kind, NULL, NULL, (dmq_span){ copy, 1, strlen(copy), 0 });
    return dmq_wire_send_until(&w, end);
}

int dmq_socket_readable(int fd, double end)
{
    return wait_for(fd, POLLIN, end);
}

int dmq_socket_closed(int fd)
{
    char byte;
    ssize_t got = recv(fd, &byte, 1, MSG_PEEK);

    return got == 0 || (got < 0 && !would_wait());
}

int dmq_socket_peek(int fd, dmq_frame *head)
{
    return recv(fd, head, sizeof *head, MSG_PEEK) == (ssize_t)sizeof *head;
}

/* ------------------------------------------------------------------ opening and closing */

static void prepare(int fd)
{
    int on = 1;

    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

static int port_of(int fd)
{
    struct sockaddr_storage at;
    socklen_t n = sizeof at;

    memset(&at, 0, sizeof at);
    if (getsockname(fd, (struct sockaddr *)&at, &n) != 0)
        return 0;
    if (at.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)&at)->sin6_port);
    return ntohs(((struct sockaddr_in *)&at)->sin_port);
}

dmq_status dmq_socket_listen(int *out, int *port, const char *host)
{
    struct addrinfo hints = { .ai_family = AF_INET,
                              .ai_socktype = SOCK_STREAM,
                              .ai_flags = AI_PASSIVE };
    struct addrinfo *found = NULL;
    char service[16];
    int fd = -1, on = 1, error;
    dmq_status st = DMQ_OK;

    *out = -1;
    (void)snprintf(service, sizeof service, "%d", *port);
    error = getaddrinfo(host, service, &hints, &found);
    if (error) {
        DMQ_TRY(dmq_fail(DMQ_EIO, "group: %s is no address of this machine: %s",
                         host ? host : "any", gai_strerror(error)));
    }
    fd = socket(found->ai_family, SOCK_STREAM, 0);
    if (fd >= 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, 128) != 0) {
        DMQ_TRY(dmq_fail(DMQ_EIO,
                         "group: rank 0 cannot listen on %s, port %d: %s\n"
                         "  hint: DMQ_COMM_FOLDER names a folder that all ranks see, where rank 0 "
                         "leaves its address",
                         host ? host : "any address", *port, strerror(errno)));
    }
    prepare(fd);
    *port = port_of(fd);
    *out = fd;
    fd = -1;
done:
    if (fd >= 0)
        (void)close(fd);
    if (found)
        freeaddrinfo(found);
    return st;
}

/* 0, or the error. */
static int connect_one(int fd, const struct addrinfo *to, double end)
{
    int error = 0;
    socklen_t n = sizeof error;

    if (connect(fd, to->ai_addr, to->ai_addrlen) == 0)
        return 0;
    if (errno != EINPROGRESS)
        return errno;
    if (!wait_for(fd, POLLOUT, end))
        return ETIMEDOUT;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) == 0 ? error : errno;
}

int dmq_socket_connect(const char *host, int port, double end)
{
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    struct addrinfo *found = NULL;
    char service[16];
    int error = EHOSTUNREACH, fd = -1;

    (void)snprintf(service, sizeof service, "%d", port);
    if (getaddrinfo(host, service, &hints, &found) == 0) {
        for (const struct addrinfo *to = found; to && error; to = to->ai_next) {
            fd = socket(to->ai_family, SOCK_STREAM, 0);
            if (fd < 0)
                continue;
            prepare(fd);
            error = connect_one(fd, to, end);
            if (error) {
                (void)close(fd);
                fd = -1;
            }
        }
        freeaddrinfo(found);
    }
    errno = error;
    return fd;
}

int dmq_socket_accept(int listening)
{
    int fd = accept(listening, NULL, NULL);

    if (fd >= 0)
        prepare(fd);
    return fd;
}

void dmq_socket_finish(int fd)
{
    if (fd >= 0)
        (void)shutdown(fd, SHUT_WR);
}

/* Bytes that nobody read make the system cut a connection short, and with it what was sent last. */
void dmq_socket_close(int fd)
{
    double end = dmq_clock_seconds() + 0.5;
    char rest[4096];

    if (fd < 0)
        return;
    dmq_socket_finish(fd);
    while (dmq_socket_readable(fd, end) && dmq_clock_seconds() < end) {
        if (recv(fd, rest, sizeof rest, 0) <= 0)
            break;
    }
    (void)close(fd);
}
