/*
 * Attention in pieces: sizes that are cut into groups of heads and into rows of one head (2^22 numbers a
 * piece) against the composition that keeps all probabilities. Small sizes are cases of test_tape.
 */
#include "tape_net.h"

#include <string.h>

enum { ALL_PASSES = DMQ_TAPE_BACKWARD | DMQ_TAPE_JVP };

/* 3 heads of 1300 x 1300 numbers: two heads and one. 2 columns each. */
static void some_heads(net *n)
{
    dmq_shape s = dmq_shape3(1, 1300, 6);
    dmq_var *q = net_input(n, s), *k = net_input(n, s);

    net_output(n, dmq_record_attention(n->tape, q, k, net_input(n, s), 3, 0.7));
}

/* The heads one by one, from slices. */
static void some_heads_composed(net *n)
{
    dmq_shape s = dmq_shape3(1, 1300, 6);
    dmq_var *x[3], *y = NULL;

    for (int i = 0; i < 3; i++)
        x[i] = net_input(n, s);
    for (int h = 0; h < 3; h++) {
        dmq_var *part[3], *p;

        for (int i = 0; i < 3; i++)
            part[i] = dmq_record_slice(n->tape, x[i], 2, 2 * h, 2);
        p = dmq_record_softmax(n->tape, dmq_record_matmul(n->tape, part[0], 0, part[1], 1, 0.7));
        p = dmq_record_matmul(n->tape, p, 0, part[2], 0, 1);
        y = y ? dmq_record_concat(n->tape, y, p) : p;
    }
    net_output(n, y);
}

/* 2100 x 2100 numbers: 1997 rows and 103. Queries, keys and values are one variable. */
static void some_rows(net *n)
{
    dmq_var *x = net_input(n, dmq_shape3(1, 2100, 2));

    net_output(n, dmq_record_attention(n->tape, x, x, x, 1, 0.7));
}

static void some_rows_composed(net *n)
{
    dmq_var *x = net_input(n, dmq_shape3(1, 2100, 2)), *p;

    p = dmq_record_softmax(n->tape, dmq_record_matmul(n->tape, x, 0, x, 1, 0.7));
    net_output(n, dmq_record_matmul(n->tape, p, 0, x, 0, 1));
}

static void check_case(const char *name, net_fn *pieces, net_fn *composed)
{
    net *a = net_open(&check_device, ALL_PASSES, 1, pieces);
    net *b = net_open(&check_device, ALL_PASSES, 1, composed);
    size_t count = dmq_shape_count(a->output[0]->shape);

    assert_true(dmq_tape_bytes(a->tape) < dmq_tape_bytes(b->tape));
    for (int i = 0; i < 2; i++) {
        net_forward(i ? b : a);
        net_backward(i ? b : a);
        net_jvp(i ? b : a);
    }
    check_same(name, net_value(a, 0), net_value(b, 0), count, 1e-5, 1e-5, 1);
    check_same(name, net_tangent(a, 0), net_tangent(b, 0), count, 4e-5, 1e-5, 1);
    for (int i = 0; i < a->n_leaves; i++)
        check_same(name, net_gradient(a, i), net_gradient(b, i), a->leaf[i].count, 1e-4, 1e-5, 1);
    net_close(a);
    net_close(b);
    (void)check_release(NULL);
}

static void pieces_are_the_whole(void **state)
{
    (void)state;
    if (strcmp(check_device.backend->name, "simt") == 0 ||
        strcmp(check_device.backend->name, "check") == 0)
        skip(); /* minutes there, and nothing that the small cases do not run */
    check_case("groups of heads", some_heads, some_heads_composed);
    check_case("rows of a head", some_rows, some_rows_composed);
    check_report("composed");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(pieces_are_the_whole),
    };

    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
