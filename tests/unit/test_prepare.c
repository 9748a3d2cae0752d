/* Images made square and small: PIL's levels, each of them. */
#include "base/memory.h"
#include "check.h"
#include "eval/prepare.h"

#include <stdlib.h>

static uint8_t *levels(dmq_h5 *golden, const char *group, const char *name, size_t count)
{
    uint8_t *out = check_bytes(count, 1);
    char path[64];

    (void)snprintf(path, sizeof path, "%s/%s", group, name);
    CHECK_OK(dmq_h5_read_u8(out, golden, path, DMQ_DIMS((int64_t)count)));
    return out;
}

static void levels_are_pils(void **state)
{
    dmq_h5 *golden = check_golden_open("pictures");
    int cases = 0;

    (void)state;
    for (;; cases++) {
        char group[32];
        const int32_t *size;
        dmq_picture in;
        size_t n;

        (void)snprintf(group, sizeof group, "prepare_%d", cases);
        if (!dmq_h5_has(golden, group))
            break;
        size = check_golden_whole(golden, group, "size", 3);
        in = (dmq_picture){ .width = size[0], .height = size[1] };
        in.rgb = levels(golden, group, "in", (size_t)size[0] * (size_t)size[1] * 3);
        n = (size_t)size[2] * (size_t)size[2] * 3;
        for (int how = DMQ_PREPARE_LDM; how <= DMQ_PREPARE_ADM; how++) {
            const uint8_t *want = levels(golden, group, how == DMQ_PREPARE_LDM ? "ldm" : "adm", n);
            uint8_t *got = check_bytes(n, 1);

            CHECK_OK(dmq_prepare_run(got, &in, (dmq_prepare)how, size[2]));
            for (size_t i = 0; i < n; i++) {
                if (got[i] != want[i])
                    fail_msg("%s, %s: level %zu is %d, PIL's %d", group,
                             dmq_prepare_text((dmq_prepare)how), i, got[i], want[i]);
            }
        }
    }
    assert_int_equal(cases, 10);
    dmq_h5_close(golden);
}

/* Weights sum to one but for their last bits: one colour stays what it is, at every size. */
static void one_colour_stays(void **state)
{
    enum { W = 29, H = 31 };
    uint8_t rgb[W * H * 3];
    dmq_picture in = { W, H, rgb }, out;

    (void)state;
    for (int i = 0; i < W * H * 3; i++)
        rgb[i] = (uint8_t)(i % 3 == 0 ? 255 : i % 3 == 1 ? 101 : 0);
    for (int n = 1; n < 70; n += 4) {
        for (int filter = DMQ_FILTER_BOX; filter <= DMQ_FILTER_BICUBIC; filter++) {
            CHECK_OK(dmq_picture_resize(&out, &in, n, 70 - n, (dmq_filter)filter));
            for (int i = 0; i < n * (70 - n); i++)
                assert_memory_equal(out.rgb + 3 * i, rgb, 3);
            dmq_picture_release(&out);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(levels_are_pils),
        CHECK_TEST(one_colour_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
