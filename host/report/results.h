/**
 * What runs have left in their folders, loaded and put in order: arms (rows of a table) with their runs
 * (one a seed). Reads only.
 *
 *   run.json      label, seed, versions, device, stages with seconds and bytes
 *   config.yaml   settings, as text
 *   metrics.json  numbers {id, value, n} of the full-precision ("fp") and the quantized model
 *   blocks.json   log of each reconstructed unit; may be missing
 *
 * Arms come in the order of the sweep (the task that their first run was, or when it was made), directory
 * by directory as they are given. A run whose evaluate stage is not done is in no arm: it is warned of [not-evaluated] and kept
 * in `unfinished`, so that tables can name it.
 *
 * A mean is of runs that differ in their seed alone. Runs of one label that were made with other settings, or
 * twice with one seed, are two rows, each told with its folder, when they come from two of the folders
 * given (a warning [same-label] names the setting); within one folder they are refused with EDATA.
 */
#ifndef DMQ_REPORT_RESULTS_H
#define DMQ_REPORT_RESULTS_H

#include "io/json.h"
#include "io/yaml.h"

#include <stdint.h>

/** One run folder. */
typedef struct dmq_result {
    char *path;
    const char *label; /**< the manifest's */
    int64_t seed;
    dmq_json *manifest;
    dmq_json *metrics; /**< NULL: evaluate is not done */
    dmq_json *blocks;  /**< NULL: there is none */
    dmq_yaml *config;
    int given; /**< number of the directory it was found by */
    /* Of the run that did the work, where a result is shared by runs of one sweep; NaN: not known. */
    double calibrate_seconds, sample_fp_seconds, sample_seconds;
} dmq_result;

struct dmq_paper;
struct dmq_paper_row;

/** What stands in a published table for a row of runs: paper.h. */
typedef struct dmq_beside {
    const struct dmq_paper_row *row; /**< NULL: the table has none */
    char *differs; /**< what the runs do otherwise; NULL: not compared, "": nothing */
} dmq_beside;

/** Runs of one label. */
typedef struct dmq_arm {
    const char *label;      /**< the runs'; "GAC (runs/b)" when another arm has that too */
    char bits[16];          /**< "W4A8"; 32 is full precision */
    const dmq_result **run; /**< (n_runs), by seed */
    int n_runs;
    char *own_label; /**< NULL unless label is it */
    int apart;       /**< another arm has its label */
    dmq_beside published;
} dmq_arm;

/** A full-precision model that runs are compared with. */
typedef struct dmq_baseline {
    char label[96];
    const dmq_result *run; /**< the first with its images */
    dmq_beside published;
} dmq_baseline;

typedef struct dmq_results {
    char *title;
    dmq_result *run;
    int n_runs; /**< all, finished or not */
    dmq_arm *arm;
    int n_arms;
    dmq_baseline *fp;
    int n_fp;
    const dmq_result **unfinished;
    int n_unfinished;
    uint64_t across;         /**< columns that may mix metrics: 1 << the measure */
    int vs_paper;            /**< 1: published values and differences are asked for */
    struct dmq_paper *paper; /**< the table of the runs; NULL: none asked for, or none named */
} dmq_results;

/**
 * @param folders  each a run folder (it holds run.json) or a folder of run folders, such as a sweep's
 * @return         ENOINPUT when one holds no run, or no run is finished; EDATA
 */
dmq_status dmq_results_load(dmq_results **out, const char *const *folders, int n_folders);

/** Takes NULL. */
void dmq_results_destroy(dmq_results *all);

/**
 * "report.table=cifar10": another value for what runs are told with (report.table, .method, .paper.*), after
 * they were made; of every run, and before dmq_results_compare. Their folders stay as they are.
 *
 * @return  EUSAGE for any other key; EINVAL for a value that the schema refuses
 */
dmq_status dmq_results_set(dmq_results *all, const char *assignment);

/**
 * Put published values beside: the table that report.table of the runs names, or what report.paper.* tell.
 *
 * @return  EINVAL when the runs tell neither; EDATA when they name two tables; as dmq_paper_load
 */
dmq_status dmq_results_compare(dmq_results *all);

/** The text of a setting of the run ("quant.act.bits"); otherwise when it has none or a list. */
const char *dmq_result_setting(const dmq_result *run, const char *key, const char *otherwise);

/** Of a setting that is a number; NaN for a word such as "none". */
double dmq_result_setting_real(const dmq_result *run, const char *key);

/** The value of an entry as one text, lists as "[a, b]". The caller frees. */
dmq_status dmq_result_entry_text(char **out, const dmq_yaml_entry *entry);

/** The entry of a key; NULL when there is none. */
const dmq_yaml_entry *dmq_result_entry(const dmq_result *run, const char *key);

/** What made the full-precision images: runs with the same text share them. */
const char *dmq_result_fp_key(const dmq_result *run);

/** "calibrate, quantize": stages that are done, for messages. */
void dmq_result_stages_text(char *out, size_t size, const dmq_result *run);

#endif
