#include "io/lmdb.h"

#include "base/memory.h"
#include "io/file.h"
#include "io/input.h"

#include <string.h>

enum {
    HEADER = 16,             /* of a page */
    NODE = 8,                /* of a record, before its key */
    META = HEADER + 136,     /* bytes of a meta page that are used */
    MAIN = HEADER + 24 + 48, /* the main database's description in it */
    DEPTH = 32,              /* of the tree: LMDB's own limit */
    KEY_LIMIT = 511
};

enum {
    BRANCH = 1,
    LEAF = 2,
    OVERFLOW = 4,
    KINDS = 0x6f
};                               /* of pages; the other bits are of no weight in a file */
enum { LARGE = 1, ODD = 2 | 4 }; /* of records; databases inside, duplicates */

typedef struct record {
    uint64_t value; /* its place in the file; of a large one, of the page that it begins on */
    uint64_t key;   /* place */
    uint32_t size;
    uint16_t key_size;
    uint16_t large;
} record;

struct dmq_lmdb {
    dmq_input *input;
    const char *path; /* the input's */
    uint64_t page;    /* bytes */
    uint64_t pages;   /* up to the last that is used */
    uint64_t told;    /* records, as its description has it */
    int depth;
    record *records;
    size_t n, room;
    uint8_t last_key[KEY_LIMIT];
};

static dmq_status damaged(const dmq_lmdb *f, uint64_t page, const char *what)
{
    return dmq_fail(
        DMQ_EDATA,
        "%s: page %llu %s\n  hint: the database is damaged, or is being written: copy it again",
        f->path, (unsigned long long)page, what);
}

/* ------------------------------------------------------------------ which tree */

/* A meta page's transaction; *root is set from it. */
static dmq_status read_meta(dmq_lmdb *f, uint64_t *root, uint64_t *transaction, uint64_t place)
{
    uint8_t b[META];
    const uint8_t *tree = b + MAIN;
    dmq_status st = DMQ_OK;

    *transaction = 0;
    DMQ_TRY(dmq_input_read(b, f->input, sizeof b, place));
    if (dmq_le32(b + HEADER) != 0xBEEFC0DE || dmq_le32(b + HEADER + 4) != 1) {
        st = dmq_fail(DMQ_EDATA, "%s: is no LMDB database of version 1", f->path);
        goto done;
    }
    f->page = dmq_le32(b + HEADER + 24);
    if (f->page < 512 || f->page > 65536 || (f->page & (f->page - 1)) != 0) {
        st = dmq_fail(DMQ_EDATA, "%s: has pages of %llu bytes: must be a power of two, 512..65536",
                      f->path, (unsigned long long)f->page);
        goto done;
    }
    if (dmq_le16(tree + 4) != 0) {
        st = dmq_fail(
            DMQ_EDATA,
            "%s: holds several values a key, or keys that are no bytes (flags %d): not read",
            f->path, dmq_le16(tree + 4));
        goto done;
    }
    f->depth = dmq_le16(tree + 6);
    f->told = dmq_le64(tree + 32);
    *root = dmq_le64(tree + 40);
    f->pages = dmq_le64(tree + 48) + 1;
    *transaction = dmq_le64(tree + 56);
done:
    return st;
}

static dmq_status read_metas(dmq_lmdb *f, uint64_t *root)
{
    uint64_t first, second;
    dmq_status st = DMQ_OK;

    DMQ_TRY(read_meta(f, root, &first, 0));
    DMQ_TRY(read_meta(f, root, &second, f->page));
    if (first > second)
        DMQ_TRY(read_meta(f, root, &first, 0));
    if (f->pages == 0 || f->pages > dmq_input_size(f->input) / f->page) {
        st = dmq_fail(DMQ_EDATA, "%s: is cut short: it has %llu bytes, its %llu pages need %llu",
                      f->path, (unsigned long long)dmq_input_size(f->input),
                      (unsigned long long)f->pages, (unsigned long long)(f->pages * f->page));
    } else if (f->told == 0) {
        st = dmq_fail(DMQ_EDATA, "%s: holds no records", f->path);
    } else if (f->depth < 1 || f->depth > DEPTH) {
        st =
            dmq_fail(DMQ_EDATA, "%s: its tree is %d deep: must be 1..%d", f->path, f->depth, DEPTH);
    }
done:
    return st;
}

