/* dmq plan: what a run or a sweep will take, measured on a miniature; nothing is written */
#include "base/clock.h"
#include "base/log.h"
#include "base/machine.h"
#include "base/memory.h"
#include "base/path.h"
#include "cli/setup.h"
#include "cli/verbs.h"
#include "io/file.h"
#include "io/json.h"
#include "run/forecast.h"
#include "run/sweep.h"

#include <stdio.h>
#include <string.h>

/* A run, or all runs of a sweep. */
typedef struct planning {
    const dmq_options *o;
    dmq_json *out; /* --json: what is printed at the end */
    double seconds, host_bytes, device_bytes, disk_bytes;
    char (*seen)[DMQ_HASH_TEXT]; /* keys of shared stages that are counted already */
    int n_seen, room;
    dmq_missing missing; /* files that random weights stand in for */
    dmq_forecast *last;  /* of the run before: a seed changes no cost */
} planning;

static void tell_bytes(char *out, double bytes)
{
    if (bytes <= 0) {
        (void)snprintf(out, 32, "-");
    } else if (bytes < 1e6) {
        (void)snprintf(out, 32, "%.0f kB", bytes / 1e3);
    } else if (bytes < 1e9) {
        (void)snprintf(out, 32, "%.0f MB", bytes / 1e6);
    } else {
        (void)snprintf(out, 32, "%.1f GB", bytes / 1e9);
    }
}

static void tell_line(const char *name, double passes, double seconds, const double bytes[3])
{
    char time[DMQ_CLOCK_TEXT] = "-", text[3][32];

    if (seconds > 0)
        dmq_clock_duration(time, seconds);
    for (int i = 0; i < 3; i++)
        tell_bytes(text[i], bytes[i]);
    if (passes > 0) {
        (void)printf("%-22s %14.0f %9s %9s %9s %9s\n", name, passes, time, text[0], text[1],
                     text[2]);
    } else {
        (void)printf("%-22s %14s %9s %9s %9s %9s\n", name, "", time, text[0], text[1], text[2]);
    }
}

static void tell_part(const char *name, double seconds)
{
    char time[DMQ_CLOCK_TEXT];

    if (seconds <= 0)
        return;
    dmq_clock_duration(time, seconds);
    (void)printf("  %-20s %14s %9s\n", name, "", time);
}

static void tell_forecast(const dmq_experiment *e, const dmq_forecast *f, unsigned known)
{
    const dmq_forecast_quantize *q = &f->quantize;
    double iterations = 0;
    char text[64];

    (void)printf("%.4g M parameters, %.4g GMAC a pass", f->params / 1e6, f->macs_per_pass / 1e9);
    if (f->counts_only) {
        (void)printf("; nothing was measured\n\n");
    } else {
        (void)printf("; on %s, %d lane(s): %.3g ms a pass, %.3g ms quantized\n\n", e->backend->name,
                     f->round / e->backend->shard, 1e3 * f->pass / f->round,
                     1e3 * f->pass_q / f->round);
    }
    (void)printf("%-22s %14s %9s %9s %9s %9s\n", "stage", "passes", "time", "memory", "device",
                 "disk");
    for (int id = 0; id < DMQ_RUN_STAGES; id++) {
        const dmq_forecast_stage *s = &f->stage[id];

        if (known & (1U << id)) {
            (void)printf("%-22s %14s %9s\n", dmq_stages[id].name, "", "shared");
            continue;
        }
        tell_line(dmq_stages[id].name, s->passes, s->seconds,
                  (double[]){ s->host_bytes, s->device_bytes, s->disk_bytes });
        if (id != DMQ_RUN_QUANTIZE)
            continue;
        for (int i = 0; i < f->n_units; i++)
            iterations += f->unit[i].iterations;
        (void)snprintf(text, sizeof text, "%.0f iterations", iterations);
        if (f->counts_only)
            (void)printf("  %s of %d units\n", text, f->n_units);
        tell_part("weight ranges", q->ranges);
        tell_part("inputs of units", q->prefix);
        tell_part("sample weights", q->weigh);
        tell_part(text, q->learn);
        tell_part("block losses", q->measure);
        tell_part("activation tables", q->tables);
    }
    if (f->recomputes) {
        tell_bytes(text, f->cache_bytes);
        (void)printf("inputs of units are computed anew for each; to keep them all would take %s "
                     "(recon.cache_budget, cache_host, cache_disk)\n",
                     text);
    }
}

