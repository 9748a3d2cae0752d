#include "io/json.h"

#include "base/memory.h"
#include "base/text.h"
#include "io/file.h"

#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEPTH_LIMIT = 256 };

#define FILE_LIMIT ((size_t)256 << 20)

/* ------------------------------------------------------------------ memory */

static pthread_once_t once = PTHREAD_ONCE_INIT;

static _Thread_local bool refused; /* jansson does not always say why it failed */
static _Thread_local bool reading;

/* jansson's lexer ends the program, or loses a byte and goes on, when it gets no memory. So while it reads
   it gets what there is of it after all, and what it has read is thrown away. */
static void *allocate(size_t size)
{
    void *memory;

    if (dmq_alloc(&memory, size, 1) == DMQ_OK)
        return memory;
    refused = true;
    return reading ? malloc(size) : NULL;
}

static void use_our_memory(void)
{
    json_set_alloc_funcs(allocate, dmq_free);
}

static void start(void)
{
    (void)pthread_once(&once, use_our_memory);
}

/* ------------------------------------------------------------------ building */

static dmq_status made(dmq_json **out, json_t *value)
{
    *out = value;
    return value ? DMQ_OK : dmq_fail(DMQ_ENOMEM, "json: no memory left");
}

dmq_status dmq_json_object(dmq_json **out)
{
    start();
    return made(out, json_object());
}

dmq_status dmq_json_array(dmq_json **out)
{
    start();
    return made(out, json_array());
}

void dmq_json_destroy(dmq_json *root)
{
    json_decref(root);
}

/* jansson takes the value over, also when it fails; a NULL value fails. */
static dmq_status set(dmq_json *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0
               ? DMQ_OK
               : dmq_fail(DMQ_ENOMEM, "json: no memory left to set \"%s\"", key);
}

static dmq_status add(dmq_json *array, json_t *value)
{
    return json_array_append_new(array, value) == 0 ? DMQ_OK
                                                    : dmq_fail(DMQ_ENOMEM, "json: no memory left");
}

static json_t *real_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static dmq_status text_or_null(json_t **out, const char *text)
{
    *out = text ? json_string(text) : json_null();
    if (*out)
        return DMQ_OK;
    return dmq_text_is_utf8(text) ? dmq_fail(DMQ_ENOMEM, "json: no memory left")
                                  : dmq_fail(DMQ_EDATA, "json: a text is not valid UTF-8");
}

dmq_status dmq_json_set_text(dmq_json *object, const char *key, const char *text)
{
    json_t *value;
    dmq_status st = text_or_null(&value, text);

    return st == DMQ_OK ? set(object, key, value) : st;
}

dmq_status dmq_json_set_int(dmq_json *object, const char *key, int64_t value)
{
    return set(object, key, json_integer(value));
}

dmq_status dmq_json_set_real(dmq_json *object, const char *key, double value)
{
    return set(object, key, real_or_null(value));
}

dmq_status dmq_json_set_bool(dmq_json *object, const char *key, bool value)
{
    return set(object, key, json_boolean(value));
}

/* The parent's reference keeps the child alive. */
static dmq_status set_child(dmq_json **out, dmq_json *object, const char *key, json_t *child)
{
    dmq_status st = set(object, key, child);

    if (out)
        *out = st == DMQ_OK ? child : NULL;
    return st;
}

dmq_status dmq_json_set_object(dmq_json **out, dmq_json *object, const char *key)
{
    return set_child(out, object, key, json_object());
}

dmq_status dmq_json_set_array(dmq_json **out, dmq_json *object, const char *key)
{
    return set_child(out, object, key, json_array());
}

dmq_status dmq_json_set_reals(dmq_json *object, const char *key, const double *values, size_t n)
{
    dmq_json *array;
    dmq_status st = dmq_json_set_array(&array, object, key);

    for (size_t i = 0; i < n && st == DMQ_OK; i++)
        st = dmq_json_add_real(array, values[i]);
    return st;
}

dmq_status dmq_json_set_copy(dmq_json *object, const char *key, const dmq_json *value)
{
    return set(object, key, json_deep_copy(value));
}

void dmq_json_unset(dmq_json *object, const char *key)
{
    (void)json_object_del(object, key);
}

dmq_status dmq_json_add_text(dmq_json *array, const char *text)
{
    json_t *value;
    dmq_status st = text_or_null(&value, text);

    return st == DMQ_OK ? add(array, value) : st;
}

dmq_status dmq_json_add_int(dmq_json *array, int64_t value)
{
    return add(array, json_integer(value));
}

dmq_status dmq_json_add_real(dmq_json *array, double value)
{
    return add(array, real_or_null(value));
}

