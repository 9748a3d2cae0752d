#include "eval/score.h"

#include "base/log.h"
#include "base/memory.h"
#include "eval/inception_score.h"
#include "eval/kid.h"
#include "eval/moments.h"
#include "eval/numpy_random.h"
#include "model/inception.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define BIT(metric) (1U << (metric))
#define MANIFOLD                                                                    \
    (BIT(DMQ_METRIC_PRECISION) | BIT(DMQ_METRIC_RECALL) | BIT(DMQ_METRIC_DENSITY) | \
     BIT(DMQ_METRIC_COVERAGE))

/* torch-fidelity's seed of the order of an inception score, and of the subsets of KID */
enum { SEED = 2020 };

const char *const dmq_metric_names[DMQ_METRICS] = { "fid",     "sfid",      "fd",
                                                    "is",      "precision", "recall",
                                                    "density", "coverage",  "kid" };

int dmq_metrics_compare(unsigned metrics)
{
    return (metrics & ~BIT(DMQ_METRIC_IS)) != 0;
}

int dmq_metrics_need_rows(unsigned metrics)
{
    return (metrics & (MANIFOLD | BIT(DMQ_METRIC_KID))) != 0;
}

int dmq_metrics_need_spatial(unsigned metrics)
{
    return (metrics & BIT(DMQ_METRIC_SFID)) != 0;
}

dmq_status dmq_metrics_check(unsigned metrics, const int *width, int is_inception)
{
    dmq_status st;

    if ((metrics & (BIT(DMQ_METRIC_FID) | BIT(DMQ_METRIC_SFID))) && !is_inception) {
        st =
            dmq_fail(DMQ_EINVAL,
                     "%s is the distance in the features of Inception, and this is another network",
                     metrics & BIT(DMQ_METRIC_FID) ? "fid" : "sfid");
        return dmq_fail_note(st, "  hint: fd is the distance in the features of any other one");
    }
    if ((metrics & BIT(DMQ_METRIC_FD)) && is_inception) {
        st = dmq_fail(
            DMQ_EINVAL,
            "fd is the distance in the features of a network of ours, and this is Inception");
        return dmq_fail_note(st, "  hint: fid is its name with Inception's");
    }
    if ((metrics & BIT(DMQ_METRIC_SFID)) && width[DMQ_FEATURE_SPATIAL] == 0)
        return dmq_fail(DMQ_EINVAL, "sfid needs spatial features, and there are none");
    if ((metrics & BIT(DMQ_METRIC_IS)) && width[DMQ_FEATURE_LOGITS] == 0)
        return dmq_fail(DMQ_EINVAL, "is needs logits, and there are none");
    return DMQ_OK;
}

/* ------------------------------------------------------------------ the reference */

dmq_status dmq_metrics_check_reference(const dmq_score_config *c, const dmq_reference *r)
{
    dmq_status st;

    if (dmq_metrics_compare(c->metrics) && (!r || r->d == 0))
        return dmq_fail(DMQ_EDATA, "these metrics need a reference with statistics of features");
    if (dmq_metrics_need_spatial(c->metrics) && r->d_spatial == 0) {
        st = dmq_fail(DMQ_EDATA,
                      "reference %s has no statistics of spatial features, which sfid needs",
                      r->name);
        return dmq_fail_note(st, "  hint: dmq evaluate --make-reference makes them of the images");
    }
    if (dmq_metrics_need_rows(c->metrics) && r->n_rows <= c->k) {
        st = dmq_fail(DMQ_EDATA,
                      "reference %s has features of %" PRId64
                      " single images, which precision, recall, density, coverage and kid need",
                      r->name, r->n_rows);
        return dmq_fail_note(st, "  hint: dmq evaluate --make-reference keeps those of the first "
                                 "evaluate.reference_rows images");
    }
    return DMQ_OK;
}

