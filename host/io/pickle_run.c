/* The machine of pickles: opcodes in, nodes out. */
#include "base/memory.h"
#include "io/pickle_machine.h"

#include <stdio.h>
#include <string.h>

enum {
    TEXT_LIMIT = 1 << 20,
    GLOBAL_LIMIT = 256 /* bytes of a module's or a class's name */
};

/* Opcodes, by the names that CPython's pickletools gives them. */
enum {
    OP_MARK = '(',
    OP_STOP = '.',
    OP_POP = '0',
    OP_POP_MARK = '1',
    OP_BINBYTES = 'B',
    OP_SHORT_BINBYTES = 'C',
    OP_BINFLOAT = 'G',
    OP_BININT = 'J',
    OP_BININT1 = 'K',
    OP_BININT2 = 'M',
    OP_NONE = 'N',
    OP_BINPERSID = 'Q',
    OP_REDUCE = 'R',
    OP_BINSTRING = 'T',
    OP_SHORT_BINSTRING = 'U',
    OP_BINUNICODE = 'X',
    OP_EMPTY_LIST = ']',
    OP_APPEND = 'a',
    OP_BUILD = 'b',
    OP_GLOBAL = 'c',
    OP_APPENDS = 'e',
    OP_BINGET = 'h',
    OP_LONG_BINGET = 'j',
    OP_BINPUT = 'q',
    OP_LONG_BINPUT = 'r',
    OP_SETITEM = 's',
    OP_TUPLE = 't',
    OP_EMPTY_TUPLE = ')',
    OP_SETITEMS = 'u',
    OP_EMPTY_DICT = '}',
    OP_PROTO = 0x80,
    OP_NEWOBJ = 0x81,
    OP_TUPLE1 = 0x85,
    OP_TUPLE2 = 0x86,
    OP_TUPLE3 = 0x87,
    OP_NEWTRUE = 0x88,
    OP_NEWFALSE = 0x89,
    OP_LONG1 = 0x8a,
    OP_LONG4 = 0x8b,
    OP_SHORT_BINUNICODE = 0x8c,
    OP_BINUNICODE8 = 0x8d,
    OP_BINBYTES8 = 0x8e,
    OP_EMPTY_SET = 0x8f,
    OP_ADDITEMS = 0x90,
    OP_FROZENSET = 0x91,
    OP_STACK_GLOBAL = 0x93,
    OP_MEMOIZE = 0x94,
    OP_FRAME = 0x95
};

/* ------------------------------------------------------------------ opcodes with an argument */

/* A length of `width` bytes, and as many bytes behind it. */
static dmq_status push_bytes(dmq_machine *m, dmq_pickle_kind kind, int width)
{
    const unsigned char *bytes;
    dmq_status st = DMQ_OK;
    dmq_pickle_node node;
    uint64_t n, at;

    DMQ_TRY(dmq_machine_number(&n, m, width));
    if (n > TEXT_LIMIT)
        return dmq_machine_refuse(m, "a text of more than 1 MiB");
    at = m->at;
    DMQ_TRY(dmq_machine_need(&bytes, m, n));
    DMQ_TRY(dmq_machine_make_bytes(&node, m, kind, at, n));
    DMQ_TRY(dmq_machine_push(m, node));
done:
    return st;
}

/* Two's complement of n bytes. */
static dmq_status push_long(dmq_machine *m, int width)
{
    const unsigned char *b;
    dmq_status st = DMQ_OK;
    dmq_pickle_node node;
    uint64_t n, at, value;

    DMQ_TRY(dmq_machine_number(&n, m, width));
    if (n > TEXT_LIMIT)
        return dmq_machine_refuse(m, "a number of more than 1 MiB");
    at = m->at;
    DMQ_TRY(dmq_machine_need(&b, m, n));
    if (n > 8) {
        DMQ_TRY(dmq_machine_make_bytes(&node, m, DMQ_PICKLE_BIG_INT, at, n));
        DMQ_TRY(dmq_machine_push(m, node));
        goto done;
    }
    value = n > 0 && b[n - 1] & 0x80U ? UINT64_MAX : 0;
    for (uint64_t i = n; i > 0; i--)
        value = value << 8 | b[i - 1];
    DMQ_TRY(dmq_machine_push_int(m, DMQ_PICKLE_INT, (int64_t)value));
done:
    return st;
}

