/* The tape on the reference backend, in float and also in double: identities that hold to 1e-9 there. */
#include "tape_cases.h"

enum { ALL_PASSES = DMQ_TAPE_BACKWARD | DMQ_TAPE_JVP };

static const int in_double = sizeof(dmq_real) == 8;

static void for_all(void (*check)(net *n, const tape_case *c), unsigned passes)
{
    for (int i = 0; i < TAPE_CASES; i++) {
        net *n = net_open(&check_device, passes, CASE_SAMPLES, tape_cases[i].record);

        check(n, &tape_cases[i]);
        net_close(n);
        (void)check_release(NULL);
    }
}

static void inner(net *n, const tape_case *c)
{
    net_check_inner(n, c->name, in_double ? 1e-12 : 2e-6);
}

static void differences(net *n, const tape_case *c)
{
    if (c->smooth)
        net_check_differences(n, c->name, in_double ? 1e-4 : 0.006, in_double ? 1e-9 : 1e-3);
}

static void inner_product(void **state)
{
    (void)state;
    for_all(inner, ALL_PASSES);
    for_all(inner, ALL_PASSES | DMQ_TAPE_NO_FUSION);
}

static void finite_differences(void **state)
{
    (void)state;
    for_all(differences, ALL_PASSES);
    for_all(differences, ALL_PASSES | DMQ_TAPE_NO_FUSION);
}

static void golden(void **state)
{
    (void)state;
    cases_check_golden(&check_device, ALL_PASSES, in_double ? 1e-9 : 1e-5);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { CHECK_TEST(inner_product), CHECK_TEST(finite_differences),
                                        CHECK_TEST(golden) };

    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
