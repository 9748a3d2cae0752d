#include "report/paper.h"

#include "base/memory.h"
#include "base/path.h"
#include "base/schema.h"
#include "base/text.h"
#include "io/file.h"
#include "report/measure.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char format[] = "dmq-paper/1";

/* ------------------------------------------------------------------ where it is */

/* Names of the tables of a folder as a hint; a folder that is not there has none. */
static dmq_status hint_names(dmq_status st, const char *folder)
{
    DIR *list = opendir(folder);
    struct dirent *entry;
    dmq_text names = { 0 };

    while (list && (entry = readdir(list)) != NULL) {
        if (dmq_path_has_suffix(entry->d_name, ".yaml")) {
            dmq_text_add(&names, "%s%.*s", names.data ? ", " : "", (int)strlen(entry->d_name) - 5,
                         entry->d_name);
        }
    }
    if (list)
        (void)closedir(list);
    st = names.data ? dmq_fail_note(st, "  hint: there are %s", names.data)
                    : dmq_fail_note(st, "  hint: DMQ_EXPERIMENTS names the folder experiments/");
    dmq_text_release(&names);
    return st;
}

static dmq_status find_file(char **out, const char *name)
{
    char text[256], *folder = NULL;
    dmq_status st = DMQ_OK;

    if (dmq_path_has_suffix(name, ".yaml"))
        return dmq_strdup(out, name);
    (void)snprintf(text, sizeof text, "experiments:papers/%.200s.yaml", name);
    DMQ_TRY(dmq_path_resolve(out, text));
    if (dmq_file_exists(*out))
        return DMQ_OK;
    DMQ_TRY(dmq_path_folder(&folder, *out));
    st = hint_names(
        dmq_fail(DMQ_ENOINPUT, "report.table: there is no published table \"%s\" (%s)", name, *out),
        folder);
done:
    dmq_free(folder);
    return st;
}

/* ------------------------------------------------------------------ reading */

static dmq_status refuse(const dmq_paper *p, const dmq_yaml_entry *e, int at_key, const char *what)
{
    dmq_origin origin = { DMQ_ORIGIN_FILE, p->path, at_key ? e->key_line : e->line,
                          at_key ? e->key_column : e->column };

    (void)dmq_fail(DMQ_EINVAL, "%s: %s", e->key, what);
    return dmq_origin_note(DMQ_EINVAL, &origin);
}

/* "rows." of "rows.gac.fid": what stands behind; NULL: it does not begin so. */
static const char *behind(const char *key, const char *prefix)
{
    size_t n = strlen(prefix);

    return strncmp(key, prefix, n) == 0 ? key + n : NULL;
}

static const char *text_of(const dmq_paper *p, const char *group, const char *name)
{
    for (int i = 0; i < p->yaml->count; i++) {
        const char *rest = behind(p->yaml->entry[i].key, group);

        if (rest && strcmp(rest, name) == 0)
            return p->yaml->entry[i].text;
    }
    return NULL;
}

static int measure_of(const char *key)
{
    for (int m = 0; m < DMQ_MEASURES; m++) {
        if (strcmp(dmq_measures[m].key, key) == 0)
            return m;
    }
    return -1;
}

static dmq_status add_setting(const dmq_paper *p, const dmq_yaml_entry *e, const char *key,
                              const char ***keys, const char ***sets, int *n)
{
    int n_keys, known = 0;
    const dmq_config_key *schema = dmq_schema_keys(&n_keys);
    dmq_status st = DMQ_OK;

    for (int i = 0; i < n_keys; i++)
        known = known || strcmp(schema[i].name, key) == 0;
    if (!known)
        return refuse(p, e, 1, "there is no such setting of a run");
    if (!e->text)
        return refuse(p, e, 0, "must be one value");
    DMQ_TRY(dmq_grow((void **)keys, (size_t)*n, (size_t)*n + 1, sizeof(const char *)));
    DMQ_TRY(dmq_grow((void **)sets, (size_t)*n, (size_t)*n + 1, sizeof(const char *)));
    (*keys)[*n] = key;
    (*sets)[(*n)++] = e->text;
done:
    return st;
}

static dmq_status read_protocol(dmq_paper *p, const dmq_yaml_entry *e, const char *key)
{
    const char *rest;
    int m;

    if (strcmp(key, "tool") == 0 && e->text) {
        p->tool = e->text;
        return DMQ_OK;
    }
    if ((rest = behind(key, "settings.")))
        return add_setting(p, e, rest, &p->key, &p->set, &p->n_settings);
    if ((rest = behind(key, "ids.")) || (rest = behind(key, "conventions."))) {
        m = measure_of(rest);
        if (m < 0)
            return refuse(p, e, 1, "there is no such measure");
        if (key[0] == 'i' && !e->text) {
            p->ids[m] = e;
            return DMQ_OK;
        }
        if (key[0] == 'c' && e->text) {
            p->convention[m] = e->text;
            return DMQ_OK;
        }
        return refuse(p, e, 0, "ids are lists, conventions texts");
    }
    return refuse(p, e, 1, "a protocol has tool, settings, ids and conventions");
}

