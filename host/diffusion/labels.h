/**
 * The class of every image of a job: a function of (seed, number of the image) and nothing else, so that
 * shards and pieces agree.
 *
 *   balanced  every n_classes images in turn hold each class once, in an order drawn for them: 50 of each in
 *             50000 of 1000 classes
 *   random    uniform, each image by itself
 *   one       the same for all
 */
#ifndef DMQ_DIFFUSION_LABELS_H
#define DMQ_DIFFUSION_LABELS_H

#include "base/status.h"

#include <stdint.h>

typedef enum dmq_label_choice {
    DMQ_LABELS_BALANCED,
    DMQ_LABELS_RANDOM,
    DMQ_LABELS_ONE
} dmq_label_choice;

typedef struct dmq_labels {
    dmq_label_choice choice;
    int one; /**< 0..n_classes-1 */
    int n_classes;
    uint64_t seed;
} dmq_labels;

/** Labels of images first .. first + n - 1. ENOMEM. */
dmq_status dmq_labels_fill(int *out, const dmq_labels *labels, uint64_t first, int n);

#endif
