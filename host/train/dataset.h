/**
 * A set of labelled images, opened by name: "shapes16", "shapes32".
 *
 * An index always means the same image, so a training run, its resumption and a shard of an
 * evaluation agree about the data without passing any around.
 */
#ifndef DMQ_TRAIN_DATASET_H
#define DMQ_TRAIN_DATASET_H

#include "base/status.h"

#include <stdint.h>

/** By convention training stays below this index and held-out images (references) start here. */
#define DMQ_DATASET_HELD_OUT (UINT64_C(1) << 40)

typedef struct dmq_dataset dmq_dataset;

struct dmq_dataset {
    const char *name;
    int size, channels, n_classes;
    const char *const *class_name; /**< n_classes texts */
    uint64_t seed;                 /**< which of its variants a procedural set shows */
    uint64_t count;                /**< images; UINT64_MAX for a set without an end */

    /** As dmq_dataset_fill; a set fills in what it needs, and nobody else calls it. */
    dmq_status (*fill)(const dmq_dataset *set, float *images, int *labels, const uint64_t *indices,
                       int n);
    void (*release)(dmq_dataset *set); /**< NULL: nothing but the struct to free */
    void *state;                       /**< of the set that has one */
};

/**
 * Open a data set by name.
 *
 * @param out  the caller's, for dmq_dataset_close
 * @return     EINVAL for an unknown name (the message lists the known ones), ENOMEM
 */
dmq_status dmq_dataset_open(dmq_dataset **out, const char *name, uint64_t seed);

/** Takes NULL. */
void dmq_dataset_close(dmq_dataset *set);

/**
 * The images of a batch; the same from any number of threads.
 *
 * @param images   (n, size, size, channels) f32 in [-1,1], NHWC
 * @param labels   (n) class numbers; NULL if not wanted
 * @param indices  (n) in any order, each below count
 * @return         EINVAL for an index past the end; what the set itself reports (EIO, ...)
 */
dmq_status dmq_dataset_fill(const dmq_dataset *set, float *images, int *labels,
                            const uint64_t *indices, int n);

/** dmq_dataset_fill of the n images from `first` on. */
dmq_status dmq_dataset_range(const dmq_dataset *set, float *images, int *labels, uint64_t first,
                             int n);

#endif
