/* The stack machine: opcodes in, nodes out. */
#include "base/memory.h"
#include "io/pickle_inner.h"

#include <stdio.h>
#include <string.h>

enum {
    STACK_LIMIT = 1 << 20,
    MARK_LIMIT = 1024,
    MEMO_LIMIT = 1 << 22, /* entries in use */
    MEMO_ID_LIMIT = 1 << 24,
    NODE_LIMIT = 1 << 24,
    ITEM_LIMIT = 1 << 25,
    TEXT_LIMIT = 1 << 20,
    GLOBAL_LIMIT = 256, /* bytes of a module's or a class's name */
    FIRST_PIECE = 1 << 12
};

#define SIZE_LIMIT (UINT64_C(256) << 20)

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

typedef struct machine {
    dmq_pickle *p;
    uint64_t at;     /* of the next byte */
    uint64_t opcode; /* of the opcode under way */
    dmq_pickle_node *stack;
    uint32_t height, room_stack;
    uint32_t mark[MARK_LIMIT]; /* heights */
    uint32_t n_marks;
    dmq_pickle_node *memo; /* node + 1; 0: none */
    uint32_t room_memo, n_memo;
} machine;

static dmq_status refuse(const machine *m, const char *what)
{
    return dmq_fail(DMQ_EDATA, "%s: %s: byte %llu: %s", dmq_input_path(m->p->input), m->p->what,
                    (unsigned long long)m->opcode, what);
}

/* ------------------------------------------------------------------ bytes */

/* Have n more bytes in memory; what is read ahead doubles, so that a short pickle in a long file stays cheap. */
static dmq_status need(const unsigned char **out, machine *m, uint64_t n)
{
    dmq_pickle *p = m->p;
    dmq_status st = DMQ_OK;
    uint64_t want, limit = p->limit < SIZE_LIMIT ? p->limit : SIZE_LIMIT;

    if (n > limit || m->at > limit - n) {
        return refuse(m, p->limit > SIZE_LIMIT ? "it goes on for more than 256 MiB"
                                               : "it is cut short");
    }
    if (m->at + n > p->have) {
        want = p->have ? 2 * p->have : FIRST_PIECE;
        want = want < m->at + n ? m->at + n : want;
        want = want < limit ? want : limit;
        if (want > p->room_bytes) {
            DMQ_TRY(dmq_grow((void **)&p->byte, (size_t)p->have, (size_t)want, 1));
            p->room_bytes = want;
        }
        DMQ_TRY(dmq_input_read(p->byte + p->have, p->input, want - p->have, p->offset + p->have));
        p->have = want;
    }
    *out = p->byte + m->at;
    m->at += n;
done:
    return st;
}

/* A little-endian number of n <= 8 bytes. */
static dmq_status number(uint64_t *out, machine *m, int n)
{
    const unsigned char *b = NULL;
    dmq_status st = need(&b, m, (uint64_t)n);

    *out = 0;
    for (int i = n - 1; st == DMQ_OK && i >= 0; i--)
        *out = *out << 8 | b[i];
    return st;
}

/* ------------------------------------------------------------------ nodes and items */

/* Room for one more of a list that doubles. */
static dmq_status grow(void **list, uint32_t n, uint32_t *room, uint32_t first, size_t size)
{
    dmq_status st = DMQ_OK;

    if (n == *room) {
        uint32_t more = n ? 2 * n : first;

        DMQ_TRY(dmq_grow(list, n, more, size));
        *room = more;
    }
done:
    return st;
}

static dmq_status make(dmq_pickle_node *out, machine *m, dmq_pickle_kind kind)
{
    dmq_pickle *p = m->p;
    dmq_status st = DMQ_OK;

    if (p->n_nodes == NODE_LIMIT)
        return refuse(m, "it has more than 2^24 values");
    DMQ_TRY(grow((void **)&p->node, p->n_nodes, &p->room_nodes, 64, sizeof *p->node));
    *out = p->n_nodes++;
    p->node[*out] = (dmq_pickle_cell){ .kind = (uint8_t)kind,
                                       .first = DMQ_PICKLE_NO_NODE,
                                       .last = DMQ_PICKLE_NO_NODE };
done:
    return st;
}

