/**
 * Shared by the block's files (block.c, block_tape.c, block_pass.c, block_points.c, block_plan.c, block_round.c);
 * nobody else includes it.
 */
#ifndef DMQ_RECON_BLOCK_INNER_H
#define DMQ_RECON_BLOCK_INNER_H

#include "backend/replay.h"
#include "recon/block.h"
#include "recon/prefetch.h"

/** Backends with shards up to this many samples have lanes to share them out. */
#define DMQ_SMALL_SHARD 16

typedef struct dmq_block_tape {
    dmq_unit_tape u;
    dmq_var *loss;    /**< (batch) */
    dmq_var *rest;    /**< frozen part of a sum that the target is taken less; NULL: none */
    dmq_var **target; /**< (n_targets) */
    dmq_var **term;   /**< (n_targets) loss of each: their sum is `loss` */
    dmq_var **
        to; /**< (n_sources) where the rows of each source go; those of targets stay where they lie */
} dmq_block_tape;

/** Tapes of a kind and a batch, one for each lane. */
typedef struct dmq_block_tapes {
    unsigned passes;
    int size;
    dmq_block_tape *lane;
    struct dmq_block_tapes *next;
} dmq_block_tapes;

/** Something that is gathered for every sample: part of the cut, an input, a target. */
typedef struct dmq_block_source {
    dmq_rows rows;
    dmq_store *owned; /**< NULL: rows belong to the cache */
    int less_rest;    /**< 1: a target from which the rest is taken */
    int leaf;         /**< -1: of the cut; 0..2: in0, in1, emb; 3: a target */
    int is_brought;   /**< 1: not on the device; rows.data is then the table of what is brought */
} dmq_block_source;

/**
 * What the shards of a pass read and write, all in backend memory: for every place of the batch a sample,
 * its slot, its sampler step, its place among the rows that are brought and the seed of its loss; places
 * behind the last sample repeat it, with seed 0.
 */
typedef struct dmq_block_rows {
    const int *sample, *slot, *step, *brought;
    const dmq_real *weight;
    dmq_real *result; /**< losses or dots; NULL: nobody wants the losses */
    int batch;        /**< places that are brought at a time; 0: none, or by the caller */
} dmq_block_rows;

/** Tables of whole numbers for every place: samples, slots, steps, places among what is brought. */
enum { DMQ_BLOCK_INDICES = 4 };

/** Memory of the rows of a call, what the host writes there with a counterpart on the device. */
typedef struct dmq_block_batch {
    int room; /**< places */
    int *index;
    dmq_real *weight;
    dmq_mirror index_place, weight_place;
    dmq_real *result; /**< backend memory */
} dmq_block_batch;

/** Memory of a plan, tables first; all but what the host writes is backend memory. */
typedef struct dmq_block_plan_room {
    int room, places; /**< rows, places of a row */
    int *index;       /**< (room, DMQ_BLOCK_INDICES, places) */
    dmq_real *weight; /**< (room, places) */
    dmq_step_scalars *scalars;
    dmq_mirror index_place, weight_place, scalars_place;
    int *counter;
    int *index_now; /**< the row under way, as the next three */
    dmq_real *weight_now, *result;
    dmq_step_scalars *scalars_now;
    dmq_real *results; /**< (room, places) */
    int rows, n;       /**< of the present plan, as the rest */
    dmq_block_tapes *tapes;
    dmq_real *alpha, *m, *v;
    int regularizer;
    dmq_replay replay; /**< of an iteration with these addresses */
    int next;          /**< row to run */
    unsigned trip;     /**< on which the rows of the plan are brought */
} dmq_block_plan_room;

/** Memory of passes over several points of theta, made at the first one. */
typedef struct dmq_block_points_room {
    int room;                 /**< points */
    dmq_real *w_soft;         /**< backend memory: weights of each */
    dmq_adaround_layer *work; /**< (room, n_chunks) */
} dmq_block_points_room;

typedef struct dmq_block_inner {
    dmq_space space;
    const dmq_slots *slots; /**< of its embedding value, or its samples if temporal; NULL: none */
    dmq_block_tapes *tapes; /**< those made so far; the first one made is the last in the list */
    dmq_block_source *source;
    int n_sources, n_cut;
    int *target_value; /**< (n_targets) value of each target */
    int n_targets;
    dmq_prefetch *prefetch; /**< of sources that are not on the device; NULL: all are */
    dmq_block_batch batch;
    dmq_block_plan_room plan;
    dmq_block_points_room points;
    dmq_block_rows frozen;     /**< rows of all samples, while the frozen part is run */
    dmq_real *scale, *zero;    /**< of all rows of all layers */
    int16_t *code;             /**< (P) */
    dmq_real *w_soft;          /**< (P) weights that the tapes read */
    dmq_real *w_tan;           /**< (P), made at need, as the next but one */
    dmq_real *dw;              /**< (P) joined weight gradient */
    dmq_real *dw_shard;        /**< (DMQ_WAVE, P) */
    dmq_adaround_layer *chunk; /**< runs of rows of the layers */
    size_t *chunk_at;          /**< place of each in theta */
    int n_chunks;
    int per_piece; /**< chunks of a piece of work: 1, or all of them where a device takes them at once */
    int n_pieces;
    dmq_adaround_layer *work; /**< (n_chunks) of pieces under way */
    double *reg, *host_reg;   /**< (n_pieces) backend memory, host memory */
} dmq_block_inner;

/* ------------------------------------------------------------------ block_tape.c */

/** Tapes of a kind (DMQ_TAPE_...) and batch on all lanes, made at the first call. */
dmq_status dmq_block_tapes_get(dmq_block_tapes **out, dmq_block *block, unsigned passes, int size);
void dmq_block_tapes_destroy(dmq_block *block);

