#include "bilevel/hyper_inner.h"

#include "base/memory.h"
#include "kernels/noise.h"

#include <assert.h>
#include <string.h>

/* ------------------------------------------------------------------ memory */

static dmq_status alloc_doubles(double **out, const dmq_hyper *h, size_t count)
{
    return h->space->be->alloc((void **)out, count * sizeof **out);
}

/* Whether Hessians are multiplied with: by differences of gradients. */
static int has_differences(const dmq_hyper_config *config)
{
    return config->with_gm && config->form != DMQ_GM_SEQUENTIAL;
}

dmq_status dmq_hyper_create(dmq_hyper **out, const dmq_problem *problem, int n, int k,
                            const dmq_hyper_config *config)
{
    size_t p = problem->n_theta, rows = (size_t)n, groups = (size_t)k;
    size_t ld = (size_t)problem->places(problem->context, n);
    dmq_status st = DMQ_OK;
    dmq_hyper *h = NULL;
    dmq_hyper_args *a;

    assert(n > 0 && k > 0 && k <= DMQ_MAX_GROUPS);
    DMQ_TRY(dmq_alloc((void **)&h, 1, sizeof *h));
    h->problem = problem;
    h->space = problem->space;
    h->config = *config;
    h->n_max = n;
    h->k_max = k;
    a = &h->args;
    if (!config->matrix_free) {
        DMQ_TRY(dmq_space_alloc(&h->jacobian, h->space, rows * p));
    } else if (config->normalize) {
        DMQ_TRY(
            dmq_space_alloc(&h->some, h->space, (size_t)problem->places(problem->context, 1) * p));
    }
    DMQ_TRY(dmq_space_alloc(&h->star, h->space, (has_differences(config) ? 1 + groups : 1) * p));
    DMQ_TRY(dmq_space_alloc(&h->g, h->space, groups * p));
    DMQ_TRY(dmq_space_alloc(&h->direction, h->space, p));
    if (config->matrix_free)
        DMQ_TRY(dmq_space_alloc(&h->tangents, h->space, groups * ld));
    DMQ_TRY(alloc_doubles(&h->products, h, groups * rows));
    DMQ_TRY(alloc_doubles(&h->squares, h, rows));
    DMQ_TRY(alloc_doubles(&h->gram_a, h, groups * groups));
    DMQ_TRY(alloc_doubles(&h->gram_v, h, groups * groups));
    DMQ_TRY(alloc_doubles(&a->coefficient, h, groups * groups));
    DMQ_TRY(dmq_space_alloc(&h->w, h->space, ld));
    DMQ_TRY(dmq_space_alloc(&a->scale, h->space, rows));
    DMQ_TRY(dmq_space_alloc(&h->factor, h->space, groups * ld));
    DMQ_TRY(dmq_space_alloc(&h->mix, h->space, groups * groups));
    DMQ_TRY(dmq_space_alloc(&a->w_walked, h->space, ld));
    DMQ_TRY(dmq_space_alloc(&a->d_mse, h->space, rows));
    DMQ_TRY(dmq_space_alloc(&a->d_gm, h->space, rows));
    DMQ_TRY(dmq_space_alloc(&a->points, h->space, 2 * groups * (1 + groups)));
    DMQ_TRY(dmq_space_alloc(&a->joins, h->space, 2 * groups));
    a->n_theta = p;
    a->surrogate = config->form == DMQ_GM_SURROGATE;
    a->walked = config->form == DMQ_GM_SEQUENTIAL;
    a->cosine = config->cosine;
    a->move = config->hvp_move;
    a->factor = h->factor;
    *out = h;
    h = NULL;
done:
    dmq_hyper_destroy(h);
    return st;
}

static void release_shape(dmq_hyper *h)
{
    dmq_mirror_release(&h->index_place);
    dmq_mirror_release(&h->weight_place);
    dmq_free(h->index);
    dmq_free(h->weight);
    dmq_space_free(h->space, h->points);
    dmq_space_free(h->space, h->sums);
    dmq_space_free(h->space, h->outcome);
    h->index = NULL;
    h->weight = h->points = h->sums = h->loss = NULL;
    h->outcome = h->report = h->gram_g = NULL;
    h->shape = (dmq_hyper_shape){ 0 };
}

