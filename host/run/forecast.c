#include "run/forecast.h"

#include "base/clock.h"
#include "base/machine.h"
#include "base/memory.h"
#include "base/path.h"
#include "base/progress.h"
#include "diffusion/forward.h"
#include "diffusion/moves.h"
#include "eval/moments.h"
#include "model/decode.h"
#include "quant/hooks.h"
#include "run/forecast_inner.h"
#include "run/judge.h"
#include "run/settings.h"

#include <math.h>
#include <string.h>

/* Rounds of passes are timed for about so long. */
#define ENOUGH_SECONDS 0.5
#define MAX_ROUNDS     32

/* ------------------------------------------------------------------ the miniature */

static void scale_of(dmq_scale *s, const dmq_calib *c)
{
    *s = (dmq_scale){ .n = c->n,
                      .train = dmq_calib_list(c, DMQ_TRAIN, NULL),
                      .validation = dmq_calib_list(c, DMQ_VALIDATION, NULL),
                      .held_out = dmq_calib_list(c, DMQ_HELD_OUT, NULL),
                      .steps = c->n_steps,
                      .weight_steps = c->n_weight_steps,
                      .per_step = c->per_step };
}

static int min_int(int a, int b)
{
    return a < b ? a : b;
}

static int max_int(int a, int b)
{
    return a > b ? a : b;
}

/* Samples of a set of these settings, without its states. */
static void count_scale(dmq_scale *s, const dmq_calib_config *c, int n_steps)
{
    int val = 0;

    if (c->validation > 0)
        val = max_int(1, (int)floor(c->validation * c->per_timestep + 0.5));
    s->steps = n_steps;
    s->weight_steps = (n_steps + c->interval - 1) / c->interval;
    s->per_step = c->per_timestep + c->held_out;
    s->validation = val * s->weight_steps;
    s->held_out = c->held_out * s->weight_steps;
    s->train = (c->per_timestep - val) * s->weight_steps;
    s->n = s->per_step * s->weight_steps;
}

/* A set that has a batch to learn from and a sample of every kind in each timestep group. */
static dmq_status make_mini(dmq_forecasting *g)
{
    const dmq_experiment *e = g->e;
    const dmq_config *c = e->config;
    dmq_calib_config config;
    int batch = max_int(g->recon.recon.batch, dmq_config_int(c, "reweight.batch")), steps, per;
    dmq_status st = DMQ_OK;

    dmq_calib_settings(&config, c);
    count_scale(&g->full, &config, e->sampler->n_steps);
    if (g->f->counts_only)
        return st;
    steps = min_int(g->full.weight_steps, max_int(8, dmq_config_int(c, "reweight.groups")));
    per = (batch + steps - 1) / steps + 2;
    config.per_timestep = min_int(config.per_timestep, per);
    config.held_out = min_int(config.held_out, 1);
    config.interval = 1;
    config.validation = config.validation > 0 ? 1.0 / config.per_timestep : 0;
    DMQ_TRY(dmq_calib_noise(&g->calib, e->model, e->sampler, steps, &config));
    scale_of(&g->mini, g->calib);
done:
    return st;
}

/* ------------------------------------------------------------------ passes */

static dmq_status forward(const dmq_forecasting *g, const dmq_hook_source *source, int n)
{
    const dmq_experiment *e = g->e;
    size_t per = dmq_shape_count(e->model->input);
    dmq_real *x = NULL, *out = NULL, *t = NULL;
    int *label = NULL;
    dmq_status st = DMQ_OK;

    if (e->model->n_labels > 0)
        DMQ_TRY(dmq_alloc((void **)&label, (size_t)n, sizeof *label)); /* of class 0 */
    DMQ_TRY(dmq_alloc((void **)&x, (size_t)n * per, sizeof *x));
    DMQ_TRY(dmq_alloc((void **)&out, (size_t)n * dmq_value_per(e->model, e->model->output),
                      sizeof *out));
    DMQ_TRY(dmq_alloc((void **)&t, (size_t)n, sizeof *t));
    for (int i = 0; i < n; i++) {
        t[i] = (dmq_real)g->calib->t[0];
        memcpy(x + (size_t)i * per, g->calib->x + (size_t)(i % g->mini.per_step) * per,
               per * sizeof *x);
    }
    DMQ_TRY(dmq_forward_run(
        e->model, source, e->lanes,
        &(dmq_forward_args){ .x = x, .t = t, .label = label, .out = out, .n = n, .nhwc = 1 }));
done:
    dmq_free(label);
    dmq_free(x);
    dmq_free(out);
    dmq_free(t);
    return st;
}

