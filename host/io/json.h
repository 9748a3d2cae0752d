/**
 * JSON: documents built, read, and written; and files of one event a line. The only place that calls
 * jansson.
 *
 * Keys keep the order in which they were set. Numbers are written so that they read back as the same
 * double, as short as possible; NaN and infinities, which JSON lacks, as null. Input with a key given twice
 * in one object is refused.
 *
 *   dmq_json *root = NULL, *stage;
 *   DMQ_TRY(dmq_json_object(&root));
 *   DMQ_TRY(dmq_json_set_text(root, "name", name));
 *   DMQ_TRY(dmq_json_set_object(&stage, root, "quantize"));     stage belongs to root
 *   DMQ_TRY(dmq_json_set_real(stage, "loss", loss));
 *   DMQ_TRY(dmq_json_save(path, root));
 */
#ifndef DMQ_IO_JSON_H
#define DMQ_IO_JSON_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** A value: an object, an array, or a leaf. */
typedef struct json_t dmq_json;

typedef enum dmq_json_kind {
    DMQ_JSON_NULL, /**< also what no value at all is */
    DMQ_JSON_BOOL,
    DMQ_JSON_INT,
    DMQ_JSON_REAL,
    DMQ_JSON_TEXT,
    DMQ_JSON_ARRAY,
    DMQ_JSON_OBJECT
} dmq_json_kind;

/* ------------------------------------------------------------------ building */

dmq_status dmq_json_object(dmq_json **out);

dmq_status dmq_json_array(dmq_json **out);

/** Of a root. Takes NULL. */
void dmq_json_destroy(dmq_json *root);

/** Set a key of an object; NULL as text is null. ENOMEM; EDATA when a text is not UTF-8. */
dmq_status dmq_json_set_text(dmq_json *object, const char *key, const char *text);

dmq_status dmq_json_set_int(dmq_json *object, const char *key, int64_t value);

dmq_status dmq_json_set_real(dmq_json *object, const char *key, double value);

dmq_status dmq_json_set_bool(dmq_json *object, const char *key, bool value);

/** A new child; *out (may be NULL) belongs to the object. */
dmq_status dmq_json_set_object(dmq_json **out, dmq_json *object, const char *key);

dmq_status dmq_json_set_array(dmq_json **out, dmq_json *object, const char *key);

/** All n of them as an array. */
dmq_status dmq_json_set_reals(dmq_json *object, const char *key, const double *values, size_t n);

/** A deep copy of another value. */
dmq_status dmq_json_set_copy(dmq_json *object, const char *key, const dmq_json *value);

/** No such key is fine. */
void dmq_json_unset(dmq_json *object, const char *key);

/** Append to an array. */
dmq_status dmq_json_add_text(dmq_json *array, const char *text);

dmq_status dmq_json_add_int(dmq_json *array, int64_t value);

dmq_status dmq_json_add_real(dmq_json *array, double value);

dmq_status dmq_json_add_object(dmq_json **out, dmq_json *array);

dmq_status dmq_json_add_array(dmq_json **out, dmq_json *array);

/* ------------------------------------------------------------------ asking; all take NULL */

dmq_json_kind dmq_json_kind_of(const dmq_json *value);

/** The member of an object; NULL when there is none. The object's. */
dmq_json *dmq_json_get(const dmq_json *object, const char *key);

/** Below several objects: dmq_json_find(root, "stages.quantize.loss"). */
dmq_json *dmq_json_find(const dmq_json *object, const char *path);

/** The text of a text, else otherwise (may be NULL). */
const char *dmq_json_text(const dmq_json *value, const char *otherwise);

int64_t dmq_json_int(const dmq_json *value, int64_t otherwise);

/** Of a real or a whole number. */
double dmq_json_real(const dmq_json *value, double otherwise);

bool dmq_json_bool(const dmq_json *value, bool otherwise);

/** Members of an array or object; 0 of anything else. */
size_t dmq_json_count(const dmq_json *value);

/** The i-th of an array. */
dmq_json *dmq_json_at(const dmq_json *array, size_t i);

/** Members of an object in order: for (m = dmq_json_first(o); m; m = dmq_json_next(o, m)). */
void *dmq_json_first(const dmq_json *object);

void *dmq_json_next(const dmq_json *object, void *member);

const char *dmq_json_member_key(void *member);

dmq_json *dmq_json_member_value(void *member);

/* ------------------------------------------------------------------ text and files */

/** size bytes of text; name is for the message. EDATA "name:line:column: what". */
dmq_status dmq_json_parse(dmq_json **out, const char *text, size_t size, const char *name);

/** ENOINPUT, EDATA with path, line and column. */
dmq_status dmq_json_load(dmq_json **out, const char *path);

/** indent: spaces a level, 0 for one line. The caller frees. */
dmq_status dmq_json_dump(char **out, const dmq_json *value, int indent);

/** Indented by 2, complete or not there at all (see file.h). */
dmq_status dmq_json_save(const char *path, const dmq_json *value);

/** One line more in a file of events: one write(2). A line that was cut off before is ended first. */
dmq_status dmq_json_append_line(const char *path, const dmq_json *value);

/** All lines of such a file as an array; lines that cannot be read are left out and counted (may be NULL). */
dmq_status dmq_json_load_lines(dmq_json **out, int *broken, const char *path);

#endif
