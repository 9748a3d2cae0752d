#include "bilevel/gm_weight.h"

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
    double mm = 0, gg = 0, mg = 0, along, rest, factor = 0;

    for (int i = 0; i < n; i++) {
        double m = (double)d_mse[i] - cm, g = (double)d_gm[i] - cg;

        mm += m * m;
        gg += g * g;
        mg += m * g;
    }
    stats->rho = mm > 0 ? sqrt(gg / mm) : 0;
    stats->cosine = mm > 0 && gg > 0 ? mg / sqrt(mm * gg) : 0;
    along = mm > 0 ? mg / mm : 0; /* d_gm = along * d_mse + rest */
    rest = gg - along * mg;       /* squared norm of the orthogonal part */
    if (policy != DMQ_GM_PROJECTED)
        along = 0;
    if (lambda > 0) {
        factor = policy == DMQ_GM_OFF ? 0 : lambda;
    } else if (policy == DMQ_GM_LITERAL) {
        factor = 1;
    } else if (policy == DMQ_GM_BALANCED || policy == DMQ_GM_CAPPED) {
        factor = gg > 0 ? rho_0 * sqrt(mm / gg) : 0;
    } else if (policy == DMQ_GM_PROJECTED) { /* below rounding there is no orthogonal part */
        factor = rest > 1e-12 * gg ? rho_0 * sqrt(mm / rest) : 0;
    }
    stats->lambda = factor;
    for (int i = 0; i < n; i++) {
        double m = (double)d_mse[i] - cm, g = (double)d_gm[i] - cg;

        d[i] = (dmq_real)(m + factor * (g - along * m));
    }
}
