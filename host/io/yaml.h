/**
 * YAML files of configuration, read as events: nothing is guessed, every value is a text with its place,
 * and dmq's schema gives it a type.
 *
 * Nested maps become dotted keys: "quant: {act: {bits: 8}}" is quant.act.bits. A list holds plain values.
 * Refused, with the place: syntax errors, a key given twice, a value that is missing, anchors, aliases,
 * tags and merge keys (extends does their work), a second document, more than 1 MiB.
 *
 *   extends: [../cards/ddpm-cifar10.yaml, ../methods/gac.yaml]     # relative to this file
 *
 * reads other files first, in order, each with its own extends; this file's keys win over theirs.
 */
#ifndef DMQ_IO_YAML_H
#define DMQ_IO_YAML_H

#include "base/config.h"

typedef struct dmq_yaml_entry {
    char *key;   /**< dotted */
    char *text;  /**< a scalar; NULL: a list */
    char **item; /**< (count) of a list */
    int count;
    int key_line, key_column; /**< from 1 */
    int line, column;         /**< of the value */
} dmq_yaml_entry;

typedef struct dmq_yaml {
    char *path;
    dmq_yaml_entry *entry; /**< in the order of the file */
    int count;
} dmq_yaml;

/** One file, without regard to a schema or to extends. ENOINPUT, EINVAL, ENOMEM. */
dmq_status dmq_yaml_read(dmq_yaml **out, const char *path);

/** Takes NULL. */
void dmq_yaml_destroy(dmq_yaml *yaml);

/** Set the keys of a file, and before them those of the files that it extends. */
dmq_status dmq_yaml_load(dmq_config *config, const char *path);

#endif
