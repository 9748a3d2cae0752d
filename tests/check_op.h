/**
 * The checks that every operation goes through, from one description of it: check_op.
 *
 * forward, jvp and backward of the description call the slots of a device with copies of host arrays;
 * ops/op_<stem>.h has them. Then, for one shape:
 *
 *   check_op_golden    values, tangents and gradients of PyTorch in float64
 *   check_op_shape     all of: the device against ref; <u, Jv> = <J^T u, v>; finite differences;
 *                      add flags; a NaN in any input is seen in the output and in the gradients
 */
#ifndef DMQ_TESTS_CHECK_OP_H
#define DMQ_TESTS_CHECK_OP_H

#include "check.h"

enum { CHECK_IN = 4 };

typedef struct check_op {
    const char *name;
    int n_in;                  /**< inputs with a gradient */
    size_t count_in[CHECK_IN]; /**< 0: this one is left out */
    size_t count_out;
    bool smooth;            /**< finite differences make sense */
    bool add_out, add_in;   /**< forward, backward have add flags */
    bool quiet_nan;         /**< a NaN in an input need not be seen (it is not read) */
    double terms, terms_in; /**< lengths of the sums behind outputs and gradients */
    double step;            /**< > 0: values may differ by one step where a code is on the edge */
    const void *shape;

    /** Passes of one operation. With add set, outputs hold what is to be added to. */
    void (*forward)(const struct check_op *op, const check_on *on, dmq_real *const in[],
                    dmq_real *out, bool add);
    /** NULL: the operation has none. tan[k] NULL: zero. */
    void (*jvp)(const struct check_op *op, const check_on *on, dmq_real *const in[],
                dmq_real *const tan[], dmq_real *out_tan);
    void (*backward)(const struct check_op *op, const check_on *on, dmq_real *const in[],
                     const dmq_real *dout, dmq_real *const din[], bool add);
    /** out (+)= J v where J is its own transpose: check_op_derive_jvp and _backward are then the passes. */
    void (*derive)(const struct check_op *op, const check_on *on, const dmq_real *x,
                   const dmq_real *v, dmq_real *out, bool add);
} check_op;

static inline void check_op_derive_jvp(const check_op *op, const check_on *on, dmq_real *const in[],
                                       dmq_real *const tan[], dmq_real *out_tan)
{
    op->derive(op, on, in[0], tan[0], out_tan, false);
}

static inline void check_op_derive_backward(const check_op *op, const check_on *on,
                                            dmq_real *const in[], const dmq_real *dout,
                                            dmq_real *const din[], bool add)
{
    op->derive(op, on, in[0], dout, din[0], add);
}

/** Room for an output of a pass: what is there when it is added to, else NaN. NULL for no output. */
static inline dmq_real *check_op_room(const check_on *on, const dmq_real *out, size_t count,
                                      bool add)
{
    return out ? check_room(on, add ? out : NULL, count) : NULL;
}

typedef struct check_arrays {
    dmq_real *at[CHECK_IN];
} check_arrays;

static inline check_arrays check_op_arrays(const check_op *op, uint64_t *stream)
{
    check_arrays a = { { NULL } };

    for (int k = 0; k < op->n_in; k++) {
        if (op->count_in[k] == 0)
            continue;
        a.at[k] = check_reals(op->count_in[k]);
        if (stream)
            check_fill(a.at[k], op->count_in[k], stream);
    }
    return a;
}

static inline void check_op_compare(const check_op *op, const char *what, const dmq_real *got,
                                    const double *want, size_t count, double terms, double unit)
{
    char label[96];
    double tolerance = unit * sqrt(terms > 1 ? terms : 1);
    size_t flips = 0;

    (void)snprintf(label, sizeof label, "%s.%s", op->name, what);
    if (op->step <= 0) {
        check_close_to(label, got, want, count, unit, unit, terms);
        return;
    }
    check_distrust(label, want, count);
    for (size_t i = 0; i < count; i++) {
        double off = fabs((double)got[i] - want[i]);

        if (fabs(off - op->step) <= tolerance * (1 + fabs(want[i]))) {
            flips++;
        } else if (!check_is_close(label, i, (double)got[i], want[i], tolerance, tolerance)) {
            fail_msg("%s[%zu] of %zu: %.9g for %.9g", label, i, count, (double)got[i], want[i]);
        }
    }
    if (flips * 200 > count)
        fail_msg("%s: %zu of %zu values are one step off", label, flips, count);
}

