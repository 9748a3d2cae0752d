/* LMDB databases, against one that LMDB itself wrote: tests/golden/lsun.mdb, by make_pictures.py. */
#include "base/memory.h"
#include "check.h"
#include "io/file.h"
#include "io/lmdb.h"
#include "scratch.h"

enum { KEY = 40, PAGE = 4096 };

static const char *const cases[] = { "png_rgb",        "png_rgba",      "png_grey",
                                     "png_grey_alpha", "png_palette",   "png_palette_4",
                                     "png_bits",       "jpeg_420",      "jpeg_444",
                                     "jpeg_422",       "jpeg_grey",     "jpeg_progressive",
                                     "webp_lossy",     "webp_lossless", "jpeg_photo",
                                     "webp_photo" };

static char *database;
static size_t size;

static void records_are_those_that_were_put(void **state)
{
    dmq_h5 *golden = check_golden_open("pictures");
    dmq_h5_info info;
    dmq_lmdb *f;
    int32_t *which;
    uint8_t *keys;
    int large = 0;

    (void)state;
    CHECK_OK(dmq_folder_create(in_folder("lsun")));
    put(in_folder("lsun/data.mdb"), database, size);
    CHECK_OK(dmq_lmdb_open(&f, in_folder("lsun")));
    dmq_lmdb_close(f);
    CHECK_OK(dmq_lmdb_open(&f, in_folder("lsun/data.mdb")));
    CHECK_OK(dmq_h5_shape(&info, golden, "lmdb/case"));
    assert_int_equal(dmq_lmdb_count(f), info.count);
    which = check_golden_whole(golden, "lmdb", "case", (size_t)info.count);
    keys = check_bytes((size_t)info.count * KEY, 1);
    CHECK_OK(dmq_h5_read_u8(keys, golden, "lmdb/keys", DMQ_DIMS(info.count * KEY)));
    for (int64_t i = 0; i < dmq_lmdb_count(f); i++) {
        char path[64], key[DMQ_LMDB_KEY];
        dmq_h5_info file;
        uint8_t *want, *got;

        dmq_lmdb_key(key, f, i);
        assert_int_equal(strlen(key), KEY);
        assert_memory_equal(key, keys + i * KEY, KEY);
        (void)snprintf(path, sizeof path, "%s/file", cases[which[i]]);
        CHECK_OK(dmq_h5_shape(&file, golden, path));
        assert_int_equal(dmq_lmdb_size(f, i), file.count);
        want = check_bytes((size_t)file.count, 1);
        got = check_bytes((size_t)file.count, 1);
        CHECK_OK(dmq_h5_read_u8(want, golden, path, DMQ_DIMS(-1)));
        CHECK_OK(dmq_lmdb_read(got, f, i));
        assert_memory_equal(got, want, (size_t)file.count);
        large += file.count > PAGE;
    }
    assert_true(large > 1); /* on several pages */
    dmq_lmdb_close(f);
    dmq_h5_close(golden);
}

static void refused(const void *bytes, size_t n, const char *said)
{
    dmq_lmdb *f;

    put(in_folder("bad.mdb"), bytes, n);
    assert_int_equal(dmq_lmdb_open(&f, in_folder("bad.mdb")), DMQ_EDATA);
    assert_null(f);
    if (!strstr(dmq_message(), said))
        fail_msg("said \"%s\", not \"%s\"", dmq_message(), said);
}

/* A number of the newer meta page set to something. Both get it, so that neither is better. */
static void with(size_t at, int width, uint64_t value, const char *said)
{
    char *bytes = check_bytes(size, 1);

    memcpy(bytes, database, size);
    for (int k = 0; k < width; k++) {
        bytes[at + (size_t)k] = (char)(value >> (8 * k) & 255);
        bytes[PAGE + at + (size_t)k] = (char)(value >> (8 * k) & 255);
    }
    refused(bytes, size, said);
}

static void wrong_descriptions_are_refused(void **state)
{
    const size_t tree = 16 + 24 + 48;

    (void)state;
    with(16, 4, 0xBEEFC0DF, "is no LMDB database of version 1");
    with(20, 4, 999, "is no LMDB database of version 1");
    with(40, 4, 1000, "has pages of 1000 bytes: must be a power of two, 512..65536");
    with(tree + 4, 2, 4, "several values a key");
    with(tree + 6, 2, 0, "its tree is 0 deep: must be 1..32");
    with(tree + 6, 2, 33, "its tree is 33 deep");
    with(tree + 6, 2, 1, "is not the leaf that it should be");
    with(tree + 6, 2, 3, "is not the branch that it should be");
    with(tree + 32, 8, 0, "holds no records");
    with(tree + 32, 8, 5, "holds more records than the database says");
    with(tree + 32, 8, UINT64_MAX, "records, and says that it has 18446744073709551615");
    with(tree + 40, 8, 1, "page 1 is pointed to, but is none of the tree's");
    with(tree + 40, 8, UINT64_MAX, "is none of the tree's");
    with(tree + 48, 8, size / PAGE, "is cut short: it has");
    with(tree + 48, 8, UINT64_MAX, "is cut short");
    refused(database, 100, "");
    refused(database, PAGE + 20, "");
    refused(database, size / 2, "");
    refused("", 0, "");
    assert_int_equal(dmq_lmdb_open(&(dmq_lmdb *){ NULL }, in_folder("none.mdb")), DMQ_ENOINPUT);
}

/* Whatever byte is wrong: an answer, and never more than the file holds. */
static void damaged_databases_never_crash(void **state)
{
    char *value = check_bytes(1 << 20, 1);
    int refusals = 0;

    (void)state;
    for (size_t i = 0; i < size; i += i % PAGE < 160 ? 1 : 97) {
        dmq_lmdb *f;

        put_flipped(in_folder("flip.mdb"), database, size, i, i % 3 == 0 ? 1 : 0x81);
        if (dmq_lmdb_open(&f, in_folder("flip.mdb")) != DMQ_OK) {
            refusals++;
            continue;
        }
        for (int64_t k = 0; k < dmq_lmdb_count(f); k++) {
            assert_true(dmq_lmdb_size(f, k) < size);
            if (dmq_lmdb_read(value, f, k) != DMQ_OK)
                refusals++;
        }
        dmq_lmdb_close(f);
    }
    assert_true(refusals > 32);
}

static int set_up(void **state)
{
    char path[512];

    (void)snprintf(path, sizeof path, "%s/lsun.mdb", check_golden_folder());
    return scratch_make(state) || dmq_file_read(&database, &size, path, 1 << 20) != DMQ_OK;
}

static int tear_down(void **state)
{
    dmq_free(database);
    return scratch_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(records_are_those_that_were_put),
        CHECK_TEST(wrong_descriptions_are_refused),
        CHECK_TEST(damaged_databases_never_crash),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
