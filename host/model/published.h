/**
 * The networks of the published checkpoints, by the names that specs and tables use for them.
 *
 * @see specs: models.md 0
 */
#ifndef DMQ_MODEL_PUBLISHED_H
#define DMQ_MODEL_PUBLISHED_H

#include "model/model_file.h"

typedef struct dmq_published {
    const char *id; /**< "ddpm-cifar10" */
    dmq_status (*create)(dmq_model **out);
    size_t numbers;      /**< of its parameters, as a state dict holds them */
    int entries;         /**< of that state dict */
    dmq_model_info info; /**< its schedule; training is NULL */
    /** What is saved, of one that was filled; NULL: itself. */
    dmq_status (*finish)(dmq_model **out, const dmq_model *filled);
} dmq_published;

/** The i-th; NULL behind the last. */
const dmq_published *dmq_published_at(int i);

/** EINVAL with the nearest name when there is none. */
dmq_status dmq_published_find(const dmq_published **out, const char *id);

#endif