/* Seconds of a round; bytes of the process while it runs. */
static dmq_status time_rounds(double *seconds, double *bytes, const dmq_forecasting *g,
                              const dmq_hook_source *source)
{
    int rounds;
    double once, start;
    dmq_status st = DMQ_OK;

    dmq_process_peak_begin();
    DMQ_TRY(forward(g, source, g->f->round)); /* wakes caches up */
    start = dmq_clock_seconds();
    DMQ_TRY(forward(g, source, g->f->round));
    once = dmq_clock_seconds() - start;
    rounds = (int)fmin(fmax(ENOUGH_SECONDS / once, 1), MAX_ROUNDS);
    start = dmq_clock_seconds();
    DMQ_TRY(forward(g, source, (1 + rounds) * g->f->round));
    *seconds = (dmq_clock_seconds() - start - once) / rounds;
    *bytes = dmq_process_peak();
done:
    return st;
}

/* Seconds of an image of the first stage, all lanes at work. */
static dmq_status time_decode(dmq_forecasting *g)
{
    const dmq_experiment *e = g->e;
    dmq_shape one = dmq_first_stage_image(&e->first, e->model->input);
    int n = dmq_lanes_count(e->lanes);
    dmq_decode *decode = NULL;
    dmq_real *images = NULL;
    double start;
    dmq_status st = DMQ_OK;

    if (!e->first.model)
        return DMQ_OK;
    DMQ_TRY(dmq_decode_create(&decode, e->first.model, e->first.scale_factor, e->lanes));
    DMQ_TRY(dmq_alloc((void **)&images, (size_t)n * dmq_shape_count(one), sizeof *images));
    start = dmq_clock_seconds();
    DMQ_TRY(dmq_decode_run(decode, images, g->calib->x, n, NULL, NULL));
    g->f->decode = (dmq_clock_seconds() - start) / n;
done:
    dmq_decode_destroy(decode);
    dmq_free(images);
    return st;
}

static dmq_status count_macs(dmq_forecasting *g)
{
    const dmq_experiment *e = g->e;
    dmq_tape *tape = NULL;
    dmq_index *label;
    double bytes;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_tape_create(&tape, e->backend, DMQ_TAPE_FORWARD));
    label = e->model->n_labels > 0 ? dmq_tape_index(tape, "label", 1) : NULL;
    dmq_tape_output(tape, dmq_model_record(e->model, tape, NULL,
                                           dmq_tape_input(tape, "x", e->model->input),
                                           dmq_tape_input(tape, "t", dmq_shape1(1)), label));
    DMQ_TRY(dmq_tape_plan(tape));
    dmq_tape_cost(tape, &g->f->macs_per_pass, &bytes);
done:
    dmq_tape_destroy(tape);
    return st;
}

/* Rounds that n images of one job take, a shard on a lane at a time. */
static double rounds_of(const dmq_forecasting *g, int n)
{
    int shard = g->e->backend->shard, lanes = g->f->round / shard;
    int pieces = (n + shard - 1) / shard;

    return (double)((pieces + lanes - 1) / lanes);
}

/* ------------------------------------------------------------------ stages */

static double image_bytes(const dmq_experiment *e)
{
    return (double)dmq_shape_count(dmq_first_stage_image(&e->first, e->model->input)) *
           sizeof(dmq_real);
}

