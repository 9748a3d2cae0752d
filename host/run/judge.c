#include "run/judge_inner.h"

#include "base/memory.h"
#include "base/path.h"
#include "io/file.h"
#include "model/inception.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

unsigned dmq_judge_metrics(const dmq_config *config)
{
    int n;
    const char *const *names = dmq_config_texts(config, "evaluate.metrics", &n);
    unsigned metrics = 0;

    for (int i = 0; i < n; i++) {
        for (int m = 0; m < DMQ_METRICS; m++) {
            if (strcmp(names[i], dmq_metric_names[m]) == 0)
                metrics |= 1U << m;
        }
    }
    return metrics;
}

/* ------------------------------------------------------------------ the network */

static dmq_status no_features(const dmq_config *c, const char *path)
{
    char import[512];

    (void)dmq_config_refuse(c, "evaluate.features", "there is no such file");
    if (strncmp(dmq_path_name(path), "inception", 9) != 0) {
        return dmq_config_hints(c, "evaluate.source", DMQ_ENOINPUT,
                                "data:shapes16-features.h5 ships with dmq; dmq train makes others");
    }
    (void)snprintf(import, sizeof import,
                   "data/fetch.sh inception downloads it; dmq import "
                   "pt_inception-2015-12-05-6726825d.pth --network inception-2015-12-05 -o %.300s",
                   path);
    return dmq_config_hints(c, "evaluate.source", DMQ_ENOINPUT, import);
}

static dmq_status check_metrics(const dmq_judge_config *at, const int *width, int is_inception)
{
    dmq_status st = dmq_metrics_check(dmq_judge_metrics(at->config), width, is_inception);

    return st == DMQ_OK ? st
                        : dmq_origin_note(st, dmq_config_origin(at->config, "evaluate.metrics"));
}

/* Features that are ready tell their network by their number. */
static dmq_status check_ready(const dmq_judge_config *at)
{
    const int *width = at->ready->width;

    return check_metrics(at, width, width[DMQ_FEATURE_POOL] == DMQ_INCEPTION_POOL);
}

static dmq_status check_extractor(const dmq_judge_config *at, const dmq_extractor *x)
{
    const int width[DMQ_FEATURE_KINDS] = { x->pool, x->spatial, x->classes };
    dmq_status st = DMQ_OK;

    if (at->h > 0) {
        st = dmq_extractor_takes(x, at->h, at->w, at->c);
        if (st != DMQ_OK)
            return dmq_origin_note(st, dmq_config_origin(at->config, "evaluate.features"));
    }
    return check_metrics(at, width, x->is_inception);
}

static dmq_status open_extractor(dmq_extractor **out, const dmq_judge_config *at)
{
    const dmq_config *c = at->config;
    dmq_extractor *x = NULL;
    char *path = NULL;
    dmq_status st = DMQ_OK;

    if (!*dmq_config_text(c, "evaluate.features")) {
        return dmq_config_refuse(
            c, "evaluate.features",
            "these metrics need a feature network; data:shapes16-features.h5 is one of ours, "
            "and metrics: [paired] needs none");
    }
    DMQ_TRY(dmq_path_resolve(&path, dmq_config_text(c, "evaluate.features")));
    if (!dmq_file_exists(path)) {
        st = no_features(c, path);
        goto done;
    }
    st = dmq_extractor_open(&x, path, (dmq_resize)dmq_config_enum(c, "evaluate.resize"), at->lanes);
    if (st != DMQ_OK) {
        (void)dmq_origin_note(st, dmq_config_origin(c, "evaluate.features"));
        goto done;
    }
    DMQ_TRY(check_extractor(at, x));
    *out = x;
    x = NULL;
done:
    dmq_extractor_close(x);
    dmq_free(path);
    return st;
}

static void settings(dmq_score_config *out, const dmq_judge *j)
{
    const dmq_config *c = j->at.config;

    *out = (dmq_score_config){ .metrics = j->metrics,
                               .splits = dmq_config_int(c, "evaluate.splits"),
                               .shuffled = dmq_config_enum(c, "evaluate.is_order") == 0,
                               .k = dmq_config_int(c, "evaluate.neighbours"),
                               .kid_subsets = dmq_config_int(c, "evaluate.kid_subsets"),
                               .kid_size = dmq_config_int(c, "evaluate.kid_size"),
                               .resamples = dmq_config_int(c, "evaluate.bootstrap"),
                               .levels = j->at.levels };
}

static dmq_status open_network(dmq_judge *j)
{
    const char *stated = dmq_config_text(j->at.config, "evaluate.reference_features");
    dmq_status st = DMQ_OK;

    if (j->at.ready) {
        (void)snprintf(j->id, sizeof j->id, "%s", *stated ? stated : "unstated");
        return check_ready(&j->at);
    }
    DMQ_TRY(open_extractor(&j->extractor, &j->at));
    (void)snprintf(j->id, sizeof j->id, "%s", j->extractor->id);
done:
    return st;
}

