/* hash, file and path. */
#include "base/memory.h"
#include "base/path.h"
#include "io/file.h"
#include "io/hash.h"
#include "scratch.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void known_digests(void **state)
{
    char hex[DMQ_HASH_TEXT], pieces[DMQ_HASH_TEXT];
    dmq_hash *hash;

    (void)state;
    assert_int_equal(dmq_hash_memory(hex, "", 0), DMQ_OK);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_int_equal(dmq_hash_memory(hex, "abc", 3), DMQ_OK);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(dmq_hash_create(&hash), DMQ_OK);
    assert_int_equal(dmq_hash_add(hash, "a", 1), DMQ_OK);
    assert_int_equal(dmq_hash_add(hash, "bc", 2), DMQ_OK);
    assert_int_equal(dmq_hash_text(pieces, hash), DMQ_OK);
    dmq_hash_destroy(hash);
    assert_string_equal(pieces, hex);
    assert_int_equal(dmq_file_write_text(in_folder("abc"), "abc"), DMQ_OK);
    assert_int_equal(dmq_hash_file(pieces, in_folder("abc")), DMQ_OK);
    assert_string_equal(pieces, hex);
    assert_int_equal(dmq_hash_file(pieces, in_folder("nope")), DMQ_ENOINPUT);
}

static void files_are_written_whole(void **state)
{
    char *text;
    size_t size;
    uint64_t bytes;

    (void)state;
    assert_int_equal(dmq_folder_create(in_folder("a/b//c/")), DMQ_OK);
    assert_int_equal(dmq_folder_create(in_folder("a/b")), DMQ_OK);
    assert_true(dmq_folder_exists(in_folder("a/b/c")));
    assert_int_equal(dmq_file_write(in_folder("a/x"), "a\0b", 3), DMQ_OK);
    assert_int_equal(dmq_file_append(in_folder("a/x"), "cd", 2), DMQ_OK);
    assert_int_equal(dmq_file_size(&bytes, in_folder("a/x")), DMQ_OK);
    assert_int_equal(bytes, 5);
    assert_int_equal(dmq_file_read(&text, &size, in_folder("a/x"), 5), DMQ_OK);
    assert_int_equal(size, 5);
    assert_memory_equal(text, "a\0bcd", 6);
    dmq_free(text);
    assert_int_equal(dmq_file_read(&text, NULL, in_folder("a/x"), 4), DMQ_EDATA);
    assert_int_equal(dmq_file_read(&text, NULL, in_folder("a"), 4), DMQ_ENOINPUT);
    assert_int_equal(dmq_file_read(&text, NULL, in_folder("none"), 4), DMQ_ENOINPUT);
    assert_non_null(strstr(dmq_message(), "none: no such file"));
    assert_int_equal(dmq_file_write_text(in_folder("none/x"), "a"), DMQ_EIO);
    assert_int_equal(dmq_folder_create(in_folder("a/x")), DMQ_EEXIST);
    assert_int_equal(dmq_file_remove(in_folder("a/x")), DMQ_OK);
    assert_int_equal(dmq_file_remove(in_folder("a/x")), DMQ_OK);
    assert_int_equal(dmq_disk_free(&bytes, in_folder("not/there/yet")), DMQ_OK);
    assert_true(bytes > 0);
}

static void what_a_killed_process_left_is_removed(void **state)
{
    char *temp, *mine, dead[256];

    (void)state;
    assert_int_equal(dmq_file_temp(&temp, in_folder("run.json")), DMQ_OK);
    /* The same name with a process number that nobody can have. */
    (void)snprintf(dead, sizeof dead, "%.*s-%d-0.tmp",
                   (int)(strchr(strstr(temp, "json."), '-') - temp), temp, 2147483000);
    assert_int_equal(dmq_file_write_text(dead, "half of it"), DMQ_OK);
    assert_int_equal(dmq_file_write_text(temp, "under way"), DMQ_OK);
    assert_int_equal(dmq_file_temp(&mine, in_folder("run.json")), DMQ_OK);
    assert_false(dmq_file_exists(dead));
    assert_true(dmq_file_exists(temp));
    assert_string_not_equal(mine, temp);
    assert_int_equal(dmq_file_remove(temp), DMQ_OK);
    dmq_free(mine);
    dmq_free(temp);
}

static void paths(void **state)
{
    static const char *const joins[][3] = { { "a", "b", "a/b" }, { "a/", "b", "a/b" },
                                            { "", "b", "b" },    { ".", "b", "b" },
                                            { "a", "/b", "/b" }, { NULL, "b", "b" } };
    static const char *const folders[][2] = {
        { "a/b.c", "a" }, { "b.c", "." }, { "/b", "/" }, { "/a/b/c", "/a/b" }
    };
    static const char *const absolutes[][2] = {
        { "/a/./b//../c/", "/a/c" }, { "/../..", "/" }, { "/a/..", "/" }, { "/.a/..b", "/.a/..b" }
    };
    char *out;

    (void)state;
    for (size_t i = 0; i < sizeof joins / sizeof joins[0]; i++) {
        assert_int_equal(dmq_path_join(&out, joins[i][0], joins[i][1]), DMQ_OK);
        assert_string_equal(out, joins[i][2]);
        dmq_free(out);
    }
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        assert_int_equal(dmq_path_folder(&out, folders[i][0]), DMQ_OK);
        assert_string_equal(out, folders[i][1]);
        dmq_free(out);
    }
    for (size_t i = 0; i < sizeof absolutes / sizeof absolutes[0]; i++) {
        assert_int_equal(dmq_path_absolute(&out, absolutes[i][0]), DMQ_OK);
        assert_string_equal(out, absolutes[i][1]);
        dmq_free(out);
    }
    assert_int_equal(dmq_path_absolute(&out, "x"), DMQ_OK);
    assert_true(out[0] == '/' && dmq_path_has_suffix(out, "/x"));
    dmq_free(out);
    assert_int_equal(dmq_path_append(&out, "a/b.c", ".sha256"), DMQ_OK);
    assert_string_equal(out, "a/b.c.sha256");
    dmq_free(out);
    assert_string_equal(dmq_path_name("a/b.c"), "b.c");
    assert_string_equal(dmq_path_name("b.c"), "b.c");
    assert_false(dmq_path_has_suffix("z", ".npz"));
    assert_int_equal(setenv("DMQ_DATA", "/d", 1), 0);
    assert_int_equal(dmq_path_resolve(&out, "data:m/x.h5"), DMQ_OK);
    assert_string_equal(out, "/d/m/x.h5");
    dmq_free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_digests),
        cmocka_unit_test(files_are_written_whole),
        cmocka_unit_test(what_a_killed_process_left_is_removed),
        cmocka_unit_test(paths),
    };

    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