/* ------------------------------------------------------------------ golden */

static inline dmq_real *check_golden_number(dmq_h5 *file, const char *group, const char *prefix,
                                            int k, size_t count)
{
    char name[32];

    (void)snprintf(name, sizeof name, "%s%d", prefix, k);
    return count > 0 ? check_golden_real(file, group, name, count) : NULL;
}

/**
 * A group of a golden file: in<k>, out; tan<k>, out_tan (if the operation has a jvp); dout, din<k>.
 * unit <= 0: the usual one.
 */
static inline void check_op_golden(const check_op *op, dmq_h5 *file, const char *group, double unit)
{
    dmq_real *in[CHECK_IN] = { NULL }, *tan[CHECK_IN] = { NULL };
    dmq_real *out = check_reals(op->count_out), *dout;
    check_arrays din = check_op_arrays(op, NULL);
    char label[64];

    unit = unit > 0 ? unit : check_unit;
    for (int k = 0; k < op->n_in; k++)
        in[k] = check_golden_number(file, group, "in", k, op->count_in[k]);
    op->forward(op, &check_device, in, out, false);
    check_op_compare(op, "out", out, check_golden(file, group, "out", op->count_out), op->count_out,
                     op->terms, unit);
    if (op->jvp) {
        for (int k = 0; k < op->n_in; k++)
            tan[k] = check_golden_number(file, group, "tan", k, op->count_in[k]);
        op->jvp(op, &check_device, in, tan, out);
        check_op_compare(op, "out_tan", out, check_golden(file, group, "out_tan", op->count_out),
                         op->count_out, op->terms, unit * 2);
    }
    if (op->backward) {
        dout = check_golden_real(file, group, "dout", op->count_out);
        op->backward(op, &check_device, in, dout, din.at, false);
        for (int k = 0; k < op->n_in; k++) {
            (void)snprintf(label, sizeof label, "din%d", k);
            if (op->count_in[k] > 0) {
                check_op_compare(op, label, din.at[k],
                                 check_golden(file, group, label, op->count_in[k]), op->count_in[k],
                                 op->terms_in, unit * 2);
            }
        }
    }
    (void)snprintf(label, sizeof label, "golden %s %s", op->name, group);
    check_report(label);
}

typedef check_op check_op_maker(const void *shape);

/** Cases of tests/golden/<stem>.h5, by name; NULL ends the list. Each holds a shape of ints numbers. */
static inline void check_op_goldens(const char *stem, check_op_maker *make, size_t ints,
                                    const char *const *groups)
{
    for (; *groups; groups++) {
        dmq_h5 *file = check_golden_open(stem);
        const int32_t *shape = check_golden_whole(file, *groups, "shape", ints);
        check_op op = make(shape);

        check_op_golden(&op, file, *groups, 0);
        dmq_h5_close(file);
        (void)check_release(NULL);
    }
}

/** CHECK_GOLDENS("conv2d", conv2d, "image", "down", ...) */
#define CHECK_GOLDENS(stem, op, ...)                                  \
    check_op_goldens(stem, op##_op, sizeof(op##_shape) / sizeof(int), \
                     (const char *const[]){ __VA_ARGS__, NULL })

/* ------------------------------------------------------------------ against ref */

static inline void check_op_against_ref(const check_op *op, uint64_t *stream)
{
    check_arrays in = check_op_arrays(op, stream), tan = check_op_arrays(op, stream);
    check_arrays got_in = check_op_arrays(op, NULL), want_in = check_op_arrays(op, NULL);
    dmq_real *dout = check_random(op->count_out, stream);
    dmq_real *got = check_reals(op->count_out), *want = check_reals(op->count_out);

    op->forward(op, &check_device, in.at, got, false);
    op->forward(op, &check_ref, in.at, want, false);
    check_op_compare(op, "out", got, check_doubles(want, op->count_out), op->count_out, op->terms,
                     check_unit);
    if (op->jvp) {
        op->jvp(op, &check_device, in.at, tan.at, got);
        op->jvp(op, &check_ref, in.at, tan.at, want);
        check_op_compare(op, "out_tan", got, check_doubles(want, op->count_out), op->count_out,
                         op->terms, check_unit * 2);
    }
    if (!op->backward)
        return;
    op->backward(op, &check_device, in.at, dout, got_in.at, false);
    op->backward(op, &check_ref, in.at, dout, want_in.at, false);
    for (int k = 0; k < op->n_in; k++) {
        char what[16];

        (void)snprintf(what, sizeof what, "din%d", k);
        if (op->count_in[k] > 0) {
            check_op_compare(op, what, got_in.at[k], check_doubles(want_in.at[k], op->count_in[k]),
                             op->count_in[k], op->terms_in, check_unit * 2);
        }
    }
}

