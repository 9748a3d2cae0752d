/* SSIM and PSNR against numpy and scipy in float64; any split to the bit. */
#include "eval/similarity.h"

#include "base/memory.h"
#include "io/h5.h"
#include "wide_features.h"

#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { N = 4, H = 23, W = 17, C = 3, PER = H * W * C };

static uint8_t q[N * PER], f[N * PER];

static void ok(dmq_status st)
{
    if (st != DMQ_OK)
        fail_msg("%s", dmq_message());
}

static uint8_t level(long value)
{
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* As make_similarity.py: image 0 is the same in both, the others differ by more and more. */
static int images(void **state)
{
    (void)state;
    for (int i = 0; i < N; i++) {
        for (int p = 0; p < PER; p++) {
            int at = i * PER + p, c = p % C, x = p / C % W, y = p / C / W;

            f[at] =
                level((7 * x + 3 * y + 90 * c + 17 * i) % 200 + (long)wide_word((size_t)at) % 32);
            q[at] = level(f[at] + (long)wide_word((size_t)at + (1 << 20)) % (8 * i + 1) - 4 * i);
        }
    }
    return 0;
}

static void against_scipy(void **state)
{
    double ssim[N], psnr[2], mean = 0;
    dmq_similarity_sum all = { 0 };
    dmq_similarity got;
    dmq_h5 *h = NULL;

    (void)state;
    ok(dmq_h5_open(&h, DMQ_GOLDEN_DIR "/similarity.h5", DMQ_H5_READ));
    ok(dmq_h5_read_f64(ssim, h, "ssim", DMQ_DIMS(N)));
    ok(dmq_h5_read_f64(psnr, h, "psnr", DMQ_DIMS(2)));
    for (int i = 0; i < N; i++) {
        dmq_similarity_sum one = { 0 };

        ok(dmq_similarity_add(&one, q + i * PER, f + i * PER, 1, H, W, C));
        dmq_similarity_result(&got, &one);
        print_message("  image %d: ssim %.9f, psnr %.4f\n", i, got.ssim, got.psnr);
        assert_true(fabs(got.ssim - ssim[i]) < 1e-12);
        assert_true(got.psnr == got.psnr_image);
        mean += ssim[i] / N;
    }
    ok(dmq_similarity_add(&all, q, f, N, H, W, C));
    dmq_similarity_result(&got, &all);
    assert_true(fabs(got.ssim - mean) < 1e-12);
    assert_true(fabs(got.psnr - psnr[0]) < 1e-10 && fabs(got.psnr_image - psnr[1]) < 1e-10);
    assert_int_equal(got.n, N);
    assert_int_equal(got.equal, 1);
    dmq_h5_close(h);
}

static void any_split(void **state)
{
    dmq_similarity_sum all = { 0 }, a = { 0 }, b = { 0 };
    int threads = omp_get_max_threads();

    (void)state;
    omp_set_num_threads(3);
    ok(dmq_similarity_add(&all, q, f, N, H, W, C));
    omp_set_num_threads(1);
    ok(dmq_similarity_add(&a, q + 3 * PER, f + 3 * PER, 1, H, W, C));
    ok(dmq_similarity_add(&a, q, f, 1, H, W, C));
    ok(dmq_similarity_add(&b, q + PER, f + PER, 2, H, W, C));
    omp_set_num_threads(threads);
    ok(dmq_similarity_merge(&b, &(dmq_similarity_sum){ 0 }));
    ok(dmq_similarity_merge(&b, &a));
    assert_memory_equal(&all, &b, sizeof all);
}

static void refused(void **state)
{
    dmq_similarity_sum a = { 0 }, b = { 0 };
    dmq_similarity got;

    (void)state;
    assert_int_equal(dmq_similarity_add(&a, q, f, 1, 10, W, C), DMQ_ESHAPE);
    ok(dmq_similarity_add(&a, f, f, 1, H, W, C));
    assert_int_equal(dmq_similarity_add(&a, q, f, 1, W, W, C), DMQ_ESHAPE);
    ok(dmq_similarity_add(&b, q, f, 1, W, W, C));
    assert_int_equal(dmq_similarity_merge(&a, &b), DMQ_ESHAPE);
    dmq_similarity_result(&got, &a); /* equal images alone */
    assert_true(fabs(got.ssim - 1) < 1e-12 && isinf(got.psnr) && isinf(got.psnr_image));
}

static void out_of_memory(void **state)
{
    int failures = 0;

    (void)state;
    for (long n = 1; n < 20; n++) {
        dmq_similarity_sum a = { 0 };
        dmq_status st;

        dmq_alloc_fail_at(n);
        st = dmq_similarity_add(&a, q, f, N, H, W, C);
        dmq_alloc_fail_at(0);
        if (st == DMQ_OK)
            break;
        assert_int_equal(st, DMQ_ENOMEM);
        assert_int_equal(a.n, 0);
        failures++;
    }
    assert_int_equal(failures, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_scipy),
        cmocka_unit_test(any_split),
        cmocka_unit_test(refused),
        cmocka_unit_test(out_of_memory),
    };

    return cmocka_run_group_tests(tests, images, NULL);
}
