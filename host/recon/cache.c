#include "recon/cache.h"

#include "base/log.h"
#include "base/machine.h"
#include "base/memory.h"
#include "io/file.h"
#include "recon/cache_inner.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define MIB (1024.0 * 1024.0)

dmq_status dmq_rows_run(const dmq_backend *be, dmq_queue *queue, dmq_real *to, int batch,
                        const dmq_rows *rows, int first, int count)
{
    const size_t per = rows->per;
    const dmq_real *from = rows->data + (size_t)(first - rows->first) * per;
    dmq_status st = DMQ_OK;

    if (rows->slot) {
        return be->embed_forward(queue, &(dmq_embed_args){ .table = rows->data,
                                                           .index = rows->slot + first,
                                                           .y = to,
                                                           .n = batch,
                                                           .d = (int)rows->per,
                                                           .rows = rows->count });
    }
    DMQ_TRY(be->copy2d(queue, &(dmq_copy2d_args){ .src = from,
                                                  .dst = to,
                                                  .rows = (size_t)count,
                                                  .cols = per,
                                                  .src_ld = per,
                                                  .dst_ld = per }));
    if (count == batch)
        goto done;
    DMQ_TRY(be->copy2d(queue, &(dmq_copy2d_args){ .src = from + (size_t)(count - 1) * per,
                                                  .dst = to + (size_t)count * per,
                                                  .rows = (size_t)(batch - count),
                                                  .cols = per,
                                                  .src_ld = 0, /* the same row again */
                                                  .dst_ld = per }));
done:
    return st;
}

/* Last unit that reads a value; the network's result is kept. */
static int last_use(const dmq_cache *c, int value)
{
    return value == c->model->output ? c->model->n_units : c->model->value[value].last_reader;
}

/* Bytes a sample that one path holds while unit u runs: values made up to `made` and not yet free. */
static double path_bytes(const dmq_cache *c, int u, int made)
{
    double bytes = 0;

    for (int v = 1; v < c->model->n_values; v++) {
        if (!c->model->value[v].emb_of && c->maker[v] <= made && last_use(c, v) >= u)
            bytes += (double)(dmq_value_per(c->model, v) * sizeof(dmq_real));
    }
    return bytes;
}

/* Bytes a sample of what a block keeps of unit u beside its targets: about its inputs and a shortcut. */
static double block_bytes(const dmq_cache *c, int u)
{
    const dmq_unit *n = &c->model->unit[u];
    double numbers = (double)dmq_value_per(c->model, n->out);

    for (int k = 0; k < 2; k++) {
        if (n->in[k] >= 0)
            numbers += (double)dmq_value_per(c->model, n->in[k]);
    }
    return numbers * sizeof(dmq_real);
}

/* Bytes that the caches need, by the shapes, of all samples but for `pass`. */
typedef struct need {
    double x;
    double push;  /* at the peak, x included */
    double block; /* of a block's rows and its targets, at most */
    double pass;  /* of a sample while a prefix is run */
} need;

static need needs(const dmq_cache *c)
{
    need m = { .x = (double)(dmq_shape_count(c->model->input) * sizeof(dmq_real)) * c->calib->n };

    for (int u = 0; u < c->model->n_units; u++) {
        double target, b, n = c->calib->n;

        if (c->model->unit[u].kind == DMQ_UNIT_TEMPORAL)
            continue;
        target = (double)(dmq_value_per(c->model, c->model->unit[u].out) * sizeof(dmq_real));
        b = m.x + n * (path_bytes(c, u, u) + path_bytes(c, u, u - 1) + block_bytes(c, u));
        m.push = b > m.push ? b : m.push;
        b = n * (block_bytes(c, u) + target);
        m.block = b > m.block ? b : m.block;
        b = path_bytes(c, u, u);
        m.pass = b > m.pass ? b : m.pass;
    }
    return m;
}

/* What a peak of as many bytes takes of each tier. */
static void split(double part[DMQ_TIERS], const dmq_tiers *tiers, double bytes)
{
    for (int t = 0; t < DMQ_TIERS; t++) {
        part[t] = bytes < tiers->budget[t] ? bytes : tiers->budget[t];
        bytes -= part[t];
    }
}

