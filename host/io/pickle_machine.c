/* What the machine of pickles works with: its bytes, its stack and memo, the nodes that it makes. */
#include "io/pickle_machine.h"

#include "base/memory.h"

#include <string.h>

enum {
    STACK_LIMIT = 1 << 20,
    MEMO_LIMIT = 1 << 22, /* entries in use */
    MEMO_ID_LIMIT = 1 << 24,
    NODE_LIMIT = 1 << 24,
    ITEM_LIMIT = 1 << 25,
    FIRST_PIECE = 1 << 12
};

#define SIZE_LIMIT (UINT64_C(256) << 20)

dmq_status dmq_machine_refuse(const dmq_machine *m, const char *what)
{
    return dmq_fail(DMQ_EDATA, "%s: %s: byte %llu: %s", dmq_input_path(m->p->input), m->p->what,
                    (unsigned long long)m->opcode, what);
}

/* ------------------------------------------------------------------ bytes */

/* Have n more bytes in memory; what is read ahead doubles, so that a short pickle in a long file stays cheap. */
dmq_status dmq_machine_need(const unsigned char **out, dmq_machine *m, uint64_t n)
{
    dmq_pickle *p = m->p;
    dmq_status st = DMQ_OK;
    uint64_t want, limit = p->limit < SIZE_LIMIT ? p->limit : SIZE_LIMIT;

    if (n > limit || m->at > limit - n) {
        return dmq_machine_refuse(m, p->limit > SIZE_LIMIT ? "it goes on for more than 256 MiB"
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
dmq_status dmq_machine_number(uint64_t *out, dmq_machine *m, int n)
{
    const unsigned char *b = NULL;
    dmq_status st = dmq_machine_need(&b, m, (uint64_t)n);

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

dmq_status dmq_machine_make(dmq_pickle_node *out, dmq_machine *m, dmq_pickle_kind kind)
{
    dmq_pickle *p = m->p;
    dmq_status st = DMQ_OK;

    if (p->n_nodes == NODE_LIMIT)
        return dmq_machine_refuse(m, "it has more than 2^24 values");
    DMQ_TRY(grow((void **)&p->node, p->n_nodes, &p->room_nodes, 64, sizeof *p->node));
    *out = p->n_nodes++;
    p->node[*out] = (dmq_pickle_cell){ .kind = (uint8_t)kind,
                                       .first = DMQ_PICKLE_NO_NODE,
                                       .last = DMQ_PICKLE_NO_NODE };
done:
    return st;
}

dmq_status dmq_machine_push(dmq_machine *m, dmq_pickle_node node)
{
    dmq_status st = DMQ_OK;

    if (m->height == STACK_LIMIT)
        return dmq_machine_refuse(m, "its stack grows beyond 2^20 values");
    DMQ_TRY(grow((void **)&m->stack, m->height, &m->room_stack, 64, sizeof *m->stack));
    m->stack[m->height++] = node;
done:
    return st;
}

/* Values above the last mark; below it nothing may be taken. */
uint32_t dmq_machine_free_height(const dmq_machine *m)
{
    return m->height - (m->n_marks ? m->mark[m->n_marks - 1] : 0);
}

dmq_status dmq_machine_pop(dmq_pickle_node *out, dmq_machine *m)
{
    *out = 0;
    if (dmq_machine_free_height(m) == 0)
        return dmq_machine_refuse(m, "it takes a value from an empty stack");
    *out = m->stack[--m->height];
    return DMQ_OK;
}

/* The values above the last mark become *n values at stack[height]: they are taken, the mark too. */
dmq_status dmq_machine_pop_mark(uint32_t *n, dmq_machine *m)
{
    if (m->n_marks == 0)
        return dmq_machine_refuse(m, "it goes back to a mark that is not there");
    *n = dmq_machine_free_height(m);
    m->height = m->mark[--m->n_marks];
    return DMQ_OK;
}

dmq_status dmq_machine_top(dmq_pickle_node *out, dmq_machine *m)
{
    *out = 0;
    if (dmq_machine_free_height(m) == 0)
        return dmq_machine_refuse(m, "it looks at the top of an empty stack");
    *out = m->stack[m->height - 1];
    return DMQ_OK;
}

dmq_status dmq_machine_add_item(dmq_machine *m, dmq_pickle_node to, dmq_pickle_node key,
                                dmq_pickle_node value)
{
    dmq_pickle *p = m->p;
    dmq_status st = DMQ_OK;
    uint32_t i;

    if (p->n_items == ITEM_LIMIT)
        return dmq_machine_refuse(m, "its lists have more than 2^25 members");
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

dmq_status dmq_machine_push_new(dmq_machine *m, dmq_pickle_kind kind)
{
    dmq_status st = DMQ_OK;
    dmq_pickle_node node;

    DMQ_TRY(dmq_machine_make(&node, m, kind));
    DMQ_TRY(dmq_machine_push(m, node));
done:
    return st;
}

dmq_status dmq_machine_push_int(dmq_machine *m, dmq_pickle_kind kind, int64_t value)
{
    dmq_status st = DMQ_OK;
    dmq_pickle_node node;

    DMQ_TRY(dmq_machine_make(&node, m, kind));
    m->p->node[node].is.whole = value;
    DMQ_TRY(dmq_machine_push(m, node));
done:
    return st;
}

dmq_status dmq_machine_make_bytes(dmq_pickle_node *out, dmq_machine *m, dmq_pickle_kind kind,
                                  uint64_t at, uint64_t size)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_machine_make(out, m, kind));
    m->p->node[*out].is.bytes.at = (uint32_t)at;
    m->p->node[*out].is.bytes.size = (uint32_t)size;
done:
    return st;
}

/* ------------------------------------------------------------------ the memo */

dmq_status dmq_machine_put(dmq_machine *m, uint64_t id)
{
    dmq_status st = DMQ_OK;
    dmq_pickle_node node;

    DMQ_TRY(dmq_machine_top(&node, m));
    /* Picklers count up, two bytes or more an entry: a number beyond the bytes read is made up. */
    if (id > MEMO_ID_LIMIT || id > m->at)
        return dmq_machine_refuse(m, "it remembers a value under a number that is out of reach");
    if (id >= m->room_memo) {
        uint32_t room = m->room_memo ? m->room_memo : 64;

        while (id >= room)
            room *= 2;
        DMQ_TRY(dmq_grow((void **)&m->memo, m->room_memo, room, sizeof *m->memo));
        m->room_memo = room;
    }
    m->n_memo += m->memo[id] == 0;
    if (m->n_memo > MEMO_LIMIT)
        return dmq_machine_refuse(m, "it remembers more than 2^22 values");
    m->memo[id] = node + 1;
done:
    return st;
}

dmq_status dmq_machine_get(dmq_machine *m, uint64_t id)
{
    if (id >= m->room_memo || m->memo[id] == 0)
        return dmq_machine_refuse(m, "it asks for a value that it has not remembered");
    return dmq_machine_push(m, m->memo[id] - 1);
}
