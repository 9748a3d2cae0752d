#include "io/torch_file.h"

#include "base/memory.h"
#include "io/torch_inner.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROOT_LIMIT = 256, KEYS_LIMIT = 1000000 };

static dmq_status refuse(const dmq_input *input, const char *what)
{
    return dmq_fail(DMQ_EDATA, "%s: not a PyTorch file that can be read: %s", dmq_input_path(input),
                    what);
}

/* ------------------------------------------------------------------ zip */

typedef struct zipped {
    const dmq_input *input;
    const dmq_zip *zip;
    char root[ROOT_LIMIT + 2]; /* "archive/" */
} zipped;

/* The member <root>/NAME, or NULL. */
static const dmq_zip_entry *member(const zipped *z, const char *name, size_t size)
{
    char path[2 * ROOT_LIMIT];

    (void)snprintf(path, sizeof path, "%s%.*s", z->root, (int)size, name);
    return dmq_zip_find(z->zip, path);
}

/* The one folder that holds data.pkl; TorchScript has more than that in it. */
static dmq_status find_root(zipped *z)
{
    static const char data[] = "/data.pkl";
    size_t n = 0;

    for (int i = 0; i < dmq_zip_count(z->zip); i++) {
        const char *name = dmq_zip_at(z->zip, i)->name, *slash = strchr(name, '/');

        if (!slash || strcmp(slash, data) != 0)
            continue;
        if (n > 0)
            return refuse(z->input, "it has several data.pkl");
        n = (size_t)(slash - name);
        if (n == 0 || n > ROOT_LIMIT)
            return refuse(z->input, "the folder of its data.pkl has no name, or too long a one");
        memcpy(z->root, name, n + 1);
        z->root[n + 1] = '\0';
    }
    if (n == 0)
        return refuse(z->input, "it has no data.pkl");
    for (int i = 0; i < dmq_zip_count(z->zip); i++) {
        const char *name = dmq_zip_at(z->zip, i)->name;

        if (strncmp(name, z->root, n + 1) == 0 && (strcmp(name + n + 1, "constants.pkl") == 0 ||
                                                   strncmp(name + n + 1, "code/", 5) == 0)) {
            return dmq_fail(DMQ_EDATA,
                            "%s: is TorchScript, a program\n"
                            "  hint: torch.save(torch.jit.load(FILE).state_dict(), ...) keeps its "
                            "tensors",
                            dmq_input_path(z->input));
        }
    }
    return DMQ_OK;
}

static dmq_status check_byte_order(const zipped *z)
{
    const dmq_zip_entry *e = member(z, "byteorder", 9);
    dmq_status st = DMQ_OK;
    char order[8] = "";
    uint64_t at;

    if (!e)
        return DMQ_OK; /* older files have none, and are little-endian */
    DMQ_TRY(dmq_zip_place(&at, z->zip, e));
    if (e->size >= sizeof order)
        return refuse(z->input, "its byte order is neither little nor big");
    DMQ_TRY(dmq_input_read(order, z->input, e->size, at));
    if (strcmp(order, "little") != 0)
        return refuse(z->input, "its byte order is not little");
done:
    return st;
}

static dmq_status place_zipped(uint64_t *offset, void *context, const dmq_torch_storage *s)
{
    const zipped *z = context;
    const dmq_zip_entry *e;
    char name[80];
    int n = snprintf(name, sizeof name, "data/%.*s", (int)s->key_size, s->key);
    uint64_t bytes = (uint64_t)s->count * (uint64_t)dmq_dtype_width(s->type);

    e = member(z, name, (size_t)n);
    if (!e) {
        return dmq_fail(DMQ_EDATA, "%s: has no storage %s%s", dmq_input_path(z->input), z->root,
                        name);
    }
    if (e->size != bytes) {
        return dmq_fail(DMQ_EDATA, "%s: storage %s%s has %llu bytes, the pickle says %llu",
                        dmq_input_path(z->input), z->root, name, (unsigned long long)e->size,
                        (unsigned long long)bytes);
    }
    return dmq_zip_place(offset, z->zip, e);
}

