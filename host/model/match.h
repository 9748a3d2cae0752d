/**
 * The names of a file's tensors against the entries of a network: they must be the same set.
 */
#ifndef DMQ_MODEL_MATCH_H
#define DMQ_MODEL_MATCH_H

#include "model/model.h"

enum { DMQ_LISTING_NAMED = 5 /**< names told in a message before "and so many more" */ };

/** "name, name, ... and 12 more" grows in a message. Start from { 0 }. */
typedef struct dmq_listing {
    char text[DMQ_LISTING_NAMED * DMQ_NAME_MAX + 64];
    int count;
} dmq_listing;

/** One name more; of a long one the first DMQ_NAME_MAX bytes are told. */
void dmq_listing_add(dmq_listing *listing, const char *name);

/** "  3 missing: a, b, c" as a line of the message under way; nothing for none. Returns status. */
dmq_status dmq_listing_note(dmq_status status, const dmq_listing *listing, const char *what);

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
