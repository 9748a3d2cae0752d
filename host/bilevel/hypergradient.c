#include "bilevel/hypergradient.h"

#include "base/memory.h"
#include "bilevel/vec.h"
#include "kernels/noise.h"

#include <assert.h>
#include <string.h>

/* Long vectors lie in the problem's space, those over samples and groups in host memory. */
struct dmq_hyper {
    const dmq_problem *problem;
    dmq_space *space; /* the problem's */
    dmq_space host;   /* for the alignment of vectors over samples */
    dmq_hyper_config config;
    int n_max, k_max;
    dmq_real *jacobian;   /* (n, P), explicit only */
    dmq_real *theta_star; /* (P) */
    dmq_real *g;          /* (K, P): g_t; of the surrogate form later J phi_t */
    dmq_real *phi;        /* (K, P) of the original form, else NULL */
    dmq_real *q;          /* (P) */
    dmq_real *sum;        /* (P) */
    dmq_real *direction;  /* (P) */
    dmq_real *work;       /* (2 P) */
    double *dots;         /* (K, n) or more: products as they come */
    dmq_real *scale;      /* (n): c_i */
    dmq_real *signed_w;   /* (K, n): weights of weighted backward passes */
    dmq_real *compare;    /* (K, n): J^T g_t, then G_t */
    dmq_real *phi_w;      /* (K, n): phi_t of the surrogate form */
    dmq_real *w_tilde;    /* (n) */
    dmq_real *loss;       /* (samples) */
};

/* Vectors over samples have a backend of their own where the problem's is not on the host. */
static void open_host_space(dmq_hyper *h)
{
    const dmq_backend *be = h->space->be;

    dmq_space_init_queue(&h->host, be->host_memory ? be : dmq_backend_ref(), NULL);
}

dmq_status dmq_hyper_create(dmq_hyper **out, const dmq_problem *problem, int n, int k,
                            const dmq_hyper_config *config)
{
    dmq_status st = DMQ_OK;
    dmq_hyper *h = NULL;
    size_t p = problem->n_theta, rows = (size_t)n, groups = (size_t)k;
    size_t dots = groups * (rows > groups ? rows : groups);

    assert(n > 0 && k > 0 && k <= DMQ_MAX_GROUPS);
    DMQ_TRY(dmq_alloc((void **)&h, 1, sizeof *h));
    h->problem = problem;
    h->space = problem->space;
    h->config = *config;
    h->n_max = n;
    h->k_max = k;
    open_host_space(h);
    if (!config->matrix_free)
        DMQ_TRY(dmq_space_alloc(&h->jacobian, h->space, rows * p));
    if (config->form == DMQ_GM_ORIGINAL)
        DMQ_TRY(dmq_space_alloc(&h->phi, h->space, groups * p));
    DMQ_TRY(dmq_space_alloc(&h->theta_star, h->space, p));
    DMQ_TRY(dmq_space_alloc(&h->g, h->space, groups * p));
    DMQ_TRY(dmq_space_alloc(&h->q, h->space, p));
    DMQ_TRY(dmq_space_alloc(&h->sum, h->space, p));
    DMQ_TRY(dmq_space_alloc(&h->direction, h->space, p));
    DMQ_TRY(dmq_space_alloc(&h->work, h->space, 2 * p));
    DMQ_TRY(dmq_alloc((void **)&h->dots, dots, sizeof *h->dots));
    DMQ_TRY(dmq_alloc((void **)&h->scale, rows, sizeof(dmq_real)));
    DMQ_TRY(dmq_alloc((void **)&h->signed_w, groups * rows, sizeof(dmq_real)));
    DMQ_TRY(dmq_alloc((void **)&h->compare, groups * rows, sizeof(dmq_real)));
    DMQ_TRY(dmq_alloc((void **)&h->phi_w, groups * rows, sizeof(dmq_real)));
    DMQ_TRY(dmq_alloc((void **)&h->w_tilde, rows, sizeof(dmq_real)));
    DMQ_TRY(dmq_alloc((void **)&h->loss, (size_t)problem->n_samples, sizeof(dmq_real)));
    *out = h;
    h = NULL;
done:
    dmq_hyper_destroy(h);
    return st;
}

