/* The group over NCCL: ranks are processes with one device each. Asked of the pretended device and its NCCL, and of
   real ones where there are enough. */
#include "cuda/device.h"
#include "dist/sum.h"

#include "unit/comm_processes.h"

enum { PIECES = 9, COUNT = 5003, REPLAYS = 3 };

static int devices; /* of this machine */

/* Ranks on devices of their own; 0 where there are too few. */
static int prepare_devices(int size, double limit, rank_fn *fn, void *context)
{
    static char name[RANKS][24];

    if (devices < size) {
        print_message("skipped: %d ranks on %d devices\n", size, devices);
        return 0;
    }
    prepare(size, limit, fn, context);
    for (int r = 0; r < size; r++) {
        (void)snprintf(name[r], sizeof name[r], "cuda:%d", r);
        rank[r].backend = name[r];
        rank[r].way = DMQ_COMM_DEVICE;
    }
    return 1;
}

static dmq_status check_way(const rank_place *at, const char *want)
{
    const char *is = dmq_comm_way_name(at->comm);

    return strncmp(is, want, strlen(want)) == 0 ? DMQ_OK
                                                : dmq_fail(DMQ_EDATA, "%s, not %s", is, want);
}

static dmq_status move_and_talk(rank_place *at)
{
    size_t counts[] = { 1, 4096, 70001 };
    dmq_status st = DMQ_OK;

    DMQ_TRY(check_way(at, "NCCL"));
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        at->context = &counts[i];
        DMQ_TRY(move_all(at));
    }
    DMQ_TRY(dmq_comm_barrier(at->comm));
done:
    return st;
}

static void parts_arrive(void **state)
{
    (void)state;
    for (int size = 1; size <= 4; size++) {
        if (prepare_devices(size, 60, move_and_talk, NULL)) {
            start_all(size);
            all_well(size);
        }
    }
}

/* ------------------------------------------------------------------ sums, recorded */

static float number(int piece, int i, int round)
{
    return (float)((i * 7 + piece * 13 + round * 3) % 101 - 50) * (piece % 3 ? 1e-4F : 1e3F);
}

typedef struct sums {
    dmq_sum *sum;
    float *piece[PIECES], *all[PIECES], *y, *want;
    const float *row[PIECES];
} sums;

static dmq_status open_sums(sums *s, const rank_place *at, dmq_sum_form form)
{
    dmq_sum_config config = { .deal = { PIECES, at->size, 1, DMQ_DEAL_ROUND },
                              .count = COUNT,
                              .room_bytes = 100000,
                              .form = form };
    dmq_status st = DMQ_OK;

    for (int k = 0; k < PIECES; k++)
        DMQ_TRY(at->be->alloc((void **)&s->all[k], COUNT * sizeof(float)));
    for (int i = 0; i < dmq_deal_count(&config.deal, at->rank); i++)
        s->row[i] = s->all[dmq_deal_item(&config.deal, at->rank, i)];
    DMQ_TRY(at->be->alloc((void **)&s->y, COUNT * sizeof(float)));
    DMQ_TRY(at->be->alloc((void **)&s->want, COUNT * sizeof(float)));
    DMQ_TRY(dmq_sum_create(&s->sum, at->comm, &config));
done:
    return st;
}

/* New numbers in all pieces, and what their sum is on one device. */
static dmq_status fill_sums(sums *s, const rank_place *at, int round)
{
    float host[COUNT];
    const float *row[PIECES];
    dmq_status st = DMQ_OK;

    for (int k = 0; k < PIECES; k++) {
        for (int i = 0; i < COUNT; i++)
            host[i] = number(k, i, round);
        DMQ_TRY(at->be->upload(at->queue, s->all[k], host, sizeof host));
        row[k] = s->all[k];
    }
    DMQ_TRY(at->be->sum_blocks(
        at->queue,
        &(dmq_sum_blocks_args){
            .x = row, .y = s->want, .n_blocks = PIECES, .count = COUNT, .alpha = 0.3F }));
    DMQ_TRY(at->be->sync(at->queue));
done:
    return st;
}

static dmq_status compare_sums(const sums *s, const rank_place *at)
{
    float got[COUNT], want[COUNT];
    dmq_status st = DMQ_OK;

    DMQ_TRY(at->be->download(at->queue, got, s->y, sizeof got));
    DMQ_TRY(at->be->download(at->queue, want, s->want, sizeof want));
    DMQ_TRY(at->be->sync(at->queue));
    if (memcmp(got, want, sizeof got) != 0)
        st = dmq_fail(DMQ_EDATA, "other bits than one device's: %g for %g", (double)got[0],
                      (double)want[0]);
done:
    return st;
}

