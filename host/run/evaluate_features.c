/* evaluate: metrics of features, of the full-precision images and of the quantized ones

   Features lie in ckpt/ piece by piece until metrics.json is there: a stopped evaluation goes on with the next piece,
   and shards are runs over some of the pieces. What arms of a sweep share is made once: statistics of the reference
   (run/judge.h), and the metrics of the full-precision images. */
#include "run/evaluate_inner.h"

#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "run/judge.h"
#include "run/store.h"

#include <stdio.h>
#include <string.h>

/* Names of the pieces. */
#define FP        "features-fp"
#define QUANTIZED "features-q"

typedef struct scoring {
    dmq_evaluating *v;
    dmq_judge *judge; /* v's */
    int missing;      /* pieces left to other shards */
} scoring;

static void configure(dmq_judge_config *out, const dmq_experiment *e)
{
    *out = (dmq_judge_config){ .config = e->config,
                               .lanes = e->lanes,
                               .h = e->image.dim[1],
                               .w = e->image.dim[2],
                               .c = e->image.dim[3],
                               .n = dmq_config_int(e->config, "sample.count") };
}

/* Features of one side's images; NULL where pieces are left to other shards. */
static dmq_status features(dmq_feature_set **out, scoring *s, dmq_stage_id side)
{
    const dmq_job *job = s->v->job;
    const dmq_image_set_config how = { .levels = s->v->levels };
    unsigned metrics = s->judge->metrics;
    int fp = side == DMQ_RUN_SAMPLE_FP, missing = 0;
    dmq_feature_job make = { .extractor = s->judge->extractor,
                             .spatial = dmq_metrics_need_spatial(metrics),
                             .logits = (metrics >> DMQ_METRIC_IS & 1) != 0,
                             .folder = s->judge->at.folder,
                             .name = fp ? FP : QUANTIZED,
                             .shard = job->shard,
                             .n_shards = job->n_shards,
                             .merge = job->merge,
                             .progress = fp ? "evaluate-fp" : "evaluate" };
    dmq_image_set *images = NULL;
    char *path = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_folder_file(&path, job->folder, dmq_stages[side].file));
    DMQ_TRY(dmq_image_set_open(&images, path, &how));
    make.images = images;
    make.n = images->n;
    DMQ_TRY(dmq_feature_set_make(out, &missing, &make));
    s->missing += missing;
done:
    dmq_image_set_close(images);
    dmq_free(path);
    return st;
}

static dmq_status score(dmq_json *to, scoring *s, dmq_stage_id side)
{
    dmq_feature_set *set = NULL;
    dmq_scores scores;
    dmq_status st = DMQ_OK;

    DMQ_TRY(features(&set, s, side));
    DMQ_TRY(dmq_scorer_run(&scores, s->judge->scorer, set, s->judge->id));
    DMQ_TRY(dmq_scores_put(to, &scores));
done:
    dmq_feature_set_destroy(set);
    return st;
}

/* ------------------------------------------------------------------ the full-precision side, once a sweep */

static dmq_status key_of(char out[DMQ_HASH_TEXT], const scoring *s)
{
    const dmq_reference *r = s->judge->reference;
    dmq_text t = { 0 };
    char images[DMQ_HASH_TEXT], *keys = NULL, *all = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_stage_key(images, NULL, s->v->e, DMQ_RUN_SAMPLE_FP));
    DMQ_TRY(dmq_config_stage_text(&keys, s->v->config, dmq_stages[DMQ_RUN_EVALUATE].keys));
    dmq_text_add(&t, "metrics-fp 1\nimages %s\nextractor %s\nreference %s %s\n%s", images,
                 s->judge->id, r ? r->name : "", r ? r->hash : "", keys);
    DMQ_TRY(dmq_text_take(&all, &t));
    DMQ_TRY(dmq_hash_memory(out, all, strlen(all)));
done:
    dmq_text_release(&t);
    dmq_free(keys);
    dmq_free(all);
    return st;
}

static dmq_status score_into_file(const char *path, void *context)
{
    scoring *s = context;
    dmq_json *list = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_json_object(&list));
    DMQ_TRY(score(list, s, DMQ_RUN_SAMPLE_FP));
    DMQ_TRY(dmq_json_save(path, list));
done:
    dmq_json_destroy(list);
    return st;
}

