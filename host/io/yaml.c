#include "io/yaml.h"

#include "base/memory.h"
#include "base/path.h"
#include "base/text.h"
#include "io/file.h"

#include <stdbool.h>
#include <string.h>
#include <yaml.h>

enum { FILE_LIMIT = 1 << 20, DEPTH_LIMIT = 16, EXTENDS_LIMIT = 32, ENTRY_LIMIT = 10000 };

typedef struct reader {
    yaml_parser_t parser;
    dmq_yaml *yaml;
    int room;
} reader;

/* ------------------------------------------------------------------ events */

static dmq_status refuse_at(const reader *r, yaml_mark_t mark, const char *what)
{
    dmq_origin origin = { DMQ_ORIGIN_FILE, r->yaml->path, (int)mark.line + 1,
                          (int)mark.column + 1 };

    (void)dmq_fail(DMQ_EINVAL, "%s", what);
    return dmq_origin_note(DMQ_EINVAL, &origin);
}

/* The caller deletes the event. */
static dmq_status next_event(reader *r, yaml_event_t *event)
{
    const char *problem;

    memset(event, 0, sizeof *event);
    if (yaml_parser_parse(&r->parser, event))
        return DMQ_OK;
    problem = r->parser.problem ? r->parser.problem : "it cannot be read";
    if (r->parser.error == YAML_MEMORY_ERROR)
        return dmq_fail(DMQ_ENOMEM, "%s: no memory left to read it", r->yaml->path);
    (void)refuse_at(r, r->parser.problem_mark, problem);
    return dmq_fail_note(DMQ_EINVAL, "  hint: the file is not valid YAML there");
}

static const char *refusal_of(const yaml_event_t *event)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;

    if (event->type == YAML_ALIAS_EVENT)
        return "an alias (*name) is not read: use extends, or write the value out";
    if (event->type == YAML_SCALAR_EVENT) {
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
        if (memchr(event->data.scalar.value, 0, event->data.scalar.length))
            return "a value holds a NUL byte";
    } else if (event->type == YAML_SEQUENCE_START_EVENT) {
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
    } else if (event->type == YAML_MAPPING_START_EVENT) {
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
    }
    if (anchor)
        return "an anchor (&name) is not read: use extends, or write the value out";
    return tag ? "a tag (!name) is not read: types come from the schema" : NULL;
}

static bool is_missing(const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;

    return event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (text[0] == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0);
}

/* ------------------------------------------------------------------ entries */

static dmq_status add_entry(dmq_yaml_entry **out, reader *r, const char *key, yaml_mark_t key_mark,
                            yaml_mark_t mark)
{
    dmq_yaml *yaml = r->yaml;
    dmq_status st = DMQ_OK;
    dmq_yaml_entry *entry;

    for (int i = 0; i < yaml->count; i++) {
        if (strcmp(yaml->entry[i].key, key) == 0) {
            dmq_text what = { 0 };
            char *text = NULL;

            dmq_text_add(&what, "%s: is given twice, first in line %d", key,
                         yaml->entry[i].key_line);
            DMQ_TRY(dmq_text_take(&text, &what));
            (void)refuse_at(r, key_mark, text);
            st = dmq_fail_note(DMQ_EINVAL, "  hint: keep one of the two");
            dmq_free(text);
            goto done;
        }
    }
    if (yaml->count == ENTRY_LIMIT) {
        st = refuse_at(r, key_mark, "there are too many keys");
        goto done;
    }
    if (yaml->count == r->room) {
        int room = r->room ? 2 * r->room : 64;

        DMQ_TRY(
            dmq_grow((void **)&yaml->entry, (size_t)r->room, (size_t)room, sizeof *yaml->entry));
        r->room = room;
    }
    entry = &yaml->entry[yaml->count];
    DMQ_TRY(dmq_strdup(&entry->key, key));
    yaml->count++;
    entry->key_line = (int)key_mark.line + 1;
    entry->key_column = (int)key_mark.column + 1;
    entry->line = (int)mark.line + 1;
    entry->column = (int)mark.column + 1;
    *out = entry;
done:
    return st;
}

static dmq_status refuse_missing(const reader *r, const char *key, yaml_mark_t mark)
{
    dmq_origin origin = { DMQ_ORIGIN_FILE, r->yaml->path, (int)mark.line + 1,
                          (int)mark.column + 1 };

    (void)dmq_fail(DMQ_EINVAL, "%s: has no value", key);
    (void)dmq_origin_note(DMQ_EINVAL, &origin);
    return dmq_fail_note(DMQ_EINVAL, "  hint: leave the line out for the default, or write \"\" "
                                     "for an empty text");
}

