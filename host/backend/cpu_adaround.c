/* AdaRound as vector code: the reference's formulas with the exponential of cpu_math.h. */
#include "backend/cpu_math.h"
#include "backend/cpu_quant.h"
#include "kernels/adaround_math.h"
#include "kernels/optim_math.h"

#include <assert.h>

enum { LANES = 16, BLOCK = 256 };

/* One output channel of a layer. */
typedef struct run {
    size_t at, count;
    float scale, zero, lo, hi;
} run;

/* ------------------------------------------------------------------ one element */

DMQ_INLINE float h_of(float s)
{
    return dmq_fq_clip(dmq_ada_stretch(s), 0, 1);
}

DMQ_INLINE float soft_of(float w, float s, const run *r)
{
    float code = dmq_ada_code(w, h_of(s), r->scale, r->zero);

    return dmq_fq_value(dmq_fq_clip(code, r->lo, r->hi), r->scale, r->zero);
}

DMQ_INLINE float d_of(float w, float s, const run *r)
{
    float code = dmq_ada_code(w, h_of(s), r->scale, r->zero);

    return code <= r->lo || code >= r->hi ? 0 : r->scale * dmq_ada_slope(s);
}

/* The regularizer and its derivative with one power: |t|^beta = |t| |t|^(beta-1). */
DMQ_INLINE float reg_of(float *slope, float s, float beta)
{
    float t = 2 * h_of(s) - 1;
    float p = dmq_cpu_pow(fabsf(t), beta - 1);
    float d = 2 * beta * p * dmq_ada_slope(s);

    *slope = t < 0 ? d : -d;
    return 1 - p * fabsf(t);
}

/* ------------------------------------------------------------------ one channel */

DMQ_CLONES static void soft_run(const dmq_adaround_layer *l, const run *of)
{
    const run r = *of;
    const float *w = l->w + r.at, *alpha = l->alpha + r.at;
    float *out = l->w_soft + r.at;

    DMQ_EACH(size_t i = 0; i < r.count; i++)
    {
        out[i] = soft_of(w[i], dmq_cpu_sigmoid(alpha[i]), &r);
    }
}

DMQ_CLONES static void hard_run(const dmq_adaround_layer *l, const run *of)
{
    const run r = *of;
    const float *w = l->w + r.at, *alpha = l->alpha + r.at;
    float *out = l->w_soft + r.at;
    int16_t *code = l->code ? l->code + r.at : NULL;

    DMQ_EACH(size_t i = 0; i < r.count; i++)
    {
        float q = dmq_ada_code(w[i], dmq_ada_up(alpha[i]), r.scale, r.zero);

        out[i] = dmq_fq_value(dmq_fq_clip(q, r.lo, r.hi), r.scale, r.zero);
    }
    for (size_t i = 0; code && i < r.count; i++) {
        float q = dmq_ada_code(w[i], dmq_ada_up(alpha[i]), r.scale, r.zero);

        code[i] = dmq_fq_store(dmq_fq_clip(q, r.lo, r.hi));
    }
}

/* out = D */
DMQ_CLONES static void slope_alone_run(const dmq_adaround_layer *l, const run *of, float *out)
{
    const run r = *of;
    const float *w = l->w + r.at, *alpha = l->alpha + r.at;

    DMQ_EACH(size_t i = 0; i < r.count; i++)
    {
        out[i] = d_of(w[i], dmq_cpu_sigmoid(alpha[i]), &r);
    }
}

/* out = D v, or += : backward and jvp alike. */
DMQ_CLONES static void slope_run(const dmq_adaround_layer *l, const run *of, float *out,
                                 const float *v, int add)
{
    const run r = *of;
    const float *w = l->w + r.at, *alpha = l->alpha + r.at;

    if (add) {
        DMQ_EACH(size_t i = 0; i < r.count; i++)
        {
            out[i] += d_of(w[i], dmq_cpu_sigmoid(alpha[i]), &r) * v[i];
        }
        return;
    }
    DMQ_EACH(size_t i = 0; i < r.count; i++)
    {
        out[i] = d_of(w[i], dmq_cpu_sigmoid(alpha[i]), &r) * v[i];
    }
}

