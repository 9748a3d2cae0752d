/* HDF5 files and half precision. This runs also in double. */
#include "base/half.h"
#include "base/memory.h"
#include "io/file.h"
#include "io/h5.h"
#include "io/hash.h"
#include "scratch.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* HDF5 itself forgets memory when it meets a damaged file. */
const char *__lsan_default_suppressions(void); /* NOLINT(bugprone-reserved-identifier) */

const char *__lsan_default_suppressions(void) /* NOLINT(bugprone-reserved-identifier) */
{
    return "leak:libhdf5";
}

static const float ramp[24] = { 0,  1,  -2, 3.5F, 4,  5,  6,  7,  8,  9,  10, 11,
                                12, 13, 14, 15,   16, 17, 18, 19, 20, 21, 22, 0.1F };

static dmq_status write_sample(const char *path)
{
    dmq_status st = DMQ_OK;
    dmq_h5 *f = NULL;
    const int32_t i32[3] = { -1, 0, 2147483647 };
    const int64_t i64[2] = { INT64_MIN, INT64_MAX };
    const uint8_t u8[4] = { 0, 1, 200, 255 };
    const double f64[2] = { 0.1, 1e300 };

    DMQ_TRY(dmq_h5_open(&f, path, DMQ_H5_WRITE));
    DMQ_TRY(dmq_h5_format_set(f, "dmq-test", 2));
    DMQ_TRY(dmq_h5_write_f32(f, "x", DMQ_DIMS(2, 3, 4), ramp));
    DMQ_TRY(dmq_h5_write_f16(f, "layers/conv_in/half", DMQ_DIMS(24), ramp));
    DMQ_TRY(dmq_h5_write_i32(f, "layers/conv_in/i32", DMQ_DIMS(3), i32));
    DMQ_TRY(dmq_h5_write_i64(f, "layers/a/i64", DMQ_DIMS(2), i64));
    DMQ_TRY(dmq_h5_write_u8(f, "u8", DMQ_DIMS(2, 2), u8));
    DMQ_TRY(dmq_h5_write_f64(f, "f64", DMQ_DIMS(2), f64));
    DMQ_TRY(dmq_h5_write_f32(f, "scalar", 0, NULL, ramp + 3));
    DMQ_TRY(dmq_h5_write_f32(f, "empty", DMQ_DIMS(0, 4), NULL));
    DMQ_TRY(dmq_h5_write_text(f, "config", "a: 1\n"));
    DMQ_TRY(dmq_h5_create(f, "rows", DMQ_H5_F32, DMQ_DIMS(4, 3)));
    DMQ_TRY(dmq_h5_create(f, "half_rows", DMQ_H5_F16, DMQ_DIMS(2, 3)));
    DMQ_TRY(dmq_h5_write_rows(f, "rows", 1, 2, DMQ_H5_F32, ramp));
    DMQ_TRY(dmq_h5_write_rows(f, "half_rows", 1, 1, DMQ_H5_F32, ramp + 21));
    DMQ_TRY(dmq_h5_attr_set_text(f, "layers/conv_in", "kind", "conv2d"));
    DMQ_TRY(dmq_h5_attr_set_text(f, "", "empty", ""));
    DMQ_TRY(dmq_h5_attr_set_i64(f, "x", "seed", -7));
    DMQ_TRY(dmq_h5_attr_set_i64(f, "x", "seed", 1234567890123));
    DMQ_TRY(dmq_h5_attr_set_f64(f, "", "eta", 0.1));
    DMQ_TRY(dmq_h5_commit(f));
done:
    dmq_h5_close(f);
    return st;
}

static dmq_h5 *open_sample(const char *name)
{
    dmq_h5 *f = NULL;

    if (!dmq_file_exists(in_folder(name)))
        assert_int_equal(write_sample(in_folder(name)), DMQ_OK);
    assert_int_equal(dmq_h5_open(&f, in_folder(name), DMQ_H5_READ), DMQ_OK);
    return f;
}

