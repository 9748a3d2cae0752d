/* safetensors: what is written comes back, and what is wrong is refused. */
#include "base/memory.h"
#include "io/file.h"
#include "io/hash.h"
#include "io/safetensors.h"
#include "scratch.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static const float x[6] = { 0.0F, -1.5F, 0.1F, 65504.0F, 3.0F, 1e-3F };
static const int64_t n64[2] = { -1, INT64_MAX };
static const uint8_t bytes[3] = { 0, 7, 255 };
static const double d[1] = { 0.1 };

static dmq_status write_sample(const char *path)
{
    static const char *const metadata[][2] = { { "model", "ddpm \"x\"\n" }, { "ema", "true" } };
    const dmq_st_source tensors[] = {
        { "u8", DMQ_ST_U8, 1, { 3 }, bytes },       { "b.half", DMQ_ST_F16, 1, { 6 }, x },
        { "a.full", DMQ_ST_F32, 2, { 2, 3 }, x },   { "b.brain", DMQ_ST_BF16, 1, { 6 }, x },
        { "n", DMQ_ST_I64, 1, { 2 }, n64 },         { "scalar", DMQ_ST_F64, 0, { 0 }, d },
        { "empty", DMQ_ST_F32, 2, { 0, 3 }, NULL },
    };

    return dmq_safetensors_save(path, tensors, 7, metadata, 2);
}

static void tensors_come_back(void **state)
{
    dmq_safetensors *f;
    const dmq_st_tensor *t;
    int64_t i[3];
    float y[6];

    (void)state;
    assert_int_equal(write_sample(in_folder("a.st")), DMQ_OK);
    assert_int_equal(dmq_safetensors_open(&f, in_folder("a.st")), DMQ_OK);
    assert_int_equal(dmq_safetensors_count(f), 7);
    assert_string_equal(dmq_safetensors_at(f, 0)->name, "a.full");
    assert_int_equal(dmq_safetensors_read_f32(y, f, "a.full", 2, (int64_t[]){ 2, -1 }), DMQ_OK);
    assert_memory_equal(y, x, sizeof x);
    assert_int_equal(dmq_safetensors_read_f32(y, f, "b.half", 1, (int64_t[]){ 6 }), DMQ_OK);
    assert_true(y[1] == -1.5F && y[2] == 0.0999755859375F && y[3] == 65504.0F);
    assert_int_equal(dmq_safetensors_read_f32(y, f, "b.brain", 1, NULL), DMQ_OK);
    assert_true(y[1] == -1.5F && y[3] == 65536.0F && y[4] == 3.0F);
    assert_int_equal(dmq_safetensors_read_f32(y, f, "scalar", 0, NULL), DMQ_OK);
    assert_true(y[0] == 0.1F);
    assert_int_equal(dmq_safetensors_read_f32(y, f, "empty", 2, (int64_t[]){ 0, 3 }), DMQ_OK);
    assert_int_equal(dmq_safetensors_read_i64(i, f, "n", 1, (int64_t[]){ 2 }), DMQ_OK);
    assert_true(i[0] == -1 && i[1] == INT64_MAX);
    assert_int_equal(dmq_safetensors_read_i64(i, f, "u8", 1, (int64_t[]){ 3 }), DMQ_OK);
    assert_int_equal(i[2], 255);
    assert_string_equal(dmq_safetensors_metadata(f, "model"), "ddpm \"x\"\n");
    assert_null(dmq_safetensors_metadata(f, "nope"));
    t = dmq_safetensors_find(f, "n");
    assert_int_equal(t->offset % 8, 0);
    assert_null(dmq_safetensors_find(f, "z"));
    assert_int_equal(dmq_safetensors_read_f32(y, f, "z", 0, NULL), DMQ_EDATA);
    assert_int_equal(dmq_safetensors_read_f32(y, f, "n", 1, (int64_t[]){ 2 }), DMQ_ESHAPE);
    assert_non_null(
        strstr(dmq_message(), "tensor \"n\" is I64 [2], a float tensor [2] was expected"));
    assert_int_equal(dmq_safetensors_read_f32(y, f, "a.full", 2, (int64_t[]){ 3, 2 }), DMQ_ESHAPE);
    assert_int_equal(dmq_safetensors_read_f32(y, f, "a.full", 1, (int64_t[]){ 6 }), DMQ_ESHAPE);
    dmq_safetensors_close(f);
    assert_int_equal(dmq_safetensors_open(&f, in_folder("nope.st")), DMQ_ENOINPUT);
    assert_int_equal(dmq_safetensors_open(&f, scratch_folder), DMQ_EDATA);
}