static dmq_status push(machine *m, dmq_pickle_node node)
{
    dmq_status st = DMQ_OK;

    if (m->height == STACK_LIMIT)
        return refuse(m, "its stack grows beyond 2^20 values");
    DMQ_TRY(grow((void **)&m->stack, m->height, &m->room_stack, 64, sizeof *m->stack));
    m->stack[m->height++] = node;
done:
    return st;
}

/* Values above the last mark; below it nothing may be taken. */
static uint32_t free_height(const machine *m)
{
    return m->height - (m->n_marks ? m->mark[m->n_marks - 1] : 0);
}

static dmq_status pop(dmq_pickle_node *out, machine *m)
{
    *out = 0;
    if (free_height(m) == 0)
        return refuse(m, "it takes a value from an empty stack");
    *out = m->stack[--m->height];
    return DMQ_OK;
}

/* The values above the last mark become *n values at stack[height]: they are taken, the mark too. */
static dmq_status pop_mark(uint32_t *n, machine *m)
{
    if (m->n_marks == 0)
        return refuse(m, "it goes back to a mark that is not there");
    *n = free_height(m);
    m->height = m->mark[--m->n_marks];
    return DMQ_OK;
}

static dmq_status top(dmq_pickle_node *out, machine *m)
{
    *out = 0;
    if (free_height(m) == 0)
        return refuse(m, "it looks at the top of an empty stack");
    *out = m->stack[m->height - 1];
    return DMQ_OK;
}

static dmq_status add_item(machine *m, dmq_pickle_node to, dmq_pickle_node key,
                           dmq_pickle_node value)
{
    dmq_pickle *p = m->p;
    dmq_status st = DMQ_OK;
    uint32_t i;

    if (p->n_items == ITEM_LIMIT)
        return refuse(m, "its lists have more than 2^25 members");
    DMQ_TRY(grow((void **)&p->item, p->n_items, &p->room_items, 64, sizeof *p->item));
    i = p->n_items++;
    p->item[i] = (dmq_pickle_item){ key, value, DMQ_PICKLE_NO_NODE };
    if (p->node[to].last == DMQ_PICKLE_NO_NODE) {
        p->node[to].first = i;
    } else {
        p->item[p->node[to].last].next = i;
    }
    p->node[to].last = i;
    p->node[to].length++;
done:
    return st;
}

static dmq_status push_new(machine *m, dmq_pickle_kind kind)
{
    dmq_status st = DMQ_OK;
    dmq_pickle_node node;

    DMQ_TRY(make(&node, m, kind));
    DMQ_TRY(push(m, node));
done:
    return st;
}

static dmq_status push_int(machine *m, dmq_pickle_kind kind, int64_t value)
{
    dmq_status st = DMQ_OK;
    dmq_pickle_node node;

    DMQ_TRY(make(&node, m, kind));
    m->p->node[node].is.whole = value;
    DMQ_TRY(push(m, node));
done:
    return st;
}

static dmq_status make_bytes(dmq_pickle_node *out, machine *m, dmq_pickle_kind kind, uint64_t at,
                             uint64_t size)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(make(out, m, kind));
    m->p->node[*out].is.bytes.at = (uint32_t)at;
    m->p->node[*out].is.bytes.size = (uint32_t)size;
done:
    return st;
}

/* ------------------------------------------------------------------ opcodes with an argument */

/* A length of `width` bytes, and as many bytes behind it. */
static dmq_status push_bytes(machine *m, dmq_pickle_kind kind, int width)
{
    const unsigned char *bytes;
    dmq_status st = DMQ_OK;
    dmq_pickle_node node;
    uint64_t n, at;

    DMQ_TRY(number(&n, m, width));
    if (n > TEXT_LIMIT)
        return refuse(m, "a text of more than 1 MiB");
    at = m->at;
    DMQ_TRY(need(&bytes, m, n));
    DMQ_TRY(make_bytes(&node, m, kind, at, n));
    DMQ_TRY(push(m, node));
done:
    return st;
}

