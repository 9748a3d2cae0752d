/**
 * Inside libpretend.so: streams, what they hold, and the rules that its files share.
 *
 * One lock is held from pretend_enter to pretend_leave of every function, also while work runs. Work runs in
 * the thread that waits for it. When it runs is chosen by the environment variable PRETEND_ORDER:
 *
 *   late         (also without the variable) when the host waits for it, and no sooner
 *   early        when it is asked for
 *   random:SEED  at every call some of what may run; all of it when the host waits
 *
 * Other variables: PRETEND_DEVICES (1), PRETEND_TOTAL (MiB of a device, 1024), PRETEND_DRIVER (the version that
 * the driver tells), PRETEND_FAIL_<function> (that function's n-th call fails; cudaLaunchKernel is a launch).
 *
 * Where the documentation leaves freedom, the unfriendly form is taken: addresses are not given out twice,
 * a pool's free pieces are not joined, a capturing thread may wait for nothing.
 */
#ifndef DMQ_TESTS_PRETEND_RUNTIME_H
#define DMQ_TESTS_PRETEND_RUNTIME_H

#include "pretend/pretend.h"

#include <pthread.h>

enum { PRETEND_MEMBERS = 8 }; /* streams of one capture */

/* Where a stream was when an event was recorded. */
typedef struct point {
    int holders, done;
    cudaStream_t stream;
} point;

/* Work that streams and recordings share. */
typedef struct node {
    int holders;
    pretend_work work;
} node;

/* What a stream holds: work, a place to be told of, or a place of another stream to wait for. */
typedef struct op {
    struct op *next;
    node *work;
    point *mark, *await;
} op;

/* How far each member of a capture had come in what a stream or an event stands behind. */
typedef struct reach {
    size_t of[PRETEND_MEMBERS];
} reach;

typedef struct capture {
    struct capture *next;
    unsigned long number; /* of all captures */
    enum cudaStreamCaptureMode mode;
    pthread_t thread;
    int broken;
    node **node;
    size_t n, room;
    cudaStream_t member[PRETEND_MEMBERS]; /* the first began it */
    size_t asked[PRETEND_MEMBERS];        /* nodes and events of each */
    int members;
} capture;

struct CUstream_st {
    cudaStream_t next;
    op *first, *last;
    int device;
    capture *capture; /* NULL: none */
    int member;       /* of the capture */
    reach reach;
};

struct CUevent_st {
    cudaEvent_t next;
    int device;
    point *point;           /* NULL: never recorded, or in a capture */
    unsigned long captured; /* number of the capture it was recorded in; 0: none */
    reach reach;
};

/* ------------------------------------------------------------------ runtime.c */

/** Locks, and says what a function of that name returns before it does anything. */
cudaError_t pretend_enter(const char *function);

/** The lock alone: 1 takes it, 0 gives it back. */
void pretend_lock(int take);

/** Notes the error for cudaGetLastError, unlocks, gives it back. */
cudaError_t pretend_leave(cudaError_t error);

/** Zeroed; ends the program where there is none. */
void *pretend_room(size_t bytes);

/** An array that grows; n of size bytes are in it, and there is room for one more afterwards. */
void pretend_grow(void **array, size_t *room, size_t n, size_t size);

int pretend_device(void);

/** The next number of the order's own stream; 0 unless the order is random. */
unsigned pretend_chance(void);
int pretend_is_early(void);

/** Let the lock go for a moment. */
void pretend_pause(void);

/** Called with the lock held: what is left when the process ends, as text behind `*text`. */
void pretend_count(const char *what, size_t left);

/* ------------------------------------------------------------------ streams.c */

/** Put a piece of work into a stream, or into what it captures. context is dropped when this refuses. */
cudaError_t pretend_put(cudaStream_t stream, const pretend_work *work);

/** A recorded piece of work, behind what the stream has; the stream captures nothing. */
void pretend_put_node(cudaStream_t stream, node *n);

/** Do all that a stream, or every stream, holds, and what that waits for. */
void pretend_drain(cudaStream_t stream);
void pretend_drain_all(void);

/** Some of the work that may run, where the order is early or random. */
void pretend_go_on(void);

node *pretend_node(const pretend_work *work);
void pretend_node_let_go(node *n);

/** The work that runs in this thread, for messages; NULL: none. */
const char *pretend_running(void);
void pretend_run(const pretend_work *work);
void pretend_streams_left(void);

/* ------------------------------------------------------------------ capture.c */

/** What a call that captures do not allow returns: an error, and the thread's captures are broken. */
cudaError_t pretend_refuse_unsafe(void);

/** A broken capture's error for what is asked of its stream. */
cudaError_t pretend_refuse_broken(cudaStream_t stream);
cudaError_t pretend_break(capture *c, cudaError_t error);
cudaError_t pretend_capture_put(cudaStream_t stream, const pretend_work *work);
void pretend_capture_record(cudaEvent_t event, cudaStream_t stream);

/** A wait of a stream that captures, or for an event that was recorded in a capture. */
cudaError_t pretend_capture_wait(cudaStream_t stream, cudaEvent_t event);
void pretend_graphs_left(void);

/* ------------------------------------------------------------------ memory.c */

/** Before work runs: faults come here first, also where a test has set another handler since. */
void pretend_handle_faults(void);

/** Close what was opened. */
void pretend_close_all(void);

/** Give back what pools keep beyond their thresholds: when the host waits. */
void pretend_pools_trim(void);

/** 1 if [p, p + bytes) lies in living page-locked memory. */
int pretend_is_pinned(const void *p, size_t bytes);
void pretend_memory_left(void);

#endif