dmq_status dmq_metrics_check_count(const dmq_score_config *c, int64_t n, int classes)
{
    int splits = c->splits > 0 ? c->splits : classes == DMQ_INCEPTION_CLASSES ? 10 : 1;

    if ((c->metrics & BIT(DMQ_METRIC_IS)) && n < splits) {
        return dmq_fail(DMQ_EINVAL, "evaluate.splits = %d: there are %" PRId64 " images", splits,
                        n);
    }
    if ((c->metrics & MANIFOLD) && n <= c->k) {
        return dmq_fail(DMQ_EINVAL, "evaluate.neighbours = %d: there are %" PRId64 " images", c->k,
                        n);
    }
    if ((c->metrics & BIT(DMQ_METRIC_KID)) && n < c->kid_size) {
        return dmq_fail(DMQ_EINVAL, "evaluate.kid_size = %d: there are %" PRId64 " images",
                        c->kid_size, n);
    }
    return DMQ_OK;
}

dmq_status dmq_scorer_create(dmq_scorer **out, const dmq_score_config *config,
                             const dmq_reference *r)
{
    dmq_scorer *s = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_metrics_check_reference(config, r));
    DMQ_TRY(dmq_alloc((void **)&s, 1, sizeof *s));
    s->config = *config;
    s->reference = r;
    if (config->metrics & (BIT(DMQ_METRIC_FID) | BIT(DMQ_METRIC_FD)))
        DMQ_TRY(dmq_gaussian_create(&s->law, r->d, r->mean, r->cov));
    if (config->metrics & BIT(DMQ_METRIC_SFID)) {
        DMQ_TRY(
            dmq_gaussian_create(&s->law_spatial, r->d_spatial, r->mean_spatial, r->cov_spatial));
    }
    if (config->metrics & MANIFOLD)
        DMQ_TRY(dmq_balls_create(&s->balls, r->rows, (size_t)r->n_rows, r->d, config->k));
    *out = s;
    s = NULL;
done:
    dmq_scorer_destroy(s);
    return st;
}

void dmq_scorer_destroy(dmq_scorer *s)
{
    if (!s)
        return;
    dmq_gaussian_destroy(s->law);
    dmq_gaussian_destroy(s->law_spatial);
    dmq_balls_destroy(s->balls);
    dmq_free(s);
}

/* ------------------------------------------------------------------ ids */

typedef struct scoring {
    const dmq_scorer *s;
    dmq_feature_set *set;
    const char *extractor; /* as ids name it */
    const char *hash;      /* of a network of ours; NULL: it is Inception */
    dmq_scores *out;
} scoring;

void dmq_count_text(char out[DMQ_COUNT_TEXT], int64_t n)
{
    if (n % 1000 == 0) {
        (void)snprintf(out, DMQ_COUNT_TEXT, "%" PRId64 "k", n / 1000);
    } else {
        (void)snprintf(out, DMQ_COUNT_TEXT, "%" PRId64, n);
    }
}

static dmq_score *add(scoring *v, dmq_metric metric, double value, double sd)
{
    dmq_score *score = &v->out->score[v->out->count++];

    *score = (dmq_score){ .metric = metric, .value = value, .sd = sd, .n = v->set->n };
    return score;
}

/* How images are resampled; the draws are the same for every set of as many. */
static dmq_bootstrap bootstrap(const scoring *v)
{
    return (dmq_bootstrap){ .resamples = v->s->config.resamples, .level = 0.95, .seed = SEED };
}

static void id_of_distance(scoring *v, dmq_score *score)
{
    char n[DMQ_COUNT_TEXT];

    dmq_count_text(n, score->n);
    if (score->metric == DMQ_METRIC_FD)
        (void)snprintf(n, sizeof n, "%" PRId64, score->n);
    (void)snprintf(score->id, sizeof score->id, "%s%s/%s/%s/%s", dmq_metric_names[score->metric], n,
                   score->metric == DMQ_METRIC_FD && v->hash ? v->hash : v->extractor,
                   v->s->reference->name, v->s->config.levels);
}

/* how: "k3", "100x1000" */
static void id_of_rows(const scoring *v, dmq_score *score, const char *how)
{
    char n[DMQ_COUNT_TEXT];

    dmq_count_text(n, score->n);
    (void)snprintf(score->id, sizeof score->id, "%s%s/%s/%s/%s-%" PRId64 "/%s",
                   dmq_metric_names[score->metric], n, v->extractor, how, v->s->reference->name,
                   v->s->reference->n_rows, v->s->config.levels);
}