static void arrays_come_back(void **state)
{
    dmq_h5 *f = open_sample("a.h5");
    float x[24] = { 0 }, h[24], rows[12], one;
    double d[24], f64[2];
    dmq_real r[2];
    int32_t i32[4];
    int64_t i64[4];
    uint8_t u8[4];
    char *text;

    (void)state;
    assert_int_equal(dmq_h5_read_f32(x, f, "x", DMQ_DIMS(2, 3, 4)), DMQ_OK);
    assert_memory_equal(x, ramp, sizeof ramp);
    assert_int_equal(dmq_h5_read_f64(d, f, "x", DMQ_DIMS(2, -1, 4)), DMQ_OK);
    assert_true(d[23] == (double)0.1F);
    assert_int_equal(dmq_h5_read_f32(h, f, "layers/conv_in/half", DMQ_DIMS(24)), DMQ_OK);
    assert_true(h[3] == 3.5F && h[23] == 0.0999755859375F);
    assert_int_equal(dmq_h5_read_f64(d, f, "/layers/conv_in/half", DMQ_DIMS(24)), DMQ_OK);
    assert_true(d[23] == 0.0999755859375);
    assert_int_equal(dmq_h5_read_real(r, f, "f64", DMQ_DIMS(2)), DMQ_OK);
    assert_true(r[0] == (dmq_real)0.1);
    assert_int_equal(dmq_h5_read_f64(f64, f, "f64", DMQ_DIMS(2)), DMQ_OK);
    assert_true(f64[1] == 1e300);
    assert_int_equal(dmq_h5_read_i32(i32, f, "layers/conv_in/i32", DMQ_DIMS(3)), DMQ_OK);
    assert_int_equal(i32[2], 2147483647);
    assert_int_equal(dmq_h5_read_i64(i64, f, "layers/conv_in/i32", DMQ_DIMS(3)), DMQ_OK);
    assert_int_equal(i64[0], -1);
    assert_int_equal(dmq_h5_read_i64(i64, f, "layers/a/i64", DMQ_DIMS(2)), DMQ_OK);
    assert_true(i64[0] == INT64_MIN && i64[1] == INT64_MAX);
    assert_int_equal(dmq_h5_read_u8(u8, f, "u8", DMQ_DIMS(2, 2)), DMQ_OK);
    assert_int_equal(u8[2], 200);
    assert_int_equal(dmq_h5_read_i32(i32, f, "u8", DMQ_DIMS(2, 2)), DMQ_OK);
    assert_int_equal(i32[3], 255);
    assert_int_equal(dmq_h5_read_f32(&one, f, "scalar", 0, NULL), DMQ_OK);
    assert_true(one == 3.5F);
    assert_int_equal(dmq_h5_read_f32(NULL, f, "empty", DMQ_DIMS(0, 4)), DMQ_OK);
    assert_int_equal(dmq_h5_read_text(&text, f, "config"), DMQ_OK);
    assert_string_equal(text, "a: 1\n");
    dmq_free(text);
    assert_int_equal(dmq_h5_read_f32(rows, f, "rows", DMQ_DIMS(4, 3)), DMQ_OK);
    assert_true(rows[0] == 0.0F && rows[6] == 3.5F && rows[8] == 5.0F && rows[9] == 0.0F);
    assert_int_equal(dmq_h5_read_rows(h, f, "half_rows", 1, 1, DMQ_H5_F32, DMQ_DIMS(-1, 3)),
                     DMQ_OK);
    assert_true(h[0] == 21.0F && h[2] == 0.0999755859375F);
    assert_int_equal(dmq_h5_read_rows(x, f, "x", 1, 1, DMQ_H5_F32, DMQ_DIMS(-1, 3, 4)), DMQ_OK);
    assert_true(x[0] == 12.0F);
    dmq_h5_close(f);
}

