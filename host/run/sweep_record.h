/**
 * sweep.json: which tasks a sweep has, so that anybody who looks into its folder knows how many are not begun.
 *
 *   {"format": "dmq-sweep", "tasks": [{"label": "GAC W4A8", "seed": 1, "folder": "gac-w4a8-s1"}, ...]}
 *
 * Whoever runs a task writes it; all write the same.
 */
#ifndef DMQ_RUN_SWEEP_RECORD_H
#define DMQ_RUN_SWEEP_RECORD_H

#include "run/sweep.h"

typedef struct dmq_sweep_progress {
    int tasks, done, begun; /**< begun: not done, but there is a folder of it */
    int working;            /**< of these, a process of this machine works on */
    double seconds_left;    /**< tasks x mean seconds of those that are done; NaN when none is */
} dmq_sweep_progress;

dmq_status dmq_sweep_record(const dmq_sweep *sweep, const char *folder);

/** @param found  0 when the folder is none of a sweep; then out stays as it is */
dmq_status dmq_sweep_look(dmq_sweep_progress *out, int *found, const char *folder);

#endif
