/* Convolution: any stride, any padding. */
#include "ops/op_conv2d.h"

static void values_and_derivatives_are_pytorchs(void **state)
{
    (void)state;
    conv2d_goldens();
}

static void odd_shapes_keep_the_identities(void **state)
{
    (void)state;
    conv2d_shapes();
}

static const conv2d_shape batches[] = {
    { 5, 8, 8, 16, 32, 3, 3, 1, 1, 1, 1, 1, 1 }, { 5, 16, 16, 32, 32, 3, 3, 1, 1, 1, 1, 1, 1 },
    { 4, 7, 9, 3, 16, 3, 3, 1, 1, 1, 1, 1, 1 },  { 3, 8, 8, 24, 48, 1, 1, 1, 0, 0, 0, 0, 1 },
    { 4, 8, 8, 12, 20, 3, 3, 2, 0, 0, 1, 1, 1 },
};

static void an_image_does_not_know_its_batch(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof batches / sizeof batches[0]; i++) {
        conv2d_shape one = batches[i];
        check_op all = conv2d_op(&batches[i]), single;
        uint64_t stream = check_stream(i);
        check_arrays in = check_op_arrays(&all, &stream), din = check_op_arrays(&all, NULL), part;
        dmq_real *y = check_reals(all.count_out), *dy = check_random(all.count_out, &stream), *yi;
        size_t per_x = all.count_in[0] / (size_t)one.n, per_y = all.count_out / (size_t)one.n;

        all.forward(&all, &check_device, in.at, y, false);
        all.backward(&all, &check_device, in.at, dy, din.at, false);
        one.n = 1;
        single = conv2d_op(&one);
        part = check_op_arrays(&single, NULL);
        yi = check_reals(per_y);
        for (size_t n = 0; n < (size_t)batches[i].n; n++) {
            dmq_real *const in_n[CHECK_IN] = { in.at[0] + n * per_x, in.at[1], in.at[2] };

            single.forward(&single, &check_device, in_n, yi, false);
            check_equal_in_batch("y of one image", yi, y + n * per_y, per_y, all.terms);
            single.backward(&single, &check_device, in_n, dy + n * per_y, part.at, false);
            check_equal_in_batch("dx of one image", part.at[0], din.at[0] + n * per_x, per_x,
                                 all.terms_in);
        }
    }
}

/* The slot's own ReLU is the one behind it, bit for bit: alone, on what is added to, and for a NaN. */
static void relu_is_that_of_the_sum(void **state)
{
    const check_on *on = &check_device;

    (void)state;
    for (size_t i = 0; i < sizeof batches / sizeof batches[0]; i++) {
        check_op op = conv2d_op(&batches[i]);
        uint64_t stream = check_stream(90 + i);
        check_arrays in = check_op_arrays(&op, &stream);
        dmq_real *old = check_random(op.count_out, &stream), *sum = check_reals(op.count_out);
        dmq_real *got = check_reals(op.count_out);
        int positive = 0;

        in.at[0][op.count_in[0] / 2] = (dmq_real)NAN;
        for (int add = 0; add < 2; add++) {
            dmq_conv2d_args a = conv2d_args(&batches[i]);

            memcpy(sum, old, op.count_out * sizeof *sum);
            op.forward(&op, on, in.at, sum, add);
            a.x = check_up_real(on, in.at[0], op.count_in[0]);
            a.w = check_up_real(on, in.at[1], op.count_in[1]);
            a.bias = check_up_real(on, in.at[2], op.count_in[2]);
            a.y = check_room(on, add ? old : NULL, op.count_out);
            a.add = add;
            a.relu = 1;
            CHECK_RUN(on, conv2d_forward, &a);
            check_down_real(on, got, a.y, op.count_out);
            assert_true(check_nans(sum, op.count_out) > 0);
            assert_int_equal(check_nans(got, op.count_out), check_nans(sum, op.count_out));
            for (size_t j = 0; j < op.count_out; j++) {
                if (isnan(sum[j]))
                    assert_true(isnan(got[j]));
                else
                    assert_true(got[j] == (sum[j] > 0 ? sum[j] : 0));
                positive += got[j] > 0;
            }
            assert_in_range(positive, 1, (size_t)(add + 1) * op.count_out - 1);
        }
        (void)check_release(NULL);
    }
}