/* ------------------------------------------------------------------ identities */

static inline void check_share(const check_op *op, const char *what, double error, double size,
                               double tolerance)
{
    char label[96];
    double relative = error > 0 ? error / size : error; /* nothing may be exactly nothing */

    (void)snprintf(label, sizeof label, "%s.%s", op->name, what);
    check_worst.values++;
    check_note(label, relative / tolerance, 0, relative, 0);
    if (!(relative <= tolerance))
        fail_msg("%s: relative error %.3g, may be %.3g", label, relative, tolerance);
}

/** <u, Jv> = <J^T u, v>, relative to |u||Jv|. tolerance <= 0: the usual one. */
static inline void check_op_inner(const check_op *op, uint64_t *stream, double tolerance)
{
    check_arrays in = check_op_arrays(op, stream), v = check_op_arrays(op, stream);
    check_arrays back = check_op_arrays(op, NULL);
    dmq_real *u = check_random(op->count_out, stream), *jv = check_reals(op->count_out);
    double right = 0, size = 0;

    op->jvp(op, &check_device, in.at, v.at, jv);
    op->backward(op, &check_device, in.at, u, back.at, false);
    for (int k = 0; k < op->n_in; k++) {
        right += check_dot(back.at[k], v.at[k], op->count_in[k]);
        size += check_norm(back.at[k], op->count_in[k]) * check_norm(v.at[k], op->count_in[k]);
    }
    size += check_norm(u, op->count_out) * check_norm(jv, op->count_out);
    check_share(op, "<u,Jv>-<J'u,v>", fabs(check_dot(u, jv, op->count_out) - right), size,
                tolerance > 0 ? tolerance : (sizeof(dmq_real) == 4 ? 2e-6 : 1e-14));
}

/** Central difference along v: second order in float, fourth order in double. */
static inline double *check_op_difference(const check_op *op, const check_arrays *in,
                                          const check_arrays *v)
{
    const int points = sizeof(dmq_real) == 4 ? 2 : 4;
    const double h = sizeof(dmq_real) == 4 ? 1e-2 : 1e-3;
    const double at[4] = { 1, -1, 2, -2 };
    const double weight2[4] = { 0.5, -0.5, 0, 0 };
    const double weight4[4] = { 8.0 / 12, -8.0 / 12, -1.0 / 12, 1.0 / 12 };
    double *sum = check_bytes(op->count_out, sizeof *sum);
    check_arrays moved = check_op_arrays(op, NULL);
    dmq_real *out = check_reals(op->count_out);

    for (int p = 0; p < points; p++) {
        for (int k = 0; k < op->n_in; k++) {
            for (size_t i = 0; moved.at[k] && in->at[k] && v->at[k] && i < op->count_in[k]; i++)
                moved.at[k][i] = (dmq_real)((double)in->at[k][i] + at[p] * h * (double)v->at[k][i]);
        }
        op->forward(op, &check_device, moved.at, out, false);
        for (size_t i = 0; i < op->count_out; i++)
            sum[i] += (points == 2 ? weight2 : weight4)[p] / h * (double)out[i];
    }
    return sum;
}

/** The tangent (or, without a jvp, <J^T u, v>) is what finite differences say. */
static inline void check_op_differences(const check_op *op, uint64_t *stream, double tolerance)
{
    check_arrays in = check_op_arrays(op, stream), v = check_op_arrays(op, stream);
    check_arrays back = check_op_arrays(op, NULL);
    dmq_real *u = check_random(op->count_out, stream), *jv = check_reals(op->count_out);
    double *want = check_op_difference(op, &in, &v);
    double error = 0, size = 0;

    tolerance = tolerance > 0 ? tolerance : sizeof(dmq_real) == 4 ? 3e-3 : 1e-9;
    if (op->jvp) {
        op->jvp(op, &check_device, in.at, v.at, jv);
        for (size_t i = 0; i < op->count_out; i++) {
            error += ((double)jv[i] - want[i]) * ((double)jv[i] - want[i]);
            size += want[i] * want[i];
        }
        check_share(op, "jvp-differences", sqrt(error), sqrt(size), tolerance);
        return;
    }
    op->backward(op, &check_device, in.at, u, back.at, false);
    for (size_t i = 0; i < op->count_out; i++) {
        error += (double)u[i] * want[i];
        size += ((double)u[i] * want[i]) * ((double)u[i] * want[i]);
    }
    for (int k = 0; k < op->n_in; k++)
        error -= check_dot(back.at[k], v.at[k], op->count_in[k]);
    check_share(op, "backward-differences", fabs(error), sqrt(size), tolerance);
}

