/**
 * The roll of a group: what each rank last took part in, and the words for those who are missing. For the links of
 * this folder; who keeps it sees all ranks (shared memory, or rank 0).
 */
#ifndef DMQ_DIST_ROLL_H
#define DMQ_DIST_ROLL_H

#include "dist/link.h"

/** Seconds in which those answer that wait for their devices, once one has waited in vain. */
#define DMQ_ROLL_GRACE 1.0

typedef struct dmq_roll_entry {
    dmq_call call; /**< the last it came with; its pointers may be dead */
    char label[DMQ_LABEL];
    char where[96]; /**< "node01, process 4711"; "": a thread of this process */
    long calls;     /**< of its device, as it said when it waited in vain; -1: it does not wait */
    int joined, gone;
} dmq_roll_entry;

typedef struct dmq_roll {
    int size;
    double seconds;          /**< limit of a call */
    dmq_roll_entry *rank;    /**< (size) */
    char why[DMQ_PEER_TEXT]; /**< of the first failure; "": there was none */
} dmq_roll;

dmq_status dmq_roll_create(dmq_roll *roll, int size, double seconds);
void dmq_roll_release(dmq_roll *roll);

/** The first rank that has left and did not come to call `number`; -1: none. */
int dmq_roll_gone(const dmq_roll *roll, long number);

/** Whether all have come to it. */
int dmq_roll_all(const dmq_roll *roll, long number);

/** Whether all wait for their devices in vain. */
int dmq_roll_all_late(const dmq_roll *roll);

/* Each sets why, unless there is one. waits: the rank that speaks; call: what it came with. */
void dmq_roll_fail(dmq_roll *roll, int rank, const char *text);
void dmq_roll_fail_gone(dmq_roll *roll, int rank, int waits, const dmq_call *call);
void dmq_roll_fail_missing(dmq_roll *roll, const dmq_call *call);
void dmq_roll_fail_absent(dmq_roll *roll);
void dmq_roll_fail_late(dmq_roll *roll, const dmq_call *call);

/** The same where ranks have come with different calls; 1 where they have. */
int dmq_roll_fail_different(dmq_roll *roll);

/** EPEER with why. */
dmq_status dmq_roll_failed(const dmq_roll *roll);

#endif
