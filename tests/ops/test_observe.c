/* Minimum and maximum, and the search for the step of least error. */
#include "check.h"

#include "kernels/observe_math.h"

typedef struct shape {
    int outer, c, inner, bits, always_zero;
} shape;

typedef struct result {
    dmq_real *scale, *zero, *score, *lo, *hi;
    int *winner;
} result;

static size_t count_of(const shape *s)
{
    return (size_t)s->outer * (size_t)s->c * (size_t)s->inner;
}

static result run(const check_on *on, const shape *s, const dmq_real *x)
{
    size_t c = (size_t)s->c;
    result r = { check_reals(c), check_reals(c), check_reals(c),
                 check_reals(c), check_reals(c), check_bytes(c, sizeof(int)) };
    dmq_real *scale = check_room(on, NULL, c), *zero = check_room(on, NULL, c);
    dmq_real *score = check_room(on, NULL, c), *lo = check_room(on, NULL, c);
    dmq_real *hi = check_room(on, NULL, c), *data = check_up_real(on, x, count_of(s));
    int *winner = check_up(on, r.winner, c, sizeof(int));
    dmq_minmax_args ends = { data, lo, hi, s->outer, s->c, s->inner };
    dmq_range_search_args a = { .x = data,
                                .scale = scale,
                                .zero = zero,
                                .score = score,
                                .winner = winner,
                                .outer = s->outer,
                                .c = s->c,
                                .inner = s->inner,
                                .bits = s->bits,
                                .candidates = 80,
                                .power = (dmq_real)2.4,
                                .always_zero = s->always_zero };

    CHECK_RUN(on, minmax, &ends);
    CHECK_RUN(on, range_search, &a);
    check_down_real(on, r.scale, scale, c);
    check_down_real(on, r.zero, zero, c);
    check_down_real(on, r.score, score, c);
    check_down_real(on, r.lo, lo, c);
    check_down_real(on, r.hi, hi, c);
    check_down(on, r.winner, winner, c * sizeof(int));
    return r;
}

/* specs: qdiffusion.md 9, test 2 */
static void searches_of_the_papers(void **state)
{
    static const struct {
        int bits, always_zero, winner;
        double scale, zero, score;
    } want[] = { { 4, 0, 3, 0.646667, 3, 0.0189872 },
                 { 8, 0, 0, 0.0392157, 51, 2.3116e-5 },
                 { 4, 1, 3, 0.0646667, 0, 7.7260e-5 },
                 { 8, 1, 0, 1.0 / 255, 0, 8.9934e-8 } };
    dmq_real v[64], w[64];

    (void)state;
    for (int i = 0; i < 63; i++)
        v[i] = (dmq_real)((37 * i % 101 - 50) / 25.0);
    v[63] = 8;
    for (int i = 0; i < 64; i++)
        w[i] = dmq_fabs(v[i]) / 8;
    for (int i = 0; i < 4; i++) {
        shape s = { 1, 1, 64, want[i].bits, want[i].always_zero };
        result r = run(&check_device, &s, want[i].always_zero ? w : v);

        assert_int_equal(r.winner[0], want[i].winner);
        assert_true(fabs((double)r.scale[0] / want[i].scale - 1) < 2e-6);
        assert_true((double)r.zero[0] == want[i].zero);
        assert_true(fabs((double)r.score[0] / want[i].score - 1) < 2e-5);
    }
}

static void golden_case(dmq_h5 *file, const char *group, int c, int inner)
{
    const int32_t *bits = check_golden_whole(file, group, "bits", 2);
    shape s = { 1, c, inner, bits[0], bits[1] };
    size_t n = (size_t)c;
    const int32_t *winner = check_golden_whole(file, group, "winner", n);
    result r = run(&check_device, &s, check_golden_real(file, group, "x", count_of(&s)));
    const double *score = check_golden(file, group, "score", n);

    check_equal("scale", r.scale, check_golden_real(file, group, "scale", n), n);
    check_equal("zero", r.zero, check_golden_real(file, group, "zero", n), n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(r.winner[i], winner[i]);
        assert_true(fabs((double)r.score[i] - score[i]) <= 1e-6 * score[i]);
    }
}

static void values_of_pytorch(void **state)
{
    dmq_h5 *file = check_golden_open("observe");

    (void)state;
    golden_case(file, "w4", 6, 75);
    golden_case(file, "w8", 3, 75);
    golden_case(file, "w2", 2, 75);
    golden_case(file, "a4", 1, 600);
    golden_case(file, "prob", 1, 600);
    dmq_h5_close(file);
}

