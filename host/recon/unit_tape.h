/**
 * One unit of a network on a tape of its own: what caches push samples through and what blocks under
 * reconstruction are made of.
 */
#ifndef DMQ_RECON_UNIT_TAPE_H
#define DMQ_RECON_UNIT_TAPE_H

#include "backend/lanes.h"
#include "calib/slots.h"
#include "quant/hooks.h"
#include "recon/space.h"

/** Most samples of a batch. */
#define DMQ_BATCH_MAX 64

/**
 * Samples of one pass over n samples: the backend's shard, fixed, so that no setting of a run changes a
 * bit of its results. Where that is a large number, no more than n needs (in steps of 8), and at most
 * DMQ_BATCH_MAX.
 */
int dmq_shard_size(const dmq_backend *be, int n);

typedef struct dmq_unit_tape {
    dmq_tape *tape;
    dmq_var *in[2];   /**< NULL where the unit has none; of the temporal unit in[0] is t (N) */
    dmq_var *emb;     /**< NULL: none */
    dmq_var *out;     /**< NULL for the temporal unit */
    dmq_var **embs;   /**< temporal unit: (model->n_values), set at embedding values */
    dmq_index *step;  /**< sampler step of each sample; NULL unless the tables have a row a step */
    dmq_index *label; /**< temporal unit: of each sample; NULL: the network knows no classes */
    int batch;
} dmq_unit_tape;

/**
 * Record a unit, inputs and results; what is wanted of it (outputs, losses) and dmq_tape_plan are the
 * caller's.
 *
 * @param attach  hooks; its row is set here. NULL: full precision
 */
dmq_status dmq_unit_tape_record(dmq_unit_tape *u, const dmq_model *model, int unit,
                                const dmq_backend *be, unsigned passes, int batch,
                                dmq_attach *attach);

/** Let the step of each sample be read from `step`, (batch), backend memory, from now on. */
void dmq_unit_tape_steps(dmq_unit_tape *u, const int *step);

/** The same for the label of each sample. */
void dmq_unit_tape_labels(dmq_unit_tape *u, const int *label);

/** What the temporal unit is fed for every slot, padded by the last one to whole batches; backend memory. */
typedef struct dmq_slot_rows {
    dmq_real *t;
    int *step, *label;
} dmq_slot_rows;

/** rows: zeros. On failure too, dmq_slot_rows_release ends it. */
dmq_status dmq_slot_rows_init(dmq_slot_rows *rows, dmq_space *space, const dmq_calib *calib,
                              const dmq_slots *slots, int batch);
void dmq_slot_rows_release(dmq_slot_rows *rows, dmq_space *space);

/** Leaves zeros: may be called again, and on a zeroed struct. */
void dmq_unit_tape_release(dmq_unit_tape *u);

/** Numbers of one sample of a value. */
size_t dmq_value_per(const dmq_model *model, int value);

#endif
