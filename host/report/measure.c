#include "report/rows.h"

#include "base/log.h"
#include "base/schema.h"
#include "base/text.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define IMAGES DMQ_MEASURE_IMAGES
#define STEPS  DMQ_MEASURE_STEPS
#define BLOCKS DMQ_MEASURE_BLOCKS
#define COST   DMQ_MEASURE_COST
#define TIME   DMQ_MEASURE_TIME

/* clang-format off */
const dmq_measure dmq_measures[DMQ_MEASURES] = {
{ "fid", "FID", "", "Fréchet distance to the reference, Inception features.", IMAGES, -1, 2, 0, 0 },
{ "sfid", "sFID", "", "FID on spatial features.", IMAGES, -1, 2, 0, 0 },
{ "fd", "FD (shapes)", "",
  "Fréchet distance to held-out images, in the features of a small network. Not an FID.",
  IMAGES, -1, -1, 0, 0 },
{ "is", "IS", "", "Inception score with the classifier that the metric id names.",
  IMAGES, +1, 2, 0, 0 },
{ "precision", "precision", "", "Share of images that lie among the reference's.",
  IMAGES, +1, 3, 0, 0 },
{ "recall", "recall", "", "Share of the reference that the images cover.", IMAGES, +1, 3, 0, 0 },
{ "density", "density", "",
  "Reference images around an image, over k: as precision, less moved by outliers.", IMAGES, +1, 3, 0, 0 },
{ "coverage", "coverage", "",
  "Share of reference images with an image in their neighbourhood.", IMAGES, +1, 3, 0, 0 },
{ "kid", "KID", "",
  "Kernel distance to the reference: no bias from the number of images.", IMAGES, -1, -1, 0, 0 },
{ "psnr", "PSNR", "dB",
  "Of an image against the full-precision one from the same noise, peak 2; from the mean MSE.",
  IMAGES, +1, 2, 0, 0 },
{ "ssim", "SSIM", "",
  "Structural similarity to the full-precision image from the same noise, mean over images.",
  IMAGES, +1, 4, 0, 0 },
{ "lpips", "LPIPS", "", "Distance to the full-precision image from the same noise as AlexNet sees it, mean.",
  IMAGES, -1, -1, 0, 0 },
{ "mse", "MSE", "", "Mean squared difference to the full-precision images from the same noise.",
  IMAGES, -1, -1, 1, 0 },
{ "mse_rest", "MSE rest", "",
  "MSE to the full-precision images without the part that all images share.",
  IMAGES, -1, -1, 0, 0 },
{ "mse_bias", "MSE bias", "",
  "The part of the MSE that all images share: the mean difference image, mostly one shift of colour. "
  "It varies much between seeds of one method.", IMAGES, -1, -1, 0, 0 },
{ "noise_error", "noise error", "",
  "Mean squared error of the predicted noise on held-out states of the full-precision sampler, all "
  "steps.", STEPS, -1, -1, 0, 0 },
{ "block_loss", "block loss", "",
  "Held-out loss of reconstruction units, geometric mean.", BLOCKS, -1, -1, 0, 1 },
{ "block_loss_nearest", "block loss, nearest", "",
  "The same with nearest rounding behind the same quantized units.", BLOCKS, -1, -1, 1, 1 },
{ "block_ratio", "block loss / nearest", "", "Block loss over that of nearest rounding.",
  BLOCKS, -1, 3, 0, 1 },
{ "ess", "ESS", "",
  "Effective share of samples under the learned weights; 1 is uniform. Mean over units.",
  BLOCKS, 0, 3, 0, 1 },
{ "group_cosine_before", "cosine before", "",
  "Mean cosine between the gradients of two timestep groups, at nearest rounding.",
  BLOCKS, 0, 3, 0, 1 },
{ "group_cosine_after", "cosine after", "", "The same after reconstruction.", BLOCKS, 0, 3, 0, 1 },
{ "size_mb", "size", "MB",
  "The network: weights at their bits, scales (4 bytes) and zero points (1 byte) of weights and of "
  "activation tables, all else at 32 bits; without the first stage. 1 MB is 1e6 bytes.",
  COST, -1, -1, 0, 0 },
{ "size_first_mb", "size with first stage", "MB",
  "The same and the decoder behind the network at 32 bits.", COST, -1, 1, 0, 0 },
{ "bops", "BOPs", "",
  "Bit operations of one call for one image: MACs times bits of both operands, full precision counts "
  "32 bits, attention products are counted.", COST, -1, -1, 0, 0 },
{ "bops_fp23", "BOPs, FP as 23", "",
  "As some papers count: a MAC is two operations, and full precision counts 23 bits, the mantissa.",
  COST, -1, -1, 1, 0 },
{ "calibration_seconds", "calibration", "s",
  "Wall time of calibrate and quantize; a calibration set that runs share counts in each of them.",
  TIME, -1, 1, 0, 0 },
{ "quantize_seconds", "quantize", "s", "Wall time of the quantize stage.", TIME, -1, 1, 0, 0 },
{ "images_per_second", "images a second", "",
  "Images over the wall time of the stage that samples them, decoding and files included.",
  TIME, +1, -1, 0, 0 },
{ "peak_memory_mb", "peak memory", "MB", "Of the process, largest over its stages.",
  TIME, -1, 0, 0, 0 },
};
/* clang-format on */

