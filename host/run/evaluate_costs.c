/* evaluate: what the networks weigh and compute, by the conventions of quant/cost.h */
#include "run/evaluate_inner.h"

#include "base/memory.h"
#include "quant/cost.h"
#include "quant/quant_file.h"
#include "run/settings.h"

/* A number of no images: no n. */
static dmq_status put(dmq_json **out, dmq_json *list, const char *name, const char *id,
                      double value)
{
    dmq_json *m;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_json_set_object(&m, list, name));
    DMQ_TRY(dmq_json_set_text(m, "id", id));
    DMQ_TRY(dmq_json_set_real(m, "value", value));
    if (out)
        *out = m;
done:
    return st;
}

static dmq_status put_all(dmq_json *to, const dmq_cost *c, const dmq_first_stage *first)
{
    dmq_json *size;
    dmq_status st = DMQ_OK;

    DMQ_TRY(put(&size, to, "size_mb", "size/weights+scales", c->size_bytes / 1e6));
    DMQ_TRY(dmq_json_set_real(size, "weights", c->weight_bytes / 1e6));
    DMQ_TRY(dmq_json_set_real(size, "weight_ranges", c->range_bytes / 1e6));
    DMQ_TRY(dmq_json_set_real(size, "act_tables", c->table_bytes / 1e6));
    DMQ_TRY(dmq_json_set_real(size, "rest", c->rest_bytes / 1e6));
    if (first->model) {
        DMQ_TRY(put(NULL, to, "size_first_mb", "size/weights+scales+decoder",
                    (c->size_bytes + 4.0 * (double)dmq_model_count(first->model)) / 1e6));
    }
    DMQ_TRY(put(NULL, to, "bops", "bops/mac-wa", c->bops));
    DMQ_TRY(put(NULL, to, "bops_fp23", "bops/2mac-wa-fp23", c->bops_fp23));
    DMQ_TRY(put(NULL, to, "macs", "macs/one-call-one-image", c->macs));
done:
    return st;
}

dmq_status dmq_evaluate_costs(dmq_evaluating *v, dmq_json *fp, dmq_json *quantized)
{
    const dmq_experiment *e = v->e;
    dmq_ranges_config weights;
    dmq_cost_ranges ranges;
    dmq_choice *choice = NULL;
    dmq_qmodel *q = NULL;
    char *path = NULL;
    dmq_cost cost;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_folder_file(&path, v->job->folder, dmq_stages[DMQ_RUN_QUANTIZE].file));
    DMQ_TRY(dmq_quant_load(&q, path, e->model, e->model_hash, e->sampler));
    DMQ_TRY(dmq_alloc((void **)&choice, (size_t)e->model->n_layers, sizeof *choice));
    dmq_qmodel_choice(choice, q);
    dmq_ranges_settings(&weights, e->config);
    ranges = (dmq_cost_ranges){ .per_tensor = weights.per_tensor, .table_rows = q->table_rows };
    DMQ_TRY(dmq_cost_of(&cost, e->model, NULL, NULL, e->backend));
    DMQ_TRY(put_all(fp, &cost, &e->first));
    DMQ_TRY(dmq_cost_of(&cost, e->model, choice, &ranges, e->backend));
    DMQ_TRY(put_all(quantized, &cost, &e->first));
done:
    dmq_qmodel_destroy(q);
    dmq_free(choice);
    dmq_free(path);
    return st;
}
