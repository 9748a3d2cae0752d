/**
 * Small networks for the tests of the tape: leaves with random numbers, all passes, and the checks that
 * hold for any network: inner product, finite differences, no sample mixed with another.
 *
 * A network is a function that records on a net with the net_... leaves and ends with net_output. The
 * numbers of a leaf depend on its place in the order of recording alone, so that two nets of the same
 * function can be compared; or they are golden values (golden/make_tape.py).
 */
#ifndef DMQ_TESTS_TAPE_NET_H
#define DMQ_TESTS_TAPE_NET_H

#include "check.h"
#include "tape/ops.h"
#include "tape/tape.h"

enum { NET_LEAVES = 48, NET_OUTPUTS = 4, NET_INDICES = 4 };

typedef struct net_leaf {
    dmq_var *var;
    size_t count;
    dmq_real *value;     /* host */
    dmq_real *tan;       /* host; NULL: a constant */
    dmq_real *on_device; /* of a parameter or constant */
    int rows;            /* of the first axis when it is one of samples, else 0 */
} net_leaf;

typedef struct net {
    const check_on *on;
    dmq_tape *tape;
    unsigned passes;
    int samples;
    net_leaf leaf[NET_LEAVES];
    int n_leaves;
    dmq_var *output[NET_OUTPUTS];
    dmq_real *seed[NET_OUTPUTS];
    int n_outputs;
    size_t n_params; /* numbers */
    dmq_real *grads, *tangents;
    dmq_index *index[NET_INDICES];
    int *index_value[NET_INDICES]; /* host */
    int index_below[NET_INDICES];
    int n_indices;
    uint64_t stream;
    dmq_h5 *golden; /* NULL: random numbers */
    const char *group;
} net;

typedef void net_fn(net *n);

/* "v3" */
static inline const char *net_key(char kind, int i)
{
    static char key[16];

    (void)snprintf(key, sizeof key, "%c%d", kind, i);
    return key;
}

static inline net_leaf *net_leaf_add(net *n, dmq_shape shape, double mean, double spread,
                                     int learns)
{
    net_leaf *leaf = &n->leaf[n->n_leaves++];

    assert_true(n->n_leaves <= NET_LEAVES);
    leaf->count = dmq_shape_count(shape);
    leaf->value = check_random(leaf->count, &n->stream);
    for (size_t i = 0; i < leaf->count; i++)
        leaf->value[i] = (dmq_real)(float)(mean + spread * (double)leaf->value[i]);
    leaf->tan = learns ? check_random(leaf->count, &n->stream) : NULL;
    if (n->golden) {
        int i = n->n_leaves - 1;

        leaf->value = check_golden_real(n->golden, n->group, net_key('v', i), leaf->count);
        if (learns)
            leaf->tan = check_golden_real(n->golden, n->group, net_key('d', i), leaf->count);
    }
    return leaf;
}

/** Of samples along the first axis; wants gradient and tangent where the tape has such a pass. */
static inline dmq_var *net_input(net *n, dmq_shape shape)
{
    net_leaf *leaf = net_leaf_add(n, shape, 0, 1, 1);

    leaf->var = dmq_tape_input(n->tape, "x", shape);
    leaf->rows = shape.dim[0];
    if (n->passes & DMQ_TAPE_BACKWARD)
        dmq_tape_want_grad(n->tape, leaf->var);
    if (n->passes & DMQ_TAPE_JVP)
        dmq_tape_want_tan(n->tape, leaf->var);
    return leaf->var;
}

/** An input of samples that carries no gradient. */
static inline dmq_var *net_data(net *n, dmq_shape shape, double mean, double spread)
{
    net_leaf *leaf = net_leaf_add(n, shape, mean, spread, 0);

    leaf->var = dmq_tape_input(n->tape, "data", shape);
    leaf->rows = shape.dim[0];
    return leaf->var;
}

static inline dmq_var *net_param_near(net *n, dmq_shape shape, double mean, double spread)
{
    net_leaf *leaf = net_leaf_add(n, shape, mean, spread, 1);

    leaf->on_device = check_up_real(n->on, leaf->value, leaf->count);
    leaf->var = dmq_tape_param(n->tape, "w", shape, leaf->on_device, n->n_params);
    n->n_params += leaf->count + 3; /* a hole, which no pass may write */
    return leaf->var;
}

