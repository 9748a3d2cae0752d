/* The pretended NCCL between threads and between processes, and what it says to mistakes of its caller. */
#include "pretend/libraries/device_arrays.h"

#include <nccl.h>
#include <pthread.h>
#include <sys/stat.h>

enum { RANKS = 3, COUNT = 20 };

/* Tests of other threads and processes tell the line, of the innermost function, where they failed. */
#define TRY(call)                                     \
    do {                                              \
        int failure = (int)(call);                    \
        if (failure != 0)                             \
            return failure > 50 ? failure : __LINE__; \
    } while (0)

/* What rank r has at i, so that every sum and place is another. */
static float at(int rank, int i)
{
    return (float)(100 * rank + i);
}

typedef struct rank {
    int number;
    ncclUniqueId id;
    ncclComm_t comm;
    cudaStream_t stream;
    float *in, *out; /* of the device: COUNT, RANKS * COUNT */
    int failed;      /* the line */
} rank;

static int open_rank(rank *r)
{
    float host[COUNT];

    for (int i = 0; i < COUNT; i++)
        host[i] = at(r->number, i);
    TRY(cudaSetDevice(r->number));
    TRY(cudaStreamCreateWithFlags(&r->stream, cudaStreamNonBlocking));
    TRY(cudaMalloc((void **)&r->in, COUNT * sizeof(float)));
    TRY(cudaMalloc((void **)&r->out, RANKS * COUNT * sizeof(float)));
    TRY(cudaMemcpyAsync(r->in, host, sizeof host, cudaMemcpyHostToDevice, r->stream));
    TRY(cudaStreamSynchronize(r->stream));
    return 0;
}

static int close_rank(rank *r)
{
    TRY(cudaSetDevice(r->number));
    TRY(cudaStreamDestroy(r->stream));
    TRY(cudaFree(r->in));
    TRY(cudaFree(r->out));
    return 0;
}

static int read_out(const rank *r, float host[RANKS * COUNT])
{
    TRY(cudaMemcpyAsync(host, r->out, RANKS * COUNT * sizeof(float), cudaMemcpyDeviceToHost,
                        r->stream));
    TRY(cudaStreamSynchronize(r->stream));
    return 0;
}

/* ------------------------------------------------------------------ calls */

static int all_calls(rank *r)
{
    float host[RANKS * COUNT];
    int c = COUNT;

    for (int i = 0; i < c; i++)
        host[i] = at(r->number, i);
    TRY(cudaMemcpyAsync(r->out + r->number * c, host, COUNT * sizeof(float), cudaMemcpyHostToDevice,
                        r->stream));
    TRY(ncclAllGather(r->out + r->number * c, r->out, COUNT, ncclFloat, r->comm, r->stream));
    TRY(read_out(r, host));
    for (int i = 0; i < RANKS * c; i++)
        TRY(host[i] != at(i / c, i % c));
    TRY(ncclAllReduce(r->in, r->out, COUNT, ncclFloat, ncclSum, r->comm, r->stream));
    TRY(read_out(r, host));
    for (int i = 0; i < c; i++)
        TRY(host[i] != 3 * at(1, i));
    TRY(ncclBroadcast(r->in, r->out, COUNT, ncclFloat, 2, r->comm, r->stream));
    TRY(read_out(r, host));
    for (int i = 0; i < c; i++)
        TRY(host[i] != at(2, i));
    TRY(ncclGroupStart());
    for (int q = 0; q < RANKS; q++) {
        TRY(ncclSend(r->in + q, 1, ncclFloat, q, r->comm, r->stream));
        TRY(ncclRecv(r->out + q, 1, ncclFloat, q, r->comm, r->stream));
    }
    TRY(ncclGroupEnd());
    TRY(read_out(r, host));
    for (int q = 0; q < RANKS; q++)
        TRY(host[q] != at(q, r->number));
    return 0;
}

