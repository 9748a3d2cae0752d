#include "train/optim.h"

#include "base/memory.h"
#include "model/model_file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define FORMAT "dmq-train"
enum { VERSION = 1, PIECE = 32768 /**< numbers of one piece of an update */ };

void dmq_optim_defaults(dmq_optim_config *config)
{
    *config = (dmq_optim_config){ .iterations = 10000,
                                  .lr = 1e-3,
                                  .lr_end = 0.1,
                                  .warmup = 200,
                                  .beta1 = 0.9,
                                  .beta2 = 0.999,
                                  .eps = 1e-8,
                                  .ema = 0.999,
                                  .clip = 1 };
}

dmq_status dmq_optim_check(const dmq_optim_config *c)
{
    const struct {
        const char *key;
        double value, low, high;
    } range[] = {
        { "iterations", c->iterations, 1, 1e9 },
        { "lr", c->lr, 1e-12, 1 },
        { "lr_end", c->lr_end, 0, 1 },
        { "warmup", c->warmup, 0, 1e9 },
        { "beta1", c->beta1, 0, 0.99999 },
        { "beta2", c->beta2, 0, 0.9999999 },
        { "eps", c->eps, 1e-30, 1 },
        { "ema", c->ema, 0, 0.9999999 },
        { "clip", c->clip, 0, 1e30 },
    };

    for (size_t i = 0; i < sizeof range / sizeof *range; i++) {
        if (!(range[i].value >= range[i].low && range[i].value <= range[i].high)) {
            return dmq_fail(DMQ_EINVAL, "train: %s = %g: must be %g..%g", range[i].key,
                            range[i].value, range[i].low, range[i].high);
        }
    }
    return DMQ_OK;
}

void dmq_optim_text(char *text, size_t size, const dmq_optim_config *c)
{
    size_t n = strlen(text);

    snprintf(text + n, size - n,
             "iterations: %d\nlr: %.9g\nlr_end: %.9g\nwarmup: %d\nbeta1: %.9g\nbeta2: %.9g\n"
             "eps: %.9g\nema: %.9g\nclip: %.9g\n",
             c->iterations, c->lr, c->lr_end, c->warmup, c->beta1, c->beta2, c->eps, c->ema,
             c->clip);
}

/* ------------------------------------------------------------------ blocks */

static dmq_status put(dmq_optim *o, dmq_real *block, const dmq_real *host)
{
    dmq_status st = DMQ_OK;
    const dmq_backend *be = dmq_lanes_backend(o->lanes);
    dmq_queue *queue = dmq_lanes_queue(o->lanes, 0);

    DMQ_TRY(be->upload(queue, block, host, o->model->n_params * sizeof *block));
    DMQ_TRY(be->sync(queue));
done:
    return st;
}

static dmq_status get(dmq_optim *o, dmq_real *host, const dmq_real *block)
{
    dmq_status st = DMQ_OK;
    const dmq_backend *be = dmq_lanes_backend(o->lanes);
    dmq_queue *queue = dmq_lanes_queue(o->lanes, 0);

    DMQ_TRY(be->download(queue, host, block, o->model->n_params * sizeof *block));
    DMQ_TRY(be->sync(queue));
done:
    return st;
}

dmq_status dmq_optim_create(dmq_optim **out, const dmq_model *model, const dmq_optim_config *config,
                            dmq_lanes *lanes)
{
    dmq_status st = DMQ_OK;
    const dmq_backend *be = dmq_lanes_backend(lanes);
    size_t bytes = model->n_params * sizeof(dmq_real);
    dmq_optim *o = NULL;

    DMQ_TRY(dmq_optim_check(config));
    DMQ_TRY(dmq_alloc((void **)&o, 1, sizeof *o));
    o->config = *config;
    o->model = model;
    o->lanes = lanes;
    DMQ_TRY(be->alloc((void **)&o->p, bytes));
    DMQ_TRY(be->alloc((void **)&o->m, bytes));
    DMQ_TRY(be->alloc((void **)&o->v, bytes));
    DMQ_TRY(be->alloc((void **)&o->ema, bytes));
    DMQ_TRY(be->alloc((void **)&o->g, bytes));
    DMQ_TRY(dmq_alloc((void **)&o->host, model->n_params, sizeof(dmq_real)));
    DMQ_TRY(dmq_alloc((void **)&o->norm, (size_t)model->n_entries, sizeof(double)));
    DMQ_TRY(
        dmq_mirror_init(&o->norm_place, be, o->norm, (size_t)model->n_entries * sizeof(double)));
    DMQ_TRY(put(o, o->m, o->host)); /* zeros */
    DMQ_TRY(put(o, o->v, o->host));
    DMQ_TRY(put(o, o->g, o->host));
    DMQ_TRY(put(o, o->p, model->params));
    DMQ_TRY(put(o, o->ema, model->params));
    *out = o;
    o = NULL;
done:
    dmq_optim_destroy(o);
    return st;
}