void dmq_hyper_destroy(dmq_hyper *h)
{
    if (!h)
        return;
    dmq_space_free(h->space, h->jacobian);
    dmq_space_free(h->space, h->phi);
    dmq_space_free(h->space, h->theta_star);
    dmq_space_free(h->space, h->g);
    dmq_space_free(h->space, h->q);
    dmq_space_free(h->space, h->sum);
    dmq_space_free(h->space, h->direction);
    dmq_space_free(h->space, h->work);
    dmq_space_release(&h->host);
    dmq_free(h->dots);
    dmq_free(h->scale);
    dmq_free(h->signed_w);
    dmq_free(h->compare);
    dmq_free(h->phi_w);
    dmq_free(h->w_tilde);
    dmq_free(h->loss);
    dmq_free(h);
}

void dmq_hyper_set_eta(dmq_hyper *h, double eta)
{
    h->config.eta = eta;
}

void dmq_hyper_set_order(dmq_hyper *h, uint32_t step)
{
    h->config.order_step = step;
}

/* ------------------------------------------------------------------ products with J */

/* Build J (explicit) and the factors c_i. Norms need the gradients one by one in either route; the
   matrix-free one builds them in pieces of one sample and keeps only the norm. */
static dmq_status prepare(dmq_hyper *h, const dmq_real *theta, const int *train, int n)
{
    const dmq_problem *p = h->problem;
    dmq_status st = DMQ_OK;

    for (int i = 0; i < n; i++)
        h->scale[i] = 1;
    if (h->jacobian)
        DMQ_TRY(p->grad_each(p->context, theta, train, n, h->jacobian, NULL));
    if (!h->config.normalize)
        goto done;
    for (int i = 0; i < n; i++) {
        const dmq_real *row = h->work;
        double norm;

        if (h->jacobian) {
            row = h->jacobian + (size_t)i * p->n_theta;
        } else {
            DMQ_TRY(p->grad(p->context, theta, train + i, NULL, 1, h->work, NULL));
        }
        DMQ_TRY(dmq_space_norm(&norm, h->space, row, p->n_theta));
        h->scale[i] = (dmq_real)(norm > 0 ? 1 / norm : 0);
    }
done:
    return st;
}

/* out[l] = J v[l]: v (m, n), out (m, P) */
static dmq_status times(dmq_hyper *h, const dmq_real *theta, const int *train, int n,
                        const dmq_real *v, int m, dmq_real *out)
{
    const dmq_problem *p = h->problem;
    dmq_status st = DMQ_OK;

    for (int l = 0; l < m; l++) {
        for (int i = 0; i < n; i++)
            h->signed_w[l * n + i] = v[l * n + i] * h->scale[i];
    }
    if (h->jacobian)
        return dmq_space_times(h->space, out, h->jacobian, n, h->signed_w, m, p->n_theta);
    for (int l = 0; l < m; l++) {
        DMQ_TRY(p->grad(p->context, theta, train, h->signed_w + l * n, n,
                        out + (size_t)l * p->n_theta, NULL));
    }
done:
    return st;
}

/* out[l] = J^T x[l]: x (m, P), out (m, n) */
static dmq_status times_transposed(dmq_hyper *h, const dmq_real *theta, const int *train, int n,
                                   const dmq_real *x, int m, dmq_real *out)
{
    const dmq_problem *p = h->problem;
    dmq_status st = DMQ_OK;

    if (h->jacobian)
        DMQ_TRY(dmq_space_dots(h->dots, h->space, h->jacobian, n, x, m, p->n_theta));
    for (int i = 0; i < m * n && h->jacobian; i++)
        out[i] = (dmq_real)h->dots[i];
    for (int l = 0; l < m && !h->jacobian; l++)
        DMQ_TRY(p->jvp(p->context, theta, train, n, x + (size_t)l * p->n_theta, out + l * n));
    for (int l = 0; l < m; l++) {
        for (int i = 0; i < n; i++)
            out[l * n + i] *= h->scale[i];
    }
done:
    return st;
}

/* ------------------------------------------------------------------ the outer side */