static dmq_status add_child(dmq_json **out, dmq_json *array, json_t *child)
{
    dmq_status st = add(array, child);

    if (out)
        *out = st == DMQ_OK ? child : NULL;
    return st;
}

dmq_status dmq_json_add_object(dmq_json **out, dmq_json *array)
{
    return add_child(out, array, json_object());
}

dmq_status dmq_json_add_array(dmq_json **out, dmq_json *array)
{
    return add_child(out, array, json_array());
}

/* ------------------------------------------------------------------ asking */

dmq_json_kind dmq_json_kind_of(const dmq_json *value)
{
    if (!value)
        return DMQ_JSON_NULL;
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return DMQ_JSON_OBJECT;
    case JSON_ARRAY:
        return DMQ_JSON_ARRAY;
    case JSON_STRING:
        return DMQ_JSON_TEXT;
    case JSON_INTEGER:
        return DMQ_JSON_INT;
    case JSON_REAL:
        return DMQ_JSON_REAL;
    case JSON_TRUE:
    case JSON_FALSE:
        return DMQ_JSON_BOOL;
    case JSON_NULL:
        break;
    }
    return DMQ_JSON_NULL;
}

dmq_json *dmq_json_get(const dmq_json *object, const char *key)
{
    return json_object_get(object, key);
}

dmq_json *dmq_json_find(const dmq_json *object, const char *path)
{
    char key[128];

    for (;;) {
        size_t n = strcspn(path, ".");
        dmq_json *value;

        if (n >= sizeof key)
            return NULL;
        memcpy(key, path, n);
        key[n] = '\0';
        value = json_object_get(object, key);
        if (!value || !path[n])
            return value;
        object = value;
        path += n + 1;
    }
}

const char *dmq_json_text(const dmq_json *value, const char *otherwise)
{
    return json_is_string(value) ? json_string_value(value) : otherwise;
}

