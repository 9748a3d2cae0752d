/* Fake quantization: codes equal, not close; both derivatives straight through. */
#include "check.h"

#include "kernels/fake_quant_math.h"

typedef struct shape {
    int n, outer, c, inner, rows;
    dmq_real lo, hi, gain;
} shape;

typedef struct data {
    dmq_real *x, *scale, *zero, *dy, *x_tan, *scale_tan;
    int *row;
} data;

typedef struct result {
    dmq_real *y, *dx, *dscale, *y_tan;
    int16_t *code;
} result;

static size_t count_of(const shape *s)
{
    return (size_t)s->n * (size_t)s->outer * (size_t)s->c * (size_t)s->inner;
}

static size_t table_of(const shape *s)
{
    return (size_t)s->rows * (size_t)s->c;
}

static dmq_fake_quant_args args_on(const check_on *on, const shape *s, const data *d)
{
    return (dmq_fake_quant_args){ .x = check_up_real(on, d->x, count_of(s)),
                                  .scale = check_up_real(on, d->scale, table_of(s)),
                                  .zero = check_up_real(on, d->zero, table_of(s)),
                                  .row = check_up(on, d->row, (size_t)s->n, sizeof *d->row),
                                  .dy = check_up_real(on, d->dy, count_of(s)),
                                  .x_tan = check_up_real(on, d->x_tan, count_of(s)),
                                  .scale_tan = check_up_real(on, d->scale_tan, table_of(s)),
                                  .n = s->n,
                                  .outer = s->outer,
                                  .c = s->c,
                                  .inner = s->inner,
                                  .rows = s->rows,
                                  .lo = s->lo,
                                  .hi = s->hi,
                                  .lsq_gain = s->gain };
}

/* All passes; in_place: y over x, dx over dy. */
static result run(const check_on *on, const shape *s, const data *d, int in_place)
{
    size_t count = count_of(s), table = table_of(s);
    dmq_fake_quant_args a = args_on(on, s, d);
    dmq_real *zeros = check_reals(table);
    int16_t *code = check_up(on, check_bytes(count, sizeof *code), count, sizeof *code);
    dmq_real *y, *dx, *dscale, *y_tan;
    result r = { check_reals(count), check_reals(count), check_reals(table), check_reals(count),
                 check_bytes(count, sizeof *code) };

    a.dscale = dscale = check_up_real(on, zeros, table);
    a.dx = dx = in_place ? check_up_real(on, d->dy, count) : check_room(on, NULL, count);
    if (in_place)
        a.dy = dx;
    CHECK_RUN(on, fake_quant_backward, &a);
    a.y_tan = y_tan = check_room(on, NULL, count);
    CHECK_RUN(on, fake_quant_jvp, &a);
    a.y = y = in_place ? check_up_real(on, d->x, count) : check_room(on, NULL, count);
    if (in_place)
        a.x = y;
    a.code = code;
    CHECK_RUN(on, fake_quant_forward, &a);
    check_down_real(on, r.y, y, count);
    check_down_real(on, r.dx, dx, count);
    check_down_real(on, r.dscale, dscale, table);
    check_down_real(on, r.y_tan, y_tan, count);
    check_down(on, r.code, code, count * sizeof *code);
    return r;
}

/* About a tenth of x beyond either end; every fifth number on a tie. */
static data random_data(const shape *s, uint64_t *stream)
{
    data d = { check_random(count_of(s), stream),
               check_reals(table_of(s)),
               check_reals(table_of(s)),
               check_random(count_of(s), stream),
               check_random(count_of(s), stream),
               check_random(table_of(s), stream),
               check_bytes((size_t)s->n, sizeof(int)) };
    double width = (double)(s->hi - s->lo);

    for (size_t i = 0; i < table_of(s); i++) {
        d.scale[i] = (dmq_real)(float)(0.02 + 0.3 * check_uniform(stream));
        d.zero[i] = s->lo + (dmq_real)floor(width * check_uniform(stream));
    }
    for (int i = 0; i < s->n; i++)
        d.row[i] = check_whole(stream, 0, s->rows - 1);
    for (size_t i = 0; i < count_of(s); i++) {
        size_t c = i / (size_t)s->inner % (size_t)s->c;
        size_t image = i / ((size_t)s->outer * (size_t)s->c * (size_t)s->inner);
        dmq_real step = d.scale[(size_t)d.row[image] * (size_t)s->c + c];

        d.x[i] *= step * (dmq_real)(width * 0.6);
        if (i % 5 == 0)
            d.x[i] = (dmq_rint(d.x[i] / step) + (dmq_real)0.5) * step;
    }
    return d;
}

