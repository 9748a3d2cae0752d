/**
 * LPIPS between the images of two models from the same noise: how far apart a network sees them.
 *
 *   x = (level / 127.5 - 1 - shift_c) / scale_c     shift (-0.030, -0.088, -0.188), scale (0.458, 0.448, 0.450)
 *   f_i(x)   what AlexNet (model/alexnet.h) has behind its i-th relu, each pixel divided by its length + 1e-10
 *   distance = sum_i mean over pixels of sum_c w_ic (f_ic(q) - f_ic(f))^2
 *
 * Version 0.1 of LPIPS with its linear layers, on images as large as they are. Networks run over lanes, distances are
 * in FP64. Weights come from an import of "lpips-alex".
 *
 * @see Zhang et al., arXiv:1801.03924
 */
#ifndef DMQ_EVAL_LPIPS_H
#define DMQ_EVAL_LPIPS_H

#include "backend/lanes.h"

#include <stdint.h>

/** Room for an id. */
enum { DMQ_LPIPS_ID = 48 };

/** Side of the smallest image. */
enum { DMQ_LPIPS_LEAST = 31 };

typedef struct dmq_lpips {
    char id[DMQ_LPIPS_ID]; /**< "lpips-alex-9f2c04b1a6de": of the file's hash */
    void *state;
} dmq_lpips;

/**
 * @param path   a model.h5 of kind alexnet; the caller has resolved the name
 * @param lanes  who computes; must outlive it
 * @return       ENOINPUT, EDATA when the file holds another network
 */
dmq_status dmq_lpips_open(dmq_lpips **out, const char *path, dmq_lanes *lanes);

/** Takes NULL. */
void dmq_lpips_close(dmq_lpips *lpips);

/**
 * The distance of each pair, in groups of fixed size: the same bits for any cut of a set into calls.
 *
 * @param out   (n)
 * @param q, f  (n, h, w, 3) levels
 * @return      ESHAPE when images are smaller than the network takes
 */
dmq_status dmq_lpips_run(double *out, const dmq_lpips *lpips, const uint8_t *q, const uint8_t *f,
                         int n, int h, int w);

#endif
