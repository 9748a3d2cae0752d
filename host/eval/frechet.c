#include "eval/frechet.h"

#include "backend/cpu.h"
#include "base/log.h"
#include "base/memory.h"
#include "eval/moments.h"
#include "eval/pieces.h"

#include <cblas.h>
#include <float.h>
#include <lapacke.h>
#include <math.h>
#include <string.h>

static dmq_status converged(lapack_int info, const char *what, int d)
{
    if (info == 0)
        return DMQ_OK;
    return dmq_fail(DMQ_EDIVERGE, "frechet distance: %s of %d numbers do not converge: info %d",
                    what, d, (int)info);
}

/* Eigenvectors of the symmetric a (d, d) as its rows, and eigenvalues in ascending order. */
static dmq_status eigen(double *a, double *values, int d)
{
    double room = 0, *work = NULL;
    lapack_int rooms = 0, *iwork = NULL;
    dmq_status st = DMQ_OK;

    /* symmetric: column-major columns of eigenvectors are our rows */
    DMQ_TRY(converged(
        LAPACKE_dsyevd_work(LAPACK_COL_MAJOR, 'V', 'L', d, a, d, values, &room, -1, &rooms, -1),
        "eigenvalues", d));
    DMQ_TRY(dmq_alloc((void **)&work, (size_t)room, sizeof *work));
    DMQ_TRY(dmq_alloc((void **)&iwork, (size_t)rooms, sizeof *iwork));
    DMQ_TRY(converged(LAPACKE_dsyevd_work(LAPACK_COL_MAJOR, 'V', 'L', d, a, d, values, work,
                                          (lapack_int)room, iwork, rooms),
                      "eigenvalues", d));
done:
    dmq_free(work);
    dmq_free(iwork);
    return st;
}

/* Sum of the singular values of a (rows, columns), which is lost. */
static dmq_status nuclear_norm(double *out, double *a, int rows, int columns)
{
    int least = rows < columns ? rows : columns;
    double room = 0, *work = NULL, *values = NULL;
    lapack_int *iwork = NULL;
    dmq_status st = DMQ_OK;

    *out = 0;
    if (least == 0)
        goto done;
    DMQ_TRY(dmq_alloc((void **)&values, (size_t)least, sizeof *values));
    DMQ_TRY(dmq_alloc((void **)&iwork, 8 * (size_t)least, sizeof *iwork));
    DMQ_TRY(converged(LAPACKE_dgesdd_work(LAPACK_COL_MAJOR, 'N', columns, rows, a, columns, values,
                                          NULL, 1, NULL, 1, &room, -1, iwork),
                      "singular values", least));
    DMQ_TRY(dmq_alloc((void **)&work, (size_t)room, sizeof *work));
    DMQ_TRY(converged(LAPACKE_dgesdd_work(LAPACK_COL_MAJOR, 'N', columns, rows, a, columns, values,
                                          NULL, 1, NULL, 1, work, (lapack_int)room, iwork),
                      "singular values", least));
    for (int i = least; i-- > 0;) /* the small ones first */
        *out += values[i];
done:
    dmq_free(work);
    dmq_free(iwork);
    dmq_free(values);
    return st;
}

/* ------------------------------------------------------------------ a law */

void dmq_gaussian_destroy(dmq_gaussian *law)
{
    if (!law)
        return;
    dmq_free(law->mean);
    dmq_free(law->root);
    dmq_free(law);
}

static dmq_status check_finite(const double *x, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) {
            return dmq_fail(DMQ_EDATA, "frechet distance: number %zu of the %s is %g", i, what,
                            x[i]);
        }
    }
    return DMQ_OK;
}

/* The rows of root (d, d) that are kept move up, scaled by the root of their eigenvalue. */
static void scale_root(dmq_gaussian *g, const double *values)
{
    size_t d = (size_t)g->d;
    double least = (double)g->d * DBL_EPSILON * values[d - 1];

    for (size_t i = 0; i < d; i++) {
        double *to = g->root + (size_t)g->rank * d;

        if (!(values[i] > least))
            continue;
        for (size_t j = 0; j < d; j++)
            to[j] = g->root[i * d + j] * sqrt(values[i]);
        g->rank++;
    }
}

dmq_status dmq_gaussian_create(dmq_gaussian **out, int d, const double *mean, const double *cov)
{
    size_t n = (size_t)d;
    int threads = dmq_cpu_threads_one(); /* sums of LAPACK depend on how many there are */
    dmq_gaussian *g = NULL;
    double *values = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(check_finite(mean, n, "mean"));
    DMQ_TRY(check_finite(cov, n * n, "covariance"));
    DMQ_TRY(dmq_alloc((void **)&g, 1, sizeof *g));
    g->d = d;
    DMQ_TRY(dmq_alloc((void **)&g->mean, n, sizeof *g->mean));
    DMQ_TRY(dmq_alloc((void **)&g->root, n * n, sizeof *g->root));
    DMQ_TRY(dmq_alloc((void **)&values, n, sizeof *values));
    memcpy(g->mean, mean, n * sizeof *mean);
    memcpy(g->root, cov, n * n * sizeof *cov);
    for (size_t i = 0; i < n; i++)
        g->trace += cov[i * n + i];
    DMQ_TRY(eigen(g->root, values, d));
    if (values[0] < -1e-8 * values[n - 1]) {
        dmq_log_warn("negative-covariance",
                     "frechet distance: a covariance of %d numbers has eigenvalues from %g to %g",
                     d, values[0], values[n - 1]);
    }
    scale_root(g, values);
    *out = g;
    g = NULL;
done:
    dmq_cpu_threads_restore(threads);
    dmq_gaussian_destroy(g);
    dmq_free(values);
    return st;
}