static dmq_status push_real(dmq_machine *m)
{
    const unsigned char *b;
    dmq_status st = DMQ_OK;
    uint64_t bits = 0;
    double value;

    DMQ_TRY(dmq_machine_need(&b, m, 8));
    for (int i = 0; i < 8; i++) /* the one big-endian number of the format */
        bits = bits << 8 | b[i];
    memcpy(&value, &bits, sizeof value);
    DMQ_TRY(dmq_machine_push_new(m, DMQ_PICKLE_REAL));
    m->p->node[m->p->n_nodes - 1].is.real = value;
done:
    return st;
}

/* A line of ASCII, as a TEXT. */
static dmq_status line(dmq_pickle_node *out, dmq_machine *m)
{
    const unsigned char *c;
    dmq_status st = DMQ_OK;
    uint64_t at = m->at;

    for (;;) {
        DMQ_TRY(dmq_machine_need(&c, m, 1));
        if (*c == '\n')
            break;
        if (*c < 0x20 || *c > 0x7e || m->at - at > GLOBAL_LIMIT) {
            return dmq_machine_refuse(m,
                                      "the name of a class is not ASCII, or longer than 256 bytes");
        }
    }
    DMQ_TRY(dmq_machine_make_bytes(out, m, DMQ_PICKLE_TEXT, at, m->at - 1 - at));
done:
    return st;
}

static dmq_status push_pair(dmq_machine *m, dmq_pickle_kind kind, dmq_pickle_node a,
                            dmq_pickle_node b)
{
    dmq_status st = DMQ_OK;
    dmq_pickle_node node;

    DMQ_TRY(dmq_machine_make(&node, m, kind));
    m->p->node[node].is.pair.a = a;
    m->p->node[node].is.pair.b = b;
    DMQ_TRY(dmq_machine_push(m, node));
done:
    return st;
}

static dmq_status do_global(dmq_machine *m)
{
    dmq_status st = DMQ_OK;
    dmq_pickle_node module = DMQ_PICKLE_NO_NODE, name = DMQ_PICKLE_NO_NODE;

    DMQ_TRY(line(&module, m));
    DMQ_TRY(line(&name, m));
    DMQ_TRY(push_pair(m, DMQ_PICKLE_GLOBAL, module, name));
done:
    return st;
}

static dmq_status do_stack_global(dmq_machine *m)
{
    dmq_status st = DMQ_OK;
    dmq_pickle_node module, name;
    const dmq_pickle_cell *a, *b;

    DMQ_TRY(dmq_machine_pop(&name, m));
    DMQ_TRY(dmq_machine_pop(&module, m));
    a = &m->p->node[module];
    b = &m->p->node[name];
    if (a->kind != DMQ_PICKLE_TEXT || b->kind != DMQ_PICKLE_TEXT ||
        a->is.bytes.size > GLOBAL_LIMIT || b->is.bytes.size > GLOBAL_LIMIT)
        return dmq_machine_refuse(m, "the name of a class is not a text of at most 256 bytes");
    DMQ_TRY(push_pair(m, DMQ_PICKLE_GLOBAL, module, name));
done:
    return st;
}

/* ------------------------------------------------------------------ opcodes that build */

static dmq_status do_tuple(dmq_machine *m, uint32_t n)
{
    dmq_status st = DMQ_OK;
    dmq_pickle_node node;

    if (n > dmq_machine_free_height(m))
        return dmq_machine_refuse(m, "it takes a value from an empty stack");
    DMQ_TRY(dmq_machine_make(&node, m, DMQ_PICKLE_TUPLE));
    m->height -= n;
    for (uint32_t i = 0; i < n; i++)
        DMQ_TRY(dmq_machine_add_item(m, node, DMQ_PICKLE_NO_NODE, m->stack[m->height + i]));
    DMQ_TRY(dmq_machine_push(m, node));
done:
    return st;
}

