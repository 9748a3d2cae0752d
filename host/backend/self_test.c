#include "backend/self_test.h"

#include "base/memory.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { OWNED_MOST = 16, RESULT_MOST = 1 << 13 };

/* One operation on one backend: its arrays, freed together. */
typedef struct probe {
    const dmq_backend *be;
    dmq_queue *queue;
    void *owned[OWNED_MOST];
    int n_owned;
    dmq_status st; /* of the first failure: the rest does nothing */
} probe;

static dmq_real *room(probe *p, size_t count)
{
    void *memory = NULL;

    assert(p->n_owned < OWNED_MOST);
    if (p->st == DMQ_OK)
        p->st = p->be->alloc(&memory, count * sizeof(dmq_real));
    if (p->st == DMQ_OK)
        p->owned[p->n_owned++] = memory;
    return memory;
}

/* Numbers in -1..1 that depend on their place and the seed alone. */
static dmq_real *numbers(probe *p, size_t count, uint32_t seed)
{
    dmq_real *device = room(p, count), *host = NULL;

    if (p->st == DMQ_OK)
        p->st = dmq_alloc((void **)&host, count, sizeof *host);
    for (size_t i = 0; p->st == DMQ_OK && i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        host[i] = (dmq_real)((int)(seed >> 16) - 32768) / 32768;
    }
    if (p->st == DMQ_OK)
        p->st = p->be->upload(p->queue, device, host, count * sizeof *host);
    dmq_free(host);
    return device;
}

static dmq_real *same(probe *p, size_t count, dmq_real value)
{
    dmq_real host[64], *device = room(p, count);

    assert(count <= 64);
    for (size_t i = 0; i < count; i++)
        host[i] = value;
    if (p->st == DMQ_OK)
        p->st = p->be->upload(p->queue, device, host, count * sizeof *host);
    return device;
}

#define RUN(p, slot, args)                               \
    do {                                                 \
        if ((p)->st == DMQ_OK)                           \
            (p)->st = (p)->be->slot((p)->queue, (args)); \
    } while (0)

/* Each returns the device memory of its result and how many numbers it has. */
typedef dmq_real *probe_fn(probe *p, size_t *count);

enum { N = 2, H = 7, W = 5, C = 12, K = 20 };

static dmq_conv2d_args conv_args(probe *p)
{
    return (dmq_conv2d_args){ .x = numbers(p, (size_t)N * H * W * C, 1),
                              .w = numbers(p, (size_t)K * 9 * C, 2),
                              .dy = numbers(p, (size_t)N * H * W * K, 3),
                              .n = N,
                              .h = H,
                              .wd = W,
                              .c = C,
                              .k = K,
                              .r = 3,
                              .s = 3,
                              .stride = 1,
                              .pad_top = 1,
                              .pad_left = 1,
                              .ho = H,
                              .wo = W };
}

static dmq_real *conv2d_forward(probe *p, size_t *count)
{
    dmq_conv2d_args a = conv_args(p);

    a.bias = numbers(p, K, 4);
    a.y = room(p, *count = (size_t)N * H * W * K);
    RUN(p, conv2d_forward, &a);
    return a.y;
}

static dmq_real *conv2d_backward_data(probe *p, size_t *count)
{
    dmq_conv2d_args a = conv_args(p);

    a.dx = room(p, *count = (size_t)N * H * W * C);
    RUN(p, conv2d_backward_data, &a);
    return a.dx;
}

static dmq_real *conv2d_backward_weights(probe *p, size_t *count)
{
    dmq_conv2d_args a = conv_args(p);

    a.dw = room(p, *count = (size_t)K * 9 * C);
    a.dbias = room(p, K);
    RUN(p, conv2d_backward_weights, &a);
    return a.dw;
}