/* Sums of small whole numbers: one term left out or taken twice is off by 1 at least. */
static void no_term_is_missing(void **state)
{
    (void)state;
    for (size_t i = 1; i < sizeof batches / sizeof batches[0]; i++) {
        check_op op = conv2d_op(&batches[i]);
        uint64_t stream = check_stream(40 + i);
        check_arrays in = check_op_arrays(&op, NULL);
        check_arrays got = check_op_arrays(&op, NULL), want = check_op_arrays(&op, NULL);
        dmq_real *y = check_reals(op.count_out), *dy = check_reals(op.count_out);
        dmq_real *y_ref = check_reals(op.count_out);

        for (int k = 0; k < 3; k++) {
            for (size_t j = 0; j < op.count_in[k]; j++)
                in.at[k][j] = (dmq_real)check_whole(&stream, -4, 4);
        }
        for (size_t j = 0; j < op.count_out; j++)
            dy[j] = (dmq_real)check_whole(&stream, -4, 4);
        op.forward(&op, &check_ref, in.at, y_ref, false);
        op.backward(&op, &check_ref, in.at, dy, want.at, false);
        op.forward(&op, &check_device, in.at, y, false);
        op.backward(&op, &check_device, in.at, dy, got.at, false);
        check_same("y", y, y_ref, op.count_out, 0.01, 0, 1); /* a Winograd transform may round */
        check_same("dx", got.at[0], want.at[0], op.count_in[0], 0.01, 0, 1);
        check_same("dw", got.at[1], want.at[1], op.count_in[1], 0.01, 0, 1);
        check_equal("dbias", got.at[2], want.at[2], op.count_in[2]);
    }
    check_report("whole numbers");
}

/* dw and dbias of each image, and of two or four of them: what a call for these images alone gives. */
static void gradients_of_single_images(void **state)
{
    static const conv2d_shape shapes[] = {
        { 4, 8, 8, 16, 32, 3, 3, 1, 1, 1, 1, 1, 1 }, { 4, 7, 5, 9, 10, 3, 3, 1, 1, 1, 1, 1, 1 },
        { 6, 5, 6, 3, 16, 3, 3, 1, 1, 1, 1, 1, 0 },  { 4, 8, 8, 24, 40, 1, 1, 1, 0, 0, 0, 0, 1 },
        { 4, 8, 8, 12, 20, 3, 3, 2, 0, 0, 1, 1, 1 }, { 2, 6, 9, 8, 12, 2, 4, 1, 1, 2, 0, 1, 0 },
        { 4, 9, 9, 70, 72, 3, 3, 1, 0, 0, 0, 0, 0 }, { 4, 5, 5, 66, 68, 3, 3, 2, 1, 1, 1, 1, 0 },
        { 8, 7, 6, 10, 12, 3, 3, 1, 1, 1, 1, 1, 0 }, { 8, 8, 8, 16, 8, 3, 3, 2, 0, 0, 1, 1, 0 },
    };
    const check_on *on = &check_device;

    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        dmq_conv2d_args a = conv2d_args(&shapes[i]);
        check_op op = conv2d_op(&shapes[i]);
        size_t n_w = op.count_in[1], n_b = (size_t)a.k, apart = n_w + n_b + 8;
        size_t room = (size_t)a.n * apart;
        uint64_t stream = check_stream(70 + i);
        dmq_real *dy = check_random(op.count_out, &stream), *old = check_random(room, &stream);
        dmq_real *x = check_random(op.count_in[0], &stream);
        dmq_real *got = check_reals(room), *want = check_reals(room);

        for (int per = 1; per <= 4; per *= 2) {
            for (int add = 0; add < 2 && a.n % per == 0; add++) {
                dmq_conv2d_args each = a;

                each.per = per;
                each.apart = apart;
                each.add = add;
                each.x = check_up_real(on, x, op.count_in[0]);
                each.dy = check_up_real(on, dy, op.count_out);
                each.dw = check_up_real(on, old, room);
                each.dbias = shapes[i].bias ? each.dw + n_w : NULL;
                CHECK_RUN(on, conv2d_backward_weights, &each);
                check_down_real(on, got, each.dw, room);
                memcpy(want, old, room * sizeof *want);
                for (int g = 0; g < a.n / per; g++) {
                    dmq_conv2d_args one = a;

                    one.n = per;
                    one.add = add;
                    one.x = x + op.count_in[0] / (size_t)(a.n / per) * (size_t)g;
                    one.dy = dy + op.count_out / (size_t)(a.n / per) * (size_t)g;
                    one.dw = want + (size_t)g * apart;
                    one.dbias = shapes[i].bias ? one.dw + n_w : NULL;
                    assert_int_equal(dmq_conv2d_backward_weights_ref(NULL, &one), DMQ_OK);
                }
                /* what lies between the gradients is left as it was */
                check_same("dw of runs", got, want, room, check_unit, check_unit,
                           16.0 * per * a.ho * a.wo); /* Winograd's transforms */
            }
        }
        (void)check_release(NULL);
    }
    check_report("dw of runs");
}