static void attributes_and_names_come_back(void **state)
{
    dmq_h5 *f = open_sample("a.h5");
    dmq_h5_names names;
    dmq_h5_info info;
    char *text, told[64];
    int64_t i;
    double d;

    (void)state;
    assert_int_equal(dmq_h5_format_check(f, "dmq-test", 2), DMQ_OK);
    assert_int_equal(dmq_h5_format_check(f, "dmq-test", 1), DMQ_EDATA);
    assert_int_equal(dmq_h5_format_check(f, "dmq-calib", 1), DMQ_EDATA);
    assert_non_null(
        strstr(dmq_message(), "a.h5: is a dmq-test file, a dmq-calib file was expected"));
    assert_int_equal(dmq_h5_attr_text(&text, f, "layers/conv_in", "kind"), DMQ_OK);
    assert_string_equal(text, "conv2d");
    dmq_free(text);
    assert_int_equal(dmq_h5_attr_text(&text, f, "/", "empty"), DMQ_OK);
    assert_string_equal(text, "");
    dmq_free(text);
    assert_int_equal(dmq_h5_attr_i64(&i, f, "x", "seed"), DMQ_OK);
    assert_true(i == 1234567890123);
    assert_int_equal(dmq_h5_attr_f64(&d, f, "", "eta"), DMQ_OK);
    assert_true(d == 0.1);
    assert_int_equal(dmq_h5_attr_i64(&i, f, "", "eta"), DMQ_EDATA);
    assert_int_equal(dmq_h5_attr_text(&text, f, "nowhere", "eta"), DMQ_EDATA);
    assert_false(dmq_h5_attr_has(f, "x", "eta"));
    assert_true(dmq_h5_has(f, "layers/a") && !dmq_h5_has(f, "layers/b/c"));

    assert_int_equal(dmq_h5_list(&names, f, ""), DMQ_OK);
    assert_int_equal(names.count, 9);
    assert_string_equal(names.name[0], "x"); /* creation, not alphabet */
    assert_string_equal(names.name[1], "layers/");
    dmq_h5_names_release(&names);
    assert_int_equal(dmq_h5_list(&names, f, "layers"), DMQ_OK);
    assert_string_equal(names.name[0], "conv_in/");
    dmq_h5_names_release(&names);
    assert_int_equal(dmq_h5_list(&names, f, "none"), DMQ_EDATA);

    assert_int_equal(dmq_h5_shape(&info, f, "x"), DMQ_OK);
    dmq_h5_info_text(told, sizeof told, &info);
    assert_string_equal(told, "f32 [2,3,4]");
    assert_int_equal(info.count, 24);
    dmq_h5_close(f);
}

static void equal_content_gives_equal_bytes(void **state)
{
    char a[DMQ_HASH_TEXT], b[DMQ_HASH_TEXT];

    (void)state;
    assert_int_equal(write_sample(in_folder("one.h5")), DMQ_OK);
    (void)sleep(1); /* object times have a resolution of one second */
    assert_int_equal(write_sample(in_folder("two.h5")), DMQ_OK);
    assert_int_equal(dmq_hash_file(a, in_folder("one.h5")), DMQ_OK);
    assert_int_equal(dmq_hash_file(b, in_folder("two.h5")), DMQ_OK);
    assert_string_equal(a, b);
}

static void a_file_appears_when_it_is_complete(void **state)
{
    dmq_h5 *f = NULL;
    char command[256];

    (void)state;
    assert_int_equal(dmq_h5_open(&f, in_folder("later.h5"), DMQ_H5_WRITE), DMQ_OK);
    assert_int_equal(dmq_h5_write_f32(f, "x", DMQ_DIMS(24), ramp), DMQ_OK);
    assert_false(dmq_file_exists(in_folder("later.h5")));
    dmq_h5_close(f); /* given up */
    assert_false(dmq_file_exists(in_folder("later.h5")));
    (void)snprintf(command, sizeof command, "test -z \"$(ls %s | grep tmp)\"", scratch_folder);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): a test's own shell */
}

static void fails(dmq_status st, dmq_status expected, const char *said)
{
    assert_int_equal(st, expected);
    if (!strstr(dmq_message(), said))
        print_error("said: %s\nexpected: %s\n", dmq_message(), said);
    assert_non_null(strstr(dmq_message(), said));
}