/* All values above the mark as a new TUPLE or SET. */
static dmq_status do_marked(dmq_machine *m, dmq_pickle_kind kind)
{
    dmq_status st = DMQ_OK;
    dmq_pickle_node node;
    uint32_t n;

    DMQ_TRY(dmq_machine_pop_mark(&n, m));
    DMQ_TRY(dmq_machine_make(&node, m, kind));
    for (uint32_t i = 0; i < n; i++)
        DMQ_TRY(dmq_machine_add_item(m, node, DMQ_PICKLE_NO_NODE, m->stack[m->height + i]));
    DMQ_TRY(dmq_machine_push(m, node));
done:
    return st;
}

/* n values that were above stack[height] go into the list, set or call under them. */
static dmq_status append(dmq_machine *m, uint32_t n, dmq_pickle_kind wanted)
{
    dmq_status st = DMQ_OK;
    dmq_pickle_node to;
    int kind;

    DMQ_TRY(dmq_machine_top(&to, m));
    kind = m->p->node[to].kind;
    if (kind != (int)wanted && kind != DMQ_PICKLE_CALL)
        return dmq_machine_refuse(m, "it adds to something that is no list");
    for (uint32_t i = 0; i < n; i++)
        DMQ_TRY(dmq_machine_add_item(m, to, DMQ_PICKLE_NO_NODE, m->stack[m->height + i]));
done:
    return st;
}

static dmq_status set_items(dmq_machine *m, uint32_t n)
{
    dmq_status st = DMQ_OK;
    dmq_pickle_node to;
    int kind;

    if (n % 2 != 0)
        return dmq_machine_refuse(m, "a dictionary is given a key without a value");
    DMQ_TRY(dmq_machine_top(&to, m));
    kind = m->p->node[to].kind;
    if (kind != DMQ_PICKLE_DICT && kind != DMQ_PICKLE_CALL)
        return dmq_machine_refuse(m, "it sets a key of something that is no dictionary");
    for (uint32_t i = 0; i < n; i += 2)
        DMQ_TRY(dmq_machine_add_item(m, to, m->stack[m->height + i], m->stack[m->height + i + 1]));
done:
    return st;
}

/* Take n values for append or set_items; those of a mark, when marked. */
static dmq_status take(uint32_t *n, dmq_machine *m, int marked)
{
    if (marked)
        return dmq_machine_pop_mark(n, m);
    if (*n > dmq_machine_free_height(m))
        return dmq_machine_refuse(m, "it takes a value from an empty stack");
    m->height -= *n;
    return DMQ_OK;
}

static dmq_status do_call(dmq_machine *m)
{
    dmq_status st = DMQ_OK;
    dmq_pickle_node callable, args;

    DMQ_TRY(dmq_machine_pop(&args, m));
    DMQ_TRY(dmq_machine_pop(&callable, m));
    if (m->p->node[callable].kind != DMQ_PICKLE_GLOBAL &&
        m->p->node[callable].kind != DMQ_PICKLE_CALL)
        return dmq_machine_refuse(m, "it calls something that is no name");
    if (m->p->node[args].kind != DMQ_PICKLE_TUPLE)
        return dmq_machine_refuse(m, "it calls with something that is no tuple");
    DMQ_TRY(push_pair(m, DMQ_PICKLE_CALL, callable, args));
done:
    return st;
}

/* The state that an object would be given: nobody looks at it. */
static dmq_status do_build(dmq_machine *m)
{
    dmq_status st = DMQ_OK;
    dmq_pickle_node state, object;

    DMQ_TRY(dmq_machine_pop(&state, m));
    DMQ_TRY(dmq_machine_top(&object, m));
    if (m->p->node[object].kind != DMQ_PICKLE_CALL)
        st = dmq_machine_refuse(m, "it gives a state to something that is no object");
done:
    return st;
}