/* dalpha = D2 alpha_tan dw, or += */
DMQ_CLONES static void curve_run(const dmq_adaround_layer *l, const run *of, int add)
{
    const run r = *of;
    const float *w = l->w + r.at, *alpha = l->alpha + r.at;
    const float *tan = l->alpha_tan + r.at, *dw = l->dw + r.at;
    float *out = l->dalpha + r.at;

    if (!add) {
        DMQ_EACH(size_t i = 0; i < r.count; i++)
        {
            float s = dmq_cpu_sigmoid(alpha[i]);

            out[i] = d_of(w[i], s, &r) * (1 - 2 * s) * tan[i] * dw[i];
        }
        return;
    }
    DMQ_EACH(size_t i = 0; i < r.count; i++)
    {
        float s = dmq_cpu_sigmoid(alpha[i]);

        out[i] += d_of(w[i], s, &r) * (1 - 2 * s) * tan[i] * dw[i];
    }
}

/* Block by block through the first-level cache; sums in 16 lanes, so that their order is fixed and
   their additions are vectors. */
DMQ_INLINE void add_lanes(double sum[LANES], const float value[BLOCK])
{
    for (size_t i = 0; i < BLOCK; i += LANES) {
        for (size_t k = 0; k < LANES; k++)
            sum[k] += (double)value[i + k];
    }
}

DMQ_INLINE double sum_lanes(const double sum[LANES])
{
    double total = 0;

    for (size_t k = 0; k < LANES; k++)
        total += sum[k];
    return total;
}

/* dalpha = weight dR/dalpha, or +=; the sum of R/weight */
DMQ_CLONES static double reg_run(float *dalpha, const float *alpha, size_t count,
                                 const dmq_adaround_args *a)
{
    const float beta = a->reg_beta, weight = a->reg_weight;
    double sum[LANES] = { 0 };

    for (size_t at = 0; at < count; at += BLOCK, alpha += BLOCK, dalpha += BLOCK) {
        size_t n = count - at < BLOCK ? count - at : BLOCK;
        float value[BLOCK], d[BLOCK];

        for (size_t i = 0; i < n; i++)
            value[i] = reg_of(&d[i], dmq_cpu_sigmoid(alpha[i]), beta);
        for (size_t i = n; i < BLOCK; i++)
            value[i] = 0;
        add_lanes(sum, value);
        if (a->add) {
            for (size_t i = 0; i < n; i++)
                dalpha[i] += weight * d[i];
        } else {
            for (size_t i = 0; i < n; i++)
                dalpha[i] = weight * d[i];
        }
    }
    return sum_lanes(sum);
}

/* g = D dw + weight dR/dalpha, Adam, w_soft of the new alpha; the sum of R/weight */
DMQ_CLONES static double step_run(const dmq_adaround_layer *l, const run *of, float *m, float *v,
                                  const dmq_step_scalars *step)
{
    const float beta = step->reg_beta, weight = step->reg_weight;
    const dmq_adam_step adam = step->adam;
    double sum[LANES] = { 0 };

    for (size_t at = 0; at < of->count; at += BLOCK, m += BLOCK, v += BLOCK) {
        const run r = { of->at + at, of->count - at < BLOCK ? of->count - at : BLOCK,
                        of->scale,   of->zero,
                        of->lo,      of->hi };
        const float *w = l->w + r.at, *dw = l->dw + r.at;
        float *alpha = l->alpha + r.at, *out = l->w_soft + r.at;
        float s[BLOCK], g[BLOCK], value[BLOCK], d[BLOCK];

        for (size_t i = 0; i < r.count; i++) {
            s[i] = dmq_cpu_sigmoid(alpha[i]);
            g[i] = d_of(w[i], s[i], &r) * dw[i];
        }
        if (weight != 0) {
            for (size_t i = 0; i < r.count; i++) {
                value[i] = reg_of(&d[i], s[i], beta);
                g[i] += weight * d[i];
            }
            for (size_t i = r.count; i < BLOCK; i++)
                value[i] = 0;
            add_lanes(sum, value);
        }
        DMQ_EACH(size_t i = 0; i < r.count; i++)
        {
            float p = dmq_adam_move(alpha[i], g[i], &m[i], &v[i], adam);

            alpha[i] = p;
            out[i] = soft_of(w[i], dmq_cpu_sigmoid(p), &r);
        }
    }
    return sum_lanes(sum);
}

