/* dmq config show | check | schema | list */
#include "base/log.h"
#include "base/memory.h"
#include "base/schema.h"
#include "cli/setup.h"
#include "cli/verbs.h"
#include "io/file.h"
#include "io/json.h"
#include "io/yaml.h"
#include "run/experiment.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static dmq_status show(const dmq_config *c, const dmq_options *o)
{
    dmq_status st = DMQ_OK;
    char *text = NULL;

    if (!o->origin) {
        DMQ_TRY(dmq_config_dump(&text, c));
        (void)fputs(text, stdout);
        goto done;
    }
    for (int i = 0; i < dmq_config_count(c); i++) {
        const char *key = dmq_config_key_at(c, i)->name;
        const dmq_origin *from = dmq_config_origin(c, key);

        (void)printf("%-28s %-28s ", key, dmq_config_value(c, key));
        if (from->kind == DMQ_ORIGIN_FILE) {
            (void)printf("%s:%d:%d\n", from->place, from->line, from->column);
        } else {
            (void)printf("%s\n", from->kind == DMQ_ORIGIN_DEFAULT ? "default" : from->place);
        }
    }
done:
    dmq_free(text);
    return st;
}

static const char *type_name(dmq_config_type type)
{
    static const char *const names[] = { "bool", "int",  "real",  "size",  "enum", "text",
                                         "path", "ints", "reals", "enums", "texts" };

    return names[type];
}

static dmq_status schema(const dmq_options *o)
{
    int n;
    const dmq_config_key *keys = dmq_schema_keys(&n);
    dmq_json *root = NULL, *k;
    char *text = NULL;
    dmq_status st = DMQ_OK;

    if (!o->json) {
        for (int i = 0; i < n; i++) {
            (void)printf("%-28s %-6s %-22s %s%s%s\n", keys[i].name, type_name(keys[i].type),
                         keys[i].fallback, keys[i].help ? keys[i].help : "",
                         keys[i].names ? "; one of " : "", keys[i].names ? keys[i].names : "");
        }
        return st;
    }
    DMQ_TRY(dmq_json_object(&root));
    for (int i = 0; i < n; i++) {
        DMQ_TRY(dmq_json_set_object(&k, root, keys[i].name));
        DMQ_TRY(dmq_json_set_text(k, "type", type_name(keys[i].type)));
        DMQ_TRY(dmq_json_set_text(k, "default", keys[i].fallback));
        DMQ_TRY(dmq_json_set_text(k, "help", keys[i].help));
        if (keys[i].names)
            DMQ_TRY(dmq_json_set_text(k, "names", keys[i].names));
        if (keys[i].min < keys[i].max) {
            DMQ_TRY(dmq_json_set_real(k, "min", keys[i].min));
            DMQ_TRY(dmq_json_set_real(k, "max", keys[i].max));
        }
        if (keys[i].unit)
            DMQ_TRY(dmq_json_set_text(k, "unit", keys[i].unit));
    }
    DMQ_TRY(dmq_json_dump(&text, root, 2));
    (void)puts(text);
done:
    dmq_json_destroy(root);
    dmq_free(text);
    return st;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* What a card says of where its files come from; nothing of a file that is no card. */
static void print_source(const char *path)
{
    static const char *const keys[] = { "model.source", "first_stage.source", "evaluate.source" };
    dmq_config *c = NULL;

    if (dmq_schema_config(&c) != DMQ_OK || dmq_yaml_load(c, path) != DMQ_OK) {
        (void)printf("  %-44s cannot be read: %s\n", "", dmq_message());
        dmq_config_destroy(c);
        return;
    }
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        int n;
        const char *const *line = dmq_config_texts(c, keys[k], &n);

        for (int i = 0; i < n; i++)
            (void)printf("      %s\n", line[i]);
    }
    dmq_config_destroy(c);
}

/* The first comment line of a file says what it is. */
static void print_first_line(const char *folder, const char *name, int is_config)
{
    char path[1024], line[256] = "";
    FILE *f;

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    f = fopen(path, "r");
    if (f) {
        if (!fgets(line, sizeof line, f))
            line[0] = '\0';
        (void)fclose(f);
    }
    line[strcspn(line, "\n")] = '\0';
    (void)printf("  %-44s %s\n", path, line[0] == '#' ? line + 2 : "");
    if (is_config)
        print_source(path);
}

static dmq_status list_folder(const char *what, const char *folder, int is_config)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    char *names[256];
    int n = 0;

    if (!dir) {
        return dmq_fail(DMQ_ENOINPUT,
                        "there is no folder %s\n  hint: run dmq where experiments/ is", folder);
    }
    (void)printf("%s\n", what);
    while ((entry = readdir(dir)) && n < 256) {
        size_t size = strlen(entry->d_name);

        if (size > 5 && strcmp(entry->d_name + size - 5, ".yaml") == 0 &&
            dmq_strdup(&names[n], entry->d_name) == DMQ_OK)
            n++;
    }
    (void)closedir(dir);
    qsort(names, (size_t)n, sizeof *names, by_name);
    for (int i = 0; i < n; i++) {
        print_first_line(folder, names[i], is_config);
        dmq_free(names[i]);
    }
    return DMQ_OK;
}

dmq_status dmq_cmd_config(const dmq_options *o)
{
    const char *what = o->n_arg == 1 ? o->arg[0] : "";
    dmq_config *c = NULL;
    dmq_schedule *schedule = NULL;
    dmq_sampler *sampler = NULL;
    dmq_status st = DMQ_OK;

    if (strcmp(what, "schema") == 0)
        return schema(o);
    if (strcmp(what, "list") == 0) {
        DMQ_TRY(list_folder("cards: networks, checkpoints, samplers", "experiments/cards", 1));
        DMQ_TRY(list_folder("methods", "experiments/methods", 1));
        DMQ_TRY(list_folder("published tables", "experiments/papers", 0));
        goto done;
    }
    if (o->json) {
        return dmq_fail(DMQ_EUSAGE,
                        "dmq config %s: --json has no effect here\n"
                        "  hint: it goes with dmq config schema",
                        what);
    }
    if (strcmp(what, "show") != 0 && strcmp(what, "check") != 0) {
        return dmq_fail(DMQ_EUSAGE, "dmq config: which one? It takes show, check, schema or list\n "
                                    " hint: dmq config show -c FILE");
    }
    DMQ_TRY(dmq_setup_config(&c, o));
    DMQ_TRY(dmq_schema_check(c));
    DMQ_TRY(dmq_sampler_from_config(&schedule, &sampler, c)); /* what only the sampler knows */
    if (strcmp(what, "show") == 0) {
        DMQ_TRY(show(c, o));
    } else {
        dmq_log_info("config: no mistake found");
    }
done:
    dmq_sampler_destroy(sampler);
    dmq_schedule_destroy(schedule);
    dmq_config_destroy(c);
    return st;
}
