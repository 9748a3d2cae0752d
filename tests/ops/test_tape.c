/* Every recordable operation on a backend: against PyTorch, the reference, itself with one sample changed. */
#include "tape_cases.h"

enum { ALL_PASSES = DMQ_TAPE_BACKWARD | DMQ_TAPE_JVP };

static void golden(void **state)
{
    (void)state;
    cases_check_golden(&check_device, ALL_PASSES, 1e-5);
}

static void inner_product(void **state)
{
    (void)state;
    for (int i = 0; i < TAPE_CASES; i++) {
        net *n = net_open(&check_device, ALL_PASSES, CASE_SAMPLES, tape_cases[i].record);

        net_check_inner(n, tape_cases[i].name, 2e-6);
        net_close(n);
        (void)check_release(NULL);
    }
}

static void finite_differences(void **state)
{
    (void)state;
    for (int i = 0; i < TAPE_CASES; i++) {
        net *n = net_open(&check_device, ALL_PASSES, CASE_SAMPLES, tape_cases[i].record);

        if (tape_cases[i].smooth)
            net_check_differences(n, tape_cases[i].name, 0.006, 1e-3);
        net_close(n);
        (void)check_release(NULL);
    }
}

static void no_sample_mixes_with_another(void **state)
{
    (void)state;
    for (int i = 0; i < TAPE_CASES; i++) {
        net *n = net_open(&check_device, ALL_PASSES, CASE_SAMPLES, tape_cases[i].record);

        for (int moved = 0; moved < CASE_SAMPLES; moved++)
            net_check_samples(n, tape_cases[i].name, moved);
        net_close(n);
        (void)check_release(NULL);
    }
}

/* All values, tangents and gradients of two nets of the same function. */
static void compare(const char *name, net *a, net *b, double tolerance)
{
    net_forward(a);
    net_backward(a);
    net_jvp(a);
    net_forward(b);
    net_backward(b);
    net_jvp(b);
    for (int i = 0; i < a->n_outputs; i++) {
        size_t count = dmq_shape_count(a->output[i]->shape);

        check_same(name, net_value(a, i), net_value(b, i), count, tolerance, tolerance, 1);
        if (a->output[i]->tan) {
            check_same(name, net_tangent(a, i), net_tangent(b, i), count, 4 * tolerance, tolerance,
                       1);
        }
    }
    for (int i = 0; i < a->n_leaves; i++) {
        if (a->leaf[i].tan) {
            const dmq_real *want = net_gradient(b, i);
            double size = check_norm(want, a->leaf[i].count);

            check_same(name, net_gradient(a, i), want, a->leaf[i].count, tolerance * (1 + size),
                       tolerance, 1);
        }
    }
}

static void equals_the_reference(void **state)
{
    (void)state;
    for (int i = 0; i < TAPE_CASES; i++) {
        net *a = net_open(&check_device, ALL_PASSES, CASE_SAMPLES, tape_cases[i].record);
        net *b = net_open(&check_ref, ALL_PASSES, CASE_SAMPLES, tape_cases[i].record);

        compare(tape_cases[i].name, a, b, 1e-5);
        net_close(a);
        net_close(b);
        (void)check_release(NULL);
    }
    check_report("ref");
}

static void fused_equals_composed(void **state)
{
    (void)state;
    for (int i = 0; i < TAPE_CASES; i++) {
        net *a = net_open(&check_device, ALL_PASSES, CASE_SAMPLES, tape_cases[i].record);
        net *b = net_open(&check_device, ALL_PASSES | DMQ_TAPE_NO_FUSION, CASE_SAMPLES,
                          tape_cases[i].record);

        compare(tape_cases[i].name, a, b, 1e-5);
        net_close(a);
        net_close(b);
        (void)check_release(NULL);
    }
    check_report("fused");
}

