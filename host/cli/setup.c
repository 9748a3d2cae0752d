#include "cli/setup.h"

#include "base/log.h"
#include "base/memory.h"
#include "base/path.h"
#include "base/progress.h"
#include "base/schema.h"
#include "io/file.h"
#include "io/yaml.h"
#include "report/measure.h"
#include "run/sweep.h"

#include <stdio.h>
#include <string.h>

static dmq_status set_named(dmq_config *c, const char *key, const char *text, const char *option)
{
    const dmq_origin flag = { .kind = DMQ_ORIGIN_FLAG, .place = option };

    return text ? dmq_config_set(c, key, text, &flag) : DMQ_OK;
}

dmq_status dmq_setup_config(dmq_config **out, const dmq_options *o)
{
    dmq_status st = DMQ_OK;
    dmq_config *c = NULL;

    DMQ_TRY(dmq_schema_config(&c));
    for (int i = 0; i < o->n_config; i++) {
        st = dmq_yaml_load(c, o->config[i]);
        if (st == DMQ_ENOINPUT && !strstr(dmq_message(), "hint: "))
            (void)dmq_fail_note(st, "  hint: dmq config list tells what ships in experiments/");
        DMQ_TRY(st);
    }
    for (int i = 0; i < o->n_set; i++)
        DMQ_TRY(dmq_config_set_flag(c, o->set[i]));
    DMQ_TRY(set_named(c, "model.checkpoint", o->checkpoint, "--model"));
    DMQ_TRY(set_named(c, "seed", o->seed, "--seed"));
    *out = c;
    c = NULL;
done:
    dmq_config_destroy(c);
    return st;
}

dmq_status dmq_setup_folder(char **out, const dmq_options *o, const dmq_config *c)
{
    if (o->out)
        return dmq_strdup(out, o->out);
    return dmq_path_join(out, "runs", dmq_config_text(c, "name"));
}

dmq_status dmq_setup_progress(const dmq_options *o)
{
    dmq_progress_form form;
    dmq_status st = dmq_progress_form_parse(&form, o->progress);

    if (st == DMQ_OK)
        dmq_progress_form_set(form);
    return st;
}

static dmq_status print_metrics(const dmq_folder *folder)
{
    dmq_status st = DMQ_OK;
    char *path = NULL, *text = NULL;

    DMQ_TRY(dmq_folder_file(&path, folder, dmq_stages[DMQ_RUN_EVALUATE].file));
    DMQ_TRY(dmq_file_read(&text, NULL, path, (size_t)1 << 30));
    (void)fputs(text, stdout);
done:
    dmq_free(path);
    dmq_free(text);
    return st;
}

dmq_status dmq_setup_missing(const dmq_missing *missing)
{
    if (missing->n == 0)
        return DMQ_OK;
    for (int i = 0; i < missing->n; i++)
        dmq_log_warn("missing", "%s", missing->text[i]);
    return dmq_fail(DMQ_ENOINPUT, "%d file%s missing; all else is in order", missing->n,
                    missing->n == 1 ? " is" : "s are");
}

dmq_status dmq_setup_stages(const dmq_options *o, int only)
{
    dmq_config *config = NULL;
    dmq_experiment *experiment = NULL;
    dmq_folder *folder = NULL;
    dmq_folder_options where = { .resume = (dmq_resume_rule)o->resume,
                                 .overwrite = o->overwrite,
                                 .shared = o->n_shards > 0,
                                 .dry_run = o->dry_run };
    dmq_stage_options what = { .only = only,
                               .shard = o->shard,
                               .n_shards = o->n_shards,
                               .merge = o->merge,
                               .dry_run = o->dry_run };
    dmq_missing missing = { 0 }, *look = o->dry_run ? &missing : NULL;
    char *path = NULL;
    dmq_status st = DMQ_OK;
    int arms;

    DMQ_TRY(dmq_setup_progress(o));
    DMQ_TRY(dmq_setup_config(&config, o));
    DMQ_TRY(dmq_sweep_count(&arms, config));
    if (arms > 0) {
        st = dmq_config_refuse(
            config, dmq_config_is_set(config, "sweep.grid") ? "sweep.grid" : "sweep.arms",
            "this is a sweep of %d arms: dmq sweep runs it", arms);
        goto done;
    }
    DMQ_TRY(dmq_setup_folder(&path, o, config));
    DMQ_TRY(dmq_experiment_open_anyway(&experiment, config, o->device, o->threads, look));
    DMQ_TRY(dmq_stages_check(experiment, only, look));
    where.path = path;
    DMQ_TRY(dmq_folder_open(&folder, &where));
    DMQ_TRY(dmq_stages_run(experiment, folder, &what));
    DMQ_TRY(dmq_setup_missing(&missing));
    if (o->json && !o->dry_run)
        DMQ_TRY(print_metrics(folder));
done:
    dmq_folder_close(folder);
    dmq_experiment_close(experiment);
    dmq_config_destroy(config);
    dmq_missing_release(&missing);
    dmq_free(path);
    return st;
}

dmq_status dmq_setup_results(dmq_results **out, const dmq_options *o)
{
    dmq_results *results = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_results_load(&results, o->arg, o->n_arg));
    for (int i = 0; i < o->n_set; i++)
        DMQ_TRY(dmq_results_set(results, o->set[i]));
    if (o->vs)
        DMQ_TRY(dmq_results_compare(results));
    for (int i = 0; i < o->n_across; i++)
        DMQ_TRY(dmq_measures_across(results, o->across[i]));
    *out = results;
    results = NULL;
done:
    dmq_results_destroy(results);
    return st;
}
