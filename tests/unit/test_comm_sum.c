/* Sums over ranks: the bits of one rank, whatever the ranks, the deal, the form and the room. */
#include "base/memory.h"
#include "dist/sum.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "comm_ranks.h"

enum { PIECES = 13, COUNT = 1003 };

static rank_thread rank[RANKS];
static dmq_real piece[PIECES][COUNT], want[COUNT];

/* Numbers of very different sizes, so that another order of addition shows. */
static void make_pieces(void)
{
    uint32_t x = 12345;

    for (int k = 0; k < PIECES; k++) {
        for (int i = 0; i < COUNT; i++) {
            x = x * 1664525 + 1013904223;
            piece[k][i] = (dmq_real)((double)(int32_t)x * (k % 3 == 0 ? 1e-3 : 1e-9));
        }
    }
}

static void sum_in_order(const dmq_backend *be)
{
    const dmq_real *row[PIECES];
    dmq_queue *queue = NULL;

    for (int k = 0; k < PIECES; k++)
        row[k] = piece[k];
    assert_int_equal(be->queue_create(&queue, 0), DMQ_OK);
    assert_int_equal(be->sum_blocks(queue, &(dmq_sum_blocks_args){ .x = row,
                                                                   .y = want,
                                                                   .n_blocks = PIECES,
                                                                   .count = COUNT,
                                                                   .alpha = (dmq_real)0.1 }),
                     DMQ_OK);
    be->queue_destroy(queue);
}

typedef struct sum_case {
    dmq_sum_form form;
    dmq_deal_kind kind;
    int group;
    size_t room_bytes;
    int waves; /* at least; 0: any */
} sum_case;

static dmq_status up(dmq_real **out, const rank_place *at, const dmq_real *host)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(at->be->alloc((void **)out, COUNT * sizeof *host));
    if (host)
        DMQ_TRY(at->be->upload(at->queue, *out, host, COUNT * sizeof *host));
    DMQ_TRY(at->be->sync(at->queue));
done:
    return st;
}

static dmq_status add(rank_place *at)
{
    const sum_case *c = at->context;
    dmq_sum_config config = { .deal = { PIECES, at->size, c->group, c->kind },
                              .count = COUNT,
                              .room_bytes = c->room_bytes,
                              .form = c->form };
    dmq_real *own[PIECES] = { NULL }, *y = NULL, got[COUNT];
    const dmq_real *row[PIECES];
    int n = dmq_deal_count(&config.deal, at->rank);
    dmq_sum *sum = NULL;
    dmq_sum_plan plan;
    dmq_status st = DMQ_OK;

    for (int i = 0; i < n; i++) {
        DMQ_TRY(up(&own[i], at, piece[dmq_deal_item(&config.deal, at->rank, i)]));
        row[i] = own[i];
    }
    DMQ_TRY(up(&y, at, NULL));
    DMQ_TRY(dmq_sum_create(&sum, at->comm, &config));
    dmq_sum_tell(&plan, sum);
    if (at->size > 1 && plan.waves < c->waves)
        DMQ_TRY(dmq_fail(DMQ_EDATA, "%d waves, not %d", plan.waves, c->waves));
    if (c->room_bytes && plan.room_bytes > c->room_bytes)
        DMQ_TRY(dmq_fail(DMQ_EDATA, "%zu bytes of room", plan.room_bytes));
    for (int round = 0; round < 2; round++) {
        DMQ_TRY(dmq_sum_run(sum, at->queue, y, n > 0 ? row : NULL, (dmq_real)0.1));
        DMQ_TRY(dmq_comm_sync(at->comm, at->queue));
        DMQ_TRY(at->be->download(at->queue, got, y, sizeof got));
        DMQ_TRY(at->be->sync(at->queue));
        if (memcmp(got, want, sizeof got) != 0)
            DMQ_TRY(dmq_fail(DMQ_EDATA, "other bits than one rank's"));
    }
done:
    dmq_sum_destroy(sum);
    at->be->free(y);
    for (int i = 0; i < n; i++)
        at->be->free(own[i]);
    return st;
}

