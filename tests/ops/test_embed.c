/* Table lookup and the time embedding. */
#include "ops/op_layout.h"

static void values_and_derivatives_are_pytorchs(void **state)
{
    (void)state;
    embed_goldens();
}

static void odd_shapes_keep_the_identities(void **state)
{
    (void)state;
    embed_shapes();
}

/* Single precision may form t f in float: half an ulp of 999. */
static void time_embeddings_are_pytorchs(void **state)
{
    static const char *const groups[] = { "time_ddpm", "time_openaimodel", "time_small" };
    const double unit = sizeof(dmq_real) == 4 ? 1e-4 : 1e-12;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        dmq_h5 *file = check_golden_open("embed");
        const int32_t *shape = check_golden_whole(file, groups[i], "shape", 4);
        size_t count = CHECK_COUNT(shape[0], shape[1]);
        dmq_real *t = check_golden_real(file, groups[i], "t", (size_t)shape[0]);
        dmq_real *y = check_reals(count);
        dmq_time_embed_args a = {
            .n = shape[0], .d = shape[1], .divisor = (dmq_real)shape[2], .cos_first = shape[3]
        };

        a.t = check_up_real(&check_device, t, (size_t)shape[0]);
        a.y = check_room(&check_device, NULL, count);
        CHECK_RUN(&check_device, time_embed, &a);
        check_down_real(&check_device, y, a.y, count);
        check_close_to(groups[i], y, check_golden(file, groups[i], "out", count), count, unit, 0,
                       1);
        dmq_h5_close(file);
    }
    check_report("time_embed");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(values_and_derivatives_are_pytorchs),
        CHECK_TEST(odd_shapes_keep_the_identities),
        CHECK_TEST(time_embeddings_are_pytorchs),
    };

    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
