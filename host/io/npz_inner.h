/**
 * What npz.c and npz_header.c share.
 */
#ifndef DMQ_IO_NPZ_INNER_H
#define DMQ_IO_NPZ_INNER_H

#include "io/npz.h"

enum { DMQ_NPZ_KINDS = 5 };

typedef struct dmq_npz_kind {
    const char *descr, *word; /**< "<f4", "f4" */
    size_t size;              /**< bytes of a number */
} dmq_npz_kind;

/** In the order of dmq_npz_type. */
extern const dmq_npz_kind dmq_npz_kinds[DMQ_NPZ_KINDS];

/** {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } and nothing else; what is wrong, or NULL. */
const char *dmq_npz_parse(dmq_npz_info *info, const char *p);

#endif
