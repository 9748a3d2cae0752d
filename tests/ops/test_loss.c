/* Reconstruction loss of each sample. */
#include "check.h"

typedef struct result {
    dmq_real *loss, *df, *loss_tan;
} result;

typedef struct data {
    int n;
    size_t per;
    dmq_real coef, power;
    dmq_real *f, *y, *f_tan, *dloss;
} data;

static data random_data(int n, size_t per, double power, uint64_t seed)
{
    uint64_t stream = check_stream(seed);
    size_t count = (size_t)n * per;
    data d = { n, per, (dmq_real)(1.0 / 7.0), (dmq_real)power, NULL, NULL, NULL, NULL };

    d.f = check_random(count, &stream);
    d.y = check_random(count, &stream);
    d.f_tan = check_random(count, &stream);
    d.dloss = check_random((size_t)n, &stream);
    return d;
}

/* The passes, or with `both` forward and backward in one; index: of the rows of d->y, of which there are `rows`. */
static result run_as(const check_on *on, const data *d, const dmq_real *old, bool both,
                     const int *index, int rows)
{
    size_t n = (size_t)d->n, count = n * d->per;
    result r = { check_reals(n), check_reals(count), check_reals(n) };
    dmq_real *loss = check_room(on, NULL, n), *loss_tan = check_room(on, NULL, n);
    dmq_real *df = check_room(on, old, count);
    dmq_loss_args a = { .f = check_up_real(on, d->f, count),
                        .y = check_up_real(on, d->y, index ? (size_t)rows * d->per : count),
                        .index = index ? check_up(on, index, n, sizeof *index) : NULL,
                        .rows = rows,
                        .loss = loss,
                        .dloss = check_up_real(on, d->dloss, n),
                        .df = df,
                        .f_tan = check_up_real(on, d->f_tan, count),
                        .loss_tan = loss_tan,
                        .n = d->n,
                        .per = d->per,
                        .coef = d->coef,
                        .power = d->power,
                        .add = old != NULL };

    if (both) {
        CHECK_RUN(on, loss_both, &a);
    } else {
        CHECK_RUN(on, loss_forward, &a);
        CHECK_RUN(on, loss_backward, &a);
    }
    CHECK_RUN(on, loss_jvp, &a);
    check_down_real(on, r.loss, loss, n);
    check_down_real(on, r.df, df, count);
    check_down_real(on, r.loss_tan, loss_tan, n);
    return r;
}

static void same_bits(const data *d, const result *got, const result *want)
{
    size_t n = (size_t)d->n;

    check_equal("loss in one pass", got->loss, want->loss, n);
    check_equal("df in one pass", got->df, want->df, n * d->per);
    check_equal("loss_tan", got->loss_tan, want->loss_tan, n);
}

/* In one pass, and with the targets as rows of a table in another order, every pass gives the same bits. */
static result run(const check_on *on, const data *d, const dmq_real *old)
{
    enum { MORE = 3 };
    int rows = d->n + MORE, *index = check_bytes((size_t)d->n, sizeof *index);
    result apart = run_as(on, d, old, false, NULL, 0), other = run_as(on, d, old, true, NULL, 0);
    data table = *d;

    same_bits(d, &other, &apart);
    table.y = check_reals((size_t)rows * d->per);
    for (size_t i = 0; i < (size_t)rows * d->per; i++)
        table.y[i] = (dmq_real)NAN; /* rows that nobody asks for are not read */
    for (int i = 0; i < d->n; i++) {
        index[i] = i % 2 ? i / 2 : rows - 1 - i / 2;
        memcpy(table.y + (size_t)index[i] * d->per, d->y + (size_t)i * d->per,
               d->per * sizeof *d->y);
    }
    for (int both = 0; both < 2; both++) {
        other = run_as(on, &table, old, both, index, rows);
        same_bits(d, &other, &apart);
    }
    return apart;
}