/** A weight: random, of a size that keeps activations near 1. */
static inline dmq_var *net_param(net *n, dmq_shape shape)
{
    double per = (double)dmq_shape_count(shape) / shape.dim[0];

    return net_param_near(n, shape, 0, shape.rank == 1 ? 0.3 : 1.0 / sqrt(per));
}

static inline dmq_var *net_constant(net *n, dmq_shape shape, double mean, double spread)
{
    net_leaf *leaf = net_leaf_add(n, shape, mean, spread, 0);

    leaf->on_device = check_up_real(n->on, leaf->value, leaf->count);
    leaf->var = dmq_tape_constant(n->tape, "constant", shape, leaf->on_device);
    return leaf->var;
}

/** Whole numbers in 0..below-1, one a sample. */
static inline dmq_index *net_index(net *n, int below)
{
    dmq_index *index = dmq_tape_index(n->tape, "index", n->samples);
    const int32_t *golden = NULL;
    int *value;

    if (n->golden) {
        golden =
            check_golden_whole(n->golden, n->group, net_key('i', n->n_indices), (size_t)n->samples);
    }
    assert_true(n->n_indices < NET_INDICES);
    value = check_bytes((size_t)n->samples, sizeof *value);
    for (int i = 0; i < n->samples; i++)
        value[i] = golden ? golden[i] : check_whole(&n->stream, 0, below - 1);
    n->index[n->n_indices] = index;
    n->index_value[n->n_indices] = value;
    n->index_below[n->n_indices++] = below;
    return index;
}

static inline void net_output(net *n, dmq_var *v)
{
    assert_true(n->n_outputs < NET_OUTPUTS);
    dmq_tape_output(n->tape, v);
    n->output[n->n_outputs++] = v;
}

/** Indices, and values of the leaves plus h times their tangents. */
static inline void net_write(net *n, double h)
{
    for (int i = 0; i < n->n_indices; i++) {
        CHECK_OK(dmq_tape_index_set(n->tape, n->index[i], n->on->queue, n->index_value[i]));
    }
    for (int i = 0; i < n->n_leaves; i++) {
        net_leaf *leaf = &n->leaf[i];
        dmq_real *moved = check_reals(leaf->count);
        dmq_real *to = leaf->on_device ? leaf->on_device : leaf->var->value;

        for (size_t k = 0; k < leaf->count; k++) {
            moved[k] = leaf->tan ? (dmq_real)((double)leaf->value[k] + h * (double)leaf->tan[k])
                                 : leaf->value[k];
        }
        CHECK_OK(n->on->backend->upload(n->on->queue, to, moved, leaf->count * sizeof *moved));
        if (leaf->tan && leaf->var->wants_tan) {
            CHECK_OK(n->on->backend->upload(n->on->queue, leaf->var->tan, leaf->tan,
                                            leaf->count * sizeof *moved));
        }
    }
    CHECK_OK(n->on->backend->sync(n->on->queue));
}

/** As net_open, with the numbers of a group of golden values. */
static inline net *net_open_golden(const check_on *on, unsigned passes, int samples, net_fn *record,
                                   dmq_h5 *golden, const char *group)
{
    net *n = check_bytes(1, sizeof *n);
    dmq_real *tangents;

    n->on = on;
    n->passes = passes;
    n->samples = samples;
    n->stream = check_stream(7);
    n->golden = golden;
    n->group = group;
    CHECK_OK(dmq_tape_create(&n->tape, on->backend, passes));
    record(n);
    CHECK_OK(dmq_tape_plan(n->tape));
    tangents = check_reals(n->n_params + 1);
    for (int i = 0; i < n->n_leaves; i++) {
        if (n->leaf[i].var->is_param) {
            memcpy(tangents + n->leaf[i].var->offset, n->leaf[i].tan,
                   n->leaf[i].count * sizeof *tangents);
        }
    }
    n->tangents = check_up_real(on, tangents, n->n_params + 1);
    n->grads = check_room(on, NULL, n->n_params + 1);
    dmq_tape_bind(n->tape, n->grads, n->tangents);
    for (int i = 0; i < n->n_outputs; i++) {
        size_t count = dmq_shape_count(n->output[i]->shape);

        n->seed[i] = golden ? check_golden_real(golden, group, net_key('u', i), count)
                            : check_random(count, &n->stream);
    }
    net_write(n, 0);
    return n;
}

/** Record, plan, bind, and fill the leaves. net_close after use; all else goes with check_release. */
static inline net *net_open(const check_on *on, unsigned passes, int samples, net_fn *record)
{
    return net_open_golden(on, passes, samples, record, NULL, NULL);
}