int64_t dmq_json_int(const dmq_json *value, int64_t otherwise)
{
    return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

double dmq_json_real(const dmq_json *value, double otherwise)
{
    return json_is_number(value) ? json_number_value(value) : otherwise;
}

bool dmq_json_bool(const dmq_json *value, bool otherwise)
{
    return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

size_t dmq_json_count(const dmq_json *value)
{
    return json_is_array(value) ? json_array_size(value) : json_object_size(value);
}

dmq_json *dmq_json_at(const dmq_json *array, size_t i)
{
    return json_array_get(array, i);
}

/* jansson's iterators take the object without const, though they do not change it. */
static json_t *writable(const dmq_json *object)
{
    union {
        const json_t *in;
        json_t *out;
    } cast = { object };

    return cast.out;
}

void *dmq_json_first(const dmq_json *object)
{
    return json_object_iter(writable(object));
}

void *dmq_json_next(const dmq_json *object, void *member)
{
    return json_object_iter_next(writable(object), member);
}

const char *dmq_json_member_key(void *member)
{
    return json_object_iter_key(member);
}

dmq_json *dmq_json_member_value(void *member)
{
    return json_object_iter_value(member);
}

/* ------------------------------------------------------------------ reading */

dmq_status dmq_json_parse(dmq_json **out, const char *text, size_t size, const char *name)
{
    json_error_t error;

    start();
    refused = false;
    reading = true;
    *out = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    reading = false;
    if (refused) {
        dmq_json_destroy(*out);
        *out = NULL;
        return dmq_fail(DMQ_ENOMEM, "%s: no memory left to read it", name);
    }
    if (*out)
        return DMQ_OK;
    return dmq_fail(DMQ_EDATA, "%s:%d:%d: not valid JSON: %s", name, error.line, error.column,
                    error.text);
}

dmq_status dmq_json_load(dmq_json **out, const char *path)
{
    dmq_status st = DMQ_OK;
    char *text = NULL;
    size_t size = 0;

    *out = NULL;
    DMQ_TRY(dmq_file_read(&text, &size, path, FILE_LIMIT));
    DMQ_TRY(dmq_json_parse(out, text, size, path));
done:
    dmq_free(text);
    return st;
}

dmq_status dmq_json_load_lines(dmq_json **out, int *broken, const char *path)
{
    dmq_status st = DMQ_OK;
    dmq_json *array = NULL, *value = NULL;
    char *text = NULL;
    size_t size = 0;
    int skipped = 0;

    *out = NULL;
    DMQ_TRY(dmq_file_read(&text, &size, path, FILE_LIMIT));
    DMQ_TRY(dmq_json_array(&array));
    for (size_t i = 0, n; i < size; i += n + 1) {
        const char *end = memchr(text + i, '\n', size - i);

        n = end ? (size_t)(end - text) - i : size - i;
        if (n == 0)
            continue;
        st = dmq_json_parse(&value, text + i, n, path);
        if (st == DMQ_EDATA) {
            skipped++;
            st = DMQ_OK;
            continue;
        }
        if (st == DMQ_OK)
            st = add(array, value);
        if (st != DMQ_OK)
            goto done;
    }
    if (broken)
        *broken = skipped;
    *out = array;
    array = NULL;
done:
    dmq_json_destroy(array);
    dmq_free(text);
    return st;
}

/* ------------------------------------------------------------------ writing */

static void new_line(dmq_text *text, int indent, int depth)
{
    if (indent > 0)
        dmq_text_add(text, "\n%*s", indent * depth, "");
}

/* Our own, because jansson writes 0.1 as 0.10000000000000001. */
static void dump(dmq_text *text, const dmq_json *value, int indent, int depth)
{
    char number[DMQ_TEXT_REAL];
    const char *between = indent > 0 ? "" : " ";
    int i = 0;

    if (depth > DEPTH_LIMIT) {
        text->status = dmq_fail(DMQ_EDATA, "json: nested more than %d deep", DEPTH_LIMIT);
        return;
    }
    switch (dmq_json_kind_of(value)) {
    case DMQ_JSON_NULL:
        dmq_text_add(text, "null");
        break;
    case DMQ_JSON_BOOL:
        dmq_text_add(text, json_is_true(value) ? "true" : "false");
        break;
    case DMQ_JSON_INT:
        dmq_text_add(text, "%lld", (long long)json_integer_value(value));
        break;
    case DMQ_JSON_REAL:
        dmq_text_real(number, json_real_value(value));
        dmq_text_add(text, "%s%s", number, strpbrk(number, ".e") ? "" : ".0");
        break;
    case DMQ_JSON_TEXT:
        dmq_text_add_quoted(text, json_string_value(value));
        break;
    case DMQ_JSON_ARRAY:
        dmq_text_add_bytes(text, "[", 1);
        for (size_t k = 0; k < json_array_size(value); k++) {
            dmq_text_add(text, k ? ",%s" : "", between);
            new_line(text, indent, depth + 1);
            dump(text, json_array_get(value, k), indent, depth + 1);
        }
        if (json_array_size(value) > 0)
            new_line(text, indent, depth);
        dmq_text_add_bytes(text, "]", 1);
        break;
    case DMQ_JSON_OBJECT:
        dmq_text_add_bytes(text, "{", 1);
        for (void *m = dmq_json_first(value); m; m = dmq_json_next(value, m)) {
            dmq_text_add(text, i++ ? ",%s" : "", between);
            new_line(text, indent, depth + 1);
            dmq_text_add_quoted(text, json_object_iter_key(m));
            dmq_text_add_bytes(text, ": ", 2);
            dump(text, json_object_iter_value(m), indent, depth + 1);
        }
        if (i > 0)
            new_line(text, indent, depth);
        dmq_text_add_bytes(text, "}", 1);
        break;
    }
}

dmq_status dmq_json_dump(char **out, const dmq_json *value, int indent)
{
    dmq_text text = { 0 };

    dump(&text, value, indent, 0);
    return dmq_text_take(out, &text);
}

dmq_status dmq_json_save(const char *path, const dmq_json *value)
{
    dmq_status st = DMQ_OK;
    dmq_text text = { 0 };
    char *line = NULL;

    dump(&text, value, 2, 0);
    dmq_text_add_bytes(&text, "\n", 1);
    DMQ_TRY(dmq_text_take(&line, &text));
    DMQ_TRY(dmq_file_write_text(path, line));
done:
    dmq_free(line);
    return st;
}

/* Whether the file ends within a line, as after a power cut. */
static bool is_cut_off(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    char last = '\n';

    if (fd < 0)
        return false;
    if (fstat(fd, &info) == 0 && info.st_size > 0 && pread(fd, &last, 1, info.st_size - 1) != 1)
        last = '\n';
    (void)close(fd);
    return last != '\n';
}

dmq_status dmq_json_append_line(const char *path, const dmq_json *value)
{
    dmq_status st = DMQ_OK;
    dmq_text text = { 0 };
    char *line = NULL;

    if (is_cut_off(path))
        dmq_text_add_bytes(&text, "\n", 1);
    dump(&text, value, 0, 0);
    dmq_text_add_bytes(&text, "\n", 1);
    DMQ_TRY(dmq_text_take(&line, &text));
    DMQ_TRY(dmq_file_append(path, line, strlen(line)));
done:
    dmq_free(line);
    return st;
}