static dmq_status group_gradient(dmq_hyper *h, const dmq_real *theta, const int *sample, int count,
                                 dmq_real *g, double *loss)
{
    const dmq_problem *p = h->problem;
    dmq_status st = DMQ_OK;
    double sum = 0;

    assert(count > 0 && count <= p->n_samples);
    DMQ_TRY(p->grad(p->context, theta, sample, NULL, count, g, h->loss));
    DMQ_TRY(dmq_space_axpby(h->space, g, 0, g, 1.0 / count, p->n_theta));
    for (int i = 0; i < count; i++)
        sum += (double)h->loss[i];
    if (loss)
        *loss = sum / count;
done:
    return st;
}

dmq_status dmq_hvp(const dmq_problem *problem, const dmq_real *theta, const int *sample, int count,
                   const dmq_real *v, double move, dmq_real *work, dmq_real *out)
{
    dmq_space *space = problem->space;
    size_t n = problem->n_theta;
    double norm, e;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_space_norm(&norm, space, v, n));
    DMQ_TRY(dmq_space_fill(space, out, 0, n));
    if (!(norm > 0))
        goto done;
    e = move / (norm / sqrt((double)n));
    for (int side = 1; side >= -1; side -= 2) {
        dmq_real *point = work, *g = work + n;

        DMQ_TRY(dmq_space_move(space, point, theta, side * e, v, n));
        DMQ_TRY(problem->grad(problem->context, point, sample, NULL, count, g, NULL));
        DMQ_TRY(dmq_space_axpby(space, out, 1, g, side / (2 * e * count), n));
    }
done:
    return st;
}

/* phi_t of the alignment of k vectors a_t (length m): -c sum_{t<k} <a_t, a_k>, or of their directions,
   and the value. phi may not be a. */
static dmq_status alignment(double *out, dmq_space *space, dmq_real *phi, const dmq_real *a, int k,
                            size_t m, int cosine)
{
    double c = k > 1 ? 2.0 / (k * (k - 1.0)) : 0, value = 0, dot, norm[DMQ_MAX_GROUPS];
    dmq_status st = DMQ_OK;

    for (int t = 0; t < k; t++) {
        norm[t] = 1;
        if (cosine)
            DMQ_TRY(dmq_space_norm(&norm[t], space, a + (size_t)t * m, m));
        if (!(norm[t] > 0))
            norm[t] = 1; /* a zero gradient has no direction: its terms vanish by themselves */
    }
    for (int t = 0; t < k; t++) {
        dmq_real *f = phi + (size_t)t * m;
        const dmq_real *at = a + (size_t)t * m;

        DMQ_TRY(dmq_space_fill(space, f, 0, m));
        for (int j = 0; j < k; j++) {
            if (j != t)
                DMQ_TRY(dmq_space_axpby(space, f, 1, a + (size_t)j * m, 1 / norm[j], m));
        }
        DMQ_TRY(dmq_space_dot(&dot, space, f, at, m));
        value -= 0.5 * c * dot / norm[t];
        if (cosine) /* S - a^ (a^ . S) */
            DMQ_TRY(dmq_space_axpby(space, f, 1, at, -dot / (norm[t] * norm[t]), m));
        DMQ_TRY(dmq_space_axpby(space, f, 0, f, -c / norm[t], m));
    }
    *out = value;
done:
    return st;
}

/* The mean of the cosines of all pairs of g_t. */
static dmq_status mean_cosine(double *out, dmq_hyper *h, int k)
{
    const double *gram = h->dots;
    double sum = 0;
    int pairs = 0;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_space_dots(h->dots, h->space, h->g, k, h->g, k, h->problem->n_theta));
    for (int t = 0; t < k; t++) {
        for (int j = 0; j < t; j++) {
            double norms = sqrt(gram[t * k + t]) * sqrt(gram[j * k + j]);

            sum += norms > 0 ? gram[t * k + j] / norms : 0;
            pairs++;
        }
    }
    *out = pairs ? sum / pairs : 1;
done:
    return st;
}

static dmq_status move_theta(dmq_hyper *h, const dmq_real *theta, const int *train, int n,
                             const dmq_real *w)
{
    size_t p = h->problem->n_theta;
    dmq_status st = DMQ_OK;

    DMQ_TRY(times(h, theta, train, n, w, 1, h->direction));
    DMQ_TRY(dmq_space_move(h->space, h->theta_star, theta, -h->config.eta, h->direction, p));
done:
    return st;
}

