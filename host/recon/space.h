/**
 * Where long vectors live: memory of a backend, and the few operations on it that blocks under
 * reconstruction and the bilevel optimizer need. Vectors of the length of theta are never in the host's
 * memory; numbers that steps depend on (norms, products with a batch) come back to it, or stay where they are
 * (the functions that end in _of), and then nothing waits for them.
 *
 *   dot, norm   in double, in a fixed order (kernels/jacobian.h)
 *   times       out (m, P): out[l] = sum_i v[l][i] rows[i]             v (m, n) in host memory
 *   dots        out (m, n): out[l][i] = <rows[i], x[l]>                out in host memory
 *
 * Products are cut into runs of columns for the lanes where a backend has several: the same bits for any
 * number of them.
 */
#ifndef DMQ_RECON_SPACE_H
#define DMQ_RECON_SPACE_H

#include "backend/lanes.h"

typedef struct dmq_space {
    const dmq_backend *be;
    dmq_queue *queue;
    dmq_lanes *lanes;    /**< NULL: all work is done in one piece, on the queue */
    double *sums;        /**< memory of products, made at the first one; in backend memory */
    size_t sums_room;    /**< numbers */
    dmq_real *factors;   /**< v of times, in backend memory */
    size_t factors_room; /**< numbers */
} dmq_space;

/** On the lanes' backend and first queue. What is to be released: all but this is a struct copy. */
void dmq_space_init(dmq_space *space, dmq_lanes *lanes);

/** On a queue of its caller's; queue may be NULL where the backend takes that. */
void dmq_space_init_queue(dmq_space *space, const dmq_backend *be, dmq_queue *queue);

/** May be called again, and on a zeroed struct. */
void dmq_space_release(dmq_space *space);

/** While on, what is asked of the queue is recorded: nothing waits for it (dmq_lanes_record). */
void dmq_space_record(const dmq_space *space, int on);

/** Not initialized. */
dmq_status dmq_space_alloc(dmq_real **out, const dmq_space *space, size_t count);

/** Takes NULL. */
void dmq_space_free(const dmq_space *space, void *memory);

/** Host memory to backend memory and back. The numbers are there when get returns. */
dmq_status dmq_space_put(const dmq_space *space, void *to, const void *host, size_t bytes);
dmq_status dmq_space_get(const dmq_space *space, void *host, const void *from, size_t bytes);

dmq_status dmq_space_copy(const dmq_space *space, dmq_real *y, const dmq_real *x, size_t n);
/** On another queue, for a piece of work that has one. */
dmq_status dmq_space_copy_on(const dmq_space *space, dmq_queue *queue, dmq_real *y,
                             const dmq_real *x, size_t n);
dmq_status dmq_space_fill(const dmq_space *space, dmq_real *y, double value, size_t n);

/** y = alpha x + beta y, y may be x; beta = 0 does not read y. */
dmq_status dmq_space_axpby(const dmq_space *space, dmq_real *y, double beta, const dmq_real *x,
                           double alpha, size_t n);

/** z = x + alpha y; none of them overlap. */
dmq_status dmq_space_move(const dmq_space *space, dmq_real *z, const dmq_real *x, double alpha,
                          const dmq_real *y, size_t n);

dmq_status dmq_space_dot(double *out, dmq_space *space, const dmq_real *x, const dmq_real *y,
                         size_t n);
dmq_status dmq_space_norm(double *out, dmq_space *space, const dmq_real *x, size_t n);

/**
 * times and dots with all of it in the space: v, and the sums, too, where they stay. Rows are `ld` apart.
 * They do not wait, and allocate nothing after the first call of their size.
 */
dmq_status dmq_space_times_of(dmq_space *space, dmq_real *out, const dmq_real *rows, size_t ld,
                              int n, const dmq_real *v, int m, size_t p);
dmq_status dmq_space_dots_of(double *out, dmq_space *space, const dmq_real *rows, int n,
                             const dmq_real *x, int m, size_t p);

/** out (n): out[i] = <rows[i], rows[i]>; as dots_of. */
dmq_status dmq_space_squares_of(double *out, dmq_space *space, const dmq_real *rows, int n,
                                size_t p);

/** rows (n, p), out (m, p), contiguous. */
dmq_status dmq_space_times(dmq_space *space, dmq_real *out, const dmq_real *rows, int n,
                           const dmq_real *v, int m, size_t p);

/** rows (n, p), x (m, p), contiguous; rows may be x. */
dmq_status dmq_space_dots(double *out, dmq_space *space, const dmq_real *rows, int n,
                          const dmq_real *x, int m, size_t p);

#endif
