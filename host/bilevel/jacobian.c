#include "bilevel/jacobian.h"

#include "bilevel/vec.h"

#include <string.h>

/* Columns of a piece: a row's, and those of some vectors, stay in the first caches. */
enum { COLUMNS = 2048 };

typedef struct product {
    const dmq_real *rows, *v; /* v: the vectors */
    dmq_real *out;
    double *sums; /* (pieces, m, n) */
    size_t p;
    int n, m;
} product;

static int pieces(size_t p)
{
    return (int)((p + COLUMNS - 1) / COLUMNS);
}

static size_t width(const product *j, size_t at)
{
    return j->p - at < COLUMNS ? j->p - at : COLUMNS;
}

static dmq_status times_piece(void *context, int piece)
{
    const product *j = context;
    size_t at = (size_t)piece * COLUMNS, count = width(j, at), n = (size_t)j->n;

    for (int l = 0; l < j->m; l++)
        memset(j->out + (size_t)l * j->p + at, 0, count * sizeof *j->out);
    for (size_t i = 0; i < n; i++) {
        for (int l = 0; l < j->m; l++) {
            dmq_vec_axpby(j->out + (size_t)l * j->p + at, 1, j->rows + i * j->p + at,
                          (double)j->v[(size_t)l * n + i], count);
        }
    }
    return DMQ_OK;
}

static dmq_status dots_piece(void *context, int piece)
{
    const product *j = context;
    size_t at = (size_t)piece * COLUMNS, count = width(j, at), n = (size_t)j->n;
    double *sums = j->sums + (size_t)piece * (size_t)j->m * n;

    for (size_t i = 0; i < n; i++) {
        for (int l = 0; l < j->m; l++) {
            sums[(size_t)l * n + i] =
                dmq_vec_dot(j->rows + i * j->p + at, j->v + (size_t)l * j->p + at, count);
        }
    }
    return DMQ_OK;
}

static dmq_status each(const dmq_problem *problem, dmq_problem_piece *piece, product *j)
{
    dmq_status st = DMQ_OK;

    if (problem->each)
        return problem->each(problem->context, pieces(j->p), piece, j);
    for (int i = 0; i < pieces(j->p) && st == DMQ_OK; i++)
        st = piece(j, i);
    return st;
}

dmq_status dmq_jacobian_times(dmq_real *out, const dmq_problem *problem, const dmq_real *rows,
                              int n, const dmq_real *v, int m)
{
    product j = { .rows = rows, .v = v, .out = out, .p = problem->n_theta, .n = n, .m = m };

    return each(problem, times_piece, &j);
}

size_t dmq_jacobian_sums(const dmq_problem *problem, int n, int m)
{
    return (size_t)pieces(problem->n_theta) * (size_t)n * (size_t)m;
}

dmq_status dmq_jacobian_dots(dmq_real *out, const dmq_problem *problem, const dmq_real *rows, int n,
                             const dmq_real *x, int m, double *sums)
{
    product j = { .rows = rows, .v = x, .sums = sums, .p = problem->n_theta, .n = n, .m = m };
    size_t count = (size_t)n * (size_t)m;
    dmq_status st = DMQ_OK;

    DMQ_TRY(each(problem, dots_piece, &j));
    for (size_t i = 0; i < count; i++) {
        double sum = 0;

        for (int k = 0; k < pieces(j.p); k++)
            sum += sums[(size_t)k * count + i];
        out[i] = (dmq_real)sum;
    }
done:
    return st;
}
