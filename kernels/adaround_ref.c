/* AdaRound, plain loops: every pass runs over layers, channels, elements. */
#include "kernels/adaround.h"
#include "kernels/adaround_math.h"
#include "kernels/optim_math.h"

#include <assert.h>

/* dalpha[at] = d, or += d. */
static void put(const dmq_adaround_layer *l, size_t at, dmq_real d, int add)
{
    l->dalpha[at] = add ? l->dalpha[at] + d : d;
}

dmq_status dmq_adaround_init_ref(dmq_queue *queue, const dmq_adaround_args *a)
{
    (void)queue;
    for (int i = 0; i < a->n_layers; i++) {
        const dmq_adaround_layer *l = &a->layer[i];
        size_t at = 0;

        for (int k = 0; k < l->k; k++) {
            for (int j = 0; j < l->per; j++, at++)
                l->alpha[at] = dmq_ada_init(l->w[at], l->scale[k]);
        }
    }
    return DMQ_OK;
}

dmq_status dmq_adaround_forward_ref(dmq_queue *queue, const dmq_adaround_args *a)
{
    (void)queue;
    for (int i = 0; i < a->n_layers; i++) {
        const dmq_adaround_layer *l = &a->layer[i];
        size_t at = 0;

        for (int k = 0; k < l->k; k++) {
            for (int j = 0; j < l->per; j++, at++) {
                dmq_real h = a->hard ? dmq_ada_up(l->alpha[at]) : dmq_ada_h(l->alpha[at]);
                dmq_real q = dmq_ada_code(l->w[at], h, l->scale[k], l->zero[k]);

                q = dmq_fq_clip(q, l->lo, l->hi);
                if (a->hard && l->code)
                    l->code[at] = dmq_fq_store(q);
                l->w_soft[at] = dmq_fq_value(q, l->scale[k], l->zero[k]);
            }
        }
    }
    return DMQ_OK;
}

dmq_status dmq_adaround_backward_ref(dmq_queue *queue, const dmq_adaround_args *a)
{
    (void)queue;
    for (int i = 0; i < a->n_layers; i++) {
        const dmq_adaround_layer *l = &a->layer[i];
        size_t at = 0;

        for (int k = 0; k < l->k; k++) {
            for (int j = 0; j < l->per; j++, at++) {
                dmq_real d =
                    dmq_ada_d(l->w[at], l->alpha[at], l->scale[k], l->zero[k], l->lo, l->hi);

                put(l, at, d * l->dw[at], a->add);
            }
        }
    }
    return DMQ_OK;
}

dmq_status dmq_adaround_jvp_ref(dmq_queue *queue, const dmq_adaround_args *a)
{
    (void)queue;
    for (int i = 0; i < a->n_layers; i++) {
        const dmq_adaround_layer *l = &a->layer[i];
        size_t at = 0;

        for (int k = 0; k < l->k; k++) {
            for (int j = 0; j < l->per; j++, at++) {
                dmq_real d =
                    dmq_ada_d(l->w[at], l->alpha[at], l->scale[k], l->zero[k], l->lo, l->hi);

                l->w_tan[at] = l->alpha_tan ? d * l->alpha_tan[at] : d;
            }
        }
    }
    return DMQ_OK;
}

dmq_status dmq_adaround_curve_ref(dmq_queue *queue, const dmq_adaround_args *a)
{
    (void)queue;
    for (int i = 0; i < a->n_layers; i++) {
        const dmq_adaround_layer *l = &a->layer[i];
        size_t at = 0;

        for (int k = 0; k < l->k; k++) {
            for (int j = 0; j < l->per; j++, at++) {
                dmq_real d2 =
                    dmq_ada_d2(l->w[at], l->alpha[at], l->scale[k], l->zero[k], l->lo, l->hi);

                put(l, at, d2 * l->alpha_tan[at] * l->dw[at], a->add);
            }
        }
    }
    return DMQ_OK;
}

dmq_status dmq_adaround_regularize_ref(dmq_queue *queue, const dmq_adaround_args *a)
{
    double sum = 0.0;

    (void)queue;
    for (int i = 0; i < a->n_layers; i++) {
        const dmq_adaround_layer *l = &a->layer[i];
        size_t count = (size_t)l->k * (size_t)l->per;

        for (size_t at = 0; at < count; at++) {
            if (a->reg_weight == 0) {
                put(l, at, 0, a->add);
                continue;
            }
            sum += (double)dmq_ada_reg(l->alpha[at], a->reg_beta);
            put(l, at, a->reg_weight * dmq_ada_dreg(l->alpha[at], a->reg_beta), a->add);
        }
    }
    if (a->reg_value)
        *a->reg_value = (double)a->reg_weight * sum;
    return DMQ_OK;
}

dmq_status dmq_adaround_step_ref(dmq_queue *queue, const dmq_adaround_step_args *a)
{
    const dmq_adaround_args *r = &a->round;
    const dmq_step_scalars s = dmq_adaround_scalars(a);
    size_t moment = 0;
    double sum = 0.0;

    (void)queue;
    assert(a->scalars || a->step >= 1);
    for (int i = 0; i < r->n_layers; i++) {
        const dmq_adaround_layer *l = &r->layer[i];
        size_t at = 0;

        for (int k = 0; k < l->k; k++) {
            dmq_real scale = l->scale[k], zero = l->zero[k];

            for (int j = 0; j < l->per; j++, at++, moment++) {
                dmq_real w = l->w[at], alpha = l->alpha[at];
                dmq_real g = dmq_ada_d(w, alpha, scale, zero, l->lo, l->hi) * l->dw[at];

                if (s.reg_weight != 0) {
                    sum += (double)dmq_ada_reg(alpha, s.reg_beta);
                    g += s.reg_weight * dmq_ada_dreg(alpha, s.reg_beta);
                }
                alpha = dmq_adam_move(alpha, g, &a->m[moment], &a->v[moment], s.adam);
                l->alpha[at] = alpha;
                l->w_soft[at] = dmq_ada_soft(w, alpha, scale, zero, l->lo, l->hi);
            }
        }
    }
    if (r->reg_value)
        *r->reg_value = (double)s.reg_weight * sum;
    return DMQ_OK;
}