static dmq_status read_items(reader *r, dmq_yaml_entry *entry)
{
    dmq_status st = DMQ_OK;
    yaml_event_t event;
    size_t room = 0;

    for (;;) {
        DMQ_TRY(next_event(r, &event));
        if (event.type == YAML_SEQUENCE_END_EVENT)
            break;
        if (refusal_of(&event)) {
            st = refuse_at(r, event.start_mark, refusal_of(&event));
        } else if (event.type != YAML_SCALAR_EVENT) {
            st = refuse_at(r, event.start_mark, "a list may only hold plain values");
        } else if (is_missing(&event)) {
            st = refuse_missing(r, entry->key, event.start_mark);
        } else if (entry->count == ENTRY_LIMIT) {
            st = refuse_at(r, event.start_mark, "the list is too long");
        } else {
            if ((size_t)entry->count == room) {
                size_t more = room ? 2 * room : 8;

                DMQ_TRY(dmq_grow((void **)&entry->item, room, more, sizeof *entry->item));
                room = more;
            }
            DMQ_TRY(dmq_strdup(&entry->item[entry->count], (const char *)event.data.scalar.value));
            entry->count++;
        }
        if (st != DMQ_OK)
            goto done;
        yaml_event_delete(&event);
    }
done:
    yaml_event_delete(&event);
    return st;
}

static dmq_status read_map(reader *r, const char *prefix, int depth);

/* The value of a key: a scalar, a list, or a map below it. */
static dmq_status read_value(reader *r, const char *key, yaml_mark_t key_mark, int depth)
{
    dmq_status st = DMQ_OK;
    dmq_yaml_entry *entry;
    yaml_event_t event;

    DMQ_TRY(next_event(r, &event));
    if (refusal_of(&event)) {
        st = refuse_at(r, event.start_mark, refusal_of(&event));
    } else if (event.type == YAML_MAPPING_START_EVENT) {
        st = depth < DEPTH_LIMIT ? read_map(r, key, depth + 1)
                                 : refuse_at(r, event.start_mark, "maps are nested too deeply");
    } else if (event.type == YAML_SEQUENCE_START_EVENT) {
        DMQ_TRY(add_entry(&entry, r, key, key_mark, event.start_mark));
        DMQ_TRY(read_items(r, entry));
    } else if (is_missing(&event)) {
        st = refuse_missing(r, key, key_mark);
    } else {
        DMQ_TRY(add_entry(&entry, r, key, key_mark, event.start_mark));
        DMQ_TRY(dmq_strdup(&entry->text, (const char *)event.data.scalar.value));
    }
done:
    yaml_event_delete(&event);
    return st;
}

/* From behind the start of a map to its end. */
static dmq_status read_map(reader *r, const char *prefix, int depth)
{
    dmq_status st = DMQ_OK;
    yaml_event_t event;
    char *key = NULL;

    for (;;) {
        dmq_text text = { 0 };

        DMQ_TRY(next_event(r, &event));
        if (event.type == YAML_MAPPING_END_EVENT)
            break;
        if (refusal_of(&event)) {
            st = refuse_at(r, event.start_mark, refusal_of(&event));
            goto done;
        }
        if (event.type != YAML_SCALAR_EVENT || is_missing(&event) ||
            strcmp((const char *)event.data.scalar.value, "<<") == 0) {
            st = refuse_at(r, event.start_mark, "a key must be a plain word; \"<<\" is not read");
            goto done;
        }
        dmq_text_add(&text, "%s%s%s", prefix, prefix[0] ? "." : "",
                     (const char *)event.data.scalar.value);
        DMQ_TRY(dmq_text_take(&key, &text));
        DMQ_TRY(read_value(r, key, event.start_mark, depth));
        dmq_free(key);
        key = NULL;
        yaml_event_delete(&event);
    }
done:
    dmq_free(key);
    yaml_event_delete(&event);
    return st;
}

/* Stream, one document, a map. A file of comments alone has no document. */
static dmq_status read_stream(reader *r)
{
    dmq_status st = DMQ_OK;
    yaml_event_t event;
    yaml_event_type_t type;
    int documents = 0;

    do {
        DMQ_TRY(next_event(r, &event));
        type = event.type;
        if (type == YAML_DOCUMENT_START_EVENT && ++documents > 1) {
            st = refuse_at(r, event.start_mark, "a second document is not read");
        } else if (type == YAML_MAPPING_START_EVENT) {
            st = refusal_of(&event) ? refuse_at(r, event.start_mark, refusal_of(&event))
                                    : read_map(r, "", 0);
        } else if (type == YAML_SEQUENCE_START_EVENT || type == YAML_ALIAS_EVENT ||
                   (type == YAML_SCALAR_EVENT && !is_missing(&event))) {
            st = refuse_at(r, event.start_mark, "a configuration is a map: \"key: value\" lines");
        }
        if (st != DMQ_OK)
            goto done;
        yaml_event_delete(&event);
    } while (type != YAML_STREAM_END_EVENT);
    return DMQ_OK;
done:
    yaml_event_delete(&event);
    return st;
}

/* ------------------------------------------------------------------ files */

