#include "run/sweep_record.h"

#include "base/memory.h"
#include "base/path.h"
#include "io/file.h"
#include "io/json.h"
#include "run/stage.h"

#include <math.h>

static const char file_name[] = "sweep.json";

dmq_status dmq_sweep_record(const dmq_sweep *sweep, const char *folder)
{
    dmq_json *root = NULL, *list, *task;
    char *path = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_folder_create(folder));
    DMQ_TRY(dmq_path_join(&path, folder, file_name));
    DMQ_TRY(dmq_json_object(&root));
    DMQ_TRY(dmq_json_set_text(root, "format", "dmq-sweep"));
    DMQ_TRY(dmq_json_set_int(root, "format_version", 1));
    DMQ_TRY(dmq_json_set_array(&list, root, "tasks"));
    for (int i = 0; i < sweep->n_tasks; i++) {
        DMQ_TRY(dmq_json_add_object(&task, list));
        DMQ_TRY(dmq_json_set_text(task, "label", sweep->task[i].label));
        DMQ_TRY(dmq_json_set_int(task, "seed", sweep->task[i].seed));
        DMQ_TRY(dmq_json_set_text(task, "folder", dmq_path_name(sweep->task[i].folder)));
    }
    DMQ_TRY(dmq_json_save(path, root));
done:
    dmq_json_destroy(root);
    dmq_free(path);
    return st;
}

/* Seconds of a task that is done; NaN when it is not. */
static dmq_status look_at(dmq_sweep_progress *p, double *seconds, const char *folder)
{
    dmq_json *manifest = NULL;
    char *path = NULL;
    dmq_status st = DMQ_OK;

    *seconds = NAN;
    DMQ_TRY(dmq_path_join(&path, folder, "run.json"));
    if (!dmq_file_exists(path))
        goto done;
    DMQ_TRY(dmq_json_load(&manifest, path));
    *seconds = 0;
    for (int id = 0; id < DMQ_RUN_STAGES; id++) {
        const dmq_json *r = dmq_json_get(dmq_json_get(manifest, "stages"), dmq_stages[id].name);

        *seconds += dmq_json_real(dmq_json_get(r, "seconds"), (double)NAN);
    }
    if (isnan(*seconds)) {
        p->begun++;
        p->working += dmq_folder_worker(folder) > 0;
    }
done:
    dmq_json_destroy(manifest);
    dmq_free(path);
    return st;
}

dmq_status dmq_sweep_look(dmq_sweep_progress *out, int *found, const char *folder)
{
    dmq_sweep_progress p = { 0 };
    dmq_json *root = NULL;
    const dmq_json *list;
    char *path = NULL, *run = NULL;
    double all = 0, seconds;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_path_join(&path, folder, file_name));
    *found = dmq_file_exists(path);
    if (!*found)
        goto done;
    DMQ_TRY(dmq_json_load(&root, path));
    list = dmq_json_get(root, "tasks");
    p.tasks = (int)dmq_json_count(list);
    for (int i = 0; i < p.tasks; i++) {
        const dmq_json *task = dmq_json_at(list, (size_t)i);

        dmq_free(run);
        run = NULL;
        DMQ_TRY(dmq_path_join(&run, folder, dmq_json_text(dmq_json_get(task, "folder"), "?")));
        DMQ_TRY(look_at(&p, &seconds, run));
        if (!isnan(seconds)) {
            p.done++;
            all += seconds;
        }
    }
    p.seconds_left = p.done > 0 ? all / p.done * (p.tasks - p.done) : (double)NAN;
    *out = p;
done:
    dmq_json_destroy(root);
    dmq_free(path);
    dmq_free(run);
    return st;
}
