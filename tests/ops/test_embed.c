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

/* Rows of several tables, one launch: those of each look-up by itself. */
static void tables_are_gathered_at_once(void **state)
{
    static const struct {
        int n, n_parts, d[DMQ_GATHER_PARTS], rows[DMQ_GATHER_PARTS];
    } cases[] = { { 1, 1, { 1 }, { 1 } },
                  { 5, 2, { 12, 7 }, { 4, 9 } },
                  { 9, 4, { 64, 4, 400, 8 }, { 3, 20, 11, 1 } },
                  { 33, 3, { 36, 4, 128 }, { 50, 2, 7 } } };
    const check_on *on = &check_device;
    uint64_t stream = check_stream(8);

    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        dmq_gather_args a = { .n_parts = cases[c].n_parts, .n = cases[c].n };
        dmq_real *table[DMQ_GATHER_PARTS];
        int *index[DMQ_GATHER_PARTS];
        size_t n = (size_t)a.n;

        for (int p = 0; p < a.n_parts; p++) {
            int d = cases[c].d[p], rows = cases[c].rows[p];
            size_t count = n * (size_t)d;

            table[p] = check_random((size_t)rows * (size_t)d, &stream);
            table[p][0] = (dmq_real)NAN; /* moved as it is */
            index[p] = check_bytes(n, sizeof *index[p]);
            for (size_t i = 0; i < n; i++)
                index[p][i] = check_whole(&stream, 0, rows - 1);
            a.part[p] =
                (dmq_gather_part){ .table = check_up_real(on, table[p], (size_t)rows * (size_t)d),
                                   .index = check_up(on, index[p], n, sizeof *index[p]),
                                   .y = check_room(on, NULL, count),
                                   .d = d,
                                   .rows = rows };
        }
        CHECK_RUN(on, gather, &a);
        for (int p = 0; p < a.n_parts; p++) {
            size_t d = (size_t)cases[c].d[p];
            dmq_real *y = check_reals(n * d);

            check_down_real(on, y, a.part[p].y, n * d);
            for (size_t i = 0; i < n; i++)
                check_equal("gather", y + i * d, table[p] + (size_t)index[p][i] * d, d);
        }
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(values_and_derivatives_are_pytorchs),
        CHECK_TEST(odd_shapes_keep_the_identities),
        CHECK_TEST(time_embeddings_are_pytorchs),
        CHECK_TEST(tables_are_gathered_at_once),
    };

    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
