#include "bilevel/gm_weight.h"

#include "kernels/logits_math.h"

static double centre_of(const dmq_real *x, const dmq_real *w, int n)
{
    double sum = 0, mass = 0;

    for (int i = 0; i < n; i++) {
        sum += (double)w[i] * (double)x[i];
        mass += (double)w[i];
    }
    return mass > 0 ? sum / mass : 0;
}

void dmq_gm_combine(dmq_real *d, const dmq_real *d_mse, const dmq_real *d_gm, const dmq_real *w,
                    int n, dmq_gm_weight policy, double rho_0, double lambda, dmq_gm_stats *stats)
{
    double cm = centre_of(d_mse, w, n), cg = centre_of(d_gm, w, n);
    dmq_gm_sums sums = { 0, 0, 0 };
    dmq_gm_join j;

    for (int i = 0; i < n; i++) {
        double m = (double)d_mse[i] - cm, g = (double)d_gm[i] - cg;

        sums.mm += m * m;
        sums.gg += g * g;
        sums.mg += m * g;
    }
    j = dmq_gm_join_of(sums, policy, rho_0, lambda);
    *stats = (dmq_gm_stats){ .rho = j.rho, .cosine = j.cosine, .lambda = j.factor };
    for (int i = 0; i < n; i++) {
        double m = (double)d_mse[i] - cm, g = (double)d_gm[i] - cg;

        d[i] = (dmq_real)(m + j.factor * (g - j.along * m));
    }
}
