/* Nearest up-sampling and average pooling. */
#include "ops/op_layout.h"

static void values_and_derivatives_are_pytorchs(void **state)
{
    (void)state;
    resample_goldens();
}

static void odd_shapes_keep_the_identities(void **state)
{
    (void)state;
    resample_shapes();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(values_and_derivatives_are_pytorchs),
        CHECK_TEST(odd_shapes_keep_the_identities),
    };

    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
