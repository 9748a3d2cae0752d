/**
 * Shared by the block's files (block.c, block_pass.c, block_round.c); nobody else includes it.
 */
#ifndef DMQ_RECON_BLOCK_INNER_H
#define DMQ_RECON_BLOCK_INNER_H

#include "recon/block.h"

/** Tapes of a lane: shards for gradients and losses, half shards, single samples, shards for tangents. */
typedef enum dmq_block_pass {
    DMQ_BLOCK_TRAIN,
    DMQ_BLOCK_FEW, /**< gradients of at most a shard: in halves, so that two lanes have work */
    DMQ_BLOCK_EACH,
    DMQ_BLOCK_JVP,
    DMQ_BLOCK_PASSES
} dmq_block_pass;

typedef struct dmq_block_tape {
    dmq_unit_tape u;
    dmq_var *loss;    /**< (batch) */
    dmq_var *rest;    /**< frozen part of a sum that the target is taken less; NULL: none */
    dmq_var **target; /**< (n_targets) */
    dmq_var **to;     /**< (n_sources) where the rows of each source go */
} dmq_block_tape;

/** Something that is gathered for every sample: part of the cut, an input, a target. */
typedef struct dmq_block_source {
    dmq_rows rows;
    dmq_real *owned; /**< NULL: rows belong to the cache */
    dmq_rows whole;  /**< of a target from which the rest is taken: the target as it is */
    int leaf;        /**< -1: of the cut; 0..2: in0, in1, emb; 3: a target */
} dmq_block_source;

typedef struct dmq_block_inner {
    dmq_block_tape *tape[DMQ_BLOCK_PASSES]; /**< (lanes), or NULL: not yet needed */
    dmq_block_source *source;
    int n_sources, n_cut;
    int *target_value; /**< (n_targets) value of each target */
    int n_targets;
    dmq_real *w_soft;          /**< (P) weights that the tapes read */
    dmq_real *w_tan;           /**< (P) */
    dmq_real *dw;              /**< (P) joined weight gradient */
    dmq_real *dw_shard;        /**< (DMQ_WAVE, P) */
    dmq_adaround_layer *chunk; /**< runs of rows of the layers: pieces of work */
    size_t *chunk_at;          /**< place of each in theta */
    double *chunk_reg;
    int n_chunks;
} dmq_block_inner;

/** Tapes of a kind on all lanes, made at the first call. */
dmq_status dmq_block_tapes(dmq_block *block, dmq_block_pass pass);

/** Gather rows of n samples into a tape; rows behind n repeat the last one. */
void dmq_block_fill(const dmq_block *block, const dmq_block_tape *tape, const int *sample, int n);

/** Numbers, pointers and pieces of theta; all of them w_quant. */
dmq_status dmq_block_round_create(dmq_block *block);

/** What a piece of theta is used for. */
typedef struct dmq_round_job {
    const dmq_block *block;
    dmq_status (*slot)(dmq_queue *queue, const dmq_adaround_args *a);
    const dmq_real *alpha, *dw, *alpha_tan;
    dmq_real *dalpha;
    dmq_real *init; /**< where alpha is written (init) */
    int hard;
} dmq_round_job;

/** Run a slot over all of theta. */
dmq_status dmq_block_round(const dmq_round_job *job);

/** problem.h */
dmq_status dmq_block_grad(void *context, const dmq_real *theta, const int *sample,
                          const dmq_real *weight, int n, dmq_real *grad, dmq_real *loss);
dmq_status dmq_block_grad_each(void *context, const dmq_real *theta, const int *sample, int n,
                               dmq_real *jacobian, dmq_real *loss);
dmq_status dmq_block_jvp(void *context, const dmq_real *theta, const int *sample, int n,
                         const dmq_real *direction, dmq_real *dot);
dmq_status dmq_block_loss(void *context, const dmq_real *theta, const int *sample, int n,
                          dmq_real *loss);
dmq_status dmq_block_each(void *context, int n_pieces, dmq_problem_piece *piece,
                          void *piece_context);

#endif