int dmq_measure_find(const char *key)
{
    for (int i = 0; i < DMQ_MEASURES; i++) {
        if (strcmp(dmq_measures[i].key, key) == 0)
            return i;
    }
    assert(!"no such measure");
    return -1;
}

/* ------------------------------------------------------------------ values */

static const dmq_json *metric(const dmq_result *run, const char *key, int fp)
{
    return dmq_json_get(dmq_json_get(run->metrics, fp ? "fp" : "quantized"), key);
}

static double number(const dmq_json *value)
{
    return dmq_json_real(value, (double)NAN);
}

/* Runs of older versions have a size in the manifest alone, without scales and zero points. */
static const char old_size[] = "size/weights";

static double older_size(const dmq_result *run, int fp)
{
    return fp ? number(dmq_json_find(run->manifest, "model.parameters")) * 4 / 1e6
              : number(dmq_json_get(run->manifest, "size_bytes")) / 1e6;
}

static int has_older_size(const dmq_result *run, const char *key, int fp)
{
    return strcmp(key, "size_mb") == 0 && !metric(run, key, fp) && isfinite(older_size(run, fp));
}

static double stage_seconds(const dmq_result *run, const char *stage)
{
    return number(
        dmq_json_get(dmq_json_get(dmq_json_get(run->manifest, "stages"), stage), "seconds"));
}

static double time_of(const dmq_result *run, const char *key, int fp)
{
    if (strcmp(key, "images_per_second") == 0) {
        return (double)dmq_json_int(dmq_json_get(run->metrics, "images"), 0) /
               (fp ? run->sample_fp_seconds : run->sample_seconds);
    }
    if (fp)
        return (double)NAN;
    if (strcmp(key, "calibration_seconds") == 0)
        return run->calibrate_seconds + stage_seconds(run, "quantize");
    if (strcmp(key, "quantize_seconds") == 0)
        return stage_seconds(run, "quantize");
    return number(dmq_json_get(run->manifest, "peak_memory_bytes")) / 1e6;
}

double dmq_measure_value(const dmq_result *run, int measure, int fp)
{
    const dmq_measure *m = &dmq_measures[measure];

    if (m->group == TIME)
        return time_of(run, m->key, fp);
    if (has_older_size(run, m->key, fp))
        return older_size(run, fp);
    if (strcmp(m->key, "block_ratio") == 0) {
        return number(dmq_json_get(metric(run, "block_loss", fp), "value")) /
               number(dmq_json_get(metric(run, "block_loss_nearest", fp), "value"));
    }
    return number(dmq_json_get(metric(run, m->key, fp), "value"));
}

