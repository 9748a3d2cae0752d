/* NumPy files. */
#include "base/memory.h"
#include "base/text.h"
#include "io/file.h"
#include "io/npz.h"
#include "npz_bytes.h"
#include "scratch.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

static void write_npy(const char *name, int major, const char *header, const void *data,
                      size_t size)
{
    dmq_text t = npy(major, header, data, size);

    put(in_folder(name), t.data, t.size);
    dmq_text_release(&t);
}

static void write_npz(const char *name, int method)
{
    static const float f4[6] = { 0, 1, 2, 3, 4, 5.5F };
    static const uint8_t u1[4] = { 0, 1, 2, 255 };
    dmq_text a =
        npy(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", f4, sizeof f4);
    dmq_text b = npy(2, "{'descr': '|u1', 'fortran_order': False, 'shape': (4,), }", u1, sizeof u1);

    put_npz(in_folder(name), method, 2,
            (npz_member[]){ { "arr_0.npy", &a }, { "labels.npy", &b } });
    dmq_text_release(&a);
    dmq_text_release(&b);
}

static void archives_are_read(void **state)
{
    static const int methods[] = { ZIP_CM_STORE, ZIP_CM_DEFLATE };
    dmq_npz_info info;
    dmq_npz *f;
    float x[6];
    int64_t n[4];
    uint8_t u[4];
    double d[6];

    (void)state;
    for (int i = 0; i < 2; i++) {
        write_npz("a.npz", methods[i]);
        assert_int_equal(dmq_npz_open(&f, in_folder("a.npz")), DMQ_OK);
        assert_int_equal(dmq_npz_count(f), 2);
        assert_string_equal(dmq_npz_name(f, 1), "labels");
        assert_null(dmq_npz_name(f, 2));
        assert_int_equal(dmq_npz_shape(&info, f, "arr_0"), DMQ_OK);
        assert_int_equal(info.rank, 2);
        assert_int_equal(info.dims[1], 3);
        assert_int_equal(dmq_npz_read_f32(x, f, "arr_0", 2, (int64_t[]){ -1, 3 }), DMQ_OK);
        assert_true(x[5] == 5.5F);
        assert_int_equal(dmq_npz_read_f64(d, f, "arr_0", 2, (int64_t[]){ 2, 3 }), DMQ_OK);
        assert_true(d[5] == 5.5);
        assert_int_equal(dmq_npz_read_u8(u, f, "labels", 1, (int64_t[]){ 4 }), DMQ_OK);
        assert_int_equal(u[3], 255);
        assert_int_equal(dmq_npz_read_i64(n, f, "labels", 1, (int64_t[]){ 4 }), DMQ_OK);
        assert_int_equal(n[3], 255);
        assert_int_equal(dmq_npz_read_f32(x, f, "nope", 1, (int64_t[]){ 4 }), DMQ_EDATA);
        assert_non_null(strstr(dmq_message(), "a.npz: has no array \"nope\""));
        assert_int_equal(dmq_npz_read_f32(x, f, "labels", 1, (int64_t[]){ 4 }), DMQ_ESHAPE);
        assert_non_null(strstr(dmq_message(), "array \"labels\" is u1 [4], f4 [4] was expected"));
        assert_int_equal(dmq_npz_read_f32(x, f, "arr_0", 1, (int64_t[]){ 6 }), DMQ_ESHAPE);
        dmq_npz_close(f);
    }
    assert_int_equal(dmq_npz_open(&f, in_folder("none.npz")), DMQ_ENOINPUT);
}

static void single_arrays_come_back(void **state)
{
    const double d[3] = { 0.1, -1e300, 0 };
    const int32_t n[1] = { -5 };
    double out[3];
    int64_t whole;
    dmq_npz *f;

    (void)state;
    assert_int_equal(dmq_npy_save(in_folder("d.npy"), DMQ_NPZ_F8, 2, (int64_t[]){ 3, 1 }, d),
                     DMQ_OK);
    assert_int_equal(dmq_npz_open(&f, in_folder("d.npy")), DMQ_OK);
    assert_string_equal(dmq_npz_name(f, 0), "");
    assert_int_equal(dmq_npz_read_f64(out, f, "", 2, (int64_t[]){ 3, 1 }), DMQ_OK);
    assert_memory_equal(out, d, sizeof d);
    assert_int_equal(dmq_npz_read_f64(out, f, "x", 2, (int64_t[]){ 3, 1 }), DMQ_EDATA);
    dmq_npz_close(f);
    assert_int_equal(dmq_npy_save(in_folder("n.npy"), DMQ_NPZ_I4, 0, NULL, n), DMQ_OK);
    assert_int_equal(dmq_npz_open(&f, in_folder("n.npy")), DMQ_OK);
    assert_int_equal(dmq_npz_read_i64(&whole, f, "", 0, NULL), DMQ_OK);
    assert_int_equal(whole, -5);
    dmq_npz_close(f);
}

/* 40 rows of 5000 bytes: more than one piece of the reader; level (i * 5000 + k) * 7 mod 251. */
enum { ROWS = 40, ROW = 5000 };

static uint8_t in_row(int64_t row, int k)
{
    return (uint8_t)((row * ROW + k) * 7 % 251);
}

static void rows_are_right(dmq_npz_rows *rows, int64_t first, int64_t count)
{
    static uint8_t got[ROWS * ROW];

    assert_int_equal(dmq_npz_rows_read(got, rows, first, count), DMQ_OK);
    for (int64_t i = 0; i < count * ROW; i++)
        assert_int_equal(got[i], in_row(first + i / ROW, (int)(i % ROW)));
}

static void rows_are_read_at_any_place(void **state)
{
    static const char *const names[] = { "stored.npz", "deflated.npz", "plain.npy" };
    static const int64_t order[][2] = { { 0, 3 }, { 3, 20 }, { 30, 10 },
                                        { 7, 1 }, { 8, 1 },  { 0, 40 } };
    static uint8_t data[ROWS * ROW];
    dmq_text t;

    (void)state;
    for (int i = 0; i < ROWS * ROW; i++)
        data[i] = in_row(i / ROW, i % ROW);
    t = npy(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (40, 50, 100), }", data,
            sizeof data);
    put(in_folder("plain.npy"), t.data, t.size);
    put_npz(in_folder("stored.npz"), ZIP_CM_STORE, 1, (npz_member[]){ { "arr_0.npy", &t } });
    put_npz(in_folder("deflated.npz"), ZIP_CM_DEFLATE, 1, (npz_member[]){ { "arr_0.npy", &t } });
    for (int i = 0; i < 3; i++) {
        dmq_npz *f;
        dmq_npz_rows *rows;

        assert_int_equal(dmq_npz_open(&f, in_folder(names[i])), DMQ_OK);
        assert_int_equal(dmq_npz_rows_open(&rows, f, i < 2 ? "arr_0" : ""), DMQ_OK);
        assert_int_equal(dmq_npz_rows_info(rows)->dims[0], ROWS);
        assert_int_equal(dmq_npz_rows_info(rows)->type, DMQ_NPZ_U1);
        for (size_t k = 0; k < sizeof order / sizeof *order; k++)
            rows_are_right(rows, order[k][0], order[k][1]);
        dmq_npz_rows_close(rows);
        dmq_npz_close(f);
    }
    dmq_text_release(&t);
}

