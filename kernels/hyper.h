/**
 * The small arithmetic of a hypergradient (bilevel/hypergradient.h): what stands between passes over a block
 * and products with its Jacobian, some hundreds of numbers, kept on the device so that nothing waits for the
 * host. n training samples with gradients g_i, weights w and factors c_i; k groups with gradients g_t.
 *
 *   scale   c_i = 1, or 1/|g_i| (0 for a zero gradient);              factor_i = c_i w_i
 *   mse     d_mse_i = -eta c_i mean_t <g_i, g_t>
 *   align   phi_t = sum_j C_tj a_j, a_t what is compared:
 *             surrogate  a_t[i] = -eta c_i <g_i, g_t>                 factor (k, n): c_i phi_t[i]
 *             else       a_t = g_t                                    factor (k, k): C
 *           with A_tj = <a_t, a_j>, |a_t| = sqrt(A_tt) with cosine, else 1 (and 1 for a zero vector),
 *             S_t = sum_{j != t} A_tj / |a_j|,  c = 2/(k(k-1)), 0 for k = 1
 *             C_tj = -c / (|a_t| |a_j|)  for j != t,   C_tt = c S_t / |a_t|^3 with cosine, else 0
 *             value = -c/2 sum_t S_t / |a_t|
 *   steps   e_t = move sqrt(n_theta) / |v_t|, for central differences along v_t; 0 for v_t = 0
 *             in waves of `wave` groups, one behind the other:
 *             points (2 k, 1 + k): 1, and e_t or -e_t in column 1 + t   theta* and all v to the two points of t
 *                    (2 k, 2) for waves of one group: 1, +-e_t          theta* and v_t
 *             joins (2 k): 1/(2 e_t), -1/(2 e_t) for each t, of the gradients at its two points; no waves here, so
 *                    that the sum does not know them
 *   walk    w~_i += rate eta c_i <g_i, g>;                            factor_i = c_i w~_i
 *   join    d_gm_i = join c_i <g_i, q>, or (walked) (w_i - w~_i)/(rate k) - d_mse_i
 *
 * In double, rounded once where numbers are stored; the order of sums over n is an implementation's own.
 *
 * @see specs: gac.md 1.4
 */
#ifndef DMQ_KERNELS_HYPER_H
#define DMQ_KERNELS_HYPER_H

#include "kernels/kernel.h"

typedef struct dmq_hyper_args {
    int n, k;
    int ld;             /**< from one row of factor (k, n), or of tangents, to the next */
    int surrogate;      /**< align */
    int cosine;         /**< align */
    int walked;         /**< join */
    double eta, rate;   /**< inner step; step in w */
    double move;        /**< steps: rms of a difference's step */
    int wave;           /**< steps: groups of a wave */
    double joined;      /**< join: eta^2 (surrogate) or -eta */
    size_t n_theta;     /**< steps */
    const dmq_real *w;  /**< (n); scale, join */
    dmq_real *scale;    /**< (n): c; written by scale */
    dmq_real *factor;   /**< as above; scale, align, walk */
    dmq_real *w_walked; /**< (n): w~; walk, join */
    dmq_real *d_mse;    /**< (n); written by mse, read by join */
    dmq_real *d_gm;     /**< (n); join */
    dmq_real *points;   /**< steps */
    dmq_real *joins;    /**< steps */
    /** <g_i, .>: (k, n) in mse and align, (n) in walk and join; or, where it is NULL, tangents with rows ld. */
    const double *products;
    const dmq_real *tangents;
    const double *squares; /**< (n): |g_i|^2; scale; NULL: c_i = 1 */
    double *gram;          /**< (k, k): A; align: written if surrogate, else read; steps: of v */
    double *coefficient;   /**< (k, k): C; written by align */
    double *value;         /**< (1); align */
} dmq_hyper_args;

dmq_status dmq_hyper_scale_ref(dmq_queue *queue, const dmq_hyper_args *a);
dmq_status dmq_hyper_mse_ref(dmq_queue *queue, const dmq_hyper_args *a);
dmq_status dmq_hyper_align_ref(dmq_queue *queue, const dmq_hyper_args *a);
dmq_status dmq_hyper_steps_ref(dmq_queue *queue, const dmq_hyper_args *a);
dmq_status dmq_hyper_walk_ref(dmq_queue *queue, const dmq_hyper_args *a);
dmq_status dmq_hyper_join_ref(dmq_queue *queue, const dmq_hyper_args *a);

#endif
