/**
 * Features of a set of images, row by row: what every metric of images is made of.
 *
 * They are made in pieces of DMQ_FEATURE_PIECE images, each a file of its own until the metrics are there:
 *
 *   FOLDER/NAME-00000256.h5   the piece that begins with image 256: pool (n, F), spatial (n, S), logits (n, classes),
 *                             the id of the extractor, sha256 of the images' levels
 *
 * A stopped job goes on with the next piece, shards of a job are runs over every n-th of its pieces, and a piece of
 * another network or of other images is made again. The extractor's bits do not depend on the cut, and metrics are
 * made of the rows in their order, so neither do they. A set of 50,000 images takes 0.4 GB for each of pool and spatial
 * and 0.2 GB for logits. Without a folder the rows stay in memory.
 *
 * Ready features are an npz that somebody else made: pool (n, F), and if there spatial (n, S), logits (n, classes).
 */
#ifndef DMQ_EVAL_FEATURE_SET_H
#define DMQ_EVAL_FEATURE_SET_H

#include "eval/extractor.h"
#include "eval/image_set.h"
#include "io/hash.h"

/** Images of a piece: whole blocks of eval/moments.h. */
enum { DMQ_FEATURE_PIECE = 256 };

typedef enum dmq_feature_kind {
    DMQ_FEATURE_POOL,
    DMQ_FEATURE_SPATIAL,
    DMQ_FEATURE_LOGITS,
    DMQ_FEATURE_KINDS
} dmq_feature_kind;

typedef struct dmq_feature_set {
    int64_t n;
    int width[DMQ_FEATURE_KINDS];     /**< of a row; 0: it has none */
    char extractor[DMQ_EXTRACTOR_ID]; /**< "": a ready file does not tell */
    char images
        [DMQ_HASH_TEXT]; /**< hash of the levels of all images: that of the pieces' hashes; "": ready */
    int *label;          /**< (n); NULL: the images have none */
    float *rows[DMQ_FEATURE_KINDS]; /**< what is in memory: ask dmq_feature_set_rows */
    char *folder, *name;            /**< of the pieces; NULL: in memory */
    char *ready;                    /**< a ready file; NULL: it is none */
} dmq_feature_set;

typedef struct dmq_feature_job {
    const dmq_extractor *extractor;
    const dmq_image_set *images;
    int64_t n;           /**< of the set's images, from its first */
    int spatial, logits; /**< wanted beside pool */
    const char *folder, *name;
    int shard, n_shards;  /**< 1..n_shards: only this part; 0: all */
    int merge;            /**< make nothing: all must be there */
    const char *progress; /**< the stage's name in it; NULL: the caller tells it */
} dmq_feature_job;

/**
 * Make what is missing.
 *
 * @param out  NULL when *missing is not 0: pieces are left to other shards
 * @return     ESTOP on a signal: what is finished is kept; ENOINPUT naming the first piece that no shard made;
 *             EDATA when a feature is not finite; what extractor and image set say
 */
dmq_status dmq_feature_set_make(dmq_feature_set **out, int *missing, const dmq_feature_job *job);

/** ENOINPUT, EDATA without `pool`, ESHAPE when arrays do not fit each other. */
dmq_status dmq_feature_set_ready(dmq_feature_set **out, const char *path);

/** All rows (n, width) of a kind, the set's until they are dropped; width must not be 0. */
dmq_status dmq_feature_set_rows(const float **out, dmq_feature_set *set, dmq_feature_kind kind);

/** Give their memory back, if they can be read again. */
void dmq_feature_set_drop(dmq_feature_set *set, dmq_feature_kind kind);

/** Take the pieces of a finished job away. */
dmq_status dmq_feature_set_remove(const char *folder, const char *name, int64_t n);

/** Takes NULL. */
void dmq_feature_set_destroy(dmq_feature_set *set);

/** The `images` that the set of the first n images will have, without making features; labels are no part of it. */
dmq_status dmq_image_set_hash(char out[DMQ_HASH_TEXT], const dmq_image_set *images, int64_t n);

#endif
