/* A batch in shards: equal to one tape for the whole batch, and the same bits for any number of lanes. */
#include "check.h"
#include "tape/ops.h"
#include "tape/shards.h"

enum { SHARD = 4, SAMPLES = 10, WIDTH = 6, HIDDEN = 5, PARAMS = 80 };

typedef struct model {
    dmq_var *x, *y, *loss;
} model;

typedef struct problem {
    const dmq_real *x, *y, *weight; /* (SAMPLES, WIDTH), (SAMPLES, WIDTH), (SAMPLES) */
    dmq_real *values;               /* on the device */
    dmq_real *loss, *dot;
    int padding_from; /* what the padded rows are filled with, or -1: as they should be */
    int fail_at;
} problem;

static dmq_status record(void *context, dmq_tape *tape, int size, void *state)
{
    problem *p = context;
    model *m = state;
    size_t at = (size_t)HIDDEN * WIDTH;
    dmq_var *w = dmq_tape_param(tape, "w", dmq_shape2(HIDDEN, WIDTH), p->values, 0), *h, *v;

    m->x = dmq_tape_input(tape, "x", dmq_shape2(size, WIDTH));
    m->y = dmq_tape_input(tape, "y", dmq_shape2(size, WIDTH));
    h = dmq_record_unary(tape, DMQ_SILU, dmq_record_linear(tape, m->x, w, NULL));
    v = dmq_tape_param(tape, "v", dmq_shape2(WIDTH, HIDDEN), p->values + at, at);
    m->loss = dmq_record_loss(tape, dmq_record_linear(tape, h, v, NULL), m->y, 2.0);
    dmq_tape_output(tape, m->loss);
    return DMQ_OK;
}

static dmq_status upload(const dmq_shard *shard, dmq_real *to, const dmq_real *from, size_t count)
{
    return dmq_tape_backend(shard->tape)->upload(shard->queue, to, from, count * sizeof *from);
}

static dmq_status fill(void *context, const dmq_shard *shard)
{
    const problem *p = context;
    const model *m = shard->state;
    dmq_status st = DMQ_OK;

    if (shard->number == p->fail_at)
        return dmq_fail(DMQ_EDATA, "shard %d", shard->number);
    for (int r = 0; r < shard->size; r++) {
        int i = dmq_shard_sample(shard, r);

        if (r >= shard->count && p->padding_from >= 0)
            i = p->padding_from;
        DMQ_TRY(upload(shard, m->x->value + r * WIDTH, p->x + i * WIDTH, WIDTH));
        DMQ_TRY(upload(shard, m->y->value + r * WIDTH, p->y + i * WIDTH, WIDTH));
    }
done:
    return st;
}

/* The padded rows get a seed, too, which must not count. */
static dmq_status seed(void *context, const dmq_shard *shard)
{
    const problem *p = context;
    const model *m = shard->state;
    dmq_real weight[SAMPLES];

    for (int r = 0; r < shard->size; r++)
        weight[r] = p->weight[dmq_shard_sample(shard, r)];
    return upload(shard, m->loss->grad, weight, (size_t)shard->size);
}

static dmq_status take(void *context, const dmq_shard *shard)
{
    problem *p = context;
    const model *m = shard->state;
    const dmq_backend *be = dmq_tape_backend(shard->tape);
    size_t bytes = (size_t)shard->count * sizeof(dmq_real);
    dmq_status st = DMQ_OK;

    DMQ_TRY(be->download(shard->queue, p->loss + shard->first, m->loss->value, bytes));
    if (p->dot)
        DMQ_TRY(be->download(shard->queue, p->dot + shard->first, m->loss->tan, bytes));
    DMQ_TRY(be->sync(shard->queue));
done:
    return st;
}

typedef struct result {
    dmq_real *grad, *loss, *dot;
} result;