void dmq_hyper_destroy(dmq_hyper *h)
{
    if (!h)
        return;
    void *const memory[] = { h->jacobian,      h->star,        h->g,          h->direction,
                             h->some,          h->w,           h->tangents,   h->products,
                             h->squares,       h->gram_a,      h->gram_v,     h->factor,
                             h->mix,           h->args.scale,  h->args.d_mse, h->args.d_gm,
                             h->args.w_walked, h->args.points, h->args.joins, h->args.coefficient };

    release_shape(h);
    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++)
        dmq_space_free(h->space, memory[i]);
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

/* ------------------------------------------------------------------ samples */

static int most_of(const dmq_groups *groups)
{
    int most = 0;

    for (int t = 0; t < groups->k; t++)
        most = groups->count[t] > most ? groups->count[t] : most;
    return most;
}

dmq_status dmq_hyper_shape_set(dmq_hyper *h, int n, const dmq_groups *groups)
{
    const dmq_problem *p = h->problem;
    dmq_hyper_shape *s = &h->shape;
    int k = groups->k, most = most_of(groups);
    int twice = has_differences(&h->config) ? 2 : 0;
    size_t doubles = 2 + (size_t)k * (size_t)k, rows;
    dmq_status st = DMQ_OK;

    assert(n > 0 && n <= h->n_max && k >= 1 && k <= h->k_max && most <= p->n_samples);
    if (s->n == n && s->k == k && s->most == most)
        return DMQ_OK;
    release_shape(h);
    s->most = most;
    s->places_n = p->places(p->context, n);
    s->places_m = p->places(p->context, most);
    s->places = (size_t)s->places_n + (size_t)((1 + twice) * k) * (size_t)s->places_m;
    s->index_count = (size_t)p->index_rows * s->places;
    s->outcome_bytes =
        doubles * sizeof(double) + (size_t)k * (size_t)s->places_m * sizeof(dmq_real);
    h->shapes++;
    DMQ_TRY(dmq_alloc((void **)&h->index, s->index_count, sizeof *h->index));
    DMQ_TRY(dmq_mirror_init(&h->index_place, h->space->be, h->index,
                            s->index_count * sizeof *h->index));
    DMQ_TRY(dmq_alloc((void **)&h->weight, s->places, sizeof *h->weight));
    DMQ_TRY(
        dmq_mirror_init(&h->weight_place, h->space->be, h->weight, s->places * sizeof *h->weight));
    s->wave = p->points(p->context, most, 2 * k) / 2; /* two points a group */
    s->wave = s->wave < 1 ? 1 : s->wave;
    rows = twice ? 2 * (size_t)s->wave : 1;
    DMQ_TRY(dmq_space_alloc(&h->points, h->space, rows * p->n_theta));
    if (twice)
        DMQ_TRY(dmq_space_alloc(&h->sums, h->space, (size_t)(1 + 2 * k) * p->n_theta));
    DMQ_TRY(h->space->be->alloc((void **)&h->outcome, s->outcome_bytes));
    h->report = h->outcome;
    h->gram_g = h->outcome + 2;
    h->loss = (dmq_real *)(h->outcome + doubles);
    h->args.value = h->report;
    /* what stands behind n in a row of factors is 0 for good */
    DMQ_TRY(dmq_space_fill(h->space, h->factor, 0, (size_t)k * (size_t)s->places_n));
    s->n = n; /* known from here on */
    s->k = k;
done:
    return st;
}

void dmq_hyper_row(const dmq_hyper *h, int *index, dmq_real *weight, const int *train,
                   const dmq_groups *groups)
{
    const dmq_hyper_config *c = &h->config;
    const dmq_problem *p = h->problem;
    const dmq_hyper_shape *s = &h->shape;
    int order[DMQ_MAX_GROUPS], at = s->places_n;

    for (int t = 0; t < s->k; t++)
        order[t] = t;
    if (c->form == DMQ_GM_SEQUENTIAL)
        dmq_permutation(order, s->k, c->order_seed, DMQ_FOR_META, 1, c->order_step);
    p->index(p->context, index, s->places, train, s->n, s->places_n);
    for (int i = 0; i < s->places_n; i++)
        weight[i] = i < s->n ? 1 : 0;
    for (int l = 0; at < (int)s->places; l++, at += s->places_m) {
        int t = order[l < s->k ? l : (l - s->k) / 2], count = groups->count[t];

        assert(count > 0 && count <= s->most);
        p->index(p->context, index + at, s->places, groups->sample[t], count, s->places_m);
        for (int i = 0; i < s->places_m; i++)
            weight[at + i] = (dmq_real)(i < count ? 1.0 / count : 0);
    }
}