static void id_of_score(const scoring *v, dmq_score *score, int splits)
{
    char n[DMQ_COUNT_TEXT], how[48];

    if (splits == 1) {
        (void)snprintf(how, sizeof how, "1-split");
    } else {
        (void)snprintf(how, sizeof how, "%d-splits-%s", splits,
                       v->s->config.shuffled ? "shuffled" : "consecutive");
    }
    dmq_count_text(n, score->n);
    if (v->hash) {
        (void)snprintf(score->id, sizeof score->id, "is%" PRId64 "/%s/%s", score->n, v->hash, how);
    } else {
        (void)snprintf(score->id, sizeof score->id, "is%s/%s/%s/%s", n, v->extractor, how,
                       v->s->config.levels);
    }
}

/* ------------------------------------------------------------------ distances of two laws */

static dmq_status law_of(dmq_gaussian **out, const float *rows, int64_t n, int d)
{
    dmq_moments *m = NULL;
    double *mean = NULL, *cov = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_moments_create(&m, d));
    DMQ_TRY(dmq_moments_add(m, rows, (size_t)n));
    DMQ_TRY(dmq_alloc((void **)&mean, (size_t)d, sizeof *mean));
    DMQ_TRY(dmq_alloc((void **)&cov, (size_t)d * (size_t)d, sizeof *cov));
    DMQ_TRY(dmq_moments_result(m, mean, cov));
    DMQ_TRY(dmq_gaussian_create(out, d, mean, cov));
done:
    dmq_moments_destroy(m);
    dmq_free(mean);
    dmq_free(cov);
    return st;
}

static dmq_status distance(scoring *v, dmq_metric metric, dmq_feature_kind kind,
                           const dmq_gaussian *reference)
{
    const dmq_bootstrap how = bootstrap(v);
    dmq_gaussian *law = NULL;
    dmq_score *score;
    const float *rows;
    double value;
    dmq_status st = DMQ_OK;

    if (!(v->s->config.metrics & BIT(metric)))
        return DMQ_OK;
    if (v->set->width[kind] != reference->d) {
        return dmq_fail(
            DMQ_ESHAPE, "%s: features of the images have %d numbers, those of reference %s %d",
            dmq_metric_names[metric], v->set->width[kind], v->s->reference->name, reference->d);
    }
    DMQ_TRY(dmq_feature_set_rows(&rows, v->set, kind));
    DMQ_TRY(law_of(&law, rows, v->set->n, v->set->width[kind]));
    DMQ_TRY(dmq_frechet_between(&value, reference, law));
    score = add(v, metric, value, (double)NAN);
    id_of_distance(v, score);
    score->resamples = how.resamples;
    if (how.resamples > 0) {
        DMQ_TRY(dmq_frechet_bootstrap(&score->interval, reference, rows, (size_t)v->set->n, &how));
    }
done:
    dmq_gaussian_destroy(law);
    return st;
}

/* ------------------------------------------------------------------ the score of a classifier */

/* Sum over splits of n_s/n times the entropy of classes in it, in nats. */
static dmq_status entropy_within(double *out, const int *class_of, const uint32_t *order, size_t n,
                                 int classes, int splits)
{
    int *count = NULL;
    double sum = 0;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&count, (size_t)classes, sizeof *count));
    for (int s = 0; s < splits; s++) {
        size_t from = n * (size_t)s / (size_t)splits, to = n * ((size_t)s + 1) / (size_t)splits;

        memset(count, 0, (size_t)classes * sizeof *count);
        for (size_t i = from; i < to; i++)
            count[class_of[order ? order[i] : i]]++;
        for (int c = 0; c < classes; c++) {
            if (count[c] > 0)
                sum -= count[c] / (double)n * log(count[c] / (double)(to - from));
        }
    }
    *out = sum;
done:
    dmq_free(count);
    return st;
}

/*
 * What splitting as they come loses: the score of a part is at most exp(entropy of its classes). 0.1 nat is a tenth of
 * the score; images in any order of their own lose nothing against a shuffled one.
 */
