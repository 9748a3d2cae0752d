/**
 * The link of processes: a star of connections with rank 0 in the middle. For the files of this folder alone.
 *
 * A call: every other rank sends what it gives to rank 0 and waits for what it gets. Rank 0 keeps the roll: it sees at
 * once who closes its connection, and at the end of the time who has not come, and tells all others. They wait
 * a little longer than rank 0 does, and then it is rank 0 that has not come.
 */
#ifndef DMQ_DIST_TCP_H
#define DMQ_DIST_TCP_H

#include "dist/roll.h"
#include "dist/socket.h"

#include <poll.h>

/** Seconds that others wait longer than rank 0. */
#define DMQ_TCP_GRACE (2 * DMQ_ROLL_GRACE + 1.0)

typedef struct dmq_tcp {
    dmq_link link;
    dmq_roll roll;  /**< rank 0: of all; others: why alone */
    int *fd;        /**< rank 0: (size), its own -1; others: (1), to rank 0 */
    dmq_wire *wire; /**< as many: what is under way */
    char *turn; /**< rank 0: (size, size, turn_bytes): part r of row q is from rank r for rank q */
    size_t turn_bytes;   /**< of one part: the most of an all_to_all that goes at once */
    dmq_call last;       /**< that this rank took part in */
    dmq_call late;       /**< rank 0: what a rank waited for in vain */
    struct pollfd *poll; /**< rank 0: (size) */
    int *done;           /**< rank 0: (size): whether a rank's part of a call is done */
} dmq_tcp;

/** With all connections -1. */
dmq_status dmq_tcp_create(dmq_tcp **out, int rank, int size, double seconds);

/** Closes the connections; does not say goodbye. */
void dmq_tcp_destroy(dmq_tcp *tcp);

/** tcp_hub.c: what rank 0 does. */
dmq_status dmq_tcp_hub_call(dmq_link *link, const dmq_call *call);
dmq_status dmq_tcp_hub_watch(dmq_link *link);
dmq_status dmq_tcp_hub_late(dmq_link *link, const dmq_call *last);
void dmq_tcp_hub_tell(dmq_link *link, const char *text);
void dmq_tcp_hub_close(dmq_link *link);

#endif
