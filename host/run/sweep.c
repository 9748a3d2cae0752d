#include "run/sweep.h"

#include "base/memory.h"
#include "base/path.h"
#include "io/yaml.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* "TFMQ-DM W4A8" -> "tfmq-dm-w4a8" */
static void folder_name(char *out, size_t size, const char *label, int64_t seed)
{
    size_t n = 0;

    for (; *label && n + 24 < size; label++) {
        if (isalnum((unsigned char)*label) || *label == '.' || *label == '_') {
            out[n++] = (char)tolower((unsigned char)*label);
        } else if (n > 0 && out[n - 1] != '-') {
            out[n++] = '-';
        }
    }
    while (n > 0 && out[n - 1] == '-')
        n--;
    (void)snprintf(out + n, size - n, "-s%lld", (long long)seed);
}

/* Words of an arm behind its label: files first or last, as they are written. */
static dmq_status apply(dmq_config *c, const dmq_config *base, const char *near, char *words)
{
    dmq_status st = DMQ_OK;
    char *folder = NULL, *path = NULL, *rest = NULL;

    DMQ_TRY(dmq_path_folder(&folder, near));
    for (char *w = strtok_r(words, " ", &rest); w; w = strtok_r(NULL, " ", &rest)) {
        if (strchr(w, '=')) {
            st = dmq_config_set_flag(c, w);
        } else {
            dmq_free(path);
            path = NULL;
            DMQ_TRY(dmq_path_join(&path, folder, w));
            st = dmq_yaml_load(c, path);
        }
        if (st != DMQ_OK) {
            (void)dmq_origin_note(st, dmq_config_origin(base, "sweep.arms"));
            goto done;
        }
    }
done:
    dmq_free(folder);
    dmq_free(path);
    return st;
}

static dmq_status add_task(dmq_sweep *s, const dmq_config *base, const char *near,
                           const char *folder, const char *label, const char *words, int64_t seed,
                           dmq_config_maker *make, const void *context)
{
    dmq_task *t = &s->task[s->n_tasks];
    char name[160], text[32], *copy = NULL;
    dmq_status st = DMQ_OK;

    s->n_tasks++;
    t->label = label;
    t->seed = seed;
    folder_name(name, sizeof name, label, seed);
    for (int i = 0; i + 1 < s->n_tasks; i++) {
        if (strcmp(dmq_path_name(s->task[i].folder), name) == 0) {
            return dmq_config_refuse(base, "sweep.arms", "two arms would share the folder %s",
                                     name);
        }
    }
    DMQ_TRY(dmq_path_join(&t->folder, folder, name));
    DMQ_TRY(make(&t->config, context));
    DMQ_TRY(dmq_config_set(t->config, "sweep.arms", "[]", dmq_config_origin(base, "sweep.arms")));
    (void)snprintf(text, sizeof text, "%lld", (long long)seed);
    DMQ_TRY(dmq_config_set(t->config, "seed", text, dmq_config_origin(base, "sweep.seeds")));
    DMQ_TRY(dmq_config_set(t->config, "name", name, dmq_config_origin(base, "sweep.arms")));
    DMQ_TRY(dmq_strdup(&copy, words));
    DMQ_TRY(apply(t->config, base, near, copy));
done:
    dmq_free(copy);
    return st;
}

dmq_status dmq_sweep_create(dmq_sweep **out, const dmq_config *base, const char *near,
                            const char *folder, dmq_config_maker *make, const void *context)
{
    dmq_sweep *s = NULL;
    int n_arms, n_seeds;
    const char *const *arms = dmq_config_texts(base, "sweep.arms", &n_arms);
    const int64_t *seeds = dmq_config_ints(base, "sweep.seeds", &n_seeds);
    dmq_status st = DMQ_OK;

    if (n_arms == 0)
        return dmq_config_refuse(base, "sweep.arms", "there is no arm to run");
    DMQ_TRY(dmq_alloc((void **)&s, 1, sizeof *s));
    DMQ_TRY(dmq_path_join(&s->store, folder, "store"));
    DMQ_TRY(dmq_alloc((void **)&s->label, (size_t)n_arms, sizeof *s->label));
    DMQ_TRY(dmq_alloc((void **)&s->task, (size_t)(n_arms * n_seeds), sizeof *s->task));
    for (int i = 0; i < n_arms; i++) {
        const char *colon = strchr(arms[i], ':');

        if (!colon || colon == arms[i]) {
            st =
                dmq_config_refuse(base, "sweep.arms",
                                  "an arm is \"LABEL: FILE... KEY=VALUE...\", not \"%s\"", arms[i]);
            goto done;
        }
        DMQ_TRY(dmq_strdup(&s->label[i], arms[i]));
        s->n_arms++;
        s->label[i][colon - arms[i]] = '\0';
        for (int j = 0; j < n_seeds; j++) {
            DMQ_TRY(
                add_task(s, base, near, folder, s->label[i], colon + 1, seeds[j], make, context));
        }
    }
    *out = s;
    s = NULL;
done:
    dmq_sweep_destroy(s);
    return st;
}

void dmq_sweep_destroy(dmq_sweep *s)
{
    if (!s)
        return;
    for (int i = 0; i < s->n_tasks; i++) {
        dmq_free(s->task[i].folder);
        dmq_config_destroy(s->task[i].config);
    }
    for (int i = 0; i < s->n_arms; i++)
        dmq_free(s->label[i]);
    dmq_free(s->label);
    dmq_free(s->task);
    dmq_free(s->store);
    dmq_free(s);
}
