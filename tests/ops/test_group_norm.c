/* Group norm, plain and with shift, SiLU and fake quantization. */
#include "ops/op_norm.h"

static void values_and_derivatives_are_pytorchs(void **state)
{
    (void)state;
    group_norm_goldens();
}

static void odd_shapes_keep_the_identities(void **state)
{
    (void)state;
    group_norm_shapes();
}

enum { N = 3, HW = 14, C = 24, GROUPS = 8, COUNT = N * HW * C };
enum { IMAGE = HW * C, SHIFTS = N * C, MEANS = N * GROUPS };

static const group_norm_shape fused = {
    .n = N, .hw = HW, .c = C, .groups = 8, .shift = 1, .silu = 1, .quant = 16, .step1024 = 160
};

/* The arguments of the plain operations that a fused call stands for, on the device. */
typedef struct composition {
    dmq_group_norm_args whole; /* after its forward pass */
    dmq_binary_args shift;
    dmq_group_norm_args norm;
    dmq_unary_args silu;
    dmq_fake_quant_args quant;
} composition;

static composition compose(const check_op *op, dmq_real *const in[])
{
    const check_on *on = &check_device;
    composition m = { .whole = group_norm_run(op, on, in) };

    m.shift = (dmq_binary_args){ .kind = DMQ_ADD,
                                 .p = m.whole.x,
                                 .q = m.whole.shift,
                                 .y = check_room(on, NULL, COUNT),
                                 .dim = { N, HW, C },
                                 .stride_p = { IMAGE, C, 1 },
                                 .stride_q = { C, 0, 1 } };
    m.norm = m.whole;
    m.norm.shift = NULL;
    m.norm.silu = m.norm.quant = 0;
    m.norm.x = m.shift.y;
    m.norm.y = check_room(on, NULL, COUNT);
    m.norm.mean = check_room(on, NULL, MEANS);
    m.norm.rstd = check_room(on, NULL, MEANS);
    m.silu = (dmq_unary_args){
        .kind = DMQ_SILU, .x = m.norm.y, .y = check_room(on, NULL, COUNT), .count = COUNT
    };
    m.quant = (dmq_fake_quant_args){ .x = m.silu.y,
                                     .scale = m.whole.scale,
                                     .zero = m.whole.zero,
                                     .row = m.whole.row,
                                     .y = check_room(on, NULL, COUNT),
                                     .n = N,
                                     .outer = 1,
                                     .c = 1,
                                     .inner = IMAGE,
                                     .rows = NORM_ROWS,
                                     .lo = m.whole.lo,
                                     .hi = m.whole.hi,
                                     .lsq_gain = 1 };
    CHECK_RUN(on, binary_forward, &m.shift);
    CHECK_RUN(on, group_norm_forward, &m.norm);
    CHECK_RUN(on, unary_forward, &m.silu);
    CHECK_RUN(on, fake_quant_forward, &m.quant);
    return m;
}

static dmq_real *fetch(const dmq_real *from, size_t count)
{
    dmq_real *x = check_reals(count);

    check_down_real(&check_device, x, from, count);
    return x;
}

/* ref defines both sides by the same formulas; a faster form may differ in the last bits. */
static void agree(const char *what, const dmq_real *got, const dmq_real *want, size_t count)
{
    if (check_device.backend == check_ref.backend) {
        check_equal(what, got, want, count);
    } else {
        check_same(what, got, want, count, 4 * check_unit, 4 * check_unit, 16);
    }
}

static void fused_is_the_composition(void **state)
{
    const check_on *on = &check_device;
    uint64_t stream = check_stream(4);
    check_op op = group_norm_op(&fused);
    check_arrays in = check_op_arrays(&op, &stream), v = check_op_arrays(&op, &stream);
    check_arrays got = check_op_arrays(&op, NULL);
    composition m = compose(&op, in.at);
    dmq_real *dy = check_random(COUNT, &stream), *out = check_reals(COUNT), *down;

    (void)state;
    op.step = 160.0 / 1024;
    check_op_compare(&op, "y", fetch(m.whole.y, COUNT),
                     check_doubles(fetch(m.quant.y, COUNT), COUNT), COUNT, 16, check_unit);

    op.jvp(&op, on, in.at, v.at, out);
    m.shift.p = check_up_real(on, v.at[0], COUNT);
    m.shift.q = check_up_real(on, v.at[1], SHIFTS);
    m.shift.y = check_room(on, NULL, COUNT);
    CHECK_RUN(on, binary_forward, &m.shift);
    m.norm.x_tan = m.shift.y;
    m.norm.gamma_tan = check_up_real(on, v.at[2], C);
    m.norm.beta_tan = check_up_real(on, v.at[3], C);
    m.norm.y_tan = check_room(on, NULL, COUNT);
    CHECK_RUN(on, group_norm_jvp, &m.norm);
    m.silu.v = m.norm.y_tan;
    m.silu.out = check_room(on, NULL, COUNT);
    CHECK_RUN(on, unary_derive, &m.silu);
    m.quant.x_tan = m.silu.out;
    m.quant.y_tan = check_room(on, NULL, COUNT);
    CHECK_RUN(on, fake_quant_jvp, &m.quant);
    agree("y_tan", out, fetch(m.quant.y_tan, COUNT), COUNT);

    op.backward(&op, on, in.at, dy, got.at, false);
    m.quant.dy = check_up_real(on, dy, COUNT);
    m.quant.dx = check_room(on, NULL, COUNT);
    CHECK_RUN(on, fake_quant_backward, &m.quant);
    m.silu.v = m.quant.dx;
    m.silu.out = check_room(on, NULL, COUNT);
    CHECK_RUN(on, unary_derive, &m.silu);
    m.norm.dy = m.silu.out;
    m.norm.dx = check_room(on, NULL, COUNT);
    m.norm.dgamma = check_room(on, NULL, C);
    m.norm.dbeta = check_room(on, NULL, C);
    CHECK_RUN(on, group_norm_backward, &m.norm);
    m.shift.dy = m.norm.dx;
    m.shift.dq = check_room(on, NULL, SHIFTS);
    CHECK_RUN(on, binary_backward, &m.shift);
    down = fetch(m.norm.dx, COUNT);
    agree("dx", got.at[0], down, COUNT);
    agree("dshift", got.at[1], fetch(m.shift.dq, SHIFTS), SHIFTS);
    agree("dgamma", got.at[2], fetch(m.norm.dgamma, C), C);
    agree("dbeta", got.at[3], fetch(m.norm.dbeta, C), C);
    check_report("fused");
}

