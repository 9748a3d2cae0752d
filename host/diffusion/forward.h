/**
 * The network once, on given x and t: what `dmq forward` does, and what measures by timestep need.
 *
 * In groups of as many samples as the backend's shard has, the last one padded by its first sample, each a
 * piece for the lanes; a sample always has the same group and place, so the number of lanes does not change
 * a bit.
 */
#ifndef DMQ_DIFFUSION_FORWARD_H
#define DMQ_DIFFUSION_FORWARD_H

#include "backend/lanes.h"
#include "model/hook_source.h"

typedef struct dmq_forward_args {
    const dmq_real
        *x; /**< (n, C, H, W) in the order of files, or (n, H, W, C) if nhwc; host memory */
    const dmq_real *t; /**< (n) */
    const int *step;   /**< (n) sampler steps, rows of per-step tables; NULL: 0 */
    const int *label;  /**< (n); NULL for a network without classes */
    dmq_real *out; /**< as x: the noise; a variance that the network gives behind it is left out */
    int n;
    int nhwc;
} dmq_forward_args;

/** 1 when the network makes of x and t noise of the shape of x, alone or with a variance behind it. */
int dmq_forward_fits(const dmq_model *model);

/**
 * @param model   on the device of the lanes (dmq_model_place)
 * @param source  hooks for each tape, NULL: full precision
 * @return        EDATA when x or t is not finite, or a label out of range or missing; EDIVERGE when the
 *                result is not finite; ESTOP between two groups
 */
dmq_status dmq_forward_run(const dmq_model *model, const dmq_hook_source *source, dmq_lanes *lanes,
                           const dmq_forward_args *a);

#endif
