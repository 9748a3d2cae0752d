/**
 * A residual block with two AdaRound convolutions as a dmq_problem, recorded on a tape for one sample
 * at a time: the test model of gac.md 1.8, with the numbers of tests/golden/hypergradient.h5.
 */
#ifndef DMQ_TESTS_TOY_PROBLEM_H
#define DMQ_TESTS_TOY_PROBLEM_H

#include "base/memory.h"
#include "io/h5.h"
#include "recon/problem.h"
#include "tape/ops.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum {
    TOY_C = 8,
    TOY_HW = 6,
    TOY_N = 12,
    TOY_K = 5,
    TOY_M = 4,
    TOY_PART = TOY_C * TOY_C * 9,
    TOY_P = 2 * TOY_PART,
    TOY_ALL = TOY_N + TOY_K * TOY_M,
    TOY_X = TOY_C * TOY_HW * TOY_HW
};

typedef struct toy {
    dmq_problem problem;
    double kappa; /* factor of every loss: for the scaling law */
    dmq_real w[2][TOY_PART], scale[2][TOY_C], zero[2][TOY_C], gamma[2][TOY_C], beta[2][TOY_C],
        bias[2][TOY_C];
    int n;                 /* samples */
    dmq_real *x, *emb, *y; /* (n, HW, HW, C), (n, C), (n, HW, HW, C) */
    dmq_real theta[TOY_P], at[TOY_P], grad[TOY_P];
    dmq_tape *tape;
    dmq_queue *queue;
    const dmq_backend *be;
    dmq_space space;
    dmq_var *vx, *vemb, *vy, *out, *loss;
    int points; /* of a call */
    int calls;  /* gradient evaluations, to count the cost of a form */
} toy;

static inline dmq_status toy_pass(toy *t, const dmq_real *theta, int sample)
{
    memcpy(t->at, theta, sizeof t->at);
    memcpy(t->vx->value, t->x + (size_t)sample * TOY_X, TOY_X * sizeof(dmq_real));
    memcpy(t->vemb->value, t->emb + (size_t)sample * TOY_C, TOY_C * sizeof(dmq_real));
    memcpy(t->vy->value, t->y + (size_t)sample * TOY_X, TOY_X * sizeof(dmq_real));
    return dmq_tape_forward(t->tape, t->queue, DMQ_PART_ALL);
}

static inline dmq_status toy_one(toy *t, const dmq_real *theta, int sample, dmq_real *grad,
                                 dmq_real *loss)
{
    dmq_status st = DMQ_OK;

    t->calls++;
    DMQ_TRY(toy_pass(t, theta, sample));
    if (loss)
        *loss = (dmq_real)t->kappa * t->loss->value[0];
    dmq_tape_bind(t->tape, grad, NULL);
    memset(t->out->grad, 0, TOY_X * sizeof(dmq_real));
    t->loss->grad[0] = (dmq_real)t->kappa;
    DMQ_TRY(dmq_tape_backward(t->tape, t->queue));
done:
    return st;
}

static inline dmq_status toy_grad(void *context, const dmq_real *theta, const int *sample,
                                  const dmq_real *weight, int n, dmq_real *grad, dmq_real *loss)
{
    toy *t = context;
    dmq_status st = DMQ_OK;

    memset(grad, 0, sizeof t->grad);
    for (int i = 0; i < n; i++) {
        DMQ_TRY(toy_one(t, theta, sample[i], t->grad, loss ? loss + i : NULL));
        for (int j = 0; j < TOY_P; j++)
            grad[j] += (weight ? weight[i] : 1) * t->grad[j];
    }
done:
    return st;
}

static inline dmq_status toy_grad_each(void *context, const dmq_real *theta, const int *sample,
                                       int n, dmq_real *jacobian, dmq_real *loss)
{
    dmq_status st = DMQ_OK;

    for (int i = 0; i < n; i++) {
        DMQ_TRY(toy_one(context, theta, sample[i], jacobian + (size_t)i * TOY_P,
                        loss ? loss + i : NULL));
    }
done:
    return st;
}

static inline dmq_status toy_jvp(void *context, const dmq_real *theta, const int *sample, int n,
                                 const dmq_real *direction, dmq_real *dot)
{
    toy *t = context;
    dmq_status st = DMQ_OK;

    for (int i = 0; i < n; i++) {
        DMQ_TRY(toy_pass(t, theta, sample[i]));
        dmq_tape_bind(t->tape, NULL, direction);
        DMQ_TRY(dmq_tape_jvp(t->tape, t->queue));
        dot[i] = (dmq_real)t->kappa * t->loss->tan[0];
    }
done:
    return st;
}

