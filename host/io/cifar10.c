#include "io/cifar10.h"

#include "base/memory.h"
#include "io/file.h"
#include "io/input.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum {
    BATCHES = 5,
    RECORDS = 10000,
    PLANE = DMQ_CIFAR10_SIDE * DMQ_CIFAR10_SIDE,
    RECORD = 1 + 3 * PLANE
};

struct dmq_cifar10 {
    dmq_input *file[BATCHES];
    int files;
    char text[32];
    uint8_t *label; /* (files, RECORDS) */
};

static const char *const train_name[BATCHES] = { "data_batch_1.bin", "data_batch_2.bin",
                                                 "data_batch_3.bin", "data_batch_4.bin",
                                                 "data_batch_5.bin" };
static const char *const test_name = "test_batch.bin";
static const char *const inner_folder = "cifar-10-batches-bin";

/* The batch that a file's name tells: 0..4, BATCHES for the test images, -1. */
static int batch_of(const char *path)
{
    const char *name = dmq_path_name(path);

    for (int i = 0; i < BATCHES; i++) {
        if (strcmp(name, train_name[i]) == 0)
            return i;
    }
    return strcmp(name, test_name) == 0 ? BATCHES : -1;
}

static int has(const char *folder, const char *name)
{
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/%s", folder, name);

    return n > 0 && n < (int)sizeof path && (dmq_file_exists(path) || dmq_folder_exists(path));
}

static int has_batches(const char *folder)
{
    int found = has(folder, test_name);

    for (int i = 0; i < BATCHES; i++)
        found += has(folder, train_name[i]);
    return found > 0;
}

int dmq_cifar10_is(const char *path)
{
    if (dmq_folder_exists(path))
        return has_batches(path) || has(path, inner_folder);
    return batch_of(path) >= 0 && dmq_file_exists(path);
}

/* Opens a file as the next one, and takes its labels. */
static dmq_status add_file(dmq_cifar10 *set, const char *path)
{
    dmq_input *in = NULL;
    uint8_t *label = set->label + (size_t)set->files * RECORDS;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_input_open(&in, path));
    set->file[set->files++] = in;
    if (dmq_input_size(in) != (uint64_t)RECORDS * RECORD) {
        st = dmq_fail(
            DMQ_EDATA,
            "%s: has %llu bytes: a batch of CIFAR-10's binary version has %d (%d records of %d)\n"
            "  hint: unpack cifar-10-binary.tar.gz again",
            path, (unsigned long long)dmq_input_size(in), RECORDS * RECORD, RECORDS, RECORD);
        goto done;
    }
    for (int i = 0; i < RECORDS; i++) {
        DMQ_TRY(dmq_input_read(label + i, in, 1, (uint64_t)i * RECORD));
        if (label[i] >= DMQ_CIFAR10_CLASSES) {
            st = dmq_fail(DMQ_EDATA,
                          "%s: record %d has label %d: must be 0..9\n"
                          "  hint: the binary version of CIFAR-10 is read, not CIFAR-100's and not "
                          "another order",
                          path, i, label[i]);
            goto done;
        }
    }
done:
    return st;
}

static dmq_status add_folder(dmq_cifar10 *set, const char *folder)
{
    char *path = NULL;
    dmq_status st = DMQ_OK;

    for (int i = 0; i < BATCHES; i++) {
        dmq_free(path);
        path = NULL;
        DMQ_TRY(dmq_path_join(&path, folder, train_name[i]));
        st = add_file(set, path);
        if (st == DMQ_ENOINPUT) {
            st = dmq_fail_note(
                st, "  hint: the folder must hold data_batch_1.bin ... data_batch_5.bin; the test "
                    "images are FOLDER/test_batch.bin");
        }
        DMQ_TRY(st);
    }
done:
    dmq_free(path);
    return st;
}

dmq_status dmq_cifar10_open(dmq_cifar10 **out, const char *path)
{
    dmq_cifar10 *set = NULL;
    char *inner = NULL;
    int batch = batch_of(path);
    dmq_status st = DMQ_OK;

    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&set, 1, sizeof *set));
    DMQ_TRY(dmq_alloc((void **)&set->label, (size_t)BATCHES * RECORDS, 1));
    if (dmq_folder_exists(path)) {
        if (!has_batches(path)) {
            DMQ_TRY(dmq_path_join(&inner, path, inner_folder));
            path = inner;
        }
        DMQ_TRY(add_folder(set, path));
        (void)snprintf(set->text, sizeof set->text, "cifar10-train");
    } else {
        DMQ_TRY(add_file(set, path));
        (void)snprintf(set->text, sizeof set->text,
                       batch == BATCHES ? "cifar10-test" : "cifar10-train-batch-%d", batch + 1);
    }
    *out = set;
    set = NULL;
done:
    dmq_cifar10_close(set);
    dmq_free(inner);
    return st;
}

void dmq_cifar10_close(dmq_cifar10 *set)
{
    if (!set)
        return;
    for (int i = 0; i < set->files; i++)
        dmq_input_close(set->file[i]);
    dmq_free(set->label);
    dmq_free(set);
}

int dmq_cifar10_count(const dmq_cifar10 *set)
{
    return set->files * RECORDS;
}

const char *dmq_cifar10_text(const dmq_cifar10 *set)
{
    return set->text;
}

dmq_status dmq_cifar10_read(uint8_t *out, int *labels, const dmq_cifar10 *set, int first, int n)
{
    dmq_status st = DMQ_OK;

    assert(first >= 0 && n >= 0 && first + n <= dmq_cifar10_count(set));
    for (int i = 0; i < n; i++) {
        uint8_t planes[3 * PLANE], *pixel = out + (size_t)i * sizeof planes;
        int at = first + i;

        DMQ_TRY(dmq_input_read(planes, set->file[at / RECORDS], sizeof planes,
                               (uint64_t)(at % RECORDS) * RECORD + 1));
        for (int k = 0; k < PLANE; k++) {
            for (int c = 0; c < 3; c++)
                pixel[3 * k + c] = planes[c * PLANE + k];
        }
        if (labels)
            labels[i] = set->label[at];
    }
done:
    return st;
}
