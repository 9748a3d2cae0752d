/**
 * Meta-iterations that the device runs by itself: the exact loop of learn.h, the coming iterations in tables.
 *
 *   w = softmax(s[pick] / tau)        samples, and where each of them stands among the logits, from the tables
 *   d_mse, d_gm                       a hypergradient at w (hypergradient.h)
 *   step of s[pick], ess, stop        kernels/logits.h
 *
 * No number of an iteration is the host's: where a problem is recordable and a backend can record, the second
 * iteration is recorded and all later ones are replays of it, of every plan with as many samples. Results of
 * each iteration are kept on the device until they are asked for.
 */
#ifndef DMQ_BILEVEL_META_H
#define DMQ_BILEVEL_META_H

#include "bilevel/gm_weight.h"
#include "bilevel/hypergradient.h"

typedef struct dmq_meta_config {
    int n_train; /**< logits */
    double tau, lr, ess_stop;
    dmq_gm_weight gm_weight;
    double rho_0;
} dmq_meta_config;

/** Coming iterations, all of as many samples. Arrays are copied. */
typedef struct dmq_meta_plan {
    const dmq_real *theta; /**< in the problem's space, not changed */
    int rows, n;
    const int *pick;   /**< (rows, n): of the logits, all different in a row */
    const int *sample; /**< (rows, n): of the problem */
    const dmq_groups
        *groups; /**< (rows): as many groups, and as many samples in the largest, in all of them */
    const uint32_t *iteration; /**< (rows): numbers, for the order of the sequential form */
} dmq_meta_plan;

typedef struct dmq_meta dmq_meta;

/** hyper stays its caller's: with the step (dmq_hyper_set_eta) that it has when a plan is run first. */
dmq_status dmq_meta_create(dmq_meta **out, dmq_hyper *hyper, const dmq_meta_config *config);

/** Takes NULL. */
void dmq_meta_destroy(dmq_meta *meta);

/** Set and get the logits, (n_train), host memory. Setting them begins anew: moments, frozen numbers, stop. */
dmq_status dmq_meta_logits_set(dmq_meta *meta, const dmq_real *s);
dmq_status dmq_meta_logits(dmq_meta *meta, dmq_real *s);

/** Bring a plan to the device; it holds until the next one. */
dmq_status dmq_meta_plan_set(dmq_meta *meta, const dmq_meta_plan *plan);

/** The next `count` iterations of the plan. Does not wait for them. */
dmq_status dmq_meta_run(dmq_meta *meta, int count);

/** What all plans so far have come to. */
typedef struct dmq_meta_look {
    int steps;              /**< iterations until the end or the stop, that one included */
    int stopped;            /**< by ess; logits are those before that step */
    dmq_hyper_result hyper; /**< of the last of these iterations, as the next one */
    dmq_gm_stats gm;
} dmq_meta_look;

/** @return EDIVERGE when a number of the last iteration is not finite */
dmq_status dmq_meta_look_at(dmq_meta *meta, dmq_meta_look *look);

#endif