/* The way down of a UNet: padding on one side alone. */
static dmq_real *conv2d_down(probe *p, size_t *count)
{
    dmq_conv2d_args a = conv_args(p);

    a.stride = 2;
    a.pad_top = a.pad_left = 0;
    a.h = 6;
    a.wd = 4;
    a.ho = 3;
    a.wo = 2;
    a.y = room(p, *count = (size_t)N * 3 * 2 * K);
    RUN(p, conv2d_forward, &a);
    return a.y;
}

static dmq_real *matmul(probe *p, size_t *count)
{
    dmq_matmul_args a = { .a = numbers(p, 3 * 17 * 40, 5),
                          .b = numbers(p, 3 * 23 * 40, 6),
                          .bias = numbers(p, 23, 7),
                          .batch = 3,
                          .m = 17,
                          .n = 23,
                          .k = 40,
                          .trans_b = 1,
                          .lda = 40,
                          .ldb = 40,
                          .ldc = 23,
                          .stride_a = 17 * 40,
                          .stride_b = 23 * 40,
                          .stride_c = 17 * 23,
                          .alpha = (dmq_real)0.5 };

    a.c = room(p, *count = 3 * 17 * 23);
    RUN(p, matmul, &a);
    return a.c;
}

static dmq_real *col_sum(probe *p, size_t *count)
{
    dmq_col_sum_args a = { .x = numbers(p, 300 * 13, 8), .rows = 300, .cols = 13 };

    a.y = room(p, *count = 13);
    RUN(p, col_sum, &a);
    return a.y;
}

static dmq_real *softmax_forward(probe *p, size_t *count)
{
    dmq_softmax_args a = { .x = numbers(p, 9 * 33, 9), .rows = 9, .cols = 33 };

    a.y = room(p, *count = 9 * 33);
    RUN(p, softmax_forward, &a);
    return a.y;
}

static dmq_real *unary_forward(probe *p, size_t *count)
{
    dmq_unary_args a = { .kind = DMQ_SILU, .x = numbers(p, 1001, 10), .count = 1001 };

    a.y = room(p, *count = 1001);
    RUN(p, unary_forward, &a);
    return a.y;
}

static dmq_real *group_norm_forward(probe *p, size_t *count)
{
    dmq_group_norm_args a = { .x = numbers(p, (size_t)N * H * W * C, 11),
                              .gamma = numbers(p, C, 12),
                              .beta = numbers(p, C, 13),
                              .n = N,
                              .hw = H * W,
                              .c = C,
                              .groups = 4,
                              .eps = (dmq_real)1e-5,
                              .silu = 1 };

    a.mean = room(p, N * 4);
    a.rstd = room(p, N * 4);
    a.y = room(p, *count = (size_t)N * H * W * C);
    RUN(p, group_norm_forward, &a);
    return a.y;
}

static dmq_real *fake_quant_forward(probe *p, size_t *count)
{
    dmq_fake_quant_args a = { .x = numbers(p, 3 * 101, 14),
                              .scale = same(p, 1, (dmq_real)0.01),
                              .zero = same(p, 1, 100),
                              .n = 1,
                              .outer = 1,
                              .c = 1,
                              .inner = 3 * 101,
                              .rows = 1,
                              .lo = 0,
                              .hi = 255 };

    a.y = room(p, *count = 3 * 101);
    RUN(p, fake_quant_forward, &a);
    return a.y;
}

static dmq_real *upsample_forward(probe *p, size_t *count)
{
    dmq_resample_args a = {
        .x = numbers(p, (size_t)N * H * W * C, 15), .n = N, .h = H, .wd = W, .c = C, .factor = 2
    };

    a.y = room(p, *count = (size_t)N * H * W * C * 4);
    RUN(p, upsample_forward, &a);
    return a.y;
}

static dmq_real *noise_normal(probe *p, size_t *count)
{
    dmq_noise_args a = { .n = 3, .per = 77, .seed = 1234, .first = 5, .step = 2 };

    a.out = room(p, *count = 3 * 77);
    RUN(p, noise_normal, &a);
    return a.out;
}