void dmq_optim_destroy(dmq_optim *o)
{
    const dmq_backend *be;

    if (!o)
        return;
    be = dmq_lanes_backend(o->lanes);
    be->free(o->p);
    be->free(o->m);
    be->free(o->v);
    be->free(o->ema);
    be->free(o->g);
    dmq_free(o->host);
    dmq_mirror_release(&o->norm_place);
    dmq_free(o->norm);
    dmq_free(o);
}

dmq_status dmq_optim_take(dmq_real *params, dmq_optim *optim, int averaged)
{
    const dmq_model *m = optim->model;
    dmq_status st = get(optim, params, averaged ? optim->ema : optim->p);

    /* Between the entries lies whatever the updates made of nothing. */
    for (int i = 0; i < m->n_entries; i++) {
        size_t end = m->entry[i].offset + dmq_shape_count(m->entry[i].shape);
        size_t next = i + 1 < m->n_entries ? m->entry[i + 1].offset : m->n_params;
        memset(params + end, 0, (next - end) * sizeof *params);
    }
    return st;
}

/* ------------------------------------------------------------------ a step */

double dmq_optim_rate(const dmq_optim_config *config, int k)
{
    const double pi = 3.14159265358979323846;
    double ramp = k < config->warmup ? (double)k / config->warmup : 1;
    double cosine = (1 + cos(pi * k / config->iterations)) / 2;

    return config->lr * ramp * (config->lr_end + (1 - config->lr_end) * cosine);
}

/** One update under way. */
typedef struct update {
    dmq_optim *o;
    dmq_real rate, scale, decay; /**< scale: of the gradient */
} update;

/** Squares of the gradient of one entry: gaps between entries hold nothing. */
static dmq_status norm_piece(void *context, int piece, int lane, dmq_queue *queue)
{
    dmq_optim *o = ((update *)context)->o;
    const dmq_entry *e = &o->model->entry[piece];
    const dmq_real *g = o->g + e->offset;

    (void)lane;
    return dmq_lanes_backend(o->lanes)->dot(
        queue, &(dmq_dot_args){ .x = g,
                                .y = g,
                                .count = dmq_shape_count(e->shape),
                                .out = dmq_mirror_device(&o->norm_place, &o->norm[piece]) });
}

static dmq_status find_scale(update *u)
{
    dmq_status st = DMQ_OK;
    dmq_optim *o = u->o;
    dmq_queue *queue = dmq_lanes_queue(o->lanes, 0);
    double sum = 0;

    DMQ_TRY(dmq_lanes_run(o->lanes, o->model->n_entries, norm_piece, u));
    DMQ_TRY(dmq_mirror_pull(&o->norm_place, queue, o->norm,
                            (size_t)o->model->n_entries * sizeof *o->norm));
    DMQ_TRY(dmq_lanes_backend(o->lanes)->sync(queue));
    for (int i = 0; i < o->model->n_entries; i++)
        sum += o->norm[i];
    if (!isfinite(sum)) {
        st = dmq_fail(DMQ_EDIVERGE, "train: the gradient of step %d is not finite", o->step);
        goto done;
    }
    if (o->config.clip > 0 && sum > o->config.clip * o->config.clip)
        u->scale = (dmq_real)(o->config.clip / sqrt(sum));
done:
    return st;
}

