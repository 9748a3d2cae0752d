/* AdaRound: values, both derivatives, the regularizer, and the fused step. */
#include "check.h"

#include "kernels/adaround_math.h"

enum { LAYERS = 3 };

/* A block of layers in the hands of the test. */
typedef struct block {
    int n;
    int k[LAYERS], per[LAYERS];
    dmq_real hi;
    dmq_real *w[LAYERS], *scale[LAYERS], *zero[LAYERS], *alpha[LAYERS], *dw[LAYERS], *tan[LAYERS];
} block;

/* What lies on a device. */
typedef struct placed {
    dmq_adaround_layer layer[LAYERS];
    dmq_real *alpha[LAYERS], *w_soft[LAYERS], *w_tan[LAYERS], *dalpha[LAYERS];
    int16_t *code[LAYERS];
} placed;

static size_t count_of(const block *b, int i)
{
    return (size_t)b->k[i] * (size_t)b->per[i];
}

static block random_block(int n, const int *k, const int *per, dmq_real hi, uint64_t seed)
{
    uint64_t stream = check_stream(seed);
    block b = { .n = n, .hi = hi };

    for (int i = 0; i < n; i++) {
        size_t count;

        b.k[i] = k[i];
        b.per[i] = per[i];
        count = count_of(&b, i);
        b.w[i] = check_random(count, &stream);
        b.alpha[i] = check_random(count, &stream);
        b.dw[i] = check_random(count, &stream);
        b.tan[i] = check_random(count, &stream);
        b.scale[i] = check_reals((size_t)k[i]);
        b.zero[i] = check_reals((size_t)k[i]);
        for (int c = 0; c < k[i]; c++) {
            b.scale[i][c] = (dmq_real)(float)((0.8 + check_uniform(&stream)) * 4.0 / (double)hi);
            b.zero[i][c] = (dmq_real)floor((double)hi * (0.2 + 0.6 * check_uniform(&stream)));
        }
        for (size_t j = 0; j < count; j++) /* from clipped h to clipped h */
            b.alpha[i][j] *= (dmq_real)1.7;
    }
    return b;
}

static placed place(const check_on *on, const block *b)
{
    placed p = { .layer = { { 0 } } };

    for (int i = 0; i < b->n; i++) {
        size_t count = count_of(b, i);

        p.alpha[i] = check_up_real(on, b->alpha[i], count);
        p.w_soft[i] = check_room(on, NULL, count);
        p.w_tan[i] = check_room(on, NULL, count);
        p.dalpha[i] = check_room(on, NULL, count);
        p.code[i] = check_up(on, check_bytes(count, 2), count, 2);
        p.layer[i] = (dmq_adaround_layer){ .w = check_up_real(on, b->w[i], count),
                                           .scale = check_up_real(on, b->scale[i], (size_t)b->k[i]),
                                           .zero = check_up_real(on, b->zero[i], (size_t)b->k[i]),
                                           .alpha = p.alpha[i],
                                           .w_soft = p.w_soft[i],
                                           .code = p.code[i],
                                           .dw = check_up_real(on, b->dw[i], count),
                                           .alpha_tan = check_up_real(on, b->tan[i], count),
                                           .w_tan = p.w_tan[i],
                                           .dalpha = p.dalpha[i],
                                           .k = b->k[i],
                                           .per = b->per[i],
                                           .lo = 0,
                                           .hi = b->hi };
    }
    return p;
}

static dmq_adaround_args args_of(const placed *p, const block *b)
{
    return (dmq_adaround_args){ .layer = p->layer, .n_layers = b->n };
}

static dmq_real *down(const check_on *on, const dmq_real *memory, size_t count)
{
    dmq_real *out = check_reals(count);

    check_down_real(on, out, memory, count);
    return out;
}

