/* What reconstruction asks of the tape: probes, leaves that live nodes read, sums taken apart. */
#include "quant_fixture.h"
#include "tape/ops.h"

enum { N = 2, D = 3 };

typedef struct seen {
    int calls;
    dmq_real largest;
} seen;

static dmq_status look(void *context, const dmq_backend *be, dmq_queue *queue, dmq_shape shape,
                       const dmq_real *x, dmq_real *y)
{
    seen *s = context;

    (void)be;
    (void)queue;
    s->calls++;
    for (size_t i = 0; i < dmq_shape_count(shape); i++) {
        s->largest = x[i] > s->largest ? x[i] : s->largest;
        y[i] = 2 * x[i];
    }
    return x[0] == 13 ? dmq_fail(DMQ_EDATA, "thirteen") : DMQ_OK;
}

static dmq_tape *new_tape(unsigned passes)
{
    dmq_tape *tape = NULL;

    OK(dmq_tape_create(&tape, dmq_backend_ref(), passes));
    return tape;
}

static void a_probe_is_called_in_every_pass(void **state)
{
    dmq_tape *tape = new_tape(DMQ_TAPE_FORWARD);
    seen s = { 0 };
    dmq_var *x = dmq_tape_input(tape, "x", dmq_shape2(N, D)), *y;

    (void)state;
    y = dmq_record_binary(tape, DMQ_ADD, dmq_record_probe(tape, x, look, &s), x);
    dmq_tape_output(tape, y);
    OK(dmq_tape_plan(tape));
    for (int i = 0; i < N * D; i++)
        x->value[i] = (dmq_real)i;
    OK(dmq_tape_forward(tape, NULL, DMQ_PART_ALL));
    OK(dmq_tape_forward(tape, NULL, DMQ_PART_ALL));
    assert_int_equal(s.calls, 2);
    assert_true(s.largest == 5 && y->value[4] == 12);
    x->value[0] = 13;
    assert_int_equal(dmq_tape_forward(tape, NULL, DMQ_PART_ALL), DMQ_EDATA);
    dmq_tape_destroy(tape);
}

static void a_probe_has_no_derivative(void **state)
{
    dmq_tape *tape = new_tape(DMQ_TAPE_BACKWARD);
    dmq_var *x = dmq_tape_input(tape, "x", dmq_shape2(N, D));

    (void)state;
    dmq_tape_want_grad(tape, x);
    dmq_tape_output(tape, dmq_record_probe(tape, x, look, NULL));
    assert_int_equal(dmq_tape_plan(tape), DMQ_EINVAL);
    assert_non_null(strstr(dmq_message(), "probe"));
    dmq_tape_destroy(tape);
}

/* silu(x) W + x, or + silu(x): what is learned, what is the rest, and what the loss then is. */
static void sums_are_taken_apart_where_one_side_is_learned(void **state)
{
    dmq_real w[D * D] = { 1, 2, 3, -1, 0, 1, 2, 2, (dmq_real)0.5 }, grad[D * D], whole[2][D * D];
    dmq_real loss[2][N];

    (void)state;
    for (int apart = 0; apart < 2; apart++) {
        dmq_tape *tape = new_tape(DMQ_TAPE_BACKWARD);
        dmq_var *x = dmq_tape_input(tape, "x", dmq_shape2(N, D));
        dmq_var *y = dmq_tape_input(tape, "y", dmq_shape2(N, D));
        dmq_var *p = dmq_tape_param(tape, "w", dmq_shape2(D, D), w, 0), *rest = NULL, *f, *h, *l;

        h = dmq_record_unary(tape, DMQ_SILU, x);
        f = dmq_record_binary(tape, DMQ_ADD, x, dmq_record_linear(tape, h, p, NULL));
        if (apart) {
            f = dmq_tape_split_sum(tape, f, &rest);
            assert_ptr_equal(rest, x);
        }
        l = dmq_record_loss(tape, f, y, 2);
        dmq_tape_output(tape, l);
        OK(dmq_tape_plan(tape));
        assert_int_equal(dmq_tape_feeds_live(tape, x), !apart);
        assert_int_equal(dmq_tape_feeds_live(tape, y), 1);
        for (int i = 0; i < N * D; i++) {
            x->value[i] = (dmq_real)(0.3 * i - 1);
            y->value[i] = (dmq_real)(i % 3) - (apart ? x->value[i] : 0);
        }
        OK(dmq_tape_forward(tape, NULL, DMQ_PART_ALL));
        dmq_tape_bind(tape, grad, NULL);
        l->grad[0] = l->grad[1] = 1;
        OK(dmq_tape_backward(tape, NULL));
        memcpy(whole[apart], grad, sizeof grad);
        memcpy(loss[apart], l->value, sizeof loss[0]);
        dmq_tape_destroy(tape);
    }
    for (int i = 0; i < D * D; i++)
        assert_true(fabs((double)(whole[0][i] - whole[1][i])) < 1e-5);
    for (int i = 0; i < N; i++)
        assert_true(fabs((double)(loss[0][i] - loss[1][i])) < 1e-5);
}

static void other_results_stay_whole(void **state)
{
    dmq_real w[D * D] = { 0 };
    dmq_tape *tape = new_tape(DMQ_TAPE_BACKWARD);
    dmq_var *x = dmq_tape_input(tape, "x", dmq_shape2(N, D)), *rest;
    dmq_var *p = dmq_tape_param(tape, "w", dmq_shape2(D, D), w, 0), *h, *both, *none, *late;

    (void)state;
    h = dmq_record_linear(tape, x, p, NULL);
    both = dmq_record_binary(tape, DMQ_ADD, h, h);
    assert_ptr_equal(dmq_tape_split_sum(tape, both, &rest), both); /* both sides learned */
    assert_null(rest);
    none = dmq_record_binary(tape, DMQ_ADD, x, x);
    assert_ptr_equal(dmq_tape_split_sum(tape, none, &rest), none); /* neither */
    late = dmq_record_binary(tape, DMQ_ADD, x, h);
    (void)dmq_record_unary(tape, DMQ_SILU, late);
    assert_ptr_equal(dmq_tape_split_sum(tape, late, &rest), late); /* somebody reads it */
    h = dmq_record_binary(tape, DMQ_MUL, x, h);
    assert_ptr_equal(dmq_tape_split_sum(tape, h, &rest), h); /* no sum */
    assert_null(dmq_tape_split_sum(tape, NULL, &rest));
    dmq_tape_destroy(tape);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_probe_is_called_in_every_pass),
        cmocka_unit_test(a_probe_has_no_derivative),
        cmocka_unit_test(sums_are_taken_apart_where_one_side_is_learned),
        cmocka_unit_test(other_results_stay_whole),
    };
    return cmocka_run_group_tests_name("tape_recon", tests, NULL, NULL);
}