/* Some fusions are those of tapes without derivatives. */
static void fused_forward_equals_composed(void **state)
{
    (void)state;
    for (int i = 0; i < TAPE_CASES; i++) {
        net *a = net_open(&check_device, DMQ_TAPE_FORWARD, CASE_SAMPLES, tape_cases[i].record);
        net *b = net_open(&check_device, DMQ_TAPE_NO_FUSION, CASE_SAMPLES, tape_cases[i].record);

        net_forward(a);
        net_forward(b);
        for (int k = 0; k < a->n_outputs; k++) {
            size_t count = dmq_shape_count(a->output[k]->shape);

            check_same(tape_cases[i].name, net_value(a, k), net_value(b, k), count, 1e-5, 1e-5, 1);
        }
        net_close(a);
        net_close(b);
        (void)check_release(NULL);
    }
    check_report("fused forward");
}

/* A tape that can do less lays out its memory otherwise, and computes the same bits. */
static void fewer_passes_change_nothing(void **state)
{
    static const unsigned passes[] = { DMQ_TAPE_FORWARD, DMQ_TAPE_BACKWARD, DMQ_TAPE_JVP };

    (void)state;
    for (int i = 0; i < 3 * TAPE_CASES; i++) {
        const tape_case *c = &tape_cases[i / 3];
        net *all = net_open(&check_device, ALL_PASSES, CASE_SAMPLES, c->record);
        net *less = net_open(&check_device, passes[i % 3], CASE_SAMPLES, c->record);

        net_forward(all);
        net_backward(all);
        net_jvp(all);
        net_forward(less);
        if (less->passes & DMQ_TAPE_BACKWARD)
            net_backward(less);
        if (less->passes & DMQ_TAPE_JVP)
            net_jvp(less);
        for (int k = 0; k < all->n_outputs; k++) {
            size_t count = dmq_shape_count(all->output[k]->shape);

            check_equal(c->name, net_value(less, k), net_value(all, k), count);
            if (less->passes & DMQ_TAPE_JVP)
                check_equal(c->name, net_tangent(less, k), net_tangent(all, k), count);
        }
        for (int k = 0; k < all->n_leaves && (less->passes & DMQ_TAPE_BACKWARD); k++)
            check_equal(c->name, net_gradient(less, k), net_gradient(all, k), all->leaf[k].count);
        net_close(all);
        net_close(less);
        (void)check_release(NULL);
    }
}

/* A second run gives the bits of the first: nothing is left over, nothing is read too late. */
static void replay_is_the_same(void **state)
{
    (void)state;
    for (int i = 0; i < TAPE_CASES; i++) {
        net *n = net_open(&check_device, ALL_PASSES, CASE_SAMPLES, tape_cases[i].record);
        dmq_real *value[NET_OUTPUTS], *grad[NET_LEAVES];
        long before = 0;

        for (int turn = 0; turn < 3; turn++) {
            net_forward(n);
            net_backward(n);
            net_jvp(n);
            for (int k = 0; k < n->n_outputs; k++) {
                size_t count = dmq_shape_count(n->output[k]->shape);

                if (turn > 0)
                    check_equal(tape_cases[i].name, net_value(n, k), value[k], count);
                value[k] = net_value(n, k);
                assert_int_equal(check_nans(value[k], count), 0);
            }
            for (int k = 0; k < n->n_leaves; k++) {
                if (turn > 0)
                    check_equal(tape_cases[i].name, net_gradient(n, k), grad[k], n->leaf[k].count);
                grad[k] = net_gradient(n, k);
            }
        }
        before = dmq_alloc_count();
        net_forward(n);
        CHECK_OK(dmq_tape_backward(n->tape, n->on->queue));
        net_jvp(n);
        assert_int_equal(dmq_alloc_count(), before);
        net_close(n);
        (void)check_release(NULL);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(golden),
        CHECK_TEST(inner_product),
        CHECK_TEST(finite_differences),
        CHECK_TEST(no_sample_mixes_with_another),
        CHECK_TEST(equals_the_reference),
        CHECK_TEST(fused_equals_composed),
        CHECK_TEST(fused_forward_equals_composed),
        CHECK_TEST(fewer_passes_change_nothing),
        CHECK_TEST(replay_is_the_same),
    };

    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
