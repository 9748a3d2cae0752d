/**
 * A folder of the test program's own, and files in it that are damaged on purpose.
 *
 *   return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
 */
#ifndef DMQ_TESTS_SCRATCH_H
#define DMQ_TESTS_SCRATCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char scratch_folder[] = "/tmp/dmq-test-XXXXXX";

/** Path of a file in the folder; good until the eighth call after it. */
static inline const char *in_folder(const char *name)
{
    static char path[8][256];
    static int i;

    i = (i + 1) % 8;
    (void)snprintf(path[i], sizeof path[i], "%s/%s", scratch_folder, name);
    return path[i];
}

/** Write a file, without the sync of dmq_file_write: these tests write thousands of them. */
static inline void put(const char *path, const void *bytes, size_t size)
{
    FILE *f;

    (void)unlink(path); /* or a file system may sync what is overwritten */
    f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

/** The same with some bits of the byte at `at` turned; `bytes` are afterwards what they were. */
static inline void put_flipped(const char *path, char *bytes, size_t size, size_t at, int bits)
{
    bytes[at] = (char)(bytes[at] ^ bits);
    put(path, bytes, size);
    bytes[at] = (char)(bytes[at] ^ bits);
}

/** Also once more after scratch_remove: a folder for each test. */
static inline int scratch_make(void **state)
{
    (void)state;
    (void)memcpy(scratch_folder + sizeof scratch_folder - 7, "XXXXXX", 6);
    return mkdtemp(scratch_folder) ? 0 : -1;
}

static inline int scratch_remove(void **state)
{
    char command[64];

    (void)state;
    (void)snprintf(command, sizeof command, "rm -rf %s", scratch_folder);
    return system(command); /* NOLINT(cert-env33-c) */
}

#endif
