/**
 * Python pickles, read as what they are: a program for a stack machine. It is run on passive values; nothing is
 * imported, called or made, whatever it asks for.
 *
 * The result is a graph of nodes, told by numbers. A call (REDUCE, NEWOBJ) stays a call: a node with the name of
 * what would be called, its arguments, and what was put into the result afterwards. Whoever knows that
 * `collections.OrderedDict` makes a dictionary (torch_file.h) looks at it that way.
 *
 * A graph may have cycles, and may mean exponentially more than it holds; whoever walks it bounds his steps. What
 * it holds is bounded by the file's length: nodes, memo and strings are never more than bytes that were read.
 * Opcodes outside the subset that PyTorch writes are refused, with the byte at which they stand.
 *
 * @see specs: models.md 4.3; CPython's pickletools
 */
#ifndef DMQ_IO_PICKLE_H
#define DMQ_IO_PICKLE_H

#include "io/input.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum dmq_pickle_kind {
    DMQ_PICKLE_NONE,
    DMQ_PICKLE_BOOL,
    DMQ_PICKLE_INT,
    DMQ_PICKLE_BIG_INT, /**< of more than 64 bits: its bytes, two's complement, little-endian */
    DMQ_PICKLE_REAL,
    DMQ_PICKLE_TEXT,
    DMQ_PICKLE_BYTES,
    DMQ_PICKLE_TUPLE,
    DMQ_PICKLE_LIST,
    DMQ_PICKLE_DICT,
    DMQ_PICKLE_SET,
    DMQ_PICKLE_GLOBAL,    /**< a name: module and attribute */
    DMQ_PICKLE_CALL,      /**< of a callable with arguments */
    DMQ_PICKLE_PERSISTENT /**< something outside the pickle, told by a value */
} dmq_pickle_kind;

/** A node: 0 .. dmq_pickle_count - 1. */
typedef uint32_t dmq_pickle_node;

/** Also the end of items, and the key of an item that has none. */
#define DMQ_PICKLE_NO_NODE UINT32_MAX

typedef struct dmq_pickle dmq_pickle;

/**
 * Read the pickle that begins at offset and has at most limit bytes.
 *
 * @param what  names it in messages: "archive/data.pkl"
 * @return      EDATA with path, what, and the byte from its start; ENOMEM, EIO
 */
dmq_status dmq_pickle_open(dmq_pickle **out, const dmq_input *input, uint64_t offset,
                           uint64_t limit, const char *what);

/** Takes NULL. */
void dmq_pickle_close(dmq_pickle *pickle);

/** Bytes that it has, its end included. */
uint64_t dmq_pickle_size(const dmq_pickle *pickle);

dmq_pickle_node dmq_pickle_root(const dmq_pickle *pickle);

uint32_t dmq_pickle_count(const dmq_pickle *pickle);

dmq_pickle_kind dmq_pickle_kind_of(const dmq_pickle *pickle, dmq_pickle_node node);

/** Of an INT or BOOL; false when it is neither. */
bool dmq_pickle_int(int64_t *out, const dmq_pickle *pickle, dmq_pickle_node node);

/** The bytes of a TEXT, BYTES or BIG_INT, not ended by NUL; NULL of anything else. The pickle's. */
const char *dmq_pickle_text(size_t *size, const dmq_pickle *pickle, dmq_pickle_node node);

/** Whether it is a TEXT of this content. */
bool dmq_pickle_is_text(const dmq_pickle *pickle, dmq_pickle_node node, const char *text);

/** Bytes that somebody else chose, for messages: what is no printable ASCII becomes '?', cut to the room. */
void dmq_pickle_plain(char *out, size_t room, const char *text, size_t size);

/** Module and name of a GLOBAL, both TEXT; false when it is none. */
bool dmq_pickle_global(dmq_pickle_node *module, dmq_pickle_node *name, const dmq_pickle *pickle,
                       dmq_pickle_node node);

/** Whether it is that GLOBAL. */
bool dmq_pickle_is_global(const dmq_pickle *pickle, dmq_pickle_node node, const char *module,
                          const char *name);

/** Callable and arguments of a CALL; false when it is none. */
bool dmq_pickle_call(dmq_pickle_node *callable, dmq_pickle_node *args, const dmq_pickle *pickle,
                     dmq_pickle_node node);

/** The value that tells a PERSISTENT; NO_NODE when it is none. */
dmq_pickle_node dmq_pickle_persistent(const dmq_pickle *pickle, dmq_pickle_node node);

/** How many items a TUPLE, LIST, DICT, SET or CALL holds; 0 of anything else. */
uint32_t dmq_pickle_length(const dmq_pickle *pickle, dmq_pickle_node node);

/** Its items, one after the other: for (i = first(p, n); i != DMQ_PICKLE_NO_NODE; i = next(p, i)). */
uint32_t dmq_pickle_first(const dmq_pickle *pickle, dmq_pickle_node node);
uint32_t dmq_pickle_next(const dmq_pickle *pickle, uint32_t item);

/** Key (NO_NODE: it has none) and value of an item. */
dmq_pickle_node dmq_pickle_key(const dmq_pickle *pickle, uint32_t item);
dmq_pickle_node dmq_pickle_value(const dmq_pickle *pickle, uint32_t item);

/** The i-th of a TUPLE or LIST; NO_NODE when it is none, or shorter. i is small. */
dmq_pickle_node dmq_pickle_at(const dmq_pickle *pickle, dmq_pickle_node node, uint32_t i);

#endif