/* A sum that doubles with each launch, recorded once. */
static int recorded_calls(rank *r)
{
    float host[COUNT];
    cudaGraph_t graph;
    cudaGraphExec_t exec;

    TRY(cudaStreamBeginCapture(r->stream, cudaStreamCaptureModeThreadLocal));
    TRY(ncclAllReduce(r->in, r->in, COUNT, ncclFloat, ncclSum, r->comm, r->stream));
    TRY(cudaStreamEndCapture(r->stream, &graph));
    TRY(cudaGraphInstantiate(&exec, graph, 0));
    TRY(cudaGraphDestroy(graph));
    for (int i = 0; i < 3; i++)
        TRY(cudaGraphLaunch(exec, r->stream));
    TRY(cudaMemcpyAsync(host, r->in, sizeof host, cudaMemcpyDeviceToHost, r->stream));
    TRY(cudaStreamSynchronize(r->stream));
    for (int i = 0; i < COUNT; i++)
        TRY(host[i] != 27 * at(1, i));
    TRY(cudaGraphExecDestroy(exec));
    return 0;
}

static int work(rank *r)
{
    TRY(open_rank(r));
    TRY(ncclCommInitRankConfig(&r->comm, RANKS, r->id, r->number, NULL));
    TRY(all_calls(r));
    TRY(recorded_calls(r));
    TRY(ncclCommDestroy(r->comm));
    TRY(close_rank(r));
    return 0;
}

/* As one that does not block: each call of a new kind is asked after. */
static int settle(rank *r, ncclResult_t result)
{
    int asked = 0;

    while (result == ncclInProgress) {
        TRY(ncclCommGetAsyncError(r->comm, &result));
        TRY(asked++ > 100000);
    }
    TRY(result);
    return 0;
}

static int work_without_blocking(rank *r)
{
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    float host[RANKS * COUNT];

    config.blocking = 0;
    TRY(open_rank(r));
    TRY(settle(r, ncclCommInitRankConfig(&r->comm, RANKS, r->id, r->number, &config)));
    TRY(ncclAllReduce(r->in, r->out, COUNT, ncclFloat, ncclSum, r->comm, r->stream) !=
        ncclInProgress);
    TRY(settle(r, ncclInProgress));
    TRY(ncclAllReduce(r->in, r->out, COUNT, ncclFloat, ncclSum, r->comm, r->stream));
    TRY(read_out(r, host));
    for (int i = 0; i < COUNT; i++)
        TRY(host[i] != 3 * at(1, i));
    TRY(settle(r, ncclCommFinalize(r->comm)));
    TRY(ncclCommDestroy(r->comm));
    TRY(close_rank(r));
    return 0;
}

/* ------------------------------------------------------------------ threads, processes, one thread */

static int (*todo)(rank *r);

static void *run(void *with)
{
    rank *r = with;

    r->failed = todo(r);
    return NULL;
}

static void on_threads(int (*what)(rank *r), int ranks)
{
    rank r[RANKS];
    pthread_t thread[RANKS];

    todo = what;
    memset(r, 0, sizeof r);
    OK(ncclGetUniqueId(&r[0].id));
    for (int i = 0; i < ranks; i++) {
        r[i].number = i;
        r[i].id = r[0].id;
        OK(pthread_create(&thread[i], NULL, run, &r[i]));
    }
    for (int i = 0; i < ranks; i++)
        OK(pthread_join(thread[i], NULL));
    for (int i = 0; i < ranks; i++) {
        if (r[i].failed)
            fail_msg("rank %d failed at line %d", i, r[i].failed);
    }
}

static void ranks_are_threads(void **state)
{
    (void)state;
    on_threads(work, RANKS);
    on_threads(work_without_blocking, RANKS);
}

