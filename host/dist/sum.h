/**
 * A sum over the ranks of a group, in the order of the pieces.
 *
 *   y = alpha * sum_k piece_k,  k = 0 .. n-1 ascending        on every rank
 *
 * The n pieces are what shards of fixed size gave (gradients of 8 samples, of one timestep); a deal (shard.h) says
 * which rank has which. y has the same bits for any number of ranks, either kind of deal, any room and both forms,
 * and those of sum_blocks (kernels/optim.h) over all pieces on one rank: a rank alone never adds its pieces
 * before the others', since (a + b) + (c + d) is not a + b + c + d.
 *
 *   GATHER   all ranks get all pieces, and each adds all of them: one all_gather
 *   SCATTER  rank r gets stretch r of all pieces and adds it; the sums go round: an all_to_all, an all_gather
 *
 * Bytes that a rank sends, and as many that it gets, where the devices do it by themselves (comm.h), with
 * m = the most pieces of a rank, R = ranks, C = bytes of a piece:
 *
 *   GATHER   (R - 1) m C            SCATTER  (R - 1)/R (m + 1) C
 *
 * SCATTER is never more, and takes two steps: AUTO takes GATHER for pieces below 64 KiB. Long pieces go in waves
 * of columns, so that no more than room_bytes are needed at once.
 */
#ifndef DMQ_DIST_SUM_H
#define DMQ_DIST_SUM_H

#include "dist/comm.h"
#include "dist/shard.h"

typedef enum dmq_sum_form { DMQ_SUM_AUTO, DMQ_SUM_GATHER, DMQ_SUM_SCATTER } dmq_sum_form;

typedef struct dmq_sum_config {
    dmq_deal deal;     /**< of the n pieces; its size is that of the group */
    size_t count;      /**< numbers of a piece, > 0 */
    size_t room_bytes; /**< memory of the backend that it may take; 0: 64 MiB, of a host 2 */
    dmq_sum_form form;
} dmq_sum_config;

typedef struct dmq_sum dmq_sum;

/** Takes its room; nothing is allocated later. The group must outlive it. ENOMEM when the room is too small. */
dmq_status dmq_sum_create(dmq_sum **out, dmq_comm *comm, const dmq_sum_config *config);

/** Takes NULL. No run of it is under way on a queue. */
void dmq_sum_destroy(dmq_sum *sum);

/**
 * All ranks at once, on a queue as the calls of comm.h; may be captured where they may.
 *
 * @param y      (count), memory of the backend; none of the pieces
 * @param piece  those of this rank, ascending: piece[i] is (count), item i of the deal; the row is host memory,
 *               read during the call, NULL where the rank has none
 */
dmq_status dmq_sum_run(dmq_sum *sum, dmq_queue *queue, dmq_real *y, const dmq_real *const *piece,
                       dmq_real alpha);

/** What was chosen: the form, bytes that a rank sends in one run where devices do it, waves, bytes of room. */
typedef struct dmq_sum_plan {
    dmq_sum_form form;
    double sent_bytes;
    int waves;
    size_t room_bytes;
} dmq_sum_plan;

void dmq_sum_tell(dmq_sum_plan *out, const dmq_sum *sum);

#endif