/* A draw of the samples that `index` has from place `from` on. */
static dmq_draw draw_at(const dmq_hyper *h, const dmq_hyper_samples *samples, int from, int n)
{
    return (dmq_draw){ .index = samples->index + from,
                       .stride = h->shape.places,
                       .sample = samples->host + from,
                       .weight = samples->weight + from,
                       .n = n };
}

static dmq_draw training(const dmq_hyper *h, const dmq_hyper_samples *samples)
{
    return draw_at(h, samples, 0, h->shape.n);
}

static dmq_draw group(const dmq_hyper *h, const dmq_hyper_samples *samples, int t)
{
    const dmq_hyper_shape *s = &h->shape;

    return draw_at(h, samples, s->places_n + t * s->places_m, s->most);
}

/* The first of group t's two at the points of its differences. */
static dmq_draw at_points(const dmq_hyper *h, const dmq_hyper_samples *samples, int t)
{
    return group(h, samples, h->shape.k + 2 * t);
}

/* ------------------------------------------------------------------ products with J */

static dmq_status run(const dmq_hyper *h, dmq_status (*slot)(dmq_queue *, const dmq_hyper_args *))
{
    return slot(h->space->queue, &h->args);
}

/* The numbers of an evaluation that do not change in it. */
static void begin(dmq_hyper *h)
{
    h->args.n = h->shape.n;
    h->args.k = h->shape.k;
    h->args.ld = h->jacobian ? h->shape.n : h->shape.places_n;
    h->args.eta = h->config.eta;
    h->args.rate = h->config.rate;
}

/* |g_i|^2 without J: gradients of some samples at a time. */
static dmq_status squares_in_pieces(dmq_hyper *h, const dmq_real *theta,
                                    const dmq_hyper_samples *samples)
{
    const dmq_problem *p = h->problem;
    int some = p->places(p->context, 1), n = h->shape.n;
    dmq_status st = DMQ_OK;

    for (int from = 0; from < n; from += some) {
        dmq_draw draw = draw_at(h, samples, from, n - from < some ? n - from : some);

        DMQ_TRY(p->grad_each_of(p->context, theta, &draw, h->some));
        DMQ_TRY(dmq_space_squares_of(h->squares + from, h->space, h->some, draw.n, p->n_theta));
    }
done:
    return st;
}

/* J (explicit) and the factors c_i; args.factor = c_i w_i. */
static dmq_status prepare(dmq_hyper *h, const dmq_real *theta, const dmq_hyper_samples *samples,
                          const dmq_real *w)
{
    const dmq_problem *p = h->problem;
    dmq_draw draw = training(h, samples);
    dmq_status st = DMQ_OK;

    if (h->jacobian)
        DMQ_TRY(p->grad_each_of(p->context, theta, &draw, h->jacobian));
    if (h->config.normalize && h->jacobian)
        DMQ_TRY(dmq_space_squares_of(h->squares, h->space, h->jacobian, h->shape.n, p->n_theta));
    if (h->config.normalize && !h->jacobian)
        DMQ_TRY(squares_in_pieces(h, theta, samples));
    h->args.squares = h->config.normalize ? h->squares : NULL;
    h->args.w = w;
    DMQ_TRY(run(h, h->space->be->hyper_scale));
done:
    return st;
}

/* out (m, P) = J factor[l], which has the c_i in it. */
static dmq_status times(dmq_hyper *h, const dmq_real *theta, const dmq_hyper_samples *samples,
                        int m, dmq_real *out)
{
    const dmq_problem *p = h->problem;
    dmq_draw draw = training(h, samples);
    dmq_status st = DMQ_OK;

    if (h->jacobian) {
        return dmq_space_times_of(h->space, out, h->jacobian, p->n_theta, h->shape.n,
                                  h->args.factor, m, p->n_theta);
    }
    for (int l = 0; l < m; l++) {
        draw.weight = h->args.factor + (size_t)l * (size_t)h->args.ld;
        DMQ_TRY(p->grad_of(p->context, theta, &draw, out + (size_t)l * p->n_theta));
    }
done:
    return st;
}