const char *dmq_measure_id(const dmq_result *run, int measure, int fp, int64_t *n)
{
    const dmq_measure *m = &dmq_measures[measure];
    int ratio = strcmp(m->key, "block_ratio") == 0;
    const dmq_json *value = metric(run, ratio ? "block_loss" : m->key, fp);

    if (n)
        *n = dmq_json_int(dmq_json_get(value, "n"), 0);
    if (has_older_size(run, m->key, fp))
        return old_size;
    return dmq_json_text(dmq_json_get(value, "id"), NULL);
}

/* ------------------------------------------------------------------ one metric a column */

typedef struct seen {
    const char *id, *path;
    int64_t n;
    int warned;
} seen;

static dmq_status refuse_ids(const dmq_measure *m, const seen *first, const char *id, int64_t n,
                             const dmq_result *run)
{
    dmq_status st = dmq_fail(
        DMQ_EDATA, "%s: %s measured \"%s\" (n %lld), %s measured \"%s\" (n %lld)", m->title,
        first->path, first->id, (long long)first->n, run->path, id, (long long)n);

    (void)dmq_fail_note(st, "  these numbers cannot stand in one column");
    return dmq_fail_note(st,
                         "  hint: table the folders apart, or evaluate one of them again with "
                         "the other's evaluate.* and "
                         "sample.count; --across %s puts them side by side all the same",
                         m->key);
}

static dmq_status look(seen *first, const dmq_result *run, int measure, int fp)
{
    const dmq_measure *m = &dmq_measures[measure];
    int64_t n;
    const char *id = dmq_measure_id(run, measure, fp, &n);

    if (!id)
        return DMQ_OK;
    if (!first->id) {
        first->id = id;
        first->n = n;
        first->path = run->path;
        return DMQ_OK;
    }
    if (strcmp(first->id, id) != 0 || (n != first->n && !m->any_n))
        return refuse_ids(m, first, id, n, run);
    if (n != first->n && !first->warned) {
        first->warned = 1;
        dmq_log_warn("other-units", "%s is a mean over %lld units in %s, over %lld in %s", m->title,
                     (long long)first->n, first->path, (long long)n, run->path);
    }
    return DMQ_OK;
}

static_assert(DMQ_MEASURES <= 64, "dmq_results.across has a bit for each");

dmq_status dmq_measures_across(dmq_results *all, const char *key)
{
    const char *keys[DMQ_MEASURES];
    int nearest;
    dmq_status st;

    for (int m = 0; m < DMQ_MEASURES; m++) {
        keys[m] = dmq_measures[m].key;
        if (strcmp(keys[m], key) == 0) {
            all->across |= UINT64_C(1) << m;
            return DMQ_OK;
        }
    }
    st = dmq_fail(DMQ_EUSAGE, "--across %s: there is no such measure", key);
    nearest = dmq_text_nearest(key, keys, DMQ_MEASURES);
    if (nearest >= 0)
        return dmq_fail_note(st, "  hint: did you mean \"%s\"?", keys[nearest]);
    return dmq_fail_note(st, "  hint: fid, sfid, is, ...: the names of metrics.json");
}

int dmq_measure_is_across(const dmq_results *all, int measure)
{
    return (all->across >> measure & 1) != 0;
}

dmq_status dmq_measures_check(const dmq_results *all)
{
    dmq_status st = DMQ_OK;

    for (int m = 0; m < DMQ_MEASURES; m++) {
        int across = dmq_measure_is_across(all, m);
        seen first = { 0 };

        for (int i = 0; i < all->n_fp && !across; i++)
            DMQ_TRY(look(&first, all->fp[i].run, m, 1));
        for (int i = 0; i < all->n_arms; i++) {
            if (across) /* the mean over seeds is of one metric all the same */
                first = (seen){ 0 };
            for (int j = 0; j < all->arm[i].n_runs; j++)
                DMQ_TRY(look(&first, all->arm[i].run[j], m, 0));
        }
    }
done:
    return st;
}

