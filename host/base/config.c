#include "base/config.h"

#include "base/config_value.h"
#include "base/memory.h"
#include "base/path.h"
#include "base/text.h"

#include <assert.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { NEAREST_LIMIT = 512 };

/* ------------------------------------------------------------------ keys */

static int index_of(const dmq_config *config, const char *key)
{
    for (int i = 0; i < config->count; i++) {
        if (strcmp(config->schema[i].name, key) == 0)
            return i;
    }
    return -1;
}

static bool is_below(const char *name, const char *group)
{
    size_t n = strlen(group);

    return strncmp(name, group, n) == 0 && name[n] == '.';
}

/* The main key of a group, "reweight" -> "reweight.form". */
static int main_of(const dmq_config *config, const char *group)
{
    for (int i = 0; i < config->count; i++) {
        if (config->schema[i].main && is_below(config->schema[i].name, group) &&
            !strchr(config->schema[i].name + strlen(group) + 1, '.'))
            return i;
    }
    return -1;
}

int dmq_config_count(const dmq_config *config)
{
    return config->count;
}

const dmq_config_key *dmq_config_key_at(const dmq_config *config, int i)
{
    return i >= 0 && i < config->count ? &config->schema[i] : NULL;
}

const dmq_config_key *dmq_config_key_find(const dmq_config *config, const char *key)
{
    return dmq_config_key_at(config, index_of(config, key));
}

bool dmq_config_is_group(const dmq_config *config, const char *group)
{
    for (int i = 0; i < config->count; i++) {
        if (is_below(config->schema[i].name, group))
            return true;
    }
    return false;
}

/* ------------------------------------------------------------------ messages */

dmq_status dmq_origin_note(dmq_status code, const dmq_origin *origin)
{
    if (origin->kind == DMQ_ORIGIN_FILE)
        return dmq_fail_note(code, "  at %s:%d:%d", origin->place, origin->line, origin->column);
    if (origin->kind == DMQ_ORIGIN_FLAG)
        return dmq_fail_note(code, "  at %s", origin->place);
    return code;
}

static dmq_status hint_of(dmq_status code, const dmq_config_key *key)
{
    return key->hint ? dmq_fail_note(code, "  hint: %s", key->hint) : code;
}

/* "act.bits" or "bits" names quant.act.bits if nothing else ends so. */
static int only_with_ending(const dmq_config *config, const char *ending)
{
    size_t m = strlen(ending);
    int found = -1;

    for (int i = 0; i < config->count; i++) {
        size_t n = strlen(config->schema[i].name);

        if (n <= m || config->schema[i].name[n - m - 1] != '.' ||
            strcmp(config->schema[i].name + n - m, ending) != 0)
            continue;
        if (found >= 0)
            return -1;
        found = i;
    }
    return found;
}

dmq_status dmq_config_unknown(const dmq_config *config, const char *key, const dmq_origin *origin)
{
    const char *names[NEAREST_LIMIT];
    const char *last = strrchr(key, '.');
    int n = config->count < NEAREST_LIMIT ? config->count : NEAREST_LIMIT;
    int near = only_with_ending(config, key);

    for (int i = 0; i < n; i++)
        names[i] = config->schema[i].name;
    if (near < 0)
        near = dmq_text_nearest(key, names, n);
    if (near < 0 && last)
        near = only_with_ending(config, last + 1);
    (void)dmq_fail(DMQ_EINVAL, "%s: there is no such key", key);
    (void)dmq_origin_note(DMQ_EINVAL, origin);
    if (near >= 0)
        return dmq_fail_note(DMQ_EINVAL, "  hint: did you mean \"%s\"?", config->schema[near].name);
    return dmq_fail_note(DMQ_EINVAL, "  hint: \"dmq config schema\" lists all keys");
}

static dmq_status refuse_group(const char *group, const dmq_origin *origin)
{
    (void)dmq_fail(DMQ_EINVAL, "%s: is a group of keys, a value cannot be given to it", group);
    (void)dmq_origin_note(DMQ_EINVAL, origin);
    return dmq_fail_note(DMQ_EINVAL, "  hint: \"dmq config schema\" lists the keys of %s", group);
}

