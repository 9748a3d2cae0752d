/**
 * A set of images of one size, as 8-bit levels (n, H, W, C), whatever it is kept as:
 *
 *   an image file of ours (.h5)      numbers in about [-1, 1], brought to levels by `levels`
 *   a pack (.npz)                    arr_0 (n, H, W, 3) u8, labels in arr_1 if there: ADM's sample packs
 *   a folder of images               .png .jpg .jpeg .webp in the order of their names, also in folders below it; JPEG
 *                                    and WebP are read for references and warned of for samples [lossy-images]
 *   an LMDB database                 data.mdb, or the folder that holds it, an image file in each record: LSUN's, in the
 *                                    order of the keys
 *   a folder of CIFAR-10's           data_batch_1.bin ... data_batch_5.bin: 50,000; its test_batch.bin by the name of that
 *                                    file: 10,000; also the folder that holds cifar-10-batches-bin/
 *   a name of train/dataset.h        "shapes32": its held-out images, `count` of them
 *
 * Images that are larger than asked for are cropped to the square in their middle and shrunk as LDM's and ADM's loaders
 * do (`prepare`); which way it was is part of the set's text.
 *
 * @see specs: models.md 4.5, 6.2, 6.7
 */
#ifndef DMQ_EVAL_IMAGE_SET_H
#define DMQ_EVAL_IMAGE_SET_H

#include "base/status.h"
#include "eval/images.h"
#include "eval/prepare.h"

#include <stdint.h>

typedef struct dmq_image_set_config {
    dmq_prepare prepare;
    int size;          /**< of prepared images */
    int64_t count;     /**< of a procedural set; 0: all of any other, else the first so many */
    dmq_levels levels; /**< of our own image files and of data sets: they hold numbers */
    int lossless;      /**< 1: warn of JPEG and WebP, which move FID by units */
} dmq_image_set_config;

typedef struct dmq_image_set {
    int64_t n;
    int h, w, c;
    int has_labels;
    const char *kind; /**< "images.h5", "pack", "folder", "lmdb", "cifar10-binary", "data set" */
    /** What the images are, for ids and messages: "cifar10-train", "folder, 50000 png, ldm-crop-256",
        "shapes32, 10000 held out", with ", first 1000" where `count` cuts. */
    char text[96];
    void *state;
} dmq_image_set;

/**
 * @param name  a path, or the name of a data set
 * @return      ENOINPUT, EDATA naming the file (and the image in it) that cannot be read, ESHAPE naming two images of
 *              different sizes
 */
dmq_status dmq_image_set_open(dmq_image_set **out, const char *name,
                              const dmq_image_set_config *config);

/** Takes NULL. */
void dmq_image_set_close(dmq_image_set *set);

/**
 * Images first .. first + n - 1 into out (n, h, w, c), labels (n) or NULL; has_labels 0: labels must be NULL. One call
 * at a time; in order is fastest (a compressed pack is read again from its start to go back).
 *
 * @return  EDATA naming the image that cannot be read
 */
dmq_status dmq_image_set_read(uint8_t *out, int *labels, const dmq_image_set *set, int64_t first,
                              int n);

#endif