static void wrong_requests_are_told(void **state)
{
    dmq_h5 *f = open_sample("a.h5"), *g = NULL;
    float x[24];
    double d[24];
    int32_t i[4];

    (void)state;
    fails(dmq_h5_read_f32(x, f, "nope", DMQ_DIMS(24)), DMQ_EDATA, "a.h5: has no array \"nope\"");
    fails(dmq_h5_read_f32(x, f, "x/y", DMQ_DIMS(24)), DMQ_EDATA, "has no array \"x/y\"");
    fails(dmq_h5_read_f32(x, f, "layers", DMQ_DIMS(24)), DMQ_EDATA, "a.h5: layers");
    fails(dmq_h5_read_f32(x, f, "x", DMQ_DIMS(2, 3, 5)), DMQ_ESHAPE,
          "array \"x\" is f32 [2,3,4], f32 [2,3,5] was expected");
    fails(dmq_h5_read_f32(x, f, "x", DMQ_DIMS(24)), DMQ_ESHAPE, "f32 [24] was expected");
    fails(dmq_h5_read_f32(x, f, "f64", DMQ_DIMS(2)), DMQ_ESHAPE,
          "is f64 [2], f32 [2] was expected");
    fails(dmq_h5_read_i32(i, f, "x", DMQ_DIMS(2, -1, 4)), DMQ_ESHAPE, "i32 [2,*,4] was expected");
    fails(dmq_h5_read_f64(d, f, "u8", DMQ_DIMS(2, 2)), DMQ_ESHAPE, "is u8 [2,2]");
    fails(dmq_h5_read_i32(i, f, "layers/a/i64", DMQ_DIMS(2)), DMQ_EDATA, "does not fit an i32");
    fails(dmq_h5_read_rows(x, f, "x", 1, 2, DMQ_H5_F32, DMQ_DIMS(-1, 3, 4)), DMQ_ESHAPE,
          "has 2 rows, 1..2 were asked");
    dmq_h5_close(f);
    fails(dmq_h5_open(&g, in_folder("nope.h5"), DMQ_H5_READ), DMQ_ENOINPUT,
          "nope.h5: no such file");
    fails(dmq_h5_open(&g, scratch_folder, DMQ_H5_READ), DMQ_EDATA, "is a folder");
    fails(dmq_h5_open(&g, "/nowhere/x.h5", DMQ_H5_WRITE), DMQ_EIO, "/nowhere/x.h5");
    assert_null(g);
}

static void damaged_files_are_refused(void **state)
{
    dmq_h5 *f = NULL;
    char *bytes;
    size_t size;
    int refused = 0;

    (void)state;
    dmq_h5_close(open_sample("a.h5"));
    assert_int_equal(dmq_file_read(&bytes, &size, in_folder("a.h5"), 1 << 20), DMQ_OK);
    for (size_t n = 0; n < size; n += 97) {
        put(in_folder("cut.h5"), bytes, n);
        fails(dmq_h5_open(&f, in_folder("cut.h5"), DMQ_H5_READ), DMQ_EDATA, "cut.h5");
    }
    assert_non_null(strstr(dmq_message(), "is damaged or cut short"));
    assert_int_equal(dmq_file_write_text(in_folder("text.h5"), "not a model, sorry"), DMQ_OK);
    fails(dmq_h5_open(&f, in_folder("text.h5"), DMQ_H5_READ), DMQ_EDATA,
          "does not begin as an HDF5 file");
    /* Any byte flipped: either a status or the right shape, never a crash. */
    for (size_t i = 0; i < size; i += 7) {
        float x[24];

        put_flipped(in_folder("flip.h5"), bytes, size, i, 0x55);
        if (dmq_h5_open(&f, in_folder("flip.h5"), DMQ_H5_READ) != DMQ_OK ||
            dmq_h5_read_f32(x, f, "x", DMQ_DIMS(2, 3, 4)) != DMQ_OK)
            refused++;
        dmq_h5_close(f);
        f = NULL;
    }
    assert_true(refused > 10);
    dmq_free(bytes);
}

static void a_full_disk_is_named(void **state)
{
    struct rlimit old, small = { 4096, 4096 };
    dmq_h5 *f = NULL;
    float *big = NULL;
    dmq_status st;

    (void)state;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(dmq_alloc((void **)&big, 100000, sizeof *big), DMQ_OK);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    assert_int_equal(dmq_h5_open(&f, in_folder("big.h5"), DMQ_H5_WRITE), DMQ_OK);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    st = dmq_h5_write_f32(f, "x", DMQ_DIMS(100000), big);
    if (st == DMQ_OK)
        st = dmq_h5_commit(f);
    assert_int_equal(st, DMQ_EIO);
    assert_non_null(strstr(dmq_message(), "big.h5: the file would be larger"));
    assert_int_equal(dmq_h5_commit(f), DMQ_EIO);
    dmq_h5_close(f);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_false(dmq_file_exists(in_folder("big.h5")));
    assert_int_equal(write_sample(in_folder("after.h5")), DMQ_OK); /* life goes on */
    dmq_h5_close(open_sample("after.h5"));
    fails(dmq_disk_check(scratch_folder, UINT64_MAX), DMQ_EIO,
          "disk full: 18446744073709551615 bytes");
    dmq_free(big);
}