dmq_status dmq_config_refuse(const dmq_config *config, const char *key, const char *format, ...)
{
    int i = index_of(config, key);
    char why[1024];
    va_list args;

    assert(i >= 0);
    va_start(args, format);
    (void)vsnprintf(why, sizeof why, format, args);
    va_end(args);
    (void)dmq_fail(DMQ_EINVAL, "%s = %s: %s", key, config->value[i].canonical, why);
    (void)dmq_origin_note(DMQ_EINVAL, &config->value[i].origin);
    return hint_of(DMQ_EINVAL, &config->schema[i]);
}

dmq_status dmq_config_place(const dmq_config *config, dmq_status code)
{
    char key[64];
    int i;

    if (code == DMQ_OK || sscanf(dmq_message(), "%63[a-zA-Z0-9_.]", key) != 1)
        return code;
    i = index_of(config, key);
    if (i < 0)
        return code;
    (void)dmq_origin_note(code, &config->value[i].origin);
    return hint_of(code, &config->schema[i]);
}

dmq_status dmq_config_hints(const dmq_config *config, const char *key, dmq_status code,
                            const char *otherwise)
{
    int n;
    const char *const *line = dmq_config_texts(config, key, &n);

    for (int i = 0; i < n; i++)
        (void)dmq_fail_note(code, "  hint: %s", line[i]);
    return n > 0 ? code : dmq_fail_note(code, "  hint: %s", otherwise);
}

/* ------------------------------------------------------------------ setting */

/* A path in a file is relative to the file, one in a flag to where dmq was called. */
static dmq_status anchor_path(char **out, const char *text, const dmq_origin *origin)
{
    dmq_status st = DMQ_OK;
    char *folder = NULL, *joined = NULL;

    if (!text[0] || strncmp(text, "data:", 5) == 0 || origin->kind == DMQ_ORIGIN_DEFAULT)
        return dmq_strdup(out, text);
    if (origin->kind == DMQ_ORIGIN_FILE)
        DMQ_TRY(dmq_path_folder(&folder, origin->place));
    DMQ_TRY(dmq_path_join(&joined, folder, text));
    DMQ_TRY(dmq_path_absolute(out, joined));
done:
    dmq_free(folder);
    dmq_free(joined);
    return st;
}

static dmq_status set_at(dmq_config *config, int i, const char *const *items, int count,
                         const dmq_origin *origin)
{
    const dmq_config_key *key = &config->schema[i];
    dmq_status st = DMQ_OK;
    config_value value;
    const char *item = count < 0 ? items[0] : NULL;
    char *path = NULL;

    memset(&value, 0, sizeof value);
    if (item && key->type == DMQ_CONFIG_PATH) {
        DMQ_TRY(anchor_path(&path, item, origin));
        item = path;
    }
    st = config_parse(&value, key, item ? &item : items, count);
    if (st == DMQ_EINVAL) {
        (void)dmq_origin_note(st, origin);
        (void)hint_of(st, key);
    }
    if (st != DMQ_OK)
        goto done;
    DMQ_TRY(dmq_strdup(&value.place, origin->place));
    value.origin = *origin;
    value.origin.place = value.place;
    config_value_release(&config->value[i]);
    config->value[i] = value;
    memset(&value, 0, sizeof value);
done:
    config_value_release(&value);
    dmq_free(path);
    return st;
}

static dmq_status set_named(dmq_config *config, const char *key, const char *const *items,
                            int count, const dmq_origin *origin)
{
    int i = index_of(config, key);

    if (i < 0)
        i = main_of(config, key);
    if (i < 0 && dmq_config_is_group(config, key))
        return refuse_group(key, origin);
    if (i < 0)
        return dmq_config_unknown(config, key, origin);
    return set_at(config, i, items, count, origin);
}

dmq_status dmq_config_set(dmq_config *config, const char *key, const char *text,
                          const dmq_origin *origin)
{
    return set_named(config, key, &text, -1, origin);
}

dmq_status dmq_config_set_list(dmq_config *config, const char *key, const char *const *items,
                               int count, const dmq_origin *origin)
{
    return set_named(config, key, items, count, origin);
}

dmq_status dmq_config_set_flag(dmq_config *config, const char *assignment)
{
    dmq_status st = DMQ_OK;
    const char *equals = strchr(assignment, '=');
    dmq_text flag = { 0 };
    char *key = NULL, *place = NULL;
    dmq_origin origin = { DMQ_ORIGIN_FLAG, NULL, 0, 0 };

    if (!equals || equals == assignment) {
        return dmq_fail(DMQ_EUSAGE,
                        "--set %s: must be KEY=VALUE\n  hint: for example --set recon.iters=1000",
                        assignment);
    }
    DMQ_TRY(dmq_strdup(&key, assignment));
    key[equals - assignment] = '\0';
    dmq_text_add(&flag, "--set %s", assignment);
    DMQ_TRY(dmq_text_take(&place, &flag));
    origin.place = place;
    DMQ_TRY(dmq_config_set(config, key, equals + 1, &origin));
done:
    dmq_free(key);
    dmq_free(place);
    return st;
}