static dmq_status read_bits(dmq_paper_row *row, const dmq_paper *p, const dmq_yaml_entry *e)
{
    int w, a, used = 0;

    if (sscanf(e->text, "W%2dA%2d%n", &w, &a, &used) != 2 || e->text[used] != '\0')
        return refuse(p, e, 0, "must be like W4A8");
    (void)snprintf(row->bits, sizeof row->bits, "%s", e->text);
    return DMQ_OK;
}

static dmq_status read_cell(dmq_paper_row *row, const dmq_paper *p, const dmq_yaml_entry *e,
                            const char *key)
{
    const char *rest = behind(key, "settings.");
    char *end = NULL;
    int m;

    if (rest)
        return add_setting(p, e, rest, &row->key, &row->set, &row->n_settings);
    if (!e->text)
        return refuse(p, e, 0, "must be one value");
    if (strcmp(key, "method") == 0) {
        row->method = e->text;
        row->label = text_of(p, "methods.", e->text);
        return row->label ? DMQ_OK : refuse(p, e, 0, "is not in methods");
    }
    if (strcmp(key, "source") == 0) {
        row->source_id = e->text;
        row->source = text_of(p, "sources.", e->text);
        return row->source ? DMQ_OK : refuse(p, e, 0, "is not in sources");
    }
    if (strcmp(key, "bits") == 0)
        return read_bits(row, p, e);
    if (strcmp(key, "tag") == 0) {
        row->tag = e->text;
        return strcmp(e->text, "V") == 0 || strcmp(e->text, "R") == 0 || strcmp(e->text, "U") == 0
                   ? DMQ_OK
                   : refuse(p, e, 0, "must be one of V|R|U");
    }
    m = measure_of(key);
    if (m < 0)
        return refuse(p, e, 1, "a row has method, bits, tag, source, settings and measures");
    row->value[m] = strtod(e->text, &end);
    return end != e->text && *end == '\0' && isfinite(row->value[m])
               ? DMQ_OK
               : refuse(p, e, 0, "must be a number");
}

static dmq_status next_row(dmq_paper_row **out, dmq_paper *p)
{
    dmq_paper_row *row;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_grow((void **)&p->row, (size_t)p->n_rows, (size_t)p->n_rows + 1, sizeof *p->row));
    row = &p->row[p->n_rows++];
    *row = (dmq_paper_row){ 0 };
    DMQ_TRY(dmq_alloc((void **)&row->value, DMQ_MEASURES, sizeof *row->value));
    for (int m = 0; m < DMQ_MEASURES; m++)
        row->value[m] = (double)NAN;
    *out = row;
done:
    return st;
}

/* The entries of one row stand together, as a map has them. */
static dmq_status read_rows(dmq_paper *p)
{
    const char *id = NULL;
    size_t length = 0;
    dmq_paper_row *row = NULL;
    dmq_status st = DMQ_OK;

    for (int i = 0; i < p->yaml->count; i++) {
        const dmq_yaml_entry *e = &p->yaml->entry[i];
        const char *key = behind(e->key, "rows.");

        if (!key)
            continue;
        if (!strchr(key, '.'))
            return refuse(p, e, 1, "a row is a map");
        if (!id || strncmp(id, key, length) != 0) {
            id = key;
            length = strcspn(key, ".") + 1;
            DMQ_TRY(next_row(&row, p));
        }
        DMQ_TRY(read_cell(row, p, e, key + length));
        if (i + 1 < p->yaml->count && behind(p->yaml->entry[i + 1].key, "rows.") &&
            strncmp(p->yaml->entry[i + 1].key + 5, id, length) == 0)
            continue;
        if (!row->method || !row->bits[0] || !row->tag || !row->source)
            return refuse(p, e, 1, "its row must say method, bits, tag and source");
    }
done:
    return st;
}

static dmq_status read_head(dmq_paper *p)
{
    int named = 0;
    dmq_status st = DMQ_OK;

    for (int i = 0; i < p->yaml->count; i++) {
        const dmq_yaml_entry *e = &p->yaml->entry[i];
        const char *rest = behind(e->key, "protocol.");

        if (rest) {
            DMQ_TRY(read_protocol(p, e, rest));
        } else if (strcmp(e->key, "paper") == 0) {
            named = e->text && strcmp(e->text, format) == 0;
        } else if (strcmp(e->key, "title") == 0 && e->text) {
            p->title = e->text;
        } else if (!behind(e->key, "rows.") &&
                   (!e->text || (!behind(e->key, "methods.") && !behind(e->key, "sources.")))) {
            return refuse(p, e, 1, "is not understood here");
        }
    }
    if (!named)
        st = dmq_fail(DMQ_EINVAL, "%s does not say paper: %s", p->path, format);
done:
    return st;
}

