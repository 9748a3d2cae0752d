/* Losses of samples, Adam, sums of blocks, dot products. Sums run in 16 lanes: their order
   is fixed, and their additions are vectors. */
#include "backend/cpu_math.h"
#include "backend/cpu_quant.h"
#include "kernels/loss_math.h"
#include "kernels/optim_math.h"

#include <assert.h>

enum { LANES = 16, BLOCK = 1024 };

DMQ_INLINE double sum_lanes(const double sum[LANES])
{
    double total = 0;

    for (size_t k = 0; k < LANES; k++)
        total += sum[k];
    return total;
}

/* ------------------------------------------------------------------ loss */

DMQ_INLINE float slope_of(float e, float power)
{
    float d = power * dmq_cpu_pow(fabsf(e), power - 1);

    return e < 0 ? -d : d;
}

/* sum += |f - y|^2, by lanes; the sums of blocks are those of the whole, since blocks are whole lanes. */
DMQ_CLONES static void square_lanes(double sum[LANES], const float *f, const float *y, size_t count)
{
    size_t i = 0;

    for (; i + LANES <= count; i += LANES) {
        for (size_t k = 0; k < LANES; k++) {
            float e = f[i + k] - y[i + k];

            sum[k] += (double)(e * e);
        }
    }
    for (size_t k = 0; i + k < count; k++) {
        float e = f[i + k] - y[i + k];

        sum[k] += (double)(e * e);
    }
}

/* sum += |f - y|^p, by lanes */
DMQ_CLONES static void power_lanes(double sum[LANES], const float *f, const float *y, size_t count,
                                   float power)
{
    size_t i = 0;

    for (; i + LANES <= count; i += LANES) {
        for (size_t k = 0; k < LANES; k++)
            sum[k] += (double)dmq_cpu_pow(fabsf(f[i + k] - y[i + k]), power);
    }
    for (size_t k = 0; i + k < count; k++)
        sum[k] += (double)dmq_cpu_pow(fabsf(f[i + k] - y[i + k]), power);
}

/* out = p |f - y|^(p-1) sign(f - y) */
DMQ_CLONES static void slope_block(float *out, const float *f, const float *y, size_t count,
                                   float power)
{
    if (power == 2) {
        for (size_t i = 0; i < count; i++)
            out[i] = 2 * (f[i] - y[i]);
        return;
    }
    for (size_t i = 0; i < count; i++)
        out[i] = slope_of(f[i] - y[i], power);
}

DMQ_CLONES static void add_scaled(float *out, const float *x, size_t count, float alpha, int add)
{
    if (add) {
        for (size_t i = 0; i < count; i++)
            out[i] += alpha * x[i];
        return;
    }
    for (size_t i = 0; i < count; i++)
        out[i] = alpha * x[i];
}

DMQ_CLONES static void dot_lanes(double sum[LANES], const float *x, const float *y, size_t count)
{
    size_t i = 0;

    for (; i + LANES <= count; i += LANES) {
        for (size_t k = 0; k < LANES; k++)
            sum[k] += (double)x[i + k] * (double)y[i + k];
    }
    for (size_t k = 0; i + k < count; k++)
        sum[k] += (double)x[i + k] * (double)y[i + k];
}

static void add_terms(double sum[LANES], const float *f, const float *y, size_t count, float power)
{
    if (power == 2)
        square_lanes(sum, f, y, count);
    else
        power_lanes(sum, f, y, count, power);
}

dmq_status dmq_loss_forward_cpu(dmq_queue *queue, const dmq_loss_args *a)
{
    (void)queue;
    for (int i = 0; i < a->n; i++) {
        double sum[LANES] = { 0 };

        add_terms(sum, a->f + (size_t)i * a->per, dmq_loss_target(a, i), a->per, a->power);
        a->loss[i] = (float)((double)a->coef * sum_lanes(sum));
    }
    return DMQ_OK;
}