/* Two's complement of n bytes. */
static dmq_status push_long(machine *m, int width)
{
    const unsigned char *b;
    dmq_status st = DMQ_OK;
    dmq_pickle_node node;
    uint64_t n, at, value;

    DMQ_TRY(number(&n, m, width));
    if (n > TEXT_LIMIT)
        return refuse(m, "a number of more than 1 MiB");
    at = m->at;
    DMQ_TRY(need(&b, m, n));
    if (n > 8) {
        DMQ_TRY(make_bytes(&node, m, DMQ_PICKLE_BIG_INT, at, n));
        DMQ_TRY(push(m, node));
        goto done;
    }
    value = n > 0 && b[n - 1] & 0x80U ? UINT64_MAX : 0;
    for (uint64_t i = n; i > 0; i--)
        value = value << 8 | b[i - 1];
    DMQ_TRY(push_int(m, DMQ_PICKLE_INT, (int64_t)value));
done:
    return st;
}

static dmq_status push_real(machine *m)
{
    const unsigned char *b;
    dmq_status st = DMQ_OK;
    uint64_t bits = 0;
    double value;

    DMQ_TRY(need(&b, m, 8));
    for (int i = 0; i < 8; i++) /* the one big-endian number of the format */
        bits = bits << 8 | b[i];
    memcpy(&value, &bits, sizeof value);
    DMQ_TRY(push_new(m, DMQ_PICKLE_REAL));
    m->p->node[m->p->n_nodes - 1].is.real = value;
done:
    return st;
}

/* A line of ASCII, as a TEXT. */
static dmq_status line(dmq_pickle_node *out, machine *m)
{
    const unsigned char *c;
    dmq_status st = DMQ_OK;
    uint64_t at = m->at;

    for (;;) {
        DMQ_TRY(need(&c, m, 1));
        if (*c == '\n')
            break;
        if (*c < 0x20 || *c > 0x7e || m->at - at > GLOBAL_LIMIT)
            return refuse(m, "the name of a class is not ASCII, or longer than 256 bytes");
    }
    DMQ_TRY(make_bytes(out, m, DMQ_PICKLE_TEXT, at, m->at - 1 - at));
done:
    return st;
}

static dmq_status push_pair(machine *m, dmq_pickle_kind kind, dmq_pickle_node a, dmq_pickle_node b)
{
    dmq_status st = DMQ_OK;
    dmq_pickle_node node;

    DMQ_TRY(make(&node, m, kind));
    m->p->node[node].is.pair.a = a;
    m->p->node[node].is.pair.b = b;
    DMQ_TRY(push(m, node));
done:
    return st;
}

static dmq_status do_global(machine *m)
{
    dmq_status st = DMQ_OK;
    dmq_pickle_node module, name;

    DMQ_TRY(line(&module, m));
    DMQ_TRY(line(&name, m));
    DMQ_TRY(push_pair(m, DMQ_PICKLE_GLOBAL, module, name));
done:
    return st;
}

static dmq_status do_stack_global(machine *m)
{
    dmq_status st = DMQ_OK;
    dmq_pickle_node module, name;
    const dmq_pickle_cell *a, *b;

    DMQ_TRY(pop(&name, m));
    DMQ_TRY(pop(&module, m));
    a = &m->p->node[module];
    b = &m->p->node[name];
    if (a->kind != DMQ_PICKLE_TEXT || b->kind != DMQ_PICKLE_TEXT ||
        a->is.bytes.size > GLOBAL_LIMIT || b->is.bytes.size > GLOBAL_LIMIT)
        return refuse(m, "the name of a class is not a text of at most 256 bytes");
    DMQ_TRY(push_pair(m, DMQ_PICKLE_GLOBAL, module, name));
done:
    return st;
}

static dmq_status put(machine *m, uint64_t id)
{
    dmq_status st = DMQ_OK;
    dmq_pickle_node node;

    DMQ_TRY(top(&node, m));
    /* Picklers count up, two bytes or more an entry: a number beyond the bytes read is made up. */
    if (id > MEMO_ID_LIMIT || id > m->at)
        return refuse(m, "it remembers a value under a number that is out of reach");
    if (id >= m->room_memo) {
        uint32_t room = m->room_memo ? m->room_memo : 64;

        while (id >= room)
            room *= 2;
        DMQ_TRY(dmq_grow((void **)&m->memo, m->room_memo, room, sizeof *m->memo));
        m->room_memo = room;
    }
    m->n_memo += m->memo[id] == 0;
    if (m->n_memo > MEMO_LIMIT)
        return refuse(m, "it remembers more than 2^22 values");
    m->memo[id] = node + 1;
done:
    return st;
}