dmq_status dmq_yaml_read(dmq_yaml **out, const char *path)
{
    dmq_status st = DMQ_OK;
    reader r = { 0 };
    char *text = NULL;
    size_t size = 0;
    bool parsing = false;

    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&r.yaml, 1, sizeof *r.yaml));
    DMQ_TRY(dmq_strdup(&r.yaml->path, path));
    DMQ_TRY(dmq_file_read(&text, &size, path, FILE_LIMIT));
    if (!yaml_parser_initialize(&r.parser)) {
        st = dmq_fail(DMQ_ENOMEM, "%s: no memory left to read it", path);
        goto done;
    }
    parsing = true;
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, size);
    DMQ_TRY(read_stream(&r));
    *out = r.yaml;
    r.yaml = NULL;
done:
    if (parsing)
        yaml_parser_delete(&r.parser);
    dmq_free(text);
    dmq_yaml_destroy(r.yaml);
    return st;
}

void dmq_yaml_destroy(dmq_yaml *yaml)
{
    if (!yaml)
        return;
    for (int i = 0; i < yaml->count; i++) {
        dmq_yaml_entry *entry = &yaml->entry[i];

        for (int k = 0; k < entry->count; k++)
            dmq_free(entry->item[k]);
        dmq_free(entry->item);
        dmq_free(entry->text);
        dmq_free(entry->key);
    }
    dmq_free(yaml->entry);
    dmq_free(yaml->path);
    dmq_free(yaml);
}

/* The files that are being read, innermost first: a file must not extend itself. */
typedef struct chain {
    const struct chain *above;
    const char *absolute;
    int depth;
} chain;

static dmq_status load(dmq_config *config, const char *path, const chain *above);

static dmq_status load_base(dmq_config *config, const dmq_yaml *yaml, const dmq_yaml_entry *entry,
                            const char *name, const chain *link)
{
    dmq_origin origin = { DMQ_ORIGIN_FILE, yaml->path, entry->line, entry->column };
    dmq_status st = DMQ_OK;
    char *folder = NULL, *path = NULL, *absolute = NULL;

    DMQ_TRY(dmq_path_folder(&folder, yaml->path));
    DMQ_TRY(dmq_path_join(&path, folder, name));
    DMQ_TRY(dmq_path_absolute(&absolute, path));
    for (const chain *l = link; l; l = l->above) {
        if (strcmp(l->absolute, absolute) == 0 || link->depth >= EXTENDS_LIMIT) {
            (void)dmq_fail(DMQ_EINVAL, "extends: %s leads back to itself", name);
            (void)dmq_origin_note(DMQ_EINVAL, &origin);
            st = dmq_fail_note(DMQ_EINVAL, "  hint: take one of the files out of the circle");
            goto done;
        }
    }
    if (!dmq_file_exists(path)) {
        (void)dmq_fail(DMQ_ENOINPUT, "extends: %s: no such file", path);
        (void)dmq_origin_note(DMQ_ENOINPUT, &origin);
        st = dmq_fail_note(DMQ_ENOINPUT, "  hint: names are relative to the file that extends");
        goto done;
    }
    DMQ_TRY(load(config, path, link));
done:
    dmq_free(folder);
    dmq_free(path);
    dmq_free(absolute);
    return st;
}

static dmq_status set_entry(dmq_config *config, const dmq_yaml *yaml, const dmq_yaml_entry *entry)
{
    dmq_origin origin = { DMQ_ORIGIN_FILE, yaml->path, entry->line, entry->column };

    if (!dmq_config_key_find(config, entry->key) && !dmq_config_is_group(config, entry->key)) {
        origin.line = entry->key_line;
        origin.column = entry->key_column;
        return dmq_config_unknown(config, entry->key, &origin);
    }
    if (entry->text)
        return dmq_config_set(config, entry->key, entry->text, &origin);
    return dmq_config_set_list(config, entry->key, (const char *const *)entry->item, entry->count,
                               &origin);
}

static dmq_status load(dmq_config *config, const char *path, const chain *above)
{
    chain link = { above, NULL, above ? above->depth + 1 : 0 };
    dmq_status st = DMQ_OK;
    dmq_yaml *yaml = NULL;
    char *absolute = NULL;

    DMQ_TRY(dmq_path_absolute(&absolute, path));
    link.absolute = absolute;
    DMQ_TRY(dmq_yaml_read(&yaml, path));
    for (int i = 0; i < yaml->count; i++) {
        const dmq_yaml_entry *entry = &yaml->entry[i];

        if (strcmp(entry->key, "extends") != 0)
            continue;
        if (entry->text)
            DMQ_TRY(load_base(config, yaml, entry, entry->text, &link));
        for (int k = 0; k < entry->count; k++)
            DMQ_TRY(load_base(config, yaml, entry, entry->item[k], &link));
    }
    for (int i = 0; i < yaml->count; i++) {
        if (strcmp(yaml->entry[i].key, "extends") != 0)
            DMQ_TRY(set_entry(config, yaml, &yaml->entry[i]));
    }
done:
    dmq_yaml_destroy(yaml);
    dmq_free(absolute);
    return st;
}

dmq_status dmq_yaml_load(dmq_config *config, const char *path)
{
    return load(config, path, NULL);
}