static inline dmq_status toy_loss(void *context, const dmq_real *theta, const int *sample, int n,
                                  dmq_real *loss)
{
    toy *t = context;
    dmq_status st = DMQ_OK;

    for (int i = 0; i < n; i++) {
        DMQ_TRY(toy_pass(t, theta, sample[i]));
        loss[i] = (dmq_real)t->kappa * t->loss->value[0];
    }
done:
    return st;
}

/* Draws: the memory of the reference is the host's, so that their samples can be read. */
static inline int toy_recordable(const void *context)
{
    (void)context;
    return 1;
}

static inline int toy_places(const void *context, int n)
{
    (void)context;
    return n;
}

static inline void toy_index(const void *context, int *index, size_t stride, const int *sample,
                             int n, int places)
{
    (void)context;
    (void)stride; /* one row */
    for (int i = 0; i < places; i++)
        index[i] = sample[i < n ? i : n - 1];
}

static inline dmq_status toy_grad_of(void *context, const dmq_real *theta, const dmq_draw *d,
                                     dmq_real *grad)
{
    return toy_grad(context, theta, d->index, d->weight, d->n, grad, d->loss);
}

static inline dmq_status toy_grad_runs_of(void *context, const dmq_real *theta, const dmq_draw *d,
                                          int runs, dmq_real *grads)
{
    dmq_status st = DMQ_OK;

    for (int g = 0; g < runs; g++) {
        dmq_draw run = dmq_draw_run(d, g, d->n);

        DMQ_TRY(toy_grad_of(context, theta, &run, grads + (size_t)g * TOY_P));
    }
done:
    return st;
}

static inline int toy_points(const void *context, int n, int most)
{
    const toy *t = context;

    (void)n;
    return t->points < most ? t->points : most;
}

static inline dmq_status toy_grad_points_of(void *context, const dmq_real *theta, const dmq_draw *d,
                                            int points, dmq_real *grads)
{
    dmq_status st = DMQ_OK;

    for (int g = 0; g < points; g++) {
        dmq_draw run = dmq_draw_run(d, g, d->n);

        DMQ_TRY(toy_grad_of(context, theta + (size_t)g * TOY_P, &run, grads + (size_t)g * TOY_P));
    }
done:
    return st;
}

static inline dmq_status toy_grad_each_of(void *context, const dmq_real *theta, const dmq_draw *d,
                                          dmq_real *jacobian)
{
    return toy_grad_each(context, theta, d->index, d->n, jacobian, d->loss);
}

static inline dmq_status toy_jvp_of(void *context, const dmq_real *theta, const dmq_draw *d,
                                    const dmq_real *direction, dmq_real *dot)
{
    return toy_jvp(context, theta, d->index, d->n, direction, dot);
}

static inline dmq_status toy_record(toy *t)
{
    const dmq_pad one = { 1, 1, 1, 1 };
    dmq_shape vec = dmq_shape1(TOY_C), wide = dmq_shape4(TOY_C, 3, 3, TOY_C);
    dmq_shape image = dmq_shape4(1, TOY_HW, TOY_HW, TOY_C);
    dmq_status st = DMQ_OK;
    dmq_var *h;

    DMQ_TRY(dmq_tape_create(&t->tape, t->be, DMQ_TAPE_BACKWARD | DMQ_TAPE_JVP));
    t->vx = dmq_tape_input(t->tape, "x", image);
    t->vemb = dmq_tape_input(t->tape, "emb", dmq_shape2(1, TOY_C));
    t->vy = dmq_tape_input(t->tape, "y", image);
    h = t->vx;
    for (int i = 0; i < 2; i++) {
        dmq_var *a =
            dmq_tape_param(t->tape, "alpha", wide, t->at + i * TOY_PART, (size_t)i * TOY_PART);
        dmq_var *w =
            dmq_record_adaround(t->tape, a, dmq_tape_constant(t->tape, "w", wide, t->w[i]),
                                dmq_tape_constant(t->tape, "scale", vec, t->scale[i]),
                                dmq_tape_constant(t->tape, "zero", vec, t->zero[i]), 0, 15);

        if (i == 1)
            h = dmq_record_binary(t->tape, DMQ_ADD, h, t->vemb);
        h = dmq_record_group_norm(t->tape, h, dmq_tape_constant(t->tape, "gamma", vec, t->gamma[i]),
                                  dmq_tape_constant(t->tape, "beta", vec, t->beta[i]), 4, 1e-6);
        h = dmq_record_unary(t->tape, DMQ_SILU, h);
        h = dmq_record_conv2d(t->tape, h, w, dmq_tape_constant(t->tape, "bias", vec, t->bias[i]), 1,
                              one);
    }
    t->out = h = dmq_record_binary(t->tape, DMQ_ADD, h, t->vx);
    dmq_tape_output(t->tape, t->out);
    t->loss = dmq_record_loss(t->tape, h, t->vy, 2);
    dmq_tape_output(t->tape, t->loss);
    DMQ_TRY(dmq_tape_plan(t->tape));
done:
    return st;
}

