#include "kernels/fake_quant_math.h"
#include "kernels/group_norm.h"
#include "kernels/pointwise_math.h"
#include "kernels/ref_util.h"

/* The values that one element passes through. */
typedef struct element {
    dmq_real norm;   /* (x + shift - mean) rstd */
    dmq_real affine; /* gamma norm + beta */
    dmq_real slope;  /* dy/daffine: SiLU's, where the quantizer does not clip */
} element;

static ptrdiff_t at(const dmq_group_norm_args *a, int n, int p, int c)
{
    return ((ptrdiff_t)n * a->hw + p) * a->c + c;
}

static dmq_real shifted(const dmq_group_norm_args *a, int n, int p, int c)
{
    dmq_real x = a->x[at(a, n, p, c)];

    return a->shift ? x + a->shift[(ptrdiff_t)n * a->c + c] : x;
}

static element element_of(const dmq_group_norm_args *a, int n, int p, int c)
{
    ptrdiff_t group = (ptrdiff_t)n * a->groups + c / (a->c / a->groups);
    element e = { 0, 0, 1 };

    e.norm = (shifted(a, n, p, c) - a->mean[group]) * a->rstd[group];
    e.affine = e.norm * a->gamma[c] + a->beta[c];
    if (a->silu)
        e.slope = dmq_silu_derive(e.affine);
    if (a->quant) {
        dmq_real act = a->silu ? dmq_silu(e.affine) : e.affine;
        int row = a->row ? a->row[n] : 0;

        if (!dmq_fq_inside(dmq_fq_code(act, a->scale[row], a->zero[row]), a->lo, a->hi))
            e.slope = 0;
    }
    return e;
}

static double group_count(const dmq_group_norm_args *a)
{
    return (double)a->hw * a->c / a->groups;
}

/* A group is hw pixels times a few neighbouring channels. */
#define FOR_GROUP(a, g)               \
    for (int p = 0; p < (a)->hw; p++) \
        for (int c = (g) * ((a)->c / (a)->groups); c < ((g) + 1) * ((a)->c / (a)->groups); c++)

static void measure_group(const dmq_group_norm_args *a, int n, int g)
{
    ptrdiff_t group = (ptrdiff_t)n * a->groups + g;
    double count = group_count(a), sum = 0, squares = 0;

    FOR_GROUP(a, g)
    sum += (double)shifted(a, n, p, c);
    a->mean[group] = (dmq_real)(sum / count);
    FOR_GROUP(a, g)
    {
        dmq_real centred = shifted(a, n, p, c) - a->mean[group];

        squares += (double)centred * (double)centred;
    }
    a->rstd[group] = (dmq_real)(1.0 / sqrt(squares / count + (double)a->eps));
}

dmq_status dmq_group_norm_forward_ref(dmq_queue *queue, const dmq_group_norm_args *a)
{
    (void)queue;
    for (int n = 0; n < a->n; n++) {
        for (int g = 0; g < a->groups; g++) {
            ptrdiff_t group = (ptrdiff_t)n * a->groups + g;

            measure_group(a, n, g);
            FOR_GROUP(a, g)
            {
                dmq_real y = (shifted(a, n, p, c) - a->mean[group]) * a->rstd[group];

                y = y * a->gamma[c] + a->beta[c];
                if (a->silu)
                    y = dmq_silu(y);
                if (a->quant) {
                    int row = a->row ? a->row[n] : 0;

                    y = dmq_fq(y, a->scale[row], a->zero[row], a->lo, a->hi);
                }
                a->y[at(a, n, p, c)] = y;
            }
        }
    }
    return DMQ_OK;
}

/* dx = rstd (dnorm - mean dnorm - norm mean(dnorm norm)), dnorm = gamma slope dy */
static void backward_group(const dmq_group_norm_args *a, int n, int g)
{
    ptrdiff_t group = (ptrdiff_t)n * a->groups + g;
    double count = group_count(a), sum = 0, dot = 0;

    FOR_GROUP(a, g)
    {
        element e = element_of(a, n, p, c);
        dmq_real daffine = e.slope * a->dy[at(a, n, p, c)];
        dmq_real dnorm = daffine * a->gamma[c];

        sum += (double)dnorm;
        dot += (double)dnorm * (double)e.norm;
        if (a->dgamma)
            a->dgamma[c] += daffine * e.norm;
        if (a->dbeta)
            a->dbeta[c] += daffine;
    }
    if (!a->dx && !a->dshift)
        return;
    FOR_GROUP(a, g)
    {
        element e = element_of(a, n, p, c);
        dmq_real dnorm = e.slope * a->dy[at(a, n, p, c)] * a->gamma[c];
        dmq_real dx =
            a->rstd[group] * (dnorm - (dmq_real)(sum / count) - e.norm * (dmq_real)(dot / count));

        if (a->dx)
            dmq_ref_put(a->dx + at(a, n, p, c), dx, a->add);
        if (a->dshift)
            a->dshift[(ptrdiff_t)n * a->c + c] += dx;
    }
}

dmq_status dmq_group_norm_backward_ref(dmq_queue *queue, const dmq_group_norm_args *a)
{
    (void)queue;
    if (a->dgamma)
        dmq_ref_start(a->dgamma, a->c, a->add_param);
    if (a->dbeta)
        dmq_ref_start(a->dbeta, a->c, a->add_param);
    if (a->dshift)
        dmq_ref_start(a->dshift, (ptrdiff_t)a->n * a->c, a->add_shift);
    for (int n = 0; n < a->n; n++) {
        for (int g = 0; g < a->groups; g++)
            backward_group(a, n, g);
    }
    return DMQ_OK;
}

static dmq_real shifted_tan(const dmq_group_norm_args *a, int n, int p, int c)
{
    dmq_real x_tan = a->x_tan ? a->x_tan[at(a, n, p, c)] : 0;

    return a->shift_tan ? x_tan + a->shift_tan[(ptrdiff_t)n * a->c + c] : x_tan;
}

static void jvp_group(const dmq_group_norm_args *a, int n, int g)
{
    ptrdiff_t group = (ptrdiff_t)n * a->groups + g;
    double count = group_count(a), sum = 0, dot = 0;

    FOR_GROUP(a, g)
    {
        dmq_real x_tan = shifted_tan(a, n, p, c);

        sum += (double)x_tan;
        dot += (double)x_tan * (double)element_of(a, n, p, c).norm;
    }
    FOR_GROUP(a, g)
    {
        element e = element_of(a, n, p, c);
        dmq_real tan = a->rstd[group] * (shifted_tan(a, n, p, c) - (dmq_real)(sum / count) -
                                         e.norm * (dmq_real)(dot / count));

        tan *= a->gamma[c];
        if (a->gamma_tan)
            tan += a->gamma_tan[c] * e.norm;
        if (a->beta_tan)
            tan += a->beta_tan[c];
        a->y_tan[at(a, n, p, c)] = e.slope * tan;
    }
}

dmq_status dmq_group_norm_jvp_ref(dmq_queue *queue, const dmq_group_norm_args *a)
{
    (void)queue;
    for (int n = 0; n < a->n; n++) {
        for (int g = 0; g < a->groups; g++)
            jvp_group(a, n, g);
    }
    return DMQ_OK;
}
