/* The configuration as text: YAML for people, sorted lines for hashes. */
#include "base/config_value.h"
#include "base/memory.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

/* Open the groups of name that are not open from the key before: "quant:\n  weight:\n". */
static void open_groups(dmq_text *out, const char *before, const char *name)
{
    const char *dot;
    int depth = 0;

    for (dot = strchr(name, '.'); dot; dot = strchr(dot + 1, '.'), depth++) {
        size_t n = (size_t)(dot - name);
        const char *from = name;

        if (strncmp(before, name, n + 1) == 0)
            continue;
        while (from < dot && memchr(from, '.', (size_t)(dot - from)))
            from = strchr(from, '.') + 1;
        dmq_text_add(out, "%*s%.*s:\n", 2 * depth, "", (int)(dot - from), from);
    }
}

static int depth_of(const char *name)
{
    int depth = 0;

    for (; *name; name++)
        depth += *name == '.';
    return depth;
}

dmq_status dmq_config_dump(char **out, const dmq_config *config)
{
    dmq_text text = { 0 };
    const char *before = "";

    for (int i = 0; i < config->count; i++) {
        const char *name = config->schema[i].name;
        const char *dot = strrchr(name, '.');

        open_groups(&text, before, name);
        dmq_text_add(&text, "%*s%s: %s\n", 2 * depth_of(name), "", dot ? dot + 1 : name,
                     config->value[i].canonical);
        before = name;
    }
    return dmq_text_take(out, &text);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A text's canonical form may have quotes, its fallback has none. */
static int is_fallback(const dmq_config *config, int i)
{
    const config_value *v = &config->value[i];
    const dmq_config_key *key = &config->schema[i];

    return strcmp(key->type == DMQ_CONFIG_TEXT ? v->text : v->canonical, key->fallback) == 0;
}

dmq_status dmq_config_stage_text(char **out, const dmq_config *config, unsigned stages)
{
    dmq_status st = DMQ_OK;
    dmq_text text = { 0 };
    char **lines = NULL;
    int n = 0;

    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&lines, (size_t)config->count, sizeof *lines));
    for (int i = 0; i < config->count; i++) {
        dmq_text line = { 0 };

        if (!(config->schema[i].stages & stages))
            continue;
        if (config->schema[i].quiet && is_fallback(config, i))
            continue;
        dmq_text_add(&line, "%s: %s\n", config->schema[i].name, config->value[i].canonical);
        DMQ_TRY(dmq_text_take(&lines[n++], &line));
    }
    qsort(lines, (size_t)n, sizeof *lines, by_text);
    for (int i = 0; i < n; i++)
        dmq_text_add(&text, "%s", lines[i]);
    DMQ_TRY(dmq_text_take(out, &text));
done:
    for (int i = 0; lines && i < n; i++)
        dmq_free(lines[i]);
    dmq_free(lines);
    dmq_text_release(&text);
    return st;
}