/* df of sample i, and with sum its terms. */
static void gradient_of(const dmq_loss_args *a, int i, double *sum)
{
    const float *f = a->f + (size_t)i * a->per, *y = dmq_loss_target(a, i);
    float *df = a->df + (size_t)i * a->per, seed = a->dloss[i] * a->coef;

    for (size_t k = 0; k < a->per; k += BLOCK) {
        size_t n = a->per - k < BLOCK ? a->per - k : BLOCK;
        float slope[BLOCK];

        if (sum)
            add_terms(sum, f + k, y + k, n, a->power);
        slope_block(slope, f + k, y + k, n, a->power);
        add_scaled(df + k, slope, n, seed, a->add);
    }
}

dmq_status dmq_loss_backward_cpu(dmq_queue *queue, const dmq_loss_args *a)
{
    (void)queue;
    for (int i = 0; i < a->n; i++)
        gradient_of(a, i, NULL);
    return DMQ_OK;
}

dmq_status dmq_loss_both_cpu(dmq_queue *queue, const dmq_loss_args *a)
{
    (void)queue;
    for (int i = 0; i < a->n; i++) {
        double sum[LANES] = { 0 };

        gradient_of(a, i, sum);
        a->loss[i] = (float)((double)a->coef * sum_lanes(sum));
    }
    return DMQ_OK;
}

dmq_status dmq_loss_jvp_cpu(dmq_queue *queue, const dmq_loss_args *a)
{
    (void)queue;
    for (int i = 0; i < a->n; i++) {
        const float *f = a->f + (size_t)i * a->per, *y = dmq_loss_target(a, i);
        const float *f_tan = a->f_tan + (size_t)i * a->per;
        double sum[LANES] = { 0 };

        for (size_t k = 0; k < a->per; k += BLOCK) {
            size_t n = a->per - k < BLOCK ? a->per - k : BLOCK;
            float slope[BLOCK];

            slope_block(slope, f + k, y + k, n, a->power);
            dot_lanes(sum, slope, f_tan + k, n);
        }
        a->loss_tan[i] = (float)((double)a->coef * sum_lanes(sum));
    }
    return DMQ_OK;
}

/* ------------------------------------------------------------------ optimizer, blocks, products */

DMQ_CLONES static void adam_all(const dmq_adam_args *a, const dmq_adam_step *step)
{
    const dmq_adam_step s = *step;
    const float *g = a->g;
    float *p = a->p, *m = a->m, *v = a->v;
    size_t count = a->count;

    DMQ_EACH(size_t i = 0; i < count; i++)
    {
        p[i] = dmq_adam_move(p[i], g[i], &m[i], &v[i], s);
    }
}

dmq_status dmq_adam_cpu(dmq_queue *queue, const dmq_adam_args *a)
{
    dmq_adam_step s = dmq_adam_begin(a->lr, a->beta1, a->beta2, a->eps, a->step);

    (void)queue;
    assert(a->step >= 1);
    adam_all(a, &s);
    return DMQ_OK;
}

/* The blocks in ascending order for each number, as the reference has them. */
DMQ_CLONES static void sum_block(const dmq_sum_blocks_args *a, size_t at, size_t count)
{
    float sum[BLOCK] = { 0 };

    for (int k = 0; k < a->n_blocks; k++) {
        const float *x = a->x[k] + at;

        for (size_t i = 0; i < count; i++)
            sum[i] += x[i];
    }
    add_scaled(a->y + at, sum, count, a->alpha, a->add);
}

dmq_status dmq_sum_blocks_cpu(dmq_queue *queue, const dmq_sum_blocks_args *a)
{
    (void)queue;
    for (size_t at = 0; at < a->count; at += BLOCK)
        sum_block(a, at, a->count - at < BLOCK ? a->count - at : BLOCK);
    return DMQ_OK;
}

dmq_status dmq_dot_cpu(dmq_queue *queue, const dmq_dot_args *a)
{
    double sum[LANES] = { 0 };

    (void)queue;
    dot_lanes(sum, a->x, a->y, a->count);
    *a->out = sum_lanes(sum);
    return DMQ_OK;
}
