/**
 * Shared by hypergradient.c and meta.c: an evaluation as a sequence of passes that asks nothing of the host.
 */
#ifndef DMQ_BILEVEL_HYPER_INNER_H
#define DMQ_BILEVEL_HYPER_INNER_H

#include "backend/mirror.h"
#include "bilevel/hypergradient.h"

/** How many samples an evaluation has, and where they stand in its tables. */
typedef struct dmq_hyper_shape {
    int n, k;
    int most; /**< samples of a group, at most */
    int places_n; /**< places of the training samples; those of the groups follow, then, where differences are
                             taken, those of the groups again, each twice */
    int places_m;       /**< places of a group */
    int wave;           /**< groups whose differences are taken at a time */
    size_t places;      /**< all of them */
    size_t index_count; /**< numbers of a row of samples */
    size_t outcome_bytes;
} dmq_hyper_shape;

/** The samples of an evaluation: a row of dmq_hyper_row on the device, and the same on the host. */
typedef struct dmq_hyper_samples {
    const int *index, *host; /**< host: read only where a problem is not recordable */
    const dmq_real
        *weight; /**< (places): 1 for training samples, 1/count in a group, 0 on padding */
} dmq_hyper_samples;

/* Vectors of theta's length and small ones alike lie in the problem's space. */
struct dmq_hyper {
    const dmq_problem *problem;
    dmq_space *space; /* the problem's */
    dmq_hyper_config config;
    int n_max, k_max;
    dmq_hyper_shape shape;
    dmq_real *jacobian;      /* (n, P), explicit only */
    dmq_real *star;          /* (1 + K, P): theta*, then v_t = J phi_t or phi_t */
    dmq_real *g;             /* (K, P): g_t */
    dmq_real *direction;     /* (P): J w */
    dmq_real *points;        /* (2 wave, P): where differences are taken; sequential form: (P), g */
    dmq_real *sums;          /* (1 + 2 K, P): sum, gradients at the points of all groups */
    dmq_real *some;          /* (places(1), P): gradients for norms; matrix-free with normalize */
    dmq_hyper_args args;     /* its arrays are ours */
    dmq_real *factor;        /* (K, places_n) */
    dmq_real *mix;           /* (K, K): factors of the original form */
    dmq_real *tangents;      /* (K, places_n); matrix-free */
    double *products;        /* (K, n) */
    double *squares;         /* (n) */
    double *gram_a, *gram_v; /* (K, K): of what is compared, of v_t */
    double *outcome;         /* what an evaluation leaves, one block: the next three */
    double *report;          /* (2): value of the alignment term, |J w|^2 */
    double *gram_g;          /* (K, K): of g_t */
    dmq_real *loss;          /* (K, places_m): of the groups at theta* */
    dmq_real *w;             /* (places_n): of an evaluation with w from the host */
    int *index;              /* (index_count), and weights (places), of a call: host memory */
    dmq_real *weight;
    dmq_mirror index_place, weight_place; /* and their counterparts */
    unsigned shapes;                      /* so far: with a new one, memory has other addresses */
};

/** Tables for this many samples; those of a shape asked for again stay. */
dmq_status dmq_hyper_shape_set(dmq_hyper *h, int n, const dmq_groups *groups);

/** Tables of an evaluation, host memory; of the sequential form the groups in the order of config.order_step. */
void dmq_hyper_row(const dmq_hyper *h, int *index, dmq_real *weight, const int *train,
                   const dmq_groups *groups);

/**
 * d_mse and d_gm (args), losses, report and gram_g of the samples at weights w (places_n, zeros on padding),
 * all in the space. Allocates nothing after the first time with a shape.
 */
dmq_status dmq_hyper_enqueue(dmq_hyper *h, const dmq_real *theta, const dmq_hyper_samples *samples,
                             const dmq_real *w);

/** What an evaluation found, from host copies of its outcome and weights. */
void dmq_hyper_result_of(const dmq_hyper *h, dmq_hyper_result *out, const double *outcome,
                         const dmq_real *weight);

#endif
