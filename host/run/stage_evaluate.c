/* evaluate: images-fp.h5, images-q.h5, calib.h5, quant.h5 -> metrics.json

   Every number carries the id of its metric, the number of images, and is told for the full-precision
   model too where that has one. */
#include "base/memory.h"
#include "run/evaluate_inner.h"

#include <string.h>

int dmq_evaluate_batch(int n, int from)
{
    return n - from < DMQ_EVALUATE_BATCH ? n - from : DMQ_EVALUATE_BATCH;
}

int dmq_evaluate_wants(const dmq_config *config, const char *metric)
{
    int n;
    const char *const *names = dmq_config_texts(config, "evaluate.metrics", &n);

    for (int i = 0; i < n; i++) {
        if (strcmp(names[i], metric) == 0)
            return 1;
    }
    return 0;
}

static dmq_status open_images(dmq_evaluating *v)
{
    char *path = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_folder_file(&path, v->job->folder, dmq_stages[DMQ_RUN_SAMPLE_FP].file));
    DMQ_TRY(dmq_images_open(&v->fp, path, NULL));
    dmq_free(path);
    path = NULL;
    DMQ_TRY(dmq_folder_file(&path, v->job->folder, dmq_stages[DMQ_RUN_SAMPLE].file));
    DMQ_TRY(dmq_images_open(&v->q, path, NULL));
    if (v->fp.n != v->q.n || !dmq_shape_equal(v->fp.one, v->q.one)) {
        st = dmq_fail(DMQ_ESHAPE, "evaluate: %d full-precision images, %d quantized ones", v->fp.n,
                      v->q.n);
        st = dmq_fail_note(st,
                           "  hint: both are made by sample.count; --overwrite makes them again");
    }
done:
    dmq_free(path);
    return st;
}

dmq_status dmq_evaluate_put(dmq_json *list, const char *name, const char *id, double value, int n)
{
    dmq_json *m;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_json_set_object(&m, list, name));
    DMQ_TRY(dmq_json_set_text(m, "id", id));
    DMQ_TRY(dmq_json_set_real(m, "value", value));
    DMQ_TRY(dmq_json_set_int(m, "n", n));
done:
    return st;
}

dmq_status dmq_evaluate_check(const dmq_experiment *e)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_evaluate_features_check(e));
    DMQ_TRY(dmq_evaluate_pairs_check(e));
done:
    return st;
}

dmq_status dmq_stage_evaluate(dmq_job *job)
{
    dmq_evaluating v = { .job = job, .config = job->experiment->config, .e = job->experiment };
    dmq_json *fp, *q;
    dmq_status st = DMQ_OK;

    v.levels = (dmq_levels)dmq_config_enum(v.config, "sample.levels");
    DMQ_TRY(open_images(&v));
    DMQ_TRY(dmq_json_object(&v.out));
    DMQ_TRY(dmq_json_set_text(v.out, "format", "dmq-metrics"));
    DMQ_TRY(dmq_json_set_text(v.out, "label",
                              dmq_json_text(dmq_json_get(job->folder->manifest, "label"), "")));
    DMQ_TRY(dmq_json_set_int(v.out, "seed", dmq_config_int64(v.config, "seed")));
    DMQ_TRY(dmq_json_set_int(v.out, "sample_seed", dmq_config_int64(v.config, "sample.seed")));
    DMQ_TRY(dmq_json_set_int(v.out, "images", v.q.n));
    DMQ_TRY(dmq_json_set_object(&fp, v.out, "fp"));
    DMQ_TRY(dmq_json_set_object(&q, v.out, "quantized"));
    if (dmq_judge_metrics(v.config)) {
        DMQ_TRY(dmq_evaluate_features(&v, fp, q));
    } else if (job->n_shards > 0) {
        st = dmq_config_refuse(v.config, "evaluate.metrics", "none of them is made in shards");
    }
    if (st != DMQ_OK || job->incomplete)
        goto done;
    DMQ_TRY(dmq_evaluate_pairs(&v, q));
    DMQ_TRY(dmq_evaluate_steps(&v, q));
    DMQ_TRY(dmq_evaluate_blocks(&v, q));
    DMQ_TRY(dmq_evaluate_costs(&v, fp, q));
    DMQ_TRY(dmq_evaluate_grid(&v));
    DMQ_TRY(dmq_json_save(job->out, v.out));
    DMQ_TRY(dmq_evaluate_features_clean(&v));
done:
    dmq_json_destroy(v.out);
    dmq_judge_destroy(v.judge);
    dmq_free(v.ckpt);
    dmq_images_close(&v.fp);
    dmq_images_close(&v.q);
    return st;
}
