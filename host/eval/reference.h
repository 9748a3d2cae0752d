/**
 * What images are compared with: statistics of a reference set under a feature network, a file with a name and a hash.
 *
 *   reference.h5 (ours)   all of it: dmq evaluate --make-reference
 *   .npz of ADM           mu, sigma, mu_s, sigma_s, and arr_0: the 10,000 images of precision and recall
 *   .npz of pytorch-fid   mu, sigma
 *
 * An npz does not say which network and which resize made it; its id tells that nobody knows (`-unstated`), and
 * evaluate.reference_features says it in the place of the file.
 *
 * Images of a pack are not loaded (ADM's are 2 GB): where n_images is not 0, dmq_image_set_open of the same path gives
 * them, for the extractor to make rows of.
 *
 * @see specs: models.md 4.5, 6.3, 6.4, 6.6, 6.7
 */
#ifndef DMQ_EVAL_REFERENCE_H
#define DMQ_EVAL_REFERENCE_H

#include "base/status.h"
#include "eval/extractor.h"
#include "io/hash.h"

#include <stdint.h>

typedef struct dmq_reference {
    char name[64]; /**< "cifar10-train": the part of a metric's id; of an npz its file's stem */
    char hash[DMQ_HASH_TEXT];         /**< of the file */
    char extractor[DMQ_EXTRACTOR_ID]; /**< id of the extractor; "" when the file does not tell */
    int64_t n;                        /**< images; 0: the file does not tell */
    int d, d_spatial;                 /**< 0: it has none */
    double *mean, *cov;               /**< (d), (d, d) with 1/(n - 1) */
    double *mean_spatial, *cov_spatial;
    /** (n_rows, d) features of single images, for precision and recall and KID; NULL: none */
    float *rows;
    int64_t n_rows;
    int64_t n_images; /**< of an ADM pack's arr_0: (n_images, h, w, 3); 0: none */
    int h, w;
} dmq_reference;

/** Whether a file is any of the three, by what it holds: an npz with mu, a reference.h5. A folder is none. EDATA, EIO. */
dmq_status dmq_reference_is(int *out, const char *path);

/**
 * Any of the three by its content.
 *
 * Covariances must be square, finite, without negative variances, and symmetric but for rounding (1e-5 of the largest
 * variance); they are taken as they are.
 *
 * @return  ENOINPUT; EDATA, ESHAPE with what is missing or does not fit
 */
dmq_status dmq_reference_load(dmq_reference **out, const char *path);

/**
 * As reference.h5, without the images; hash is filled in by loading. The same content gives the same bytes.
 *
 * @return  EIO; EDATA when a number is not finite
 */
dmq_status dmq_reference_save(const char *path, const dmq_reference *reference);

/** Takes NULL. */
void dmq_reference_destroy(dmq_reference *reference);

#endif