dmq_status dmq_paper_load(dmq_paper **out, const char *name)
{
    dmq_paper *p = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&p, 1, sizeof *p));
    p->title = p->tool = "";
    DMQ_TRY(dmq_strdup(&p->name, name));
    DMQ_TRY(find_file(&p->path, name));
    DMQ_TRY(dmq_yaml_read(&p->yaml, p->path));
    DMQ_TRY(dmq_alloc((void **)&p->ids, DMQ_MEASURES, sizeof(const dmq_yaml_entry *)));
    DMQ_TRY(dmq_alloc((void **)&p->convention, DMQ_MEASURES, sizeof(const char *)));
    DMQ_TRY(read_head(p));
    DMQ_TRY(read_rows(p));
    *out = p;
    p = NULL;
done:
    dmq_paper_destroy(p);
    return st;
}

void dmq_paper_destroy(dmq_paper *p)
{
    if (!p)
        return;
    for (int i = 0; i < p->n_rows; i++) {
        dmq_free(p->row[i].value);
        dmq_free(p->row[i].key);
        dmq_free(p->row[i].set);
    }
    dmq_free(p->row);
    dmq_free(p->key);
    dmq_free(p->set);
    dmq_free(p->ids);
    dmq_free(p->convention);
    dmq_yaml_destroy(p->yaml);
    dmq_free(p->path);
    dmq_free(p->name);
    dmq_free(p);
}

/* ------------------------------------------------------------------ a run beside it */

/* "0", "0.0" and "0.00" are one value. */
static int equal(const char *a, const char *b)
{
    char *end_a = NULL, *end_b = NULL;
    double x = strtod(a, &end_a), y = strtod(b, &end_b);

    if (end_a != a && end_b != b && *end_a == '\0' && *end_b == '\0')
        return x == y;
    return strcmp(a, b) == 0;
}

static const char *setting_of(const char *const *key, const char *const *set, int n,
                              const char *name)
{
    for (int i = 0; i < n; i++) {
        if (strcmp(key[i], name) == 0)
            return set[i];
    }
    return NULL;
}

static int compare_one(dmq_text *why, const char *key, const char *published, const dmq_result *run)
{
    const char *mine = dmq_result_setting(run, key, NULL);

    if (mine && equal(mine, published))
        return 0;
    if (why) {
        dmq_text_add(why, "%s%s %s (published: %s)", why->data ? ", " : "", key,
                     mine ? mine : "not told", published);
    }
    return 1;
}

/* What differs, counted and, with why, told. */
static int compare(dmq_text *why, const dmq_paper *p, const dmq_paper_row *row,
                   const dmq_result *run)
{
    int n = 0;

    for (int i = 0; i < p->n_settings; i++) {
        if (!row || !setting_of(row->key, row->set, row->n_settings, p->key[i]))
            n += compare_one(why, p->key[i], p->set[i], run);
    }
    for (int i = 0; row && i < row->n_settings; i++)
        n += compare_one(why, row->key[i], row->set[i], run);
    return n;
}

const dmq_paper_row *dmq_paper_find(const dmq_paper *p, const char *method, const char *bits,
                                    const dmq_result *run)
{
    const dmq_paper_row *best = NULL;
    int least = 0;

    for (int i = 0; i < p->n_rows; i++) {
        const dmq_paper_row *row = &p->row[i];
        int n;

        if (strcmp(row->method, method) != 0 || strcmp(row->bits, bits) != 0)
            continue;
        n = compare(NULL, p, row, run);
        if (!best || n < least) {
            best = row;
            least = n;
        }
    }
    return best;
}

dmq_status dmq_paper_differs(char **out, const dmq_paper *p, const dmq_paper_row *row,
                             const dmq_result *run)
{
    dmq_text why = { 0 };

    (void)compare(&why, p, row, run);
    return dmq_text_take(out, &why);
}

const char *dmq_paper_unlike(const dmq_paper *p, int measure, const char *id)
{
    const dmq_yaml_entry *parts = p->ids[measure];

    if (p->convention[measure])
        return p->convention[measure];
    for (int i = 0; parts && id && i < parts->count; i++) {
        if (!strstr(id, parts->item[i]))
            return parts->item[i];
    }
    return NULL;
}

void dmq_paper_row_settings(char *out, size_t size, const dmq_paper *p, const dmq_paper_row *row)
{
    size_t n = 0;

    out[0] = '\0';
    for (int i = 0; i < row->n_settings && n < size; i++) {
        const char *usual = setting_of(p->key, p->set, p->n_settings, row->key[i]);

        if (usual && !equal(usual, row->set[i]))
            n += (size_t)snprintf(out + n, size - n, ", %s %s", row->key[i], row->set[i]);
    }
}