/* specs: qdiffusion.md 9, test 3 */
static void alphas_of_the_papers(void **state)
{
    const double alpha[4] = { -2.397895, -0.887303, 0, 0.887303 };
    const double slope[4] = { 0.0916667, 0.2479167, 0.3, 0.2479167 };
    block b = random_block(1, (int[]){ 1 }, (int[]){ 4 }, 15, 1);
    placed p;
    dmq_adaround_args a;
    dmq_real *got, s;

    (void)state;
    b.scale[0][0] = (dmq_real)0.5;
    b.zero[0][0] = 7;
    for (int i = 0; i < 4; i++)
        b.w[0][i] = (dmq_real)(0.5 * (i - 2 + 0.25 * i));
    p = place(&check_device, &b);
    a = args_of(&p, &b);
    CHECK_RUN(&check_device, adaround_init, &a);
    got = down(&check_device, p.alpha[0], 4);
    for (int i = 0; i < 4; i++) {
        assert_true(fabs((double)got[i] - alpha[i]) < 2e-6);
        assert_true(fabs((double)dmq_ada_h(got[i]) - 0.25 * i) < 1e-6);
        s = dmq_ada_sigmoid(got[i]); /* h' without its mask: r = 0 is where h is clipped */
        assert_true(fabs((double)(DMQ_ADAROUND_SPAN * s * (1 - s)) - slope[i]) < 1e-6);
        if (i > 0)
            assert_true(fabs((double)dmq_ada_slope(s) - slope[i]) < 1e-6);
    }
    CHECK_RUN(&check_device, adaround_forward, &a);
    check_same("w_soft", down(&check_device, p.w_soft[0], 4), b.w[0], 4, 1e-6, 0, 1);
    a.hard = 1; /* nearest, ties up: alpha = 0 may round to either side of 0 in the last bit */
    CHECK_RUN(&check_device, adaround_forward, &a);
    got = down(&check_device, p.w_soft[0], 4);
    assert_true(got[0] == -1 && got[1] == (dmq_real)-0.5 && got[3] == 1);
}

static void values_of_pytorch(void **state)
{
    enum { K = 5, PER = 27, COUNT = K * PER };
    static const char *const beta_name[] = { "20_0", "2_0", "7_3" };
    static const double beta[] = { 20.0, 2.0, 7.3 };
    dmq_h5 *file = check_golden_open("adaround");
    block b = random_block(1, (int[]){ K }, (int[]){ PER }, 15, 2);
    const int32_t *code = check_golden_whole(file, "all", "code", COUNT);
    int16_t got_code[COUNT];
    placed p;
    dmq_adaround_args a;
    double value;

    (void)state;
    b.w[0] = check_golden_real(file, "all", "w", COUNT);
    b.scale[0] = check_golden_real(file, "all", "scale", K);
    b.zero[0] = check_golden_real(file, "all", "zero", K);
    b.alpha[0] = check_golden_real(file, "all", "alpha", COUNT);
    b.dw[0] = check_golden_real(file, "all", "dw", COUNT);
    b.tan[0] = check_golden_real(file, "all", "tan", COUNT);
    p = place(&check_device, &b);
    a = args_of(&p, &b);
#define SEEN(what, from, atol, rtol)                            \
    check_close_to(what, down(&check_device, p.from[0], COUNT), \
                   check_golden(file, "all", what, COUNT), COUNT, atol, rtol, 1)
    CHECK_RUN(&check_device, adaround_forward, &a);
    SEEN("w_soft", w_soft, 2e-6, 1e-6);
    CHECK_RUN(&check_device, adaround_backward, &a);
    SEEN("dalpha", dalpha, 1e-7, 3e-6);
    CHECK_RUN(&check_device, adaround_jvp, &a);
    SEEN("w_tan", w_tan, 1e-7, 3e-6);
    CHECK_RUN(&check_device, adaround_curve, &a);
    SEEN("curve", dalpha, 1e-7, 3e-6);
    for (int i = 0; i < 3; i++) {
        char name[16];

        (void)snprintf(name, sizeof name, "dreg_%s", beta_name[i]);
        a.reg_weight = (dmq_real)0.01;
        a.reg_beta = (dmq_real)beta[i];
        a.reg_value = check_up(&check_device, &value, 1, sizeof value);
        CHECK_RUN(&check_device, adaround_regularize, &a);
        check_down(&check_device, &value, a.reg_value, sizeof value);
        SEEN(name, dalpha, 1e-8, 1e-5);
        assert_true(fabs(value - check_golden(file, "all", name + 1, 1)[0]) < 1e-5);
    }
    a.hard = 1;
    CHECK_RUN(&check_device, adaround_forward, &a);
    SEEN("w_hard", w_soft, 0, 2e-7);
    check_down(&check_device, got_code, p.code[0], sizeof got_code);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(got_code[i], code[i]);
    CHECK_RUN(&check_device, adaround_init, &a);
    SEEN("alpha0", alpha, 2e-5, 2e-5);
#undef SEEN
    dmq_h5_close(file);
    check_report("golden");
}