/* ------------------------------------------------------------------ the walk */

/* One page with its header checked: n nodes, their places behind it. */
static dmq_status read_page(uint8_t *page, int *n, const dmq_lmdb *f, uint64_t number, int kind)
{
    uint16_t end;
    dmq_status st = DMQ_OK;

    if (number < 2 || number >= f->pages)
        return damaged(f, number, "is pointed to, but is none of the tree's");
    DMQ_TRY(dmq_input_read(page, f->input, f->page, number * f->page));
    if (dmq_le64(page) != number || (dmq_le16(page + 10) & KINDS) != kind) {
        return damaged(f, number,
                       kind == LEAF ? "is not the leaf that it should be"
                                    : "is not the branch that it should be");
    }
    end = dmq_le16(page + 12);
    if (end < HEADER + 2 || end > f->page || end % 2 != 0)
        return damaged(f, number, "is empty, or says that it is longer than a page");
    *n = (end - HEADER) / 2;
done:
    return st;
}

/* Where a node begins; 0 when it or its key would lie beyond the page. */
static size_t node_at(const dmq_lmdb *f, const uint8_t *page, int n, int i)
{
    size_t at = dmq_le16(page + HEADER + 2 * (size_t)i);

    if (at < HEADER + 2 * (size_t)n || at + NODE > f->page ||
        at + NODE + dmq_le16(page + at + 6) > f->page)
        return 0;
    return at;
}

/* Keys rise strictly: so no page is met twice, whatever points to it. */
static int rises(dmq_lmdb *f, const uint8_t *key, size_t n)
{
    size_t before = f->n > 0 ? f->records[f->n - 1].key_size : 0;
    int order = memcmp(f->last_key, key, n < before ? n : before);

    memcpy(f->last_key, key, n);
    return f->n == 0 || order < 0 || (order == 0 && before < n);
}

static dmq_status add_leaf(dmq_lmdb *f, const uint8_t *page, int n, uint64_t number)
{
    dmq_status st = DMQ_OK;

    for (int i = 0; i < n; i++) {
        size_t at = node_at(f, page, n, i), value;
        const uint8_t *node = page + at;
        record r;
        int flags;

        if (at == 0 || dmq_le16(node + 6) > KEY_LIMIT)
            return damaged(f, number, "holds a record beyond its end");
        flags = dmq_le16(node + 4);
        value = at + NODE + dmq_le16(node + 6);
        r = (record){ .key = number * f->page + at + NODE,
                      .key_size = dmq_le16(node + 6),
                      .size = dmq_le32(node),
                      .large = (flags & LARGE) != 0 };
        if (flags & ODD)
            return damaged(f, number, "holds a database inside, or several values a key: not read");
        if (value + (r.large ? 8 : r.size) > f->page)
            return damaged(f, number, "holds a value beyond its end");
        r.value = number * f->page + value;
        if (r.large) {
            uint64_t first = dmq_le64(page + value);

            if (first < 2 || first >= f->pages ||
                HEADER + (uint64_t)r.size > (f->pages - first) * f->page)
                return damaged(f, number, "holds a value beyond the end of the file");
            r.value = first * f->page;
        }
        if (!rises(f, node + NODE, r.key_size))
            return damaged(f, number, "holds keys that do not rise");
        if (f->n == f->told)
            return damaged(f, number, "holds more records than the database says that it has");
        if (f->n == f->room) {
            DMQ_TRY(dmq_grow((void **)&f->records, f->room, 2 * f->room + 64, sizeof *f->records));
            f->room = 2 * f->room + 64;
        }
        f->records[f->n++] = r;
    }
done:
    return st;
}