static void calibrate(dmq_forecasting *g, double bytes)
{
    dmq_forecast_stage *s = &g->f->stage[DMQ_RUN_CALIBRATE];
    dmq_calib_config config;
    double n = g->full.steps, trips, states;

    dmq_calib_settings(&config, g->e->config);
    states = (double)g->full.steps * g->full.per_step *
             (double)dmq_shape_count(g->e->model->input) * sizeof(dmq_real);
    trips = config.fresh ? n * (n - 1) / 2 : n - 1;
    s->passes = trips * g->full.per_step;
    s->seconds = trips * rounds_of(g, g->full.per_step) * g->f->pass;
    s->host_bytes = bytes + states;
    s->disk_bytes = states;
}

static void sample(dmq_forecasting *g, dmq_stage_id id, double pass, double bytes)
{
    dmq_forecast_stage *s = &g->f->stage[id];
    const dmq_config *c = g->e->config;
    int count = dmq_config_int(c, "sample.count"), batch = dmq_config_int(c, "sample.batch");
    int piece = (batch + 7) / 8 * 8, whole = count / piece;
    int calls = dmq_moves_count(g->e->sampler) * dmq_sampler_branches(g->e->sampler);
    double images = count * image_bytes(g->e);

    s->passes = (double)calls * count;
    s->seconds = calls * pass *
                 (whole * rounds_of(g, piece) + (count % piece ? rounds_of(g, count % piece) : 0));
    s->host_bytes = bytes + images;
    s->disk_bytes = 2 * images; /* pieces and the file that joins them */
}

static dmq_status quantize(dmq_forecasting *g)
{
    const dmq_experiment *e = g->e;
    const dmq_config *c = e->config;
    dmq_forecast_stage *s = &g->f->stage[DMQ_RUN_QUANTIZE];
    dmq_forecast_quantize *q = &g->f->quantize;
    dmq_choice *choice = NULL;
    dmq_ranges_config ranges;
    dmq_tables_config tables;
    dmq_coverage cover;
    double states, start, rows;
    int any = 0;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&choice, (size_t)e->model->n_layers, sizeof *choice));
    DMQ_TRY(dmq_policy_settings(choice, c, e->model));
    dmq_coverage_of(&cover, e->model, choice);
    DMQ_TRY(dmq_qmodel_create(&g->q, e->model, choice));
    DMQ_TRY(dmq_qmodel_place(g->q, e->lanes));
    dmq_ranges_settings(&ranges, c);
    start = dmq_clock_seconds();
    if (!g->f->counts_only)
        DMQ_TRY(dmq_ranges_run(g->q, e->lanes, &ranges));
    q->ranges = g->f->counts_only ? 0 : dmq_clock_seconds() - start;
    if (dmq_config_enum(c, "quant.weight.round") == 1)
        DMQ_TRY(dmq_forecast_units(g));
    dmq_process_peak_begin();
    for (int i = 0; i < e->model->n_layers; i++)
        any |= g->q->layer[i].act_bits > 0;
    if (any) {
        int batch, met;

        dmq_tables_settings(&tables, c);
        if (!g->f->counts_only) {
            start = dmq_clock_seconds();
            DMQ_TRY(dmq_tables_run(g->q, g->calib, e->lanes, &tables));
            q->tables = dmq_clock_seconds() - start;
            /* of the miniature: rows x passes of min(batch, samples); of the run alike */
            met = g->mini.per_step - (g->mini.held_out > 0);
            batch = min_int(tables.batch, met);
            rows = tables.single ? 1 : g->mini.steps;
            q->tables /= rows * batch * (1 + (met + batch - 1) / batch);
        }
        met = g->full.per_step - g->full.held_out / max_int(g->full.weight_steps, 1);
        batch = min_int(tables.batch, met);
        rows = tables.single ? 1 : g->full.steps;
        s->passes = rows * batch * (1 + (met + batch - 1) / batch);
        q->tables *= s->passes;
    }
    states = (double)g->full.steps * g->full.per_step * (double)dmq_shape_count(e->model->input) *
             sizeof(dmq_real);
    s->passes += 2.0 * g->full.n * (g->f->n_units > 0);
    s->seconds = q->ranges + q->prefix + q->weigh + q->learn + q->measure + q->tables;
    s->host_bytes = g->f->counts_only ? 0 : states + fmax(dmq_process_peak(), s->host_bytes);
    if (e->backend->host_memory)
        s->device_bytes = 0;
    s->disk_bytes += cover.size_bytes + 4 * cover.weights_quantized;
