/* Memory that the host cannot touch, the arguments that must point there, and mirrors (also in double). */
#include "backend/apart.h"
#include "backend/mirror.h"
#include "check.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { COUNT = 1000 };

typedef void touch_fn(dmq_real *memory, size_t count);

/* A process of its own does it: how it ends, and what it says. */
static int end_of(touch_fn *touch, char *said, size_t size)
{
    int pipes[2], status = 0;
    size_t n = 0;
    ssize_t got;
    pid_t child;

    assert_int_equal(pipe(pipes), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        void *memory = NULL;

        (void)signal(SIGSEGV, SIG_DFL); /* cmocka's is not for us, nor the sanitizer's */
        (void)dup2(pipes[1], STDERR_FILENO);
        if (dmq_apart_alloc(&memory, COUNT * sizeof(dmq_real)) == DMQ_OK)
            touch(memory, COUNT);
        _exit(0);
    }
    (void)close(pipes[1]);
    while (n + 1 < size && (got = read(pipes[0], said + n, size - n - 1)) > 0)
        n += (size_t)got;
    said[n] = '\0';
    (void)close(pipes[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void read_it(dmq_real *memory, size_t count)
{
    volatile dmq_real x = memory[count - 1];

    (void)x;
}

static void write_it(dmq_real *memory, size_t count)
{
    (void)count;
    *(volatile dmq_real *)memory = 1;
}

static void read_after_a_call(dmq_real *memory, size_t count)
{
    const dmq_backend *be = dmq_backend_check();
    dmq_axpby_args a = { .x = memory, .y = memory, .alpha = 2, .count = count };

    if (be->axpby(NULL, &a) == DMQ_OK)
        read_it(memory, count);
}

static void read_after_free(dmq_real *memory, size_t count)
{
    dmq_apart_free(memory);
    read_it(memory, count);
}

/* COUNT numbers end within 64 bytes of a page's end. */
static void run_over_the_end(dmq_real *memory, size_t count)
{
    if (dmq_apart_open(memory) == DMQ_OK)
        read_it(memory, count + 64 / sizeof *memory);
}

static void stay_inside(dmq_real *memory, size_t count)
{
    if (dmq_apart_open(memory) == DMQ_OK)
        read_it(memory, count);
}

static void who_touches_it_dies_and_is_told(void **state)
{
    touch_fn *const touch[] = { read_it, write_it, read_after_a_call, read_after_free,
                                run_over_the_end };
    char said[512];
    int status;

    (void)state;
    for (size_t i = 0; i < sizeof touch / sizeof *touch; i++) {
        status = end_of(touch[i], said, sizeof said);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
        assert_non_null(strstr(said, "check: the host touched device memory at 0x"));
        assert_non_null(strstr(said, "go through upload, download or a slot"));
    }
    status = end_of(stay_inside, said, sizeof said);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_string_equal(said, "");
}

static void allocations_are_apart_from_each_other(void **state)
{
    static const size_t bytes[] = { 0, 1, 64, 4095, 4096, 4097, 100000 };
    enum { N = sizeof bytes / sizeof *bytes };
    void *memory[N], *again;

    (void)state;
    for (int i = 0; i < N; i++) {
        CHECK_OK(dmq_apart_alloc(&memory[i], bytes[i]));
        assert_int_equal((uintptr_t)memory[i] % 64, 0);
        assert_true(dmq_apart_holds(memory[i]));
        assert_false(dmq_apart_holds((char *)memory[i] - 1));
        assert_false(dmq_apart_holds((char *)memory[i] + (bytes[i] + 127) / 64 * 64));
    }
    assert_false(dmq_apart_holds(bytes));
    assert_int_equal(dmq_apart_open(bytes), DMQ_EINVAL);
    for (int i = 0; i < N; i += 2) {
        dmq_apart_free(memory[i]);
        assert_false(dmq_apart_holds(memory[i]));
    }
    CHECK_OK(dmq_apart_alloc(&again, 64));
    for (int i = 0; i < N; i += 2)
        assert_ptr_not_equal(again, memory[i]);
    for (int i = 1; i < N; i += 2) {
        assert_true(dmq_apart_holds(memory[i]));
        dmq_apart_free(memory[i]);
    }
    dmq_apart_free(again);
    dmq_apart_free(NULL);
    assert_int_equal(dmq_apart_alloc(&again, (size_t)1 << 40), DMQ_ENOMEM);
    assert_int_equal(dmq_apart_alloc(&again, SIZE_MAX), DMQ_ENOMEM);
}

/* The pointer that is the host's is named, and the others are closed again. */
static void host_memory_is_refused(void **state)
{
    const check_on on = { dmq_backend_check(), NULL };
    dmq_real host[4] = { 0 }, *device = check_up_real(&on, host, 4);
    const dmq_real *blocks[2] = { device, host };
    dmq_adaround_layer layer = { .w = device, .scale = device, .zero = host, .k = 1, .per = 4 };
    double value;

    (void)state;
    assert_int_equal(on.backend->axpby(NULL, &(dmq_axpby_args){ .x = device, .y = host }),
                     DMQ_EINVAL);
    assert_non_null(strstr(dmq_message(), "check: axpby: y is not device memory"));
    assert_int_equal(on.backend->sum_blocks(
                         NULL, &(dmq_sum_blocks_args){ .x = blocks, .y = device, .n_blocks = 2 }),
                     DMQ_EINVAL);
    assert_non_null(strstr(dmq_message(), "sum_blocks: x[i] is not"));
    assert_int_equal(
        on.backend->adaround_forward(NULL, &(dmq_adaround_args){ .layer = &layer, .n_layers = 1 }),
        DMQ_EINVAL);
    assert_non_null(strstr(dmq_message(), "adaround_forward: zero is not"));
    assert_int_equal(
        on.backend->dot(NULL, &(dmq_dot_args){ .x = device, .y = device, .out = &value }),
        DMQ_EINVAL);
    assert_non_null(strstr(dmq_message(), "dot: out is not"));
    assert_int_equal(on.backend->upload(NULL, device, device, 4), DMQ_EINVAL);
    assert_int_equal(on.backend->download(NULL, device, device, 4), DMQ_EINVAL);
    assert_int_equal(on.backend->upload(NULL, host, device, 4), DMQ_EINVAL);
}

static void a_mirror_is_one_block_or_two(void **state)
{
    const dmq_backend *backend[] = { dmq_backend_ref(), dmq_backend_check() };

    (void)state;
    for (int i = 0; i < 2; i++) {
        dmq_real host[4] = { 1, 2, 3, 4 }, *at;
        dmq_mirror m = { 0 };

        assert_ptr_equal(dmq_mirror_device(&m, host + 1), host + 1);
        CHECK_OK(dmq_mirror_init(&m, backend[i], host, sizeof host));
        at = dmq_mirror_device(&m, host + 1);
        assert_int_equal(at == host + 1, backend[i]->host_memory);
        assert_ptr_equal(dmq_mirror_device(&m, host), at - 1);
        CHECK_OK(dmq_mirror_push(&m, NULL, host, sizeof host));
        CHECK_OK(backend[i]->axpby(
            NULL, &(dmq_axpby_args){ .x = at, .y = at, .alpha = 10, .beta = 0, .count = 2 }));
        CHECK_OK(dmq_mirror_pull(&m, NULL, host + 2, sizeof *host));
        assert_true(host[2] == 30 && host[1] == (dmq_real)(backend[i]->host_memory ? 20 : 2));
        host[2] = 5;
        CHECK_OK(dmq_mirror_push(&m, NULL, host + 2, sizeof *host));
        CHECK_OK(dmq_mirror_pull(&m, NULL, host, sizeof host));
        assert_true(host[0] == 1 && host[1] == 20 && host[2] == 5 && host[3] == 4);
        dmq_mirror_release(&m);
        dmq_mirror_release(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(who_touches_it_dies_and_is_told),
        CHECK_TEST(allocations_are_apart_from_each_other),
        CHECK_TEST(host_memory_is_refused),
        CHECK_TEST(a_mirror_is_one_block_or_two),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