static problem problem_make(void)
{
    uint64_t stream = check_stream(3);
    problem p = { .padding_from = -1, .fail_at = -1 };

    p.x = check_random(SAMPLES * WIDTH, &stream);
    p.y = check_random(SAMPLES * WIDTH, &stream);
    p.weight = check_random(SAMPLES, &stream);
    p.values = check_up_real(&check_device, check_random(PARAMS, &stream), PARAMS);
    return p;
}

/* One job on a number of lanes; each: a row of gradient per shard. */
static result compute(problem *p, int lanes_count, int size, int n, int each)
{
    uint64_t stream = check_stream(5);
    result r = { check_reals(PARAMS * SAMPLES), check_reals(SAMPLES), check_reals(SAMPLES) };
    size_t blocks = each ? (size_t)((n + size - 1) / size) : 1, count = blocks * PARAMS;
    dmq_real *grad = check_room(&check_device, NULL, count);
    dmq_real *direction = check_up_real(&check_device, check_random(PARAMS, &stream), PARAMS);
    dmq_lanes *lanes = NULL;
    dmq_shards *shards = NULL;
    dmq_shards_config config = { .size = size,
                                 .passes = DMQ_TAPE_BACKWARD | DMQ_TAPE_JVP,
                                 .n_params = PARAMS,
                                 .max_summed = each ? 0 : SAMPLES,
                                 .state_bytes = sizeof(model),
                                 .context = p,
                                 .record = record };
    dmq_shards_job job = { .n = n,
                           .context = p,
                           .fill = fill,
                           .seed = seed,
                           .take = take,
                           .values = p->values,
                           .grad = each ? NULL : grad,
                           .grad_each = each ? grad : NULL,
                           .tangents = direction };
    long before;

    p->loss = r.loss;
    p->dot = r.dot;
    CHECK_OK(dmq_lanes_create(&lanes, check_device.backend, lanes_count));
    CHECK_OK(dmq_shards_create(&shards, lanes, &config));
    CHECK_OK(dmq_shards_run(shards, &job));
    before = dmq_alloc_count();
    CHECK_OK(dmq_shards_run(shards, &job));
    /* on cuda a queue plans a shape when it first meets it: of several lanes, perhaps in the second run */
    if (lanes_count == 1 || strcmp(check_device.backend->name, "cuda") != 0)
        assert_int_equal(dmq_alloc_count(), before);
    assert_true(dmq_shards_bytes(shards) >= (size_t)lanes_count * PARAMS);
    check_down_real(&check_device, r.grad, grad, count);
    /* what no parameter lies on keeps what was there */
    for (size_t b = 0; b < blocks; b++) {
        memset(r.grad + b * PARAMS + 2 * HIDDEN * WIDTH, 0,
               (PARAMS - 2 * HIDDEN * WIDTH) * sizeof *r.grad);
    }
    dmq_shards_destroy(shards);
    dmq_lanes_destroy(lanes);
    return r;
}

static void same_bits(const result *a, const result *b, size_t count)
{
    assert_memory_equal(a->grad, b->grad, count * sizeof *a->grad);
    assert_memory_equal(a->loss, b->loss, SAMPLES * sizeof *a->loss);
    assert_memory_equal(a->dot, b->dot, SAMPLES * sizeof *a->dot);
}

static void lanes_change_nothing(void **state)
{
    problem p = problem_make();
    result one = compute(&p, 1, SHARD, SAMPLES, 0), again;

    (void)state;
    for (int lanes = 2; lanes <= 3; lanes++) {
        again = compute(&p, lanes, SHARD, SAMPLES, 0);
        same_bits(&one, &again, PARAMS);
    }
}

static void shards_equal_the_whole(void **state)
{
    problem p = problem_make();
    result whole = compute(&p, 1, SAMPLES, SAMPLES, 0), parts = compute(&p, 2, SHARD, SAMPLES, 0);

    (void)state;
    check_same("grad", parts.grad, whole.grad, PARAMS, check_unit, check_unit, SAMPLES);
    check_same("loss", parts.loss, whole.loss, SAMPLES, check_unit, check_unit, WIDTH);
    check_same("dot", parts.dot, whole.dot, SAMPLES, 10 * check_unit, check_unit, WIDTH);
    check_report("shards");
}

