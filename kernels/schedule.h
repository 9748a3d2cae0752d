/**
 * Numbers that change from iteration to iteration, without the host: tables with a row for every coming
 * iteration, and a counter, all on the device. An iteration then is the same sequence of passes every
 * time, which a device may record once and replay.
 *
 *   take   index_now = index[k], real_now = real[k], scalars_now = scalars[k],  k = counter[0], 0..rows-1
 *          if counter[1]: results[k - 1] = result         what the iteration before has left
 *          counter = { k + 1, 1 }
 *   keep   if counter[1]: results[k - 1] = result;  counter[1] = 0
 *
 * A take a iteration is all, and a keep behind the last one of a run, before results are read or anybody else
 * writes to result.
 */
#ifndef DMQ_KERNELS_SCHEDULE_H
#define DMQ_KERNELS_SCHEDULE_H

#include "kernels/kernel.h"
#include "kernels/optim_math.h"

/** What a step of a block's rounding reads instead of host values (adaround.h). */
typedef struct dmq_step_scalars {
    dmq_adam_step adam;            /**< of this step, by dmq_adam_begin on the host */
    dmq_real reg_weight, reg_beta; /**< of the regularizer */
} dmq_step_scalars;

enum { DMQ_SCHEDULE_COUNTERS = 2 };

typedef struct dmq_schedule_args {
    int *
        counter; /**< (DMQ_SCHEDULE_COUNTERS), zeros at first: the row to take, and whether a result is owed */
    int rows; /**< of all tables */
    /* take */
    const int *index;                /**< (rows, n_index) */
    int *index_now;                  /**< (n_index) */
    const dmq_real *real;            /**< (rows, n_real) */
    dmq_real *real_now;              /**< (n_real) */
    const dmq_step_scalars *scalars; /**< (rows); optional */
    dmq_step_scalars *scalars_now;   /**< (1) */
    int n_index, n_real;             /**< 0: none */
    /* both */
    const dmq_real *result; /**< (n_result) */
    dmq_real *results;      /**< (rows, n_result) */
    int n_result;           /**< 0: none */
} dmq_schedule_args;

dmq_status dmq_schedule_take_ref(dmq_queue *queue, const dmq_schedule_args *a);
dmq_status dmq_schedule_keep_ref(dmq_queue *queue, const dmq_schedule_args *a);

#endif