static void outputs_may_be_left_out(void **state)
{
    uint64_t stream = check_stream(5);
    check_op op = group_norm_op(&fused);
    check_arrays in = check_op_arrays(&op, &stream), all = check_op_arrays(&op, NULL);
    dmq_real *dy = check_random(COUNT, &stream);

    (void)state;
    op.backward(&op, &check_device, in.at, dy, all.at, false);
    for (int k = 0; k < 4; k++) {
        dmq_group_norm_args a = group_norm_run(&op, &check_device, in.at);
        dmq_real *out = check_room(&check_device, NULL, op.count_in[k]);

        a.dy = check_up_real(&check_device, dy, COUNT);
        *(k == 0 ? &a.dx : k == 1 ? &a.dshift : k == 2 ? &a.dgamma : &a.dbeta) = out;
        CHECK_RUN(&check_device, group_norm_backward, &a);
        check_equal("alone", fetch(out, op.count_in[k]), all.at[k], op.count_in[k]);
    }
}

static void a_tangent_left_out_is_zero(void **state)
{
    uint64_t stream = check_stream(6);
    check_op op = group_norm_op(&fused);
    check_arrays in = check_op_arrays(&op, &stream), v = check_op_arrays(&op, &stream);
    dmq_real *got = check_reals(COUNT), *want = check_reals(COUNT);

    (void)state;
    for (int k = 0; k < 4; k++) {
        check_arrays alone = { { NULL } }, zeros = check_op_arrays(&op, NULL);

        alone.at[k] = zeros.at[k] = v.at[k];
        op.jvp(&op, &check_device, in.at, alone.at, got);
        op.jvp(&op, &check_device, in.at, zeros.at, want);
        check_same("y_tan", got, want, COUNT, check_unit, check_unit, 1);
    }
}

/* Statistics, values and gradients of an image have the same bits in any batch. */
static void an_image_does_not_know_its_batch(void **state)
{
    uint64_t stream = check_stream(7);
    group_norm_shape s = fused, one;
    check_op op, single;
    check_arrays in, din, part;
    dmq_real *y = check_reals(COUNT), *dy = check_random(COUNT, &stream), *yi = check_reals(IMAGE);

    (void)state;
    s.quant = 0; /* its table goes by the number of the image */
    one = s;
    one.n = 1;
    op = group_norm_op(&s);
    single = group_norm_op(&one);
    in = check_op_arrays(&op, &stream);
    din = check_op_arrays(&op, NULL);
    part = check_op_arrays(&single, NULL);
    op.forward(&op, &check_device, in.at, y, false);
    op.backward(&op, &check_device, in.at, dy, din.at, false);
    for (size_t n = 0; n < N; n++) {
        dmq_real *const in_n[CHECK_IN] = { in.at[0] + n * IMAGE, in.at[1] + n * C, in.at[2],
                                           in.at[3] };

        single.forward(&single, &check_device, in_n, yi, false);
        check_equal("y of one image", yi, y + n * IMAGE, IMAGE);
        single.backward(&single, &check_device, in_n, dy + n * IMAGE, part.at, false);
        check_equal("dx of one image", part.at[0], din.at[0] + n * IMAGE, IMAGE);
        check_equal("dshift of one image", part.at[1], din.at[1] + n * C, C);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(values_and_derivatives_are_pytorchs),
        CHECK_TEST(odd_shapes_keep_the_identities),
        CHECK_TEST(fused_is_the_composition),
        CHECK_TEST(outputs_may_be_left_out),
        CHECK_TEST(a_tangent_left_out_is_zero),
        CHECK_TEST(an_image_does_not_know_its_batch),
    };

    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
