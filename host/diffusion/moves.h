/**
 * The moves of a sampler on a device: all numbers of all calls of the network in tables there, a counter
 * that walks through them, and what a trajectory keeps from call to call.
 *
 *   dmq_moves_create(&moves, sampler, be, group, image, eps_channels)      tables for all lanes
 *   dmq_moves_set(moves, queue, 0)                                         rows of the calls that are made
 *   dmq_mover_init(&mover, moves)                                          one a lane
 *   dmq_mover_begin(&mover, queue, x, &start)                              x = noise, counter = 0
 *   for (...) {
 *       dmq_mover_take(&mover, queue)                                      mover.row, mover.t: of the call
 *       ... the network: eps from x ...
 *       dmq_mover_move(&mover, queue, x, eps)                              x of the next call
 *   }
 *
 * With guidance the network's batch is joined: `places` = 2 group rows, the trajectories twice, where x,
 * eps, row and t go through all of them; the sampler's two halves of x stay the same.
 *
 * Between begin and the end no number comes from the host: take, network and move are the same passes every
 * time, which a device may record once and replay.
 */
#ifndef DMQ_DIFFUSION_MOVES_H
#define DMQ_DIFFUSION_MOVES_H

#include "backend/mirror.h"
#include "diffusion/sampler.h"
#include "model/model.h"

typedef struct dmq_moves {
    const dmq_sampler *sampler;
    const dmq_backend *be;
    int group;        /**< trajectories of a pass */
    int places;       /**< rows of a pass of the network: group, or 2 group with guidance */
    dmq_shape image;  /**< (1, H, W, C) */
    int eps_channels; /**< of what the network says */
    int noisy;        /**< 1: some call draws noise */
    int rows;         /**< calls that are made, as dmq_moves_set said */
    int *call;        /**< (rows) their indices */
    int *index; /**< (rows, places + 3): index of the call for every row, and for the noise; keep */
    dmq_real *real; /**< (rows) a dmq_sampler_coef, and t for every place */
    dmq_mirror index_place, real_place;
} dmq_moves;

/** Of a lane; all backend memory. */
typedef struct dmq_mover {
    const dmq_moves *moves;
    int *counter;
    int *row; /**< (places + 3) the row under way; the first `places` look up tables of steps */
    dmq_real *real;   /**< (1) of the table, the row under way */
    dmq_real *t;      /**< (places) in it: for networks that are fed t itself */
    dmq_real *z;      /**< (group, H, W, C); NULL: no noise */
    dmq_real *slots;  /**< (DMQ_SAMPLER_SLOTS, group, H, W, C); NULL: nothing is kept */
    uint64_t *sample; /**< (group) numbers of the trajectories */
    uint64_t seed;
    dmq_purpose purpose;
} dmq_mover;

/** Where trajectories begin. */
typedef struct dmq_start {
    uint64_t seed, first;      /**< trajectories first, first + 1, ... */
    dmq_purpose latent, noise; /**< streams of the first state and of the noise of the moves */
} dmq_start;

/**
 * sampler and backend must outlive the result.
 *
 * @param eps_channels  as many as the image has, or twice as many: noise and variance
 * @return              EDATA when they are other ones, or too few for a learned variance or the guidance
 */
dmq_status dmq_moves_create(dmq_moves **out, const dmq_sampler *sampler, const dmq_backend *be,
                            int group, dmq_shape image, int eps_channels);
/** Takes NULL. */
void dmq_moves_destroy(dmq_moves *moves);

/** Calls of a trajectory that nobody watches: those after which x is another. */
int dmq_moves_count(const dmq_sampler *sampler);

/** Rows for all calls, or (all = 0) for those alone after which x is another; visible after a sync. */
dmq_status dmq_moves_set(dmq_moves *moves, dmq_queue *queue, int all);

/** EDATA when the sampler guides and the network has no label for no class. */
dmq_status dmq_moves_check_model(const dmq_sampler *sampler, const dmq_model *model);

dmq_status dmq_mover_init(dmq_mover *out, const dmq_moves *moves);
/** Takes all zeros. */
void dmq_mover_release(dmq_mover *mover);

/** x: (places, H, W, C). */
dmq_status dmq_mover_begin(dmq_mover *mover, dmq_queue *queue, dmq_real *x, const dmq_start *start);
dmq_status dmq_mover_take(const dmq_mover *mover, dmq_queue *queue);

/** Whether row `place` of the network's batch is without a condition. */
int dmq_moves_is_null(const dmq_moves *moves, int place);

/** x: (places, H, W, C); eps: (places, H, W, eps_channels). */
dmq_status dmq_mover_move(const dmq_mover *mover, dmq_queue *queue, dmq_real *x,
                          const dmq_real *eps);

#endif