static const struct {
    int n, k[LAYERS], per[LAYERS];
    dmq_real hi;
} blocks[] = {
    { 1, { 1 }, { 1 }, 15 },
    { 1, { 3 }, { 7 }, 3 },
    { 2, { 5, 1 }, { 33, 129 }, 15 },
    { 3, { 17, 2, 4 }, { 1, 16, 90 }, 255 },
    { 3, { 8, 8, 3 }, { 72, 8, 5 }, 15 },
};

enum { BLOCKS = sizeof blocks / sizeof blocks[0] };

static block block_at(size_t i, uint64_t seed)
{
    return random_block(blocks[i].n, blocks[i].k, blocks[i].per, blocks[i].hi, seed);
}

/* Without a direction w_tan is that of ones; a gradient may go where that of the weights was. The same bits. */
static void slopes_alone_and_in_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < BLOCKS; i++) {
        block b = block_at(i, 40 + i);
        placed p = place(&check_device, &b), q;
        dmq_adaround_args a, c;

        for (int l = 0; l < b.n; l++) {
            for (size_t j = 0; j < count_of(&b, l); j++)
                b.tan[l][j] = 1;
        }
        q = place(&check_device, &b);
        for (int l = 0; l < b.n; l++) {
            p.layer[l].alpha_tan = NULL;
            p.layer[l].dalpha = (dmq_real *)p.layer[l].dw;
        }
        a = args_of(&p, &b);
        c = args_of(&q, &b);
        CHECK_RUN(&check_device, adaround_jvp, &a);
        CHECK_RUN(&check_device, adaround_jvp, &c);
        CHECK_RUN(&check_device, adaround_backward, &a);
        CHECK_RUN(&check_device, adaround_backward, &c);
        for (int l = 0; l < b.n; l++) {
            check_equal("D", down(&check_device, p.w_tan[l], count_of(&b, l)),
                        down(&check_device, q.w_tan[l], count_of(&b, l)), count_of(&b, l));
            check_equal("in place", down(&check_device, p.layer[l].dalpha, count_of(&b, l)),
                        down(&check_device, q.dalpha[l], count_of(&b, l)), count_of(&b, l));
        }
        (void)check_release(NULL);
    }
}

