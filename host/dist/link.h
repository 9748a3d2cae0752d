/**
 * What carries the calls of a group between its ranks: bytes of host memory, a time limit, and the names of those
 * who do not come. For the files of this folder alone.
 *
 * All ranks make the same calls in the same order; a link that is told otherwise says who differs. After a failure
 * every further call fails, on every rank, with the same text.
 */
#ifndef DMQ_DIST_LINK_H
#define DMQ_DIST_LINK_H

#include "base/status.h"

#include <stddef.h>

typedef enum dmq_call_kind {
    DMQ_CALL_NONE,
    DMQ_CALL_BARRIER,
    DMQ_CALL_GATHER,    /**< data (size, bytes): part r is rank r's; its own part is in place */
    DMQ_CALL_BROADCAST, /**< data (bytes): the root's */
    DMQ_CALL_TURN       /**< data (size, bytes): part q is what rank q has at in + rank * bytes */
} dmq_call_kind;

typedef struct dmq_call {
    dmq_call_kind kind;
    int root;
    size_t bytes;
    void *data;
    const void *in;
    long number; /**< of the calls of a rank, from 1 on */
} dmq_call;

enum { DMQ_LABEL = 64, DMQ_CALL_TEXT = 192, DMQ_PEER_TEXT = 2048 };

typedef struct dmq_link dmq_link;

struct dmq_link {
    int rank, size;
    double seconds;        /**< how long a call waits for the others */
    char label[DMQ_LABEL]; /**< what the rank is at, as it says; "" */
    long device_calls;     /**< that the rank asked its device for */

    /** One call of all ranks; EPEER. What data and in hold is read by no one when it returns. */
    dmq_status (*call)(dmq_link *link, const dmq_call *call);
    /**
     * For a rank that waits for its device: EPEER when another one has failed or vanished. One that left in order is
     * missed by the next call. Does not wait.
     */
    dmq_status (*watch)(dmq_link *link);
    /**
     * For a rank that waited for its device in vain: who does not wait with it, or asked its device for fewer calls, is
     * named. Always EPEER.
     */
    dmq_status (*late)(dmq_link *link, const dmq_call *last);
    /** This rank fails, so that all others do. */
    void (*tell)(dmq_link *link, const char *text);
    /** Leaves the group; frees the link. */
    void (*close)(dmq_link *link);
};

/** "all_gather 7 of 4096 bytes (quantize down.1.0)"; the label may be "". */
void dmq_call_text(char out[DMQ_CALL_TEXT], const dmq_call *call, const char *label);

/** Whether two ranks ask for the same. */
int dmq_call_same(const dmq_call *a, const dmq_call *b);

/** The link of a group of one. */
dmq_status dmq_link_self(dmq_link **out);

#endif
