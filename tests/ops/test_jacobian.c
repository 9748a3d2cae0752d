/* Products with a stored Jacobian. */
#include "check.h"

#include "kernels/jacobian.h"

enum { PAD = 5 }; /* numbers between rows that belong to nobody */

typedef struct shape {
    int n, m;
    size_t count;
} shape;

/* Below, at and above a piece; one row, one vector; none of them a multiple of anything. */
static const shape shapes[] = { { 1, 1, 1 },    { 3, 2, 31 },   { 2, 5, 33 },   { 7, 1, 2047 },
                                { 1, 3, 2048 }, { 4, 4, 2049 }, { 5, 2, 6151 }, { 33, 5, 4100 } };

typedef struct arrays {
    dmq_real *rows, *v, *x;
} arrays;

static arrays fill(const shape *s, uint64_t seed)
{
    uint64_t stream = check_stream(seed);
    size_t ld = s->count + PAD;

    return (arrays){ .rows = check_random((size_t)s->n * ld, &stream),
                     .v = check_random((size_t)(s->n * s->m), &stream),
                     .x = check_random((size_t)s->m * ld, &stream) };
}

static void times_on(const check_on *on, dmq_real *out, const shape *s, const arrays *h)
{
    size_t ld = s->count + PAD, room = (size_t)s->m * ld;
    dmq_jacobian_args a = { .rows = check_up_real(on, h->rows, (size_t)s->n * ld),
                            .v = check_up_real(on, h->v, (size_t)(s->n * s->m)),
                            .out = check_up_real(on, h->x, room),
                            .n = s->n,
                            .m = s->m,
                            .count = s->count,
                            .ld = ld,
                            .ld_out = ld };

    CHECK_RUN(on, jacobian_times, &a);
    check_down_real(on, out, a.out, room);
}

static void dots_on(const check_on *on, double *out, const shape *s, const arrays *h)
{
    size_t ld = s->count + PAD, room = (size_t)(s->n * s->m);
    double *nan = check_bytes(room, sizeof *nan);
    dmq_jacobian_args a = { .rows = check_up_real(on, h->rows, (size_t)s->n * ld),
                            .x = check_up_real(on, h->x, (size_t)s->m * ld),
                            .n = s->n,
                            .m = s->m,
                            .count = s->count,
                            .ld = ld,
                            .ld_x = ld };

    for (size_t i = 0; i < room; i++)
        nan[i] = (double)NAN;
    a.dots = check_up(on, nan, room, sizeof *nan);
    CHECK_RUN(on, jacobian_dots, &a);
    check_down(on, out, a.dots, room * sizeof *out);
}

static void sums_of_rows(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
        const shape *s = &shapes[k];
        size_t ld = s->count + PAD, room = (size_t)s->m * ld;
        arrays h = fill(s, k);
        dmq_real *got = check_reals(room), *again = check_reals(room);
        double *want = check_doubles(h.x, room);

        for (int l = 0; l < s->m; l++) {
            for (size_t c = 0; c < s->count; c++) {
                double sum = 0;

                for (int i = 0; i < s->n; i++)
                    sum += (double)h.v[l * s->n + i] * (double)h.rows[(size_t)i * ld + c];
                want[(size_t)l * ld + c] = sum;
            }
        }
        times_on(&check_device, got, s, &h);
        /* what lies between the rows is left as it was */
        check_close_to("times", got, want, room, check_unit, check_unit, s->n);
        times_on(&check_device, again, s, &h);
        check_equal("times, again", again, got, room);
        (void)check_release(NULL);
    }
    check_report("times");
}