/* specs: qdiffusion.md 9, test 1 */
static void affine_codes_of_the_papers(void **state)
{
    dmq_real x[5] = { -1, (dmq_real)-0.375, (dmq_real)0.125, (dmq_real)0.6, (dmq_real)2.75 };
    dmq_real scale[1] = { (dmq_real)0.25 }, zero[1] = { 4 }, ones[5] = { 1, 1, 1, 1, 1 };
    const dmq_real y[5] = { -1, (dmq_real)-0.5, 0, (dmq_real)0.5, (dmq_real)2.75 };
    const int16_t code[5] = { 0, 2, 4, 6, 15 };
    const double slope[5] = { 0, -0.5, -0.5, -0.4, 0 };

    (void)state;
    for (int i = 0; i < 5; i++) { /* one at a time, to see each slope */
        shape s = { 1, 1, 1, 1, 1, 0, 15, 1 };
        data d = { x + i, scale, zero, ones, ones, ones, NULL };
        result r = run(&check_device, &s, &d, 0);

        check_equal("y", r.y, y + i, 1);
        check_equal_codes("code", r.code, code + i, 1);
        assert_true(fabs((double)r.dscale[0] - slope[i]) < 1e-6);
    }
}

static void ties_go_to_even(void **state)
{
    enum { COUNT = 41 };
    shape s = { 1, 1, 1, COUNT, 1, -30, 30, 1 };
    dmq_real x[COUNT], want[COUNT], scale[1] = { (dmq_real)0.5 }, zero[1] = { 0 };
    data d = { x, scale, zero, x, x, scale, NULL };

    (void)state;
    for (int i = 0; i < COUNT; i++) {
        double u = i - COUNT / 2 + 0.5;

        x[i] = (dmq_real)(u * 0.5);
        want[i] = (dmq_real)(0.5 * (fmod(floor(u), 2.0) == 0.0 ? floor(u) : ceil(u)));
    }
    check_equal("y", run(&check_device, &s, &d, 0).y, want, COUNT);
}

static void golden_case(dmq_h5 *file, const char *group)
{
    const int32_t *dim = check_golden_whole(file, group, "dim", 5);
    const dmq_real *range = check_golden_real(file, group, "range", 3);
    shape s = { dim[0], dim[1], dim[2], dim[3], dim[4], range[0], range[1], range[2] };
    size_t count = count_of(&s), table = table_of(&s);
    int32_t *code = check_golden_whole(file, group, "code", count);
    int16_t *code16 = check_bytes(count, sizeof *code16);
    data d = { check_golden_real(file, group, "x", count),
               check_golden_real(file, group, "scale", table),
               check_golden_real(file, group, "zero", table),
               check_golden_real(file, group, "dy", count),
               check_golden_real(file, group, "x_tan", count),
               check_golden_real(file, group, "scale_tan", table),
               check_golden_whole(file, group, "row", (size_t)s.n) };
    result r = run(&check_device, &s, &d, 0);

    for (size_t i = 0; i < count; i++)
        code16[i] = (int16_t)code[i];
    check_equal_codes("code", r.code, code16, count);
    check_equal("y", r.y, check_golden_real(file, group, "y", count), count);
    /* autograd multiplies by s and divides by it again; zeros must be zeros */
    check_close_to("dx", r.dx, check_golden(file, group, "dx", count), count, 0, 3e-7, 1);
    check_close_to("y_tan", r.y_tan, check_golden(file, group, "y_tan", count), count, 2e-5, 2e-6,
                   1);
    check_close_to("dscale", r.dscale, check_golden(file, group, "dscale", table), table, 2e-5,
                   2e-6, (double)count / (double)table);
    check_report(group);
}

static void values_of_pytorch(void **state)
{
    dmq_h5 *file = check_golden_open("fake_quant");

    (void)state;
    golden_case(file, "tensor");
    golden_case(file, "weight");
    golden_case(file, "nhwc");
    golden_case(file, "lsq");
    dmq_h5_close(file);
}

static const shape shapes[] = {
    { 1, 1, 1, 1, 1, 0, 255, 1 },         { 3, 1, 1, 17, 1, 0, 15, 1 },
    { 5, 7, 1, 33, 4, 0, 255, 1 },        { 2, 9, 3, 1, 2, 0, 15, 1 },
    { 4, 6, 130, 1, 3, -8, 7, 1 },        { 1, 1, 19, 45, 1, 0, 15, 1 },
    { 2, 3, 5, 2, 2, -128, 127, 0.25F },  { 3, 2, 17, 3, 1, 0, 3, 1 },
    { 1, 1, 64, 288, 1, 0, 15, 1 },       { 2, 256, 64, 1, 2, 0, 255, 1 },
    { 2, 1, 1, 1031, 2, 0, 255, 0.125F },
};

