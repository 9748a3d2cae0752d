/**
 * Published tables: a file each, experiments/papers/NAME.yaml, that measured numbers are put beside.
 *
 *   paper: dmq-paper/1
 *   title: "CIFAR-10, 32 x 32"
 *   protocol:
 *     tool: "torch-fidelity, training set"                for people
 *     settings: {sampler: {steps: 100}, sample: {count: 50000}}   keys of the configuration
 *     ids: {fid: [inception-2015-12-05, cifar10-train]}   what a metric's id must hold
 *     conventions: {size_mb: "all parameters at b_w bits"}  a measure that never is quite ours
 *   methods: {gac: GAC}                                   names of rows; fp is the full-precision model
 *   sources: {gac: "arXiv:2602.01289, table 1"}
 *   rows:
 *     gac-w4a8: {method: gac, bits: W4A8, fid: 4.32, tag: R, source: gac}
 *
 * A row holds values of measures (measure.h) of one source, and how sure they are:
 *
 *   V  read in the source      R  reported by others      U  from memory of the paper, not looked up again
 *
 * and may have settings of its own, over those of the protocol. One method and width may have several rows:
 * papers do not agree. A run is compared with the row of its report.method and bits that it differs from
 * in the fewest settings; the first of those.
 */
#ifndef DMQ_REPORT_PAPER_H
#define DMQ_REPORT_PAPER_H

#include "report/results.h"

typedef struct dmq_paper_row {
    const char *label;       /**< "GAC" */
    const char *method;      /**< "gac"; "fp" */
    char bits[16];           /**< "W4A8" */
    const char *tag;         /**< "V", "R", "U" */
    const char *source_id;   /**< "gac" in sources */
    const char *source;      /**< its text */
    double *value;           /**< (DMQ_MEASURES) NaN: not published */
    const char **key, **set; /**< (n_settings) of its own */
    int n_settings;
    int taken; /**< a run is compared with it */
} dmq_paper_row;

typedef struct dmq_paper {
    char *name;
    char *path;
    dmq_yaml *yaml;
    const char *title;
    const char *tool;        /**< "" when it is not told */
    const char **key, **set; /**< (n_settings) of the protocol */
    int n_settings;
    const dmq_yaml_entry **ids; /**< (DMQ_MEASURES) NULL: any */
    const char **convention;    /**< (DMQ_MEASURES) NULL: ours */
    dmq_paper_row *row;
    int n_rows;
} dmq_paper;

/**
 * @param name  of a table in experiments/papers, or a path that ends with .yaml
 * @return      ENOINPUT with the names that there are; EINVAL with the place for what the format does not
 *              have: keys, measures, tags, bits, settings that no configuration has
 */
dmq_status dmq_paper_load(dmq_paper **out, const char *name);

/** Takes NULL. */
void dmq_paper_destroy(dmq_paper *paper);

/** The row for a run, NULL: there is none. */
const dmq_paper_row *dmq_paper_find(const dmq_paper *paper, const char *method, const char *bits,
                                    const dmq_result *run);

/**
 * What a run's settings have that the protocol has not: "sampler.steps 20 (published: 100)", joined by ", ";
 * "" when nothing differs. row may be NULL. The caller frees.
 */
dmq_status dmq_paper_differs(char **out, const dmq_paper *paper, const dmq_paper_row *row,
                             const dmq_result *run);

/** What a metric's id lacks, or a convention that is not ours; NULL: comparable. */
const char *dmq_paper_unlike(const dmq_paper *paper, int measure, const char *id);

/** The settings of a row that the protocol has otherwise: ", sampler.steps 10"; "" for none. */
void dmq_paper_row_settings(char *out, size_t size, const dmq_paper *paper,
                            const dmq_paper_row *row);

#endif
