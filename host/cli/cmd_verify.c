/* dmq verify DIR: the files of a run, hashed again; dmq status DIR: how far it is */
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/path.h"
#include "cli/verbs.h"
#include "io/file.h"
#include "io/hash.h"
#include "io/json.h"
#include "run/stage.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

typedef dmq_status each_run_fn(const char *folder, const dmq_json *manifest, void *context);

static dmq_status load_manifest(dmq_json **out, const char *folder)
{
    dmq_status st = DMQ_OK;
    char *path = NULL;

    DMQ_TRY(dmq_path_join(&path, folder, "run.json"));
    DMQ_TRY(dmq_json_load(out, path));
done:
    dmq_free(path);
    return st;
}

static int holds_run(const char *folder)
{
    char *path = NULL;
    int yes = dmq_path_join(&path, folder, "run.json") == DMQ_OK && dmq_file_exists(path);

    dmq_free(path);
    return yes;
}

/* A run folder, or a folder of run folders. */
static dmq_status each_run(const char *folder, each_run_fn *fn, void *context)
{
    dmq_json *manifest = NULL;
    dmq_status st = DMQ_OK;
    char *path = NULL;
    struct dirent *entry;
    DIR *dir = NULL;
    int n = 0;

    if (holds_run(folder)) {
        DMQ_TRY(load_manifest(&manifest, folder));
        DMQ_TRY(fn(folder, manifest, context));
        goto done;
    }
    dir = opendir(folder);
    if (!dir)
        return dmq_fail(DMQ_ENOINPUT,
                        "there is no folder %s\n  hint: name a run folder, or the one above",
                        folder);
    while ((entry = readdir(dir))) {
        if (entry->d_name[0] == '.')
            continue;
        dmq_free(path);
        path = NULL;
        DMQ_TRY(dmq_path_join(&path, folder, entry->d_name));
        if (!holds_run(path))
            continue;
        n++;
        dmq_json_destroy(manifest);
        manifest = NULL;
        DMQ_TRY(load_manifest(&manifest, path));
        DMQ_TRY(fn(path, manifest, context));
    }
    if (n == 0)
        st = dmq_fail(DMQ_ENOINPUT,
                      "%s holds no run (no run.json in it or one below)\n"
                      "  hint: dmq run -o %s makes one",
                      folder, folder);
done:
    if (dir)
        (void)closedir(dir);
    dmq_json_destroy(manifest);
    dmq_free(path);
    return st;
}

static dmq_status verify_run(const char *folder, const dmq_json *manifest, void *context)
{
    int *bad = context;
    dmq_status st = DMQ_OK;
    char *path = NULL, hash[DMQ_HASH_TEXT];

    for (int i = 0; i < DMQ_RUN_STAGES; i++) {
        const dmq_json *r = dmq_json_get(dmq_json_get(manifest, "stages"), dmq_stages[i].name);
        const char *want = dmq_json_text(dmq_json_get(r, "sha256"), "");
        const char *verdict = "same";

        if (!r)
            continue;
        dmq_free(path);
        path = NULL;
        DMQ_TRY(dmq_path_join(&path, folder, dmq_json_text(dmq_json_get(r, "file"), "?")));
        if (!dmq_file_exists(path)) {
            verdict = "missing";
        } else {
            DMQ_TRY(dmq_hash_file(hash, path));
            if (strcmp(hash, want) != 0)
                verdict = "DIFFERS";
        }
        *bad += strcmp(verdict, "same") != 0;
        (void)printf("%-8s %s\n", verdict, path);
    }
done:
    dmq_free(path);
    return st;
}

dmq_status dmq_cmd_verify(const dmq_options *o)
{
    dmq_status st = DMQ_OK;
    int bad = 0;

    if (o->n_arg == 0)
        return dmq_fail(DMQ_EUSAGE, "dmq verify: of which folder?\n  hint: dmq verify runs/NAME");
    for (int i = 0; i < o->n_arg; i++)
        DMQ_TRY(each_run(o->arg[i], verify_run, &bad));
    if (bad)
        st = dmq_fail(DMQ_EDATA,
                      "verify: %d file%s not what the manifest says\n"
                      "  hint: remove what differs and dmq run makes it again",
                      bad, bad == 1 ? " is" : "s are");
done:
    return st;
}

static dmq_status status_run(const char *folder, const dmq_json *manifest, void *context)
{
    const dmq_json *stages = dmq_json_get(manifest, "stages");
    int done = 0;

    (void)context;
    (void)printf("%s: %s, seed %lld, started %lld time(s)\n", folder,
                 dmq_json_text(dmq_json_get(manifest, "label"), "?"),
                 (long long)dmq_json_int(dmq_json_get(manifest, "seed"), 0),
                 (long long)dmq_json_int(dmq_json_get(manifest, "starts"), 0));
    for (int i = 0; i < DMQ_RUN_STAGES; i++) {
        const dmq_json *r = dmq_json_get(stages, dmq_stages[i].name);
        char took[DMQ_CLOCK_TEXT] = "-";

        if (r) {
            dmq_clock_duration(took, dmq_json_real(dmq_json_get(r, "seconds"), 0));
            done++;
        }
        (void)printf("  %-10s %-8s %s\n", dmq_stages[i].name, r ? "done" : "to do", took);
    }
    (void)printf("  %d of %d stages\n", done, DMQ_RUN_STAGES);
    return DMQ_OK;
}

dmq_status dmq_cmd_status(const dmq_options *o)
{
    dmq_status st = DMQ_OK;

    if (o->n_arg == 0)
        return dmq_fail(DMQ_EUSAGE, "dmq status: of which folder?\n  hint: dmq status runs/NAME");
    for (int i = 0; i < o->n_arg; i++)
        DMQ_TRY(each_run(o->arg[i], status_run, NULL));
done:
    return st;
}