dmq_status dmq_torch_read_zip(dmq_table *table, dmq_torch_foreign *foreign, const dmq_input *input,
                              const dmq_zip *zip, int strict)
{
    dmq_status st = DMQ_OK;
    zipped z = { .input = input, .zip = zip };
    const dmq_zip_entry *e;
    dmq_pickle *pickle = NULL;
    uint64_t at;

    DMQ_TRY(find_root(&z));
    DMQ_TRY(check_byte_order(&z));
    e = member(&z, "data.pkl", 8);
    assert(e);
    DMQ_TRY(dmq_zip_place(&at, zip, e));
    DMQ_TRY(dmq_pickle_open(&pickle, input, at, e->size, e->name));
    if (dmq_pickle_size(pickle) != e->size) {
        st = refuse(input, "something stands behind the end of its data.pkl");
        goto done;
    }
    DMQ_TRY(dmq_torch_list_foreign(foreign, pickle, strict, dmq_input_path(input)));
    DMQ_TRY(dmq_torch_walk(table, pickle, place_zipped, &z, dmq_input_path(input)));
done:
    dmq_pickle_close(pickle);
    return st;
}

/* ------------------------------------------------------------------ legacy */

typedef struct storage {
    dmq_torch_storage is;
    uint64_t offset; /* 0: not met in the file */
} storage;

typedef struct legacy {
    const dmq_input *input;
    storage *storage; /* by key */
    size_t count;
} legacy;

static int by_key(const void *a, const void *b)
{
    const dmq_torch_storage *x = &((const storage *)a)->is, *y = &((const storage *)b)->is;

    if (x->key_size != y->key_size)
        return x->key_size < y->key_size ? -1 : 1;
    return memcmp(x->key, y->key, x->key_size);
}

/* Every storage that the object names, once; the file does not say elsewhere how wide its numbers are. */
static dmq_status list_storages(legacy *l, const dmq_pickle *p)
{
    const char *path = dmq_input_path(l->input);
    dmq_status st = DMQ_OK;
    size_t n = 0, kept = 0;

    for (dmq_pickle_node i = 0; i < dmq_pickle_count(p); i++)
        n += dmq_pickle_kind_of(p, i) == DMQ_PICKLE_PERSISTENT;
    DMQ_TRY(dmq_alloc((void **)&l->storage, n, sizeof *l->storage));
    for (dmq_pickle_node i = 0; i < dmq_pickle_count(p); i++) {
        dmq_pickle_node told = dmq_pickle_persistent(p, i);

        /* 'module': the source text of a class, which old versions added */
        if (told == DMQ_PICKLE_NO_NODE ||
            dmq_pickle_is_text(p, dmq_pickle_at(p, told, 0), "module"))
            continue;
        DMQ_TRY(dmq_torch_storage_of(&l->storage[l->count].is, p, i, path));
        l->count++;
    }
    qsort(l->storage, l->count, sizeof *l->storage, by_key);
    for (size_t i = 0; i < l->count; i++) {
        storage *s = &l->storage[i];

        if (kept > 0 && by_key(s, &l->storage[kept - 1]) == 0) {
            if (s->is.type != l->storage[kept - 1].is.type ||
                s->is.count != l->storage[kept - 1].is.count)
                return refuse(l->input, "two tensors disagree about their storage");
        } else {
            l->storage[kept++] = *s;
        }
    }
    l->count = kept;
done:
    return st;
}

static storage *find(const legacy *l, const char *key, size_t size)
{
    const storage wanted = { .is = { .key = key, .key_size = size } };

    return l->count ? bsearch(&wanted, l->storage, l->count, sizeof wanted, by_key) : NULL;
}