static dmq_status do_pop(dmq_machine *m)
{
    dmq_pickle_node node;

    if (m->n_marks > 0 && dmq_machine_free_height(m) == 0) {
        m->n_marks--;
        return DMQ_OK;
    }
    return dmq_machine_pop(&node, m);
}

static dmq_status do_mark(dmq_machine *m)
{
    if (m->n_marks == DMQ_MACHINE_MARKS)
        return dmq_machine_refuse(m, "it sets more than 1024 marks");
    m->mark[m->n_marks++] = m->height;
    return DMQ_OK;
}

static dmq_status do_persistent(dmq_machine *m)
{
    dmq_status st = DMQ_OK;
    dmq_pickle_node told;

    DMQ_TRY(dmq_machine_pop(&told, m));
    DMQ_TRY(push_pair(m, DMQ_PICKLE_PERSISTENT, told, DMQ_PICKLE_NO_NODE));
done:
    return st;
}

static dmq_status do_stop(dmq_machine *m)
{
    dmq_status st = DMQ_OK;

    if (m->n_marks != 0 || m->height != 1)
        return dmq_machine_refuse(m, "it ends with other than one value");
    DMQ_TRY(dmq_machine_pop(&m->p->root, m));
    m->p->size = m->at;
done:
    return st;
}

/* ------------------------------------------------------------------ the dmq_machine */

static dmq_status unknown(dmq_machine *m, int opcode)
{
    char text[96];

    (void)snprintf(text, sizeof text, "opcode 0x%02x is not one that PyTorch writes",
                   (unsigned)opcode);
    return dmq_machine_refuse(m, text);
}

/* Values that stand in the pickle. */
static dmq_status run_value(dmq_machine *m, int opcode)
{
    dmq_status st = DMQ_OK;
    uint64_t n = 0;

    switch (opcode) {
    case OP_NONE:
        return dmq_machine_push_new(m, DMQ_PICKLE_NONE);
    case OP_NEWTRUE:
    case OP_NEWFALSE:
        return dmq_machine_push_int(m, DMQ_PICKLE_BOOL, opcode == OP_NEWTRUE);
    case OP_BININT:
        DMQ_TRY(dmq_machine_number(&n, m, 4));
        return dmq_machine_push_int(m, DMQ_PICKLE_INT, (int32_t)(uint32_t)n);
    case OP_BININT1:
    case OP_BININT2:
        DMQ_TRY(dmq_machine_number(&n, m, opcode == OP_BININT1 ? 1 : 2));
        return dmq_machine_push_int(m, DMQ_PICKLE_INT, (int64_t)n);
    case OP_LONG1:
        return push_long(m, 1);
    case OP_LONG4:
        return push_long(m, 4);
    case OP_BINFLOAT:
        return push_real(m);
    case OP_SHORT_BINUNICODE:
    case OP_SHORT_BINSTRING:
        return push_bytes(m, DMQ_PICKLE_TEXT, 1);
    case OP_BINUNICODE:
    case OP_BINSTRING: /* its length has a sign; a negative one is far beyond 1 MiB */
        return push_bytes(m, DMQ_PICKLE_TEXT, 4);
    case OP_BINUNICODE8:
        return push_bytes(m, DMQ_PICKLE_TEXT, 8);
    case OP_SHORT_BINBYTES:
        return push_bytes(m, DMQ_PICKLE_BYTES, 1);
    case OP_BINBYTES:
        return push_bytes(m, DMQ_PICKLE_BYTES, 4);
    case OP_BINBYTES8:
        return push_bytes(m, DMQ_PICKLE_BYTES, 8);
    case OP_GLOBAL:
        return do_global(m);
    default:
        return unknown(m, opcode);
    }
done:
    return st;
}

