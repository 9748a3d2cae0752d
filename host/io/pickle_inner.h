/** What the two halves of the pickle reader share: the graph (pickle.c) and the machine (pickle_run.c). */
#ifndef DMQ_IO_PICKLE_INNER_H
#define DMQ_IO_PICKLE_INNER_H

#include "io/pickle.h"

/** What a node holds, by its kind:
 *   BOOL, INT                whole
 *   REAL                     real
 *   TEXT, BYTES, BIG_INT     bytes at..at + size of the pickle
 *   GLOBAL                   a: module, b: name
 *   CALL                     a: callable, b: arguments; items
 *   PERSISTENT               a: what tells it
 *   TUPLE, LIST, DICT, SET   items
 */
typedef struct dmq_pickle_cell {
    union {
        int64_t whole;
        double real;
        struct {
            uint32_t at, size;
        } bytes;
        struct {
            dmq_pickle_node a, b;
        } pair;
    } is;
    uint32_t first, last, length; /* items */
    uint8_t kind;
} dmq_pickle_cell;

/** A member of a list, dictionary, ... */
typedef struct dmq_pickle_item {
    dmq_pickle_node key, value;
    uint32_t next;
} dmq_pickle_item;

/** What was read. */
struct dmq_pickle {
    const dmq_input *input;
    const char *what;
    uint64_t offset, limit;
    unsigned char *byte; /* the first `have` bytes of the pickle */
    uint64_t have, room_bytes, size;
    dmq_pickle_cell *node;
    uint32_t n_nodes, room_nodes;
    dmq_pickle_item *item;
    uint32_t n_items, room_items;
    dmq_pickle_node root;
};

/** Run it from its first byte to STOP: fills nodes, items, root and size. */
dmq_status dmq_pickle_run(dmq_pickle *pickle);

#endif
