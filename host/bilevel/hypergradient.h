/**
 * Hypergradient: how the loss on the validation samples, after one weighted inner step, depends on the
 * sample weights.
 *
 *   theta* = theta - eta J w,      J = [c_1 g_1 ... c_n g_n] at theta,  g_i = d ell_i / d theta
 *   g_t, H_t: gradient and Hessian at theta* of L_t, the mean of ell over group t;  gbar = mean_t g_t
 *   c = 2/(K(K-1)),  S_t = sum_{k != t} of what is compared
 *
 *   d_mse = -eta J^T gbar                                                (all forms)
 *   surrogate  (R1)  compares G_t = -eta J^T g_t:   d_gm = eta^2 J^T sum_t H_t (J phi_t)
 *   original   (R3)  compares g_t:                  d_gm = -eta J^T sum_t H_t phi_t
 *        dot:    phi_t = -c S_t                                  value = -c sum_{t<k} <a_t, a_k>
 *        cosine: phi_t = -c (S_t - a_t (a_t . S_t)) / |a_t|, with unit vectors a_t
 *   sequential (R2)  w~ <- w; for the groups in random order w~ <- w~ - rate G_t(w~);
 *                    d = (w - w~)/(rate K), d_gm = d - d_mse; no Hessian. Its mean over orders is the
 *                    gradient of L_MSE + rate (K-1)/4 L_GM up to O(rate^2)
 *
 * d_mse and d_gm are gradients with respect to w; how they are joined is gm_weight.h. Hessian-vector
 * products are central differences of gradients, each group with its own step of hvp_move rms in
 * theta, and contain the rounding's curvature because theta itself is moved.
 *
 * An evaluation is a sequence of passes on the device, between which the small arithmetic of kernels/hyper.h
 * stands: nothing waits for the host before its results are asked for.
 *
 * explicit: J is stored, 4 n P bytes, one pass builds it. matrix_free: J v is a weighted backward pass,
 * J^T v one forward-mode pass. Both give the same numbers to rounding (tested).
 *
 * @see GAC, arXiv:2602.01289; Fish, arXiv:2104.09937 (sequential form); specs gac.md 1.2 to 1.5
 */
#ifndef DMQ_BILEVEL_HYPERGRADIENT_H
#define DMQ_BILEVEL_HYPERGRADIENT_H

#include "recon/problem.h"

typedef enum dmq_gm_form {
    DMQ_GM_SURROGATE,  /**< R1 */
    DMQ_GM_SEQUENTIAL, /**< R2 */
    DMQ_GM_ORIGINAL    /**< R3 */
} dmq_gm_form;

#define DMQ_MAX_GROUPS 32

/** Validation samples of each timestep group. */
typedef struct dmq_groups {
    int k;
    const int *sample[DMQ_MAX_GROUPS];
    int count[DMQ_MAX_GROUPS];
} dmq_groups;

typedef struct dmq_hyper_config {
    dmq_gm_form form;
    int with_gm;   /**< 0: only d_mse (no Hessian) */
    int cosine;    /**< compare directions instead of vectors */
    int normalize; /**< c_i = 1/|g_i| instead of 1: weights by cosine */
    int matrix_free;
    double eta;          /**< inner step */
    double hvp_move;     /**< rms of the step of a central difference, in units of theta: 1e-2 */
    double rate;         /**< sequential: step in w per group */
    uint64_t order_seed; /**< sequential: order of the groups */
    uint32_t order_step;
} dmq_hyper_config;

typedef struct dmq_hyper dmq_hyper;

/** Memory for problems of P parameters, batches of up to n samples and k groups. */
dmq_status dmq_hyper_create(dmq_hyper **out, const dmq_problem *problem, int n, int k,
                            const dmq_hyper_config *config);
void dmq_hyper_destroy(dmq_hyper *hyper);

/** What one evaluation found. */
typedef struct dmq_hyper_result {
    double loss_mse; /**< mean over groups of L_t(theta*) */
    double loss_gm;  /**< value of the alignment term */
    double move;     /**< rms of theta* - theta */
    double cosine;   /**< mean pairwise cosine of g_t */
} dmq_hyper_result;

/**
 * @param theta  (P) in the problem's space, not changed
 * @param train  n sample numbers; w their weights (n)
 * @param d_mse, d_gm  (n) out; d_gm is zeroed without gm
 */
dmq_status dmq_hyper_eval(dmq_hyper *hyper, const dmq_real *theta, const int *train, int n,
                          const dmq_real *w, const dmq_groups *groups, dmq_real *d_mse,
                          dmq_real *d_gm, dmq_hyper_result *result);

/**
 * The eta that moves theta by `move` rms for the given batch: move sqrt(P) / |J w|; 0 if the gradient is 0.
 */
dmq_status dmq_hyper_eta_for_move(dmq_hyper *hyper, const dmq_real *theta, const int *train, int n,
                                  const dmq_real *w, double move, double *eta);

void dmq_hyper_set_eta(dmq_hyper *hyper, double eta);
void dmq_hyper_set_order(dmq_hyper *hyper, uint32_t step);

/** The step in w with which the sequential form's first group moves the weights by `share` of 1/n rms. */
dmq_status dmq_hyper_rate_for_share(dmq_hyper *hyper, const dmq_real *theta, const int *train,
                                    int n, const dmq_real *w, const dmq_groups *groups,
                                    double share);

/**
 * H v by a central difference: (grad(theta + e v) - grad(theta - e v)) / (2 e), e = move / rms(v), of the
 * mean loss over `count` samples. Zero for v = 0. theta, v and out (P) and work (2 P) lie in the problem's
 * space.
 */
dmq_status dmq_hvp(const dmq_problem *problem, const dmq_real *theta, const int *sample, int count,
                   const dmq_real *v, double move, dmq_real *work, dmq_real *out);

#endif
