/**
 * The stages of a run, in the order of the data flow. Each reads files and leaves one file.
 *
 *   calibrate  calib.h5      sample-fp  images-fp.h5      quantize  quant.h5
 *   sample     images-q.h5   evaluate   metrics.json
 *
 * A stage's key is a hash of its name and version, the part of the configuration that it reads, the
 * checkpoint (where it samples also the decoder's), and the keys of the stages before it. A result with the present key is not made again, one
 * with another key is not touched unless told to (--overwrite). Results that do not depend on the
 * method live in the sweep's store under their key and are linked into the run folder.
 */
#ifndef DMQ_RUN_STAGE_H
#define DMQ_RUN_STAGE_H

#include "run/folder.h"

typedef enum dmq_stage_id {
    DMQ_RUN_CALIBRATE,
    DMQ_RUN_SAMPLE_FP,
    DMQ_RUN_QUANTIZE,
    DMQ_RUN_SAMPLE,
    DMQ_RUN_EVALUATE,
    DMQ_RUN_STAGES
} dmq_stage_id;

/** What a stage works with. */
typedef struct dmq_job {
    const dmq_experiment *experiment;
    dmq_folder *folder;
    char *out; /**< path that its file must have when it returns */
    char key[DMQ_HASH_TEXT];
    int shard, n_shards; /**< sampling, evaluation: only this part; 0: all */
    int merge;           /**< sampling, evaluation: join what the shards left, make nothing */
    int incomplete;      /**< set by a stage that did its shard and left the file to be merged */
} dmq_job;

typedef struct dmq_stage {
    const char *name;
    const char *file;
    int version;            /**< raised when the same configuration gives other numbers */
    unsigned keys;          /**< DMQ_STAGE_... of the configuration */
    int shared;             /**< does not depend on the method */
    int input[3], n_inputs; /**< stages whose keys are part of its key */
    unsigned reads;         /**< stages whose files it reads, as bits */
    dmq_status (*check)(const dmq_experiment *experiment); /**< may be NULL: see dmq_stages_check */
    dmq_status (*run)(dmq_job *job);
} dmq_stage;

extern const dmq_stage dmq_stages[DMQ_RUN_STAGES];

/**
 * The key of a stage, and the text that it is the hash of (may be NULL; the caller frees): its version, its
 * inputs, the part of the configuration that it reads, and who computes (cpu; ref and check, which are one;
 * cuda), so that a run does not go on with other last bits than it began with.
 */
dmq_status dmq_stage_key(char out[DMQ_HASH_TEXT], char **text, const dmq_experiment *e,
                         dmq_stage_id id);

typedef struct dmq_stage_options {
    int only;            /**< a dmq_stage_id: this one and what it needs; -1: all */
    int shard, n_shards; /**< 0: all */
    int merge;           /**< of shards */
    int dry_run;         /**< say what would be done */
} dmq_stage_options;

/**
 * What each stage will need (layers that the policy finds, feature network, samples to learn from), looked
 * at before anything is computed or written.
 *
 * @param only     as in dmq_stage_options
 * @param missing  gets files that are not there, and the look goes on; NULL: the first one is refused
 */
dmq_status dmq_stages_check(const dmq_experiment *experiment, int only, dmq_missing *missing);

/**
 * Run what is not done yet. EEXIST before the first stage when a result was made with another
 * configuration; EDATA when a file that a stage reads is not the one that was written.
 */
dmq_status dmq_stages_run(const dmq_experiment *experiment, dmq_folder *folder,
                          const dmq_stage_options *options);

dmq_status dmq_calibrate_check(const dmq_experiment *experiment);
dmq_status dmq_quantize_check(const dmq_experiment *experiment);
dmq_status dmq_evaluate_check(const dmq_experiment *experiment);

dmq_status dmq_stage_calibrate(dmq_job *job);
dmq_status dmq_stage_quantize(dmq_job *job);
dmq_status dmq_stage_sample_fp(dmq_job *job);
dmq_status dmq_stage_sample(dmq_job *job);
dmq_status dmq_stage_evaluate(dmq_job *job);

#endif
