/**
 * Shared by cache.c (what is held when) and cache_push.c (running units); nobody else includes it.
 */
#ifndef DMQ_RECON_CACHE_INNER_H
#define DMQ_RECON_CACHE_INNER_H

#include "recon/cache.h"
#include "recon/unit_tape.h"

struct dmq_cache {
    const dmq_qmodel *q;
    const dmq_model *model;
    const dmq_calib *calib;
    dmq_lanes *lanes;
    dmq_space space;
    dmq_tiers tiers;
    dmq_cache_config config;
    int recomputes;
    int shard; /**< samples of a pass */
    int run;   /**< samples that are passed at a time: all, or what fits the budget */
    double push_bytes;
    double need_bytes;              /**< of what is kept, at the peak, in the mode chosen */
    int open;                       /**< unit, -1: none */
    int next[2];                    /**< push mode, by path: the first unit that has not been run */
    int *maker;                     /**< (n_values) unit that makes a value */
    dmq_slots *slots[DMQ_OF_KINDS]; /**< by dmq_value.emb_of; NULL where there is none */
    int *step;               /**< (n and padding), of each sample; backend memory, as the next */
    int *slot[DMQ_OF_KINDS]; /**< the same of slots->of */
    dmq_store *x;            /**< (n, H, W, C) value 0 */
    dmq_store **value[2];    /**< by path, (n_values): samples of the present run, or NULL */
    dmq_real **emb[2];       /**< by path, (n_values): (slots, D) in backend memory, or NULL */
    dmq_store *target;       /**< recompute mode: of the open unit */
};

/** Rows of a value on a path, of which sample `first` is the first in memory. */
dmq_rows dmq_cache_rows(const dmq_cache *c, dmq_path path, int value, int first);

/**
 * Show samples first..first+count-1 of a unit's inputs, which are kept from `first` on, and of more rows
 * (NULL: none).
 */
dmq_status dmq_cache_show(dmq_cache *c, dmq_path path, int unit, int first, int count,
                          const dmq_rows *target, dmq_visit_fn *fn, void *context);

/** Run a unit over samples first..first+count-1 and keep its result. */
dmq_status dmq_cache_push(dmq_cache *c, dmq_path path, int unit, int first, int count);

#endif
