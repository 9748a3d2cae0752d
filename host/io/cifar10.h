/**
 * CIFAR-10 in its binary version: 32x32 RGB images of 10 classes.
 *
 *   data_batch_1.bin ... data_batch_5.bin, test_batch.bin: 10,000 records of 3073 bytes each, nothing else
 *     record = label (0..9), 1024 red, 1024 green, 1024 blue levels, each in rows
 *
 * The order is that of the files, which is the one of the Python version too: image i here is image i there.
 *
 * @see https://www.cs.toronto.edu/~kriz/cifar.html; specs: models.md 4.7, 6.7
 */
#ifndef DMQ_IO_CIFAR10_H
#define DMQ_IO_CIFAR10_H

#include "base/status.h"

#include <stdint.h>

enum { DMQ_CIFAR10_SIDE = 32, DMQ_CIFAR10_CLASSES = 10 };

typedef struct dmq_cifar10 dmq_cifar10;

/** Whether path looks like it: a folder with any of the files, or with cifar-10-batches-bin/, or one of the files. */
int dmq_cifar10_is(const char *path);

/**
 * @param path  a folder: its training images, 50,000; test_batch.bin: the test images, 10,000; another one of the files:
 *              that part of the training images
 * @return      ENOINPUT naming the file that is not there; EDATA when a file has another size, or a label above 9
 */
dmq_status dmq_cifar10_open(dmq_cifar10 **out, const char *path);

/** Takes NULL. */
void dmq_cifar10_close(dmq_cifar10 *set);

int dmq_cifar10_count(const dmq_cifar10 *set);

/** "cifar10-train", "cifar10-test", "cifar10-train-batch-3". */
const char *dmq_cifar10_text(const dmq_cifar10 *set);

/**
 * Images first .. first + n - 1.
 *
 * @param out     (n, 32, 32, 3) levels
 * @param labels  (n), NULL if not wanted
 */
dmq_status dmq_cifar10_read(uint8_t *out, int *labels, const dmq_cifar10 *set, int first, int n);

#endif