static void dot_products_of_rows(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
        const shape *s = &shapes[k];
        size_t ld = s->count + PAD, room = (size_t)(s->n * s->m);
        arrays h = fill(s, 100 + k);
        double *got = check_bytes(room, sizeof *got), *again = check_bytes(room, sizeof *again);

        dots_on(&check_device, got, s, &h);
        dots_on(&check_device, again, s, &h);
        assert_memory_equal(got, again, room * sizeof *got);
        for (int l = 0; l < s->m; l++) {
            for (int i = 0; i < s->n; i++) {
                double want = check_dot(h.rows + (size_t)i * ld, h.x + (size_t)l * ld, s->count);

                /* in double: single precision would be off by 1e-7 */
                assert_true(fabs(got[l * s->n + i] - want) <= 1e-13 * (1 + (double)s->count));
            }
        }
        (void)check_release(NULL);
    }
}

/* Rows with a vector each: the bits of as many products of one row and one vector. */
static void products_of_pairs(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
        const shape s = { shapes[k].n, shapes[k].n, shapes[k].count };
        const check_on *on = &check_device;
        size_t ld = s.count + PAD, n = (size_t)s.n;
        arrays h = fill(&s, 200 + k);
        double *got = check_bytes(n, sizeof *got), one;
        dmq_jacobian_args a = { .rows = check_up_real(on, h.rows, n * ld),
                                .x = check_up_real(on, h.x, n * ld),
                                .dots = check_up(on, got, n, sizeof *got),
                                .n = s.n,
                                .m = 1,
                                .pairs = 1,
                                .count = s.count,
                                .ld = ld,
                                .ld_x = ld };

        CHECK_RUN(on, jacobian_dots, &a);
        check_down(on, got, a.dots, n * sizeof *got);
        a.n = 1;
        a.pairs = 0;
        for (size_t i = 0; i < n; i++) {
            CHECK_RUN(on, jacobian_dots, &a);
            check_down(on, &one, a.dots, sizeof one);
            assert_true(one != 0);
            assert_memory_equal(&got[i], &one, sizeof one);
            a.rows += ld;
            a.x += ld;
        }
        (void)check_release(NULL);
    }
}

/* Runs of whole pieces, computed one by one and added in order, are the sum as a whole. */
static void pieces_may_be_computed_elsewhere(void **state)
{
    const shape all = { 3, 2, 3 * DMQ_JACOBIAN_COLUMNS + 17 };
    const size_t ld = all.count + PAD;
    arrays h = fill(&all, 7);
    double whole[6], joined[6] = { 0 };

    (void)state;
    dots_on(&check_device, whole, &all, &h);
    for (size_t at = 0; at < all.count; at += DMQ_JACOBIAN_COLUMNS) {
        size_t left = all.count - at;
        double part[6];
        dmq_jacobian_args a = { .rows = check_up_real(&check_device, h.rows, 3 * ld) + at,
                                .x = check_up_real(&check_device, h.x, 2 * ld) + at,
                                .n = all.n,
                                .m = all.m,
                                .count = left < DMQ_JACOBIAN_COLUMNS ? left : DMQ_JACOBIAN_COLUMNS,
                                .ld = ld,
                                .ld_x = ld };

        a.dots = check_up(&check_device, joined, 6, sizeof *joined);
        CHECK_RUN(&check_device, jacobian_dots, &a);
        check_down(&check_device, part, a.dots, sizeof part);
        for (int i = 0; i < 6; i++)
            joined[i] += part[i];
    }
    assert_memory_equal(whole, joined, sizeof whole);
}

static void a_nan_stays_in_its_row(void **state)
{
    const shape s = { 3, 2, 100 };
    arrays h = fill(&s, 9);
    double got[6];

    (void)state;
    h.rows[(s.count + PAD) + 40] = (dmq_real)NAN; /* of row 1 */
    dots_on(&check_device, got, &s, &h);
    for (int i = 0; i < 6; i++)
        assert_int_equal(isnan(got[i]) != 0, i % 3 == 1);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(sums_of_rows),           CHECK_TEST(dot_products_of_rows),
        CHECK_TEST(products_of_pairs),      CHECK_TEST(pieces_may_be_computed_elsewhere),
        CHECK_TEST(a_nan_stays_in_its_row),
    };

    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
