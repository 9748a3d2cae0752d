/* CIFAR-10's binary batches, of their real size; most records are zeros, which a file system does not keep. */
#include "io/cifar10.h"
#include "io/file.h"
#include "scratch.h"

#include <fcntl.h>
#include <sys/stat.h>

enum { RECORDS = 10000, RECORD = 3073 };

static const char *at(const char *folder, const char *name)
{
    char path[128];

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return in_folder(path);
}

/* Level c of pixel (y, x) of a record that a test writes. */
static uint8_t level(int record, int y, int x, int c)
{
    return (uint8_t)(record * 7 + y * 31 + x * 3 + c * 101);
}

static void put_record(int fd, int i, int label)
{
    uint8_t bytes[RECORD];

    bytes[0] = (uint8_t)label;
    for (int c = 0; c < 3; c++) {
        for (int k = 0; k < 1024; k++)
            bytes[1 + c * 1024 + k] = level(i, k / 32, k % 32, c);
    }
    assert_int_equal(pwrite(fd, bytes, RECORD, (off_t)i * RECORD), RECORD);
}

/* Records `first` and 9999 hold levels and label `label`; size in bytes. */
static void put_batch(const char *path, int first, int label, off_t size)
{
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);

    assert_true(fd >= 0);
    put_record(fd, first, label);
    put_record(fd, RECORDS - 1, label);
    assert_int_equal(ftruncate(fd, size), 0);
    assert_int_equal(close(fd), 0);
}

static void put_all(const char *folder)
{
    char name[32];

    assert_int_equal(dmq_folder_create(in_folder(folder)), DMQ_OK);
    for (int i = 1; i <= 5; i++) {
        (void)snprintf(name, sizeof name, "data_batch_%d.bin", i);
        put_batch(at(folder, name), i, i, RECORDS * RECORD);
    }
    put_batch(at(folder, "test_batch.bin"), 6, 9, RECORDS * RECORD);
}

static void image_is(const uint8_t *image, int record)
{
    for (int i = 0; i < 32 * 32 * 3; i++)
        assert_int_equal(image[i], level(record, i / 96, i / 3 % 32, i % 3));
}

static void batches_are_read_in_their_order(void **state)
{
    static uint8_t images[3][32 * 32 * 3];
    int labels[3];
    dmq_cifar10 *set;

    (void)state;
    put_all("c/cifar-10-batches-bin");
    assert_true(dmq_cifar10_is(in_folder("c")));
    assert_true(dmq_cifar10_is(in_folder("c/cifar-10-batches-bin")));
    assert_false(dmq_cifar10_is(scratch_folder));
    for (int inner = 0; inner < 2; inner++) {
        assert_int_equal(dmq_cifar10_open(&set, in_folder(inner ? "c/cifar-10-batches-bin" : "c")),
                         DMQ_OK);
        assert_int_equal(dmq_cifar10_count(set), 50000);
        assert_string_equal(dmq_cifar10_text(set), "cifar10-train");
        /* the last of batch 2 and the first two of batch 3 */
        assert_int_equal(dmq_cifar10_read(&images[0][0], labels, set, 19999, 3), DMQ_OK);
        image_is(images[0], RECORDS - 1);
        assert_int_equal(labels[0], 2);
        assert_int_equal(labels[1], 0);
        assert_int_equal(dmq_cifar10_read(&images[0][0], NULL, set, 20003, 1), DMQ_OK);
        image_is(images[0], 3);
        dmq_cifar10_close(set);
    }
    assert_int_equal(dmq_cifar10_open(&set, in_folder("c/cifar-10-batches-bin/test_batch.bin")),
                     DMQ_OK);
    assert_int_equal(dmq_cifar10_count(set), 10000);
    assert_string_equal(dmq_cifar10_text(set), "cifar10-test");
    assert_int_equal(dmq_cifar10_read(&images[0][0], labels, set, 6, 1), DMQ_OK);
    assert_int_equal(labels[0], 9);
    image_is(images[0], 6);
    dmq_cifar10_close(set);
    assert_int_equal(dmq_cifar10_open(&set, in_folder("c/cifar-10-batches-bin/data_batch_4.bin")),
                     DMQ_OK);
    assert_string_equal(dmq_cifar10_text(set), "cifar10-train-batch-4");
    dmq_cifar10_close(set);
}

static void refused(const char *path, dmq_status st, const char *said)
{
    dmq_cifar10 *set;

    assert_int_equal(dmq_cifar10_open(&set, path), st);
    assert_null(set);
    if (!strstr(dmq_message(), said))
        fail_msg("said %s, not %s", dmq_message(), said);
}

static void wrong_batches_are_refused(void **state)
{
    (void)state;
    put_all("w");
    put_batch(at("w", "data_batch_3.bin"), 0, 0, RECORDS * RECORD - 1);
    refused(
        in_folder("w"), DMQ_EDATA,
        "data_batch_3.bin: has 30729999 bytes: a batch of CIFAR-10's binary version has 30730000");
    put_batch(at("w", "data_batch_3.bin"), 17, 10, RECORDS * RECORD);
    refused(in_folder("w"), DMQ_EDATA, "data_batch_3.bin: record 17 has label 10: must be 0..9");
    assert_int_equal(unlink(at("w", "data_batch_3.bin")), 0);
    refused(in_folder("w"), DMQ_ENOINPUT, "data_batch_3.bin");
    refused(in_folder("w"), DMQ_ENOINPUT, "FOLDER/test_batch.bin");
    refused(in_folder("w/test_batch.bin.gz"), DMQ_ENOINPUT, "test_batch.bin.gz");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_are_read_in_their_order),
        cmocka_unit_test(wrong_batches_are_refused),
    };

    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
