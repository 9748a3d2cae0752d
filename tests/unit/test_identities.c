/* The reference against PyTorch and itself, also in double: derivatives that are wrong by little show there. */
#include "ops/op_conv2d.h"
#include "ops/op_layout.h"
#include "ops/op_matmul.h"
#include "ops/op_norm.h"
#include "ops/op_pointwise.h"
#include "ops/op_softmax.h"

#define TEST_OF(name)              \
    static void name(void **state) \
    {                              \
        (void)state;               \
        name##_goldens();          \
        name##_shapes();           \
    }

static void xent_shapes(void) /* with softmax */
{
}

TEST_OF(conv2d)
TEST_OF(matmul)
TEST_OF(softmax)
TEST_OF(xent)
TEST_OF(group_norm)
TEST_OF(layer_norm)
TEST_OF(pointwise)
TEST_OF(layout)
TEST_OF(resample)
TEST_OF(embed)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(conv2d),     CHECK_TEST(matmul),     CHECK_TEST(softmax),   CHECK_TEST(xent),
        CHECK_TEST(group_norm), CHECK_TEST(layer_norm), CHECK_TEST(pointwise), CHECK_TEST(layout),
        CHECK_TEST(resample),   CHECK_TEST(embed),
    };

    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