/* Whether a stage with this key was counted for another run; it is from now on. */
static dmq_status seen_before(int *seen, planning *p, const char *key)
{
    dmq_status st = DMQ_OK;

    *seen = 0;
    for (int i = 0; i < p->n_seen; i++)
        *seen |= strcmp(p->seen[i], key) == 0;
    if (*seen)
        return DMQ_OK;
    if (p->n_seen == p->room) {
        DMQ_TRY(
            dmq_grow((void **)&p->seen, (size_t)p->room, (size_t)p->room + 64, sizeof *p->seen));
        p->room += 64;
    }
    (void)snprintf(p->seen[p->n_seen++], DMQ_HASH_TEXT, "%s", key);
done:
    return st;
}

/* again: what the run before took, with the units that it has. */
static dmq_status forecast(planning *p, const dmq_experiment *e, int again)
{
    if (again)
        return DMQ_OK;
    dmq_forecast_destroy(p->last);
    p->last = NULL;
    return dmq_forecast_make(&p->last, e, p->o->dry_run);
}

/*
 * One run: told or put into the list; what it shares with those before counts once.
 * again: it differs in its seed alone from the run before.
 */
static dmq_status plan_run(planning *p, dmq_config *config, const char *label, int again)
{
    const dmq_options *o = p->o;
    dmq_experiment *e = NULL;
    dmq_forecast told, *f = &told;
    dmq_json *to = p->out;
    char key[DMQ_HASH_TEXT];
    unsigned known = 0;
    int seen;
    dmq_status st = DMQ_OK;

    p->missing.weights = !o->dry_run && !again; /* nothing is computed with them again */
    DMQ_TRY(dmq_experiment_open_anyway(&e, config, o->device, o->threads, &p->missing));
    DMQ_TRY(dmq_stages_check(e, -1, &p->missing));
    DMQ_TRY(forecast(p, e, again));
    told = *p->last; /* its units stay the other's */
    for (int id = 0; id < DMQ_RUN_STAGES && label; id++) {
        if (!dmq_stages[id].shared)
            continue;
        DMQ_TRY(dmq_stage_key(key, NULL, e, (dmq_stage_id)id));
        DMQ_TRY(seen_before(&seen, p, key));
        if (!seen)
            continue;
        known |= 1U << id;
        f->seconds -= f->stage[id].seconds;
        f->disk_bytes -= f->stage[id].disk_bytes;
    }
    p->seconds += f->seconds;
    p->disk_bytes += f->disk_bytes;
    p->host_bytes = f->host_bytes > p->host_bytes ? f->host_bytes : p->host_bytes;
    p->device_bytes = f->device_bytes > p->device_bytes ? f->device_bytes : p->device_bytes;
    if (p->out) {
        if (label) {
            DMQ_TRY(dmq_json_add_object(&to, dmq_json_get(p->out, "runs")));
            DMQ_TRY(dmq_json_set_text(to, "label", label));
        }
        DMQ_TRY(dmq_forecast_json(to, f));
    } else {
        if (label)
            (void)printf("== %s\n", label);
        tell_forecast(e, f, known);
        if (label)
            (void)printf("\n");
    }
done:
    dmq_experiment_close(e);
    return st;
}

static dmq_status make_config(dmq_config **out, const void *context)
{
    return dmq_setup_config(out, context);
}