/** Where each source goes on the tapes made before there were sources. */
dmq_status dmq_block_tapes_bind(const dmq_block *block, const dmq_block_tapes *tapes);

/** An input of the unit: 0, 1, or 2 for the embedding; NULL: it has none. */
dmq_var *dmq_block_leaf(const dmq_block_tape *tape, int leaf);

/* ------------------------------------------------------------------ block_pass.c */

/** Rows of n samples for passes of `size`, padded. weight NULL: all 1. */
dmq_status dmq_block_rows_set(dmq_block *block, dmq_block_rows *out, const int *sample,
                              const dmq_real *weight, int n, int size);

/** Gather what a tape needs, from place `from` of the rows on; targets are read by their index. */
dmq_status dmq_block_fill(const dmq_block *block, dmq_block_tape *tape, const dmq_block_rows *rows,
                          int from, dmq_queue *queue);

/** As dmq_block_fill; losses go to where the results are, if somebody wants them, and weights seed the gradients. */
dmq_status dmq_block_fill_to_learn(const dmq_block *block, dmq_block_tape *tape,
                                   const dmq_block_rows *rows, int from, dmq_queue *queue);

void dmq_block_batch_release(dmq_block *block);

/**
 * Samples, slots and steps of n samples, padded to `places`, and where they are among what is brought in
 * batches of `batch` places, from batch `first` on: DMQ_BLOCK_INDICES rows, `stride` apart, host memory.
 */
void dmq_block_index_row(const dmq_block *block, int *index, size_t stride, const int *sample,
                         int n, int places, int batch, int first);

/** What a step of the optimizer changes, and where it reads its numbers; all backend memory. */
typedef struct dmq_block_update {
    dmq_real *alpha, *m, *v;
    const dmq_step_scalars *scalars;
    int regularizer; /**< 1: its value goes to inner->reg */
} dmq_block_update;

/** One iteration on rows of n samples: gradient, regularizer, Adam, soft weights. At most DMQ_WAVE shards. */
dmq_status dmq_block_learn(dmq_block *block, const dmq_block_tapes *tapes,
                           const dmq_block_rows *rows, int n, const dmq_block_update *update);

/* ------------------------------------------------------------------ block_points.c */

void dmq_block_points_release(dmq_block *block);

/* ------------------------------------------------------------------ block_bring.c */

/** Tables for the sources that are not on the device. */
dmq_status dmq_block_bring_create(dmq_block *block);

/** Room for batches of as many places; *moved: tables have other addresses now. */
dmq_status dmq_block_bring_reserve(dmq_block *block, int places, int *moved);

/** Places of a batch of shards of `size`, when a call's rows are brought; 0: nothing is. */
int dmq_block_bring_batch(const dmq_block *block, int size);

/** Set out for the n samples of a call, in batches; index is host memory, which stays. */
void dmq_block_bring_begin(dmq_block *block, const int *index, int n, int batch);

/**
 * dmq_lanes_run over n_pieces shards of the rows of a call, of which `first_shard` is the first, each as
 * soon as what it reads has been brought. Pieces are numbered from 0.
 */
dmq_status dmq_block_run_shards(const dmq_block *block, const dmq_block_rows *rows, int size,
                                int first_shard, int n_pieces, dmq_piece_fn *fn, void *context);

/* ------------------------------------------------------------------ block_plan.c */

void dmq_block_plan_release(dmq_block *block);

/* ------------------------------------------------------------------ block_round.c */

/** Numbers, pointers and pieces of theta; all of them w_quant. */
dmq_status dmq_block_round_create(dmq_block *block);
void dmq_block_round_release(dmq_block *block);

/** w_tan, made at the first call. */
dmq_status dmq_block_need_tan(dmq_block *block);

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

/** The layers of a piece, pointing at these blocks of theta's length (each may be NULL); their number. */
int dmq_block_piece(const dmq_block *block, int piece, const dmq_round_job *job,
                    const dmq_adaround_layer **layers, size_t *at, size_t *count);

/* ------------------------------------------------------------------ problem.h */

dmq_status dmq_block_grad(void *context, const dmq_real *theta, const int *sample,
                          const dmq_real *weight, int n, dmq_real *grad, dmq_real *loss);
dmq_status dmq_block_grad_each(void *context, const dmq_real *theta, const int *sample, int n,
                               dmq_real *jacobian, dmq_real *loss);
dmq_status dmq_block_jvp(void *context, const dmq_real *theta, const int *sample, int n,
                         const dmq_real *direction, dmq_real *dot);
dmq_status dmq_block_loss(void *context, const dmq_real *theta, const int *sample, int n,
                          dmq_real *loss);
int dmq_block_recordable(const void *context);
int dmq_block_places(const void *context, int n);
void dmq_block_index(const void *context, int *index, size_t stride, const int *sample, int n,
                     int places);
dmq_status dmq_block_grad_of(void *context, const dmq_real *theta, const dmq_draw *draw,
                             dmq_real *grad);
dmq_status dmq_block_grad_runs_of(void *context, const dmq_real *theta, const dmq_draw *draw,
                                  int runs, dmq_real *grads);
int dmq_block_points(const void *context, int n, int most);
dmq_status dmq_block_grad_points_of(void *context, const dmq_real *theta, const dmq_draw *draw,
                                    int points, dmq_real *grads);
dmq_status dmq_block_grad_each_of(void *context, const dmq_real *theta, const dmq_draw *draw,
                                  dmq_real *jacobian);
dmq_status dmq_block_jvp_of(void *context, const dmq_real *theta, const dmq_draw *draw,
                            const dmq_real *direction, dmq_real *dot);

#endif
