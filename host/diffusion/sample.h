/**
 * Images from a model.
 *
 *   x = noise(seed, DMQ_FOR_LATENT, image)
 *   for each step i: x = r_i x + c_i eps(x, t_i) + sigma_i noise(seed, DMQ_FOR_SAMPLER, image, i)
 *                    or another move of diffusion/sampler.h
 *
 * Images are computed in groups of g, the backend's shard (8 on a CPU), image n always in group n/g at place
 * n%g, so no lane count, no cut of a job into ranges and no number of images asked for at once changes a
 * bit of any image; a range that cuts a group computes the whole group and keeps its part.
 *
 * Time embeddings depend on the step alone: the temporal unit runs once for all steps, as one batch whose
 * row is the step, and the groups look their row up. The index of rows is also what per-step tables of
 * quantizers are keyed by (model/hook_source.h). A network that knows classes makes its embeddings with
 * every pass instead: they are a small part of it, while tables of all (step, label) may be many times its
 * size.
 *
 * A step between equal times (quad spacing has them) leaves x as it is; the network is then not called,
 * unless somebody watches.
 *
 * Between the first state and the image no number comes from the host (diffusion/moves.h). A device that can
 * record (capture_begin of backend.h), with one lane and nobody who watches, records a call of the network
 * with the move after it once, and replays it for all calls of all groups.
 */
#ifndef DMQ_DIFFUSION_SAMPLE_H
#define DMQ_DIFFUSION_SAMPLE_H

#include "backend/lanes.h"
#include "diffusion/sampler.h"
#include "model/hook_source.h"

#include <stdint.h>

typedef struct dmq_sample dmq_sample;

/** What can be looked at on the way. Called from the threads of the lanes, images in any order. */
typedef struct dmq_sample_watch {
    void *context;
    /**
     * After the network ran and before x moves; may be NULL. x: (group, H, W, C) of images first,
     * first + 1, ..., device memory; some of them may lie outside of the range asked for. eps: what the
     * network said of them, with guidance of both branches (diffusion/sampler.h).
     */
    dmq_status (*step)(void *context, dmq_queue *queue, int step, uint64_t first, const dmq_real *x,
                       const dmq_real *eps);
    /** After images [first, first + n) of the range are done, for progress; may be NULL. */
    void (*done)(void *context, uint64_t first, int n);
} dmq_sample_watch;

/**
 * Record one tape a lane.
 *
 * @param source   hooks for each tape, NULL: full precision
 * @param model, sampler, lanes  must outlive the result; parameters, on the device of the lanes
 *                               (dmq_model_place), may change between runs
 */
dmq_status dmq_sample_create(dmq_sample **out, const dmq_model *model, const dmq_sampler *sampler,
                             const dmq_hook_source *source, dmq_lanes *lanes);

/** Takes NULL. */
void dmq_sample_destroy(dmq_sample *sample);

/**
 * Images first .. first + count - 1.
 *
 * @param out    (count, H, W, C) host memory
 * @param label  (count) of each image; NULL for a network without classes
 * @param watch  NULL: nobody watches
 * @return       EDIVERGE when an image is not finite (its number is told); ESTOP on a signal
 */
dmq_status dmq_sample_run(dmq_sample *sample, dmq_real *out, uint64_t seed, uint64_t first,
                          uint64_t count, const int *label, const dmq_sample_watch *watch);

/** Bytes of all tapes. */
size_t dmq_sample_bytes(const dmq_sample *sample);

#endif
