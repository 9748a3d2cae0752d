/**
 * One value of a configuration: what config.c, config_parse.c and config_text.c share. Nobody else
 * includes this.
 */
#ifndef DMQ_BASE_CONFIG_VALUE_H
#define DMQ_BASE_CONFIG_VALUE_H

#include "base/config.h"

typedef struct config_value {
    int64_t i;  /* BOOL, INT, SIZE, ENUM: the index */
    double r;   /* REAL */
    char *text; /* TEXT, PATH, ENUM */
    int count;  /* lists */
    int64_t *ints;
    double *reals;
    char **texts;
    char *canonical;
    dmq_origin origin;
    char *place; /* what origin.place points to */
} config_value;

struct dmq_config {
    const dmq_config_key *schema;
    config_value *value;
    int count;
};

bool config_is_list(dmq_config_type type);

/**
 * Check and convert. count < 0: items[0] is the text of a scalar, or of a whole list "[a, b]".
 * The message is the first line alone ("KEY = TEXT: must be ..."), with a "did you mean" for an enum.
 * On failure out is released.
 */
dmq_status config_parse(config_value *out, const dmq_config_key *key, const char *const *items,
                        int count);

void config_value_release(config_value *value);

/** The i-th of "a|b|c": its length, and where it starts; 0 behind the last. */
int config_name_at(const char **out, const char *names, int i);

#endif
