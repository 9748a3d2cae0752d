/* From a user's text to a typed value. */
#include "base/config_value.h"
#include "base/memory.h"
#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RULE_SIZE = 512, NAMES_LIMIT = 64, ITEMS_LIMIT = 4096 };

bool config_is_list(dmq_config_type type)
{
    return type >= DMQ_CONFIG_INTS;
}

void config_value_release(config_value *value)
{
    for (int i = 0; value->texts && i < value->count; i++)
        dmq_free(value->texts[i]);
    dmq_free(value->texts);
    dmq_free(value->ints);
    dmq_free(value->reals);
    dmq_free(value->text);
    dmq_free(value->canonical);
    dmq_free(value->place);
    memset(value, 0, sizeof *value);
}

int config_name_at(const char **out, const char *names, int i)
{
    for (; i > 0 && names; i--) {
        names = strchr(names, '|');
        if (names)
            names++;
    }
    *out = names;
    return names ? (int)strcspn(names, "|") : 0;
}

/* ------------------------------------------------------------------ the rule, in words */

static void bounds_text(char out[RULE_SIZE], const dmq_config_key *key)
{
    char lo[DMQ_TEXT_REAL], hi[DMQ_TEXT_REAL];

    dmq_text_real(lo, key->min);
    dmq_text_real(hi, key->max);
    out[0] = '\0';
    if (key->min == key->max)
        return;
    if (key->min == DMQ_CONFIG_POSITIVE) {
        (void)snprintf(out, RULE_SIZE, " above 0, at most %s", hi);
    } else if (isinf(key->max)) {
        (void)snprintf(out, RULE_SIZE, " at least %s", lo);
    } else if (isinf(key->min)) {
        (void)snprintf(out, RULE_SIZE, " at most %s", hi);
    } else {
        (void)snprintf(out, RULE_SIZE, " %s..%s", lo, hi);
    }
}

/* kind: "a whole number" when the text is not even that, "" when only the bounds are broken. */
static dmq_status refuse(const dmq_config_key *key, const char *what, const char *kind)
{
    char bounds[RULE_SIZE];

    bounds_text(bounds, key);
    return dmq_fail(DMQ_EINVAL, "%s: must be%s%s%s%s%s%s", what, kind[0] ? " " : "", kind,
                    kind[0] && bounds[0] ? "," : "", bounds, key->word ? " or " : "",
                    key->word ? key->word : "");
}

static dmq_status refuse_name(const dmq_config_key *key, const char *what, const char *text)
{
    char copies[NAMES_LIMIT][48], list[RULE_SIZE] = "";
    const char *words[NAMES_LIMIT], *name;
    int count = 0, n, near;
    size_t used = 0;

    while (count < NAMES_LIMIT && (n = config_name_at(&name, key->names, count)) > 0) {
        (void)snprintf(copies[count], sizeof copies[count], "%.*s", n, name);
        words[count] = copies[count];
        if (used < sizeof list) {
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", count ? ", " : "",
                                     copies[count]);
        }
        count++;
    }
    (void)dmq_fail(DMQ_EINVAL, "%s: must be one of %s", what, list);
    near = dmq_text_nearest(text, words, count);
    if (near >= 0)
        (void)dmq_fail_note(DMQ_EINVAL, "  hint: did you mean \"%s\"?", words[near]);
    return DMQ_EINVAL;
}

static bool in_bounds(const dmq_config_key *key, double x)
{
    return key->min == key->max || (x >= key->min && x <= key->max);
}

/* ------------------------------------------------------------------ one scalar */

/* "64K" -> 65536; false when it is not a size. */
static bool parse_size(int64_t *out, const char *text)
{
    static const char suffixes[] = "KMGT";
    const char *found;
    char *end;
    int64_t n;

    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    n = strtoll(text, &end, 10);
    if (errno)
        return false;
    found = *end ? strchr(suffixes, *end) : NULL;
    if (found) {
        if (__builtin_mul_overflow(n, (int64_t)1 << (10 * (found - suffixes + 1)), &n))
            return false;
        end++;
    }
    *out = n;
    return *end == '\0';
}

static dmq_status parse_int(int64_t *out, const dmq_config_key *key, const char *what,
                            const char *text)
{
    char *end = NULL;

    if (key->word && strcmp(text, key->word) == 0) {
        *out = (int64_t)key->word_value;
        return DMQ_OK;
    }
    if (key->type == DMQ_CONFIG_SIZE) {
        if (!parse_size(out, text))
            return refuse(key, what, "a size such as 512M or 8G");
    } else {
        errno = 0;
        *out = strtoll(text, &end, 10);
        if (!text[0] || *end || isspace((unsigned char)text[0]))
            return refuse(key, what, "a whole number");
        if (errno)
            return refuse(key, what, "a whole number");
    }
    return in_bounds(key, (double)*out) ? DMQ_OK : refuse(key, what, "");
}

