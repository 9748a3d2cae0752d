/**
 * What is told of runs: the measures, their values, and how a column of them is written.
 *
 *   mean = sum x / n        sd = sqrt(sum (x - mean)^2 / (n - 1))        over the seeds of an arm
 *
 * A column holds numbers of one metric: of one id and, for what is measured on images, of one number of
 * images. Anything else is refused, naming both and the way out.
 */
#ifndef DMQ_REPORT_MEASURE_H
#define DMQ_REPORT_MEASURE_H

#include "report/results.h"

/** What a measure is about: the group of its column. */
typedef enum dmq_measure_group {
    DMQ_MEASURE_IMAGES, /**< the images themselves, against a reference or against the fp images */
    DMQ_MEASURE_STEPS,  /**< the network's output at the sampler's steps */
    DMQ_MEASURE_BLOCKS, /**< reconstruction units */
    DMQ_MEASURE_COST, /**< what the network weighs and computes, by a convention that the id names */
    DMQ_MEASURE_TIME  /**< of the machine: no ids; the device and its threads are told */
} dmq_measure_group;

typedef struct dmq_measure {
    const char *key;   /**< in csv and json; in metrics.json unless it is computed */
    const char *title; /**< heading */
    const char *unit;  /**< "dB", "s", "MB"; "" */
    const char *help;  /**< one sentence */
    dmq_measure_group group;
    int better;   /**< -1 less is, +1 more is, 0 neither */
    int decimals; /**< -1: as the values ask for */
    int hidden;   /**< in csv and json only */
    int any_n;    /**< another n is another choice of units: warned of, not refused */
} dmq_measure;

enum { DMQ_MEASURES = 30 };

extern const dmq_measure dmq_measures[DMQ_MEASURES];

/** The number of a key. */
int dmq_measure_find(const char *key);

/** Value of the quantized model, or with fp of the full-precision one; NaN when it was not measured. */
double dmq_measure_value(const dmq_result *run, int measure, int fp);

/** Id of the metric; NULL of costs and of what was not measured. n: images, samples or units; may be NULL. */
const char *dmq_measure_id(const dmq_result *run, int measure, int fp, int64_t *n);

/** Let the column of a key mix metrics: each row's id is told. EUSAGE with the nearest key. */
dmq_status dmq_measures_across(dmq_results *all, const char *key);

/** Whether a column may. */
int dmq_measure_is_across(const dmq_results *all, int measure);

/** EDATA when a column would mix metrics, or the seeds of an arm in a column that may. Warns [other-units] when unit measures are over other units. */
dmq_status dmq_measures_check(const dmq_results *all);

/** Mean and spread of what was added, from { 0 }. */
typedef struct dmq_stat {
    int n; /**< 0: no value */
    double mean;
    double squares; /**< sum of (x - mean)^2 */
} dmq_stat;

/** What is not finite is left out. */
void dmq_stat_add(dmq_stat *stat, double x);

/** Of the sample; NaN for n < 2. */
double dmq_stat_sd(const dmq_stat *stat);

/** Over the seeds of an arm that have a value. */
dmq_stat dmq_stat_of(const dmq_arm *arm, int measure);

/** The published value that the configuration tells beside this measure, else the published table; NaN for none. */
double dmq_measure_paper(const dmq_arm *arm, int measure);

/** Where the published values that the configuration of an arm tells are from; NULL when it tells none. */
const char *dmq_paper_source(const dmq_arm *arm);

/** Whether a configuration can tell one at all. */
int dmq_measure_has_paper(int measure);

/** What of a measure. */
typedef enum dmq_column_kind {
    DMQ_COLUMN_MEASURED,
    DMQ_COLUMN_PUBLISHED,
    DMQ_COLUMN_DIFFERENCE /**< with --vs paper */
} dmq_column_kind;

/** How the numbers of a column are written. */
typedef struct dmq_column {
    int measure;
    int exponent; /**< numbers are divided by 10^exponent, a multiple of 3 */
    int decimals;
    dmq_column_kind paper;
    const char *id; /**< of the metric; NULL for costs */
    int64_t n;      /**< of the metric */
} dmq_column;

/** Room for dmq_columns_choose. */
enum { DMQ_COLUMNS = 3 * DMQ_MEASURES };

/** The columns that hold at least one number, hidden ones left out; returns how many. */
int dmq_columns_choose(dmq_column *out, const dmq_results *all);

/** Choose exponent and decimals for numbers of these sizes: three digits or so of each. */
void dmq_column_form(dmq_column *column, double least, double most);

/** Fill in id and n from the first run that has them; not of a column that may mix them. */
void dmq_column_find_id(dmq_column *column, const dmq_results *all);

/** Room for a cell. */
enum { DMQ_CELL = 64 };

/** "8.21 ± 0.30"; "" for no value. minus: how a minus is written. */
void dmq_cell_text(char out[DMQ_CELL], const dmq_column *column, dmq_stat stat, const char *minus);

/** "FD (shapes)", "PSNR, dB", "MSE rest, 1e-3", "FID, paper", "FID, Δ". */
void dmq_column_title(char *out, size_t size, const dmq_column *column);

/** "3.00", "0.0513", "2.00e-4": a number alone, with so many significant digits. */
void dmq_number_text(char out[DMQ_CELL], double x, int digits);

#endif