static void ranks_are_processes(void **state)
{
    ncclUniqueId id;
    pid_t child[RANKS];
    int status;

    (void)state;
    OK(ncclGetUniqueId(&id));
    for (int i = 0; i < RANKS; i++) {
        rank r = { .number = i, .id = id };

        (void)fflush(NULL);
        child[i] = fork();
        if (child[i] == 0) {
            int line = work(&r);

            if (line)
                (void)fprintf(stderr, "rank %d failed at line %d\n", i, line);
            exit(line != 0);
        }
    }
    for (int i = 0; i < RANKS; i++) {
        assert_int_equal(waitpid(child[i], &status, 0), child[i]);
        assert_int_equal(status, 0);
    }
}

static void one_thread_has_all_ranks(void **state)
{
    const int devices[RANKS] = { 0, 1, 2 };
    ncclComm_t comm[RANKS];
    rank r[RANKS];
    float host[RANKS * COUNT];

    (void)state;
    assert_int_equal(ncclCommInitAll(comm, 2, (const int[]){ 1, 1 }), ncclInvalidUsage);
    OK(ncclCommInitAll(comm, RANKS, devices));
    for (int i = 0; i < RANKS; i++) {
        r[i] = (rank){ .number = i, .comm = comm[i] };
        OK(open_rank(&r[i]));
    }
    OK(ncclGroupStart());
    for (int i = 0; i < RANKS; i++)
        OK(ncclAllReduce(r[i].in, r[i].out, COUNT, ncclFloat, ncclSum, comm[i], r[i].stream));
    OK(ncclGroupEnd());
    for (int i = 0; i < RANKS; i++) {
        OK(cudaSetDevice(i));
        OK(read_out(&r[i], host));
        for (int k = 0; k < COUNT; k++)
            assert_true(host[k] == 3 * at(1, k));
        OK(ncclCommDestroy(comm[i]));
        OK(close_rank(&r[i]));
    }
    OK(cudaSetDevice(0));
}

/* ------------------------------------------------------------------ mistakes */

static int open_two(rank *r, int device)
{
    TRY(open_rank(r));
    TRY(cudaSetDevice(device));
    TRY(ncclCommInitRankConfig(&r->comm, 2, r->id, r->number, NULL));
    return 0;
}

static int other_counts(rank *r)
{
    TRY(open_two(r, r->number));
    TRY(ncclAllReduce(r->in, r->out, (size_t)(COUNT - r->number), ncclFloat, ncclSum, r->comm,
                      r->stream));
    TRY(cudaStreamSynchronize(r->stream));
    return 0;
}

static int other_calls(rank *r)
{
    TRY(open_two(r, r->number));
    TRY(r->number ? ncclBroadcast(r->in, r->out, COUNT, ncclFloat, 0, r->comm, r->stream)
                  : ncclAllReduce(r->in, r->out, COUNT, ncclFloat, ncclSum, r->comm, r->stream));
    TRY(cudaStreamSynchronize(r->stream));
    return 0;
}

static int one_does_not_call(rank *r)
{
    TRY(open_two(r, r->number));
    if (r->number == 0)
        TRY(ncclAllReduce(r->in, r->out, COUNT, ncclFloat, ncclSum, r->comm, r->stream));
    TRY(cudaStreamSynchronize(r->stream));
    return 0;
}

/* Each sends first: outside of a group neither ever receives. */
static int both_send(rank *r)
{
    int other = 1 - r->number;

    TRY(open_two(r, r->number));
    TRY(ncclSend(r->in, COUNT, ncclFloat, other, r->comm, r->stream));
    TRY(ncclRecv(r->out, COUNT, ncclFloat, other, r->comm, r->stream));
    TRY(cudaStreamSynchronize(r->stream));
    return 0;
}

static int too_soon(rank *r)
{
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;

    config.blocking = 0;
    TRY(open_rank(r));
    TRY(settle(r, ncclCommInitRankConfig(&r->comm, 1, r->id, 0, &config)));
    (void)ncclAllReduce(r->in, r->out, COUNT, ncclFloat, ncclSum, r->comm, r->stream);
    (void)ncclAllReduce(r->in, r->out, COUNT, ncclFloat, ncclSum, r->comm, r->stream);
    return 0;
}