static inline void toy_destroy(toy *t)
{
    if (!t)
        return;
    dmq_tape_destroy(t->tape);
    dmq_space_release(&t->space);
    if (t->be)
        t->be->queue_destroy(t->queue);
    dmq_free(t->x);
    dmq_free(t->emb);
    dmq_free(t->y);
    dmq_free(t);
}

static inline dmq_status toy_load(toy *t, dmq_h5 *file)
{
    static const char *const names[] = { "w", "scale", "zero", "gamma", "beta", "bias" };
    dmq_status st = DMQ_OK;

    for (int i = 0; i < 2; i++) {
        dmq_real *to[] = { t->w[i], t->scale[i], t->zero[i], t->gamma[i], t->beta[i], t->bias[i] };

        for (int j = 0; j < 6; j++) {
            char name[16];

            (void)snprintf(name, sizeof name, "%s%d", names[j], i + 1);
            if (j == 0) {
                DMQ_TRY(dmq_h5_read_real(to[j], file, name, DMQ_DIMS(TOY_C, 3, 3, TOY_C)));
            } else {
                DMQ_TRY(dmq_h5_read_real(to[j], file, name, DMQ_DIMS(TOY_C)));
            }
        }
    }
    DMQ_TRY(dmq_h5_read_real(t->x, file, "x", DMQ_DIMS(TOY_ALL, TOY_HW, TOY_HW, TOY_C)));
    DMQ_TRY(dmq_h5_read_real(t->y, file, "y", DMQ_DIMS(TOY_ALL, TOY_HW, TOY_HW, TOY_C)));
    DMQ_TRY(dmq_h5_read_real(t->emb, file, "emb", DMQ_DIMS(TOY_ALL, TOY_C)));
    DMQ_TRY(dmq_h5_read_real(t->theta, file, "theta", DMQ_DIMS(TOY_P)));
done:
    return st;
}

/* Room for n samples; n = TOY_ALL are those of the golden file. */
static inline dmq_status toy_create(toy **out, dmq_h5 *file, int n)
{
    dmq_status st = DMQ_OK;
    toy *t = NULL;

    DMQ_TRY(dmq_alloc((void **)&t, 1, sizeof *t));
    t->kappa = 1;
    t->n = n;
    t->points = 1;
    DMQ_TRY(dmq_alloc((void **)&t->x, (size_t)n * TOY_X, sizeof(dmq_real)));
    DMQ_TRY(dmq_alloc((void **)&t->y, (size_t)n * TOY_X, sizeof(dmq_real)));
    DMQ_TRY(dmq_alloc((void **)&t->emb, (size_t)n * TOY_C, sizeof(dmq_real)));
    t->be = dmq_backend_ref();
    DMQ_TRY(t->be->queue_create(&t->queue, 0));
    dmq_space_init_queue(&t->space, t->be, t->queue);
    DMQ_TRY(toy_load(t, file));
    DMQ_TRY(toy_record(t));
    t->problem = (dmq_problem){ .context = t,
                                .n_theta = TOY_P,
                                .n_samples = n,
                                .space = &t->space,
                                .grad = toy_grad,
                                .grad_each = toy_grad_each,
                                .jvp = toy_jvp,
                                .loss = toy_loss,
                                .index_rows = 1,
                                .recordable = toy_recordable,
                                .places = toy_places,
                                .index = toy_index,
                                .grad_of = toy_grad_of,
                                .grad_runs_of = toy_grad_runs_of,
                                .points = toy_points,
                                .grad_points_of = toy_grad_points_of,
                                .grad_each_of = toy_grad_each_of,
                                .jvp_of = toy_jvp_of };
    *out = t;
    t = NULL;
done:
    toy_destroy(t);
    return st;
}

#endif
