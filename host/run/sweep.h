/**
 * A sweep: arms (rows of a table) times seeds, each a run of its own in a folder of its own.
 *
 *   sweep.arms: ["LABEL: FILE... KEY=VALUE...", ...]     files relative to the first -c file
 *   sweep.grid: ["A: a.yaml | B: b.yaml", "W8: quant.weight.bits=8 | W4: quant.weight.bits=4"]
 *   sweep.seeds: [1, 2, 3]
 *
 * A line of the grid is a choice between arms. The grid makes an arm of every combination of one of each line:
 * its label is theirs in the order of the lines ("A W8"), and so are its files and settings, so that a later line
 * wins. The first line varies fastest: A W8, B W8, A W4, B W4. Arms of the grid follow those of sweep.arms.
 *
 *   DIR/store/            what arms share: calibration sets, full-precision images
 *   DIR/ARM-sSEED/        a run folder; ARM is the label in small letters
 *
 * Tasks are numbered arm by arm, seed by seed, so that a scheduler's array can run them in any order.
 */
#ifndef DMQ_RUN_SWEEP_H
#define DMQ_RUN_SWEEP_H

#include "base/config.h"

typedef struct dmq_task {
    const char *label;  /**< the sweep's */
    char *folder;       /**< DIR/ARM-sSEED */
    dmq_config *config; /**< of this task alone */
    int64_t seed;
} dmq_task;

typedef struct dmq_sweep {
    dmq_task *task;
    int n_tasks;
    char **label; /**< (n_arms) */
    int n_arms;
    char *store;
} dmq_sweep;

/** How many arms a configuration has; 0: it is no sweep. EINVAL when the grid cannot be read. */
dmq_status dmq_sweep_count(int *n_arms, const dmq_config *config);

/** How a configuration is made anew for every task: by the caller, who knows files and flags. */
typedef dmq_status dmq_config_maker(dmq_config **out, const void *context);

/**
 * @param base    the sweep's own configuration
 * @param near    a file that names in arms are relative to
 * @param folder  of the sweep
 */
dmq_status dmq_sweep_create(dmq_sweep **out, const dmq_config *base, const char *near,
                            const char *folder, dmq_config_maker *make, const void *context);

/** Takes NULL. */
void dmq_sweep_destroy(dmq_sweep *sweep);

#endif
