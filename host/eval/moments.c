#include "eval/moments.h"

#include "backend/cpu.h"
#include "base/memory.h"

#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <string.h>

#define BLOCK 64

dmq_status dmq_moments_create(dmq_moments **out, int d)
{
    dmq_status st = DMQ_OK;
    dmq_moments *m = NULL;

    DMQ_TRY(dmq_alloc((void **)&m, 1, sizeof *m));
    m->d = d;
    DMQ_TRY(dmq_alloc((void **)&m->shift, (size_t)d, sizeof(double)));
    DMQ_TRY(dmq_alloc((void **)&m->sum, (size_t)d, sizeof(double)));
    DMQ_TRY(dmq_alloc((void **)&m->outer, (size_t)d * (size_t)d, sizeof(double)));
    *out = m;
    m = NULL;
done:
    dmq_moments_destroy(m);
    return st;
}

void dmq_moments_destroy(dmq_moments *m)
{
    if (!m)
        return;
    dmq_free(m->shift);
    dmq_free(m->sum);
    dmq_free(m->outer);
    dmq_free(m);
}

dmq_status dmq_moments_add(dmq_moments *m, const float *x, size_t rows)
{
    size_t d = (size_t)m->d;
    int threads = dmq_cpu_threads_one(); /* sums of BLAS depend on how many there are */
    dmq_status st = DMQ_OK;
    double *block = NULL;

    DMQ_TRY(dmq_alloc((void **)&block, BLOCK * d, sizeof *block));
    for (size_t from = 0; from < rows; from += BLOCK) {
        size_t count = rows - from < BLOCK ? rows - from : BLOCK;

        for (size_t i = 0; i < count; i++) {
            for (size_t j = 0; j < d; j++) {
                double value = (double)x[(from + i) * d + j];

                if (!isfinite(value)) {
                    st = dmq_fail(DMQ_EDATA, "features: row %zu is not finite", m->n + from + i);
                    goto done;
                }
                if (m->n + from + i == 0)
                    m->shift[j] = value;
                block[i * d + j] = value - m->shift[j];
                m->sum[j] += block[i * d + j];
            }
        }
        cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, m->d, (int)count, 1, block, m->d, 1,
                    m->outer, m->d);
    }
    m->n += rows;
done:
    dmq_cpu_threads_restore(threads);
    dmq_free(block);
    return st;
}

dmq_status dmq_moments_result(const dmq_moments *m, double *mean, double *cov)
{
    size_t d = (size_t)m->d;
    double n = (double)m->n;

    if (m->n < 2) {
        return dmq_fail(DMQ_EDATA, "features: a covariance needs at least 2 samples, there are %zu",
                        m->n);
    }
    for (size_t i = 0; i < d; i++) {
        mean[i] = m->shift[i] + m->sum[i] / n;
        for (size_t j = i; j < d; j++) {
            cov[i * d + j] = cov[j * d + i] =
                (m->outer[i * d + j] - m->sum[i] * m->sum[j] / n) / (n - 1);
        }
    }
    return DMQ_OK;
}

/* Eigenvalues of the symmetric a (d, d), ascending; a becomes the eigenvectors if vectors. */
static dmq_status eigen(double *a, double *values, int d, int vectors)
{
    lapack_int info = LAPACKE_dsyevd(LAPACK_ROW_MAJOR, vectors ? 'V' : 'N', 'U', d, a, d, values);

    if (info != 0) {
        return dmq_fail(DMQ_EDIVERGE,
                        "frechet distance: eigenvalues of a %d x %d covariance: info %d", d, d,
                        (int)info);
    }
    return DMQ_OK;
}

dmq_status dmq_frechet_distance(double *out, int d, const double *mean1, const double *cov1,
                                const double *mean2, const double *cov2)
{
    size_t n = (size_t)d, nn = n * n;
    int threads = dmq_cpu_threads_one();
    dmq_status st = DMQ_OK;
    double *f = NULL, *tmp = NULL, *a = NULL, *values = NULL;
    double distance = 0, trace = 0;

    DMQ_TRY(dmq_alloc((void **)&f, nn, sizeof *f));
    DMQ_TRY(dmq_alloc((void **)&tmp, nn, sizeof *tmp));
    DMQ_TRY(dmq_alloc((void **)&a, nn, sizeof *a));
    DMQ_TRY(dmq_alloc((void **)&values, n, sizeof *values));
    memcpy(f, cov1, nn * sizeof *f);
    DMQ_TRY(eigen(f, values, d, 1));
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++)
            f[i * n + j] *= sqrt(values[j] > 0 ? values[j] : 0);
    }
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, d, d, d, 1, cov2, d, f, d, 0, tmp, d);
    cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, d, d, d, 1, f, d, tmp, d, 0, a, d);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = i + 1; j < n; j++)
            a[i * n + j] = a[j * n + i] = 0.5 * (a[i * n + j] + a[j * n + i]);
    }
    DMQ_TRY(eigen(a, values, d, 0));
    for (size_t i = 0; i < n; i++) {
        distance += (mean1[i] - mean2[i]) * (mean1[i] - mean2[i]);
        distance += cov1[i * n + i] + cov2[i * n + i];
        trace += sqrt(values[i] > 0 ? values[i] : 0);
    }
    *out = distance - 2 * trace;
done:
    dmq_cpu_threads_restore(threads);
    dmq_free(f);
    dmq_free(tmp);
    dmq_free(a);
    dmq_free(values);
    return st;
}

/* log softmax of one row, in double */
static void log_softmax(double *out, const float *x, int classes)
{
    double top = (double)x[0], sum = 0;

    for (int j = 1; j < classes; j++) {
        if ((double)x[j] > top)
            top = (double)x[j];
    }
    for (int j = 0; j < classes; j++)
        sum += exp((double)x[j] - top);
    for (int j = 0; j < classes; j++)
        out[j] = (double)x[j] - top - log(sum);
}

static double score_of(const float *logits, size_t n, int classes, double *row, double *mean)
{
    double score = 0;

    memset(mean, 0, (size_t)classes * sizeof *mean);
    for (size_t i = 0; i < n; i++) {
        log_softmax(row, logits + i * (size_t)classes, classes);
        for (int j = 0; j < classes; j++)
            mean[j] += exp(row[j]) / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        log_softmax(row, logits + i * (size_t)classes, classes);
        for (int j = 0; j < classes; j++) {
            if (mean[j] > 0)
                score += exp(row[j]) * (row[j] - log(mean[j])) / (double)n;
        }
    }
    return exp(score);
}

dmq_status dmq_inception_score(double *mean, double *sd, const float *logits, size_t n, int classes,
                               int splits)
{
    dmq_status st = DMQ_OK;
    double *row = NULL, sum = 0, squares = 0;

    if (splits < 1 || n < (size_t)splits)
        return dmq_fail(DMQ_EDATA, "inception score: %zu images cannot make %d splits", n, splits);
    DMQ_TRY(dmq_alloc((void **)&row, 2 * (size_t)classes, sizeof *row));
    for (int i = 0; i < splits; i++) {
        size_t from = n * (size_t)i / (size_t)splits, to = n * ((size_t)i + 1) / (size_t)splits;
        double score =
            score_of(logits + from * (size_t)classes, to - from, classes, row, row + classes);

        sum += score;
        squares += score * score;
    }
    *mean = sum / splits;
    *sd = sqrt(fmax(squares / splits - *mean * *mean, 0));
done:
    dmq_free(row);
    return st;
}