static void writing_is_repeatable_and_sorted(void **state)
{
    char a[DMQ_HASH_TEXT], b[DMQ_HASH_TEXT], *text;
    const dmq_st_source twice[] = { { "x", DMQ_ST_F32, 1, { 6 }, x },
                                    { "x", DMQ_ST_F16, 1, { 6 }, x } };
    const dmq_st_source bad[] = { { "\xFF", DMQ_ST_F32, 1, { 6 }, x } };
    size_t size;

    (void)state;
    assert_int_equal(write_sample(in_folder("a.st")), DMQ_OK);
    assert_int_equal(write_sample(in_folder("b.st")), DMQ_OK);
    assert_int_equal(dmq_hash_file(a, in_folder("a.st")), DMQ_OK);
    assert_int_equal(dmq_hash_file(b, in_folder("b.st")), DMQ_OK);
    assert_string_equal(a, b);
    assert_int_equal(dmq_file_read(&text, &size, in_folder("a.st"), 10000), DMQ_OK);
    assert_true(strstr(text + 8, "\"n\"") < strstr(text + 8, "\"scalar\""));
    assert_true(strstr(text + 8, "\"scalar\"") < strstr(text + 8, "\"a.full\""));
    assert_true(strstr(text + 8, "\"b.brain\"") < strstr(text + 8, "\"u8\""));
    dmq_free(text);
    assert_int_equal(dmq_safetensors_save(in_folder("c.st"), twice, 2, NULL, 0), DMQ_EINVAL);
    assert_int_equal(dmq_safetensors_save(in_folder("c.st"), bad, 1, NULL, 0), DMQ_EINVAL);
    assert_int_equal(dmq_safetensors_save("/nowhere/c.st", twice, 1, NULL, 0), DMQ_EIO);
    assert_int_equal(dmq_safetensors_save(in_folder("none.st"), NULL, 0, NULL, 0), DMQ_OK);
}

/* length of the header (-1: the true one), header, n zero bytes behind it */
static dmq_status try_file(long long length, const char *header, size_t data)
{
    char file[4096] = { 0 };
    size_t n = strlen(header);
    uint64_t claimed = length < 0 ? n : (uint64_t)length;
    dmq_safetensors *f;
    dmq_status st;

    for (int i = 0; i < 8; i++)
        file[i] = (char)(claimed >> 8 * i & 255U);
    memcpy(file + 8, header, n);
    put(in_folder("try.st"), file, 8 + n + data);
    st = dmq_safetensors_open(&f, in_folder("try.st"));
    dmq_safetensors_close(f);
    return st;
}

#define T(type, shape, begin, end) \
    "{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"