/* y and dx of runs of images with weights of their own: what calls for these runs alone give. */
static void sets_of_weights(void **state)
{
    static const conv2d_shape shapes[] = {
        { 6, 8, 8, 16, 32, 3, 3, 1, 1, 1, 1, 1, 1 }, { 6, 7, 5, 9, 10, 3, 3, 1, 1, 1, 1, 1, 1 },
        { 6, 5, 6, 3, 16, 3, 3, 1, 1, 1, 1, 1, 0 },  { 6, 8, 8, 24, 40, 1, 1, 1, 0, 0, 0, 0, 1 },
        { 6, 8, 8, 12, 20, 3, 3, 2, 0, 0, 1, 1, 1 }, { 6, 6, 9, 8, 12, 2, 4, 3, 1, 2, 0, 1, 0 },
        { 6, 9, 9, 70, 72, 3, 3, 1, 0, 0, 0, 0, 0 }, { 6, 5, 5, 66, 68, 3, 3, 2, 1, 1, 1, 1, 0 },
    };
    static const int some[] = { 1, 2, 3, 6 };
    const check_on *on = &check_device;

    (void)state;
    for (size_t i = 0; i < 4 * sizeof shapes / sizeof *shapes; i++) {
        const conv2d_shape *s = &shapes[i / 4];
        int sets = some[i % 4], add = sets % 2;
        check_op op = conv2d_op(s);
        dmq_conv2d_args a = conv2d_args(s), each;
        size_t apart = op.count_in[1] + (i % 8 < 4 ? 5 : 8), n_w = apart * (size_t)sets;
        uint64_t stream = check_stream(150 + i);
        dmq_real *x = check_random(op.count_in[0], &stream), *w = check_random(n_w, &stream);
        dmq_real *y = check_random(op.count_out, &stream), *got = check_reals(op.count_out);
        dmq_real *dx = check_random(op.count_in[0], &stream), *back = check_reals(op.count_in[0]);
        dmq_real *u = check_random(op.count_out, &stream);
        const dmq_real *bias = s->bias ? check_random((size_t)a.k, &stream) : NULL;
        double left, right;

        a.add = add;
        a.sets = sets;
        a.sets_apart = apart;
        a.relu = s->bias && !add;
        each = a;
        each.x = check_up_real(on, x, op.count_in[0]);
        each.w = check_up_real(on, w, n_w);
        each.bias = bias ? check_up_real(on, bias, (size_t)a.k) : NULL;
        each.y = check_up_real(on, y, op.count_out);
        each.dy = check_up_real(on, u, op.count_out);
        each.dx = check_up_real(on, dx, op.count_in[0]);
        CHECK_RUN(on, conv2d_forward, &each);
        CHECK_RUN(on, conv2d_backward_data, &each);
        check_down_real(on, got, each.y, op.count_out);
        check_down_real(on, back, each.dx, op.count_in[0]);
        for (int g = 0; g < sets; g++) {
            dmq_conv2d_args one = a;
            size_t share = (size_t)g;

            one.n = a.n / sets;
            one.sets = 0;
            one.bias = bias;
            one.w = w + share * apart;
            one.x = x + op.count_in[0] / (size_t)sets * share;
            one.y = y + op.count_out / (size_t)sets * share;
            one.dy = u + op.count_out / (size_t)sets * share;
            one.dx = dx + op.count_in[0] / (size_t)sets * share;
            assert_int_equal(dmq_conv2d_forward_ref(NULL, &one), DMQ_OK);
            assert_int_equal(dmq_conv2d_backward_data_ref(NULL, &one), DMQ_OK);
        }
        check_same("y of runs", got, y, op.count_out, 2 * check_unit, 2 * check_unit, op.terms);
        check_same("dx of runs", back, dx, op.count_in[0], 2 * check_unit, 2 * check_unit,
                   op.terms_in);
        if (add || bias)
            continue;
        left = check_dot(u, got, op.count_out);
        right = check_dot(back, x, op.count_in[0]);
        assert_true(fabs(left - right) <=
                    1e-5 * check_norm(u, op.count_out) * check_norm(got, op.count_out));
    }
    (void)check_release(NULL);
    check_report("sets of weights");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(values_and_derivatives_are_pytorchs),
        CHECK_TEST(odd_shapes_keep_the_identities),
        CHECK_TEST(an_image_does_not_know_its_batch),
        CHECK_TEST(no_term_is_missing),
        CHECK_TEST(gradients_of_single_images),
        CHECK_TEST(relu_is_that_of_the_sum),
        CHECK_TEST(sets_of_weights),
    };

    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
