/**
 * The command line: one table of options for all verbs, read by argp.
 *
 * A verb names the options that it understands; another one is an error, since an option without effect
 * would be a silent lie.
 */
#ifndef DMQ_CLI_OPTIONS_H
#define DMQ_CLI_OPTIONS_H

#include "base/log.h"
#include "base/status.h"

#include <stdint.h>

typedef enum dmq_resume { DMQ_RESUME_AUTO, DMQ_RESUME_NEVER, DMQ_RESUME_MUST } dmq_resume;

typedef struct dmq_options {
    const char **config; /**< -c, in order */
    int n_config;
    const char **set; /**< --set KEY=VALUE, in order */
    int n_set;
    const char **arg; /**< what stands without a dash */
    int n_arg;
    const char *out;        /**< -o */
    const char *device;     /**< auto, ref, check, cpu, cuda */
    const char *format;     /**< of a table: md, csv, json, tex */
    const char *vs;         /**< --vs paper; NULL: nothing beside */
    const char *input;      /**< --input FILE */
    const char *checkpoint; /**< --model FILE */
    const char *seed;       /**< --seed N */
    const char *network;    /**< --network ID of a published one */
    const char *root;       /**< --root PATH in a checkpoint; NULL: by rules */
    const char *layout;     /**< --layout NAME; NULL: by the names */
    const char *reference;  /**< --reference FILE */
    const char **across;    /**< --across KEY, in order */
    int n_across;
    const char *images;  /**< --images PATH */
    const char *ready;   /**< --ready-features FILE */
    const char *make;    /**< --make-reference NAME */
    const char **ignore; /**< --ignore PREFIX, in order */
    int n_ignore;
    int weights;          /**< --weights auto|ema|raw: dmq_weights */
    const char *progress; /**< auto, bar, plain, json, none */
    int threads;          /**< 0: as many as there are cores */
    int shard, n_shards;  /**< --shard I/N, 1..N; 0: all */
    int task;             /**< --task I of a sweep, from 0; -1: all */
    dmq_resume resume;
    int overwrite, json, dry_run, list, merge, origin, fp, strict, no_checksum;
    int verbosity; /**< -q -1, -v +1 */
} dmq_options;

typedef struct dmq_verb {
    const char *name;
    const char *args; /**< usage behind the verb */
    const char *help; /**< one line */
    const char *keys; /**< names of the options that it understands, blank-separated */
    dmq_status (*run)(const dmq_options *options);
} dmq_verb;

/** All verbs, in the order of the help; the last has no name. */
extern const dmq_verb dmq_verbs[];

/**
 * Read argv behind the verb. EUSAGE with a message for what cannot be; --help and --version print on
 * stdout and set *done.
 */
dmq_status dmq_options_parse(dmq_options *options, const dmq_verb *verb, int argc, char **argv,
                             int *done);

void dmq_options_release(dmq_options *options);

/** "dmq VERB: ..." help of all verbs on stdout. */
void dmq_usage(void);

#endif
