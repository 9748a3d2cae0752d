/* From the root of a pickle to its tensors. */
#include "base/memory.h"
#include "io/torch_inner.h"

#include <stdio.h>
#include <string.h>

enum {
    DEPTH = 32,        /* containers in containers */
    WRAPPINGS = 4,     /* parameters of parameters */
    KEY_LIMIT = 64,    /* bytes of a storage's key */
    VISITS_EACH = 4,   /* visits that an item of a container may cost on the average, ... */
    VISITS_FREE = 4096 /* ... beyond as many */
};

static dmq_status refuse(const char *path, const char *what)
{
    return dmq_fail(DMQ_EDATA, "%s: not a PyTorch file that can be read: %s", path, what);
}

/* ------------------------------------------------------------------ storages */

static const struct {
    const char *name;
    dmq_dtype type;
} storages[] = {
    { "FloatStorage", DMQ_DTYPE_F32 },  { "DoubleStorage", DMQ_DTYPE_F64 },
    { "HalfStorage", DMQ_DTYPE_F16 },   { "BFloat16Storage", DMQ_DTYPE_BF16 },
    { "LongStorage", DMQ_DTYPE_I64 },   { "IntStorage", DMQ_DTYPE_I32 },
    { "ShortStorage", DMQ_DTYPE_I16 },  { "CharStorage", DMQ_DTYPE_I8 },
    { "ByteStorage", DMQ_DTYPE_U8 },    { "BoolStorage", DMQ_DTYPE_BOOL },
    { "UntypedStorage", DMQ_DTYPE_U8 },
};

static dmq_dtype storage_type(const dmq_pickle *p, dmq_pickle_node node)
{
    for (size_t i = 0; i < sizeof storages / sizeof *storages; i++) {
        if (dmq_pickle_is_global(p, node, "torch", storages[i].name) ||
            dmq_pickle_is_global(p, node, "torch.storage", storages[i].name))
            return storages[i].type;
    }
    return DMQ_DTYPE_OTHER;
}