/* ------------------------------------------------------------------ distances */

dmq_status dmq_frechet_between(double *out, const dmq_gaussian *a, const dmq_gaussian *b)
{
    size_t d = (size_t)a->d;
    int threads = dmq_cpu_threads_one();
    double *product = NULL, norm, shift = 0;
    dmq_status st = DMQ_OK;

    if (a->d != b->d) {
        st = dmq_fail(DMQ_ESHAPE, "frechet distance: one side has %d features, the other %d", a->d,
                      b->d);
        goto done;
    }
    DMQ_TRY(dmq_alloc((void **)&product, (size_t)a->rank * (size_t)b->rank + 1, sizeof *product));
    if (a->rank > 0 && b->rank > 0) {
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, a->rank, b->rank, a->d, 1, a->root,
                    a->d, b->root, a->d, 0, product, b->rank);
    }
    DMQ_TRY(nuclear_norm(&norm, product, a->rank, b->rank));
    for (size_t i = 0; i < d; i++)
        shift += (a->mean[i] - b->mean[i]) * (a->mean[i] - b->mean[i]);
    *out = shift + (a->trace + b->trace - 2 * norm);
done:
    dmq_cpu_threads_restore(threads);
    dmq_free(product);
    return st;
}

dmq_status dmq_frechet_distance(double *out, int d, const double *mean1, const double *cov1,
                                const double *mean2, const double *cov2)
{
    dmq_gaussian *a = NULL, *b = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_gaussian_create(&a, d, mean1, cov1));
    DMQ_TRY(dmq_gaussian_create(&b, d, mean2, cov2));
    DMQ_TRY(dmq_frechet_between(out, a, b));
done:
    dmq_gaussian_destroy(a);
    dmq_gaussian_destroy(b);
    return st;
}

/* ------------------------------------------------------------------ bootstrap */

/* Rows in memory at once: whole blocks. */
enum { GATHER = 4 * DMQ_MOMENTS_BLOCK };

typedef struct resampling {
    const dmq_gaussian *reference;
    const float *x;
    size_t n;
    const dmq_bootstrap *how;
    double *values; /* (resamples) */
} resampling;

static dmq_status add_drawn(dmq_moments *m, float *rows, const uint32_t *index, const resampling *r)
{
    size_t d = (size_t)m->d;
    dmq_status st = DMQ_OK;

    for (size_t from = 0; from < r->n; from += GATHER) {
        size_t count = r->n - from < GATHER ? r->n - from : GATHER;

        for (size_t i = 0; i < count; i++)
            memcpy(rows + i * d, r->x + (size_t)index[from + i] * d, d * sizeof *rows);
        DMQ_TRY(dmq_moments_add(m, rows, count));
    }
done:
    return st;
}

static dmq_status resample(void *context, int b, int thread)
{
    const resampling *r = context;
    int d = r->reference->d;
    size_t n = (size_t)d;
    uint32_t *index = NULL;
    float *rows = NULL;
    double *mean = NULL, *cov = NULL;
    dmq_moments *m = NULL;
    dmq_gaussian *law = NULL;
    dmq_status st = DMQ_OK;

    (void)thread;
    DMQ_TRY(dmq_alloc((void **)&index, r->n, sizeof *index));
    DMQ_TRY(dmq_alloc((void **)&rows, GATHER * n, sizeof *rows));
    DMQ_TRY(dmq_alloc((void **)&mean, n, sizeof *mean));
    DMQ_TRY(dmq_alloc((void **)&cov, n * n, sizeof *cov));
    DMQ_TRY(dmq_moments_create(&m, d));
    dmq_bootstrap_draw(index, 0, r->n, r->how, b);
    DMQ_TRY(add_drawn(m, rows, index, r));
    DMQ_TRY(dmq_moments_result(m, mean, cov));
    DMQ_TRY(dmq_gaussian_create(&law, d, mean, cov));
    DMQ_TRY(dmq_frechet_between(&r->values[b], r->reference, law));
done:
    dmq_gaussian_destroy(law);
    dmq_moments_destroy(m);
    dmq_free(index);
    dmq_free(rows);
    dmq_free(mean);
    dmq_free(cov);
    return st;
}

dmq_status dmq_frechet_bootstrap(dmq_interval *out, const dmq_gaussian *reference, const float *x,
                                 size_t n, const dmq_bootstrap *how)
{
    resampling r = { .reference = reference, .x = x, .n = n, .how = how };
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&r.values, (size_t)how->resamples, sizeof *r.values));
    DMQ_TRY(dmq_pieces_run(how->resamples, resample, &r));
    dmq_interval_of(out, r.values, how);
done:
    dmq_free(r.values);
    return st;
}
