/** nearest for check_op.h: inputs x and code, output y. */
#ifndef DMQ_TESTS_OP_NEAREST_H
#define DMQ_TESTS_OP_NEAREST_H

#include "check_op.h"

typedef struct nearest_shape {
    int rows, d, n;
} nearest_shape;

/* y and index may be NULL. */
static inline void nearest_run(const nearest_shape *s, const check_on *on, const dmq_real *x,
                               const dmq_real *code, dmq_real *y, int *index)
{
    size_t rows = (size_t)s->rows, count = CHECK_COUNT(s->rows, s->d);
    int *none = check_bytes(rows, sizeof *none);
    dmq_nearest_args a = { .rows = s->rows, .d = s->d, .n = s->n };

    memset(none, 0xff, rows * sizeof *none);
    a.x = check_up_real(on, x, count);
    a.code = check_up_real(on, code, CHECK_COUNT(s->n, s->d));
    a.y = y ? check_room(on, NULL, count) : NULL;
    a.index = index ? check_up(on, none, rows, sizeof *none) : NULL;
    CHECK_RUN(on, nearest, &a);
    if (y)
        check_down_real(on, y, a.y, count);
    if (index)
        check_down(on, index, a.index, rows * sizeof *index);
}

static inline void nearest_forward(const check_op *op, const check_on *on, dmq_real *const in[],
                                   dmq_real *out, bool add)
{
    (void)add;
    nearest_run(op->shape, on, in[0], in[1], out, NULL);
}

static inline check_op nearest_op(const void *shape)
{
    const nearest_shape *s = shape;

    return (check_op){ .name = "nearest",
                       .n_in = 2,
                       .count_in = { CHECK_COUNT(s->rows, s->d), CHECK_COUNT(s->n, s->d) },
                       .count_out = CHECK_COUNT(s->rows, s->d),
                       .shape = s,
                       .forward = nearest_forward };
}

#endif