void dmq_cache_tell(const dmq_cache *c)
{
    double part[DMQ_TIERS];
    char text[128];

    split(part, &c->tiers, c->need_bytes);
    dmq_tiers_text(text, sizeof text, part);
    dmq_log_info("cache: %s, for %d samples%s", text, c->calib->n,
                 c->recomputes ? "; prefixes are recomputed" : "");
}

void dmq_cache_tell_peak(const dmq_cache *c)
{
    char text[128];

    dmq_tiers_text(text, sizeof text, c->tiers.peak);
    dmq_log_info("cache: %s at the peak", text);
}

/* Before anything is computed: whether the disk has its share. */
static dmq_status check_disk(const dmq_cache *c)
{
    const char *folder = c->tiers.folder ? c->tiers.folder : ".";
    double part[DMQ_TIERS];
    uint64_t have = 0;
    dmq_status st = DMQ_OK;

    split(part, &c->tiers, c->need_bytes);
    if (part[DMQ_ON_DISK] <= 0)
        return DMQ_OK;
    DMQ_TRY(dmq_disk_free(&have, folder));
    if ((double)have < part[DMQ_ON_DISK]) {
        st =
            dmq_fail(DMQ_EIO,
                     "%s: caches of %d samples need %.1f MiB of the disk for a while, %.1f MiB are "
                     "free\n  hint: a smaller recon.cache_disk, or name a folder on a larger disk "
                     "by DMQ_SCRATCH",
                     folder, c->calib->n, part[DMQ_ON_DISK] / MIB, (double)have / MIB);
    }
done:
    return st;
}

void dmq_cache_budgets(dmq_cache_config *config, const dmq_backend *be)
{
    if (config->budget_bytes < 0) {
        config->budget_bytes = be->memory_free ? 0.6 * be->memory_free() : 2048 * MIB;
        if (config->budget_bytes < 1)
            config->budget_bytes = 1; /* 0 would be no limit */
    }
    if (config->host_bytes < 0) {
        config->host_bytes = be->host_memory ? 0 : 0.25 * dmq_machine_memory();
    }
}

/* How many samples a prefix is run for at a time, when all of them at once are too many. */
static dmq_status choose_run(dmq_cache *c, const need *m)
{
    double device = c->tiers.budget[DMQ_ON_DEVICE], shard = m->pass * c->shard, runs;
    double elsewhere = c->tiers.budget[DMQ_ON_HOST] + c->tiers.budget[DMQ_ON_DISK];
    double kept = m->x + m->block, must = kept > elsewhere ? kept - elsewhere : 0;

    if (device - kept >= shard)
        must = kept; /* all that is kept is on the device */
    else if (must < device / 2)
        must = device / 2 < device - shard ? device / 2 : must;
    runs = (device - must) / shard;
    if (runs < 1) {
        return dmq_fail(DMQ_EINVAL,
                        "recon.cache_budget = %.1f MiB: %d samples need at least %.1f MiB, %.1f of "
                        "them in recon.cache_host or recon.cache_disk if you like\n"
                        "  hint: raise it, or take fewer calibration samples",
                        device / MIB, c->calib->n, (kept + shard) / MIB + 1, kept / MIB);
    }
    if (runs * c->shard < c->run)
        c->run = (int)runs * c->shard;
    c->tiers.budget[DMQ_ON_DEVICE] = device - m->pass * c->run; /* for what is kept */
    return DMQ_OK;
}

