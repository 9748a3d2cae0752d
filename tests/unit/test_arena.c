/* The arena, and the shapes as messages tell them. */
#include "check.h"

#include "base/arena.h"
#include "tensor/shape.h"

static void pieces_stay_where_they_are(void **state)
{
    dmq_arena arena = { NULL };
    unsigned char *piece[400];
    const char *name = NULL;

    (void)state;
    for (size_t i = 0; i < 400; i++) {
        size_t bytes = i == 200 ? 100000 : i % 97; /* one that is larger than any chunk */
        void *p = NULL;

        CHECK_OK(dmq_arena_alloc(&p, &arena, bytes));
        piece[i] = p;
        assert_int_equal((uintptr_t)piece[i] % 16, 0);
        for (size_t k = 0; k < bytes; k++) {
            assert_int_equal(piece[i][k], 0);
            piece[i][k] = (unsigned char)(i % 251);
        }
    }
    for (size_t i = 0; i < 400; i++) {
        for (size_t k = 0; k < (i == 200 ? 100000 : i % 97); k++)
            assert_int_equal(piece[i][k], i % 251);
    }
    CHECK_OK(dmq_arena_strdup(&name, &arena, "conv_in.weight"));
    assert_string_equal(name, "conv_in.weight");
    CHECK_OK(dmq_arena_strdup(&name, &arena, NULL));
    assert_null(name);
    dmq_arena_release(&arena);
    assert_null(arena.chunk);
    dmq_arena_release(&arena);
}

static void a_failed_piece_changes_nothing(void **state)
{
    dmq_arena arena = { NULL };
    void *p = NULL;

    (void)state;
    dmq_alloc_fail_at(1);
    assert_int_equal(dmq_arena_alloc(&p, &arena, 10), DMQ_ENOMEM);
    dmq_alloc_fail_at(0);
    assert_null(p);
    assert_null(arena.chunk);
    CHECK_OK(dmq_arena_alloc(&p, &arena, 10));
    dmq_arena_release(&arena);
}

static void shapes_are_told_as_files_hold_them(void **state)
{
    (void)state;
    assert_string_equal(dmq_shape_text(dmq_shape4(32, 16, 20, 3)), "(32, 3, 16, 20)");
    assert_string_equal(dmq_shape_text(dmq_shape3(2, 7, 5)), "(2, 7, 5)");
    assert_string_equal(dmq_shape_text(dmq_shape2(2, 7)), "(2, 7)");
    assert_string_equal(dmq_shape_text(dmq_shape1(9)), "(9)");
    assert_true(dmq_shape_count(dmq_shape4(1 << 14, 1 << 14, 1 << 4, 3)) == 3ULL << 32);
    assert_true(dmq_shape_equal(dmq_shape2(2, 1), dmq_shape2(2, 1)));
    assert_false(dmq_shape_equal(dmq_shape2(2, 1), dmq_shape1(2)));
    assert_false(dmq_shape_equal(dmq_shape2(2, 1), dmq_shape2(1, 2)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(pieces_stay_where_they_are),
        CHECK_TEST(a_failed_piece_changes_nothing),
        CHECK_TEST(shapes_are_told_as_files_hold_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