static void same_as_the_reference(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const shape *s = &shapes[i];
        uint64_t stream = check_stream(i);
        data d = random_data(s, &stream);
        size_t count = count_of(s);

        for (int in_place = 0; in_place < 2; in_place++) {
            result got = run(&check_device, s, &d, in_place), want = run(&check_ref, s, &d, 0);

            check_equal_codes("code", got.code, want.code, count);
            check_equal("y", got.y, want.y, count);
            check_equal("dx", got.dx, want.dx, count);
            check_equal("y_tan", got.y_tan, want.y_tan, count);
            check_same("dscale", got.dscale, want.dscale, table_of(s), 1e-5, 1e-6,
                       (double)count / (double)table_of(s));
        }
    }
    check_report("against ref");
}

static void what_is_not_wanted_may_be_null(void **state)
{
    const shape *s = &shapes[4];
    uint64_t stream = check_stream(77);
    data d = random_data(s, &stream);
    size_t count = count_of(s);
    dmq_real *got = check_reals(count), *old = check_random(count, &stream), *dx, *y_tan;
    dmq_fake_quant_args a = args_on(&check_device, s, &d);
    result r = run(&check_device, s, &d, 0);

    (void)state;
    a.add = 1;
    a.dx = dx = check_up_real(&check_device, old, count);
    CHECK_RUN(&check_device, fake_quant_backward, &a);
    check_down_real(&check_device, got, dx, count);
    for (size_t i = 0; i < count; i++)
        old[i] += r.dx[i];
    check_equal("dx added", got, old, count);
    a.y_tan = y_tan = check_room(&check_device, NULL, count);
    a.scale_tan = NULL;
    CHECK_RUN(&check_device, fake_quant_jvp, &a);
    check_down_real(&check_device, got, y_tan, count);
    for (size_t i = 0; i < count; i++)
        old[i] = r.dx[i] == d.dy[i] ? d.x_tan[i] : 0;
    check_equal("tangent of x", got, old, count);
    a.scale_tan = check_up_real(&check_device, d.scale_tan, table_of(s));
    a.x_tan = NULL;
    CHECK_RUN(&check_device, fake_quant_jvp, &a);
    check_down_real(&check_device, got, y_tan, count);
    for (size_t i = 0; i < count; i++)
        old[i] = r.y_tan[i] - old[i];
    check_same("tangent of scale", got, old, count, 1e-5, 1e-6, 1);
}

static void a_batch_in_two_parts_gives_the_same_bits(void **state)
{
    shape s = { 5, 7, 3, 11, 2, 0, 15, 1 }, part = s;
    uint64_t stream = check_stream(5);
    data d = random_data(&s, &stream), e = d;
    size_t per = count_of(&s) / 5, table = table_of(&s);
    dmq_real *dscale = check_up_real(&check_device, check_reals(table), table);
    dmq_real *got = check_reals(table);
    result whole = run(&check_device, &s, &d, 0);

    (void)state;
    for (int first = 0; first < 5; first += part.n) {
        dmq_fake_quant_args a;

        part.n = first == 0 ? 2 : 3;
        e.x = d.x + (size_t)first * per;
        e.dy = d.dy + (size_t)first * per;
        e.row = d.row + first;
        a = args_on(&check_device, &part, &e);
        a.dscale = dscale;
        CHECK_RUN(&check_device, fake_quant_backward, &a);
    }
    check_down_real(&check_device, got, dscale, table);
    check_equal("dscale", got, whole.dscale, table);
}

static void nan_stays_nan(void **state)
{
    (void)state;
    for (size_t k = 1; k < 7; k++) {
        const shape *s = &shapes[k];
        uint64_t stream = check_stream(9);
        data d = random_data(s, &stream);
        size_t at = count_of(s) / 2;
        result r;

        d.x[at] = (dmq_real)NAN;
        r = run(&check_device, s, &d, 0);
        assert_int_equal(check_nans(r.y, count_of(s)), 1);
        assert_true(isnan(r.y[at]));
        assert_int_equal(r.code[at], 0);
        assert_true(isnan(r.y_tan[at]));
        assert_int_equal(check_nans(r.dscale, table_of(s)), 1);
    }
}

/* <u, J v> = <J^T u, v> over x and scale, where the gain is 1 */
static void the_transpose_is_the_transpose(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const shape *s = &shapes[i];
        uint64_t stream = check_stream(100 + i);
        data d = random_data(s, &stream);
        result r = run(&check_device, s, &d, 0);
        size_t count = count_of(s), table = table_of(s);
        double left = check_dot(d.dy, r.y_tan, count), right = check_dot(r.dx, d.x_tan, count);
        double size = check_norm(d.dy, count) * check_norm(r.y_tan, count);

        right += check_dot(r.dscale, d.scale_tan, table) / (double)s->gain;
        assert_true(fabs(left - right) <= 2e-6 * (1 + size));
    }
}

