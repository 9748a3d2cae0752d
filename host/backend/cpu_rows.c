/* Operations along rows: softmax, layer norm. Sums of a row go into 16 floats, then into one double. */
#include "backend/cpu.h"
#include "backend/cpu_math.h"

#include <string.h>

enum { LANES = 16 };

DMQ_INLINE double join(const float part[LANES])
{
    double sum = 0;

    for (int k = 0; k < LANES; k++)
        sum += (double)part[k];
    return sum;
}

/* for l: part[l % 16] += EXPRESSION */
#define ROW_SUM(part, l, count, expression)              \
    do {                                                 \
        size_t whole_ = (count) / LANES * LANES;         \
        for (size_t at_ = 0; at_ < whole_; at_ += LANES) \
            for (size_t k_ = 0; k_ < LANES; k_++) {      \
                size_t l = at_ + k_;                     \
                (part)[k_] += (expression);              \
            }                                            \
        for (size_t l = whole_; l < (count); l++)        \
            (part)[l - whole_] += (expression);          \
    } while (0)

/* ------------------------------------------------------------------ softmax */

/* A NaN is never the maximum, but it reaches the sum. */
DMQ_INLINE float largest(const float *x, size_t count)
{
    float part[LANES], max;
    size_t whole = count / LANES * LANES;

    for (size_t k = 0; k < LANES; k++)
        part[k] = x[0];
    for (size_t l = 0; l < whole; l += LANES)
        for (size_t k = 0; k < LANES; k++)
            part[k] = x[l + k] > part[k] ? x[l + k] : part[k];
    max = part[0];
    for (size_t k = 1; k < LANES; k++)
        max = part[k] > max ? part[k] : max;
    for (size_t l = whole; l < count; l++)
        max = x[l] > max ? x[l] : max;
    return max;
}

DMQ_CLONES
static void softmax_row(float *y, const float *x, size_t count)
{
    float part[LANES] = { 0 }, max = largest(x, count), sum;

#pragma GCC ivdep
    for (size_t l = 0; l < count; l++)
        y[l] = dmq_cpu_exp(x[l] - max);
    ROW_SUM(part, l, count, y[l]);
    sum = (float)join(part);
#pragma GCC ivdep
    for (size_t l = 0; l < count; l++)
        y[l] /= sum;
}

DMQ_CLONES
static void softmax_row_derive(float *out, const float *y, const float *v, size_t count, int add)
{
    float part[LANES] = { 0 }, dot;

    ROW_SUM(part, l, count, y[l] * v[l]);
    dot = (float)join(part);
    if (add) {
#pragma GCC ivdep
        for (size_t l = 0; l < count; l++)
            out[l] += y[l] * (v[l] - dot);
    } else {
#pragma GCC ivdep
        for (size_t l = 0; l < count; l++)
            out[l] = y[l] * (v[l] - dot);
    }
}

dmq_status dmq_softmax_forward_cpu(dmq_queue *queue, const dmq_softmax_args *a)
{
    size_t cols = (size_t)a->cols;

    (void)queue;
    for (size_t i = 0; i < (size_t)a->rows; i++)
        softmax_row(a->y + i * cols, a->x + i * cols, cols);
    return DMQ_OK;
}

dmq_status dmq_softmax_derive_cpu(dmq_queue *queue, const dmq_softmax_args *a)
{
    size_t cols = (size_t)a->cols;

    (void)queue;
    for (size_t i = 0; i < (size_t)a->rows; i++)
        softmax_row_derive(a->out + i * cols, a->y + i * cols, a->v + i * cols, cols, a->add);
    return DMQ_OK;
}

/* ------------------------------------------------------------------ layer norm */

DMQ_CLONES
static void layer_row(const dmq_layer_norm_args *a, size_t i)
{
    size_t d = (size_t)a->d;
    const float *restrict x = a->x + i * d;
    const float *restrict gamma = a->gamma, *restrict beta = a->beta;
    float *restrict y = a->y + i * d;
    float part[LANES] = { 0 }, mean, rstd;

    ROW_SUM(part, l, d, x[l]);
    mean = (float)(join(part) / (double)d);
    memset(part, 0, sizeof part);
    ROW_SUM(part, l, d, (x[l] - mean) * (x[l] - mean));
    rstd = (float)(1.0 / sqrt(join(part) / (double)d + (double)a->eps));
#pragma GCC ivdep
    for (size_t l = 0; l < d; l++)
        y[l] = (x[l] - mean) * rstd * gamma[l] + beta[l];
    a->mean[i] = mean;
    a->rstd[i] = rstd;
}