static dmq_status add_recorded(rank_place *at)
{
    sums s = { 0 };
    void *graph = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(open_sums(&s, at, *(const dmq_sum_form *)at->context));
    DMQ_TRY(fill_sums(&s, at, 0));
    DMQ_TRY(dmq_sum_run(s.sum, at->queue, s.y, s.row, 0.3F));
    DMQ_TRY(dmq_comm_sync(at->comm, at->queue));
    DMQ_TRY(compare_sums(&s, at));
    DMQ_TRY(at->be->capture_begin(at->queue));
    st = dmq_sum_run(s.sum, at->queue, s.y, s.row, 0.3F);
    if (st == DMQ_OK)
        st = dmq_comm_sync(at->comm, at->queue); /* nothing to wait for */
    DMQ_TRY(at->be->capture_end(at->queue, &graph));
    DMQ_TRY(st);
    for (int round = 1; round <= REPLAYS; round++) {
        DMQ_TRY(fill_sums(&s, at, round));
        DMQ_TRY(at->be->graph_launch(at->queue, graph));
        DMQ_TRY(dmq_comm_sync(at->comm, at->queue));
        DMQ_TRY(compare_sums(&s, at));
    }
done:
    at->be->graph_destroy(graph);
    dmq_sum_destroy(s.sum);
    for (int k = 0; k < PIECES; k++)
        at->be->free(s.all[k]);
    at->be->free(s.y);
    at->be->free(s.want);
    return st;
}

static void sums_are_recorded_and_have_the_same_bits(void **state)
{
    static const int sizes[] = { 1, 2, 4 };

    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        for (dmq_sum_form form = DMQ_SUM_GATHER; form <= DMQ_SUM_SCATTER; form++) {
            if (prepare_devices(sizes[s], 60, add_recorded, &form)) {
                start_all(sizes[s]);
                all_well(sizes[s]);
            }
        }
    }
}

/* ------------------------------------------------------------------ failures */

/* All ask for a call, but the last rank does not come to the next one: it dies, sleeps, or fails by itself. */
static dmq_status wait_for_last(rank_place *at)
{
    int how = *(const int *)at->context;
    void *data = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(at->be->alloc(&data, (size_t)at->size * 1000));
    DMQ_TRY(dmq_comm_all_gather(at->comm, at->queue, data, 1000));
    DMQ_TRY(dmq_comm_sync(at->comm, at->queue));
    if (at->rank == at->size - 1) {
        if (how == SIGKILL)
            (void)raise(SIGKILL);
        if (how == 0) {
            st = dmq_fail(DMQ_ENOMEM, "no room for the cache");
            dmq_comm_fail(at->comm);
            goto done;
        }
        rank_sleep(3);
    }
    DMQ_TRY(dmq_comm_all_gather(at->comm, at->queue, data, 1000));
    DMQ_TRY(dmq_comm_sync(at->comm, at->queue));
done:
    at->be->free(data);
    return st;
}

static void who_does_not_come_is_named(void **state)
{
    static const struct {
        int how, code;
        double limit;
        const char *says;
    } cases[] = { { SIGKILL, 128 + SIGKILL, 60, "rank 2 (" },
                  { 0, 71, 60, "failed: no room for the cache" },
                  { SIGALRM, 76, 1, "it does not wait with the others" } };

    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        int how = cases[c].how;

        if (!prepare_devices(3, cases[c].limit, wait_for_last, &how))
            continue;
        start_all(3);
        for (int r = 0; r < 3; r++) {
            int code = finish(&rank[r]);

            if (code != (r == 2 ? cases[c].code : 76))
                fail_msg("rank %d: exit %d: %s", r, code, outcomes[r].message);
            if (r < 2) {
                contains(outcomes[r].message, "rank 2 (");
                contains(outcomes[r].message, cases[c].says);
                assert_true(outcomes[r].seconds < 30);
            }
        }
    }
}

/* Two ranks on one device: NCCL cannot, the hosts can. */
static dmq_status move_by_host(rank_place *at)
{
    size_t bytes = 4096;
    dmq_status st = DMQ_OK;

    at->context = &bytes;
    DMQ_TRY(check_way(at, "host"));
    DMQ_TRY(move_all(at));
done:
    return st;
}

static void one_device_is_shared_over_the_host(void **state)
{
    (void)state;
    if (!prepare_devices(1, 20, move_by_host, NULL))
        return;
    prepare(2, 20, move_by_host, NULL);
    rank[0].backend = rank[1].backend = "cuda:0";
    start_all(2);
    all_well(2);
    for (int r = 0; r < 2; r++)
        rank[r].way = DMQ_COMM_DEVICE;
    start_all(2);
    for (int r = 0; r < 2; r++) {
        int code = finish(&rank[r]);

        if (code != 69 && code != 76)
            fail_msg("rank %d: exit %d: %s", r, code, outcomes[r].message);
    }
}

/* Asked by a process of its own, since those that are forked later must be the first to open theirs. */
static int count_devices(void)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        const char *why = "";
        int count = dmq_cuda_count(&why);

        if (count == 0)
            print_message("skipped: %s\n", why);
        (void)fflush(NULL);
        _exit(count < RANKS ? count : RANKS);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status)
                                                                           : 0;
}

/* What a killed rank leaves goes with the folder. */
static int make_place(void **state)
{
    return scratch_make(state) == 0 ? setenv("TMPDIR", scratch_folder, 1) : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_arrive),
        cmocka_unit_test(sums_are_recorded_and_have_the_same_bits),
        cmocka_unit_test(who_does_not_come_is_named),
        cmocka_unit_test(one_device_is_shared_over_the_host),
    };

    devices = count_devices();
    if (devices == 0)
        return 77;
    return outcomes_open() ? cmocka_run_group_tests(tests, make_place, scratch_remove) : 1;
}
