/**
 * DPM-Solver++ on a discrete noise schedule: the steps of kind dpm_solver.
 *
 *   time       tau in [1/T, 1]; log alpha(n/T) = log(alpha_bar_{n-1})/2, linear in tau between, n = 1..T
 *              sigma = sqrt(1 - alpha^2), lambda = log(alpha/sigma); the network gets t = T tau - 1
 *   grid       S + 1 times from 1 to 1/T: uniform in tau; quad: in sqrt(tau); logsnr: in lambda
 *   m(x, tau) = (x - sigma eps)/alpha; from s to t: h = lambda_t - lambda_s, phi = expm1(-h)
 *
 *   order 1    x_t = (sigma_t/sigma_s) x - alpha_t phi m_s: ddim without noise
 *   2m         x_t = (sigma_t/sigma_s) x - alpha_t phi (m + (m - m_before)/(2 r0)), r0 = h_before/h;
 *              the first step has order 1, and the last where S is below lower_order_below (15 in LDM, 10
 *              elsewhere)
 *   2s         x_1 = (sigma_1/sigma_s) x - alpha_1 expm1(-r1 h) m_s
 *              x_t = (sigma_t/sigma_s) x - alpha_t phi (m_s + (m_1 - m_s)/(2 r1))
 *   3s         x_1 as in 2s
 *              x_2 = (sigma_2/sigma_s) x - alpha_2 phi12 m_s + (r2/r1) alpha_2 phi22 (m_1 - m_s)
 *              x_t = (sigma_t/sigma_s) x - alpha_t phi m_s + (1/r2) alpha_t (phi/h + 1)(m_2 - m_s)
 *              phi12 = expm1(-r2 h), phi22 = phi12/(r2 h) + 1
 *   2s, 3s     S calls in blocks of the order, as many as go, the rest by one of order 1 or 2 (3s where 3
 *              divides S: by 2 and 1); a block is cut by the same kind of grid inside of it, r1 and r2 are
 *              its cuts as shares of h
 *
 * The end is tau = 1/T: what noise is left there stays.
 *
 * @see Lu et al., arXiv:2211.01095; specs: models.md 5.6
 */
#ifndef DMQ_DIFFUSION_DPM_SOLVER_H
#define DMQ_DIFFUSION_DPM_SOLVER_H

#include "diffusion/sampler.h"

/** Fill the config.steps steps of a sampler, whose memory is zero. */
dmq_status dmq_dpm_solver_fill(dmq_sampler *sampler, const dmq_schedule *schedule);

#endif