static const struct {
    const char *name;
    probe_fn *run;
} probes[] = {
    { "conv2d_forward", conv2d_forward },
    { "conv2d_backward_data", conv2d_backward_data },
    { "conv2d_backward_weights", conv2d_backward_weights },
    { "conv2d_forward, stride 2", conv2d_down },
    { "matmul", matmul },
    { "col_sum", col_sum },
    { "softmax_forward", softmax_forward },
    { "unary_forward", unary_forward },
    { "group_norm_forward", group_norm_forward },
    { "fake_quant_forward", fake_quant_forward },
    { "upsample_forward", upsample_forward },
    { "noise_normal", noise_normal },
};

static dmq_status run(dmq_real *result, size_t *count, const dmq_backend *be, dmq_queue *queue,
                      probe_fn *fn)
{
    probe p = { .be = be, .queue = queue };
    const dmq_real *device = fn(&p, count);

    assert(*count <= RESULT_MOST);
    if (p.st == DMQ_OK)
        p.st = be->download(queue, result, device, *count * sizeof *result);
    if (p.st == DMQ_OK)
        p.st = be->sync(queue);
    while (p.n_owned > 0)
        be->free(p.owned[--p.n_owned]);
    return p.st;
}

/* The largest difference over the largest value; infinite for what is no number. */
static double difference(const dmq_real *got, const dmq_real *want, size_t count)
{
    double worst = 0, largest = 0;

    for (size_t i = 0; i < count; i++) {
        double d = fabs((double)got[i] - (double)want[i]);

        worst = d >= worst ? d : isnan(d) ? (double)INFINITY : worst;
        largest = fmax(largest, fabs((double)want[i]));
    }
    return worst / (largest > 0 ? largest : 1);
}

static void compare(dmq_self_test *out, const char *name, const dmq_real *got, const dmq_real *want,
                    size_t count)
{
    double d = difference(got, want, count);

    out->ran++;
    if (d >= out->worst) {
        out->worst = d;
        (void)snprintf(out->worst_of, sizeof out->worst_of, "%s", name);
    }
    if (d <= DMQ_SELF_TEST_LIMIT)
        return;
    out->failed++;
    if (!out->message[0])
        (void)snprintf(out->message, sizeof out->message, "%s is off by %.1e", name, d);
}

static void note_failure(dmq_self_test *out, const char *name, dmq_status st)
{
    if (st == DMQ_ENOTSUP) {
        size_t used = strlen(out->missing);

        out->absent++;
        (void)snprintf(out->missing + used, sizeof out->missing - used, "%s%s", used ? ", " : "",
                       name);
        return;
    }
    out->ran++;
    out->failed++;
    if (!out->message[0])
        (void)snprintf(out->message, sizeof out->message, "%s: %.400s", name, dmq_message());
}

dmq_status dmq_backend_self_test(dmq_self_test *out, const dmq_backend *backend)
{
    const dmq_backend *ref = dmq_backend_ref();
    dmq_queue *queue = NULL, *ref_queue = NULL;
    dmq_real *got = NULL, *want = NULL;
    dmq_status st = DMQ_OK;

    memset(out, 0, sizeof *out);
    DMQ_TRY(dmq_alloc((void **)&got, RESULT_MOST, sizeof *got));
    DMQ_TRY(dmq_alloc((void **)&want, RESULT_MOST, sizeof *want));
    DMQ_TRY(ref->queue_create(&ref_queue, 0));
    DMQ_TRY(backend->queue_create(&queue, 0));
    for (size_t i = 0; i < sizeof probes / sizeof *probes; i++) {
        size_t count = 0;
        dmq_status one;

        DMQ_TRY(run(want, &count, ref, ref_queue, probes[i].run));
        one = run(got, &count, backend, queue, probes[i].run);
        if (one == DMQ_OK) {
            compare(out, probes[i].name, got, want, count);
        } else {
            note_failure(out, probes[i].name, one);
        }
    }
done:
    backend->queue_destroy(queue);
    ref->queue_destroy(ref_queue);
    dmq_free(got);
    dmq_free(want);
    return st;
}