/* <g_i, x[l]> for the m vectors of x, to args.products or tangents. */
static dmq_status times_transposed(dmq_hyper *h, const dmq_real *theta,
                                   const dmq_hyper_samples *samples, const dmq_real *x, int m)
{
    const dmq_problem *p = h->problem;
    dmq_draw draw = training(h, samples);
    dmq_status st = DMQ_OK;

    h->args.products = h->jacobian ? h->products : NULL;
    h->args.tangents = h->tangents;
    if (h->jacobian) {
        return dmq_space_dots_of(h->products, h->space, h->jacobian, h->shape.n, x, m, p->n_theta);
    }
    for (int l = 0; l < m; l++) {
        DMQ_TRY(p->jvp_of(p->context, theta, &draw, x + (size_t)l * p->n_theta,
                          h->tangents + (size_t)l * (size_t)h->args.ld));
    }
done:
    return st;
}

/* theta* = theta - eta J factor */
static dmq_status move_theta(dmq_hyper *h, const dmq_real *theta, const dmq_hyper_samples *samples)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(times(h, theta, samples, 1, h->direction));
    DMQ_TRY(dmq_space_move(h->space, h->star, theta, -h->config.eta, h->direction,
                           h->problem->n_theta));
done:
    return st;
}

/* ------------------------------------------------------------------ the outer side */

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

/* g_t at theta* for all groups, and their Gram matrix. */
static dmq_status group_gradients(dmq_hyper *h, const dmq_hyper_samples *samples)
{
    const dmq_problem *p = h->problem;
    dmq_draw draw = group(h, samples, 0);
    dmq_status st = DMQ_OK;

    draw.loss = h->loss;
    DMQ_TRY(p->grad_runs_of(p->context, h->star, &draw, h->shape.k, h->g));
    DMQ_TRY(dmq_space_dots_of(h->gram_g, h->space, h->g, h->shape.k, h->g, h->shape.k, p->n_theta));
done:
    return st;
}

/* sum of H_t v_t: by differences of gradients along v_t, with steps from the device. Of as many groups at a time
   as there is room for; the gradients of all are kept, so that the sum does not depend on that. */
static dmq_status curvature(dmq_hyper *h, const dmq_hyper_samples *samples, dmq_real **sum)
{
    const dmq_problem *q = h->problem;
    size_t p = q->n_theta;
    int k = h->shape.k, wave = h->shape.wave, one = wave == 1;
    dmq_real *v = h->star + p, *grads = h->sums + p;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_space_dots_of(h->gram_v, h->space, v, k, v, k, p));
    h->args.gram = h->gram_v;
    h->args.wave = wave;
    DMQ_TRY(run(h, h->space->be->hyper_steps));
    for (int t = 0; t < k; t += wave) {
        int n = 2 * (k - t < wave ? k - t : wave);
        dmq_draw draw = at_points(h, samples, t);

        /* theta* and the v are rows; of a group alone theta* and v_t, as far apart as they are */
        DMQ_TRY(dmq_space_times_of(h->space, h->points, h->star, one ? (size_t)(t + 1) * p : p,
                                   one ? 2 : 1 + k, h->args.points + 2 * t * (one ? 2 : 1 + k), n,
                                   p));
        DMQ_TRY(q->grad_points_of(q->context, h->points, &draw, n, grads + (size_t)(2 * t) * p));
    }
    *sum = h->sums;
    DMQ_TRY(dmq_space_times_of(h->space, h->sums, grads, p, 2 * k, h->args.joins, 1, p));
done:
    return st;
}

static dmq_status alignment_gradient(dmq_hyper *h, const dmq_real *theta,
                                     const dmq_hyper_samples *samples)
{
    size_t p = h->problem->n_theta;
    int k = h->shape.k;
    double eta = h->config.eta;
    dmq_real *sum;
    dmq_status st = DMQ_OK;

    h->args.gram = h->args.surrogate ? h->gram_a : h->gram_g;
    h->args.factor = h->args.surrogate ? h->factor : h->mix;
    DMQ_TRY(run(h, h->space->be->hyper_align));
    h->args.factor = h->factor;
    if (h->args.surrogate) /* J is at theta, H_t at theta*: the two points are not to be mixed */
        DMQ_TRY(times(h, theta, samples, k, h->star + p));
    else
        DMQ_TRY(dmq_space_times_of(h->space, h->star + p, h->g, p, k, h->mix, k, p));
    DMQ_TRY(curvature(h, samples, &sum));
    DMQ_TRY(times_transposed(h, theta, samples, sum, 1));
    h->args.joined = h->args.surrogate ? eta * eta : -eta;
    DMQ_TRY(run(h, h->space->be->hyper_join));
done:
    return st;
}