/* ------------------------------------------------------------------ the passes */

static run run_of(const dmq_adaround_layer *l, int k)
{
    run r = { (size_t)k * (size_t)l->per, (size_t)l->per, l->scale[k], l->zero[k], l->lo, l->hi };

    return r;
}

typedef void run_fn(const dmq_adaround_layer *l, const run *r, int add);

/* fn for every channel of every layer. */
static void walk(const dmq_adaround_args *a, run_fn *fn, int add)
{
    for (int i = 0; i < a->n_layers; i++) {
        for (int k = 0; k < a->layer[i].k; k++) {
            run r = run_of(&a->layer[i], k);

            fn(&a->layer[i], &r, add);
        }
    }
}

static void backward_one(const dmq_adaround_layer *l, const run *r, int add)
{
    slope_run(l, r, l->dalpha + r->at, l->dw + r->at, add);
}

static void jvp_one(const dmq_adaround_layer *l, const run *r, int add)
{
    if (l->alpha_tan)
        slope_run(l, r, l->w_tan + r->at, l->alpha_tan + r->at, add);
    else
        slope_alone_run(l, r, l->w_tan + r->at);
}

static void curve_one(const dmq_adaround_layer *l, const run *r, int add)
{
    curve_run(l, r, add);
}

static void forward_one(const dmq_adaround_layer *l, const run *r, int hard)
{
    if (hard)
        hard_run(l, r);
    else
        soft_run(l, r);
}

dmq_status dmq_adaround_forward_cpu(dmq_queue *queue, const dmq_adaround_args *a)
{
    (void)queue;
    walk(a, forward_one, a->hard);
    return DMQ_OK;
}

dmq_status dmq_adaround_backward_cpu(dmq_queue *queue, const dmq_adaround_args *a)
{
    (void)queue;
    walk(a, backward_one, a->add);
    return DMQ_OK;
}

dmq_status dmq_adaround_jvp_cpu(dmq_queue *queue, const dmq_adaround_args *a)
{
    (void)queue;
    walk(a, jvp_one, 0);
    return DMQ_OK;
}

dmq_status dmq_adaround_curve_cpu(dmq_queue *queue, const dmq_adaround_args *a)
{
    (void)queue;
    walk(a, curve_one, a->add);
    return DMQ_OK;
}

dmq_status dmq_adaround_regularize_cpu(dmq_queue *queue, const dmq_adaround_args *a)
{
    double sum = 0;

    if (a->reg_weight == 0) /* nothing to compute */
        return dmq_adaround_regularize_ref(queue, a);
    for (int i = 0; i < a->n_layers; i++) {
        const dmq_adaround_layer *l = &a->layer[i];

        sum += reg_run(l->dalpha, l->alpha, (size_t)l->k * (size_t)l->per, a);
    }
    if (a->reg_value)
        *a->reg_value = (double)a->reg_weight * sum;
    return DMQ_OK;
}

dmq_status dmq_adaround_step_cpu(dmq_queue *queue, const dmq_adaround_step_args *a)
{
    const dmq_step_scalars step = dmq_adaround_scalars(a);
    float *m = a->m, *v = a->v;
    double sum = 0;

    (void)queue;
    assert(a->scalars || a->step >= 1);
    for (int i = 0; i < a->round.n_layers; i++) {
        const dmq_adaround_layer *l = &a->round.layer[i];

        for (int k = 0; k < l->k; k++, m += l->per, v += l->per) {
            run r = run_of(l, k);

            sum += step_run(l, &r, m, v, &step);
        }
    }
    if (a->round.reg_value)
        *a->round.reg_value = (double)step.reg_weight * sum;
    return DMQ_OK;
}
