/**
 * What the tests of operations share: a backend by argv[1], memory that is freed after each test, random
 * numbers, comparison, golden values.
 *
 *   int main(int argc, char **argv)
 *   {
 *       const struct CMUnitTest tests[] = { CHECK_TEST(name), ... };
 *
 *       check_open(argc, argv);
 *       return check_close(cmocka_run_group_tests(tests, NULL, NULL));
 *   }
 *
 * Arrays in the hands of a test are host memory; check_up() and check_down() move them to and from a
 * device. A device is a backend with a queue: check_device is the one under test, check_ref the reference.
 */
#ifndef DMQ_TESTS_CHECK_H
#define DMQ_TESTS_CHECK_H

#include "backend/backend.h"
#include "base/memory.h"
#include "io/h5.h"

#include <assert.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct check_on {
    const dmq_backend *backend;
    dmq_queue *queue;
} check_on;

static check_on check_device, check_ref;

/** The kernels of the device on the host (simt/backend_simt.h); NULL where a test is not linked to them. */
const dmq_backend *dmq_backend_simt(void) __attribute__((weak));

/** What a sum may be wrong by: this, times the root of its length, of 1 + |value|. */
static const double check_unit = sizeof(dmq_real) == 4 ? 6e-7 : 1.5e-15;

/* ------------------------------------------------------------------ memory, freed after each test */

enum { CHECK_OWNED = 1 << 14 };

static struct {
    void *memory;
    const dmq_backend *backend; /* NULL: the host */
} check_owned[CHECK_OWNED];
static int check_owned_count;

#define CHECK_OK(call)                                \
    do {                                              \
        dmq_status check_status = (call);             \
        if (check_status != DMQ_OK)                   \
            fail_msg("%s: %s", #call, dmq_message()); \
    } while (0)

static inline void check_own(void *memory, const dmq_backend *backend)
{
    assert_true(check_owned_count < CHECK_OWNED);
    check_owned[check_owned_count].memory = memory;
    check_owned[check_owned_count++].backend = backend;
}

/** Frees all that the functions below gave out; the teardown of CHECK_TEST. */
static inline int check_release(void **state)
{
    (void)state;
    while (check_owned_count > 0) {
        const dmq_backend *backend = check_owned[--check_owned_count].backend;
        void *memory = check_owned[check_owned_count].memory;

        if (backend) {
            backend->free(memory);
        } else {
            dmq_free(memory);
        }
    }
    return 0;
}

#define CHECK_TEST(name) cmocka_unit_test_teardown(name, check_release)

/** Numbers of an array of these sizes. */
#define CHECK_COUNT(...) \
    check_product((const int[]){ __VA_ARGS__ }, sizeof((const int[]){ __VA_ARGS__ }) / sizeof(int))

static inline size_t check_product(const int *factor, size_t count)
{
    size_t product = 1;

    for (size_t i = 0; i < count; i++)
        product *= (size_t)factor[i];
    return product;
}

/** Host memory, zeroed. */
static inline void *check_bytes(size_t count, size_t size)
{
    void *memory = NULL;

    CHECK_OK(dmq_alloc(&memory, count, size));
    check_own(memory, NULL);
    return memory;
}

static inline dmq_real *check_reals(size_t count)
{
    return check_bytes(count, sizeof(dmq_real));
}

/** A copy of host memory on a device; NULL gives NULL. */
static inline void *check_up(const check_on *on, const void *host, size_t count, size_t size)
{
    void *memory = NULL;

    if (!host)
        return NULL;
    CHECK_OK(on->backend->alloc(&memory, count * size));
    check_own(memory, on->backend);
    CHECK_OK(on->backend->upload(on->queue, memory, host, count * size));
    CHECK_OK(on->backend->sync(on->queue));
    return memory;
}

static inline dmq_real *check_up_real(const check_on *on, const dmq_real *host, size_t count)
{
    return check_up(on, host, count, sizeof *host);
}

/** Room for an output: old if it is to be added to, else NaN, which no result may still show. */
static inline dmq_real *check_room(const check_on *on, const dmq_real *old, size_t count)
{
    dmq_real *fill = NULL;

    if (!old) {
        fill = check_reals(count);
        for (size_t i = 0; i < count; i++)
            fill[i] = (dmq_real)NAN;
    }
    return check_up_real(on, old ? old : fill, count);
}

/** Back to the host, when all that was asked of the queue is done. */
static inline void check_down(const check_on *on, void *host, const void *memory, size_t bytes)
{
    CHECK_OK(on->backend->sync(on->queue));
    CHECK_OK(on->backend->download(on->queue, host, memory, bytes));
    CHECK_OK(on->backend->sync(on->queue));
}

static inline void check_down_real(const check_on *on, dmq_real *host, const dmq_real *memory,
                                   size_t count)
{
    check_down(on, host, memory, count * sizeof *host);
}

/** CHECK_RUN(on, conv2d_forward, &args) */
#define CHECK_RUN(on, slot, args) CHECK_OK((on)->backend->slot((on)->queue, args))

/* ------------------------------------------------------------------ random numbers */

/** Next of a stream (xorshift64*), uniform in [0, 1). */
static inline double check_uniform(uint64_t *stream)
{
    *stream ^= *stream >> 12;
    *stream ^= *stream << 25;
    *stream ^= *stream >> 27;
    return (double)((*stream * UINT64_C(2685821657736338717)) >> 11) * 0x1p-53;
}

/** A stream; neighbouring seeds have nothing in common. */
static inline uint64_t check_stream(uint64_t seed)
{
    uint64_t stream = (seed + 1) * UINT64_C(0x9E3779B97F4A7C15);

    for (int i = 0; i < 4; i++)
        (void)check_uniform(&stream);
    return stream;
}

/** Whole number in lo..hi. */
static inline int check_whole(uint64_t *stream, int lo, int hi)
{
    return lo + (int)(check_uniform(stream) * (hi - lo + 1));
}

/** Normal numbers, rounded to float so that both builds see the same. */
static inline void check_fill(dmq_real *x, size_t count, uint64_t *stream)
{
    for (size_t i = 0; i < count; i++) {
        double u = 1.0 - check_uniform(stream), v = check_uniform(stream);

        x[i] = (dmq_real)(float)(sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v));
    }
}

