/* Files without a name: what was written is read, nothing is left, a disk that is too small is told at once. */
#include "base/memory.h"
#include "io/file.h"
#include "io/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char folder[] = "scratch-of-test_scratch/below";

static void numbers_come_back(void **state)
{
    static const char text[] = "rows of samples";
    char back[sizeof text] = "";
    dmq_scratch *s = NULL;

    (void)state;
    assert_int_equal(dmq_scratch_create(&s, folder, 10000), DMQ_OK);
    assert_int_equal(dmq_scratch_read(s, back, 5000, 4), DMQ_OK);
    assert_memory_equal(back, "\0\0\0\0", 4); /* zeros before anything is written */
    assert_int_equal(dmq_scratch_write(s, 10000 - sizeof text, text, sizeof text), DMQ_OK);
    assert_int_equal(dmq_scratch_read(s, back, 10000 - sizeof text, sizeof text), DMQ_OK);
    assert_string_equal(back, text);
    assert_int_equal(rmdir(folder), 0); /* while it is open: it has no name */
    dmq_scratch_destroy(s);
    dmq_scratch_destroy(NULL);
}

static void a_disk_that_is_too_small_is_told(void **state)
{
    dmq_scratch *s = NULL;
    uint64_t have = 0;

    (void)state;
    assert_int_equal(dmq_disk_free(&have, "."), DMQ_OK);
    assert_int_equal(dmq_scratch_create(&s, folder, have + (UINT64_C(1) << 40)), DMQ_EIO);
    assert_null(s);
    assert_non_null(strstr(dmq_message(), folder));
    assert_non_null(strstr(dmq_message(), "disk full"));
    assert_non_null(strstr(dmq_message(), "DMQ_SCRATCH"));
    assert_int_equal(dmq_scratch_create(&s, "/dev/null/below", 100), DMQ_EEXIST);
    assert_non_null(strstr(dmq_message(), "/dev/null"));
}

static void running_out_of_memory_is_clean(void **state)
{
    dmq_status st = DMQ_ENOMEM;

    (void)state;
    for (long n = 1; st != DMQ_OK; n++) {
        dmq_scratch *s = NULL;

        dmq_alloc_fail_at(n);
        st = dmq_scratch_create(&s, folder, 100);
        dmq_alloc_fail_at(0);
        assert_true(st == DMQ_OK || st == DMQ_ENOMEM);
        dmq_scratch_destroy(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_come_back),
        cmocka_unit_test(a_disk_that_is_too_small_is_told),
        cmocka_unit_test(running_out_of_memory_is_clean),
    };
    return cmocka_run_group_tests_name("scratch", tests, NULL, NULL);
}