static void padding_counts_for_nothing(void **state)
{
    problem p = problem_make();
    result good = compute(&p, 2, SHARD, SAMPLES, 0), other;

    (void)state;
    p.padding_from = 3;
    other = compute(&p, 2, SHARD, SAMPLES, 0);
    same_bits(&good, &other, PARAMS);
    good = compute(&p, 1, SHARD, 3, 0); /* a single shard that is not full */
    p.padding_from = 7;
    other = compute(&p, 1, SHARD, 3, 0);
    same_bits(&good, &other, PARAMS);
}

/* Rows of the Jacobian: their weighted sum is the gradient, their products the tangents. */
static void one_gradient_a_sample(void **state)
{
    problem p = problem_make();
    result sum = compute(&p, 1, SHARD, SAMPLES, 0), each = compute(&p, 3, 1, SAMPLES, 1);
    uint64_t stream = check_stream(5);
    const dmq_real *direction = check_random(PARAMS, &stream);
    dmq_real *total = check_reals(PARAMS);

    (void)state;
    for (int i = 0; i < SAMPLES; i++) {
        double dot = check_dot(each.grad + i * PARAMS, direction, PARAMS);
        double want = (double)p.weight[i] * (double)sum.dot[i];

        if (fabs(dot - want) > 50 * check_unit * (1 + fabs(want)))
            fail_msg("sample %d: <J, v> = %.9g, jvp %.9g", i, dot, want);
        for (int k = 0; k < PARAMS; k++)
            total[k] += each.grad[i * PARAMS + k];
    }
    check_same("sum", total, sum.grad, PARAMS, 4 * check_unit, 4 * check_unit, SAMPLES);
}

static void the_first_failure_is_told(void **state)
{
    problem p = problem_make();
    dmq_lanes *lanes = NULL;
    dmq_shards *shards = NULL;
    dmq_shards_config config = {
        .size = 2, .state_bytes = sizeof(model), .context = &p, .record = record
    };
    dmq_shards_job job = { .n = SAMPLES, .context = &p, .fill = fill };

    (void)state;
    p.fail_at = 2;
    CHECK_OK(dmq_lanes_create(&lanes, check_device.backend, 2));
    CHECK_OK(dmq_shards_create(&shards, lanes, &config));
    assert_int_equal(dmq_shards_run(shards, &job), DMQ_EDATA);
    assert_string_equal(dmq_message(), "shard 2");
    dmq_shards_destroy(shards);
    dmq_lanes_destroy(lanes);
}

static void out_of_memory(void **state)
{
    problem p = problem_make();
    dmq_shards_config config = { .size = SHARD,
                                 .passes = DMQ_TAPE_BACKWARD | DMQ_TAPE_JVP,
                                 .n_params = PARAMS,
                                 .max_summed = SAMPLES,
                                 .state_bytes = sizeof(model),
                                 .context = &p,
                                 .record = record };
    dmq_lanes *lanes = NULL;
    dmq_status st = DMQ_ENOMEM;
    int n;

    (void)state;
    CHECK_OK(dmq_lanes_create(&lanes, check_device.backend, 2));
    for (n = 1; st != DMQ_OK; n++) {
        dmq_shards *shards = NULL;

        dmq_alloc_fail_at(n);
        st = dmq_shards_create(&shards, lanes, &config);
        dmq_alloc_fail_at(0);
        assert_true(st == DMQ_OK || (st == DMQ_ENOMEM && !shards));
        dmq_shards_destroy(shards);
    }
    assert_true(n > 10);
    dmq_lanes_destroy(lanes);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(lanes_change_nothing),       CHECK_TEST(shards_equal_the_whole),
        CHECK_TEST(padding_counts_for_nothing), CHECK_TEST(one_gradient_a_sample),
        CHECK_TEST(the_first_failure_is_told),  CHECK_TEST(out_of_memory),
    };

    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