static dmq_status parse_real(double *out, const dmq_config_key *key, const char *what,
                             const char *text)
{
    char *end = NULL;

    if (key->word && strcmp(text, key->word) == 0) {
        *out = key->word_value;
        return DMQ_OK;
    }
    /* strtod also takes hexadecimal numbers, nan and inf */
    if (!text[0] || text[strspn(text, "0123456789+-.eE")])
        return refuse(key, what, "a number");
    *out = strtod(text, &end);
    if (*end || !isfinite(*out))
        return refuse(key, what, "a number");
    return in_bounds(key, *out) ? DMQ_OK : refuse(key, what, "");
}

static dmq_status parse_bool(int64_t *out, const dmq_config_key *key, const char *what,
                             const char *text)
{
    (void)key;
    *out = strcmp(text, "true") == 0;
    if (!*out && strcmp(text, "false") != 0)
        return dmq_fail(DMQ_EINVAL, "%s: must be true or false", what);
    return DMQ_OK;
}

static dmq_status parse_enum(int64_t *out, const dmq_config_key *key, const char *what,
                             const char *text)
{
    const char *name;
    int n;

    for (int i = 0; (n = config_name_at(&name, key->names, i)) > 0; i++) {
        if ((size_t)n == strlen(text) && strncmp(text, name, (size_t)n) == 0) {
            *out = i;
            return DMQ_OK;
        }
    }
    return refuse_name(key, what, text);
}

static dmq_status parse_scalar(config_value *out, const dmq_config_key *key, const char *text)
{
    char what[256];

    (void)snprintf(what, sizeof what, "%s = %s", key->name, text[0] ? text : "(nothing)");
    switch (key->type) {
    case DMQ_CONFIG_BOOL:
        return parse_bool(&out->i, key, what, text);
    case DMQ_CONFIG_INT:
    case DMQ_CONFIG_SIZE:
        return parse_int(&out->i, key, what, text);
    case DMQ_CONFIG_REAL:
        return parse_real(&out->r, key, what, text);
    case DMQ_CONFIG_ENUM: {
        dmq_status st = parse_enum(&out->i, key, what, text);

        return st == DMQ_OK ? dmq_strdup(&out->text, text) : st;
    }
    default:
        return dmq_strdup(&out->text, text);
    }
}

/* ------------------------------------------------------------------ lists */

static dmq_status parse_items(config_value *out, const dmq_config_key *key,
                              const char *const *items, int count)
{
    dmq_status st = DMQ_OK;
    size_t n = (size_t)count;
    char what[256];
    int64_t index;

    if ((key->max_items && count > key->max_items) || count < key->min_items) {
        if (key->min_items == key->max_items) {
            return dmq_fail(DMQ_EINVAL, "%s: has %d items, must have %d", key->name, count,
                            key->min_items);
        }
        return dmq_fail(DMQ_EINVAL, "%s: has %d items, must have %d..%d", key->name, count,
                        key->min_items, key->max_items ? key->max_items : ITEMS_LIMIT);
    }
    out->count = count;
    if (key->type == DMQ_CONFIG_INTS) {
        DMQ_TRY(dmq_alloc((void **)&out->ints, n, sizeof *out->ints));
    } else if (key->type == DMQ_CONFIG_REALS) {
        DMQ_TRY(dmq_alloc((void **)&out->reals, n, sizeof *out->reals));
    } else {
        DMQ_TRY(dmq_alloc((void **)&out->texts, n, sizeof *out->texts));
    }
    for (int i = 0; i < count; i++) {
        (void)snprintf(what, sizeof what, "%s: item %d = %s", key->name, i + 1, items[i]);
        if (key->type == DMQ_CONFIG_INTS)
            DMQ_TRY(parse_int(&out->ints[i], key, what, items[i]));
        if (key->type == DMQ_CONFIG_REALS)
            DMQ_TRY(parse_real(&out->reals[i], key, what, items[i]));
        if (key->type == DMQ_CONFIG_ENUMS)
            DMQ_TRY(parse_enum(&index, key, what, items[i]));
        if (out->texts)
            DMQ_TRY(dmq_strdup(&out->texts[i], items[i]));
    }
done:
    return st;
}

/* Cut "a, 'b, c', d" in place. The items point into text; -1 when there are too many. */
static int cut_items(char **items, char *text)
{
    int count = 0;

    while (*text) {
        char *end;

        text += strspn(text, " \t");
        if (*text == '\0')
            break;
        if (count == ITEMS_LIMIT)
            return -1;
        if ((*text == '"' || *text == '\'') && (end = strchr(text + 1, *text)) != NULL) {
            items[count++] = text + 1;
            *end++ = '\0';
            end += strspn(end, " \t");
            text = end + (*end == ',');
        } else {
            char *last;

            end = text + strcspn(text, ",");
            for (last = end; last > text && isspace((unsigned char)last[-1]);)
                last--;
            items[count++] = text;
            text = end + (*end == ',');
            *last = '\0';
        }
    }
    return count;
}