static dmq_status plan_sweep(planning *p, const dmq_config *base, const char *folder)
{
    dmq_sweep *sweep = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_sweep_create(&sweep, base, p->o->config[0], folder, make_config, p->o));
    if (p->out)
        DMQ_TRY(dmq_json_set_array(NULL, p->out, "runs"));
    for (int i = 0; i < sweep->n_tasks; i++) {
        char label[160];

        (void)snprintf(label, sizeof label, "%s, seed %lld", sweep->task[i].label,
                       (long long)sweep->task[i].seed);
        DMQ_TRY(plan_run(p, sweep->task[i].config, label,
                         i > 0 && sweep->task[i].label == sweep->task[i - 1].label));
    }
done:
    dmq_sweep_destroy(sweep);
    return st;
}

/* The folder of a run that is to come: the nearest one above it that is there. */
static dmq_status check_disk(const char *folder, double bytes)
{
    char *at = NULL, *up = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_strdup(&at, folder));
    while (!dmq_folder_exists(at)) {
        DMQ_TRY(dmq_path_folder(&up, at));
        dmq_free(at);
        at = up;
        up = NULL;
    }
    DMQ_TRY(dmq_disk_check(at, (uint64_t)bytes));
done:
    dmq_free(at);
    dmq_free(up);
    return st;
}

static dmq_status check_fits(const planning *p, const char *folder)
{
    double there = dmq_machine_memory_free();
    char need[32], have[32];
    dmq_status st = DMQ_OK;

    if (there > 0 && p->host_bytes > there) {
        tell_bytes(need, p->host_bytes);
        tell_bytes(have, there);
        st = dmq_fail(DMQ_ENOMEM, "plan: the run needs %s of memory, %s are free", need, have);
        return dmq_fail_note(st, "  hint: a smaller recon.cache_budget takes more time and less "
                                 "memory; so does reweight.jacobian: matrix_free");
    }
    DMQ_TRY(check_disk(folder, p->disk_bytes));
done:
    return st;
}

dmq_status dmq_cmd_plan(const dmq_options *o)
{
    planning p = { .o = o, .missing = { .weights = !o->dry_run } };
    dmq_config *config = NULL;
    char *folder = NULL, *text = NULL;
    int arms;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_setup_progress(o));
    DMQ_TRY(dmq_setup_config(&config, o));
    DMQ_TRY(dmq_setup_folder(&folder, o, config));
    if (o->json)
        DMQ_TRY(dmq_json_object(&p.out));
    DMQ_TRY(dmq_sweep_count(&arms, config));
    DMQ_TRY(arms > 0 ? plan_sweep(&p, config, folder) : plan_run(&p, config, NULL, 0));
    if (p.out && arms > 0) {
        DMQ_TRY(dmq_json_set_real(p.out, "seconds", p.seconds));
        DMQ_TRY(dmq_json_set_real(p.out, "host_bytes", p.host_bytes));
        DMQ_TRY(dmq_json_set_real(p.out, "device_bytes", p.device_bytes));
        DMQ_TRY(dmq_json_set_real(p.out, "disk_bytes", p.disk_bytes));
    }
    if (p.out) {
        DMQ_TRY(dmq_json_dump(&text, p.out, 2));
        (void)puts(text);
    } else {
        tell_line("all", 0, p.seconds, (double[]){ p.host_bytes, p.device_bytes, p.disk_bytes });
    }
    if (p.missing.n > 0) {
        (void)dmq_setup_missing(&p.missing);
        dmq_log_info(o->dry_run ? "plan: passes are those of the published networks"
                                : "plan: passes and times are those of the published networks with "
                                  "random weights");
    }
    if (!o->dry_run) /* nobody knows how much memory it will take */
        DMQ_TRY(check_fits(&p, folder));
done:
    dmq_missing_release(&p.missing);
    dmq_forecast_destroy(p.last);
    dmq_json_destroy(p.out);
    dmq_config_destroy(config);
    dmq_free(p.seen);
    dmq_free(folder);
    dmq_free(text);
    return st;
}
