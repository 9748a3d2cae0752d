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

/* ------------------------------------------------------------------ arms */

/* A row of the table: what it is called and what it sets. */
typedef struct arm {
    char *label, *words;
    const char *key; /* sweep.arms or sweep.grid, for messages */
} arm;

typedef struct arms {
    arm *arm;
    int n, room;
} arms;

static void arms_release(arms *list)
{
    for (int i = 0; i < list->n; i++) {
        dmq_free(list->arm[i].label);
        dmq_free(list->arm[i].words);
    }
    dmq_free(list->arm);
}

static dmq_status arms_add(arms *list, const char *label, const char *words, const char *key)
{
    dmq_status st = DMQ_OK;
    arm *a;

    if (list->n == list->room) {
        DMQ_TRY(dmq_grow((void **)&list->arm, (size_t)list->room, (size_t)list->room + 64,
                         sizeof *list->arm));
        list->room += 64;
    }
    a = &list->arm[list->n++];
    *a = (arm){ .key = key };
    DMQ_TRY(dmq_strdup(&a->label, label));
    DMQ_TRY(dmq_strdup(&a->words, words));
done:
    return st;
}

/* " LABEL: WORDS " of n characters, without spaces at its ends. */
static dmq_status arms_read(arms *list, const dmq_config *base, const char *key, const char *text,
                            size_t n)
{
    char *copy = NULL, *label, *colon, *end;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&copy, n + 1, 1));
    memcpy(copy, text, n);
    label = copy + strspn(copy, " ");
    for (end = label + strlen(label); end > label && end[-1] == ' ';)
        *--end = '\0';
    colon = strchr(label, ':');
    if (!colon || colon == label) {
        st = dmq_config_refuse(base, key, "an arm is \"LABEL: FILE... KEY=VALUE...\", not \"%s\"",
                               label);
        goto done;
    }
    *colon = '\0';
    DMQ_TRY(arms_add(list, label, colon + 1, key));
done:
    dmq_free(copy);
    return st;
}

/* The arms that a line of the grid is a choice of. */
static dmq_status read_line(arms *list, const dmq_config *base, const char *line)
{
    dmq_status st = DMQ_OK;

    for (;;) {
        size_t n = strcspn(line, "|");

        DMQ_TRY(arms_read(list, base, "sweep.grid", line, n));
        if (line[n] == '\0')
            return st;
        line += n + 1;
    }
done:
    return st;
}

static dmq_status join(char **out, const char *a, const char *b)
{
    size_t size = strlen(a) + strlen(b) + 2;
    dmq_status st = dmq_alloc((void **)out, size, 1);

    if (st == DMQ_OK)
        (void)snprintf(*out, size, "%s%s%s", a, *a ? " " : "", b);
    return st;
}

/* Every arm of `so_far` with every one of a line; the first line varies fastest. */
static dmq_status multiply(arms *out, const arms *so_far, const arms *line)
{
    char *label = NULL, *words = NULL;
    dmq_status st = DMQ_OK;

    for (int j = 0; j < line->n; j++) {
        for (int i = 0; i < so_far->n; i++) {
            dmq_free(label);
            dmq_free(words);
            label = words = NULL;
            DMQ_TRY(join(&label, so_far->arm[i].label, line->arm[j].label));
            DMQ_TRY(join(&words, so_far->arm[i].words, line->arm[j].words));
            DMQ_TRY(arms_add(out, label, words, "sweep.grid"));
        }
    }
done:
    dmq_free(label);
    dmq_free(words);
    return st;
}

static dmq_status read_grid(arms *out, const dmq_config *base)
{
    arms grid = { 0 }, line = { 0 }, next = { 0 };
    int n;
    const char *const *lines = dmq_config_texts(base, "sweep.grid", &n);
    dmq_status st = DMQ_OK;

    for (int i = 0; i < n; i++) {
        DMQ_TRY(read_line(&line, base, lines[i]));
        if (i == 0) {
            grid = line;
        } else {
            DMQ_TRY(multiply(&next, &grid, &line));
            arms_release(&grid);
            arms_release(&line);
            grid = next;
            next = (arms){ 0 };
        }
        line = (arms){ 0 };
    }
    for (int i = 0; i < grid.n; i++)
        DMQ_TRY(arms_add(out, grid.arm[i].label, grid.arm[i].words, "sweep.grid"));
done:
    arms_release(&grid);
    arms_release(&line);
    arms_release(&next);
    return st;
}