static void same_as_the_reference(void **state)
{
    (void)state;
    for (size_t i = 0; i < BLOCKS; i++) {
        block b = block_at(i, 10 + i);
        placed p = place(&check_device, &b), q = place(&check_ref, &b);
        dmq_adaround_args a = args_of(&p, &b), r = args_of(&q, &b);
        double got_value = -1, want_value = -2;

        a.reg_weight = r.reg_weight = (dmq_real)0.01;
        a.reg_beta = r.reg_beta = (dmq_real)(2.0 + 4.1 * (double)i);
        a.reg_value = check_up(&check_device, &got_value, 1, sizeof got_value);
        r.reg_value = check_up(&check_ref, &want_value, 1, sizeof want_value);
#define BOTH(slot, from, atol, rtol)                                   \
    CHECK_RUN(&check_device, slot, &a);                                \
    CHECK_RUN(&check_ref, slot, &r);                                   \
    for (int l = 0; l < b.n; l++)                                      \
    check_same(#slot, down(&check_device, p.from[l], count_of(&b, l)), \
               down(&check_ref, q.from[l], count_of(&b, l)), count_of(&b, l), atol, rtol, 1)
        BOTH(adaround_forward, w_soft, 1e-6, 1e-6);
        BOTH(adaround_jvp, w_tan, 1e-7, 2e-6);
        BOTH(adaround_backward, dalpha, 1e-7, 2e-6);
        a.add = r.add = 1;
        BOTH(adaround_regularize, dalpha, 1e-7, 1e-5);
        BOTH(adaround_curve, dalpha, 1e-6, 1e-5);
        a.add = r.add = 0;
        BOTH(adaround_regularize, dalpha, 1e-8, 1e-5);
        check_down(&check_device, &got_value, a.reg_value, sizeof got_value);
        check_down(&check_ref, &want_value, r.reg_value, sizeof want_value);
        assert_true(fabs(got_value - want_value) <= 1e-6 * (1 + fabs(want_value)));
        BOTH(adaround_curve, dalpha, 1e-7, 2e-6);
        a.hard = r.hard = 1;
        BOTH(adaround_forward, w_soft, 0, 0);
        for (int l = 0; l < b.n; l++) {
            size_t count = count_of(&b, l);
            int16_t *got = check_bytes(count, 2), *want = check_bytes(count, 2);

            check_down(&check_device, got, p.code[l], 2 * count);
            check_down(&check_ref, want, q.code[l], 2 * count);
            check_equal_codes("hard", got, want, count);
        }
        BOTH(adaround_init, alpha, 5e-6, 5e-6);
#undef BOTH
    }
    check_report("against ref");
}

