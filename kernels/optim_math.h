/**
 * Adam of one element (optim.h).
 */
#ifndef DMQ_KERNELS_OPTIM_MATH_H
#define DMQ_KERNELS_OPTIM_MATH_H

#include "kernels/kernel.h"

/** What all elements of a step share. */
typedef struct dmq_adam_step {
    dmq_real beta1, beta2; /**< decay of the moments */
    dmq_real rate;         /**< lr / (1 - beta1^step) */
    dmq_real root;         /**< 1 / sqrt(1 - beta2^step) */
    dmq_real eps;
} dmq_adam_step;

/** The constants of step 1, 2, ..., formed in double, rounded once. Host. */
DMQ_HD dmq_adam_step dmq_adam_begin(dmq_real lr, dmq_real beta1, dmq_real beta2, dmq_real eps,
                                    int step)
{
    dmq_adam_step s;

    s.beta1 = beta1;
    s.beta2 = beta2;
    s.rate = (dmq_real)((double)lr / (1.0 - pow((double)beta1, (double)step)));
    s.root = (dmq_real)(1.0 / sqrt(1.0 - pow((double)beta2, (double)step)));
    s.eps = eps;
    return s;
}

/** p after the moments m and v took in g. */
DMQ_HD dmq_real dmq_adam_move(dmq_real p, dmq_real g, dmq_real *m, dmq_real *v, dmq_adam_step s)
{
    dmq_real m1 = s.beta1 * *m + (1 - s.beta1) * g;
    dmq_real v1 = s.beta2 * *v + (1 - s.beta2) * (g * g);

    *m = m1;
    *v = v1;
    return p - s.rate * m1 / (dmq_sqrt(v1) * s.root + s.eps);
}

#endif
