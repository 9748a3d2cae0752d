/**
 * What every unit reads and should give, for all samples of the weight set, on two paths:
 *
 *   fp     full-precision prefix: inputs and results of the network as it is; results are the targets
 *   quant  quantized prefix: what a unit will really be fed ("asym" inputs)
 *
 *   push       a unit that is done is run once over all samples on both paths, and its results are kept
 *              until their last reader is done. Work: one pass of the network in all
 *   recompute  when that does not fit the byte budgets (told by the warning "cache-recompute"), or when
 *              units are not taken in order of execution (their prefix changes): for every unit the
 *              prefix is run again from x, in runs of samples that fit
 *
 * Both give the same bits: the same tapes of as many samples run in both, at the same places of a
 * batch. Embedding values have a row for each distinct (t, label) they depend on (calib/slots.h).
 *
 * What is cached lies on the device, in page-locked host memory or on disk (store.h), in this order, each
 * within its budget; what is not on the device is brought there ahead of its use (prefetch.h). A block's own
 * rows, which every iteration reads, come first. Where it lies changes no bit. Working memory comes on
 * top: tapes, and twice a batch of what is brought.
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
#include "recon/store.h"

typedef enum dmq_path { DMQ_PATH_FP, DMQ_PATH_QUANT } dmq_path;

/**
 * A budget by what is there: of the device 60 % of what is free, of host memory a quarter of all. Where both
 * are one, 2 GiB and nothing beside them.
 */
#define DMQ_CACHE_AUTO (-1.0)

typedef struct dmq_cache_config {
    double
        budget_bytes; /**< of backend memory for everything cached, targets included; 0: no limit */
    double host_bytes;  /**< of page-locked host memory beside it; 0: none */
    double disk_bytes;  /**< of the disk; 0: none */
    const char *folder; /**< on that disk; NULL: the working directory. Outlives the cache */
    int any_order;      /**< 1: units are opened in any order: always recompute */
    int acts; /**< 1: the quantized path quantizes activations too; tables must be there */
} dmq_cache_config;

/** DMQ_CACHE_AUTO becomes a number of bytes; what dmq_cache_create does first. */
void dmq_cache_budgets(dmq_cache_config *config, const dmq_backend *be);

typedef struct dmq_cache dmq_cache;

/** Samples' rows of one value: row of sample i is data + (slot ? slot[i] : i - first) * per. */
typedef struct dmq_rows {
    const dmq_real *data;   /**< backend memory; NULL: there is no such input, or it is elsewhere */
    const dmq_store *store; /**< where it is then; NULL: nowhere as a whole */
    size_t per;
    int count; /**< rows */
    int first; /**< sample of the first one */
    const int
        *slot; /**< (samples, padded by the last one to whole shards), backend memory, or NULL */
} dmq_rows;

/**
 * model, calib, q and lanes must outlive the cache.
 *
 * @return  EINVAL when the budgets are too small, with the need; EIO when the disk has less room than its
 *          share of it
 */
dmq_status dmq_cache_create(dmq_cache **out, const dmq_qmodel *q, const dmq_calib *calib,
                            dmq_lanes *lanes, const dmq_cache_config *config);

/** Takes NULL. */
void dmq_cache_destroy(dmq_cache *cache);

/** 1: recompute, 0: push. */
int dmq_cache_recomputes(const dmq_cache *cache);

/** Bytes that push needs at its peak, by the shapes. */
double dmq_cache_bytes_push(const dmq_cache *cache);

/** Tell the log what of each tier will be needed, and what has been. */
void dmq_cache_tell(const dmq_cache *cache);
void dmq_cache_tell_peak(const dmq_cache *cache);

/** Bytes held now, without those of a block. */
double dmq_cache_bytes(const dmq_cache *cache);

/** Where rows of a block are to lie: they share the cache's budgets. */
dmq_tiers *dmq_cache_tiers(dmq_cache *cache);

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

/** Input k of the open unit on the quantized path, if it is kept as a whole; neither data nor store if not. */
dmq_rows dmq_cache_resident(const dmq_cache *cache, int k);

/** What a visit shows: in0, in1, emb, and the targets of the open unit. */
enum { DMQ_VISIT_TARGET = 3, DMQ_VISITS = 4 };

/** A shard of samples first..first+count-1, all of it on the device; on a lane's thread. */
typedef dmq_status dmq_visit_fn(void *context, int first, int count, const dmq_rows in[DMQ_VISITS],
                                int lane, dmq_queue *queue);

/**
 * Show all samples of the open unit's inputs on the quantized path, shard by shard, over the lanes.
 *
 * @param targets  1: and its targets
 */
dmq_status dmq_cache_visit(dmq_cache *cache, dmq_visit_fn *fn, void *context, int targets);

/** Rows of a store, of which sample `first` is the first. */
dmq_rows dmq_rows_of(const dmq_store *store, int first);

/** Rows of samples first..first+count-1 into a tape's variable; rows behind repeat the last one. */
dmq_status dmq_rows_run(const dmq_backend *be, dmq_queue *queue, dmq_real *to, int batch,
                        const dmq_rows *rows, int first, int count);

#endif