static bool is_key(const char *key, size_t size)
{
    static const char good[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_.-";

    for (size_t i = 0; i < size; i++) {
        if (key[i] == '\0' || !strchr(good, key[i]))
            return false;
    }
    return size > 0 && size <= KEY_LIMIT;
}

/* ('storage', torch.FloatStorage, key, location, count [, None or (key of the view, first, count)]) */
dmq_status dmq_torch_storage_of(dmq_torch_storage *out, const dmq_pickle *p, dmq_pickle_node node,
                                const char *path)
{
    dmq_pickle_node told = dmq_pickle_persistent(p, node), view;
    bool typed;

    memset(out, 0, sizeof *out);
    if (told == DMQ_PICKLE_NO_NODE || !dmq_pickle_is_text(p, dmq_pickle_at(p, told, 0), "storage"))
        return refuse(path, "a tensor has no storage");
    out->type = storage_type(p, dmq_pickle_at(p, told, 1));
    out->key = dmq_pickle_text(&out->key_size, p, dmq_pickle_at(p, told, 2));
    typed = out->type != DMQ_DTYPE_OTHER;
    if (!typed || !out->key || !is_key(out->key, out->key_size)) {
        return refuse(path, typed ? "a storage's key is not a short name"
                                  : "a storage is of a type that is not known");
    }
    if (!dmq_pickle_int(&out->count, p, dmq_pickle_at(p, told, 4)) || out->count < 0 ||
        out->count > DMQ_TABLE_COUNT)
        return refuse(path, "a storage's number of elements is not in 0..2^40");
    out->view_count = out->count;
    view = dmq_pickle_at(p, told, 5);
    if (view == DMQ_PICKLE_NO_NODE || dmq_pickle_kind_of(p, view) == DMQ_PICKLE_NONE)
        return DMQ_OK;
    if (!dmq_pickle_int(&out->view_first, p, dmq_pickle_at(p, view, 1)) ||
        !dmq_pickle_int(&out->view_count, p, dmq_pickle_at(p, view, 2)) || out->view_first < 0 ||
        out->view_count < 0 || out->view_first > out->count ||
        out->view_count > out->count - out->view_first)
        return refuse(path, "a view of a storage is larger than it");
    return DMQ_OK;
}

/* ------------------------------------------------------------------ the walk */

typedef struct frame {
    dmq_pickle_node node; /* the container */
    uint32_t item;        /* of it that comes next */
    uint32_t number;      /* of that item */
    size_t name;          /* length of the container's name */
    bool pairs;           /* its items are [key, value] */
} frame;

typedef struct walk {
    dmq_table *table;
    const dmq_pickle *p;
    dmq_torch_place_fn *place;
    void *context;
    const char *path;
    frame at[DEPTH];
    int depth;
    uint64_t visits;
    char name[DMQ_TABLE_NAME + 1]; /* of a name that is longer, only the first part */
} walk;

static bool calls(const walk *w, dmq_pickle_node node, const char *module, const char *name)
{
    dmq_pickle_node callable, args;

    return dmq_pickle_call(&callable, &args, w->p, node) &&
           dmq_pickle_is_global(w->p, callable, module, name);
}

/* Sizes or strides: a tuple, or torch.Size of one. */
static bool whole_numbers(int64_t out[DMQ_TABLE_RANK], uint32_t *n, const walk *w,
                          dmq_pickle_node node)
{
    dmq_pickle_node callable, args;
    uint32_t i = 0;

    if (node == DMQ_PICKLE_NO_NODE)
        return false;
    if (calls(w, node, "torch", "Size") && dmq_pickle_call(&callable, &args, w->p, node))
        node = dmq_pickle_at(w->p, args, 0);
    if (node == DMQ_PICKLE_NO_NODE || (dmq_pickle_kind_of(w->p, node) != DMQ_PICKLE_TUPLE &&
                                       dmq_pickle_kind_of(w->p, node) != DMQ_PICKLE_LIST))
        return false;
    *n = dmq_pickle_length(w->p, node);
    if (*n > DMQ_TABLE_RANK)
        return false;
    for (uint32_t k = dmq_pickle_first(w->p, node); k != DMQ_PICKLE_NO_NODE;
         k = dmq_pickle_next(w->p, k)) {
        if (!dmq_pickle_int(&out[i++], w->p, dmq_pickle_value(w->p, k)))
            return false;
    }
    return true;
}

static dmq_status refuse_tensor(const walk *w, const char *what)
{
    char name[201];

    dmq_pickle_plain(name, sizeof name, w->name, strlen(w->name));
    return dmq_fail(DMQ_EDATA, "%s: tensor \"%s\": %s", w->path, name, what);
}

/* _rebuild_tensor_v2(storage, first element, sizes, strides, ...); the rest is for training. */
static dmq_status add_tensor(walk *w, dmq_pickle_node args, size_t name)
{
    dmq_torch_storage s;
    dmq_stored t = { .name = w->name };
    dmq_status st = DMQ_OK;
    uint32_t rank, n_strides;
    int64_t first;
    uint64_t width;

    DMQ_TRY(dmq_torch_storage_of(&s, w->p, dmq_pickle_at(w->p, args, 0), w->path));
    if (!dmq_pickle_int(&first, w->p, dmq_pickle_at(w->p, args, 1)) || first < 0 ||
        first > s.view_count)
        return refuse_tensor(w, "it begins outside its storage");
    if (!whole_numbers(t.dims, &rank, w, dmq_pickle_at(w->p, args, 2)) ||
        !whole_numbers(t.strides, &n_strides, w, dmq_pickle_at(w->p, args, 3)) || rank != n_strides)
        return refuse_tensor(w, "its sizes and strides are not as many whole numbers, at most 8");
    t.rank = (int)rank;
    t.type = s.type;
    t.type_name = dmq_dtype_name(s.type);
    width = (uint64_t)dmq_dtype_width(s.type);
    DMQ_TRY(w->place(&t.offset, w->context, &s));
    t.offset += (uint64_t)(s.view_first + first) * width;
    DMQ_TRY(dmq_table_add(w->table, &t, name, 0, w->path));
    if (w->table->tensor[w->table->count - 1].bytes > (uint64_t)(s.view_count - first) * width)
        return refuse_tensor(w, "it reaches beyond the end of its storage");
done:
    return st;
}

/* What makes a tensor, but not a plain one. */
static dmq_status add_other(walk *w, dmq_pickle_node callable, size_t name)
{
    dmq_pickle_node module, function;
    dmq_stored t = { .name = w->name, .type = DMQ_DTYPE_OTHER };
    size_t m, f;
    const char *a, *b;
    char text[320];

    if (!dmq_pickle_global(&module, &function, w->p, callable))
        return DMQ_OK;
    a = dmq_pickle_text(&m, w->p, module);
    b = dmq_pickle_text(&f, w->p, function);
    if (m < 6 || memcmp(a, "torch.", 6) != 0 || f < 9 || memcmp(b, "_rebuild_", 9) != 0)
        return DMQ_OK;
    dmq_pickle_plain(text, 160, a, m);
    m = strlen(text);
    text[m++] = '.';
    dmq_pickle_plain(text + m, 160, b, f);
    t.type_name = text;
    return dmq_table_add(w->table, &t, name, 1, w->path);
}

/* Begin with a container, unless it is one that is being walked through already. */
static dmq_status enter(walk *w, dmq_pickle_node node, size_t name)
{
    dmq_pickle_node callable, args = DMQ_PICKLE_NO_NODE, list;
    frame *f = &w->at[w->depth];

    for (int i = 0; i < w->depth; i++) {
        if (w->at[i].node == node)
            return DMQ_OK;
    }
    if (w->depth == DEPTH)
        return refuse(w->path, "its containers are nested more than 32 deep");
    *f = (frame){ node, dmq_pickle_first(w->p, node), 0, name, false };
    if (dmq_pickle_call(&callable, &args, w->p, node)) {
        list = dmq_pickle_at(w->p, args,
                             0); /* OrderedDict([[key, value], ...]), as Python 2 wrote it */
        if (list != DMQ_PICKLE_NO_NODE && dmq_pickle_length(w->p, list) > 0)
            *f = (frame){ list, dmq_pickle_first(w->p, list), 0, name, true };
    }
    w->depth++;
    return DMQ_OK;
}

static bool is_dictionary(const walk *w, dmq_pickle_node node)
{
    return dmq_pickle_kind_of(w->p, node) == DMQ_PICKLE_DICT ||
           calls(w, node, "collections", "OrderedDict");
}

/* One value that a container holds, or the root; its name has `name` bytes. */
static dmq_status visit(walk *w, dmq_pickle_node node, size_t name)
{
    dmq_pickle_node callable, args;
    dmq_pickle_kind kind;

    for (int i = 0;; i++) {
        kind = dmq_pickle_kind_of(w->p, node);
        if (kind == DMQ_PICKLE_LIST || kind == DMQ_PICKLE_TUPLE || is_dictionary(w, node))
            return enter(w, node, name);
        if (!dmq_pickle_call(&callable, &args, w->p, node))
            return DMQ_OK;
        if (!calls(w, node, "torch._utils", "_rebuild_parameter") &&
            !calls(w, node, "torch.nn.parameter", "Parameter"))
            break;
        node = dmq_pickle_at(w->p, args, 0);
        if (node == DMQ_PICKLE_NO_NODE || i == WRAPPINGS)
            return refuse_tensor(w, "it is a parameter of nothing");
    }
    if (calls(w, node, "torch._utils", "_rebuild_tensor_v2") ||
        calls(w, node, "torch._utils", "_rebuild_tensor"))
        return add_tensor(w, args, name);
    return add_other(w, callable, name);
}

/* The name of a container's member behind the container's; its length, also where it does not fit. */
static size_t extend(walk *w, size_t length, const char *key, size_t size)
{
    size_t at = length;

    if (length > 0) {
        if (at < DMQ_TABLE_NAME)
            w->name[at] = '/';
        at++;
    }
    if (at < DMQ_TABLE_NAME)
        memcpy(w->name + at, key, size < DMQ_TABLE_NAME - at ? size : DMQ_TABLE_NAME - at);
    at += size;
    w->name[at < DMQ_TABLE_NAME ? at : DMQ_TABLE_NAME] = '\0';
    return at;
}

/* The next member of the innermost container. */
static dmq_status step(walk *w)
{
    frame *f = &w->at[w->depth - 1];
    dmq_pickle_node key, value;
    uint32_t item = f->item;
    char number[16];
    const char *text;
    size_t size;

    if (item == DMQ_PICKLE_NO_NODE) {
        w->depth--;
        return DMQ_OK;
    }
    if (++w->visits > VISITS_EACH * (uint64_t)dmq_pickle_count(w->p) + VISITS_FREE)
        return refuse(w->path, "its containers hold each other over and over");
    f->item = dmq_pickle_next(w->p, item);
    key = dmq_pickle_key(w->p, item);
    value = dmq_pickle_value(w->p, item);
    if (f->pairs) {
        key = dmq_pickle_at(w->p, value, 0);
        value = dmq_pickle_at(w->p, value, 1);
        if (key == DMQ_PICKLE_NO_NODE || value == DMQ_PICKLE_NO_NODE)
            return DMQ_OK;
    }
    if (!f->pairs && key == DMQ_PICKLE_NO_NODE) {
        size = (size_t)snprintf(number, sizeof number, "%u", (unsigned)f->number++);
        return visit(w, value, extend(w, f->name, number, size));
    }
    if (dmq_pickle_kind_of(w->p, key) != DMQ_PICKLE_TEXT)
        return DMQ_OK;
    text = dmq_pickle_text(&size, w->p, key);
    return visit(w, value, extend(w, f->name, text, size));
}

dmq_status dmq_torch_walk(dmq_table *table, const dmq_pickle *p, dmq_torch_place_fn *place,
                          void *context, const char *path)
{
    int before = table->count;
    dmq_status st = DMQ_OK;
    walk *w = NULL;

    DMQ_TRY(dmq_alloc((void **)&w, 1, sizeof *w));
    *w = (walk){ .table = table, .p = p, .place = place, .context = context, .path = path };
    DMQ_TRY(visit(w, dmq_pickle_root(p), extend(w, 0, "tensor", 6)));
    if (w->depth == 0 && table->count == before) {
        st = dmq_fail(DMQ_EDATA,
                      "%s: holds an object of a class, not tensors by name\n"
                      "  hint: torch.save(model.state_dict(), ...) writes them",
                      path);
        goto done;
    }
    w->at[0].name = 0; /* the root's members have their own names alone */
    while (w->depth > 0)
        DMQ_TRY(step(w));
done:
    dmq_free(w);
    return st;
}
