/**
 * What is behind an image set: one of these for each thing that images are kept as. image_set.c alone calls them.
 *
 * Either all images have one size and `read` gives some of them, or each has its own and `picture` gives one.
 */
#ifndef DMQ_EVAL_IMAGE_SOURCE_H
#define DMQ_EVAL_IMAGE_SOURCE_H

#include "eval/image_set.h"
#include "io/picture.h"

/** Room for what an image is called. */
enum { DMQ_IMAGE_NAME = 512 };

typedef struct dmq_image_source dmq_image_source;

struct dmq_image_source {
    int64_t n;
    int h, w, c; /**< of all; h 0: sizes differ, or are not known before they are read */
    int has_labels;
    const char *kind;
    char text[64];
    void *state;

    /** Images first .. first + n - 1 as levels (n, h, w, c); labels may be NULL. */
    dmq_status (*read)(uint8_t *out, int *labels, const dmq_image_source *source, int64_t first,
                       int n);
    /** Image i; the caller releases. Any thread may call. */
    dmq_status (*picture)(dmq_picture *out, const dmq_image_source *source, int64_t i);
    /** Of image i, for messages; NULL: they have none. */
    void (*name)(char *out, size_t size, const dmq_image_source *source, int64_t i);
    void (*close)(void *state); /**< takes NULL */
};

/** The failure of the first image, whichever thread met it first. Start from .at = number of images. */
typedef struct dmq_image_failure {
    int64_t at;
    dmq_status st;
    char text[1024];
} dmq_image_failure;

/** Called by the thread that worked on image i; DMQ_OK is nothing. */
void dmq_image_note(dmq_image_failure *failure, int64_t i, dmq_status st);

/** The failure as this thread's. */
dmq_status dmq_image_raise(const dmq_image_failure *failure);

/* Each fills in a source of zeros; on failure there is nothing to close. */
dmq_status dmq_source_data_set(dmq_image_source *out, const char *name,
                               const dmq_image_set_config *config);
dmq_status dmq_source_images(dmq_image_source *out, const char *path,
                             const dmq_image_set_config *config);
dmq_status dmq_source_pack(dmq_image_source *out, const char *path);
dmq_status dmq_source_cifar10(dmq_image_source *out, const char *path);
dmq_status dmq_source_folder(dmq_image_source *out, const char *path,
                             const dmq_image_set_config *config);
dmq_status dmq_source_lmdb(dmq_image_source *out, const char *path,
                           const dmq_image_set_config *config);

#endif
