/**
 * What turns images into features: one interface for the Inception network of FID and for the small networks
 * of `dmq train`.
 *
 *   inception   pool (n, 2048)   mean over the 8x8 pixels behind Mixed_7c
 *               spatial (n, 2023)  Mixed_6d.branch1x1, 17x17, its first 7 channels, in the order (y, x, c)
 *               logits (n, 1008)   pool W^T, without the bias of fc
 *   features    pool (n, F), logits (n, classes) with their bias; no spatial ones
 *
 * Images are 8-bit levels: what is scored is what an image file would hold.
 *
 * Images are brought to the 299x299 of Inception by a dmq_resize (kernels/resize.h).
 *
 * @see specs: models.md 6.1, 6.2, 6.4, 6.5
 */
#ifndef DMQ_EVAL_EXTRACTOR_H
#define DMQ_EVAL_EXTRACTOR_H

#include "backend/lanes.h"
#include "kernels/resize.h"

#include <stdint.h>

/** Room for an id. */
enum { DMQ_EXTRACTOR_ID = 96 };

typedef struct dmq_extractor {
    int pool, spatial, classes; /**< widths; spatial 0: it has none */
    /** The part of a metric's id that tells network and resize: "inception-2015-12-05/tf1-resize" for weights
        with the known hash, "inception-9f2c04b1a6de/tf1-resize" for others, "features-9f2c04b1a6de". */
    char id[DMQ_EXTRACTOR_ID];
    int is_inception;
    void *state;
} dmq_extractor;

/**
 * @param path    a model.h5 of either kind; the caller has resolved the name
 * @param lanes   who computes; must outlive it
 * @param resize  for Inception; the others take images of their own size only
 * @return        ENOINPUT, EDATA when the file holds no feature network
 */
dmq_status dmq_extractor_open(dmq_extractor **out, const char *path, dmq_resize resize,
                              dmq_lanes *lanes);

/** Takes NULL. */
void dmq_extractor_close(dmq_extractor *extractor);

/** ESHAPE with both sizes when it does not take images of h x w with c channels. */
dmq_status dmq_extractor_takes(const dmq_extractor *extractor, int h, int w, int c);

/**
 * Features of n images, in groups of fixed size over the lanes: the same bits for any cut of a set into calls.
 *
 * @param pool     (n, pool), spatial: (n, spatial), logits: (n, classes); each may be NULL and is then not made
 * @param images   (n, h, w, 3) levels, host memory as all
 */
dmq_status dmq_extractor_run(const dmq_extractor *extractor, float *pool, float *spatial,
                             float *logits, const uint8_t *images, int n, int h, int w);

#endif
