/**
 * The configuration: typed values under dotted keys ("quant.weight.bits"), each with its origin.
 *
 * A schema (a const table) says which keys there are, their types, ranges and defaults, and which stages
 * read them. A user's text is checked when it is set, and the error names the value, the rule, the place
 * and the way out:
 *
 *   quant.act.bits = 9: must be 2..8 or off
 *     at experiments/cifar10/w4a8.yaml:23:18
 *     hint: for no activation quantization write "act: off"
 *
 * Who sets later wins, so callers set in order of force: built-in, extends, -c files, --set, named flags.
 * A key that the code asks for and the schema does not have, or has with another type, is an assert; a
 * key that the user writes and the schema does not have is an error with the nearest key.
 */
#ifndef DMQ_BASE_CONFIG_H
#define DMQ_BASE_CONFIG_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

/** A min that says "above 0". */
#define DMQ_CONFIG_POSITIVE 1e-300

typedef enum dmq_config_type {
    DMQ_CONFIG_BOOL, /**< true | false                                  */
    DMQ_CONFIG_INT,  /**< whole number                                  */
    DMQ_CONFIG_REAL, /**< number                                        */
    DMQ_CONFIG_SIZE, /**< bytes: 512, 64K, 256M, 8G (powers of 1024)    */
    DMQ_CONFIG_ENUM, /**< one of names                                  */
    DMQ_CONFIG_TEXT, /**< anything                                      */
    DMQ_CONFIG_PATH, /**< in a file: relative to that file; "data:NAME" */
    DMQ_CONFIG_INTS, /**< lists                                         */
    DMQ_CONFIG_REALS,
    DMQ_CONFIG_ENUMS,
    DMQ_CONFIG_TEXTS
} dmq_config_type;

/** One key. What is left out is 0 or NULL. */
typedef struct dmq_config_key {
    const char *name;
    dmq_config_type type;
    const char *fallback;     /**< the default, as a user would write it; lists as "[20, 2]" */
    double min, max;          /**< of a number, or of each in a list; equal: no bounds */
    const char *names;        /**< of an ENUM or ENUMS: "channel|tensor" */
    const char *word;         /**< a word that stands for a number: "off", ... */
    double word_value;        /**< ... and the number */
    int min_items, max_items; /**< of a list; max_items 0: any */
    bool main;                /**< what is meant when the group is given a value: "reweight: off" */
    unsigned stages; /**< stages whose result depends on it, an OR of bits of the schema's own */
    bool quiet; /**< not in a stage's text while it has its default: the key is younger than runs */
    const char *unit; /**< "bytes", "s", ...; NULL: none */
    const char *help; /**< one line */
    const char *hint; /**< the way out, told with every error about this key */
} dmq_config_key;

typedef enum dmq_origin_kind {
    DMQ_ORIGIN_DEFAULT,
    DMQ_ORIGIN_FILE,
    DMQ_ORIGIN_FLAG
} dmq_origin_kind;

/** Where a value comes from. place: the file's path, or the flag as written ("--set seed=1"). */
typedef struct dmq_origin {
    dmq_origin_kind kind;
    const char *place;
    int line, column; /**< from 1, of a file */
} dmq_origin;

typedef struct dmq_config dmq_config;

/** All defaults. schema must outlive the configuration; a wrong default is an assert. */
dmq_status dmq_config_create(dmq_config **out, const dmq_config_key *schema, int count);

/** Takes NULL. */
void dmq_config_destroy(dmq_config *config);

/* ------------------------------------------------------------------ setting */

/**
 * Check and set. A list is written "[a, b]". The name of a group sets its main key.
 *
 * @param origin  copied
 * @return        EINVAL (the old value stays), ENOMEM
 */
dmq_status dmq_config_set(dmq_config *config, const char *key, const char *text,
                          const dmq_origin *origin);

/** A list by its items, which may hold any characters. */
dmq_status dmq_config_set_list(dmq_config *config, const char *key, const char *const *items,
                               int count, const dmq_origin *origin);

/** "KEY=VALUE" of a --set. EUSAGE when there is no "=". */
dmq_status dmq_config_set_flag(dmq_config *config, const char *assignment);

/** The message for an unknown key, with the nearest one: for readers of files. Returns EINVAL. */
dmq_status dmq_config_unknown(const dmq_config *config, const char *key, const dmq_origin *origin);

/** Append "  at PLACE" to the message under way; nothing for a default. Returns code. */
dmq_status dmq_origin_note(dmq_status code, const dmq_origin *origin);

/**
 * The message for a value that is wrong in context (two keys that do not fit, say): "KEY = VALUE: why",
 * the place, the key's hint. Returns EINVAL.
 */
dmq_status dmq_config_refuse(const dmq_config *config, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/**
 * Append the place of the key that the message under way begins with ("recon.batch = 900: must be ..."): for
 * checks in parts that know no configuration. OK stays OK. Returns code.
 */
dmq_status dmq_config_place(const dmq_config *config, dmq_status code);

/**
 * Hints to the message under way: the items of a list of texts, one a line; without any, `otherwise`. Returns
 * code.
 */
dmq_status dmq_config_hints(const dmq_config *config, const char *key, dmq_status code,
                            const char *otherwise);

/* ------------------------------------------------------------------ asking */

bool dmq_config_bool(const dmq_config *config, const char *key);

int dmq_config_int(const dmq_config *config, const char *key);

/** Of an INT or SIZE of any width. */
int64_t dmq_config_int64(const dmq_config *config, const char *key);

double dmq_config_real(const dmq_config *config, const char *key);

/** The index in the schema's names, so that an enum in the same order is a cast away. */
int dmq_config_enum(const dmq_config *config, const char *key);

/** The text of a TEXT, PATH or ENUM; the configuration's. A path may be "data:NAME": dmq_path_resolve. */
const char *dmq_config_text(const dmq_config *config, const char *key);

/** Lists; the configuration's. *count may be NULL where the schema fixes it. */
const int64_t *dmq_config_ints(const dmq_config *config, const char *key, int *count);

const double *dmq_config_reals(const dmq_config *config, const char *key, int *count);

/** Of TEXTS or ENUMS. */
const char *const *dmq_config_texts(const dmq_config *config, const char *key, int *count);

/** Whether a value other than the default's origin was set. */
bool dmq_config_is_set(const dmq_config *config, const char *key);

/** Where the value comes from; the configuration's. */
const dmq_origin *dmq_config_origin(const dmq_config *config, const char *key);

/** The value in canonical form ("1e-3" is 0.001, a list is "[20, 2]"); the configuration's. */
const char *dmq_config_value(const dmq_config *config, const char *key);

/** How many keys the schema has, and the i-th; NULL behind the last. */
int dmq_config_count(const dmq_config *config);

const dmq_config_key *dmq_config_key_at(const dmq_config *config, int i);

/** NULL when there is none. */
const dmq_config_key *dmq_config_key_find(const dmq_config *config, const char *key);

/** Whether keys begin with "group.". */
bool dmq_config_is_group(const dmq_config *config, const char *group);

/* ------------------------------------------------------------------ as text */

/** The whole configuration as YAML that stands alone and sets every key. The caller frees. */
dmq_status dmq_config_dump(char **out, const dmq_config *config);

/**
 * The keys that any of these stages reads, one "key: value" a line, sorted by key: equal texts, equal
 * results. To be hashed. The caller frees.
 */
dmq_status dmq_config_stage_text(char **out, const dmq_config *config, unsigned stages);

#endif