static dmq_status choose_mode(dmq_cache *c)
{
    need m = needs(c);
    double device = c->config.budget_bytes, spare = c->config.host_bytes + c->config.disk_bytes;
    dmq_status st = DMQ_OK;

    c->tiers = (dmq_tiers){ .be = c->space.be,
                            .budget = { device > 0 ? device : (double)INFINITY,
                                        c->config.host_bytes, c->config.disk_bytes },
                            .folder = c->config.folder };
    c->push_bytes = m.push;
    c->run = c->calib->n;
    c->recomputes = c->config.any_order;
    if (device > 0 && m.push > device + spare)
        c->recomputes = 1;
    if (device > 0 && c->recomputes)
        DMQ_TRY(choose_run(c, &m));
    if (device > 0)
        c->tiers.set_aside = m.block < device ? m.block : device;
    if (c->recomputes && !c->config.any_order) {
        dmq_log_warn("cache-recompute",
                     "caches of %d samples take %.0f MiB, recon.cache_budget is %.0f MiB and there "
                     "are %.0f MiB elsewhere: prefixes are recomputed for every unit, %d samples "
                     "at a time",
                     c->calib->n, c->push_bytes / MIB, device / MIB, spare / MIB, c->run);
    }
    c->need_bytes = c->recomputes ? m.x + m.block : m.push;
    DMQ_TRY(check_disk(c));
done:
    return st;
}

static dmq_status fill_makers(dmq_cache *c)
{
    dmq_status st = dmq_alloc((void **)&c->maker, (size_t)c->model->n_values, sizeof *c->maker);

    for (int u = 0; u < c->model->n_units && st == DMQ_OK; u++) {
        if (c->model->unit[u].kind != DMQ_UNIT_TEMPORAL)
            c->maker[c->model->unit[u].out] = u;
    }
    return st;
}

static dmq_status gather_x(dmq_cache *c)
{
    dmq_status st =
        dmq_store_create(&c->x, &c->tiers, dmq_shape_count(c->model->input), c->calib->n, DMQ_COLD);

    for (int i = 0; i < c->calib->n && st == DMQ_OK; i++)
        st = dmq_store_put(c->x, c->space.queue, i, 1, dmq_calib_x(c->calib, i));
    return st;
}

/* A number of every sample, padded by the last one's, in backend memory. */
static dmq_status put_padded(int **out, dmq_cache *c, int *numbers)
{
    int n = c->calib->n, padded = n + c->shard;
    size_t bytes = (size_t)padded * sizeof *numbers;
    dmq_status st = DMQ_OK;

    for (int i = n; i < padded; i++)
        numbers[i] = numbers[n - 1];
    DMQ_TRY(c->space.be->alloc((void **)out, bytes));
    DMQ_TRY(dmq_space_put(&c->space, *out, numbers, bytes));
done:
    return st;
}

static dmq_status list_slots(dmq_cache *c)
{
    int n = c->calib->n, *numbers = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&numbers, (size_t)(n + c->shard), sizeof *numbers));
    for (int i = 0; i < n; i++)
        numbers[i] = dmq_calib_step(c->calib, i);
    DMQ_TRY(put_padded(&c->step, c, numbers));
    for (int v = 0; v < c->model->n_values; v++) {
        int of = c->model->value[v].emb_of;

        if (of == 0 || c->slots[of])
            continue;
        DMQ_TRY(dmq_slots_create(&c->slots[of], c->calib, of));
        memcpy(numbers, c->slots[of]->of, (size_t)n * sizeof *numbers);
        DMQ_TRY(put_padded(&c->slot[of], c, numbers));
    }
done:
    dmq_free(numbers);
    return st;
}

dmq_status dmq_cache_create(dmq_cache **out, const dmq_qmodel *q, const dmq_calib *calib,
                            dmq_lanes *lanes, const dmq_cache_config *config)
{
    dmq_cache *c = NULL;
    size_t n_values = (size_t)q->model->n_values;
    dmq_status st = DMQ_OK;

    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&c, 1, sizeof *c));
    c->q = q;
    c->model = q->model;
    c->calib = calib;
    c->lanes = lanes;
    c->config = *config;
    dmq_cache_budgets(&c->config, dmq_lanes_backend(lanes));
    c->shard = dmq_shard_size(dmq_lanes_backend(lanes), calib->n);
    c->open = -1;
    dmq_space_init(&c->space, lanes);
    DMQ_TRY(fill_makers(c));
    for (int p = 0; p < 2; p++) {
        DMQ_TRY(dmq_alloc((void **)&c->value[p], n_values, sizeof **c->value));
        DMQ_TRY(dmq_alloc((void **)&c->emb[p], n_values, sizeof **c->emb));
    }
    DMQ_TRY(choose_mode(c));
    DMQ_TRY(gather_x(c));
    DMQ_TRY(list_slots(c));
    *out = c;
    c = NULL;