DMQ_CLONES
static void layer_row_backward(const dmq_layer_norm_args *a, size_t i)
{
    size_t d = (size_t)a->d;
    const float *x = a->x + i * d, *dy = a->dy + i * d, *gamma = a->gamma;
    float part[LANES] = { 0 }, mean = a->mean[i], rstd = a->rstd[i], m1, m2;

    ROW_SUM(part, l, d, dy[l] * gamma[l]);
    m1 = (float)(join(part) / (double)d);
    memset(part, 0, sizeof part);
    ROW_SUM(part, l, d, dy[l] * gamma[l] * ((x[l] - mean) * rstd));
    m2 = (float)(join(part) / (double)d);
    if (a->dgamma) {
#pragma GCC ivdep
        for (size_t l = 0; l < d; l++)
            a->dgamma[l] += dy[l] * ((x[l] - mean) * rstd);
    }
    if (a->dbeta) {
#pragma GCC ivdep
        for (size_t l = 0; l < d; l++)
            a->dbeta[l] += dy[l];
    }
    if (a->dx) {
        float *dx = a->dx + i * d;

#pragma GCC ivdep
        for (size_t l = 0; l < d; l++) {
            float v = rstd * (dy[l] * gamma[l] - m1 - (x[l] - mean) * rstd * m2);

            dx[l] = a->add ? dx[l] + v : v;
        }
    }
}

/* One row of the tangent; x_tan, gamma_tan and beta_tan are never NULL here. */
DMQ_CLONES
static void layer_row_tangent(const dmq_layer_norm_args *a, size_t i, const float *x_tan,
                              const float *gamma_tan, const float *beta_tan)
{
    size_t d = (size_t)a->d;
    const float *x = a->x + i * d, *gamma = a->gamma;
    float part[LANES] = { 0 }, mean = a->mean[i], rstd = a->rstd[i], m1, m2;
    float *y_tan = a->y_tan + i * d;

    ROW_SUM(part, l, d, x_tan[l]);
    m1 = (float)(join(part) / (double)d);
    memset(part, 0, sizeof part);
    ROW_SUM(part, l, d, x_tan[l] * ((x[l] - mean) * rstd));
    m2 = (float)(join(part) / (double)d);
#pragma GCC ivdep
    for (size_t l = 0; l < d; l++) {
        float norm = (x[l] - mean) * rstd;

        y_tan[l] =
            gamma[l] * rstd * (x_tan[l] - m1 - norm * m2) + gamma_tan[l] * norm + beta_tan[l];
    }
}

dmq_status dmq_layer_norm_forward_cpu(dmq_queue *queue, const dmq_layer_norm_args *a)
{
    (void)queue;
    for (size_t i = 0; i < (size_t)a->rows; i++)
        layer_row(a, i);
    return DMQ_OK;
}

dmq_status dmq_layer_norm_backward_cpu(dmq_queue *queue, const dmq_layer_norm_args *a)
{
    size_t bytes = (size_t)a->d * sizeof(float);

    (void)queue;
    if (a->dgamma && !a->add_param)
        memset(a->dgamma, 0, bytes);
    if (a->dbeta && !a->add_param)
        memset(a->dbeta, 0, bytes);
    for (size_t i = 0; i < (size_t)a->rows; i++)
        layer_row_backward(a, i);
    return DMQ_OK;
}

dmq_status dmq_layer_norm_jvp_cpu(dmq_queue *queue, const dmq_layer_norm_args *a)
{
    dmq_status st = DMQ_OK;
    size_t d = (size_t)a->d;
    void *zeros = NULL;

    DMQ_TRY(dmq_cpu_scratch(&zeros, queue, d * sizeof(float)));
    memset(zeros, 0, d * sizeof(float));
    for (size_t i = 0; i < (size_t)a->rows; i++)
        layer_row_tangent(a, i, a->x_tan ? a->x_tan + i * d : zeros,
                          a->gamma_tan ? a->gamma_tan : zeros, a->beta_tan ? a->beta_tan : zeros);
done:
    return st;
}
