/**
 * What every unit reads and should give, for all samples of the weight set, on two paths:
 *
 *   fp     full-precision prefix: inputs and results of the network as it is; results are the targets
 *   quant  quantized prefix: what a unit will really be fed ("asym" inputs)
 *
 *   push       a unit that is done is run once over all samples on both paths, and its results are kept
 *              until their last reader is done. Work: one pass of the network in all
 *   recompute  when that does not fit the byte budget (told by the warning "cache-recompute"), or when
 *              units are not taken in order of execution (their prefix changes): for every unit the
 *              prefix is run again from x, in runs of samples that fit
 *
 * Both give the same bits: the same tapes of as many samples run in both, at the same places of a
 * batch. Embedding values have a row for each distinct (t, label) they depend on (calib/slots.h).
 *
 * All that is cached is memory of the lanes' backend.
 *
 * The state of the quantized path is w_quant at the time of the pass: with push, units are expected to
 * be final when the next one is opened; after a restart, the missing passes are made up for.
 */
#ifndef DMQ_RECON_CACHE_H
#define DMQ_RECON_CACHE_H

#include "backend/lanes.h"
#include "calib/slots.h"
#include "quant/qmodel.h"
#include "recon/space.h"

typedef enum dmq_path { DMQ_PATH_FP, DMQ_PATH_QUANT } dmq_path;

typedef struct dmq_cache_config {
    double
        budget_bytes; /**< of backend memory for everything cached, targets included; 0: no limit */
    int any_order;    /**< 1: units are opened in any order: always recompute */
    int acts;         /**< 1: the quantized path quantizes activations too; tables must be there */
} dmq_cache_config;

typedef struct dmq_cache dmq_cache;

/** Samples' rows of one value: row of sample i is data + (slot ? slot[i] : i - first) * per. */
typedef struct dmq_rows {
    const dmq_real
        *data; /**< backend memory; NULL: the unit has no such input, or it is not there */
    size_t per;
    int count; /**< rows */
    int first; /**< sample of the first one */
    const int
        *slot; /**< (samples, padded by the last one to whole shards), backend memory, or NULL */
} dmq_rows;

/** model, calib, q and lanes must outlive the cache. EINVAL when the budget is too small, with the need. */
dmq_status dmq_cache_create(dmq_cache **out, const dmq_qmodel *q, const dmq_calib *calib,
                            dmq_lanes *lanes, const dmq_cache_config *config);

/** Takes NULL. */
void dmq_cache_destroy(dmq_cache *cache);

/** 1: recompute, 0: push. */
int dmq_cache_recomputes(const dmq_cache *cache);

/** Bytes that push needs at its peak, by the shapes. */
double dmq_cache_bytes_push(const dmq_cache *cache);

/** Bytes held now. */
double dmq_cache_bytes(const dmq_cache *cache);

/** Bring both paths up to a unit, other than the temporal one, and its targets into memory. */
dmq_status dmq_cache_open(dmq_cache *cache, int unit);

/** Targets of the open unit: (n, its result). */
dmq_rows dmq_cache_target(const dmq_cache *cache);

/** The open unit is done with its targets; its quantized result is made when another one is opened. */
void dmq_cache_close(dmq_cache *cache);

/** An embedding value, (slots, D), on a path. The quantized one is made at the first call. */
dmq_status dmq_cache_embedding(dmq_cache *cache, dmq_path path, int value, dmq_rows *out);

/** The slots of embedding values of a kind; NULL: the network has none. They live as long as the cache. */
const dmq_slots *dmq_cache_slots(const dmq_cache *cache, int emb_of);

/** Input k of the open unit on the quantized path, if it is in memory as a whole; data NULL if not. */
dmq_rows dmq_cache_resident(const dmq_cache *cache, int k);

/** A shard of samples first..first+count-1 of a unit's inputs (in0, in1, emb); on a lane's thread. */
typedef dmq_status dmq_visit_fn(void *context, int first, int count, const dmq_rows in[3], int lane,
                                dmq_queue *queue);

/** Show all samples of the open unit's inputs on the quantized path, shard by shard, over the lanes. */
dmq_status dmq_cache_visit(dmq_cache *cache, dmq_visit_fn *fn, void *context);

/** Rows of samples first..first+count-1 into a tape's variable; rows behind repeat the last one. */
dmq_status dmq_rows_run(const dmq_backend *be, dmq_queue *queue, dmq_real *to, int batch,
                        const dmq_rows *rows, int first, int count);

/**
 * The rows that an index names, into a tape's variable.
 *
 * @param index  (batch) numbers of samples, or of slots where the rows have slots; backend memory
 */
dmq_status dmq_rows_gather(const dmq_backend *be, dmq_queue *queue, dmq_real *to, int batch,
                           const dmq_rows *rows, const int *index);

#endif