static int not_finalized(rank *r)
{
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;

    config.blocking = 0;
    TRY(settle(r, ncclCommInitRankConfig(&r->comm, 1, r->id, 0, &config)));
    (void)ncclCommDestroy(r->comm);
    return 0;
}

static int overlapping(rank *r)
{
    TRY(open_rank(r));
    TRY(ncclCommInitRankConfig(&r->comm, 1, r->id, 0, NULL));
    (void)ncclAllReduce(r->out, r->out + 1, COUNT, ncclFloat, ncclSum, r->comm, r->stream);
    return 0;
}

static int of_the_host(rank *r)
{
    static float host[COUNT];

    TRY(open_rank(r));
    TRY(ncclCommInitRankConfig(&r->comm, 1, r->id, 0, NULL));
    (void)ncclAllReduce(host, r->out, COUNT, ncclFloat, ncclSum, r->comm, r->stream);
    return 0;
}

static int runs_after_the_end(rank *r)
{
    TRY(open_rank(r));
    TRY(ncclCommInitRankConfig(&r->comm, 1, r->id, 0, NULL));
    TRY(ncclAllReduce(r->in, r->out, COUNT, ncclFloat, ncclSum, r->comm, r->stream));
    TRY(ncclCommDestroy(r->comm));
    TRY(cudaStreamSynchronize(r->stream));
    return 0;
}

static const struct mistake {
    int (*what)(rank *r);
    int ranks;
    const char *words;
} mistakes[] = {
    { other_counts, 2, "of 19 " },
    { other_calls, 2, "asks for operation" },
    { one_does_not_call, 2, "waits for ever" },
    { both_send, 2, "waits for ever" },
    { too_soon, 1, "still in progress" },
    { not_finalized, 1, "before ncclCommFinalize was done" },
    { overlapping, 1, "the result overlaps sendbuff" },
    { of_the_host, 1, "bytes of device memory" },
    { runs_after_the_end, 1, "after its communicator was destroyed" },
};

static void make(void *with)
{
    const struct mistake *m = with;

    (void)setenv("PRETEND_PATIENCE", "1", 1);
    on_threads(m->what, m->ranks);
}

static void mistakes_end_the_program(void **state)
{
    (void)state;
    if (getenv("PRETEND_ORDER"))
        skip(); /* some show where work is late alone */
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++)
        assert_dies(make, (void *)(uintptr_t)&mistakes[i], mistakes[i].words);
}

/* Two ranks on one device are refused; what is aborted comes to nothing, and its stream goes on. */
static int same_device(rank *r)
{
    TRY(open_rank(r));
    TRY(cudaSetDevice(0));
    TRY(ncclCommInitRankConfig(&r->comm, 2, r->id, r->number, NULL) != ncclInvalidUsage);
    TRY(strstr(ncclGetLastError(r->comm), "one device") == NULL);
    TRY(ncclCommAbort(r->comm));
    TRY(close_rank(r));
    return 0;
}

static int aborted(rank *r)
{
    TRY(open_two(r, r->number));
    if (r->number == 0)
        TRY(ncclAllReduce(r->in, r->out, COUNT, ncclFloat, ncclSum, r->comm, r->stream));
    TRY(ncclCommAbort(r->comm));
    TRY(cudaStreamSynchronize(r->stream));
    TRY(close_rank(r));
    return 0;
}

static void a_group_may_fail(void **state)
{
    (void)state;
    on_threads(same_device, 2);
    on_threads(aborted, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_are_threads),        cmocka_unit_test(ranks_are_processes),
        cmocka_unit_test(one_thread_has_all_ranks), cmocka_unit_test(mistakes_end_the_program),
        cmocka_unit_test(a_group_may_fail),
    };

    /* what those leave who die stays in the build folder */
    (void)mkdir("pretend_ranks", 0777);
    if (setenv("PRETEND_DEVICES", "3", 1) != 0 || setenv("TMPDIR", "pretend_ranks", 1) != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