done:
    dmq_free(choice);
    return st;
}

/* ------------------------------------------------------------------ evaluate */

/* What is in the images does not matter to the time: grey ones stand for all. */
static dmq_status time_features(dmq_forecasting *g, double *image)
{
    const dmq_experiment *e = g->e;
    const int *one = e->image.dim; /* (1, H, W, C) */
    int n = 8 * dmq_lanes_count(e->lanes);
    dmq_extractor *x = NULL;
    uint8_t *images = NULL;
    float *f = NULL;
    dmq_moments *m = NULL;
    char *path = NULL;
    double start;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_path_resolve(&path, dmq_config_text(e->config, "evaluate.features")));
    DMQ_TRY(dmq_extractor_open(&x, path, (dmq_resize)dmq_config_enum(e->config, "evaluate.resize"),
                               e->lanes));
    DMQ_TRY(dmq_extractor_takes(x, one[1], one[2], one[3]));
    DMQ_TRY(dmq_alloc((void **)&images, (size_t)n * dmq_shape_count(e->image), 1));
    DMQ_TRY(dmq_alloc((void **)&f, (size_t)n * (size_t)x->pool, sizeof *f));
    DMQ_TRY(dmq_moments_create(&m, x->pool));
    memset(images, 127, (size_t)n * dmq_shape_count(e->image));
    DMQ_TRY(dmq_extractor_run(x, f, NULL, NULL, images, n, one[1], one[2]));
    start = dmq_clock_seconds();
    DMQ_TRY(dmq_extractor_run(x, f, NULL, NULL, images, n, one[1], one[2]));
    DMQ_TRY(dmq_moments_add(m, f, (size_t)n));
    *image = (dmq_clock_seconds() - start) / n;
done:
    dmq_moments_destroy(m);
    dmq_extractor_close(x);
    dmq_free(images);
    dmq_free(f);
    dmq_free(path);
    return st;
}

/* Images of the reference whose features have to be made, and the seconds of reading one. */
static dmq_status time_reference(dmq_forecasting *g, double *n, double *read)
{
    enum { SOME = 64 };
    const int *one = g->e->image.dim;
    const dmq_judge_config at = {
        .config = g->e->config, .lanes = g->e->lanes, .h = one[1], .w = one[2], .c = one[3]
    };
    dmq_image_set *set = NULL;
    uint8_t *images = NULL;
    char *path = NULL;
    int some;
    double start;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_judge_find_reference(&set, &path, &at));
    if (!set) /* statistics: nothing is to be made */
        goto done;
    *n = (double)set->n;
    some = set->n < SOME ? (int)set->n : SOME;
    DMQ_TRY(dmq_alloc((void **)&images, (size_t)some * dmq_shape_count(g->e->image), 1));
    start = dmq_clock_seconds();
    DMQ_TRY(dmq_image_set_read(images, NULL, set, 0, some));
    *read = (dmq_clock_seconds() - start) / some;
done:
    dmq_image_set_close(set);
    dmq_free(images);
    dmq_free(path);
    return st;
}

/* Network or reference may be missing: dmq_stages_check tells which, and the rest of the run is forecast. */
static dmq_status or_nothing(dmq_status st)
{
    return st == DMQ_ENOINPUT ? DMQ_OK : st;
}