static void values_of_pytorch(void **state)
{
    enum { N = 4, PER = 60 };
    dmq_h5 *file = check_golden_open("loss");

    (void)state;
    for (int k = 0; k < 2; k++) {
        data d = { N,
                   PER,
                   check_golden_real(file, "all", "coef", 1)[0],
                   (dmq_real)(k ? 2.4 : 2.0),
                   check_golden_real(file, "all", "f", N * PER),
                   check_golden_real(file, "all", "y", N * PER),
                   check_golden_real(file, "all", "f_tan", N * PER),
                   check_golden_real(file, "all", "dloss", N) };
        result r = run(&check_device, &d, NULL);

        check_close_to("loss", r.loss, check_golden(file, "all", k ? "loss_2_4" : "loss_2_0", N), N,
                       1e-6, 1e-6, 1);
        check_close_to("df", r.df, check_golden(file, "all", k ? "df_2_4" : "df_2_0", N * PER),
                       N * PER, 1e-7, 2e-6, 1);
        check_close_to("tan", r.loss_tan, check_golden(file, "all", k ? "tan_2_4" : "tan_2_0", N),
                       N, 2e-6, 2e-6, 1);
    }
    dmq_h5_close(file);
    check_report("golden");
}

static const struct {
    int n;
    size_t per;
    double power;
} shapes[] = { { 1, 1, 2 },    { 3, 7, 2.4 }, { 2, 33, 2 },  { 5, 1030, 2.4 },
               { 7, 16, 2.4 }, { 4, 515, 2 }, { 2, 100, 3 }, { 1, 4099, 2 } };

static void same_as_the_reference(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        data d = random_data(shapes[i].n, shapes[i].per, shapes[i].power, i);
        size_t n = (size_t)d.n, count = n * d.per;
        result got, want = run(&check_ref, &d, NULL);
        double left = 0, right = 0;

        d.f[count / 2] = d.y[count / 2]; /* no error, no slope */
        want = run(&check_ref, &d, NULL);
        got = run(&check_device, &d, NULL);
        check_same("loss", got.loss, want.loss, n, 1e-7, 1e-6, 1);
        check_same("df", got.df, want.df, count, 1e-7, 2e-6, 1);
        check_same("loss_tan", got.loss_tan, want.loss_tan, n, 1e-6, 1e-6, sqrt((double)d.per));
        assert_true(got.df[count / 2] == 0);
        /* <u, J v> = <J^T u, v> */
        left = check_dot(got.loss_tan, d.dloss, n);
        right = check_dot(got.df, d.f_tan, count);
        assert_true(fabs(left - right) <=
                    2e-6 * (1 + check_norm(got.df, count) * check_norm(d.f_tan, count)));
        got = run(&check_device, &d, d.f_tan);
        for (size_t j = 0; j < count; j++)
            want.df[j] += d.f_tan[j];
        check_same("df added", got.df, want.df, count, 1e-6, 2e-6, 1);
    }
    check_report("against ref");
}

static void differences(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        data d = random_data(3, 50, k ? 2.4 : 2.0, 90), e = d;
        result r = run(&check_device, &d, NULL), up, low;

        e.f = check_reals(150);
        for (size_t i = 0; i < 150; i++)
            e.f[i] = d.f[i] + (dmq_real)1e-2 * d.f_tan[i];
        up = run(&check_device, &e, NULL);
        for (size_t i = 0; i < 150; i++)
            e.f[i] = d.f[i] - (dmq_real)1e-2 * d.f_tan[i];
        low = run(&check_device, &e, NULL);
        for (int i = 0; i < 3; i++) {
            assert_true(fabs((double)(up.loss[i] - low.loss[i]) / 2e-2 - (double)r.loss_tan[i]) <
                        2e-3 * (1 + fabs((double)r.loss_tan[i])));
        }
    }
}

/* A sample's loss does not know its batch, nor a NaN in another one. */
static void samples_do_not_mix(void **state)
{
    data d = random_data(4, 77, 2.4, 91), one;
    result whole;

    (void)state;
    d.f[77 + 3] = (dmq_real)NAN;
    whole = run(&check_device, &d, NULL);
    assert_int_equal(check_nans(whole.loss, 4), 1);
    assert_true(isnan(whole.loss[1]) && isnan(whole.loss_tan[1]) && isnan(whole.df[77 + 3]));
    for (size_t i = 0; i < 4; i++) {
        result r;

        one = d;
        one.n = 1;
        one.f += i * 77;
        one.y += i * 77;
        one.f_tan += i * 77;
        one.dloss += i;
        r = run(&check_device, &one, NULL);
        check_equal("loss alone", r.loss, whole.loss + i, 1);
        check_equal("df alone", r.df, whole.df + i * 77, 77);
        check_equal("loss_tan alone", r.loss_tan, whole.loss_tan + i, 1);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(values_of_pytorch),
        CHECK_TEST(same_as_the_reference),
        CHECK_TEST(differences),
        CHECK_TEST(samples_do_not_mix),
    };

    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