static dmq_status read_arms(arms *out, const dmq_config *base)
{
    int n;
    const char *const *text = dmq_config_texts(base, "sweep.arms", &n);
    dmq_status st = DMQ_OK;

    for (int i = 0; i < n; i++)
        DMQ_TRY(arms_read(out, base, "sweep.arms", text[i], strlen(text[i])));
    DMQ_TRY(read_grid(out, base));
done:
    return st;
}

dmq_status dmq_sweep_count(int *n_arms, const dmq_config *config)
{
    arms list = { 0 };
    dmq_status st = read_arms(&list, config);

    *n_arms = list.n;
    arms_release(&list);
    return st;
}

/* ------------------------------------------------------------------ tasks */

/* Words of an arm behind its label: files first or last, as they are written. */
static dmq_status apply(dmq_config *c, const dmq_config *base, const char *near, const arm *a)
{
    dmq_status st = DMQ_OK;
    char *folder = NULL, *path = NULL, *words = NULL, *rest = NULL;

    DMQ_TRY(dmq_path_folder(&folder, near));
    DMQ_TRY(dmq_strdup(&words, a->words));
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
            (void)dmq_origin_note(st, dmq_config_origin(base, a->key));
            goto done;
        }
    }
done:
    dmq_free(words);
    dmq_free(folder);
    dmq_free(path);
    return st;
}

/* What the sweep says of a run: one of no sweep, with this seed and the name of its folder. */
static dmq_status set_own(dmq_config *c, const dmq_config *base, const char *key, const char *name,
                          int64_t seed)
{
    char text[32];
    dmq_status st = DMQ_OK;

    (void)snprintf(text, sizeof text, "%lld", (long long)seed);
    DMQ_TRY(dmq_config_set(c, "sweep.arms", "[]", dmq_config_origin(base, "sweep.arms")));
    DMQ_TRY(dmq_config_set(c, "sweep.grid", "[]", dmq_config_origin(base, "sweep.grid")));
    DMQ_TRY(dmq_config_set(c, "seed", text, dmq_config_origin(base, "sweep.seeds")));
    DMQ_TRY(dmq_config_set(c, "name", name, dmq_config_origin(base, key)));
done:
    return st;
}

static dmq_status add_task(dmq_sweep *s, const dmq_config *base, const char *near,
                           const char *folder, const char *label, const arm *a, int64_t seed,
                           dmq_config_maker *make, const void *context)
{
    dmq_task *t = &s->task[s->n_tasks];
    char name[160];
    dmq_status st = DMQ_OK;

    s->n_tasks++;
    t->label = label;
    t->seed = seed;
    folder_name(name, sizeof name, label, seed);
    for (int i = 0; i + 1 < s->n_tasks; i++) {
        if (strcmp(dmq_path_name(s->task[i].folder), name) == 0)
            return dmq_config_refuse(base, a->key, "two arms would share the folder %s", name);
    }
    DMQ_TRY(dmq_path_join(&t->folder, folder, name));
    DMQ_TRY(make(&t->config, context));
    DMQ_TRY(set_own(t->config, base, a->key, name, seed));
    DMQ_TRY(apply(t->config, base, near, a));
done:
    return st;
}

dmq_status dmq_sweep_create(dmq_sweep **out, const dmq_config *base, const char *near,
                            const char *folder, dmq_config_maker *make, const void *context)
{
    dmq_sweep *s = NULL;
    arms list = { 0 };
    int n_seeds;
    const int64_t *seeds = dmq_config_ints(base, "sweep.seeds", &n_seeds);
    dmq_status st = DMQ_OK;

    DMQ_TRY(read_arms(&list, base));
    if (list.n == 0) {
        st = dmq_config_refuse(base, "sweep.arms", "there is no arm to run");
        goto done;
    }
    DMQ_TRY(dmq_alloc((void **)&s, 1, sizeof *s));
    DMQ_TRY(dmq_path_join(&s->store, folder, "store"));
    DMQ_TRY(dmq_alloc((void **)&s->label, (size_t)list.n, sizeof *s->label));
    DMQ_TRY(dmq_alloc((void **)&s->task, (size_t)list.n * (size_t)n_seeds, sizeof *s->task));
    for (int i = 0; i < list.n; i++) {
        DMQ_TRY(dmq_strdup(&s->label[i], list.arm[i].label));
        s->n_arms++;
        for (int j = 0; j < n_seeds; j++) {
            DMQ_TRY(add_task(s, base, near, folder, s->label[i], &list.arm[i], seeds[j], make,
                             context));
        }
    }
    *out = s;
    s = NULL;
done:
    arms_release(&list);
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
