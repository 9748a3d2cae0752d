/**
 * Photographs made square and small in the way of the loaders that references were made with, level for level as PIL
 * computes it.
 *
 *   ldm   the square in the middle, then bicubic to size x size
 *   adm   boxes to (floor(w/2), floor(h/2)) while the shorter side is at least 2 size, then bicubic until it is size, the
 *         other round(side size/shorter), half to even; then the square in the middle
 *
 *   resize, one axis:  out[d] = clip((2^21 + sum_x k[d,x] in[x]) >> 22)
 *     k[d,x] = f((x - c + 1/2)/s) / sum_x f(...) in steps of 2^-22, nearest;  c = (d + 1/2) in/out, s = max(1, in/out)
 *     x in [trunc(c - r s + 1/2), trunc(c + r s + 1/2)), inside the image
 *     box      r = 1/2   f = 1 in (-1/2, 1/2]
 *     bicubic  r = 2     f = 1.5 |x|^3 - 2.5 |x|^2 + 1 below 1, -0.5 (|x|^3 - 5 |x|^2 + 8 |x| - 4) below 2
 *
 * Rows first, then columns, with 8-bit levels between; an axis that keeps its length is left alone. When shrinking, the
 * filter widens (antialias); clean-fid's bicubic in floats is another one.
 *
 * @see specs: models.md 6.2, 6.7; PIL's Image.resize (BOX, BICUBIC)
 */
#ifndef DMQ_EVAL_PREPARE_H
#define DMQ_EVAL_PREPARE_H

#include "io/picture.h"

/** How images are made square and small; in the order of evaluate.prepare. */
typedef enum dmq_prepare {
    DMQ_PREPARE_NONE, /**< all must have one size already */
    DMQ_PREPARE_LDM,
    DMQ_PREPARE_ADM
} dmq_prepare;

typedef enum dmq_filter { DMQ_FILTER_BOX, DMQ_FILTER_BICUBIC } dmq_filter;

/** To w x h; the caller releases. out may not be in. ENOMEM. */
dmq_status dmq_picture_resize(dmq_picture *out, const dmq_picture *in, int w, int h,
                              dmq_filter filter);

/**
 * @param out   (size, size, 3)
 * @param how   not DMQ_PREPARE_NONE
 */
dmq_status dmq_prepare_run(uint8_t *out, const dmq_picture *in, dmq_prepare how, int size);

/** "ldm-crop", "adm-crop", "": for texts. */
const char *dmq_prepare_text(dmq_prepare how);

#endif
