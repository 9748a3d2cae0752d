#include "bilevel/diagnose.h"

#include "base/memory.h"

#include <stdlib.h>

dmq_status dmq_group_cosines(const dmq_problem *problem, const dmq_real *theta,
                             const dmq_groups *groups, double *matrix, double *mean)
{
    dmq_space *space = problem->space;
    size_t p = problem->n_theta, k = (size_t)groups->k;
    dmq_status st = DMQ_OK;
    dmq_real *g = NULL;
    double *gram = NULL, sum = 0;

    DMQ_TRY(dmq_space_alloc(&g, space, k * p));
    DMQ_TRY(dmq_alloc((void **)&gram, k * k, sizeof *gram));
    for (size_t t = 0; t < k; t++) {
        DMQ_TRY(problem->grad(problem->context, theta, groups->sample[t], NULL, groups->count[t],
                              g + t * p, NULL));
    }
    DMQ_TRY(dmq_space_dots(gram, space, g, groups->k, g, groups->k, p));
    for (size_t t = 0; t < k; t++) {
        for (size_t j = 0; j <= t; j++) {
            double norms = sqrt(gram[t * k + t]) * sqrt(gram[j * k + j]);
            double c = t == j ? 1 : norms > 0 ? gram[t * k + j] / norms : 0;

            matrix[t * k + j] = matrix[j * k + t] = c;
            sum += t == j ? 0 : c;
        }
    }
    *mean = k > 1 ? sum / ((double)k * ((double)k - 1) / 2) : 1;
done:
    dmq_space_free(space, g);
    dmq_free(gram);
    return st;
}

dmq_status dmq_alignment_with(const dmq_problem *problem, const dmq_real *theta, const int *train,
                              int n, const int *held_out, int n_held_out, dmq_real *out)
{
    dmq_space *space = problem->space;
    dmq_status st = DMQ_OK;
    dmq_real *g = NULL;

    DMQ_TRY(dmq_space_alloc(&g, space, problem->n_theta));
    DMQ_TRY(problem->grad(problem->context, theta, held_out, NULL, n_held_out, g, NULL));
    DMQ_TRY(dmq_space_axpby(space, g, 0, g, 1.0 / n_held_out, problem->n_theta));
    DMQ_TRY(problem->jvp(problem->context, theta, train, n, g, out));
done:
    dmq_space_free(space, g);
    return st;
}

typedef struct ranked {
    double value, rank;
    int position;
} ranked;

static int by_value(const void *a, const void *b)
{
    const ranked *x = a, *y = b;

    if (x->value != y->value)
        return x->value < y->value ? -1 : 1;
    return x->position - y->position;
}

static int by_position(const void *a, const void *b)
{
    return ((const ranked *)a)->position - ((const ranked *)b)->position;
}

static void rank_all(ranked *r, const dmq_real *x, int n)
{
    for (int i = 0; i < n; i++)
        r[i] = (ranked){ .value = (double)x[i], .position = i };
    qsort(r, (size_t)n, sizeof *r, by_value);
    for (int i = 0, j; i < n; i = j) {
        for (j = i + 1; j < n && r[j].value == r[i].value; j++)
            continue;
        for (int t = i; t < j; t++)
            r[t].rank = 0.5 * (i + j - 1);
    }
    qsort(r, (size_t)n, sizeof *r, by_position);
}

dmq_status dmq_spearman(const dmq_real *x, const dmq_real *y, int n, double *rho)
{
    dmq_status st = DMQ_OK;
    ranked *a = NULL, *b = NULL;
    double middle = 0.5 * (n - 1), xx = 0, yy = 0, xy = 0;

    *rho = 0;
    if (n < 3)
        return st;
    DMQ_TRY(dmq_alloc((void **)&a, (size_t)n, sizeof *a));
    DMQ_TRY(dmq_alloc((void **)&b, (size_t)n, sizeof *b));
    rank_all(a, x, n);
    rank_all(b, y, n);
    for (int i = 0; i < n; i++) {
        double u = a[i].rank - middle, v = b[i].rank - middle;

        xx += u * u;
        yy += v * v;
        xy += u * v;
    }
    if (xx > 0 && yy > 0)
        *rho = xy / sqrt(xx * yy);
done:
    dmq_free(a);
    dmq_free(b);
    return st;
}