static inline dmq_real *check_random(size_t count, uint64_t *stream)
{
    dmq_real *x = check_reals(count);

    check_fill(x, count, stream);
    return x;
}

/* ------------------------------------------------------------------ comparison */

/** The worst comparison since check_report(). */
static struct {
    double share; /* of its tolerance */
    double got, want;
    size_t index;
    char what[96];
    long values;
} check_worst;

static inline void check_note(const char *what, double share, size_t index, double got, double want)
{
    if (share < check_worst.share)
        return;
    check_worst.share = share;
    check_worst.index = index;
    check_worst.got = got;
    check_worst.want = want;
    (void)snprintf(check_worst.what, sizeof check_worst.what, "%s", what);
}

/** One line about all comparisons since the last one. */
static inline void check_report(const char *title)
{
    if (check_worst.values > 0) {
        print_message("%s: %ld values, worst %s[%zu] = %.9g for %.9g, %.0f %% of its tolerance\n",
                      title, check_worst.values, check_worst.what, check_worst.index,
                      check_worst.got, check_worst.want, 100.0 * check_worst.share);
    }
    memset(&check_worst, 0, sizeof check_worst);
}

/** A test whose expected values are nearly all the same would pass with a constant. */
static inline void check_distrust(const char *what, const double *want, size_t count)
{
    size_t same = 0;

    for (size_t i = 0; i < count; i++)
        same += want[i] == want[count / 2];
    if (count >= 10 && same * 10 > count * 9) {
        fail_msg("%s: %zu of %zu expected values are %g: this test shows nothing", what, same,
                 count, want[count / 2]);
    }
}

static inline bool check_is_close(const char *what, size_t index, double got, double want,
                                  double atol, double rtol)
{
    double share = fabs(got - want) / (atol + rtol * fabs(want));

    if (got == want)
        share = 0;
    check_worst.values++;
    check_note(what, share, index, got, want);
    return share <= 1.0; /* false for NaN */
}

/**
 * |got - want| <= atol + rtol |want| for all.
 *
 * @param terms  length of the sums behind a value: rtol and atol grow with its root
 */
static inline void check_close_to(const char *what, const dmq_real *got, const double *want,
                                  size_t count, double atol, double rtol, double terms)
{
    double grow = sqrt(terms > 1 ? terms : 1);

    check_distrust(what, want, count);
    for (size_t i = 0; i < count; i++) {
        if (!check_is_close(what, i, (double)got[i], want[i], atol * grow, rtol * grow)) {
            fail_msg("%s[%zu] of %zu: %.9g for %.9g; off by %.3g, may be by %.3g", what, i, count,
                     (double)got[i], want[i], fabs((double)got[i] - want[i]),
                     grow * (atol + rtol * fabs(want[i])));
        }
    }
}

static inline double *check_doubles(const dmq_real *x, size_t count)
{
    double *out = check_bytes(count, sizeof *out);

    assert(count == 0 || x);
    for (size_t i = 0; i < count; i++)
        out[i] = (double)x[i];
    return out;
}

/** Two arrays of our own. */
static inline void check_same(const char *what, const dmq_real *got, const dmq_real *want,
                              size_t count, double atol, double rtol, double terms)
{
    check_close_to(what, got, check_doubles(want, count), count, atol, rtol, terms);
}

/** Bit for bit, but any NaN equals any NaN. */
static inline void check_equal(const char *what, const dmq_real *got, const dmq_real *want,
                               size_t count)
{
    assert(count == 0 || (got && want));
    for (size_t i = 0; i < count; i++) {
        if (!(got[i] == want[i] || (isnan(got[i]) && isnan(want[i])))) {
            fail_msg("%s[%zu] of %zu: %.9g, must equal %.9g", what, i, count, (double)got[i],
                     (double)want[i]);
        }
    }
}

