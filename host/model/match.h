/**
 * The names of a file's tensors against the entries of a network: they must be the same set.
 */
#ifndef DMQ_MODEL_MATCH_H
#define DMQ_MODEL_MATCH_H

#include "model/model.h"

/**
 * @param found  (model->n_entries) which of the names belongs to each entry
 * @param name   (n) names, with or without a "module." prefix; those that end in '/' are groups, passed over
 * @param path   of the file, for messages
 * @return       EDATA; what is missing, unknown or there twice is named
 */
dmq_status dmq_model_match(int *found, const dmq_model *model, const char *const *name, int n,
                           const char *path);

/** EDATA when one of an entry's numbers is NaN or infinite. */
dmq_status dmq_model_check_finite(const dmq_entry *entry, const dmq_real *value, const char *path);

#endif
