/* The vector code's own functions against libm in double: what cpu_math.h promises. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "backend/cpu_math.h"

enum { BLOCK = 1024 };

/* In a loop over arrays, as the backend has it: the compiler's vectors are what is tested. */
typedef void block_fn(float *y, const float *x, float p);

DMQ_CLONES static void exp_block(float *y, const float *x, float p)
{
    (void)p;
    for (int i = 0; i < BLOCK; i++)
        y[i] = dmq_cpu_exp(x[i]);
}

DMQ_CLONES static void sigmoid_block(float *y, const float *x, float p)
{
    (void)p;
    for (int i = 0; i < BLOCK; i++)
        y[i] = dmq_cpu_sigmoid(x[i]);
}

DMQ_CLONES static void pow_block(float *y, const float *x, float p)
{
    for (int i = 0; i < BLOCK; i++)
        y[i] = dmq_cpu_pow(x[i], p);
}

static double sigmoid(double x, double p)
{
    (void)p;
    return 1 / (1 + exp(-x));
}

static double exponential(double x, double p)
{
    (void)p;
    return exp(x);
}

/* Distance from the true value in units of its last place as a float; subnormals: of the smallest. */
static double ulps(float got, double want)
{
    int e;

    (void)frexp(want, &e);
    return fabs((double)got - want) / ldexp(1.0, (e < -125 ? -125 : e) - 24);
}

/* Every step-th float from the bits first to last: worst distance where the result is a normal number. */
static double worst(block_fn *fn, double (*want)(double, double), float p, uint32_t first,
                    uint32_t last, uint32_t step)
{
    float x[BLOCK], y[BLOCK];
    double bad = 0;
    uint32_t bits = first;

    while (bits < last) {
        for (int i = 0; i < BLOCK; i++, bits += bits < last ? step : 0)
            x[i] = dmq_cpu_from_bits(bits < last ? bits : last);
        fn(y, x, p);
        for (int i = 0; i < BLOCK; i++) {
            double w = want((double)x[i], (double)p);

            if (w > 1.2e-38 && w < 1.7e38)
                bad = fmax(bad, ulps(y[i], w));
        }
    }
    return bad;
}

static void exponentials_are_good_to_an_ulp(void **state)
{
    (void)state;
    assert_true(worst(exp_block, exponential, 0, 0x00800000, 0x42b00000, 4099) <= 1.0);
    assert_true(worst(exp_block, exponential, 0, 0x80800000, 0xc2ae0000, 4099) <= 1.0);
    assert_true(worst(sigmoid_block, sigmoid, 0, 0x00800000, 0x42b00000, 4099) <= 3.0);
    assert_true(worst(sigmoid_block, sigmoid, 0, 0x80800000, 0xc2ae0000, 4099) <= 3.0);
}

static void powers_are_as_good_as_told(void **state)
{
    static const float power[] = { 1, 1.4F, 2, 2.4F, 3, 7.3F, 11, 19, 20, 32 };

    (void)state;
    for (size_t i = 0; i < sizeof power / sizeof power[0]; i++) {
        double bad = worst(pow_block, pow, power[i], 0x00800000, 0x7f7fffff, 2053);

        print_message("x^%g: %.2f ulp\n", (double)power[i], bad);
        assert_true(bad <= 1.5 + 1.2 * (double)power[i]);
    }
}

DMQ_CLONES static void gelu_tanh_block(float *y, float *slope, const float *x)
{
    for (int i = 0; i < BLOCK; i++) {
        y[i] = dmq_cpu_gelu_tanh(x[i]);
        slope[i] = dmq_cpu_gelu_tanh_slope(x[i]);
    }
}

/* Values in units of the last place of x, slopes in those of 1: far below zero both vanish beside those. */
static void gelu_by_tanh_is_as_good_as_told(void **state)
{
    const double c = 0.7978845608028654;
    float x[BLOCK], y[BLOCK], slope[BLOCK];
    double bad = 0, bad_slope = 0;

    (void)state;
    for (uint32_t bits = 0x33000000; bits < 0x42c80000; bits += 4099 * BLOCK) { /* 3e-8 to 100 */
        for (int i = 0; i < BLOCK; i++)
            x[i] = dmq_cpu_from_bits((bits + 4099 * (uint32_t)i) | (uint32_t)(i & 1) << 31);
        gelu_tanh_block(y, slope, x);
        for (int i = 0; i < BLOCK; i++) {
            double v = (double)x[i], s = 1 / (1 + exp(-2 * c * (v + 0.044715 * v * v * v)));
            double d = s + v * s * (1 - s) * 2 * c * (1 + 3 * 0.044715 * v * v);

            bad = fmax(bad, fabs((double)y[i] - v * s) / fabs(v) * 0x1p23);
            bad_slope = fmax(bad_slope, fabs((double)slope[i] - d) * 0x1p23);
        }
    }
    print_message("gelu_tanh: %.2f ulp of x, slope %.2f ulp of 1\n", bad, bad_slope);
    assert_true(bad > 0 && bad <= 2);
    assert_true(bad_slope > 0 && bad_slope <= 2);
}

static void ends_are_ends(void **state)
{
    (void)state;
    assert_true(dmq_cpu_exp(-INFINITY) == 0 && isinf(dmq_cpu_exp(INFINITY)));
    assert_true(dmq_cpu_exp(0) == 1 && isnan(dmq_cpu_exp(NAN)));
    assert_true(dmq_cpu_sigmoid(-INFINITY) == 0 && dmq_cpu_sigmoid(INFINITY) == 1);
    assert_true(dmq_cpu_sigmoid(0) == 0.5F && isnan(dmq_cpu_sigmoid(NAN)));
    assert_true(dmq_cpu_pow(0, 2.4F) == 0 && dmq_cpu_pow(1, 2.4F) == 1);
    assert_true(isinf(dmq_cpu_pow(INFINITY, 2.4F)) && isinf(dmq_cpu_pow(1e30F, 2.4F)));
    assert_true(dmq_cpu_pow(1e-30F, 2.4F) == 0 && isnan(dmq_cpu_pow(NAN, 2.4F)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exponentials_are_good_to_an_ulp),
        cmocka_unit_test(powers_are_as_good_as_told),
        cmocka_unit_test(gelu_by_tanh_is_as_good_as_told),
        cmocka_unit_test(ends_are_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