/* R2: one walk over the groups, the first of which has its products already; d = (w - w~)/(rate K). */
static dmq_status sequential_gradient(dmq_hyper *h, const dmq_real *theta,
                                      const dmq_hyper_samples *samples, const dmq_real *w)
{
    const dmq_problem *p = h->problem;
    dmq_status st = DMQ_OK;

    assert(h->config.rate > 0);
    DMQ_TRY(dmq_space_copy(h->space, h->args.w_walked, w, (size_t)h->shape.n));
    for (int t = 0; t < h->shape.k; t++) {
        dmq_draw draw = group(h, samples, t);

        if (t > 0) {
            DMQ_TRY(move_theta(h, theta, samples));
            DMQ_TRY(p->grad_of(p->context, h->star, &draw, h->points));
            DMQ_TRY(times_transposed(h, theta, samples, h->points, 1));
        }
        DMQ_TRY(run(h, h->space->be->hyper_walk));
    }
    DMQ_TRY(run(h, h->space->be->hyper_join));
done:
    return st;
}

dmq_status dmq_hyper_enqueue(dmq_hyper *h, const dmq_real *theta, const dmq_hyper_samples *samples,
                             const dmq_real *w)
{
    const dmq_hyper_config *c = &h->config;
    size_t p = h->problem->n_theta, n = (size_t)h->shape.n;
    dmq_status st = DMQ_OK;

    begin(h);
    DMQ_TRY(prepare(h, theta, samples, w));
    DMQ_TRY(move_theta(h, theta, samples));
    DMQ_TRY(dmq_space_dots_of(h->report + 1, h->space, h->direction, 1, h->direction, 1, p));
    DMQ_TRY(group_gradients(h, samples));
    DMQ_TRY(times_transposed(h, theta, samples, h->g, h->shape.k));
    DMQ_TRY(run(h, h->space->be->hyper_mse));
    if (!c->with_gm)
        DMQ_TRY(dmq_space_fill(h->space, h->args.d_gm, 0, n));
    else if (c->form == DMQ_GM_SEQUENTIAL)
        DMQ_TRY(sequential_gradient(h, theta, samples, w));
    else
        DMQ_TRY(alignment_gradient(h, theta, samples));
done:
    return st;
}

/* ------------------------------------------------------------------ from the host */

void dmq_hyper_result_of(const dmq_hyper *h, dmq_hyper_result *out, const double *outcome,
                         const dmq_real *weight)
{
    const dmq_hyper_shape *s = &h->shape;
    const double *gram = outcome + 2;
    const dmq_real *loss = (const dmq_real *)(gram + s->k * s->k);
    int with_value = h->config.with_gm && h->config.form != DMQ_GM_SEQUENTIAL, pairs = 0;
    double sum = 0;

    *out = (dmq_hyper_result){ .loss_gm = with_value ? outcome[0] : 0 };
    out->move = h->config.eta * sqrt(outcome[1]) / sqrt((double)h->problem->n_theta);
    for (int i = 0; i < s->k * s->places_m; i++) {
        double share = (double)weight[s->places_n + i];

        out->loss_mse += share > 0 ? share * (double)loss[i] / s->k : 0;
    }
    for (int t = 0; t < s->k; t++) {
        for (int j = 0; j < t; j++) {
            double norms = sqrt(gram[t * s->k + t]) * sqrt(gram[j * s->k + j]);

            sum += norms > 0 ? gram[t * s->k + j] / norms : 0;
            pairs++;
        }
    }
    out->cosine = pairs ? sum / pairs : 1;
}

/* Samples and weights of a call, to the space. */
static dmq_status put_call(dmq_hyper *h, dmq_hyper_samples *samples, const int *train, int n,
                           const dmq_real *w, const dmq_groups *groups)
{
    const dmq_space *space = h->space;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_hyper_shape_set(h, n, groups));
    dmq_hyper_row(h, h->index, h->weight, train, groups);
    DMQ_TRY(dmq_mirror_push(&h->index_place, space->queue, h->index,
                            h->shape.index_count * sizeof *h->index));
    DMQ_TRY(dmq_mirror_push(&h->weight_place, space->queue, h->weight,
                            h->shape.places * sizeof *h->weight));
    DMQ_TRY(dmq_space_put(space, h->w, w, (size_t)n * sizeof *w));
    *samples = (dmq_hyper_samples){ .index = dmq_mirror_device(&h->index_place, h->index),
                                    .host = h->index,
                                    .weight = dmq_mirror_device(&h->weight_place, h->weight) };
    begin(h);
done:
    return st;
}

