/* Dealing: every item to one rank, in order, evenly, whatever the numbers. */
#include "dist/shard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 64 };

static void check_deal(const dmq_deal *d)
{
    int seen[MOST] = { 0 }, sum = 0, most = 0, least = MOST, w = d->group > 0 ? d->group : 1;

    for (int rank = 0; rank < d->size; rank++) {
        int count = dmq_deal_count(d, rank), last = -1;

        for (int i = 0; i < count; i++) {
            int item = dmq_deal_item(d, rank, i), at = -1;

            assert_in_range(item, 0, d->n - 1);
            assert_true(item > last); /* ascending */
            assert_int_equal(seen[item], 0);
            seen[item] = 1;
            assert_int_equal(dmq_deal_owner(&at, d, item), rank);
            assert_int_equal(at, i);
            assert_int_equal(dmq_deal_owner(NULL, d, item / w * w), rank); /* groups stay whole */
            last = item;
        }
        sum += count;
        most = count > most ? count : most;
        least = count < least ? count : least;
    }
    assert_int_equal(sum, d->n);
    assert_int_equal(dmq_deal_most(d), most);
    /* in groups they differ by one at most; the short group may be one more */
    assert_true(most - least <= w + (d->n % w ? w - 1 : 0));
}

static void every_item_has_one_owner(void **state)
{
    static const int sizes[] = { 1, 2, 3, 4, 7, 8, 20 };

    (void)state;
    for (int n = 0; n <= 41; n++) {
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            for (int group = 0; group <= 6; group++) {
                check_deal(&(dmq_deal){ n, sizes[s], group, DMQ_DEAL_BLOCKS });
                check_deal(&(dmq_deal){ n, sizes[s], group, DMQ_DEAL_ROUND });
            }
        }
    }
}

static void known_deals(void **state)
{
    dmq_deal blocks = { 10, 4, 1, DMQ_DEAL_BLOCKS }, round = { 10, 4, 1, DMQ_DEAL_ROUND };
    dmq_deal groups = { 100, 8, 20, DMQ_DEAL_ROUND }; /* 5 groups of timesteps on 8 ranks */

    (void)state;
    assert_int_equal(dmq_deal_count(&blocks, 0), 3); /* 0 1 2 | 3 4 5 | 6 7 | 8 9 */
    assert_int_equal(dmq_deal_count(&blocks, 2), 2);
    assert_int_equal(dmq_deal_item(&blocks, 2, 0), 6);
    assert_int_equal(dmq_deal_item(&blocks, 3, 1), 9);
    assert_int_equal(dmq_deal_owner(NULL, &blocks, 5), 1);
    assert_int_equal(dmq_deal_item(&round, 1, 2), 9); /* 1 5 9 */
    assert_int_equal(dmq_deal_count(&round, 2), 2);   /* 2 6 */
    assert_int_equal(dmq_deal_count(&groups, 4), 20);
    assert_int_equal(dmq_deal_count(&groups, 5), 0);
    assert_int_equal(dmq_deal_item(&groups, 4, 19), 99);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_item_has_one_owner),
                                        cmocka_unit_test(known_deals) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
