/**
 * What is kept of a unit that was reconstructed, for the events, the table and the report.
 */
#ifndef DMQ_RUN_UNIT_LOG_H
#define DMQ_RUN_UNIT_LOG_H

#include "bilevel/learn.h"
#include "calib/calib.h"
#include "io/json.h"
#include "recon/reconstruct.h"

typedef struct dmq_unit_log {
    dmq_recon_report recon;
    int weighted; /**< sample weights were learned */
    dmq_learn_log weights;
    double spearman;                    /**< weight against alignment with held-out samples */
    int groups;                         /**< timestep groups; 0: of the temporal unit */
    int cosines;                        /**< there were validation samples to measure them on */
    double cosine_before, cosine_after; /**< mean pairwise, at the point of J and at the end */
    double cosines_before[DMQ_MAX_GROUPS * DMQ_MAX_GROUPS];
    double cosines_after[DMQ_MAX_GROUPS * DMQ_MAX_GROUPS];
    double group_loss[DMQ_MAX_GROUPS]; /**< held-out loss of each group at the end */
    int n_steps;                       /**< steps of the weight set */
    double step_weight[1024]; /**< mean weight of each step's samples, times n: 1 is uniform */
} dmq_unit_log;

/** Fill step_weight. */
void dmq_unit_log_weights(dmq_unit_log *log, const dmq_calib *calib, const int *train, int n_train,
                          const dmq_real *s, double tau);

/** What dmq_unit_log_json wrote before reconstruction: weights, groups, cosines_before. */
void dmq_unit_log_read(dmq_unit_log *log, const dmq_json *json);

/** As members of an object; times are left out if without_times, so that equal results give equal text. */
dmq_status dmq_unit_log_json(dmq_json *out, const dmq_unit_log *log, int without_times);

#endif