static dmq_status comes_sorted(int *out, const int *class_of, const uint32_t *order, size_t n,
                               int classes, int splits)
{
    double given, shuffled;
    dmq_status st = DMQ_OK;

    DMQ_TRY(entropy_within(&given, class_of, NULL, n, classes, splits));
    DMQ_TRY(entropy_within(&shuffled, class_of, order, n, classes, splits));
    *out = shuffled - given > 0.1;
done:
    return st;
}

static dmq_status guess(int **out, const float *logits, size_t n, int classes)
{
    int *class_of = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&class_of, n, sizeof *class_of));
    for (size_t i = 0; i < n; i++) {
        const float *x = logits + i * (size_t)classes;

        for (int c = 1; c < classes; c++) {
            if (x[c] > x[class_of[i]])
                class_of[i] = c;
        }
    }
    *out = class_of;
done:
    return st;
}

static dmq_status check_order(const scoring *v, const float *logits, const uint32_t *order,
                              int splits)
{
    const int *label = v->set->label;
    size_t n = (size_t)v->set->n;
    int *guessed = NULL, sorted, classes = v->set->width[DMQ_FEATURE_LOGITS];
    dmq_status st = DMQ_OK;

    if (label) {
        classes = 1;
        for (size_t i = 0; i < n; i++) {
            if (label[i] < 0) /* none: of a network without a class for it */
                goto done;
            classes = label[i] >= classes ? label[i] + 1 : classes;
        }
    } else {
        DMQ_TRY(guess(&guessed, logits, n, classes));
    }
    DMQ_TRY(comes_sorted(&sorted, label ? label : guessed, order, n, classes, splits));
    if (sorted && label) {
        st = dmq_fail(DMQ_EINVAL,
                      "evaluate.is_order = consecutive: the images come class by class, and each "
                      "of %d splits would "
                      "hold a part of the classes",
                      splits);
        st = dmq_fail_note(st,
                           "  hint: evaluate.is_order=shuffled; evaluate.splits=1 is of any order");
    } else if (sorted) {
        dmq_log_warn(
            "class-sorted",
            "the images seem to come class by class: split as they come, the inception score "
            "is too small (evaluate.is_order)");
    }
done:
    dmq_free(guessed);
    return st;
}

static dmq_status classifier(scoring *v)
{
    int splits = v->s->config.splits, classes = v->set->width[DMQ_FEATURE_LOGITS];
    dmq_numpy_random random;
    dmq_score_parts parts = { 0 };
    uint32_t *order = NULL;
    const float *logits;
    const dmq_bootstrap how = bootstrap(v);
    dmq_score *score;
    double mean, sd;
    dmq_status st = DMQ_OK;

    if (!(v->s->config.metrics & BIT(DMQ_METRIC_IS)))
        return DMQ_OK;
    if (splits == 0)
        splits = classes == DMQ_INCEPTION_CLASSES ? 10 : 1;
    DMQ_TRY(dmq_feature_set_rows(&logits, v->set, DMQ_FEATURE_LOGITS));
    if (splits > 1) {
        DMQ_TRY(dmq_alloc((void **)&order, (size_t)v->set->n, sizeof *order));
        dmq_numpy_random_init(&random, SEED);
        dmq_numpy_permutation(order, (size_t)v->set->n, &random);
        if (!v->s->config.shuffled)
            DMQ_TRY(check_order(v, logits, order, splits));
    }
    parts.order = v->s->config.shuffled ? order : NULL;
    parts.splits = splits;
    DMQ_TRY(dmq_inception_score(&mean, &sd, logits, (size_t)v->set->n, classes, &parts));
    score = add(v, DMQ_METRIC_IS, mean, splits > 1 ? sd : (double)NAN);
    id_of_score(v, score, splits);
    score->resamples = how.resamples;
    if (how.resamples > 0) {
        DMQ_TRY(dmq_inception_score_bootstrap(&score->interval, logits, (size_t)v->set->n, classes,
                                              &parts, &how));
    }
done:
    dmq_feature_set_drop(v->set, DMQ_FEATURE_LOGITS);
    dmq_free(order);
    return st;
}

/* ------------------------------------------------------------------ with features of single images */