static dmq_status update_piece(void *context, int piece, int lane, dmq_queue *queue)
{
    dmq_status st = DMQ_OK;
    const update *u = context;
    dmq_optim *o = u->o;
    const dmq_backend *be = dmq_lanes_backend(o->lanes);
    size_t at = (size_t)piece * PIECE, rest = o->model->n_params - at;
    size_t n = rest < PIECE ? rest : PIECE;

    (void)lane;
    if (u->scale != 1) { /* y = scale * x in place */
        DMQ_TRY(be->axpby(
            queue, &(dmq_axpby_args){
                       .x = o->g + at, .y = o->g + at, .alpha = u->scale, .beta = 0, .count = n }));
    }
    DMQ_TRY(be->adam(queue, &(dmq_adam_args){ .p = o->p + at,
                                              .m = o->m + at,
                                              .v = o->v + at,
                                              .g = o->g + at,
                                              .count = n,
                                              .lr = u->rate,
                                              .beta1 = (dmq_real)o->config.beta1,
                                              .beta2 = (dmq_real)o->config.beta2,
                                              .eps = (dmq_real)o->config.eps,
                                              .step = o->step }));
    DMQ_TRY(be->axpby(queue, &(dmq_axpby_args){ .x = o->p + at,
                                                .y = o->ema + at,
                                                .alpha = 1 - u->decay,
                                                .beta = u->decay,
                                                .count = n }));
done:
    return st;
}

dmq_status dmq_optim_step(dmq_optim *optim)
{
    dmq_status st = DMQ_OK;
    int k = ++optim->step;
    double decay = fmin(optim->config.ema, (1.0 + k) / (10.0 + k));
    update u = { optim, (dmq_real)dmq_optim_rate(&optim->config, k), 1, (dmq_real)decay };
    int pieces = (int)((optim->model->n_params + PIECE - 1) / PIECE);

    DMQ_TRY(find_scale(&u));
    DMQ_TRY(dmq_lanes_run(optim->lanes, pieces, update_piece, &u));
done:
    return st;
}

/* ------------------------------------------------------------------ checkpoints */

dmq_status dmq_optim_save(dmq_optim *optim, const char *path, const char *settings)
{
    dmq_status st = DMQ_OK;
    const struct {
        const char *group;
        const dmq_real *block;
    } part[] = {
        { "params", optim->p }, { "m", optim->m }, { "v", optim->v }, { "ema", optim->ema }
    };
    dmq_h5 *file = NULL;

    DMQ_TRY(dmq_h5_open(&file, path, DMQ_H5_WRITE));
    DMQ_TRY(dmq_h5_format_set(file, FORMAT, VERSION));
    DMQ_TRY(dmq_h5_attr_set_i64(file, "", "step", optim->step));
    DMQ_TRY(dmq_h5_write_text(file, "settings", settings));
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        DMQ_TRY(get(optim, optim->host, part[i].block));
        DMQ_TRY(dmq_model_block_write(file, part[i].group, optim->model, optim->host, 0));
    }
    DMQ_TRY(dmq_h5_commit(file));
done:
    dmq_h5_close(file);
    return st;
}

/** Length of the line at text. */
static int line(const char *text)
{
    return (int)strcspn(text, "\n");
}

static dmq_status check_settings(const char *path, const char *there, const char *here)
{
    while (*there && *here && line(there) == line(here) &&
           strncmp(there, here, (size_t)line(here)) == 0) {
        there += line(there) + (there[line(there)] == '\n');
        here += line(here) + (here[line(here)] == '\n');
    }
    if (*there || *here) {
        return dmq_fail(DMQ_EDATA,
                        "%s: made with other settings: \"%.*s\" there, \"%.*s\" here\n"
                        "  hint: train into another folder, or with resume: never",
                        path, line(there), there, line(here), here);
    }
    return DMQ_OK;
}

dmq_status dmq_optim_load(dmq_optim *optim, const char *path, const char *settings)
{
    dmq_status st = DMQ_OK;
    const struct {
        const char *group;
        dmq_real *block;
    } part[] = {
        { "params", optim->p }, { "m", optim->m }, { "v", optim->v }, { "ema", optim->ema }
    };
    dmq_h5 *file = NULL;
    char *there = NULL;
    int64_t step;

    DMQ_TRY(dmq_h5_open(&file, path, DMQ_H5_READ));
    DMQ_TRY(dmq_h5_format_check(file, FORMAT, VERSION));
    DMQ_TRY(dmq_h5_read_text(&there, file, "settings"));
    DMQ_TRY(check_settings(path, there, settings));
    DMQ_TRY(dmq_h5_attr_i64(&step, file, "", "step"));
    if (step < 0 || step > optim->config.iterations) {
        st = dmq_fail(DMQ_EDATA, "%s: step %lld of %d", path, (long long)step,
                      optim->config.iterations);
        goto done;
    }
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        DMQ_TRY(dmq_model_block_read(optim->host, file, part[i].group, optim->model));
        DMQ_TRY(put(optim, part[i].block, optim->host));
    }
    optim->step = (int)step;
done:
    dmq_free(there);
    dmq_h5_close(file);
    return st;
}
