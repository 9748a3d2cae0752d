/**
 * The machine of pickles, without its opcodes (pickle_run.c): bytes, stack, marks, memo, and the making of nodes. Every
 * bound that is needed so that a pickle cannot ask for more than it is long is kept here. For pickle_run.c only.
 *
 * All fail with EDATA at the opcode under way, or ENOMEM, EIO.
 */
#ifndef DMQ_IO_PICKLE_MACHINE_H
#define DMQ_IO_PICKLE_MACHINE_H

#include "io/pickle_inner.h"

enum { DMQ_MACHINE_MARKS = 1024 };

/** The machine under way. */
typedef struct dmq_machine {
    dmq_pickle *p;
    uint64_t at;     /**< of the next byte */
    uint64_t opcode; /**< of the opcode under way */
    dmq_pickle_node *stack;
    uint32_t height, room_stack;
    uint32_t mark[DMQ_MACHINE_MARKS]; /**< heights */
    uint32_t n_marks;
    dmq_pickle_node *memo; /**< node + 1; 0: none */
    uint32_t room_memo, n_memo;
} dmq_machine;

dmq_status dmq_machine_refuse(const dmq_machine *m, const char *what);

/** The next n bytes, good until the next call. */
dmq_status dmq_machine_need(const unsigned char **out, dmq_machine *m, uint64_t n);

/** A little-endian number of n <= 8 bytes. */
dmq_status dmq_machine_number(uint64_t *out, dmq_machine *m, int n);

/** A new node; what it holds is the caller's to set. */
dmq_status dmq_machine_make(dmq_pickle_node *out, dmq_machine *m, dmq_pickle_kind kind);

/** One that holds the bytes from `at` of the pickle, which have been read. */
dmq_status dmq_machine_make_bytes(dmq_pickle_node *out, dmq_machine *m, dmq_pickle_kind kind,
                                  uint64_t at, uint64_t size);

/** Behind the last item of a node; key NO_NODE: none. */
dmq_status dmq_machine_add_item(dmq_machine *m, dmq_pickle_node to, dmq_pickle_node key,
                                dmq_pickle_node value);

dmq_status dmq_machine_push(dmq_machine *m, dmq_pickle_node node);

/** A new node is made and pushed. */
dmq_status dmq_machine_push_new(dmq_machine *m, dmq_pickle_kind kind);
dmq_status dmq_machine_push_int(dmq_machine *m, dmq_pickle_kind kind, int64_t value);

/** Values above the last mark; below it nothing may be taken. */
uint32_t dmq_machine_free_height(const dmq_machine *m);

dmq_status dmq_machine_pop(dmq_pickle_node *out, dmq_machine *m);

/** The values above the last mark become *n values at stack[height]: they are taken, the mark too. */
dmq_status dmq_machine_pop_mark(uint32_t *n, dmq_machine *m);

dmq_status dmq_machine_top(dmq_pickle_node *out, dmq_machine *m);

/** Remember the top of the stack under a number, and push what is remembered. */
dmq_status dmq_machine_put(dmq_machine *m, uint64_t id);
dmq_status dmq_machine_get(dmq_machine *m, uint64_t id);

#endif