static dmq_status evaluate(dmq_forecasting *g)
{
    const dmq_config *c = g->e->config;
    dmq_forecast_stage *s = &g->f->stage[DMQ_RUN_EVALUATE];
    int count = dmq_config_int(c, "sample.count");
    unsigned metrics = dmq_judge_metrics(c);
    int held = g->full.held_out / max_int(g->full.weight_steps, 1) * g->full.steps;
    double image = 0, reference = 0, read = 0, one = image_bytes(g->e);
    dmq_status st = DMQ_OK;

    dmq_process_peak_begin();
    if (metrics && !g->f->counts_only)
        DMQ_TRY(or_nothing(time_features(g, &image)));
    if (dmq_metrics_compare(metrics) && !g->f->counts_only)
        DMQ_TRY(or_nothing(time_reference(g, &reference, &read)));
    s->passes = 2.0 * held;
    s->seconds = (2.0 * count + reference) * image + reference * read +
                 rounds_of(g, held) * (g->f->pass + g->f->pass_q);
    s->host_bytes =
        dmq_process_peak() + 2 * count * one +
        fmax(fmax(count, 2.0 * reference) * one, (double)g->full.steps * g->full.per_step * one);
done:
    return st;
}

/* ------------------------------------------------------------------ all of it */

static void sum_up(dmq_forecasting *g)
{
    dmq_forecast *f = g->f;

    for (int i = 0; i < DMQ_RUN_STAGES; i++) {
        const dmq_forecast_stage *s = &f->stage[i];

        f->seconds += s->seconds;
        f->host_bytes = fmax(f->host_bytes, s->host_bytes);
        f->device_bytes = fmax(f->device_bytes, s->device_bytes);
        f->disk_bytes += s->disk_bytes;
    }
}

/* What needs no measuring: how often the network runs, and what is left on the disk. */
static dmq_status count(dmq_forecasting *g)
{
    dmq_status st = DMQ_OK;

    calibrate(g, 0);
    sample(g, DMQ_RUN_SAMPLE_FP, 0, 0);
    DMQ_TRY(quantize(g));
    sample(g, DMQ_RUN_SAMPLE, 0, 0);
    DMQ_TRY(evaluate(g));
    for (int id = 0; id < DMQ_RUN_STAGES; id++) {
        g->f->stage[id].seconds = 0;
        g->f->stage[id].host_bytes = g->f->stage[id].device_bytes = 0;
    }
    sum_up(g);
done:
    return st;
}

dmq_status dmq_forecast_make(dmq_forecast **out, const dmq_experiment *e, int counts_only)
{
    dmq_forecasting g = { .e = e };
    dmq_attach attach;
    dmq_hook_source source;
    double bytes = 0, bytes_q = 0;
    dmq_status st = DMQ_OK;

    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&g.f, 1, sizeof *g.f));
    g.f->params = (double)dmq_model_count(e->model);
    g.f->round = e->backend->shard * dmq_lanes_count(e->lanes);
    dmq_recon_run_settings(&g.recon, e->config);
    g.f->counts_only = counts_only;
    DMQ_TRY(make_mini(&g));
    DMQ_TRY(count_macs(&g));
    if (counts_only) {
        DMQ_TRY(count(&g));
        *out = g.f;
        g.f = NULL;
        goto done;
    }
    dmq_progress_begin("plan", e->model->n_units + 3, 0, "measures");
    DMQ_TRY(time_decode(&g));
    DMQ_TRY(time_rounds(&g.f->pass, &bytes, &g, NULL));
    dmq_progress_add(1, "passes");
    calibrate(&g, bytes);
    sample(&g, DMQ_RUN_SAMPLE_FP, g.f->pass, bytes);
    DMQ_TRY(quantize(&g));
    dmq_attach_init(&attach, g.q);
    attach.acts = g.q->table_rows > 0;
    source = dmq_attach_source(&attach);
    DMQ_TRY(time_rounds(&g.f->pass_q, &bytes_q, &g, &source));
    dmq_progress_add(1, "quantized passes");
    sample(&g, DMQ_RUN_SAMPLE, g.f->pass_q, bytes_q);
    DMQ_TRY(evaluate(&g));
    dmq_progress_end();
    sum_up(&g);
    *out = g.f;
    g.f = NULL;