/* ------------------------------------------------------------------ over seeds */

void dmq_stat_add(dmq_stat *s, double x)
{
    double d;

    if (!isfinite(x))
        return;
    d = x - s->mean;
    s->n++;
    s->mean += d / s->n;
    s->squares += d * (x - s->mean);
}

double dmq_stat_sd(const dmq_stat *s)
{
    return s->n > 1 ? sqrt(s->squares / (s->n - 1)) : (double)NAN;
}

dmq_stat dmq_stat_of(const dmq_arm *arm, int measure)
{
    dmq_stat s = { 0 };

    for (int i = 0; i < arm->n_runs; i++)
        dmq_stat_add(&s, dmq_measure_value(arm->run[i], measure, 0));
    return s;
}

int dmq_measure_has_paper(int measure)
{
    int n;
    const dmq_config_key *keys = dmq_schema_keys(&n);
    char key[64];

    (void)snprintf(key, sizeof key, "report.paper.%s", dmq_measures[measure].key);
    for (int i = 0; i < n; i++) {
        if (strcmp(keys[i].name, key) == 0)
            return 1;
    }
    return 0;
}

static double told(const dmq_arm *arm, int measure)
{
    char key[64];

    (void)snprintf(key, sizeof key, "report.paper.%s", dmq_measures[measure].key);
    return dmq_result_setting_real(arm->run[0], key);
}

double dmq_measure_paper(const dmq_arm *arm, int measure)
{
    double x = told(arm, measure);
    const dmq_paper_row *row = arm->published.row;

    return isfinite(x) || !row ? x : row->value[measure];
}

const char *dmq_paper_source(const dmq_arm *arm)
{
    for (int m = 0; m < DMQ_MEASURES; m++) {
        if (isfinite(told(arm, m)))
            return dmq_result_setting(arm->run[0], "report.paper.source", "not said");
    }
    return NULL;
}

/* ------------------------------------------------------------------ columns */

typedef struct extent {
    double least, most; /* of |x|, without zeros */
    int any;
} extent;

static void widen(extent *e, double x)
{
    if (!isfinite(x))
        return;
    e->any = 1;
    x = fabs(x);
    if (x > 0 && (e->least == 0 || x < e->least))
        e->least = x;
    if (x > e->most)
        e->most = x;
}

static int decade(double x)
{
    return x > 0 ? (int)floor(log10(x)) : 0;
}

static int least_int(int a, int b)
{
    return a < b ? a : b;
}

/* Three digits of the least number if the most then has four, and two of the least if it then has six. */
void dmq_column_form(dmq_column *c, double least, double most)
{
    int low, high, three, two;

    if (most > 0 && (most < 0.1 || most >= 1e5))
        c->exponent = 3 * (int)floor(decade(most) / 3.0);
    low = decade(least) - c->exponent;
    high = decade(most) - c->exponent;
    three = least_int(2 - low, 3 - high);
    two = least_int(1 - low, 5 - high);
    c->decimals = three > two ? three : two;
    if (c->decimals < 0)
        c->decimals = 0;
}

static void choose_form(dmq_column *c, const extent *e)
{
    if (dmq_measures[c->measure].decimals >= 0) {
        c->decimals = dmq_measures[c->measure].decimals;
    } else {
        dmq_column_form(c, e->least, e->most);
    }
}

void dmq_column_find_id(dmq_column *c, const dmq_results *all)
{
    if (dmq_measure_is_across(all, c->measure)) /* there are several: dmq_across_notes */
        return;
    for (int i = 0; i < all->n_fp && !c->id; i++)
        c->id = dmq_measure_id(all->fp[i].run, c->measure, 1, &c->n);
    for (int i = 0; i < all->n_arms && !c->id; i++) {
        for (int j = 0; j < all->arm[i].n_runs && !c->id; j++)
            c->id = dmq_measure_id(all->arm[i].run[j], c->measure, 0, &c->n);
    }
}

