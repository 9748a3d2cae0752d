/**
 * A step of the logits of sample weights from the two parts of a hypergradient, for the n of a batch among all
 * `total` of them (bilevel/learn.h); what is decided on the way stays on the device.
 *
 *   take    w_i = softmax(s[pick_i] / tau) over the batch
 *   step    d = d_mse and d_gm joined by the policy (bilevel/gm_weight.h), divided by its rms;
 *           lambda and the rms are their medians over the first DMQ_LOGITS_FREEZE steps from then on
 *           ds_i = n (w_i / tau)(d_i - sum_j w_j d_j)
 *           Adam(0.9, 0.999, 1e-8) on s[pick_i]: moments and step counts belong to the samples
 *           ess = (sum w)^2 / (total sum w^2), w = softmax(s / tau) over all; below ess_stop the s of the batch
 *           are put back, and no later step changes anything
 *
 * All in double, rounded once where numbers are stored; the order of sums is an implementation's own.
 *
 * @see specs: gac.md 1.6
 */
#ifndef DMQ_KERNELS_LOGITS_H
#define DMQ_KERNELS_LOGITS_H

#include "kernels/kernel.h"

enum { DMQ_LOGITS_FREEZE = 8 };

/** How the two parts are joined: the values of dmq_gm_weight. */
typedef enum dmq_gm_weight {
    DMQ_GM_OFF,
    DMQ_GM_LITERAL,
    DMQ_GM_BALANCED,
    DMQ_GM_CAPPED,
    DMQ_GM_PROJECTED
} dmq_gm_weight;

/** Between steps; begins as zeros. */
typedef struct dmq_logits_state {
    double lambda, scale; /**< frozen; 0: not yet */
    double first_lambda[DMQ_LOGITS_FREEZE], first_scale[DMQ_LOGITS_FREEZE];
    double rho, cosine, used; /**< of the last step: dmq_gm_stats, with `used` the factor */
    double ess;               /**< after it */
    int steps;                /**< done, the one that stopped included */
    int stopped;              /**< 1: by ess */
} dmq_logits_state;

typedef struct dmq_logits_args {
    dmq_real *s;     /**< (total) */
    const int *pick; /**< (n), all different */
    dmq_real *w;     /**< (n); written by take */
    int n, total;
    double tau;
    /* step */
    dmq_real *m, *v; /**< (total): moments, zeros at first */
    int *visited;    /**< (total): steps of each, zeros at first */
    const dmq_real *d_mse, *d_gm;
    dmq_real *d, *s_old; /**< (n): scratch */
    dmq_logits_state *state;
    dmq_gm_weight policy;
    double rho_0, lr, ess_stop;
} dmq_logits_args;

dmq_status dmq_logits_take_ref(dmq_queue *queue, const dmq_logits_args *a);
dmq_status dmq_logits_step_ref(dmq_queue *queue, const dmq_logits_args *a);

#endif
