/* A step of the logits of sample weights, plain loops. */
#include "kernels/logits_math.h"

dmq_status dmq_logits_take_ref(dmq_queue *queue, const dmq_logits_args *a)
{
    dmq_real top = a->s[a->pick[0]];
    double sum = 0;

    (void)queue;
    for (int i = 1; i < a->n; i++) {
        if (a->s[a->pick[i]] > top)
            top = a->s[a->pick[i]];
    }
    for (int i = 0; i < a->n; i++)
        sum += dmq_logits_power(a, a->s[a->pick[i]], top);
    for (int i = 0; i < a->n; i++)
        a->w[i] = (dmq_real)(dmq_logits_power(a, a->s[a->pick[i]], top) / sum);
    return DMQ_OK;
}

static double centre_of(const dmq_logits_args *a, const dmq_real *x)
{
    double sum = 0, mass = 0;

    for (int i = 0; i < a->n; i++) {
        sum += (double)a->w[i] * (double)x[i];
        mass += (double)a->w[i];
    }
    return mass > 0 ? sum / mass : 0;
}

/* d, and its rms. */
static double join(const dmq_logits_args *a, dmq_gm_join *j)
{
    double cm = centre_of(a, a->d_mse), cg = centre_of(a, a->d_gm), squares = 0;
    dmq_gm_sums s = { 0, 0, 0 };

    for (int i = 0; i < a->n; i++) {
        double m = (double)a->d_mse[i] - cm, g = (double)a->d_gm[i] - cg;

        s.mm += m * m;
        s.gg += g * g;
        s.mg += m * g;
    }
    *j = dmq_gm_join_of(s, a->policy, a->rho_0, a->state->lambda);
    for (int i = 0; i < a->n; i++) {
        double m = (double)a->d_mse[i] - cm, g = (double)a->d_gm[i] - cg;

        a->d[i] = (dmq_real)(m + j->factor * (g - j->along * m));
        squares += (double)a->d[i] * (double)a->d[i];
    }
    return sqrt(squares / a->n);
}

static double ess_of(const dmq_logits_args *a)
{
    dmq_real top = a->s[0];
    double sum = 0, squares = 0;

    for (int i = 1; i < a->total; i++) {
        if (a->s[i] > top)
            top = a->s[i];
    }
    for (int i = 0; i < a->total; i++) {
        double e = dmq_logits_power(a, a->s[i], top);

        sum += e;
        squares += e * e;
    }
    return sum * sum / (squares * a->total);
}

dmq_status dmq_logits_step_ref(dmq_queue *queue, const dmq_logits_args *a)
{
    double scale, mean = 0;
    dmq_gm_join j;

    (void)queue;
    if (a->state->stopped)
        return DMQ_OK;
    scale = join(a, &j);
    scale = dmq_logits_note(a->state, &j, scale);
    for (int i = 0; i < a->n; i++)
        mean += (double)a->w[i] * (double)a->d[i] / scale;
    for (int i = 0; i < a->n; i++) {
        double ds = (double)a->w[i] / a->tau * ((double)a->d[i] / scale - mean);

        a->s_old[i] = a->s[a->pick[i]];
        dmq_logits_move(a, a->pick[i], ds * a->n); /* at the scale of d, whatever the batch */
    }
    a->state->ess = ess_of(a);
    if (a->state->ess < a->ess_stop) {
        for (int i = 0; i < a->n; i++)
            a->s[a->pick[i]] = a->s_old[i];
        a->state->stopped = 1;
    }
    return DMQ_OK;
}