static void any_number_of_ranks_gives_the_same_bits(void **state)
{
    static const int sizes[] = { 1, 2, 3, 4, 8 };
    static const sum_case cases[] = {
        { DMQ_SUM_GATHER, DMQ_DEAL_BLOCKS, 1, 0, 1 },
        { DMQ_SUM_SCATTER, DMQ_DEAL_BLOCKS, 1, 0, 1 },
        { DMQ_SUM_GATHER, DMQ_DEAL_ROUND, 1, 0, 1 },
        { DMQ_SUM_SCATTER, DMQ_DEAL_ROUND, 3, 0, 1 },
        { DMQ_SUM_AUTO, DMQ_DEAL_ROUND, 5, 0, 1 }, /* 3 groups: most of 8 ranks have none */
        { DMQ_SUM_GATHER, DMQ_DEAL_BLOCKS, 1, 8192, 2 },
        { DMQ_SUM_SCATTER, DMQ_DEAL_ROUND, 1, 8192, 2 },
    };
    const dmq_backend *backends[] = { dmq_backend_ref(), dmq_backend_check(), dmq_backend_cpu() };

    (void)state;
    for (size_t b = 0; b < sizeof backends / sizeof *backends; b++) {
        sum_in_order(backends[b]->host_memory ? backends[b] : dmq_backend_ref());
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
                sum_case one = cases[c];

                ranks_all_well(rank, sizes[s], backends[b], add, &one);
            }
        }
    }
}

/* The test could not see another order if the numbers did not: halves added first have other bits. */
static void another_order_has_other_bits(void **state)
{
    const dmq_backend *be = dmq_backend_ref();
    const dmq_real *row[PIECES], *halves[2];
    static dmq_real half[2][COUNT], other[COUNT];
    dmq_queue *queue = NULL;

    (void)state;
    sum_in_order(be);
    for (int k = 0; k < PIECES; k++)
        row[k] = piece[k];
    halves[0] = half[0];
    halves[1] = half[1];
    assert_int_equal(be->queue_create(&queue, 0), DMQ_OK);
    for (int h = 0; h < 2; h++) {
        assert_int_equal(be->sum_blocks(queue, &(dmq_sum_blocks_args){ .x = row + h * 7,
                                                                       .y = half[h],
                                                                       .n_blocks = h ? 6 : 7,
                                                                       .count = COUNT,
                                                                       .alpha = 1 }),
                         DMQ_OK);
    }
    assert_int_equal(be->sum_blocks(queue, &(dmq_sum_blocks_args){ .x = halves,
                                                                   .y = other,
                                                                   .n_blocks = 2,
                                                                   .count = COUNT,
                                                                   .alpha = (dmq_real)0.1 }),
                     DMQ_OK);
    be->queue_destroy(queue);
    assert_memory_not_equal(other, want, sizeof other);
}

static dmq_status count_allocations(rank_place *at)
{
    dmq_sum_config config = { .deal = { 2 * at->size, at->size, 1, DMQ_DEAL_BLOCKS },
                              .count = COUNT,
                              .form = DMQ_SUM_SCATTER };
    const dmq_real *row[2] = { piece[0], piece[1] };
    dmq_real y[COUNT];
    dmq_sum *sum = NULL;
    dmq_status st = DMQ_OK;
    long before = 0;

    DMQ_TRY(dmq_sum_create(&sum, at->comm, &config));
    for (int i = 0; i < 5; i++) {
        DMQ_TRY(dmq_comm_barrier(at->comm));
        if (i == 1)
            before = dmq_alloc_count();
        DMQ_TRY(dmq_sum_run(sum, at->queue, y, row, 1));
        DMQ_TRY(dmq_comm_barrier(at->comm));
        if (i > 0 && dmq_alloc_count() != before)
            DMQ_TRY(dmq_fail(DMQ_EDATA, "%ld allocations in a sum", dmq_alloc_count() - before));
        DMQ_TRY(dmq_comm_barrier(at->comm));
    }
done:
    dmq_sum_destroy(sum);
    return st;
}