dmq_status dmq_hyper_eval(dmq_hyper *h, const dmq_real *theta, const int *train, int n,
                          const dmq_real *w, const dmq_groups *groups, dmq_real *d_mse,
                          dmq_real *d_gm, dmq_hyper_result *result)
{
    const dmq_space *space = h->space;
    double *outcome = NULL;
    dmq_hyper_samples samples;
    dmq_status st = DMQ_OK;

    DMQ_TRY(put_call(h, &samples, train, n, w, groups));
    DMQ_TRY(dmq_hyper_enqueue(h, theta, &samples, h->w));
    DMQ_TRY(dmq_space_get(space, d_mse, h->args.d_mse, (size_t)n * sizeof *d_mse));
    DMQ_TRY(dmq_space_get(space, d_gm, h->args.d_gm, (size_t)n * sizeof *d_gm));
    for (int i = 0; i < n; i++) {
        if (!isfinite(d_mse[i]) || !isfinite(d_gm[i])) {
            DMQ_TRY(dmq_fail(DMQ_EDIVERGE, "hypergradient: the gradient of sample %d is not finite",
                             train[i]));
        }
    }
    if (!result)
        goto done;
    DMQ_TRY(dmq_alloc((void **)&outcome, h->shape.outcome_bytes, 1));
    DMQ_TRY(dmq_space_get(space, outcome, h->outcome, h->shape.outcome_bytes));
    dmq_hyper_result_of(h, result, outcome, h->weight);
done:
    dmq_free(outcome);
    return st;
}

dmq_status dmq_hyper_eta_for_move(dmq_hyper *h, const dmq_real *theta, const int *train, int n,
                                  const dmq_real *w, double move, double *eta)
{
    const dmq_groups none = { .k = 1, .sample = { train }, .count = { 1 } };
    size_t p = h->problem->n_theta;
    dmq_hyper_samples samples;
    dmq_status st = DMQ_OK;
    double norm;

    DMQ_TRY(put_call(h, &samples, train, n, w, &none));
    DMQ_TRY(prepare(h, theta, &samples, h->w));
    DMQ_TRY(times(h, theta, &samples, 1, h->direction));
    DMQ_TRY(dmq_space_norm(&norm, h->space, h->direction, p));
    *eta = norm > 0 ? move * sqrt((double)p) / norm : 0;
done:
    return st;
}

/* |J^T x| in double: the factors are few enough for the host. */
static dmq_status norm_of_products(double *out, const dmq_hyper *h)
{
    const dmq_space *space = h->space;
    size_t n = (size_t)h->shape.n;
    dmq_real *scale = NULL, *tangent = NULL;
    double *product = NULL, sum = 0;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&scale, n, sizeof *scale));
    DMQ_TRY(dmq_alloc((void **)&tangent, n, sizeof *tangent));
    DMQ_TRY(dmq_alloc((void **)&product, n, sizeof *product));
    DMQ_TRY(dmq_space_get(space, scale, h->args.scale, n * sizeof *scale));
    if (h->jacobian)
        DMQ_TRY(dmq_space_get(space, product, h->products, n * sizeof *product));
    else
        DMQ_TRY(dmq_space_get(space, tangent, h->tangents, n * sizeof *tangent));
    for (size_t i = 0; i < n; i++) {
        double d = (h->jacobian ? product[i] : (double)tangent[i]) * (double)scale[i];

        sum += d * d;
    }
    *out = sqrt(sum);
done:
    dmq_free(scale);
    dmq_free(tangent);
    dmq_free(product);
    return st;
}

dmq_status dmq_hyper_rate_for_share(dmq_hyper *h, const dmq_real *theta, const int *train, int n,
                                    const dmq_real *w, const dmq_groups *groups, double share)
{
    dmq_hyper_samples samples;
    dmq_draw draw;
    dmq_status st = DMQ_OK;
    double norm;

    DMQ_TRY(put_call(h, &samples, train, n, w, groups));
    draw = group(h, &samples, 0);
    DMQ_TRY(prepare(h, theta, &samples, h->w));
    DMQ_TRY(move_theta(h, theta, &samples));
    DMQ_TRY(h->problem->grad_of(h->problem->context, h->star, &draw, h->points));
    DMQ_TRY(times_transposed(h, theta, &samples, h->points, 1));
    DMQ_TRY(norm_of_products(&norm, h));
    norm *= h->config.eta;
    h->config.rate = norm > 0 ? share / n * sqrt((double)n) / norm : 1;
done:
    return st;
}
