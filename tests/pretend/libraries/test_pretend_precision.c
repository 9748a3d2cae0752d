/* Products and convolutions of backend cuda in the precision that argv[1] names, by the pretended libraries: the
   operands are rounded to what the precision says and to nothing else, whichever way a shape takes.

   With PRETEND_CUDNN_REFUSES or PRETEND_CUBLASLT_REFUSES the libraries refuse some shapes; those may go by our own
   kernels, which take operands as they are. */
#include "check.h"
#include "pretend/libraries/numbers.h"

#include "backend/cuda.h"

static dmq_precision precision;
static int refusing, by_library, by_ours;

/* ------------------------------------------------------------------ arrays */

enum { OFFSETS = 2 }; /* arrays begin at a multiple of 64 bytes, or 4 behind it */

/* Numbers of an operand, as they are and as the precision rounds them, and their copy on the device. */
typedef struct operand {
    dmq_real *plain, *rounded, *device;
} operand;

static dmq_real number_at(unsigned seed, size_t i)
{
    uint32_t h = ((uint32_t)i + 1) * 2654435761u ^ seed * 40503u;

    h = (h ^ h >> 15) * 2246822519u;
    return (dmq_real)(h >> 8) * 0x1p-23f - 1;
}

static dmq_real *up(const dmq_real *host, size_t n, int offset)
{
    void *memory = NULL;
    dmq_real *at;

    CHECK_OK(check_device.backend->alloc(&memory, (n + OFFSETS) * sizeof *host));
    check_own(memory, check_device.backend);
    at = (dmq_real *)memory + offset;
    CHECK_OK(check_device.backend->upload(check_device.queue, at, host, n * sizeof *host));
    return at;
}

static operand make(unsigned seed, size_t n, int offset)
{
    operand o = { check_reals(n), check_reals(n), NULL };

    for (size_t i = 0; i < n; i++) {
        o.plain[i] = number_at(seed, i);
        o.rounded[i] = precision == DMQ_FP32 ? o.plain[i] : round_to_bits(o.plain[i], BITS_TF32);
    }
    o.device = up(o.plain, n, offset);
    return o;
}

/* The largest difference in units of what a sum of `terms` floats may be off. */
static double share(const dmq_real *got, const dmq_real *want, size_t n, int terms)
{
    double most = 0;

    for (size_t i = 0; i < n; i++) {
        double may = check_unit * sqrt((double)terms) * (1 + fabs((double)want[i]));

        most = fmax(most, isnan(got[i]) ? HUGE_VAL : fabs((double)got[i] - (double)want[i]) / may);
    }
    return most;
}

/* result: on the device; plain, rounded: what the operands as they are, or rounded, make. The result's copy. */
static const dmq_real *judge(const char *what, const dmq_real *result, const dmq_real *plain,
                             const dmq_real *rounded, size_t n, int terms, int must)
{
    dmq_real *got = check_reals(n);
    double off_plain, off_rounded;

    CHECK_OK(check_device.backend->download(check_device.queue, got, result, n * sizeof *got));
    off_plain = share(got, plain, n, terms);
    off_rounded = share(got, rounded, n, terms);
    by_library += off_rounded < 1;
    by_ours += off_rounded >= 1;
    if (off_rounded >= 1 && (off_plain >= 1 || (must && !refusing)))
        fail_msg("%s: off by %.3g of the tolerance with rounded operands, by %.3g with plain ones",
                 what, off_rounded, off_plain);
    return got;
}

/* ------------------------------------------------------------------ convolutions */

typedef struct conv_case {
    int n, h, wd, c, k, r, stride, pad, behind; /* padding before and behind */
    int offset;                                 /* of all arrays */
    int must;                                   /* a library takes it in every precision */
} conv_case;

static const conv_case convs[] = {
    { 2, 9, 7, 16, 24, 3, 1, 1, 1, 0, 1 }, { 3, 8, 8, 8, 8, 3, 2, 1, 0, 0, 1 },
    { 2, 8, 8, 8, 16, 3, 2, 0, 1, 0, 0 },  { 2, 6, 5, 32, 8, 5, 1, 2, 2, 0, 1 },
    { 2, 5, 5, 16, 16, 1, 1, 0, 0, 0, 1 }, { 2, 7, 6, 3, 16, 3, 1, 1, 1, 0, 0 },
    { 2, 6, 6, 10, 6, 3, 1, 1, 1, 0, 0 },  { 2, 6, 6, 16, 8, 3, 1, 1, 1, 1, 0 },
    { 1, 6, 6, 5, 3, 1, 1, 0, 0, 1, 0 },
};