static void rows_of_damaged_archives_are_refused(void **state)
{
    static uint8_t got[ROWS * ROW];
    dmq_text t = npy(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (40, 5000), }", got,
                     ROWS * ROW - 1);
    dmq_npz_rows *rows;
    dmq_npz *f;
    char *bytes;
    size_t size;

    (void)state;
    put_npz(in_folder("short.npz"), ZIP_CM_DEFLATE, 1, (npz_member[]){ { "arr_0.npy", &t } });
    assert_int_equal(dmq_npz_open(&f, in_folder("short.npz")), DMQ_OK);
    assert_int_equal(dmq_npz_rows_open(&rows, f, "arr_0"), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "short.npz: array arr_0: is cut short"));
    assert_non_null(strstr(dmq_message(), "needs 200000 bytes, the file has 199999"));
    assert_int_equal(dmq_npz_rows_open(&rows, f, "arr_1"), DMQ_EDATA);
    dmq_npz_close(f);
    dmq_text_release(&t);
    t = npy(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (0, 5000), }", NULL, 0);
    put_npz(in_folder("none.npz"), ZIP_CM_STORE, 1, (npz_member[]){ { "arr_0.npy", &t } });
    assert_int_equal(dmq_npz_open(&f, in_folder("none.npz")), DMQ_OK);
    assert_int_equal(dmq_npz_rows_open(&rows, f, "arr_0"), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "none.npz: array arr_0: has no rows"));
    dmq_npz_close(f);
    dmq_text_release(&t);
    /* one level changed: the checksum tells when the last row is read */
    assert_int_equal(dmq_file_read(&bytes, &size, in_folder("stored.npz"), 1 << 20), DMQ_OK);
    put_flipped(in_folder("flip.npz"), bytes, size, 100000, 1);
    dmq_free(bytes);
    assert_int_equal(dmq_npz_open(&f, in_folder("flip.npz")), DMQ_OK);
    assert_int_equal(dmq_npz_rows_open(&rows, f, "arr_0"), DMQ_OK);
    assert_int_equal(dmq_npz_rows_read(got, rows, 0, ROWS - 1), DMQ_OK);
    assert_int_equal(dmq_npz_rows_read(got, rows, ROWS - 1, 1), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "flip.npz: array arr_0: "));
    dmq_npz_rows_close(rows);
    dmq_npz_close(f);
}

