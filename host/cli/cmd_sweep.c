/* dmq sweep: the arms and seeds of an experiment, here and one after the other, or one task of them */
#include "base/log.h"
#include "base/memory.h"
#include "cli/setup.h"
#include "cli/verbs.h"
#include "report/table.h"
#include "run/sweep_record.h"

#include <stdio.h>

static dmq_status make_config(dmq_config **out, const void *context)
{
    return dmq_setup_config(out, context);
}

/* @param missing  of a dry run; NULL: nothing may be */
static dmq_status run_task(const dmq_options *o, const dmq_sweep *sweep, int i,
                           dmq_missing *missing)
{
    const dmq_task *t = &sweep->task[i];
    dmq_experiment *experiment = NULL;
    dmq_folder *folder = NULL;
    dmq_folder_options where = { .path = t->folder,
                                 .label = t->label,
                                 .store = sweep->store,
                                 .task = i,
                                 .resume = (dmq_resume_rule)o->resume,
                                 .overwrite = o->overwrite,
                                 .dry_run = o->dry_run };
    dmq_stage_options what = { .only = -1, .dry_run = o->dry_run };
    dmq_status st = DMQ_OK;

    dmq_log_info("task %d of %d: %s, seed %lld", i + 1, sweep->n_tasks, t->label,
                 (long long)t->seed);
    DMQ_TRY(dmq_experiment_open_anyway(&experiment, t->config, o->device, o->threads, missing));
    if (o->dry_run)
        DMQ_TRY(dmq_stages_check(experiment, -1, missing));
    DMQ_TRY(dmq_folder_open(&folder, &where));
    DMQ_TRY(dmq_stages_run(experiment, folder, &what));
done:
    dmq_folder_close(folder);
    dmq_experiment_close(experiment);
    return st == DMQ_OK || !o->dry_run ? st : dmq_fail_note(st, "  in arm \"%s\"", t->label);
}

/* Whether a seed alone makes it another task than the one before. */
static int is_again(const dmq_sweep *sweep, int i)
{
    return i > 0 && sweep->task[i].label == sweep->task[i - 1].label;
}

/* What is to be run is checked before the first task computes anything; a seed is never wrong. */
static dmq_status check_all(const dmq_options *o, const dmq_sweep *sweep)
{
    dmq_status st = DMQ_OK;

    for (int i = 0; i < sweep->n_tasks && st == DMQ_OK; i++) {
        dmq_experiment *experiment = NULL;

        if (o->task < 0 ? is_again(sweep, i) : o->task != i)
            continue;
        st = dmq_experiment_open(&experiment, sweep->task[i].config, o->device, 1);
        if (st == DMQ_OK)
            st = dmq_stages_check(experiment, -1, NULL);
        dmq_experiment_close(experiment);
        if (st != DMQ_OK)
            (void)dmq_fail_note(st, "  in arm \"%s\"", sweep->task[i].label);
    }
    return st;
}

/* All tasks are done: what came out, as dmq table tells it. */
static dmq_status print_table(const char *folder)
{
    dmq_results *results = NULL;
    char *text = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_results_load(&results, &folder, 1));
    DMQ_TRY(dmq_table_render(&text, results, DMQ_TABLE_MD));
    if (fputs(text, stdout) == EOF || fflush(stdout) != 0)
        st = dmq_fail(DMQ_EIO, "dmq sweep: stdout cannot be written");
done:
    dmq_results_destroy(results);
    dmq_free(text);
    return st;
}

dmq_status dmq_cmd_sweep(const dmq_options *o)
{
    dmq_config *base = NULL;
    dmq_sweep *sweep = NULL;
    dmq_missing missing = { 0 }, *look = o->dry_run ? &missing : NULL;
    char *folder = NULL;
    dmq_status st = DMQ_OK;

    if (o->n_config == 0)
        return dmq_fail(DMQ_EUSAGE, "dmq sweep needs -c FILE with sweep.arms or sweep.grid");
    DMQ_TRY(dmq_setup_progress(o));
    DMQ_TRY(dmq_setup_config(&base, o));
    DMQ_TRY(dmq_setup_folder(&folder, o, base));
    DMQ_TRY(dmq_sweep_create(&sweep, base, o->config[0], folder, make_config, o));
    if (o->task >= sweep->n_tasks) {
        st = dmq_fail(DMQ_EUSAGE, "--task %d: there are %d tasks, 0 to %d", o->task, sweep->n_tasks,
                      sweep->n_tasks - 1);
        goto done;
    }
    if (o->list) {
        for (int i = 0; i < sweep->n_tasks; i++) {
            (void)printf("%d\t%s\t%lld\t%s\n", i, sweep->task[i].label,
                         (long long)sweep->task[i].seed, sweep->task[i].folder);
        }
        goto done;
    }
    if (!o->dry_run) {
        DMQ_TRY(check_all(o, sweep));
        DMQ_TRY(dmq_sweep_record(sweep, folder));
    }
    for (int i = 0; i < sweep->n_tasks; i++) {
        if (o->task < 0 || o->task == i)
            DMQ_TRY(run_task(o, sweep, i, look));
    }
    DMQ_TRY(dmq_setup_missing(&missing));
    if (o->task < 0 && !o->dry_run)
        DMQ_TRY(print_table(folder));
done:
    dmq_sweep_destroy(sweep);
    dmq_config_destroy(base);
    dmq_missing_release(&missing);
    dmq_free(folder);
    return st;
}