/* buffer: a page for this level and each below. */
static dmq_status walk(dmq_lmdb *f, uint8_t *buffer, uint64_t number, int depth)
{
    int n;
    dmq_status st = DMQ_OK;

    DMQ_TRY(read_page(buffer, &n, f, number, depth == 1 ? LEAF : BRANCH));
    if (depth == 1) {
        DMQ_TRY(add_leaf(f, buffer, n, number));
        goto done;
    }
    for (int i = 0; i < n; i++) {
        size_t at = node_at(f, buffer, n, i);

        if (at == 0)
            return damaged(f, number, "holds a branch beyond its end");
        DMQ_TRY(walk(f, buffer + f->page,
                     dmq_le32(buffer + at) | (uint64_t)dmq_le16(buffer + at + 4) << 32, depth - 1));
    }
done:
    return st;
}

dmq_status dmq_lmdb_open(dmq_lmdb **out, const char *path)
{
    dmq_lmdb *f = NULL;
    uint8_t *buffer = NULL;
    char *inside = NULL;
    uint64_t root;
    dmq_status st = DMQ_OK;

    *out = NULL;
    if (dmq_folder_exists(path)) {
        DMQ_TRY(dmq_path_join(&inside, path, "data.mdb"));
        path = inside;
    }
    DMQ_TRY(dmq_alloc((void **)&f, 1, sizeof *f));
    DMQ_TRY(dmq_input_open(&f->input, path));
    f->path = dmq_input_path(f->input);
    DMQ_TRY(read_metas(f, &root));
    DMQ_TRY(dmq_alloc((void **)&buffer, (size_t)f->depth, (size_t)f->page));
    DMQ_TRY(walk(f, buffer, root, f->depth));
    if (f->n != f->told) {
        st = dmq_fail(DMQ_EDATA, "%s: has %zu records, and says that it has %llu", f->path, f->n,
                      (unsigned long long)f->told);
        goto done;
    }
    *out = f;
    f = NULL;
done:
    dmq_lmdb_close(f);
    dmq_free(buffer);
    dmq_free(inside);
    return st;
}

void dmq_lmdb_close(dmq_lmdb *file)
{
    if (!file)
        return;
    dmq_input_close(file->input);
    dmq_free(file->records);
    dmq_free(file);
}

/* ------------------------------------------------------------------ records */

const char *dmq_lmdb_path(const dmq_lmdb *file)
{
    return file->path;
}

int64_t dmq_lmdb_count(const dmq_lmdb *file)
{
    return (int64_t)file->n;
}

void dmq_lmdb_key(char out[DMQ_LMDB_KEY], const dmq_lmdb *file, int64_t i)
{
    const record *r = &file->records[i];
    size_t n = r->key_size < DMQ_LMDB_KEY - 1 ? r->key_size : DMQ_LMDB_KEY - 1;

    if (dmq_input_read(out, file->input, n, r->key) != DMQ_OK)
        memset(out, '?', n);
    for (size_t k = 0; k < n; k++)
        out[k] = (char)(out[k] > ' ' && out[k] < 127 ? out[k] : '?');
    out[n] = '\0';
}

size_t dmq_lmdb_size(const dmq_lmdb *file, int64_t i)
{
    return file->records[i].size;
}

dmq_status dmq_lmdb_read(void *out, const dmq_lmdb *file, int64_t i)
{
    const record *r = &file->records[i];
    uint8_t header[HEADER];
    dmq_status st = DMQ_OK;

    if (r->large) {
        DMQ_TRY(dmq_input_read(header, file->input, HEADER, r->value));
        if (dmq_le64(header) != r->value / file->page ||
            (dmq_le16(header + 10) & KINDS) != OVERFLOW ||
            dmq_le32(header + 12) * file->page < HEADER + (uint64_t)r->size)
            return damaged(file, r->value / file->page, "is not the value that it should be");
    }
    DMQ_TRY(dmq_input_read(out, file->input, r->size, r->value + (r->large ? HEADER : 0)));
done:
    return st;
}
