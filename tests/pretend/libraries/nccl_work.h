/**
 * What ranks of a pretended NCCL do together, as work of each rank's stream.
 *
 * A batch is what one call asks for, or all calls between GroupStart and GroupEnd of one communicator. It is three
 * pieces of work: what is for others is left on the board; when all others' is there, it is read; when all
 * others have read, the stream goes on. So a rank that calls less, or in another order, is waited for in vain.
 */
#ifndef DMQ_TESTS_NCCL_WORK_H
#define DMQ_TESTS_NCCL_WORK_H

#include "judge.h"
#include "nccl_board.h"

#include <nccl.h>
#include <stdatomic.h>

#define KIND_COMM "ncclComm_t"

enum { COMM_RANKS = 16, BATCH_OPS = 64 };

typedef enum op_kind {
    OP_ALL_REDUCE,
    OP_ALL_GATHER,
    OP_BROADCAST,
    OP_SEND,
    OP_RECV,
    OP_KINDS
} op_kind;

typedef struct op {
    op_kind kind;
    const char *call;
    const void *send;
    void *recv;
    size_t count, bytes; /* of one rank's part */
    ncclDataType_t type;
    int peer;      /* or root */
    uint64_t turn; /* of its kind with these ranks; as it runs */
} op;

/* What work knows of a communicator; it lasts as long as one of them. */
typedef struct ring {
    atomic_int holders;
    int aborted, closed;
    board board;
    uint64_t collectives, sent[COMM_RANKS], received[COMM_RANKS]; /* as they run */
} ring;

typedef struct batch {
    struct ncclComm *comm; /* before it is in a stream */
    ring *ring;
    cudaStream_t stream;
    int n, holders;
    op op[BATCH_OPS];
} batch;

struct ncclComm {
    ring *ring;
    int rank, size, device, blocking;
    int opening, failed, finalizing, finalized;
    int polls;      /* how often it is still "in progress" */
    batch *pending; /* what is put into the stream then */
    unsigned known; /* kinds of calls that have their connections */
    char last_error[128];
};

/** One who holds it less: the last takes it along. */
void ring_let_go(ring *r);

/** Put a batch into its stream, which owns it from here on. */
ncclResult_t batch_enqueue(batch *b);

#endif