/* Three columns at most: those of them that hold a number. */
static int choose_of(dmq_column *out, const dmq_results *all, int measure)
{
    extent ours = { 0 }, paper = { 0 }, difference = { 0 };
    dmq_column c = { .measure = measure };
    int n = 0;

    for (int i = 0; i < dmq_rows_count(all); i++) {
        dmq_row row;

        dmq_row_at(&row, all, i);
        if (row.fp)
            widen(&ours, dmq_measure_value(row.fp->run, measure, 1));
        for (int j = 0; row.arm && j < row.arm->n_runs; j++)
            widen(&ours, dmq_measure_value(row.arm->run[j], measure, 0));
        widen(&paper, dmq_row_paper(&row, measure));
        widen(&difference, dmq_row_difference(&row, measure));
    }
    if (ours.any && !(dmq_measures[measure].hidden && !paper.any)) {
        choose_form(&c, &ours);
        dmq_column_find_id(&c, all);
        out[n++] = c;
    }
    if (paper.any) {
        c = (dmq_column){ .measure = measure, .paper = DMQ_COLUMN_PUBLISHED };
        choose_form(&c, &paper);
        out[n++] = c;
    }
    if (all->vs_paper && difference.any) {
        c = (dmq_column){ .measure = measure, .paper = DMQ_COLUMN_DIFFERENCE };
        choose_form(&c, &paper); /* no more digits than were printed */
        out[n++] = c;
    }
    return n;
}

int dmq_columns_choose(dmq_column *out, const dmq_results *all)
{
    int n = 0;

    for (int m = 0; m < DMQ_MEASURES; m++)
        n += choose_of(out + n, all, m);
    return n;
}

static void with_minus(char *out, size_t size, double x, int decimals, const char *minus)
{
    char digits[DMQ_CELL];

    (void)snprintf(digits, sizeof digits, "%.*f", decimals, fabs(x));
    (void)snprintf(out, size, "%s%s", x < 0 && strspn(digits, "0.") < strlen(digits) ? minus : "",
                   digits);
}

void dmq_cell_text(char out[DMQ_CELL], const dmq_column *c, dmq_stat s, const char *minus)
{
    double unit = pow(10, c->exponent);
    char mean[DMQ_CELL / 2], sd[DMQ_CELL / 4];

    out[0] = '\0';
    if (s.n == 0)
        return;
    with_minus(mean, sizeof mean, s.mean / unit, c->decimals, minus);
    if (s.n < 2 || (dmq_measures[c->measure].group >= COST && s.squares == 0)) {
        (void)snprintf(out, DMQ_CELL, "%s", mean);
        return;
    }
    with_minus(sd, sizeof sd, dmq_stat_sd(&s) / unit, c->decimals, minus);
    (void)snprintf(out, DMQ_CELL, "%s ± %s", mean, sd);
}

void dmq_column_title(char *out, size_t size, const dmq_column *c)
{
    const dmq_measure *m = &dmq_measures[c->measure];
    static const char *const what[] = { "", ", paper", ", Δ" };
    int n =
        snprintf(out, size, "%s%s%s%s", m->title, what[c->paper], m->unit[0] ? ", " : "", m->unit);

    if (c->exponent != 0 && n > 0 && (size_t)n < size)
        (void)snprintf(out + n, size - (size_t)n, ", 1e%d", c->exponent);
}

void dmq_number_text(char out[DMQ_CELL], double x, int digits)
{
    int e = decade(fabs(x)), decimals = digits - 1 - e;

    if (x == 0) {
        (void)snprintf(out, DMQ_CELL, "0");
    } else if (e < -3 || e > 5) {
        (void)snprintf(out, DMQ_CELL, "%.*fe%d", digits - 1, x / pow(10, e), e);
    } else {
        (void)snprintf(out, DMQ_CELL, "%.*f", decimals > 0 ? decimals : 0, x);
    }
}