/* sum = sum_t H_t v_t with v_t = J phi_t (surrogate) or phi_t (original) */
static dmq_status curvature(dmq_hyper *h, const dmq_real *theta, const int *train, int n,
                            const dmq_groups *groups)
{
    size_t p = h->problem->n_theta;
    int surrogate = h->config.form == DMQ_GM_SURROGATE;
    const dmq_real *v = h->phi;
    dmq_status st = DMQ_OK;

    if (surrogate) { /* J is at theta, H_t at theta*: the two points are not to be mixed */
        DMQ_TRY(times(h, theta, train, n, h->phi_w, groups->k, h->g));
        v = h->g;
    }
    DMQ_TRY(dmq_space_fill(h->space, h->sum, 0, p));
    for (int t = 0; t < groups->k; t++) {
        DMQ_TRY(dmq_hvp(h->problem, h->theta_star, groups->sample[t], groups->count[t],
                        v + (size_t)t * p, h->config.hvp_move, h->work, h->q));
        DMQ_TRY(dmq_space_axpby(h->space, h->sum, 1, h->q, 1, p));
    }
done:
    return st;
}

static dmq_status alignment_gradient(dmq_hyper *h, const dmq_real *theta, const int *train, int n,
                                     const dmq_groups *groups, dmq_real *d_gm, double *value)
{
    const dmq_hyper_config *c = &h->config;
    size_t p = h->problem->n_theta;
    dmq_status st = DMQ_OK;
    double factor;

    if (c->form == DMQ_GM_SURROGATE) {
        size_t count = (size_t)groups->k * (size_t)n;

        dmq_vec_axpby(h->compare, 0, h->compare, -c->eta, count);
        DMQ_TRY(alignment(value, &h->host, h->phi_w, h->compare, groups->k, (size_t)n, c->cosine));
        factor = c->eta * c->eta;
    } else {
        DMQ_TRY(alignment(value, h->space, h->phi, h->g, groups->k, p, c->cosine));
        factor = -c->eta;
    }
    DMQ_TRY(curvature(h, theta, train, n, groups));
    DMQ_TRY(times_transposed(h, theta, train, n, h->sum, 1, d_gm));
    dmq_vec_axpby(d_gm, 0, d_gm, factor, (size_t)n);
done:
    return st;
}

/* R2: one walk over the groups; d = (w - w~)/(rate K). */
static dmq_status sequential_gradient(dmq_hyper *h, const dmq_real *theta, const int *train, int n,
                                      const dmq_real *w, const dmq_groups *groups,
                                      const dmq_real *d_mse, dmq_real *d_gm)
{
    const dmq_hyper_config *c = &h->config;
    dmq_status st = DMQ_OK;
    int order[DMQ_MAX_GROUPS];

    assert(c->rate > 0);
    dmq_permutation(order, groups->k, c->order_seed, DMQ_FOR_META, 1, c->order_step);
    memcpy(h->w_tilde, w, (size_t)n * sizeof *w);
    for (int i = 0; i < groups->k; i++) {
        int t = order[i];

        DMQ_TRY(move_theta(h, theta, train, n, h->w_tilde));
        DMQ_TRY(group_gradient(h, h->theta_star, groups->sample[t], groups->count[t], h->q, NULL));
        DMQ_TRY(times_transposed(h, theta, train, n, h->q, 1, h->compare));
        for (int j = 0; j < n; j++) /* G_t = -eta J^T g_t */
            h->w_tilde[j] += (dmq_real)(c->rate * c->eta) * h->compare[j];
    }
    for (int j = 0; j < n; j++)
        d_gm[j] = (w[j] - h->w_tilde[j]) / (dmq_real)(c->rate * groups->k) - d_mse[j];
done:
    return st;
}