/* ------------------------------------------------------------------ checks before anything is computed */

/* Two things are wrong: tell both. The code is the first one's. */
static dmq_status tell_both(dmq_status first, const char *text, dmq_status second)
{
    char *other = NULL;
    dmq_status st = DMQ_OK;

    if (first == DMQ_OK)
        return second;
    if (second == DMQ_OK) {
        dmq_message_set(text);
        return first;
    }
    DMQ_TRY(dmq_strdup(&other, dmq_message()));
    st = dmq_fail(first, "%s\n  and: %s", text, other);
done:
    dmq_free(other);
    return st;
}

/* Images enough, and a reference that fits; what the network is, is known. */
static dmq_status check_rest(const dmq_judge *j)
{
    const dmq_feature_set *ready = j->at.ready;
    dmq_score_config how;
    dmq_image_set *set = NULL;
    char *path = NULL;
    dmq_status st = DMQ_OK;

    settings(&how, j);
    if (j->at.n > 0) {
        st = dmq_metrics_check_count(
            &how, j->at.n, ready ? ready->width[DMQ_FEATURE_LOGITS] : j->extractor->classes);
        DMQ_TRY(dmq_config_place(j->at.config, st));
    }
    if (!dmq_metrics_compare(j->metrics))
        goto done;
    DMQ_TRY(dmq_judge_find_reference(&set, &path, &j->at));
    if (path)
        DMQ_TRY(dmq_judge_check_statistics(j, &how, path));
done:
    dmq_image_set_close(set);
    dmq_free(path);
    return st;
}

/* Without the network: whether the reference is there at least. */
static dmq_status check_place(const dmq_judge *j)
{
    dmq_image_set *set = NULL;
    char *path = NULL;
    dmq_status st = DMQ_OK;

    if (dmq_metrics_compare(j->metrics))
        DMQ_TRY(dmq_judge_find_reference(&set, &path, &j->at));
done:
    dmq_image_set_close(set);
    dmq_free(path);
    return st;
}

dmq_status dmq_judge_check(const dmq_judge_config *config)
{
    dmq_judge j = { .at = *config, .metrics = dmq_judge_metrics(config->config) };
    char *text = NULL;
    dmq_status network, st = DMQ_OK;

    if (!j.metrics)
        return DMQ_OK;
    network = open_network(&j);
    if (network == DMQ_ENOMEM)
        return network;
    DMQ_TRY(dmq_strdup(&text, network == DMQ_OK ? "" : dmq_message()));
    st = network == DMQ_OK ? check_rest(&j) : tell_both(network, text, check_place(&j));
done:
    dmq_extractor_close(j.extractor);
    dmq_free(text);
    return st;
}

/* ------------------------------------------------------------------ the judge */

dmq_status dmq_judge_create(dmq_judge **out, const dmq_judge_config *config)
{
    dmq_judge *j = NULL;
    dmq_score_config how;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&j, 1, sizeof *j));
    j->at = *config;
    j->metrics = dmq_judge_metrics(config->config);
    DMQ_TRY(open_network(j));
    if (dmq_metrics_compare(j->metrics))
        DMQ_TRY(dmq_judge_take_reference(j));
    if (j->missing == 0) {
        settings(&how, j);
        DMQ_TRY(dmq_scorer_create(&j->scorer, &how, j->reference));
    }
    *out = j;
    j = NULL;
done:
    dmq_judge_destroy(j);
    return st;
}

void dmq_judge_destroy(dmq_judge *j)
{
    if (!j)
        return;
    dmq_scorer_destroy(j->scorer);
    dmq_reference_destroy(j->reference);
    dmq_extractor_close(j->extractor);
    dmq_free(j);
}

dmq_status dmq_scores_put(dmq_json *list, const dmq_scores *scores)
{
    dmq_json *m;
    dmq_status st = DMQ_OK;

    for (int i = 0; i < scores->count; i++) {
        const dmq_score *s = &scores->score[i];

        DMQ_TRY(dmq_json_set_object(&m, list, dmq_metric_names[s->metric]));
        DMQ_TRY(dmq_json_set_text(m, "id", s->id));
        DMQ_TRY(dmq_json_set_real(m, "value", s->value));
        if (isfinite(s->sd))
            DMQ_TRY(dmq_json_set_real(m, "sd", s->sd));
        DMQ_TRY(dmq_json_set_int(m, "n", s->n));
        if (s->resamples == 0)
            continue;
        DMQ_TRY(dmq_json_set_int(m, "resamples", s->resamples));
        DMQ_TRY(dmq_json_set_real(m, "low", s->interval.low));
        DMQ_TRY(dmq_json_set_real(m, "high", s->interval.high));
        DMQ_TRY(dmq_json_set_real(m, "resampled_mean", s->interval.mean));
    }
done:
    return st;
}