static void the_step_is_its_parts(void **state)
{
    (void)state;
    for (size_t i = 0; i < BLOCKS; i++) {
        block b = block_at(i, 20 + i);
        placed p = place(&check_device, &b), q = place(&check_device, &b);
        size_t total = 0, at = 0;
        dmq_real *zeros, *m[2], *v[2];
        dmq_adaround_step_args s = { .round = args_of(&p, &b),
                                     .lr = (dmq_real)1e-2,
                                     .beta1 = (dmq_real)0.9,
                                     .beta2 = (dmq_real)0.999,
                                     .eps = (dmq_real)1e-8 };
        dmq_adaround_step_args t;
        dmq_adaround_args r = args_of(&q, &b);
        double fused = 0, parts = 0;

        for (int l = 0; l < b.n; l++)
            total += count_of(&b, l);
        zeros = check_reals(total);
        for (int j = 0; j < 2; j++) {
            m[j] = check_up_real(&check_device, zeros, total);
            v[j] = check_up_real(&check_device, zeros, total);
        }
        s.m = m[0];
        s.v = v[0];
        s.round.reg_value = check_up(&check_device, &fused, 1, sizeof fused);
        r.reg_value = check_up(&check_device, &parts, 1, sizeof parts);
        for (int step = 1; step <= 4; step++) {
            s.step = step;
            /* the first step is one of the warm-up */
            s.round.reg_weight = r.reg_weight = step > 1 ? (dmq_real)0.01 : 0;
            s.round.reg_beta = r.reg_beta = (dmq_real)(21 - 5 * step);
            t = s;
            if (step % 2 == 0) { /* the same numbers from the device, and none beside them */
                dmq_step_scalars scalars = dmq_adaround_scalars(&s);

                t.scalars = check_up(&check_device, &scalars, 1, sizeof scalars);
                t.lr = t.beta1 = t.beta2 = t.eps = (dmq_real)NAN;
                t.round.reg_weight = t.round.reg_beta = (dmq_real)NAN;
                t.step = 0;
            }
            CHECK_RUN(&check_device, adaround_step, &t);
            r.add = 0;
            CHECK_RUN(&check_device, adaround_backward, &r);
            r.add = 1;
            CHECK_RUN(&check_device, adaround_regularize, &r);
            at = 0;
            for (int l = 0; l < b.n; l++) {
                dmq_adam_args adam = { .p = q.alpha[l],
                                       .m = m[1] + at,
                                       .v = v[1] + at,
                                       .g = q.dalpha[l],
                                       .count = count_of(&b, l),
                                       .lr = s.lr,
                                       .beta1 = s.beta1,
                                       .beta2 = s.beta2,
                                       .eps = s.eps,
                                       .step = step };

                CHECK_RUN(&check_device, adam, &adam);
                at += count_of(&b, l);
            }
            CHECK_RUN(&check_device, adaround_forward, &r);
            check_down(&check_device, &fused, s.round.reg_value, sizeof fused);
            check_down(&check_device, &parts, r.reg_value, sizeof parts);
            assert_true(fabs(fused - parts) <= 1e-6 * fabs(parts));
        }
        for (int l = 0; l < b.n; l++) {
            size_t count = count_of(&b, l);

            check_equal("alpha", down(&check_device, p.alpha[l], count),
                        down(&check_device, q.alpha[l], count), count);
            check_equal("w_soft", down(&check_device, p.w_soft[l], count),
                        down(&check_device, q.w_soft[l], count), count);
        }
        check_equal("m", down(&check_device, m[0], total), down(&check_device, m[1], total), total);
        check_equal("v", down(&check_device, v[0], total), down(&check_device, v[1], total), total);
    }
}

static void the_transpose_is_the_transpose(void **state)
{
    (void)state;
    for (size_t i = 0; i < BLOCKS; i++) {
        block b = block_at(i, 30 + i);
        placed p = place(&check_device, &b);
        dmq_adaround_args a = args_of(&p, &b);

        CHECK_RUN(&check_device, adaround_backward, &a);
        CHECK_RUN(&check_device, adaround_jvp, &a);
        for (int l = 0; l < b.n; l++) {
            size_t count = count_of(&b, l);
            dmq_real *w_tan = down(&check_device, p.w_tan[l], count);
            dmq_real *dalpha = down(&check_device, p.dalpha[l], count);

            assert_true(
                fabs(check_dot(w_tan, b.dw[l], count) - check_dot(dalpha, b.tan[l], count)) <=
                1e-6 * check_norm(w_tan, count) * check_norm(b.dw[l], count));
        }
    }
}