/* d_mse = -eta J^T gbar; of the surrogate form as the mean of J^T g_t, which stay in compare. */
static dmq_status mse_gradient(dmq_hyper *h, const dmq_real *theta, const int *train, int n,
                               const dmq_groups *groups, dmq_real *d_mse)
{
    size_t p = h->problem->n_theta, count = (size_t)n;
    int each = h->config.with_gm && h->config.form == DMQ_GM_SURROGATE;
    double mean = 1.0 / groups->k;
    dmq_status st = DMQ_OK;

    if (each) {
        DMQ_TRY(times_transposed(h, theta, train, n, h->g, groups->k, h->compare));
        memset(d_mse, 0, count * sizeof *d_mse);
        for (int t = 0; t < groups->k; t++)
            dmq_vec_axpby(d_mse, 1, h->compare + (size_t)t * count, mean, count);
    } else {
        DMQ_TRY(dmq_space_fill(h->space, h->q, 0, p));
        for (int t = 0; t < groups->k; t++)
            DMQ_TRY(dmq_space_axpby(h->space, h->q, 1, h->g + (size_t)t * p, mean, p));
        DMQ_TRY(times_transposed(h, theta, train, n, h->q, 1, d_mse));
    }
    dmq_vec_axpby(d_mse, 0, d_mse, -h->config.eta, count);
done:
    return st;
}

dmq_status dmq_hyper_eval(dmq_hyper *h, const dmq_real *theta, const int *train, int n,
                          const dmq_real *w, const dmq_groups *groups, dmq_real *d_mse,
                          dmq_real *d_gm, dmq_hyper_result *result)
{
    size_t p = h->problem->n_theta;
    dmq_status st = DMQ_OK;
    dmq_hyper_result r = { 0 };
    double norm;

    assert(n <= h->n_max && groups->k <= h->k_max);
    DMQ_TRY(prepare(h, theta, train, n));
    DMQ_TRY(move_theta(h, theta, train, n, w));
    DMQ_TRY(dmq_space_norm(&norm, h->space, h->direction, p));
    r.move = h->config.eta * norm / sqrt((double)p);
    for (int t = 0; t < groups->k; t++) {
        double loss;

        DMQ_TRY(group_gradient(h, h->theta_star, groups->sample[t], groups->count[t],
                               h->g + (size_t)t * p, &loss));
        r.loss_mse += loss / groups->k;
    }
    DMQ_TRY(mean_cosine(&r.cosine, h, groups->k));

    DMQ_TRY(mse_gradient(h, theta, train, n, groups, d_mse));
    memset(d_gm, 0, (size_t)n * sizeof *d_gm);
    if (h->config.with_gm && h->config.form == DMQ_GM_SEQUENTIAL) {
        DMQ_TRY(sequential_gradient(h, theta, train, n, w, groups, d_mse, d_gm));
    } else if (h->config.with_gm) {
        DMQ_TRY(alignment_gradient(h, theta, train, n, groups, d_gm, &r.loss_gm));
    }
    for (int i = 0; i < n; i++) {
        if (!isfinite(d_mse[i]) || !isfinite(d_gm[i])) {
            return dmq_fail(DMQ_EDIVERGE, "hypergradient: the gradient of sample %d is not finite",
                            train[i]);
        }
    }
    if (result)
        *result = r;
done:
    return st;
}

dmq_status dmq_hyper_eta_for_move(dmq_hyper *h, const dmq_real *theta, const int *train, int n,
                                  const dmq_real *w, double move, double *eta)
{
    size_t p = h->problem->n_theta;
    dmq_status st = DMQ_OK;
    double norm;

    DMQ_TRY(prepare(h, theta, train, n));
    DMQ_TRY(times(h, theta, train, n, w, 1, h->direction));
    DMQ_TRY(dmq_space_norm(&norm, h->space, h->direction, p));
    *eta = norm > 0 ? move * sqrt((double)p) / norm : 0;
done:
    return st;
}

dmq_status dmq_hyper_rate_for_share(dmq_hyper *h, const dmq_real *theta, const int *train, int n,
                                    const dmq_real *w, const dmq_groups *groups, double share)
{
    dmq_status st = DMQ_OK;
    double norm;

    DMQ_TRY(prepare(h, theta, train, n));
    DMQ_TRY(move_theta(h, theta, train, n, w));
    DMQ_TRY(group_gradient(h, h->theta_star, groups->sample[0], groups->count[0], h->q, NULL));
    DMQ_TRY(times_transposed(h, theta, train, n, h->q, 1, h->compare));
    norm = h->config.eta * dmq_vec_norm(h->compare, (size_t)n);
    h->config.rate = norm > 0 ? share / n * sqrt((double)n) / norm : 1;
done:
    return st;
}