/* What the stack and the memo are used for. */
static dmq_status run_memo(dmq_machine *m, int opcode)
{
    dmq_status st = DMQ_OK;
    uint64_t n = 0;
    uint32_t count;

    switch (opcode) {
    case OP_MARK:
        return do_mark(m);
    case OP_POP:
        return do_pop(m);
    case OP_POP_MARK:
        return dmq_machine_pop_mark(&count, m);
    case OP_BINPUT:
        DMQ_TRY(dmq_machine_number(&n, m, 1));
        return dmq_machine_put(m, n);
    case OP_LONG_BINPUT:
        DMQ_TRY(dmq_machine_number(&n, m, 4));
        return dmq_machine_put(m, n);
    case OP_MEMOIZE:
        return dmq_machine_put(m, m->n_memo);
    case OP_BINGET:
        DMQ_TRY(dmq_machine_number(&n, m, 1));
        return dmq_machine_get(m, n);
    case OP_LONG_BINGET:
        DMQ_TRY(dmq_machine_number(&n, m, 4));
        return dmq_machine_get(m, n);
    case OP_FRAME:
        DMQ_TRY(dmq_machine_number(&n, m, 8));
        if (n > m->p->limit - m->at)
            return dmq_machine_refuse(m, "a frame reaches beyond its end");
        break;
    default:
        return run_value(m, opcode);
    }
done:
    return st;
}

static dmq_status run_opcode(dmq_machine *m, int opcode)
{
    dmq_status st = DMQ_OK;
    uint32_t n = 0;

    switch (opcode) {
    case OP_EMPTY_TUPLE:
        return do_tuple(m, 0);
    case OP_TUPLE1:
    case OP_TUPLE2:
    case OP_TUPLE3:
        return do_tuple(m, (uint32_t)(opcode - OP_TUPLE1 + 1));
    case OP_TUPLE:
        return do_marked(m, DMQ_PICKLE_TUPLE);
    case OP_FROZENSET:
        return do_marked(m, DMQ_PICKLE_SET);
    case OP_EMPTY_LIST:
        return dmq_machine_push_new(m, DMQ_PICKLE_LIST);
    case OP_EMPTY_DICT:
        return dmq_machine_push_new(m, DMQ_PICKLE_DICT);
    case OP_EMPTY_SET:
        return dmq_machine_push_new(m, DMQ_PICKLE_SET);
    case OP_APPEND:
    case OP_APPENDS:
        n = 1;
        DMQ_TRY(take(&n, m, opcode == OP_APPENDS));
        return append(m, n, DMQ_PICKLE_LIST);
    case OP_ADDITEMS:
        DMQ_TRY(take(&n, m, 1));
        return append(m, n, DMQ_PICKLE_SET);
    case OP_SETITEM:
    case OP_SETITEMS:
        n = 2;
        DMQ_TRY(take(&n, m, opcode == OP_SETITEMS));
        return set_items(m, n);
    case OP_REDUCE:
    case OP_NEWOBJ:
        return do_call(m);
    case OP_BUILD:
        return do_build(m);
    case OP_BINPERSID:
        return do_persistent(m);
    case OP_STACK_GLOBAL:
        return do_stack_global(m);
    case OP_STOP:
        return do_stop(m);
    default:
        return run_memo(m, opcode);
    }
done:
    return st;
}

static dmq_status run(dmq_machine *m)
{
    const unsigned char *b;
    dmq_status st = DMQ_OK;
    int opcode = 0;

    DMQ_TRY(dmq_machine_need(&b, m, 2));
    if (b[0] != OP_PROTO || b[1] < 2 || b[1] > 5)
        return dmq_machine_refuse(m, "it is no pickle of protocol 2 to 5");
    while (opcode != OP_STOP) {
        m->opcode = m->at;
        DMQ_TRY(dmq_machine_need(&b, m, 1));
        opcode = *b;
        DMQ_TRY(run_opcode(m, opcode));
    }
done:
    return st;
}

dmq_status dmq_pickle_run(dmq_pickle *p)
{
    dmq_status st = DMQ_OK;
    dmq_machine *m = NULL;

    DMQ_TRY(dmq_alloc((void **)&m, 1, sizeof *m));
    m->p = p;
    DMQ_TRY(run(m));
done:
    if (m) {
        dmq_free(m->stack);
        dmq_free(m->memo);
    }
    dmq_free(m);
    return st;
}