/* The storages lie one behind the other, in the order of a list of keys, up to the end of the file. */
static dmq_status place_storages(legacy *l, const dmq_pickle *keys, uint64_t at)
{
    dmq_pickle_node list = dmq_pickle_root(keys);
    dmq_status st = DMQ_OK;
    unsigned char count[8];

    if (dmq_pickle_kind_of(keys, list) != DMQ_PICKLE_LIST ||
        dmq_pickle_length(keys, list) > KEYS_LIMIT)
        return refuse(l->input, "its list of storages is none");
    for (uint32_t i = dmq_pickle_first(keys, list); i != DMQ_PICKLE_NO_NODE;
         i = dmq_pickle_next(keys, i)) {
        size_t size = 0;
        const char *key = dmq_pickle_text(&size, keys, dmq_pickle_value(keys, i));
        storage *s = key ? find(l, key, size) : NULL;
        uint64_t bytes;

        if (!s || s->offset) {
            return refuse(l->input, s ? "its list of storages has one twice"
                                      : "it has a storage that no tensor uses");
        }
        DMQ_TRY(dmq_input_read(count, l->input, sizeof count, at));
        bytes = (uint64_t)s->is.count * (uint64_t)dmq_dtype_width(s->is.type);
        if (dmq_le64(count) != (uint64_t)s->is.count)
            return refuse(l->input, "a storage has another length than the pickle says");
        at += sizeof count;
        if (bytes > dmq_input_size(l->input) - at)
            return refuse(l->input, "a storage reaches beyond the end: it is cut short");
        s->offset = at;
        at += bytes;
    }
    if (at != dmq_input_size(l->input))
        return refuse(l->input, "something stands behind its last storage");
done:
    return st;
}

static dmq_status place_legacy(uint64_t *offset, void *context, const dmq_torch_storage *s)
{
    const legacy *l = context;
    const storage *there = find(l, s->key, s->key_size);

    if (!there || !there->offset) {
        return dmq_fail(DMQ_EDATA, "%s: has no storage %.*s", dmq_input_path(l->input),
                        (int)s->key_size, s->key);
    }
    *offset = there->offset;
    return DMQ_OK;
}

/* The next of the pickles; *at moves behind it. */
static dmq_status next(dmq_pickle **out, const dmq_input *input, uint64_t *at, const char *what)
{
    dmq_status st = dmq_pickle_open(out, input, *at, dmq_input_size(input) - *at, what);

    if (st == DMQ_OK)
        *at += dmq_pickle_size(*out);
    return st;
}

/* Magic number, version and the machine that wrote it: three pickles. */
static dmq_status check_start(const dmq_input *input, uint64_t *at)
{
    static const char magic[] = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
    dmq_pickle *p = NULL;
    dmq_status st = DMQ_OK;
    int64_t number = 0;
    const char *text;
    size_t size = 0;

    DMQ_TRY(next(&p, input, at, "magic number"));
    text = dmq_pickle_text(&size, p, dmq_pickle_root(p));
    if (!text || size != 10 || memcmp(text, magic, 10) != 0) {
        st = refuse(input, "its magic number is another one");
        goto done;
    }
    dmq_pickle_close(p);
    p = NULL;
    DMQ_TRY(next(&p, input, at, "protocol version"));
    if (!dmq_pickle_int(&number, p, dmq_pickle_root(p)) || number != 1001) {
        st = refuse(input, "its protocol version is not 1001");
        goto done;
    }
    dmq_pickle_close(p);
    p = NULL;
    DMQ_TRY(next(&p, input, at, "system"));
    number = 0;
    for (uint32_t i = dmq_pickle_first(p, dmq_pickle_root(p)); i != DMQ_PICKLE_NO_NODE;
         i = dmq_pickle_next(p, i)) {
        dmq_pickle_node key = dmq_pickle_key(p, i);

        if (key != DMQ_PICKLE_NO_NODE && dmq_pickle_is_text(p, key, "little_endian"))
            (void)dmq_pickle_int(&number, p, dmq_pickle_value(p, i));
    }
    if (number != 1)
        st = refuse(input, "its byte order is not little");
done:
    dmq_pickle_close(p);
    return st;
}

dmq_status dmq_torch_read_legacy(dmq_table *table, dmq_torch_foreign *foreign,
                                 const dmq_input *input, int strict)
{
    const char *path = dmq_input_path(input);
    dmq_status st = DMQ_OK;
    legacy l = { .input = input };
    dmq_pickle *object = NULL, *keys = NULL;
    uint64_t at = 0;

    DMQ_TRY(check_start(input, &at));
    DMQ_TRY(next(&object, input, &at, "object"));
    DMQ_TRY(dmq_torch_list_foreign(foreign, object, strict, path));
    DMQ_TRY(list_storages(&l, object));
    DMQ_TRY(next(&keys, input, &at, "list of storages"));
    DMQ_TRY(place_storages(&l, keys, at));
    DMQ_TRY(dmq_torch_walk(table, object, place_legacy, &l, path));
done:
    dmq_pickle_close(object);
    dmq_pickle_close(keys);
    dmq_free(l.storage);
    return st;
}