static dmq_status score_fp(dmq_json *to, scoring *s)
{
    static const char file[] = "metrics-fp.json";
    const char *store = s->v->job->folder->store;
    char key[DMQ_HASH_TEXT], *path = NULL;
    dmq_json *list = NULL;
    dmq_status st = DMQ_OK;

    if (!store)
        return score(to, s, DMQ_RUN_SAMPLE_FP);
    DMQ_TRY(key_of(key, s));
    DMQ_TRY(dmq_store_take(NULL, store, key, file, score_into_file, s));
    DMQ_TRY(dmq_store_path(&path, store, key, file));
    DMQ_TRY(dmq_json_load(&list, path));
    for (void *m = dmq_json_first(list); m; m = dmq_json_next(list, m))
        DMQ_TRY(dmq_json_set_copy(to, dmq_json_member_key(m), dmq_json_member_value(m)));
done:
    dmq_json_destroy(list);
    dmq_free(path);
    return st;
}

/* ------------------------------------------------------------------ both */

static dmq_status tell_how(const scoring *s)
{
    const dmq_reference *r = s->judge->reference;
    dmq_json *m;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_json_set_object(&m, s->v->out, "features"));
    DMQ_TRY(dmq_json_set_text(m, "extractor", s->judge->id));
    if (r) {
        DMQ_TRY(dmq_json_set_text(m, "reference", r->name));
        DMQ_TRY(dmq_json_set_int(m, "reference_images", r->n));
    }
done:
    return st;
}

/* A shard: its pieces of both sides, and nothing else. */
static dmq_status make_shard(scoring *s)
{
    dmq_feature_set *set = NULL;
    dmq_status st = DMQ_OK;

    s->missing = s->judge->missing;
    for (int i = 0; i < 2; i++) {
        DMQ_TRY(features(&set, s, i ? DMQ_RUN_SAMPLE : DMQ_RUN_SAMPLE_FP));
        dmq_feature_set_destroy(set);
        set = NULL;
    }
done:
    return st;
}

static dmq_status open_judge(dmq_evaluating *v)
{
    const dmq_job *job = v->job;
    dmq_judge_config how;
    dmq_status st = DMQ_OK;

    configure(&how, v->e);
    DMQ_TRY(dmq_folder_file(&v->ckpt, job->folder, "ckpt"));
    (void)snprintf(v->id_levels, sizeof v->id_levels, "uint8-%s",
                   dmq_config_text(v->config, "sample.levels"));
    how.levels = v->id_levels;
    how.folder = v->ckpt;
    how.store = job->folder->store;
    how.shard = job->shard;
    how.n_shards = job->n_shards;
    how.merge = job->merge;
    DMQ_TRY(dmq_judge_create(&v->judge, &how));
done:
    return st;
}

dmq_status dmq_evaluate_features(dmq_evaluating *v, dmq_json *fp, dmq_json *q)
{
    dmq_job *job = v->job;
    scoring s = { .v = v };
    dmq_status st = DMQ_OK;

    DMQ_TRY(open_judge(v));
    s.judge = v->judge;
    if (job->n_shards > 0) {
        DMQ_TRY(make_shard(&s));
        job->incomplete = s.missing > 0 || !dmq_folder_claim(job->folder);
        if (s.missing > 0) {
            dmq_log_info("evaluate: shard %d of %d is done; %d pieces are left to others",
                         job->shard, job->n_shards, s.missing);
        } else if (job->incomplete) {
            dmq_log_info("evaluate: all pieces are there, but others work here still: dmq evaluate "
                         "--merge joins "
                         "them");
        }
        if (job->incomplete)
            goto done;
    }
    DMQ_TRY(tell_how(&s));
    DMQ_TRY(score_fp(fp, &s));
    DMQ_TRY(score(q, &s, DMQ_RUN_SAMPLE));
done:
    return st;
}

dmq_status dmq_evaluate_features_clean(const dmq_evaluating *v)
{
    dmq_status st = DMQ_OK;

    if (!v->judge)
        return DMQ_OK;
    DMQ_TRY(dmq_feature_set_remove(v->judge->at.folder, FP, v->fp.n));
    DMQ_TRY(dmq_feature_set_remove(v->judge->at.folder, QUANTIZED, v->q.n));
    DMQ_TRY(dmq_judge_clean(v->judge));
done:
    return st;
}

dmq_status dmq_evaluate_features_check(const dmq_experiment *e)
{
    dmq_judge_config how;

    configure(&how, e);
    return dmq_judge_check(&how);
}