/* Move alpha along its tangent and leave out what crosses a kink. */
static void differences(void **state)
{
    block b = block_at(4, 40);
    placed p = place(&check_device, &b), up = p, low = p;
    dmq_adaround_args a = args_of(&p, &b);
    const double step = sizeof(dmq_real) == 4 ? 1e-2 : 1e-5;
    const double unit = sizeof(dmq_real) == 4 ? 1e-4 : 1e-9;

    (void)state;
    CHECK_RUN(&check_device, adaround_jvp, &a);
    CHECK_RUN(&check_device, adaround_curve, &a);
    for (int side = 0; side < 2; side++) {
        placed *to = side ? &up : &low;
        block moved = b;
        dmq_adaround_args m;

        for (int l = 0; l < b.n; l++) {
            size_t count = count_of(&b, l);

            moved.alpha[l] = check_reals(count);
            for (size_t j = 0; j < count; j++) {
                moved.alpha[l][j] =
                    (dmq_real)((double)b.alpha[l][j] + (side ? step : -step) * (double)b.tan[l][j]);
            }
        }
        *to = place(&check_device, &moved);
        m = args_of(to, &moved);
        CHECK_RUN(&check_device, adaround_forward, &m);
        CHECK_RUN(&check_device, adaround_backward, &m);
    }
    for (int l = 0; l < b.n; l++) {
        size_t count = count_of(&b, l);
        dmq_real *w_tan = down(&check_device, p.w_tan[l], count);
        dmq_real *curve = down(&check_device, p.dalpha[l], count);
        dmq_real *w[2] = { down(&check_device, low.w_soft[l], count),
                           down(&check_device, up.w_soft[l], count) };
        dmq_real *d[2] = { down(&check_device, low.dalpha[l], count),
                           down(&check_device, up.dalpha[l], count) };
        size_t seen = 0;

        for (size_t j = 0; j < count; j++) {
            double first = (double)(w[1][j] - w[0][j]) / (2 * step);
            double second = (double)(d[1][j] - d[0][j]) / (2 * step);

            if ((d[0][j] == 0) != (d[1][j] == 0))
                continue;
            seen += d[0][j] != 0;
            assert_true(fabs(first - (double)w_tan[j]) <= unit);
            assert_true(fabs(second - (double)curve[j]) <= 10 * unit);
        }
        assert_true(seen * 2 > count);
    }
}

/* specs: qdiffusion.md 9, test 4, what of it is not a schedule */
static void the_regularizer_has_its_values(void **state)
{
    block b = random_block(1, (int[]){ 1 }, (int[]){ 3 }, 15, 50);
    placed p;
    dmq_adaround_args a;
    double value = -1;
    dmq_real *d;

    (void)state;
    b.alpha[0][0] = 0;   /* h = 1/2: the full price, and no slope */
    b.alpha[0][1] = 40;  /* h = 1: none */
    b.alpha[0][2] = -40; /* h = 0 */
    p = place(&check_device, &b);
    a = args_of(&p, &b);
    a.reg_value = check_up(&check_device, &value, 1, sizeof value);
    a.reg_beta = 20;
    CHECK_RUN(&check_device, adaround_regularize, &a); /* weight 0: the warm-up */
    check_down(&check_device, &value, a.reg_value, sizeof value);
    assert_true(value == 0);
    d = down(&check_device, p.dalpha[0], 3);
    assert_true(d[0] == 0 && d[1] == 0 && d[2] == 0);
    a.reg_weight = (dmq_real)0.01;
    CHECK_RUN(&check_device, adaround_regularize, &a);
    check_down(&check_device, &value, a.reg_value, sizeof value);
    assert_true(fabs(value - 0.01) < 1e-8);
    d = down(&check_device, p.dalpha[0], 3);
    assert_true(fabs((double)d[0]) < 1e-12 && d[1] == 0 && d[2] == 0);
}

static void nan_stays_nan(void **state)
{
    block b = block_at(3, 60);
    placed p;
    dmq_adaround_args a;
    size_t count = count_of(&b, 2);

    (void)state;
    b.alpha[2][41] = (dmq_real)NAN;
    b.w[2][43] = (dmq_real)NAN;
    p = place(&check_device, &b);
    a = args_of(&p, &b);
    CHECK_RUN(&check_device, adaround_forward, &a);
    CHECK_RUN(&check_device, adaround_backward, &a);
    assert_int_equal(check_nans(down(&check_device, p.w_soft[2], count), count), 2);
    assert_true(isnan(down(&check_device, p.dalpha[2], count)[41]));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(alphas_of_the_papers),  CHECK_TEST(values_of_pytorch),
        CHECK_TEST(same_as_the_reference), CHECK_TEST(slopes_alone_and_in_place),
        CHECK_TEST(the_step_is_its_parts), CHECK_TEST(the_transpose_is_the_transpose),
        CHECK_TEST(differences),           CHECK_TEST(the_regularizer_has_its_values),
        CHECK_TEST(nan_stays_nan),
    };

    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
