/**
 * Sockets with a time limit, and frames on them. For the files of this folder alone.
 *
 * A frame is a head and a body. Bodies come from memory and go to memory as spans: `parts` parts of `bytes` each, one
 * every `stride` bytes. Both ends are programs of one build on machines of one byte order (the greeting checks it).
 */
#ifndef DMQ_DIST_SOCKET_H
#define DMQ_DIST_SOCKET_H

#include "dist/link.h"

#include <stdint.h>

typedef enum dmq_frame_kind {
    DMQ_FRAME_HELLO = 1, /**< who comes; body: dmq_hello of meet.c */
    DMQ_FRAME_HEARD,     /**< of this job: wait for the others */
    DMQ_FRAME_WELCOME,   /**< all have come */
    DMQ_FRAME_STRANGER,  /**< of another job: try elsewhere */
    DMQ_FRAME_CALL,      /**< a rank comes to a call; body: what it gives */
    DMQ_FRAME_RESULT,    /**< body: what it gets */
    DMQ_FRAME_ASK,       /**< do you wait for your device? */
    DMQ_FRAME_LATE,      /**< I do; number: calls it was asked for */
    DMQ_FRAME_FAIL,      /**< body: the text */
    DMQ_FRAME_LEAVE      /**< in order */
} dmq_frame_kind;

typedef struct dmq_frame {
    uint32_t magic, kind;
    int32_t call, root; /**< of dmq_call */
    int64_t number;
    uint64_t bytes; /**< of dmq_call */
    uint64_t body;  /**< bytes behind the head */
    char label[DMQ_LABEL];
} dmq_frame;

typedef struct dmq_span {
    char *base;
    size_t parts, bytes, stride;
} dmq_span;

/** What a step did. */
typedef enum dmq_step {
    DMQ_STEP_GONE = -1, /**< the other end has closed, or the connection broke */
    DMQ_STEP_WAIT,      /**< no more for now */
    DMQ_STEP_DONE
} dmq_step;

/** One frame under way. */
typedef struct dmq_wire {
    int fd;
    dmq_frame head;
    dmq_span span; /**< of the body; set by the receiver when the head is here */
    size_t at;     /**< bytes moved, of head and body */
} dmq_wire;

/** Begin a frame; its body is the span. */
void dmq_wire_begin(dmq_wire *w, dmq_frame_kind kind, const dmq_call *call, const char *label,
                    dmq_span span);

/** As much as goes without waiting. */
dmq_step dmq_wire_send(dmq_wire *w);

/** Of a fresh wire (at = 0), the head; DONE also where it was here already. GONE for a head that is no frame's. */
dmq_step dmq_wire_head(dmq_wire *w);
dmq_step dmq_wire_body(dmq_wire *w);

/** The same, waiting until a time of dmq_clock_seconds; WAIT when it is over. A text of at most `room` - 1 bytes. */
dmq_step dmq_wire_send_until(dmq_wire *w, double end);
dmq_step dmq_wire_head_until(dmq_wire *w, double end);
dmq_step dmq_wire_body_until(dmq_wire *w, double end);
dmq_step dmq_wire_text_until(dmq_wire *w, char *text, size_t room, double end);

/** A frame of a text. */
dmq_step dmq_wire_send_text(int fd, dmq_frame_kind kind, const char *text, double end);

/** Whether something is to be read, bytes or the end of the connection, by a time of dmq_clock_seconds. */
int dmq_socket_readable(int fd, double end);

/** Whether it is the end that is to be read, and no byte. */
int dmq_socket_closed(int fd);

/** 1: a whole head is to be read; it is shown and stays. */
int dmq_socket_peek(int fd, dmq_frame *head);

/**
 * Listen on a port (0: any; *port says which) of a host's address; host NULL: all addresses of this machine.
 *
 * @return EIO with the reason
 */
dmq_status dmq_socket_listen(int *out, int *port, const char *host);

/** -1: nobody there, or time is over. errno says why. */
int dmq_socket_connect(const char *host, int port, double end);
int dmq_socket_accept(int listening);

/** Nothing more will be sent. Takes -1. */
void dmq_socket_finish(int fd);

/** What was sent still arrives: waits up to half a second for the other end. Takes -1. */
void dmq_socket_close(int fd);

#endif