static void every_failed_allocation_is_clean(void **state)
{
    dmq_h5 *f = open_sample("a.h5");
    dmq_h5_names names;
    dmq_status st = DMQ_ENOMEM;
    char *text = NULL;
    int n;

    (void)state;
    dmq_h5_close(f);
    for (n = 1; st != DMQ_OK && n < 200; n++) {
        dmq_alloc_fail_at(n);
        st = write_sample(in_folder("alloc.h5"));
        dmq_alloc_fail_at(0);
        assert_true(st == DMQ_OK || st == DMQ_ENOMEM);
    }
    assert_true(n > 5 && n < 200);
    for (st = DMQ_ENOMEM, n = 1; st != DMQ_OK && n < 200; n++) {
        dmq_alloc_fail_at(n);
        st = dmq_h5_open(&f, in_folder("a.h5"), DMQ_H5_READ);
        if (st == DMQ_OK)
            st = dmq_h5_list(&names, f, "");
        if (st == DMQ_OK) {
            dmq_h5_names_release(&names);
            st = dmq_h5_read_text(&text, f, "config");
        }
        if (st == DMQ_OK) {
            dmq_free(text);
            st = dmq_h5_attr_text(&text, f, "", "format");
        }
        if (st == DMQ_OK)
            dmq_free(text);
        dmq_alloc_fail_at(0);
        dmq_h5_close(f);
        f = NULL;
    }
    assert_true(n > 10 && n < 200);
}

static void *read_often(void *arg)
{
    long wrong = 0;

    for (int i = 0; i < 50; i++) {
        dmq_h5 *f = NULL;
        float x[24] = { 0 };

        if (dmq_h5_open(&f, arg, DMQ_H5_READ) != DMQ_OK ||
            dmq_h5_read_f32(x, f, "x", DMQ_DIMS(2, 3, 4)) != DMQ_OK || x[23] != 0.1F)
            wrong++;
        dmq_h5_close(f);
    }
    return (void *)wrong;
}

static void threads_may_read(void **state)
{
    pthread_t threads[2];
    char path[128];
    void *wrong;

    (void)state;
    dmq_h5_close(open_sample("a.h5"));
    (void)snprintf(path, sizeof path, "%s", in_folder("a.h5"));
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_often, path), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], &wrong), 0);
        assert_null(wrong);
    }
}

static void halves_round_to_nearest_even(void **state)
{
    (void)state;
    for (unsigned b = 0; b < 65536; b++) { /* exact there and back, NaN stays NaN */
        float x = dmq_half_to_float((uint16_t)b);
        uint16_t back = dmq_half_from_float(x);

        if ((b & 0x7FFFU) > 0x7C00U) {
            assert_true(isnan(x) && (back & 0x7FFFU) > 0x7C00U);
        } else {
            assert_int_equal(back, b);
        }
    }
    for (unsigned b = 0; b < 0x7BFFU; b++) { /* half way goes to the even one */
        double lo = (double)dmq_half_to_float((uint16_t)b);
        double hi = (double)dmq_half_to_float((uint16_t)(b + 1));
        float mid = (float)((lo + hi) / 2);

        assert_int_equal(dmq_half_from_float(mid), b + (b & 1U));
        assert_int_equal(dmq_half_from_float(nextafterf(mid, 0.0F)), b);
        assert_int_equal(dmq_half_from_float(nextafterf(mid, 1e9F)), b + 1);
    }
    assert_int_equal(dmq_half_from_float(65519.996F), 0x7BFF);
    assert_int_equal(dmq_half_from_float(65520.0F), 0x7C00);
    assert_int_equal(dmq_half_from_float(-1e30F), 0xFC00);
    assert_int_equal(dmq_bfloat16_from_float(1.00390625F), 0x3F80); /* a tie, to even */
    assert_int_equal(dmq_bfloat16_from_float(1.01171875F), 0x3F82);
    assert_true(dmq_bfloat16_to_float(0xC000) == -2.0F);
    assert_true(isnan(dmq_bfloat16_to_float(dmq_bfloat16_from_float(NAN))));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrays_come_back),
        cmocka_unit_test(attributes_and_names_come_back),
        cmocka_unit_test(equal_content_gives_equal_bytes),
        cmocka_unit_test(a_file_appears_when_it_is_complete),
        cmocka_unit_test(wrong_requests_are_told),
        cmocka_unit_test(damaged_files_are_refused),
        cmocka_unit_test(every_failed_allocation_is_clean),
        cmocka_unit_test(threads_may_read),
        cmocka_unit_test(halves_round_to_nearest_even),
        cmocka_unit_test(a_full_disk_is_named),
    };

    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
