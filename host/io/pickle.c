#include "io/pickle.h"

#include "base/memory.h"
#include "io/pickle_inner.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ names once in a dictionary */

typedef struct named {
    uint32_t holder;
    dmq_pickle_node key;
    const unsigned char *text;
    uint32_t size;
} named;

static int by_holder_and_name(const void *a, const void *b)
{
    const named *x = a, *y = b;

    if (x->holder != y->holder)
        return x->holder < y->holder ? -1 : 1;
    if (x->size != y->size)
        return x->size < y->size ? -1 : 1;
    return x->text == y->text ? 0 : memcmp(x->text, y->text, x->size);
}

static bool is_named(const dmq_pickle *p, uint32_t item)
{
    dmq_pickle_node key = p->item[item].key;

    return key != DMQ_PICKLE_NO_NODE && p->node[key].kind == DMQ_PICKLE_TEXT;
}

/* A pickle may set a key twice, and then readers disagree about which one counts. */
static dmq_status check_keys(const dmq_pickle *p)
{
    dmq_status st = DMQ_OK;
    named *key = NULL;
    size_t n = 0, i = 0;

    for (uint32_t k = 0; k < p->n_items; k++)
        n += is_named(p, k);
    DMQ_TRY(dmq_alloc((void **)&key, n, sizeof *key));
    for (uint32_t holder = 0; holder < p->n_nodes; holder++) {
        for (uint32_t k = dmq_pickle_first(p, holder); k != DMQ_PICKLE_NO_NODE;
             k = dmq_pickle_next(p, k)) {
            dmq_pickle_node name = p->item[k].key;

            if (!is_named(p, k))
                continue;
            key[i++] = (named){ holder, name, p->byte + p->node[name].is.bytes.at,
                                p->node[name].is.bytes.size };
        }
    }
    assert(i == n);
    qsort(key, n, sizeof *key, by_holder_and_name);
    for (i = 1; i < n; i++) {
        if (by_holder_and_name(&key[i - 1], &key[i]) == 0) {
            char text[201];

            dmq_pickle_plain(text, sizeof text, (const char *)key[i].text, key[i].size);
            st = dmq_fail(DMQ_EDATA, "%s: %s: a dictionary holds the key \"%s\" twice",
                          dmq_input_path(p->input), p->what, text);
            goto done;
        }
    }
done:
    dmq_free(key);
    return st;
}

dmq_status dmq_pickle_open(dmq_pickle **out, const dmq_input *input, uint64_t offset,
                           uint64_t limit, const char *what)
{
    dmq_status st = DMQ_OK;
    dmq_pickle *p = NULL;

    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&p, 1, sizeof *p));
    p->input = input;
    p->what = what;
    p->offset = offset;
    p->limit = limit;
    p->root = DMQ_PICKLE_NO_NODE;
    DMQ_TRY(dmq_pickle_run(p));
    DMQ_TRY(check_keys(p));
    p->what = NULL; /* the caller's */
    *out = p;
    p = NULL;
done:
    dmq_pickle_close(p);
    return st;
}

void dmq_pickle_close(dmq_pickle *p)
{
    if (!p)
        return;
    dmq_free(p->byte);
    dmq_free(p->node);
    dmq_free(p->item);
    dmq_free(p);
}

/* ------------------------------------------------------------------ asking */

uint64_t dmq_pickle_size(const dmq_pickle *p)
{
    return p->size;
}

dmq_pickle_node dmq_pickle_root(const dmq_pickle *p)
{
    return p->root;
}

uint32_t dmq_pickle_count(const dmq_pickle *p)
{
    return p->n_nodes;
}

dmq_pickle_kind dmq_pickle_kind_of(const dmq_pickle *p, dmq_pickle_node node)
{
    assert(node < p->n_nodes);
    return (dmq_pickle_kind)p->node[node].kind;
}

static bool is(const dmq_pickle *p, dmq_pickle_node node, dmq_pickle_kind kind)
{
    return node < p->n_nodes && p->node[node].kind == kind;
}

bool dmq_pickle_int(int64_t *out, const dmq_pickle *p, dmq_pickle_node node)
{
    if (!is(p, node, DMQ_PICKLE_INT) && !is(p, node, DMQ_PICKLE_BOOL))
        return false;
    *out = p->node[node].is.whole;
    return true;
}