typedef struct conv_arrays {
    operand x, w, dy;
    dmq_real *bias, *old; /* on the host */
} conv_arrays;

/* One pass by the device, and by the reference on plain and rounded operands. */
static void run_conv(dmq_conv2d_args a, const conv_arrays *v, int pass, const char *what,
                     int offset, int must)
{
    const size_t counts[] = { (size_t)(a.n * a.ho * a.wo * a.k), (size_t)(a.n * a.h * a.wd * a.c),
                              (size_t)(a.k * a.r * a.s * a.c) };
    const int terms[] = { a.r * a.s * a.c + 2, a.r * a.s * a.k + 2, a.n * a.ho * a.wo + 2 };
    dmq_real *out[2], *result = up(v->old, counts[pass], offset);
    const dmq_real *got[3];
    dmq_conv2d_args d = a;
    dmq_status (*const by[])(dmq_queue *, const dmq_conv2d_args *) = {
        check_device.backend->conv2d_forward, check_device.backend->conv2d_backward_data,
        check_device.backend->conv2d_backward_weights
    };
    dmq_status (*const ref[])(dmq_queue *, const dmq_conv2d_args *) = {
        dmq_conv2d_forward_ref, dmq_conv2d_backward_data_ref, dmq_conv2d_backward_weights_ref
    };

    for (int rounded = 0; rounded < 2; rounded++) {
        out[rounded] = check_reals(counts[pass]);
        memcpy(out[rounded], v->old, counts[pass] * sizeof **out);
        a.x = rounded ? v->x.rounded : v->x.plain;
        a.w = rounded ? v->w.rounded : v->w.plain;
        a.dy = rounded ? v->dy.rounded : v->dy.plain;
        a.y = a.dx = a.dw = out[rounded];
        CHECK_OK(ref[pass](check_ref.queue, &a));
    }
    d.x = v->x.device;
    d.w = v->w.device;
    d.dy = v->dy.device;
    d.y = d.dx = d.dw = result;
    for (int again = 0; again < 3;
         again++) { /* a shape that was met before; the last time its bias is a view */
        if (a.bias && again != 1)
            d.bias = up(a.bias, (size_t)a.k, again > 0);
        CHECK_OK(check_device.backend->upload(check_device.queue, result, v->old,
                                              counts[pass] * sizeof *result));
        CHECK_OK(by[pass](check_device.queue, &d));
        got[again] = judge(what, result, out[0], out[1], counts[pass], terms[pass],
                           must && !(a.bias && again == 2));
    }
    if (memcmp(got[0], got[1], counts[pass] * sizeof *result) != 0)
        fail_msg("%s: two calls, two results", what);
}

static void convolutions(void **state)
{
    static const char *const passes[] = { "forward", "backward_data", "backward_weights" };

    (void)state;
    for (size_t i = 0; i < sizeof convs / sizeof *convs; i++) {
        const conv_case *s = &convs[i];
        dmq_conv2d_args a = { .n = s->n, .h = s->h, .wd = s->wd, .c = s->c, .k = s->k };
        conv_arrays v;

        a.r = a.s = s->r;
        a.stride = s->stride;
        a.pad_top = a.pad_left = s->pad;
        a.ho = (s->h + s->pad + s->behind - s->r) / s->stride + 1;
        a.wo = (s->wd + s->pad + s->behind - s->r) / s->stride + 1;
        v.x = make(1, (size_t)(a.n * a.h * a.wd * a.c), s->offset);
        v.w = make(2, (size_t)(a.k * a.r * a.s * a.c), s->offset);
        v.dy = make(3, (size_t)(a.n * a.ho * a.wo * a.k), s->offset);
        v.bias = make(4, (size_t)a.k, 0).plain;
        v.old =
            make(5, (size_t)(a.n * (a.h + 1) * (a.wd + 1) * (a.c + a.k) + a.r * a.s * a.c * a.k), 0)
                .plain;
        for (int pass = 0; pass < 3; pass++) {
            for (int form = 0; form < 4; form++) { /* bit 0: bias; bit 1: added */
                char what[128];

                if (pass > 0 && (form & 1))
                    continue;
                a.bias = form & 1 ? v.bias : NULL;
                a.add = form >> 1;
                (void)snprintf(what, sizeof what, "convolution %zu %s%s%s", i, passes[pass],
                               a.bias ? " bias" : "", a.add ? " add" : "");
                run_conv(a, &v, pass, what, s->offset, s->must);
            }
        }
    }
}