/* ------------------------------------------------------------------ life */

dmq_status dmq_config_create(dmq_config **out, const dmq_config_key *schema, int count)
{
    static const dmq_origin built_in = { DMQ_ORIGIN_DEFAULT, "default", 0, 0 };
    dmq_status st = DMQ_OK;
    dmq_config *config = NULL;

    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&config, 1, sizeof *config));
    config->schema = schema;
    config->count = count;
    DMQ_TRY(dmq_alloc((void **)&config->value, (size_t)count, sizeof *config->value));
    for (int i = 0; i < count; i++) {
        DMQ_TRY(set_at(config, i, &schema[i].fallback, -1, &built_in));
    }
    *out = config;
    config = NULL;
done:
    assert(st != DMQ_EINVAL);
    dmq_config_destroy(config);
    return st;
}

void dmq_config_destroy(dmq_config *config)
{
    if (!config)
        return;
    for (int i = 0; config->value && i < config->count; i++)
        config_value_release(&config->value[i]);
    dmq_free(config->value);
    dmq_free(config);
}

/* ------------------------------------------------------------------ asking */

static const config_value *value_of(const dmq_config *config, const char *key, unsigned types)
{
    int i = index_of(config, key);

    assert(i >= 0 && "the schema has no such key");
    assert((types >> config->schema[i].type & 1U) && "the key has another type");
    (void)types;
    return &config->value[i];
}

#define BIT(type) (1U << (type))
#define ANY       (~0U)

bool dmq_config_bool(const dmq_config *config, const char *key)
{
    return value_of(config, key, BIT(DMQ_CONFIG_BOOL))->i != 0;
}

int64_t dmq_config_int64(const dmq_config *config, const char *key)
{
    return value_of(config, key, BIT(DMQ_CONFIG_INT) | BIT(DMQ_CONFIG_SIZE))->i;
}

int dmq_config_int(const dmq_config *config, const char *key)
{
    int64_t n = value_of(config, key, BIT(DMQ_CONFIG_INT))->i;

    assert(n >= INT_MIN && n <= INT_MAX && "the schema's range must fit an int");
    return (int)n;
}

double dmq_config_real(const dmq_config *config, const char *key)
{
    return value_of(config, key, BIT(DMQ_CONFIG_REAL))->r;
}

int dmq_config_enum(const dmq_config *config, const char *key)
{
    return (int)value_of(config, key, BIT(DMQ_CONFIG_ENUM))->i;
}

const char *dmq_config_text(const dmq_config *config, const char *key)
{
    return value_of(config, key, BIT(DMQ_CONFIG_TEXT) | BIT(DMQ_CONFIG_PATH) | BIT(DMQ_CONFIG_ENUM))
        ->text;
}

static void count_out(int *count, const config_value *value)
{
    if (count)
        *count = value->count;
}

const int64_t *dmq_config_ints(const dmq_config *config, const char *key, int *count)
{
    const config_value *value = value_of(config, key, BIT(DMQ_CONFIG_INTS));

    count_out(count, value);
    return value->ints;
}

const double *dmq_config_reals(const dmq_config *config, const char *key, int *count)
{
    const config_value *value = value_of(config, key, BIT(DMQ_CONFIG_REALS));

    count_out(count, value);
    return value->reals;
}

const char *const *dmq_config_texts(const dmq_config *config, const char *key, int *count)
{
    const config_value *value =
        value_of(config, key, BIT(DMQ_CONFIG_TEXTS) | BIT(DMQ_CONFIG_ENUMS));

    count_out(count, value);
    return (const char *const *)value->texts;
}

bool dmq_config_is_set(const dmq_config *config, const char *key)
{
    return value_of(config, key, ANY)->origin.kind != DMQ_ORIGIN_DEFAULT;
}

const dmq_origin *dmq_config_origin(const dmq_config *config, const char *key)
{
    return &value_of(config, key, ANY)->origin;
}

const char *dmq_config_value(const dmq_config *config, const char *key)
{
    return value_of(config, key, ANY)->canonical;
}