static void malformed_arrays_are_refused(void **state)
{
    static const struct {
        const char *header;
        size_t data;
        const char *said;
    } cases[] = {
        { "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", 8, "its numbers are not" },
        { "{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", 4, "its numbers are not" },
        { "{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }", 4, "Fortran order" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}", 4, "unknown key" },
        { "{'descr': '<f4', 'shape': (1,), }", 4, "must have descr, fortran_order and shape" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", 4, "its shape is not" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (1.5,), }", 4, "its shape is not" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }", 4,
          "below 2^40" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", 4,
          "its shape is not" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 1, 1, 1, 1, 1, 1, 1), }", 4,
          "at most 8 sizes" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), } + evil()", 4, "nothing else" },
        { "['descr']", 4, "not a dictionary" },
        { "{'descr", 4, "no text" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (1,", 4, "its shape is not" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 7, "is cut short" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 9,
          "more bytes than its shape" },
    };
    const char zeros[16] = { 0 };
    dmq_npz *f;
    float x[16];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dmq_status st;

        write_npy("bad.npy", 1, cases[i].header, zeros, cases[i].data);
        assert_int_equal(dmq_npz_open(&f, in_folder("bad.npy")), DMQ_OK);
        st = dmq_npz_read_f32(x, f, "", 1, (int64_t[]){ -1 });
        if (st != DMQ_EDATA || !strstr(dmq_message(), cases[i].said))
            fail_msg("case %zu: status %d, said: %s", i, (int)st, dmq_message());
        dmq_npz_close(f);
    }
    write_npy("v4.npy", 4, "{}", NULL, 0);
    assert_int_equal(dmq_npz_open(&f, in_folder("v4.npy")), DMQ_OK);
    assert_int_equal(dmq_npz_read_f32(x, f, "", 1, (int64_t[]){ -1 }), DMQ_EDATA);
    dmq_npz_close(f);
    assert_int_equal(dmq_file_write_text(in_folder("text.npz"), "hello there"), DMQ_OK);
    assert_int_equal(dmq_npz_open(&f, in_folder("text.npz")), DMQ_EDATA);
}

static void damaged_archives_never_crash(void **state)
{
    static const int methods[] = { ZIP_CM_STORE, ZIP_CM_DEFLATE };
    dmq_npz *f;
    size_t size;
    char *text;
    float x[6];
    int found = 0;

    (void)state;
    for (int k = 0; k < 2; k++) {
        write_npz("a.npz", methods[k]);
        assert_int_equal(dmq_file_read(&text, &size, in_folder("a.npz"), 10000), DMQ_OK);
        for (size_t n = 0; n < size; n++) {
            put(in_folder("cut.npz"), text, n);
            assert_int_equal(dmq_npz_open(&f, in_folder("cut.npz")), DMQ_EDATA);
        }
        for (size_t i = 0; i < size; i++) {
            put_flipped(in_folder("flip.npz"), text, size, i, 4);
            if (dmq_npz_open(&f, in_folder("flip.npz")) != DMQ_OK)
                continue;
            found += dmq_npz_read_f32(x, f, "arr_0", 2, (int64_t[]){ 2, 3 }) != DMQ_OK;
            dmq_npz_close(f);
        }
        dmq_free(text);
    }
    assert_true(found > 24); /* the checksum finds every flip in the data at least */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(archives_are_read),
        cmocka_unit_test(single_arrays_come_back),
        cmocka_unit_test(rows_are_read_at_any_place),
        cmocka_unit_test(rows_of_damaged_archives_are_refused),
        cmocka_unit_test(malformed_arrays_are_refused),
        cmocka_unit_test(damaged_archives_never_crash),
    };

    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