done:
    dmq_qmodel_destroy(g.q);
    dmq_calib_destroy(g.calib);
    dmq_forecast_destroy(g.f);
    return st;
}

void dmq_forecast_destroy(dmq_forecast *f)
{
    if (!f)
        return;
    dmq_free(f->unit);
    dmq_free(f);
}

static dmq_status stage_json(dmq_json *list, const dmq_forecast *f, int id)
{
    const dmq_forecast_stage *s = &f->stage[id];
    dmq_json *o;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_json_set_object(&o, list, dmq_stages[id].name));
    DMQ_TRY(dmq_json_set_real(o, "passes", s->passes));
    DMQ_TRY(dmq_json_set_real(o, "seconds", s->seconds));
    DMQ_TRY(dmq_json_set_real(o, "host_bytes", s->host_bytes));
    DMQ_TRY(dmq_json_set_real(o, "device_bytes", s->device_bytes));
    DMQ_TRY(dmq_json_set_real(o, "disk_bytes", s->disk_bytes));
    if (id != DMQ_RUN_QUANTIZE)
        goto done;
    DMQ_TRY(dmq_json_set_real(o, "seconds_ranges", f->quantize.ranges));
    DMQ_TRY(dmq_json_set_real(o, "seconds_prefix", f->quantize.prefix));
    DMQ_TRY(dmq_json_set_real(o, "seconds_weigh", f->quantize.weigh));
    DMQ_TRY(dmq_json_set_real(o, "seconds_learn", f->quantize.learn));
    DMQ_TRY(dmq_json_set_real(o, "seconds_measure", f->quantize.measure));
    DMQ_TRY(dmq_json_set_real(o, "seconds_tables", f->quantize.tables));
done:
    return st;
}

dmq_status dmq_forecast_json(dmq_json *out, const dmq_forecast *f)
{
    dmq_json *list;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_json_set_bool(out, "counts_only", f->counts_only));
    DMQ_TRY(dmq_json_set_real(out, "parameters", f->params));
    DMQ_TRY(dmq_json_set_real(out, "macs_per_pass", f->macs_per_pass));
    DMQ_TRY(dmq_json_set_real(out, "seconds_per_pass", f->pass / f->round));
    DMQ_TRY(dmq_json_set_real(out, "seconds_per_pass_quantized", f->pass_q / f->round));
    DMQ_TRY(dmq_json_set_object(&list, out, "stages"));
    for (int id = 0; id < DMQ_RUN_STAGES; id++)
        DMQ_TRY(stage_json(list, f, id));
    DMQ_TRY(dmq_json_set_array(&list, out, "units"));
    for (int i = 0; i < f->n_units; i++) {
        const dmq_forecast_unit *u = &f->unit[i];
        dmq_json *o;

        DMQ_TRY(dmq_json_add_object(&o, list));
        DMQ_TRY(dmq_json_set_text(o, "name", u->name));
        DMQ_TRY(dmq_json_set_real(o, "weights", (double)u->n_theta));
        DMQ_TRY(dmq_json_set_int(o, "iterations", u->iterations));
        DMQ_TRY(dmq_json_set_real(o, "seconds_per_iteration", u->iteration));
        DMQ_TRY(dmq_json_set_real(o, "seconds", u->seconds));
        DMQ_TRY(dmq_json_set_real(o, "bytes", u->bytes));
    }
    DMQ_TRY(dmq_json_set_real(out, "cache_bytes", f->cache_bytes));
    DMQ_TRY(dmq_json_set_bool(out, "cache_recomputes", f->recomputes));
    DMQ_TRY(dmq_json_set_real(out, "seconds", f->seconds));
    DMQ_TRY(dmq_json_set_real(out, "host_bytes", f->host_bytes));
    DMQ_TRY(dmq_json_set_real(out, "device_bytes", f->device_bytes));
    DMQ_TRY(dmq_json_set_real(out, "disk_bytes", f->disk_bytes));
done:
    return st;
}