/* y with the rounding offset held: (x/s + offset) s inside, (end - zero) s outside */
static double held(const shape *s, const data *d, const double *offset, size_t table_at,
                   double step)
{
    double sum = 0.0;

    for (size_t i = 0; i < count_of(s); i++) {
        size_t image = i / ((size_t)s->outer * (size_t)s->c * (size_t)s->inner);
        size_t at = (size_t)d->row[image] * (size_t)s->c + i / (size_t)s->inner % (size_t)s->c;
        double scale = (double)d->scale[at] + (at == table_at ? step : 0.0);
        double zero = (double)d->zero[at];
        dmq_real code = dmq_fq_code(d->x[i], d->scale[at], d->zero[at]);

        if (code < s->lo) {
            sum += (double)d->dy[i] * ((double)s->lo - zero) * scale;
        } else if (code > s->hi) {
            sum += (double)d->dy[i] * ((double)s->hi - zero) * scale;
        } else {
            sum += (double)d->dy[i] * ((double)d->x[i] / scale + offset[i]) * scale;
        }
    }
    return sum;
}

static void scale_gradient_is_that_of_the_held_rounding(void **state)
{
    shape s = { 3, 2, 4, 5, 2, 0, 15, 1 };
    uint64_t stream = check_stream(31);
    data d = random_data(&s, &stream);
    result r = run(&check_device, &s, &d, 0);
    double *offset = check_bytes(count_of(&s), sizeof *offset);

    (void)state;
    for (size_t i = 0; i < count_of(&s); i++) {
        size_t at = (size_t)d.row[i / 40] * 4 + i / 5 % 4;
        double u = (double)(d.x[i] / d.scale[at]);

        offset[i] = rint(u) - u;
    }
    for (size_t t = 0; t < table_of(&s); t++) {
        double want = (held(&s, &d, offset, t, 1e-4) - held(&s, &d, offset, t, -1e-4)) / 2e-4;

        assert_true(fabs((double)r.dscale[t] - want) <= 1e-4 * (1 + fabs(want)));
    }
}

/* Quotients near ties and whole numbers, of numbers and steps of every size; where it ends, the division. */
static void a_step_has_the_bits_of_the_division(void **state)
{
    uint64_t stream = check_stream(8);
    const dmq_real ends[] = { 0,
                              (dmq_real)-0.0,
                              (dmq_real)INFINITY,
                              (dmq_real)-INFINITY,
                              (dmq_real)1e38,
                              (dmq_real)-1e38,
                              (dmq_real)1e-38,
                              (dmq_real)-1e-38,
                              (dmq_real)1e-44 };
    const dmq_real steps[] = { 1,
                               (dmq_real)0.1F,
                               (dmq_real)1e-8,
                               (dmq_real)3e-30,
                               (dmq_real)3e-39,
                               (dmq_real)1e18,
                               (dmq_real)1e19,
                               (dmq_real)2e38 };

    (void)state;
    for (int i = 0; i < 400000; i++) {
        dmq_real scale = (dmq_real)ldexp(1 + check_uniform(&stream), check_whole(&stream, -58, 58));
        dmq_real code = (dmq_real)(check_whole(&stream, -140000, 140000) * 0.5);
        dmq_real x = code * scale;
        dmq_fq_step s = dmq_fq_step_of(scale, 3);

        for (int k = check_whole(&stream, 0, 4); k > 0; k--) /* a few units in the last place off */
            x = nextafterf(x, i % 2 ? INFINITY : -INFINITY);
        if (i % 4 == 0)
            x = (dmq_real)(check_uniform(&stream) - 0.5) * scale * 1000;
        if (dmq_fq_quotient(x, s) != x / scale ||
            dmq_fq_step_code(x, s) != dmq_fq_code(x, scale, 3))
            fail_msg("%.9g / %.9g: %.9g", (double)x, (double)scale, (double)dmq_fq_quotient(x, s));
    }
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        for (size_t k = 0; k < sizeof steps / sizeof steps[0]; k++) {
            dmq_fq_step s = dmq_fq_step_of(steps[k], 3);

            assert_true(dmq_fq_step_value(ends[i], s, 0, 15) ==
                        dmq_fq(ends[i], steps[k], 3, 0, 15));
        }
    }
    assert_true(isnan(dmq_fq_step_value((dmq_real)NAN, dmq_fq_step_of(1, 3), 0, 15)));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(affine_codes_of_the_papers),
        CHECK_TEST(ties_go_to_even),
        CHECK_TEST(a_step_has_the_bits_of_the_division),
        CHECK_TEST(values_of_pytorch),
        CHECK_TEST(same_as_the_reference),
        CHECK_TEST(what_is_not_wanted_may_be_null),
        CHECK_TEST(a_batch_in_two_parts_gives_the_same_bits),
        CHECK_TEST(nan_stays_nan),
        CHECK_TEST(the_transpose_is_the_transpose),
        CHECK_TEST(scale_gradient_is_that_of_the_held_rounding),
    };

    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
