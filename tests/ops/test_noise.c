/* Philox numbers: known answers, the law of the normals, and that nothing but their key matters. */
#include "check.h"

/* Counter and key of the generator's published vectors, through our order of words. */
static void known_answers(void **state)
{
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } cases[] = {
        { { 0 }, { 0 }, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
        { { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff },
          { 0xffffffff, 0xffffffff },
          { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
        { { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 },
          { 0xa4093822, 0x299f31d0 },
          { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
    };

    (void)state;
    for (int i = 0; i < 3; i++) {
        const uint32_t *c = cases[i].counter, *k = cases[i].key;
        uint64_t seed = (uint64_t)(k[1] ^ (uint32_t)DMQ_FOR_TEST) << 32 | k[0];
        uint32_t got[4];

        dmq_philox(got, seed, DMQ_FOR_TEST, (uint64_t)c[3] << 32 | c[2], c[1], c[0]);
        assert_memory_equal(got, cases[i].want, sizeof got);
    }
}

static dmq_noise_args request(int n, size_t per)
{
    return (dmq_noise_args){ .n = n,
                             .per = per,
                             .seed = UINT64_C(0x123456789abcdef),
                             .purpose = DMQ_FOR_TEST,
                             .first = 7,
                             .step = 3 };
}

static dmq_real *run(const check_on *on, const dmq_noise_args *asked)
{
    dmq_noise_args a = *asked;
    size_t count = (size_t)a.n * a.per;
    dmq_real *out = check_reals(count);

    a.out = check_room(on, NULL, count);
    a.sample = check_up(on, a.sample, (size_t)a.n, sizeof *a.sample);
    a.step_now = check_up(on, a.step_now, 1, sizeof *a.step_now);
    CHECK_RUN(on, noise_normal, &a);
    check_down_real(on, out, a.out, count);
    return out;
}

/* Against the library's logarithm and angle, from the same words. */
static void normals_are_those_of_box_and_muller(void **state)
{
    enum { PER = 4001 };
    dmq_noise_args a = request(2, PER);
    const dmq_real *got = run(&check_device, &a);
    const double unit = sizeof(dmq_real) == 4 ? 6.1e-8 : 4e-15;

    (void)state;
    for (uint32_t i = 0; i < 2; i++) {
        for (uint32_t e = 0; e < PER; e++) {
            uint32_t w[4], pair = e % 4 / 2 * 2;
            double r, angle, want;

            dmq_philox(w, a.seed, a.purpose, a.first + i, a.step, e / 4);
            r = sqrt(-2 * log(((double)w[pair] + 0.5) * 0x1p-32));
            angle = 6.28318530717958647693 * (((double)w[pair + 1] + 0.5) * 0x1p-32);
            want = r * (e % 2 ? sin(angle) : cos(angle));
            assert_true(fabs((double)got[i * PER + e] - want) <= unit * fabs(want) + 1e-15);
        }
    }
}

static int ascending(const void *p, const void *q)
{
    dmq_real a = *(const dmq_real *)p, b = *(const dmq_real *)q;

    return (a > b) - (a < b);
}

static void normals_are_normal(void **state)
{
    enum { COUNT = 200000 };
    dmq_noise_args a = request(4, COUNT / 4);
    dmq_real *x = run(&check_device, &a);
    double mean = 0, square = 0, fourth = 0, next = 0, gap = 0;

    (void)state;
    for (int i = 0; i < COUNT; i++) {
        double v = (double)x[i];

        mean += v / COUNT;
        square += v * v / COUNT;
        fourth += v * v * v * v / COUNT;
        next += i > 0 ? v * (double)x[i - 1] / COUNT : 0;
    }
    /* four standard deviations each */
    assert_true(fabs(mean) < 4 / sqrt(COUNT));
    assert_true(fabs(square - 1) < 4 * sqrt(2.0 / COUNT));
    assert_true(fabs(fourth - 3) < 4 * sqrt(96.0 / COUNT));
    assert_true(fabs(next) < 4 / sqrt(COUNT));
    qsort(x, COUNT, sizeof *x, ascending);
    for (int i = 0; i < COUNT; i++) {
        double law = 0.5 * erfc(-(double)x[i] / sqrt(2.0));

        gap = fmax(gap, fmax(fabs(law - (double)i / COUNT), fabs(law - (double)(i + 1) / COUNT)));
    }
    assert_true(gap * sqrt(COUNT) < 1.95); /* Kolmogorov-Smirnov, one in a thousand */
}

static void same_as_the_reference(void **state)
{
    static const struct {
        int n;
        size_t per;
        int channels;
    } shapes[] = { { 1, 1, 0 },    { 3, 5, 0 },    { 2, 768, 3 }, { 5, 27, 3 },
                   { 1, 1026, 0 }, { 7, 130, 13 }, { 2, 64, 64 }, { 3, 3072, 3 } };

    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        dmq_noise_args a = request(shapes[i].n, shapes[i].per);

        a.channels = shapes[i].channels;
        check_equal("normal", run(&check_device, &a), run(&check_ref, &a), (size_t)a.n * a.per);
    }
}

static void the_batch_does_not_matter(void **state)
{
    enum { PER = 50 };
    const uint64_t sample[5] = { 9, 7, UINT64_C(1) << 40, 8, 7 };
    dmq_noise_args a = request(5, PER), one = request(1, PER);
    dmq_real *whole, *ascending_ones = run(&check_device, &a);

    (void)state;
    a.sample = sample;
    whole = run(&check_device, &a);
    for (size_t i = 0; i < 5; i++) {
        one.first = sample[i];
        check_equal("alone", run(&check_device, &one), whole + i * PER, PER);
        one.first = 7 + i;
        check_equal("counted", run(&check_device, &one), ascending_ones + i * PER, PER);
    }
}

/* Everything in the key and counter makes other numbers. */
static void everything_else_matters(void **state)
{
    enum { PER = 400, WAYS = 6 };
    dmq_real *x[WAYS];

    (void)state;
    for (int k = 0; k < WAYS; k++) {
        dmq_noise_args a = request(1, PER);

        a.seed += k == 1;
        a.seed += k == 2 ? UINT64_C(1) << 32 : 0;
        a.purpose = k == 3 ? DMQ_FOR_LATENT : a.purpose;
        a.first += k == 4 ? UINT64_C(1) << 32 : 0;
        a.step += k == 5;
        x[k] = run(&check_device, &a);
        for (int j = 0; j < k; j++)
            assert_true(fabs(check_dot(x[k], x[j], PER)) < 4 * sqrt(PER));
    }
}

static void channels_number_as_nchw(void **state)
{
    enum { C = 3, HW = 35 };
    dmq_noise_args a = request(2, C * HW);
    dmq_real *flat = run(&check_device, &a), *last;

    (void)state;
    a.channels = C;
    last = run(&check_device, &a);
    for (int i = 0; i < 2; i++) {
        for (int c = 0; c < C; c++) {
            for (int p = 0; p < HW; p++)
                assert_true(last[(i * HW + p) * C + c] == flat[(i * C + c) * HW + p]);
        }
    }
}

static void uniforms_and_permutations(void **state)
{
    enum { COUNT = 1000 };
    int order[COUNT], again[COUNT], other[COUNT], seen[COUNT] = { 0 }, fixed = 0, equal = 0;
    double mean = 0;

    (void)state;
    for (uint32_t i = 0; i < COUNT; i++) {
        double u = dmq_uniform(5, DMQ_FOR_TEST, 1, 2, i);

        assert_true(u >= 0 && u < 1 && u == dmq_uniform(5, DMQ_FOR_TEST, 1, 2, i));
        mean += u / COUNT;
    }
    assert_true(fabs(mean - 0.5) < 4 * sqrt(1.0 / 12 / COUNT));
    dmq_permutation(order, COUNT, 5, DMQ_FOR_SPLIT, 1, 2);
    dmq_permutation(again, COUNT, 5, DMQ_FOR_SPLIT, 1, 2);
    dmq_permutation(other, COUNT, 5, DMQ_FOR_SPLIT, 1, 3);
    assert_memory_equal(order, again, sizeof order);
    for (int i = 0; i < COUNT; i++) {
        seen[order[i]]++;
        fixed += order[i] == i;
        equal += order[i] == other[i];
    }
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(seen[i], 1);
    assert_true(fixed < 6 && equal < 6); /* Poisson, mean 1 */
    dmq_permutation(order, 1, 5, DMQ_FOR_SPLIT, 1, 2);
    assert_int_equal(order[0], 0);
    dmq_permutation(order, 0, 5, DMQ_FOR_SPLIT, 1, 2);
}

/* All orders of four things come equally often. */
static void permutations_are_fair(void **state)
{
    int count[256] = { 0 }, orders = 0;
    double chi = 0;

    (void)state;
    for (uint64_t i = 0; i < 24000; i++) {
        int p[4];

        dmq_permutation(p, 4, 1, DMQ_FOR_TEST, i, 0);
        count[p[0] * 64 + p[1] * 16 + p[2] * 4 + p[3]]++;
    }
    for (int i = 0; i < 256; i++) {
        orders += count[i] > 0;
        chi += count[i] > 0 ? (count[i] - 1000.0) * (count[i] - 1000.0) / 1000.0 : 0;
    }
    assert_int_equal(orders, 24);
    assert_true(chi < 49.7); /* 23 degrees of freedom, one in a thousand */
}

/* A step that the device holds stands before the one of the call. */
static void the_step_may_be_on_the_device(void **state)
{
    enum { PER = 75 };
    const int step = 11;
    dmq_noise_args told = request(3, PER), held = told;

    (void)state;
    told.step = 11;
    held.step_now = &step;
    check_equal("noise", run(&check_device, &held), run(&check_device, &told), (size_t)3 * PER);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(known_answers),
        CHECK_TEST(normals_are_those_of_box_and_muller),
        CHECK_TEST(normals_are_normal),
        CHECK_TEST(same_as_the_reference),
        CHECK_TEST(the_batch_does_not_matter),
        CHECK_TEST(everything_else_matters),
        CHECK_TEST(channels_number_as_nchw),
        CHECK_TEST(uniforms_and_permutations),
        CHECK_TEST(permutations_are_fair),
        CHECK_TEST(the_step_may_be_on_the_device),
    };

    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