static const shape shapes[] = {
    { 1, 1, 1, 4, 0 },   { 1, 5, 1, 4, 0 },    { 9, 1, 1, 8, 0 },     { 7, 19, 1, 4, 0 },
    { 3, 4, 5, 4, 0 },   { 1, 33, 27, 4, 0 },  { 1, 3, 1033, 2, 0 },  { 1, 1, 5000, 8, 0 },
    { 50, 1, 97, 4, 1 }, { 40, 6, 1, 8, 1 },   { 9000, 1, 1, 4, 0 },  { 2, 2, 4100, 3, 0 },
    { 1, 8, 288, 6, 0 }, { 1, 64, 144, 4, 0 }, { 600, 17, 1, 16, 0 }, { 70, 3, 64, 5, 0 },
};

static dmq_real *random_data(const shape *s, uint64_t seed)
{
    uint64_t stream = check_stream(seed);
    dmq_real *x = check_random(count_of(s), &stream);

    for (size_t i = 0; i < count_of(s); i++) {
        size_t c = i / (size_t)s->inner % (size_t)s->c;

        x[i] = (dmq_real)((double)x[i] * pow(10.0, (double)(c % 7) - 4));
        if (c % 5 == 3) /* far from 0 */
            x[i] += (dmq_real)pow(10.0, (double)(c % 7) - 2);
    }
    return x;
}

static void same_as_the_reference(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const shape *s = &shapes[i];
        size_t c = (size_t)s->c;
        dmq_real *x = random_data(s, i);
        result got = run(&check_device, s, x), want = run(&check_ref, s, x);

        check_equal("lo", got.lo, want.lo, c);
        check_equal("hi", got.hi, want.hi, c);
        check_equal("scale", got.scale, want.scale, c);
        check_equal("zero", got.zero, want.zero, c);
        for (size_t k = 0; k < c; k++) {
            assert_int_equal(got.winner[k], want.winner[k]);
            assert_true(fabs((double)got.score[k] - (double)want.score[k]) <=
                        1e-6 * (double)want.score[k]);
        }
    }
}

/* Constant, zero and NaN channels beside an ordinary one. */
static void what_cannot_be_searched_is_defined(void **state)
{
    shape s = { 1, 5, 6, 4, 0 };
    dmq_real x[30];
    result r;

    (void)state;
    for (int i = 0; i < 6; i++) {
        x[i] = 0;
        x[6 + i] = (dmq_real)0.75;
        x[12 + i] = (dmq_real)-0.3F;
        x[18 + i] = (dmq_real)(i * 0.1 - 0.2);
        x[24 + i] = (dmq_real)i;
    }
    x[26] = (dmq_real)NAN;
    r = run(&check_device, &s, x);
    assert_true(r.scale[0] == (dmq_real)1e-8 && r.zero[0] == 0 && r.score[0] == 0);
    assert_true(r.scale[1] == (dmq_real)0.75 && r.zero[1] == 0 && r.score[1] == 0);
    assert_true(r.scale[2] == (dmq_real)0.3F && r.zero[2] == 1 && r.score[2] == 0);
    assert_true(r.scale[3] > (dmq_real)0.02 && r.scale[3] < (dmq_real)0.05);
    assert_true(isnan(r.scale[4]) && isnan(r.score[4]) && isnan(r.lo[4]) && isnan(r.hi[4]));
    /* a NaN in front is seen as one in the middle */
    x[24] = (dmq_real)NAN;
    r = run(&check_device, &s, x);
    assert_true(isnan(r.scale[4]) && isnan(r.lo[4]) && isnan(r.hi[4]));
    s.always_zero = 1; /* nothing positive */
    r = run(&check_device, &s, x);
    assert_true(r.scale[2] == (dmq_real)1e-8 && r.zero[2] == 0);
    assert_true(isnan(r.scale[4]));
}

static void minima_of_every_layout(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const shape *s = &shapes[i];
        dmq_real *x = random_data(s, 50 + i);
        size_t at = count_of(s) / 3, c_at = at / (size_t)s->inner % (size_t)s->c;
        result r;

        x[at] = (dmq_real)NAN;
        r = run(&check_device, s, x);
        for (size_t c = 0; c < (size_t)s->c; c++)
            assert_int_equal(isnan(r.lo[c]) && isnan(r.hi[c]) && isnan(r.scale[c]), c == c_at);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(searches_of_the_papers), CHECK_TEST(values_of_pytorch),
        CHECK_TEST(same_as_the_reference),  CHECK_TEST(what_cannot_be_searched_is_defined),
        CHECK_TEST(minima_of_every_layout),
    };

    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