static void malformed_files_are_refused(void **state)
{
    static const struct {
        long long length;
        const char *header;
        size_t data;
        const char *said;
    } cases[] = {
        { 100000001, "{}", 0, "claims more than 100 MB" },
        { -2 + INT64_MAX, "{}", 0, "claims more than 100 MB" },
        { 50, "{}", 0, "claims more bytes than the file has" },
        { -1, "[]", 0, "does not begin with {" },
        { -1, "", 0, "does not begin with {" },
        { -1, " {}", 0, "does not begin with {" },
        { -1, "{}x", 0, "other than spaces" },
        { -1, "{}\n", 0, "other than spaces" },
        { -1, "{\"a\":" T("F32", "[1]", "0", "4") "", 4, "not valid JSON" },
        { -1, "{\"a\xFF\":1}", 0, "not UTF-8" },
        { -1, "{\"a\":" T("F32", "[1]", "0", "4") ",\"a\":" T("F32", "[1]", "0", "4") "}", 4,
          "duplicate" },
        { -1, "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
          4, "duplicate" },
        { -1, "{\"a\":" T("F32", "[1]", "0", "8") "}", 8, "need 32 bits, its data_offsets hold 8" },
        { -1, "{\"a\":" T("Q32", "[1]", "0", "4") "}", 4, "its dtype is not one of the format" },
        { -1, "{\"a\":" T("F32", "[-1]", "0", "4") "}", 4, "more than texts and whole numbers" },
        { -1, "{\"a\":" T("F32", "[1.0]", "0", "4") "}", 4, "more than texts and whole numbers" },
        { -1, "{\"a\":" T("F32", "[1e0]", "0", "4") "}", 4, "more than texts and whole numbers" },
        { -1, "{\"a\":" T("F32", "[01]", "0", "4") "}", 4, "not valid JSON" },
        { -1, "{\"a\":" T("F32", "\"1\"", "0", "4") "}", 4, "its shape is not a list" },
        { -1, "{\"a\":" T("F32", "[1,1,1,1,1,1,1,1,1]", "0", "4") "}", 4, "at most 8 numbers" },
        { -1, "{\"a\":" T("F32", "[9223372036854775807,9]", "0", "4") "}", 4,
          "holds something that" },
        { -1, "{\"a\":" T("F32", "[99999999999999999999]", "0", "4") "}", 4, "not valid JSON" },
        { -1, "{\"a\":" T("U8", "[4294967296,4294967296]", "0", "0") "}", 0, "more than 2^40" },
        { -1, "{\"a\":" T("F4", "[1]", "0", "0") "}", 0, "need 4 bits" },
        { -1, "{\"a\":" T("F32", "[1]", "4", "0") "}", 4, "not begin and end" },
        { -1, "{\"a\":" T("F32", "[1]", "4", "8") "}", 8, "there is a hole before it" },
        { -1, "{\"a\":" T("F32", "[1]", "0", "4") ",\"b\":" T("F32", "[1]", "0", "4") "}", 8,
          "tensor \"b\": it overlaps the tensor before it" },
        { -1, "{\"a\":" T("F32", "[2]", "0", "8") ",\"b\":" T("F32", "[1]", "4", "8") "}", 8,
          "overlaps" },
        { -1, "{\"a\":" T("F32", "[1]", "0", "4") "}", 3, "it is cut short" },
        { -1, "{\"a\":" T("F32", "[1]", "0", "4") "}", 5, "need 4 bytes, the file has 5" },
        { -1, "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1}}", 4,
          "nothing else" },
        { -1, "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 0, "nothing else" },
        { -1, "{\"a\":[1]}", 0, "nothing else" },
        { -1, "{\"a\":{\"b\":{\"c\":{}}}}", 0, "nested more than three deep" },
        { -1, "{\"__metadata__\":{\"a\":1}}", 0, "not a text" },
        { -1, "{\"__metadata__\":[]}", 0, "not a map" },
        { -1, "{\"a\\u001b\":" T("F32", "[1]", "0", "4") "}", 4, "control character" },
        { -1, "{\"a\":true}", 0, "more than texts and whole numbers" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dmq_status st = try_file(cases[i].length, cases[i].header, cases[i].data);

        if (st != DMQ_EDATA || !strstr(dmq_message(), cases[i].said) ||
            !strstr(dmq_message(), "try.st"))
            fail_msg("case %zu: status %d, said: %s", i, (int)st, dmq_message());
    }
    assert_int_equal(try_file(-1, "{}   ", 0), DMQ_OK);
    assert_int_equal(try_file(-1, "{\"a\":" T("F32", "[]", "0", "4") "}", 4), DMQ_OK);
    assert_int_equal(try_file(-1, "{\"a\": " T("F8_E4M3", "[2]", "0", "2") "}", 2), DMQ_OK);
}

static void cut_and_flipped_files_never_crash(void **state)
{
    dmq_safetensors *f;
    size_t size;
    char *text;
    float y[6];

    (void)state;
    assert_int_equal(write_sample(in_folder("a.st")), DMQ_OK);
    assert_int_equal(dmq_file_read(&text, &size, in_folder("a.st"), 10000), DMQ_OK);
    for (size_t n = 0; n < size; n++) {
        put(in_folder("cut.st"), text, n);
        assert_int_equal(dmq_safetensors_open(&f, in_folder("cut.st")), DMQ_EDATA);
    }
    for (size_t i = 0; i < size; i++) {
        put_flipped(in_folder("flip.st"), text, size, i, 1);
        if (dmq_safetensors_open(&f, in_folder("flip.st")) == DMQ_OK)
            (void)dmq_safetensors_read_f32(y, f, "b.half", 1, (int64_t[]){ 6 });
        dmq_safetensors_close(f);
    }
    dmq_free(text);
}

static void every_failed_allocation_is_clean(void **state)
{
    dmq_status st = DMQ_ENOMEM;
    float y[6];
    int n;

    (void)state;
    for (n = 1; st != DMQ_OK && n < 1000; n++) {
        dmq_safetensors *f = NULL;

        dmq_alloc_fail_at(n);
        st = write_sample(in_folder("alloc.st"));
        if (st == DMQ_OK)
            st = dmq_safetensors_open(&f, in_folder("alloc.st"));
        if (st == DMQ_OK)
            st = dmq_safetensors_read_f32(y, f, "b.half", 1, (int64_t[]){ 6 });
        dmq_alloc_fail_at(0);
        dmq_safetensors_close(f);
        if (st != DMQ_OK && st != DMQ_ENOMEM)
            fail_msg("allocation %d: %s", n, dmq_message());
    }
    assert_true(n > 30 && n < 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_come_back),
        cmocka_unit_test(writing_is_repeatable_and_sorted),
        cmocka_unit_test(malformed_files_are_refused),
        cmocka_unit_test(cut_and_flipped_files_never_crash),
        cmocka_unit_test(every_failed_allocation_is_clean),
    };

    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