static inline void net_close(net *n)
{
    dmq_tape_destroy(n->tape);
    n->tape = NULL;
}

static inline dmq_real *net_down(const net *n, const dmq_real *memory, size_t count)
{
    dmq_real *host = check_reals(count);

    if (memory) /* NULL: a tangent that is zero */
        check_down_real(n->on, host, memory, count);
    return host;
}

static inline dmq_real *net_value(const net *n, int output)
{
    return net_down(n, n->output[output]->value, dmq_shape_count(n->output[output]->shape));
}

static inline dmq_real *net_tangent(const net *n, int output)
{
    return net_down(n, n->output[output]->tan, dmq_shape_count(n->output[output]->shape));
}

static inline dmq_real *net_gradient(const net *n, int leaf)
{
    return net_down(n, n->leaf[leaf].var->grad, n->leaf[leaf].count);
}

static inline void net_forward(net *n)
{
    CHECK_OK(dmq_tape_forward(n->tape, n->on->queue, DMQ_PART_ALL));
}

static inline void net_backward(net *n)
{
    for (int i = 0; i < n->n_outputs; i++) {
        if (n->output[i]->grad) {
            CHECK_OK(
                n->on->backend->upload(n->on->queue, n->output[i]->grad, n->seed[i],
                                       dmq_shape_count(n->output[i]->shape) * sizeof(dmq_real)));
        }
    }
    CHECK_OK(dmq_tape_backward(n->tape, n->on->queue));
}

static inline void net_jvp(net *n)
{
    CHECK_OK(dmq_tape_jvp(n->tape, n->on->queue));
}

/** <u, J v> = <J^T u, v> over all leaves and outputs; each number of a gradient is read. */
static inline void net_check_inner(net *n, const char *name, double tolerance)
{
    double left = 0, right = 0, size = 0;

    net_write(n, 0);
    net_forward(n);
    net_backward(n);
    net_jvp(n);
    for (int i = 0; i < n->n_outputs; i++) {
        size_t count = dmq_shape_count(n->output[i]->shape);
        const dmq_real *tan = net_tangent(n, i);

        left += check_dot(n->seed[i], tan, count);
        size += check_norm(n->seed[i], count) * check_norm(tan, count);
    }
    for (int i = 0; i < n->n_leaves; i++) {
        const net_leaf *leaf = &n->leaf[i];
        const dmq_real *grad = leaf->tan ? net_gradient(n, i) : NULL;

        if (!grad)
            continue;
        right += check_dot(grad, leaf->tan, leaf->count);
        size += check_norm(grad, leaf->count) * check_norm(leaf->tan, leaf->count);
    }
    if (!(fabs(left - right) <= tolerance * size) || size == 0)
        fail_msg("%s: <u, Jv> = %.12g, <J'u, v> = %.12g, sizes %.3g", name, left, right, size);
}

/** J v against differences of fourth order along v. */
static inline void net_check_differences(net *n, const char *name, double h, double tolerance)
{
    static const double step[] = { -2, -1, 1, 2 }, factor[] = { 1, -8, 8, -1 };

    for (int i = 0; i < n->n_outputs; i++) {
        size_t count = dmq_shape_count(n->output[i]->shape);
        double *slope = check_bytes(count, sizeof *slope);
        const dmq_real *tan;
        double size, off = 0;

        for (int k = 0; k < 4; k++) {
            const dmq_real *value;

            net_write(n, step[k] * h);
            net_forward(n);
            value = net_value(n, i);
            for (size_t j = 0; j < count; j++)
                slope[j] += factor[k] * (double)value[j] / (12 * h);
        }
        net_write(n, 0);
        net_forward(n);
        net_jvp(n);
        tan = net_tangent(n, i);
        size = check_norm(tan, count);
        for (size_t j = 0; j < count; j++)
            off += ((double)tan[j] - slope[j]) * ((double)tan[j] - slope[j]);
        if (!(sqrt(off) <= tolerance * (1 + size))) {
            fail_msg("%s: output %d: jvp is off the difference by %.3g of %.3g", name, i, sqrt(off),
                     size);
        }
    }
}