static dmq_status get(machine *m, uint64_t id)
{
    if (id >= m->room_memo || m->memo[id] == 0)
        return refuse(m, "it asks for a value that it has not remembered");
    return push(m, m->memo[id] - 1);
}

/* ------------------------------------------------------------------ opcodes that build */

static dmq_status do_tuple(machine *m, uint32_t n)
{
    dmq_status st = DMQ_OK;
    dmq_pickle_node node;

    if (n > free_height(m))
        return refuse(m, "it takes a value from an empty stack");
    DMQ_TRY(make(&node, m, DMQ_PICKLE_TUPLE));
    m->height -= n;
    for (uint32_t i = 0; i < n; i++)
        DMQ_TRY(add_item(m, node, DMQ_PICKLE_NO_NODE, m->stack[m->height + i]));
    DMQ_TRY(push(m, node));
done:
    return st;
}

/* All values above the mark as a new TUPLE or SET. */
static dmq_status do_marked(machine *m, dmq_pickle_kind kind)
{
    dmq_status st = DMQ_OK;
    dmq_pickle_node node;
    uint32_t n;

    DMQ_TRY(pop_mark(&n, m));
    DMQ_TRY(make(&node, m, kind));
    for (uint32_t i = 0; i < n; i++)
        DMQ_TRY(add_item(m, node, DMQ_PICKLE_NO_NODE, m->stack[m->height + i]));
    DMQ_TRY(push(m, node));
done:
    return st;
}

/* n values that were above stack[height] go into the list, set or call under them. */
static dmq_status append(machine *m, uint32_t n, dmq_pickle_kind wanted)
{
    dmq_status st = DMQ_OK;
    dmq_pickle_node to;
    int kind;

    DMQ_TRY(top(&to, m));
    kind = m->p->node[to].kind;
    if (kind != (int)wanted && kind != DMQ_PICKLE_CALL)
        return refuse(m, "it adds to something that is no list");
    for (uint32_t i = 0; i < n; i++)
        DMQ_TRY(add_item(m, to, DMQ_PICKLE_NO_NODE, m->stack[m->height + i]));
done:
    return st;
}

static dmq_status set_items(machine *m, uint32_t n)
{
    dmq_status st = DMQ_OK;
    dmq_pickle_node to;
    int kind;

    if (n % 2 != 0)
        return refuse(m, "a dictionary is given a key without a value");
    DMQ_TRY(top(&to, m));
    kind = m->p->node[to].kind;
    if (kind != DMQ_PICKLE_DICT && kind != DMQ_PICKLE_CALL)
        return refuse(m, "it sets a key of something that is no dictionary");
    for (uint32_t i = 0; i < n; i += 2)
        DMQ_TRY(add_item(m, to, m->stack[m->height + i], m->stack[m->height + i + 1]));
done:
    return st;
}

/* Take n values for append or set_items; those of a mark, when marked. */
static dmq_status take(uint32_t *n, machine *m, int marked)
{
    if (marked)
        return pop_mark(n, m);
    if (*n > free_height(m))
        return refuse(m, "it takes a value from an empty stack");
    m->height -= *n;
    return DMQ_OK;
}

static dmq_status do_call(machine *m)
{
    dmq_status st = DMQ_OK;
    dmq_pickle_node callable, args;

    DMQ_TRY(pop(&args, m));
    DMQ_TRY(pop(&callable, m));
    if (m->p->node[callable].kind != DMQ_PICKLE_GLOBAL &&
        m->p->node[callable].kind != DMQ_PICKLE_CALL)
        return refuse(m, "it calls something that is no name");
    if (m->p->node[args].kind != DMQ_PICKLE_TUPLE)
        return refuse(m, "it calls with something that is no tuple");
    DMQ_TRY(push_pair(m, DMQ_PICKLE_CALL, callable, args));
done:
    return st;
}

/* The state that an object would be given: nobody looks at it. */
static dmq_status do_build(machine *m)
{
    dmq_status st = DMQ_OK;
    dmq_pickle_node state, object;

    DMQ_TRY(pop(&state, m));
    DMQ_TRY(top(&object, m));
    if (m->p->node[object].kind != DMQ_PICKLE_CALL)
        st = refuse(m, "it gives a state to something that is no object");
done:
    return st;
}

