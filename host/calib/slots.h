/**
 * The distinct (step, label) of the weight set: an embedding value has one row for each of them, since it
 * depends on no more than that (model.h: dmq_value.emb_of).
 *
 *   DMQ_OF_T                 a slot a step of the weight set, in its order (dmq_calib_slot)
 *   DMQ_OF_LABEL             a slot a label, ascending; the step is that of slot 0
 *   DMQ_OF_T | DMQ_OF_LABEL  a slot a pair, by step, then by label
 */
#ifndef DMQ_CALIB_SLOTS_H
#define DMQ_CALIB_SLOTS_H

#include "calib/calib.h"

typedef struct dmq_slots {
    int n;
    int *step;  /**< (n) sampler step */
    int *label; /**< (n); zeros where the set has no labels */
    int *of;    /**< (calib->n) slot of each sample */
} dmq_slots;

/** emb_of: one of the three above. */
dmq_status dmq_slots_create(dmq_slots **out, const dmq_calib *calib, int emb_of);

/** Takes NULL. */
void dmq_slots_destroy(dmq_slots *slots);

#endif