/* Within tolerance times the largest of the expected values, which for some gradients are all zero. */
static inline void net_check_golden_array(const net *n, char kind, int i, const dmq_real *got,
                                          size_t count, double tolerance)
{
    const double *want = check_golden(n->golden, n->group, net_key(kind, i), count);
    char what[64];
    double largest = 0;

    (void)snprintf(what, sizeof what, "%s/%c%d", n->group, kind, i);
    for (size_t k = 0; k < count; k++)
        largest = fmax(largest, fabs(want[k]));
    check_close_to(what, got, want, count, tolerance * fmax(largest, 0.5), 0, 1);
}

/** Values, tangents and gradients against PyTorch's. */
static inline void net_check_golden(net *n, double tolerance)
{
    net_forward(n);
    net_backward(n);
    net_jvp(n);
    for (int i = 0; i < n->n_outputs; i++) {
        size_t count = dmq_shape_count(n->output[i]->shape);

        net_check_golden_array(n, 'y', i, net_value(n, i), count, tolerance);
        assert_int_equal(n->output[i]->tan != NULL,
                         check_golden_has(n->golden, n->group, net_key('t', i)));
        if (n->output[i]->tan)
            net_check_golden_array(n, 't', i, net_tangent(n, i), count, tolerance);
    }
    for (int i = 0; i < n->n_leaves; i++) {
        if (n->leaf[i].tan)
            net_check_golden_array(n, 'g', i, net_gradient(n, i), n->leaf[i].count, tolerance);
    }
}

/* Rows of another sample than `moved` must be the same bits. */
static inline void net_check_rows(const char *name, const char *what, const dmq_real *before,
                                  const dmq_real *after, size_t count, int samples, int moved)
{
    size_t per = count / (size_t)samples, changed = 0;

    for (size_t i = 0; i < count; i++) {
        if (i / per == (size_t)moved) {
            changed += before[i] != after[i];
        } else if (memcmp(&before[i], &after[i], sizeof *before) != 0) {
            fail_msg("%s: %s of sample %zu changed with sample %d", name, what, i / per, moved);
        }
    }
    if (changed == 0)
        fail_msg("%s: %s of sample %d does not depend on it", name, what, moved);
}

/* Not the same for all numbers: a norm or a softmax would not see it. */
static inline dmq_real net_push(int leaf, size_t k)
{
    return (dmq_real)0.25 * (dmq_real)((k * 7 + (size_t)leaf * 3 + 1) % 5);
}

/** Change one sample (for good); values, tangents and input gradients of the others stay, bit for bit. */
static inline void net_check_samples(net *n, const char *name, int moved)
{
    dmq_real *value[NET_OUTPUTS], *tan[NET_OUTPUTS], *grad[NET_LEAVES];

    net_write(n, 0);
    net_forward(n);
    net_backward(n);
    net_jvp(n);
    for (int i = 0; i < n->n_outputs; i++) {
        value[i] = net_value(n, i);
        tan[i] = net_tangent(n, i);
    }
    for (int i = 0; i < n->n_leaves; i++)
        grad[i] = net_gradient(n, i);
    for (int i = 0; i < n->n_leaves; i++) {
        size_t per = n->leaf[i].count / (size_t)n->samples;

        for (size_t k = 0; n->leaf[i].rows && k < per; k++)
            n->leaf[i].value[(size_t)moved * per + k] += net_push(i, k);
    }
    for (int i = 0; i < n->n_outputs; i++) { /* where the gradient is linear it must change, too */
        for (size_t k = 0, per = dmq_shape_count(n->output[i]->shape) / (size_t)n->samples; k < per;
             k++)
            n->seed[i][(size_t)moved * per + k] += 1;
    }
    net_write(n, 0);
    net_forward(n);
    net_backward(n);
    net_jvp(n);
    for (int i = 0; i < n->n_outputs; i++) {
        net_check_rows(name, "the value", value[i], net_value(n, i),
                       dmq_shape_count(n->output[i]->shape), n->samples, moved);
    }
    for (int i = 0; i < n->n_outputs; i++) {
        const dmq_real *now = net_tangent(n, i);

        /* a linear operation's tangent does not move: only the other samples are looked at */
        for (size_t k = 0, all = dmq_shape_count(n->output[i]->shape); k < all; k++) {
            if (k / (all / (size_t)n->samples) != (size_t)moved && now[k] != tan[i][k])
                fail_msg("%s: a tangent changed with sample %d", name, moved);
        }
    }
    for (int i = 0; i < n->n_leaves; i++) {
        if (n->leaf[i].rows && n->leaf[i].var->grad) {
            net_check_rows(name, "the gradient", grad[i], net_gradient(n, i), n->leaf[i].count,
                           n->samples, moved);
        }
    }
}

#endif