const char *dmq_pickle_text(size_t *size, const dmq_pickle *p, dmq_pickle_node node)
{
    if (!is(p, node, DMQ_PICKLE_TEXT) && !is(p, node, DMQ_PICKLE_BYTES) &&
        !is(p, node, DMQ_PICKLE_BIG_INT))
        return NULL;
    *size = p->node[node].is.bytes.size;
    return (const char *)p->byte + p->node[node].is.bytes.at;
}

bool dmq_pickle_is_text(const dmq_pickle *p, dmq_pickle_node node, const char *text)
{
    size_t size;
    const char *there = dmq_pickle_text(&size, p, node);

    return there && is(p, node, DMQ_PICKLE_TEXT) && size == strlen(text) &&
           memcmp(there, text, size) == 0;
}

void dmq_pickle_plain(char *out, size_t room, const char *text, size_t size)
{
    size = size < room - 1 ? size : room - 1;
    for (size_t i = 0; i < size; i++)
        out[i] = (char)(text[i] < 0x20 || text[i] > 0x7e ? '?' : text[i]);
    out[size] = '\0';
}

bool dmq_pickle_global(dmq_pickle_node *module, dmq_pickle_node *name, const dmq_pickle *p,
                       dmq_pickle_node node)
{
    if (!is(p, node, DMQ_PICKLE_GLOBAL))
        return false;
    *module = p->node[node].is.pair.a;
    *name = p->node[node].is.pair.b;
    return true;
}

bool dmq_pickle_is_global(const dmq_pickle *p, dmq_pickle_node node, const char *module,
                          const char *name)
{
    dmq_pickle_node m, n;

    return dmq_pickle_global(&m, &n, p, node) && dmq_pickle_is_text(p, m, module) &&
           dmq_pickle_is_text(p, n, name);
}

bool dmq_pickle_call(dmq_pickle_node *callable, dmq_pickle_node *args, const dmq_pickle *p,
                     dmq_pickle_node node)
{
    if (!is(p, node, DMQ_PICKLE_CALL))
        return false;
    *callable = p->node[node].is.pair.a;
    *args = p->node[node].is.pair.b;
    return true;
}

dmq_pickle_node dmq_pickle_persistent(const dmq_pickle *p, dmq_pickle_node node)
{
    return is(p, node, DMQ_PICKLE_PERSISTENT) ? p->node[node].is.pair.a : DMQ_PICKLE_NO_NODE;
}

static bool has_items(const dmq_pickle *p, dmq_pickle_node node)
{
    return is(p, node, DMQ_PICKLE_TUPLE) || is(p, node, DMQ_PICKLE_LIST) ||
           is(p, node, DMQ_PICKLE_DICT) || is(p, node, DMQ_PICKLE_SET) ||
           is(p, node, DMQ_PICKLE_CALL);
}

uint32_t dmq_pickle_length(const dmq_pickle *p, dmq_pickle_node node)
{
    return has_items(p, node) ? p->node[node].length : 0;
}

uint32_t dmq_pickle_first(const dmq_pickle *p, dmq_pickle_node node)
{
    return has_items(p, node) ? p->node[node].first : DMQ_PICKLE_NO_NODE;
}

uint32_t dmq_pickle_next(const dmq_pickle *p, uint32_t item)
{
    return p->item[item].next;
}

dmq_pickle_node dmq_pickle_key(const dmq_pickle *p, uint32_t item)
{
    return p->item[item].key;
}

dmq_pickle_node dmq_pickle_value(const dmq_pickle *p, uint32_t item)
{
    return p->item[item].value;
}

dmq_pickle_node dmq_pickle_at(const dmq_pickle *p, dmq_pickle_node node, uint32_t i)
{
    uint32_t item = is(p, node, DMQ_PICKLE_TUPLE) || is(p, node, DMQ_PICKLE_LIST)
                        ? p->node[node].first
                        : DMQ_PICKLE_NO_NODE;

    while (item != DMQ_PICKLE_NO_NODE && i-- > 0)
        item = p->item[item].next;
    return item == DMQ_PICKLE_NO_NODE ? DMQ_PICKLE_NO_NODE : p->item[item].value;
}