/* ------------------------------------------------------------------ products */

typedef struct product_case {
    int batch, m, n, k, trans_a, trans_b;
    int gap;    /* numbers between rows */
    int shared; /* b is one matrix */
    int offset;
} product_case;

static const product_case products[] = {
    { 1, 12, 16, 20, 0, 1, 0, 0, 0 }, { 1, 16, 24, 8, 1, 0, 0, 0, 0 },
    { 3, 8, 8, 16, 0, 0, 8, 0, 0 },   { 2, 7, 5, 9, 1, 1, 0, 0, 0 },
    { 4, 6, 3, 10, 0, 1, 1, 1, 0 },   { 1, 9, 7, 33, 0, 1, 0, 0, 1 },
    { 2, 1, 1, 5, 0, 0, 0, 0, 1 },
};

static void matrix_products(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof products / sizeof *products; i++) {
        const product_case *s = &products[i];
        int rows_a = s->trans_a ? s->k : s->m, cols_a = s->trans_a ? s->m : s->k;
        int rows_b = s->trans_b ? s->n : s->k, cols_b = s->trans_b ? s->k : s->n;
        dmq_matmul_args a = { .batch = s->batch, .m = s->m, .n = s->n, .k = s->k };
        size_t count;
        operand x, w, old, bias;

        a.trans_a = s->trans_a;
        a.trans_b = s->trans_b;
        a.lda = cols_a + s->gap;
        a.ldb = cols_b + s->gap;
        a.ldc = s->n + s->gap;
        a.stride_a = (ptrdiff_t)rows_a * a.lda;
        a.stride_b = s->shared ? 0 : (ptrdiff_t)rows_b * a.ldb;
        a.stride_c = (ptrdiff_t)s->m * a.ldc;
        a.alpha = (dmq_real)0.75;
        count = (size_t)s->batch * (size_t)a.stride_c;
        x = make(1, (size_t)s->batch * (size_t)a.stride_a, s->offset);
        w = make(2, (size_t)s->batch * (size_t)rows_b * (size_t)a.ldb, s->offset);
        old = make(3, count, s->offset);
        bias = make(4, (size_t)s->n, 1);
        for (int form = 0; form < 4; form++) {
            dmq_real *out[2];
            char what[128];
            dmq_matmul_args d;

            a.add = form >> 1;
            for (int rounded = 0; rounded < 2; rounded++) {
                out[rounded] = check_reals(count);
                memcpy(out[rounded], old.plain, count * sizeof **out);
                a.a = rounded ? x.rounded : x.plain;
                a.b = rounded ? w.rounded : w.plain;
                a.c = out[rounded];
                a.bias = form & 1 ? bias.plain : NULL;
                CHECK_OK(dmq_matmul_ref(check_ref.queue, &a));
            }
            d = a;
            d.a = x.device;
            d.b = w.device;
            d.bias = form & 1 ? bias.device : NULL;
            d.c = up(old.plain, count, s->offset);
            (void)snprintf(what, sizeof what, "product %zu%s%s", i, a.bias ? " bias" : "",
                           a.add ? " add" : "");
            CHECK_OK(check_device.backend->matmul(check_device.queue, &d));
            judge(what, d.c, out[0], out[1], count, s->k + 2, 1);
        }
    }
}

/* What must be rounded was judged above; here, that there was something to judge. */
static void both_ways_were_taken(void **state)
{
    (void)state;
    print_message("as the precision rounds: %d, as they are: %d\n", by_library, by_ours);
    if (precision != DMQ_FP32)
        assert_true(refusing || by_library > by_ours);
    if (precision != DMQ_FP32 && refusing)
        assert_true(by_ours > 0);
}

int main(int argc, char **argv)
{
    static const char *const names[] = { "fp32", "tf32", "fp16" };
    char *cuda[] = { argv[0], (char[]){ "cuda" }, NULL };
    const struct CMUnitTest tests[] = {
        CHECK_TEST(convolutions),
        CHECK_TEST(matrix_products),
        CHECK_TEST(both_ways_were_taken),
    };

    refusing = getenv("PRETEND_CUDNN_REFUSES") || getenv("PRETEND_CUBLASLT_REFUSES");
    check_open(2, cuda);
    for (int i = 0; i < 3; i++) {
        if (argc > 1 && strcmp(argv[1], names[i]) == 0)
            precision = (dmq_precision)i;
    }
    if (dmq_backend_precision(check_device.backend, precision) != DMQ_OK) {
        (void)fprintf(stderr, "%s\n", dmq_message());
        return 1;
    }
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
