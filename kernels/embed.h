/**
 * Embeddings: rows of a learned table, and the sinusoidal embedding of a timestep.
 *
 *   lookup:   y[i] = table[index[i]]         backward: dtable[index[i]] += dy[i], in the order of i
 *   gather:   the same of several tables at once, for the rows of a batch
 *   time:     f_j = exp(-log(10000) j / divisor),  y = [sin(t f) | cos(t f)], or [cos | sin] if cos_first
 *             DDPM: divisor d/2 - 1, sin first.  openaimodel: divisor d/2, cos first.
 *             Accurate range reduction: t reaches 999 (tolerance 1e-4 because t f itself rounds).
 */
#ifndef DMQ_KERNELS_EMBED_H
#define DMQ_KERNELS_EMBED_H

#include "kernels/kernel.h"

typedef struct dmq_embed_args {
    const dmq_real *table; /**< (rows, d); forward, and the tangent with its tangent */
    const int *index;      /**< (n), 0..rows-1 */
    dmq_real *y;           /**< (n, d); forward */
    const dmq_real *dy;    /**< (n, d); backward */
    dmq_real *dtable;      /**< (rows, d); backward */
    int n, d, rows;
    int add; /**< of y, dtable */
} dmq_embed_args;

dmq_status dmq_embed_forward_ref(dmq_queue *queue, const dmq_embed_args *a);
dmq_status dmq_embed_backward_ref(dmq_queue *queue, const dmq_embed_args *a);

/* the embeddings of a network, of which each residual block has one */
enum { DMQ_GATHER_PARTS = 32 };

typedef struct dmq_gather_part {
    const dmq_real *table; /**< (rows, d) */
    const int *index;      /**< (n), 0..rows-1 */
    dmq_real *y;           /**< (n, d), overwritten */
    int d, rows;
} dmq_gather_part;

typedef struct dmq_gather_args {
    dmq_gather_part part[DMQ_GATHER_PARTS];
    int n_parts, n;
} dmq_gather_args;

dmq_status dmq_gather_ref(dmq_queue *queue, const dmq_gather_args *a);

typedef struct dmq_time_embed_args {
    const dmq_real *t; /**< (n), whole or fractional steps */
    dmq_real *y;       /**< (n, d), d even */
    int n, d;
    dmq_real divisor;
    int cos_first;
} dmq_time_embed_args;

dmq_status dmq_time_embed_ref(dmq_queue *queue, const dmq_time_embed_args *a);

#endif
