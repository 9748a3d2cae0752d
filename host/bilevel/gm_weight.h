/**
 * How the alignment term is weighted against the reconstruction term.
 *
 *   centred: x - sum_i w_i x_i, what the softmax can see       rho = |d_gm| / |d_mse|, both centred
 *
 *   off        d = d_mse
 *   literal    d = d_mse + d_gm                      the paper's sum; rho is about 1e-3 (R3) or 1e-13 (R1)
 *   balanced   d = d_mse + (rho_0 / rho) d_gm        rho_0 = 1
 *   capped     the same with rho_0 = 0.3: keeps the sign of d_mse where d_gm opposes it
 *   projected  d = d_mse + rho_0 |d_mse| p/|p|,      p the part of d_gm orthogonal to d_mse (default)
 *
 * @see specs: gac.md 1.6.2 and 7, gac_study.md 3.2
 */
#ifndef DMQ_BILEVEL_GM_WEIGHT_H
#define DMQ_BILEVEL_GM_WEIGHT_H

#include "kernels/logits.h"

typedef struct dmq_gm_stats {
    double rho;    /**< |d_gm|/|d_mse|, centred, at weight 1 */
    double cosine; /**< between the centred d_mse and d_gm */
    double lambda; /**< factor of d_gm, or of its orthogonal part, that was used */
} dmq_gm_stats;

/**
 * d (n) out, centred; may be neither input. lambda > 0 fixes the factor (as frozen after the first
 * iterations of the exact loop), lambda <= 0 computes it from rho_0.
 */
void dmq_gm_combine(dmq_real *d, const dmq_real *d_mse, const dmq_real *d_gm, const dmq_real *w,
                    int n, dmq_gm_weight policy, double rho_0, double lambda, dmq_gm_stats *stats);

#endif