/* A list as one text: "[a, b]"; numbers and names also "a, b". A bare text is one item. */
static dmq_status parse_list_text(config_value *out, const dmq_config_key *key, const char *text)
{
    dmq_status st = DMQ_OK;
    char *copy = NULL, **items = NULL;
    size_t n = strlen(text);
    bool bracketed = n >= 2 && text[0] == '[' && text[n - 1] == ']';
    int count;

    if (!bracketed && key->type == DMQ_CONFIG_TEXTS)
        return parse_items(out, key, &text, text[0] ? 1 : 0);
    DMQ_TRY(dmq_strdup(&copy, bracketed ? text + 1 : text));
    if (bracketed)
        copy[n - 2] = '\0';
    DMQ_TRY(dmq_alloc((void **)&items, ITEMS_LIMIT, sizeof *items));
    count = cut_items(items, copy);
    if (count < 0) {
        st = dmq_fail(DMQ_EINVAL, "%s: has more than %d items", key->name, ITEMS_LIMIT);
    } else {
        st = parse_items(out, key, (const char *const *)items, count);
    }
done:
    dmq_free(items);
    dmq_free(copy);
    return st;
}

/* ------------------------------------------------------------------ the canonical text */

static bool is_plain(const char *text)
{
    if (!isalnum((unsigned char)text[0]) && text[0] != '/' && text[0] != '.')
        return false;
    for (const char *p = text; *p; p++) {
        if (!isalnum((unsigned char)*p) && !strchr("_./-+@%", *p))
            return false;
    }
    return strcmp(text, "null") != 0;
}

static void add_text(dmq_text *out, const char *text)
{
    if (is_plain(text)) {
        dmq_text_add(out, "%s", text);
    } else {
        dmq_text_add_quoted(out, text);
    }
}

static void add_real(dmq_text *out, const dmq_config_key *key, double x)
{
    char number[DMQ_TEXT_REAL];

    dmq_text_real(number, x);
    if (key->word && (x == key->word_value || (isnan(x) && isnan(key->word_value)))) {
        dmq_text_add(out, "%s", key->word);
    } else {
        dmq_text_add(out, "%s", number);
    }
}

static void add_int(dmq_text *out, const dmq_config_key *key, int64_t n)
{
    int power = 0;

    if (key->word && n == (int64_t)key->word_value) {
        dmq_text_add(out, "%s", key->word);
        return;
    }
    while (key->type == DMQ_CONFIG_SIZE && n > 0 && n % 1024 == 0 && power < 4) {
        n /= 1024;
        power++;
    }
    dmq_text_add(out, power ? "%lld%c" : "%lld", (long long)n, " KMGT"[power]);
}

static dmq_status make_canonical(config_value *value, const dmq_config_key *key)
{
    dmq_text out = { 0 };

    if (config_is_list(key->type)) {
        dmq_text_add_bytes(&out, "[", 1);
        for (int i = 0; i < value->count; i++) {
            dmq_text_add(&out, "%s", i ? ", " : "");
            if (key->type == DMQ_CONFIG_INTS) {
                add_int(&out, key, value->ints[i]);
            } else if (key->type == DMQ_CONFIG_REALS) {
                add_real(&out, key, value->reals[i]);
            } else {
                add_text(&out, value->texts[i]);
            }
        }
        dmq_text_add_bytes(&out, "]", 1);
    } else if (key->type == DMQ_CONFIG_BOOL) {
        dmq_text_add(&out, "%s", value->i ? "true" : "false");
    } else if (key->type == DMQ_CONFIG_INT || key->type == DMQ_CONFIG_SIZE) {
        add_int(&out, key, value->i);
    } else if (key->type == DMQ_CONFIG_REAL) {
        add_real(&out, key, value->r);
    } else {
        add_text(&out, value->text);
    }
    return dmq_text_take(&value->canonical, &out);
}

dmq_status config_parse(config_value *out, const dmq_config_key *key, const char *const *items,
                        int count)
{
    dmq_status st = DMQ_OK;

    memset(out, 0, sizeof *out);
    if (count >= 0 && !config_is_list(key->type)) {
        st = dmq_fail(DMQ_EINVAL, "%s: is a list of %d items, must be one value", key->name, count);
    } else if (count >= 0) {
        st = parse_items(out, key, items, count);
    } else if (config_is_list(key->type)) {
        st = parse_list_text(out, key, items[0]);
    } else {
        st = parse_scalar(out, key, items[0]);
    }
    if (st == DMQ_OK)
        st = make_canonical(out, key);
    if (st != DMQ_OK)
        config_value_release(out);
    return st;
}