done:
    dmq_cache_destroy(c);
    return st;
}

void dmq_cache_destroy(dmq_cache *c)
{
    if (!c)
        return;
    for (int p = 0; p < 2; p++) {
        for (int v = 0; v < c->model->n_values; v++) {
            if (c->value[p])
                dmq_store_destroy(c->value[p][v]);
            if (c->emb[p])
                dmq_space_free(&c->space, c->emb[p][v]);
        }
        dmq_free(c->value[p]);
        dmq_free(c->emb[p]);
    }
    dmq_store_destroy(c->target);
    dmq_store_destroy(c->x);
    for (int of = 0; of < DMQ_OF_KINDS; of++) {
        dmq_slots_destroy(c->slots[of]);
        dmq_space_free(&c->space, c->slot[of]);
    }
    dmq_space_free(&c->space, c->step);
    dmq_space_release(&c->space);
    dmq_free(c->maker);
    dmq_free(c);
}

int dmq_cache_recomputes(const dmq_cache *c)
{
    return c->recomputes;
}

const dmq_slots *dmq_cache_slots(const dmq_cache *c, int emb_of)
{
    return c->slots[emb_of];
}

double dmq_cache_bytes_push(const dmq_cache *c)
{
    return c->push_bytes;
}

double dmq_cache_bytes(const dmq_cache *c)
{
    double bytes = c->target ? dmq_store_bytes(c->target) : 0;

    bytes += dmq_store_bytes(c->x);
    for (int v = 1; v < c->model->n_values; v++) {
        for (int p = 0; p < 2; p++)
            bytes += c->value[p][v] ? dmq_store_bytes(c->value[p][v]) : 0;
    }
    return bytes;
}

dmq_tiers *dmq_cache_tiers(dmq_cache *c)
{
    return &c->tiers;
}

static void drop_value(dmq_cache *c, dmq_path path, int v)
{
    dmq_store_destroy(c->value[path][v]);
    c->value[path][v] = NULL;
}

/* Free what no unit behind u reads. */
static void free_dead(dmq_cache *c, dmq_path path, int u)
{
    for (int v = 1; v < c->model->n_values; v++) {
        if (!c->model->value[v].emb_of && last_use(c, v) <= u)
            drop_value(c, path, v);
    }
}

/* Push mode: run the units before `unit` on a path that have not been run on it. */
static dmq_status advance(dmq_cache *c, dmq_path path, int unit)
{
    dmq_status st = DMQ_OK;

    for (; c->next[path] < unit && st == DMQ_OK; c->next[path]++) {
        if (c->model->unit[c->next[path]].kind == DMQ_UNIT_TEMPORAL)
            continue;
        st = dmq_cache_push(c, path, c->next[path], 0, c->calib->n);
        if (st == DMQ_OK)
            free_dead(c, path, c->next[path]);
    }
    return st;
}

/* Recompute mode: units that `unit` needs, itself included if `self`. */
static void mark_needed(const dmq_cache *c, int unit, int self, char *needed)
{
    memset(needed, 0, (size_t)c->model->n_units);
    needed[unit] = 1;
    for (int u = unit; u >= 0; u--) {
        for (int k = 0; k < 2 && needed[u]; k++) {
            if (c->model->unit[u].kind != DMQ_UNIT_TEMPORAL && c->model->unit[u].in[k] > 0)
                needed[c->maker[c->model->unit[u].in[k]]] = 1;
        }
    }
    needed[unit] = (char)self;
}

/* Free values of this pass that no needed unit behind u (nor the one opened) reads. */
static void free_unneeded(dmq_cache *c, dmq_path path, int u, int unit, int self,
                          const char *needed)
{
    for (int v = 1; v < c->model->n_values; v++) {
        int used = self && v == c->model->unit[unit].out;

        for (int w = u + 1; w <= unit && !used; w++) {
            used = (needed[w] || w == unit) &&
                   (c->model->unit[w].in[0] == v || c->model->unit[w].in[1] == v);
        }
        if (!used)
            drop_value(c, path, v);
    }
}