/**
 * The same of any batch, bit for bit. Not on cuda, where the libraries choose by the whole shape: there a run
 * has the same bits because it cuts its batches at fixed places, and this is a comparison like any other.
 */
static inline void check_equal_in_batch(const char *what, const dmq_real *got, const dmq_real *want,
                                        size_t count, double terms)
{
    if (strcmp(check_device.backend->name, "cuda") == 0) {
        check_same(what, got, want, count, check_unit, check_unit, terms);
    } else {
        check_equal(what, got, want, count);
    }
}

static inline void check_equal_codes(const char *what, const int16_t *got, const int16_t *want,
                                     size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (got[i] != want[i])
            fail_msg("%s[%zu] of %zu: code %d, must be %d", what, i, count, got[i], want[i]);
    }
}

static inline double check_dot(const dmq_real *x, const dmq_real *y, size_t count)
{
    double sum = 0;

    assert(count == 0 || (x && y));
    for (size_t i = 0; i < count; i++)
        sum += (double)x[i] * (double)y[i];
    return sum;
}

static inline double check_norm(const dmq_real *x, size_t count)
{
    return sqrt(check_dot(x, x, count));
}

static inline size_t check_nans(const dmq_real *x, size_t count)
{
    size_t found = 0;

    assert(count == 0 || x);
    for (size_t i = 0; i < count; i++)
        found += isnan(x[i]) ? 1 : 0;
    return found;
}

/* ------------------------------------------------------------------ golden values */

/** Where the golden files are: DMQ_GOLDEN for a program that was carried to another machine. */
static inline const char *check_golden_folder(void)
{
    const char *folder = getenv("DMQ_GOLDEN");

    return folder && *folder ? folder : DMQ_GOLDEN_DIR;
}

/** tests/golden/<stem>.h5, made by make_<stem>.py */
static inline dmq_h5 *check_golden_open(const char *stem)
{
    char path[512];
    dmq_h5 *file = NULL;

    (void)snprintf(path, sizeof path, "%s/%s.h5", check_golden_folder(), stem);
    CHECK_OK(dmq_h5_open(&file, path, DMQ_H5_READ));
    return file;
}

static inline bool check_golden_has(dmq_h5 *file, const char *group, const char *name)
{
    char path[160];

    (void)snprintf(path, sizeof path, "%s/%s", group, name);
    return dmq_h5_has(file, path);
}

/** An array of one dimension; its length must be count. */
static inline double *check_golden(dmq_h5 *file, const char *group, const char *name, size_t count)
{
    char path[160];
    double *out = check_bytes(count, sizeof *out);

    (void)snprintf(path, sizeof path, "%s/%s", group, name);
    CHECK_OK(dmq_h5_read_f64(out, file, path, DMQ_DIMS((int64_t)count)));
    return out;
}

/** As dmq_real: inputs are floats, so that nothing is rounded. */
static inline dmq_real *check_golden_real(dmq_h5 *file, const char *group, const char *name,
                                          size_t count)
{
    const double *wide = check_golden(file, group, name, count);
    dmq_real *out = check_reals(count);

    for (size_t i = 0; i < count; i++)
        out[i] = (dmq_real)wide[i];
    return out;
}

/** Whole numbers; shapes are stored in the order of the fields of a test's shape struct. */
static inline int32_t *check_golden_whole(dmq_h5 *file, const char *group, const char *name,
                                          size_t count)
{
    char path[160];
    int32_t *out = check_bytes(count, sizeof *out);

    (void)snprintf(path, sizeof path, "%s/%s", group, name);
    CHECK_OK(dmq_h5_read_i32(out, file, path, DMQ_DIMS((int64_t)count)));
    return out;
}

/* ------------------------------------------------------------------ start and end */

/**
 * Leave the rest of this test out, and say why: tests/run.sh tells it. A whole program that cannot run
 * here prints the same line and exits with 77.
 */
#define check_skip(reason)                        \
    do {                                          \
        print_message("skipped: %s\n", (reason)); \
        skip();                                   \
    } while (0)

/** The backend of argv[1] (ref without one); exits with 77 and the reason when it is absent. */
static inline void check_open(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "ref";
    dmq_status st = DMQ_OK;

    if (strcmp(name, "simt") == 0 && dmq_backend_simt) {
        check_device.backend = dmq_backend_simt();
    } else {
        st = dmq_backend_open(&check_device.backend, name);
    }

    if (st == DMQ_OK)
        st = check_device.backend->queue_create(&check_device.queue, 0);
    check_ref.backend = dmq_backend_ref();
    if (st == DMQ_OK)
        st = check_ref.backend->queue_create(&check_ref.queue, 0);
    if (st != DMQ_OK) {
        print_message("skipped: %s\n", dmq_message());
        exit(st == DMQ_ENOTSUP ? 77 : 1);
    }
}

/** The exit code of main. */
static inline int check_close(int failed)
{
    check_device.backend->queue_destroy(check_device.queue);
    check_ref.backend->queue_destroy(check_ref.queue);
    return failed;
}

#endif