static dmq_status check_width(const scoring *v, dmq_metric metric)
{
    if (v->set->width[DMQ_FEATURE_POOL] == v->s->reference->d)
        return DMQ_OK;
    return dmq_fail(DMQ_ESHAPE,
                    "%s: features of the images have %d numbers, those of reference %s %d",
                    dmq_metric_names[metric], v->set->width[DMQ_FEATURE_POOL],
                    v->s->reference->name, v->s->reference->d);
}

static dmq_status neighbours(scoring *v)
{
    const dmq_score_config *c = &v->s->config;
    dmq_balls *generated = NULL;
    dmq_manifold m;
    const float *rows;
    char how[24];
    dmq_status st = DMQ_OK;

    if (!(c->metrics & MANIFOLD))
        return DMQ_OK;
    DMQ_TRY(check_width(v, DMQ_METRIC_PRECISION));
    DMQ_TRY(dmq_feature_set_rows(&rows, v->set, DMQ_FEATURE_POOL));
    DMQ_TRY(dmq_balls_create(&generated, rows, (size_t)v->set->n, v->set->width[DMQ_FEATURE_POOL],
                             c->k));
    DMQ_TRY(dmq_manifold_compare(&m, v->s->balls, generated));
    (void)snprintf(how, sizeof how, "k%d", c->k);
    for (int metric = DMQ_METRIC_PRECISION; metric <= DMQ_METRIC_COVERAGE; metric++) {
        const double values[] = { m.precision, m.recall, m.density, m.coverage };

        if (c->metrics & BIT(metric)) {
            id_of_rows(
                v, add(v, (dmq_metric)metric, values[metric - DMQ_METRIC_PRECISION], (double)NAN),
                how);
        }
    }
done:
    dmq_balls_destroy(generated);
    return st;
}

static dmq_status kernel_distance(scoring *v)
{
    const dmq_score_config *c = &v->s->config;
    const dmq_reference *r = v->s->reference;
    const dmq_kid_config how = { .subsets = c->kid_subsets, .size = c->kid_size, .seed = SEED };
    const float *rows;
    double mean, sd;
    char text[48];
    dmq_status st = DMQ_OK;

    if (!(c->metrics & BIT(DMQ_METRIC_KID)))
        return DMQ_OK;
    DMQ_TRY(check_width(v, DMQ_METRIC_KID));
    DMQ_TRY(dmq_feature_set_rows(&rows, v->set, DMQ_FEATURE_POOL));
    DMQ_TRY(dmq_kid(&mean, &sd, rows, (size_t)v->set->n, r->rows, (size_t)r->n_rows, r->d, &how));
    (void)snprintf(text, sizeof text, "%dx%d", how.subsets, how.size);
    id_of_rows(v, add(v, DMQ_METRIC_KID, mean, sd), text);
done:
    return st;
}

/* ------------------------------------------------------------------ all of them */

dmq_status dmq_scorer_run(dmq_scores *out, const dmq_scorer *s, dmq_feature_set *set,
                          const char *extractor)
{
    static const char ours[] = "features-";
    scoring v = { .s = s, .set = set, .extractor = extractor, .out = out };
    dmq_status st = DMQ_OK;

    if (strncmp(extractor, ours, sizeof ours - 1) == 0)
        v.hash = extractor + sizeof ours - 1;
    out->count = 0;
    DMQ_TRY(distance(&v, DMQ_METRIC_FID, DMQ_FEATURE_POOL, s->law));
    DMQ_TRY(distance(&v, DMQ_METRIC_SFID, DMQ_FEATURE_SPATIAL, s->law_spatial));
    dmq_feature_set_drop(set, DMQ_FEATURE_SPATIAL);
    DMQ_TRY(distance(&v, DMQ_METRIC_FD, DMQ_FEATURE_POOL, s->law));
    DMQ_TRY(neighbours(&v));
    DMQ_TRY(kernel_distance(&v));
    dmq_feature_set_drop(set, DMQ_FEATURE_POOL);
    DMQ_TRY(classifier(&v));
done:
    dmq_feature_set_drop(set, DMQ_FEATURE_POOL);
    return st;
}