static void free_path(dmq_cache *c, dmq_path path)
{
    for (int v = 1; v < c->model->n_values; v++)
        drop_value(c, path, v);
}

/* Recompute mode: inputs of a unit (self: and its result) for samples first..first+count-1. */
static dmq_status run_prefix(dmq_cache *c, dmq_path path, int unit, int self, int first, int count)
{
    char *needed = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&needed, (size_t)c->model->n_units, 1));
    mark_needed(c, unit, self, needed);
    for (int u = 0; u <= unit; u++) {
        if (!needed[u])
            continue;
        DMQ_TRY(dmq_cache_push(c, path, u, first, count));
        free_unneeded(c, path, u, unit, self, needed);
    }
done:
    dmq_free(needed);
    return st;
}

static int run_length(const dmq_cache *c, int first)
{
    return c->calib->n - first < c->run ? c->calib->n - first : c->run;
}

static dmq_status recompute_target(dmq_cache *c, int unit)
{
    int out = c->model->unit[unit].out;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_store_create(&c->target, &c->tiers, dmq_value_per(c->model, out), c->calib->n,
                             DMQ_HOT));
    for (int first = 0; first < c->calib->n; first += c->run) {
        int count = run_length(c, first);

        DMQ_TRY(run_prefix(c, DMQ_PATH_FP, unit, 1, first, count));
        DMQ_TRY(dmq_store_write(c->target, c->space.queue, first, count,
                                c->value[DMQ_PATH_FP][out]->data));
        free_path(c, DMQ_PATH_FP);
    }
done:
    return st;
}

dmq_status dmq_cache_open(dmq_cache *c, int unit)
{
    dmq_status st = DMQ_OK;

    assert(c->open < 0 && c->model->unit[unit].kind != DMQ_UNIT_TEMPORAL);
    c->open = unit;
    if (c->recomputes) {
        DMQ_TRY(recompute_target(c, unit));
    } else {
        assert(c->next[DMQ_PATH_QUANT] <= unit);
        DMQ_TRY(advance(c, DMQ_PATH_FP, unit + 1));
        DMQ_TRY(advance(c, DMQ_PATH_QUANT, unit));
    }
done:
    if (st != DMQ_OK)
        dmq_cache_close(c);
    return st;
}

dmq_rows dmq_cache_target(const dmq_cache *c)
{
    assert(c->open >= 0);
    return dmq_rows_of(
        c->recomputes ? c->target : c->value[DMQ_PATH_FP][c->model->unit[c->open].out], 0);
}

void dmq_cache_close(dmq_cache *c)
{
    dmq_store_destroy(c->target);
    c->target = NULL;
    c->open = -1;
}

dmq_rows dmq_cache_resident(const dmq_cache *c, int k)
{
    int value = c->model->unit[c->open].in[k];

    assert(c->open >= 0);
    if (value < 0 || (c->recomputes && value > 0))
        return (dmq_rows){ 0 };
    return dmq_cache_rows(c, DMQ_PATH_QUANT, value, 0);
}

dmq_status dmq_cache_visit(dmq_cache *c, dmq_visit_fn *fn, void *context, int targets)
{
    dmq_rows target = { 0 };
    int n = c->calib->n;
    dmq_status st = DMQ_OK;

    assert(c->open >= 0);
    if (targets)
        target = dmq_cache_target(c);
    for (int first = 0; first < n; first += c->run) {
        int count = run_length(c, first);

        if (c->recomputes)
            DMQ_TRY(run_prefix(c, DMQ_PATH_QUANT, c->open, 0, first, count));
        DMQ_TRY(dmq_cache_show(c, DMQ_PATH_QUANT, c->open, first, count, &target, fn, context));
        if (c->recomputes)
            free_path(c, DMQ_PATH_QUANT);
    }
done:
    return st;
}
