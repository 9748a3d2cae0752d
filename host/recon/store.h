/**
 * Rows of numbers, one for each sample, kept where there is room for them:
 *
 *   device  memory of the backend
 *   host    page-locked host memory, which a device copies from by itself
 *   disk    a file without a name (io/scratch.h)
 *
 * A store lies in one tier as a whole, the first whose budget has room for it when it is made. What every
 * iteration reads (hot) may take all of the device's budget; what is read once a unit (cold) leaves the
 * share of it alone that is set aside for the hot. Where no tier has room the last one that may hold
 * anything does, and the warning "cache-over-budget" says so; "cache-device-full" tells of a device that
 * had less than its budget.
 *
 * The numbers are the same bits in every tier.
 */
#ifndef DMQ_RECON_STORE_H
#define DMQ_RECON_STORE_H

#include "backend/backend.h"
#include "io/scratch.h"

typedef enum dmq_tier { DMQ_ON_DEVICE, DMQ_ON_HOST, DMQ_ON_DISK, DMQ_TIERS } dmq_tier;

/** How often rows are read: who asks for the device's memory first. */
typedef enum dmq_heat {
    DMQ_COLD, /**< once a unit */
    DMQ_HOT,  /**< in every iteration */
    DMQ_NOW   /**< under way: on the device whatever the budget */
} dmq_heat;

/** The budgets, and what is taken of them. Where all lies on the device its budget does not matter. */
typedef struct dmq_tiers {
    const dmq_backend *be;
    double budget[DMQ_TIERS]; /**< bytes; INFINITY: no limit */
    double set_aside;         /**< bytes of the device's budget that are not for the cold */
    const char *folder;       /**< of the disk; NULL: the working directory. Not owned */
    double used[DMQ_TIERS], peak[DMQ_TIERS];
    double cold; /**< bytes of the cold on the device */
} dmq_tiers;

typedef struct dmq_store {
    dmq_tiers *tiers;
    dmq_tier tier;
    dmq_heat heat;
    size_t per;           /**< numbers of a row */
    int count;            /**< rows */
    dmq_real *data;       /**< (count, per): device memory, or host memory; NULL on disk */
    dmq_scratch *scratch; /**< NULL but on disk */
} dmq_store;

/** Rows whose numbers are not defined yet. ENOMEM; EIO when the disk is too small. tiers must outlive it. */
dmq_status dmq_store_create(dmq_store **out, dmq_tiers *tiers, size_t per, int count,
                            dmq_heat heat);

/** Takes NULL. */
void dmq_store_destroy(dmq_store *store);

double dmq_store_bytes(const dmq_store *store);

/** 1 when a hot store of as many bytes would lie on a faster tier than this one. */
int dmq_tiers_faster(const dmq_tiers *tiers, dmq_tier than, double bytes);

/**
 * Rows first..first+count-1 from device memory, (count, per). Where the store is on the device this is
 * done in the order of the queue; elsewhere when it returns. Several threads may write rows of their own.
 */
dmq_status dmq_store_write(dmq_store *store, dmq_queue *queue, int first, int count,
                           const dmq_real *from);

/** The same from host memory. */
dmq_status dmq_store_put(dmq_store *store, dmq_queue *queue, int first, int count,
                         const dmq_real *from);

/** Rows to host memory, (count, per). */
dmq_status dmq_store_get(const dmq_store *store, dmq_queue *queue, dmq_real *to, int first,
                         int count);

/** "device 1.2 GiB, host 3.4 GiB, disk 0", of as many bytes. */
void dmq_tiers_text(char *out, size_t room, const double bytes[DMQ_TIERS]);

#endif