static dmq_status do_pop(machine *m)
{
    dmq_pickle_node node;

    if (m->n_marks > 0 && free_height(m) == 0) {
        m->n_marks--;
        return DMQ_OK;
    }
    return pop(&node, m);
}

static dmq_status do_mark(machine *m)
{
    if (m->n_marks == MARK_LIMIT)
        return refuse(m, "it sets more than 1024 marks");
    m->mark[m->n_marks++] = m->height;
    return DMQ_OK;
}

static dmq_status do_persistent(machine *m)
{
    dmq_status st = DMQ_OK;
    dmq_pickle_node told;

    DMQ_TRY(pop(&told, m));
    DMQ_TRY(push_pair(m, DMQ_PICKLE_PERSISTENT, told, DMQ_PICKLE_NO_NODE));
done:
    return st;
}

static dmq_status do_stop(machine *m)
{
    dmq_status st = DMQ_OK;

    if (m->n_marks != 0 || m->height != 1)
        return refuse(m, "it ends with other than one value");
    DMQ_TRY(pop(&m->p->root, m));
    m->p->size = m->at;
done:
    return st;
}

/* ------------------------------------------------------------------ the machine */

static dmq_status unknown(machine *m, int opcode)
{
    char text[96];

    (void)snprintf(text, sizeof text, "opcode 0x%02x is not one that PyTorch writes",
                   (unsigned)opcode);
    return refuse(m, text);
}

/* Values that stand in the pickle. */
static dmq_status run_value(machine *m, int opcode)
{
    dmq_status st = DMQ_OK;
    uint64_t n = 0;

    switch (opcode) {
    case OP_NONE:
        return push_new(m, DMQ_PICKLE_NONE);
    case OP_NEWTRUE:
    case OP_NEWFALSE:
        return push_int(m, DMQ_PICKLE_BOOL, opcode == OP_NEWTRUE);
    case OP_BININT:
        DMQ_TRY(number(&n, m, 4));
        return push_int(m, DMQ_PICKLE_INT, (int32_t)(uint32_t)n);
    case OP_BININT1:
    case OP_BININT2:
        DMQ_TRY(number(&n, m, opcode == OP_BININT1 ? 1 : 2));
        return push_int(m, DMQ_PICKLE_INT, (int64_t)n);
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
static dmq_status run_memo(machine *m, int opcode)
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
        return pop_mark(&count, m);
    case OP_BINPUT:
        DMQ_TRY(number(&n, m, 1));
        return put(m, n);
    case OP_LONG_BINPUT:
        DMQ_TRY(number(&n, m, 4));
        return put(m, n);
    case OP_MEMOIZE:
        return put(m, m->n_memo);
    case OP_BINGET:
        DMQ_TRY(number(&n, m, 1));
        return get(m, n);
    case OP_LONG_BINGET:
        DMQ_TRY(number(&n, m, 4));
        return get(m, n);
    case OP_FRAME:
        DMQ_TRY(number(&n, m, 8));
        if (n > m->p->limit - m->at)
            return refuse(m, "a frame reaches beyond its end");
        break;
    default:
        return run_value(m, opcode);
    }
done:
    return st;
}

static dmq_status run_opcode(machine *m, int opcode)
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
        return push_new(m, DMQ_PICKLE_LIST);
    case OP_EMPTY_DICT:
        return push_new(m, DMQ_PICKLE_DICT);
    case OP_EMPTY_SET:
        return push_new(m, DMQ_PICKLE_SET);
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

static dmq_status run(machine *m)
{
    const unsigned char *b;
    dmq_status st = DMQ_OK;
    int opcode = 0;

    DMQ_TRY(need(&b, m, 2));
    if (b[0] != OP_PROTO || b[1] < 2 || b[1] > 5)
        return refuse(m, "it is no pickle of protocol 2 to 5");
    while (opcode != OP_STOP) {
        m->opcode = m->at;
        DMQ_TRY(need(&b, m, 1));
        opcode = *b;
        DMQ_TRY(run_opcode(m, opcode));
    }
done:
    return st;
}

dmq_status dmq_pickle_run(dmq_pickle *p)
{
    dmq_status st = DMQ_OK;
    machine *m = NULL;

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