static void nothing_is_allocated_in_a_sum(void **state)
{
    (void)state;
    ranks_all_well(rank, 3, dmq_backend_ref(), count_allocations, NULL);
}

static void the_plan_is_told(void **state)
{
    dmq_comm_config config = { .backend = dmq_backend_ref() };
    dmq_sum_config sum_config = { .deal = { PIECES, 1, 1, DMQ_DEAL_BLOCKS }, .count = COUNT };
    dmq_sum_plan plan;
    dmq_comm *comm = NULL;
    dmq_sum *sum = NULL;

    (void)state;
    assert_int_equal(dmq_comm_self(&comm, &config), DMQ_OK);
    for (int n = 1; n <= 2; n++) {
        dmq_alloc_fail_at(n);
        assert_int_equal(dmq_sum_create(&sum, comm, &sum_config), DMQ_ENOMEM);
        assert_null(sum);
    }
    dmq_alloc_fail_at(0);
    assert_int_equal(dmq_sum_create(&sum, comm, &sum_config), DMQ_OK);
    dmq_sum_tell(&plan, sum);
    assert_int_equal(plan.form, DMQ_SUM_GATHER); /* 4012 bytes */
    assert_true(plan.sent_bytes == 0 && plan.waves == 1 && plan.room_bytes == 0);
    dmq_sum_destroy(sum);
    dmq_comm_destroy(comm);
}

static dmq_status tell_traffic(rank_place *at)
{
    dmq_sum_config config = { .deal = { 8, 4, 1, DMQ_DEAL_BLOCKS }, .count = 1 << 16 };
    double mib = 1048576, each = (1 << 16) * sizeof(dmq_real), scatter, gather;
    dmq_sum *sum = NULL;
    dmq_sum_plan plan = { DMQ_SUM_AUTO, 0, 0, 0 };
    dmq_status st = DMQ_OK;

    scatter = 3.0 / 4 * 3 * each;
    gather = 3.0 * 2 * each;
    DMQ_TRY(dmq_sum_create(&sum, at->comm, &config));
    dmq_sum_tell(&plan, sum);
    if (plan.form != DMQ_SUM_SCATTER || plan.sent_bytes != scatter)
        DMQ_TRY(dmq_fail(DMQ_EDATA, "scatter: %g MiB", plan.sent_bytes / mib));
    dmq_sum_destroy(sum);
    sum = NULL;
    config.form = DMQ_SUM_GATHER;
    DMQ_TRY(dmq_sum_create(&sum, at->comm, &config));
    dmq_sum_tell(&plan, sum);
    if (plan.form != DMQ_SUM_GATHER || plan.sent_bytes != gather)
        DMQ_TRY(dmq_fail(DMQ_EDATA, "gather: %g MiB", plan.sent_bytes / mib));
    dmq_sum_destroy(sum);
    sum = NULL;
    config.room_bytes = 100;
    if (dmq_sum_create(&sum, at->comm, &config) != DMQ_ENOMEM)
        DMQ_TRY(dmq_fail(DMQ_EDATA, "a sum in 100 bytes"));
done:
    dmq_sum_destroy(sum);
    return st;
}

static void the_traffic_is_told(void **state)
{
    (void)state;
    ranks_all_well(rank, 4, dmq_backend_ref(), tell_traffic, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_of_ranks_gives_the_same_bits),
        cmocka_unit_test(another_order_has_other_bits),
        cmocka_unit_test(nothing_is_allocated_in_a_sum),
        cmocka_unit_test(the_plan_is_told),
        cmocka_unit_test(the_traffic_is_told),
    };

    make_pieces();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