/* ------------------------------------------------------------------ flags and NaN */

static inline void check_op_add(const check_op *op, uint64_t *stream)
{
    check_arrays in = check_op_arrays(op, stream), once = check_op_arrays(op, NULL);
    check_arrays twice = check_op_arrays(op, stream), start = check_op_arrays(op, NULL);
    dmq_real *first = check_reals(op->count_out), *second = check_random(op->count_out, stream);
    dmq_real *old = check_reals(op->count_out);

    if (op->add_out) {
        memcpy(old, second, op->count_out * sizeof *old);
        op->forward(op, &check_device, in.at, first, false);
        op->forward(op, &check_device, in.at, second, true);
        for (size_t i = 0; i < op->count_out; i++)
            first[i] += old[i];
        check_same("out with add", second, first, op->count_out, 2 * check_unit, 2 * check_unit,
                   op->terms);
    }
    if (!op->add_in || !op->backward)
        return;
    for (int k = 0; k < op->n_in; k++) {
        if (start.at[k])
            memcpy(start.at[k], twice.at[k], op->count_in[k] * sizeof *old);
    }
    check_fill(old, op->count_out, stream);
    op->backward(op, &check_device, in.at, old, once.at, false);
    op->backward(op, &check_device, in.at, old, twice.at, true);
    for (int k = 0; k < op->n_in; k++) {
        for (size_t i = 0; start.at[k] && i < op->count_in[k]; i++)
            once.at[k][i] += start.at[k][i];
        if (start.at[k]) {
            check_same("din with add", twice.at[k], once.at[k], op->count_in[k], 4 * check_unit,
                       4 * check_unit, op->terms_in);
        }
    }
}

/* The first number of every input in turn, and the middle one of dout. */
static inline void check_op_nan(const check_op *op, uint64_t *stream)
{
    check_arrays in = check_op_arrays(op, stream), din = check_op_arrays(op, NULL);
    dmq_real *out = check_reals(op->count_out), *dout = check_random(op->count_out, stream);

    for (int k = 0; k < op->n_in && !op->quiet_nan; k++) {
        dmq_real kept = 0;

        if (!in.at[k])
            continue;
        kept = in.at[k][0];
        in.at[k][0] = (dmq_real)NAN;
        op->forward(op, &check_device, in.at, out, false);
        if (check_nans(out, op->count_out) == 0)
            fail_msg("%s: a NaN in input %d is lost", op->name, k);
        in.at[k][0] = kept;
    }
    op->forward(op, &check_device, in.at, out, false);
    assert_int_equal(check_nans(out, op->count_out), 0);
    if (!op->backward)
        return;
    dout[op->count_out / 2] = (dmq_real)NAN;
    op->backward(op, &check_device, in.at, dout, din.at, false);
    for (int k = 0; k < op->n_in; k++) {
        if (op->count_in[k] > 0 && check_nans(din.at[k], op->count_in[k]) == 0)
            fail_msg("%s: a NaN in the gradient is lost on the way to input %d", op->name, k);
    }
}

/** Everything but golden values, for one shape. Release what it took; the caller reports. */
static inline void check_op_shape(const check_op *op, uint64_t seed)
{
    uint64_t stream = check_stream(seed);

    check_op_against_ref(op, &stream);
    if (op->jvp && op->backward)
        check_op_inner(op, &stream, 0);
    if (op->smooth)
        check_op_differences(op, &stream, 0);
    check_op_add(op, &stream);
    check_op_nan(op, &stream);
    (void)check_release(NULL);
}

/** The same for an array of the operation's shapes. */
#define CHECK_SHAPES(op, shapes) \
    check_op_shapes(op##_op, shapes, sizeof(shapes) / sizeof *(shapes), sizeof *(shapes))

static inline void check_op_shapes(check_op (*make)(const void *shape), const void *shapes,
                                   size_t count, size_t size)
{
    for (size_t i = 0; i < count; i++) {
        check_op op = make((const char *)shapes + i * size);

        check_op_shape(&op, i);
    }
}

#endif
