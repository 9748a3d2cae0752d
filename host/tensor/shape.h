/**
 * Shapes, in memory order: images (N, H, W, C), tokens (N, L, D), vectors (N, D), convolution weights
 * (K, R, S, C), linear weights (K, D). Messages and files tell images and weights as NCHW and KCRS.
 */
#ifndef DMQ_TENSOR_SHAPE_H
#define DMQ_TENSOR_SHAPE_H

#include <stddef.h>

typedef struct dmq_shape {
    int rank;   /**< 1..4 */
    int dim[4]; /**< the first `rank` count, the others are 1 */
} dmq_shape;

dmq_shape dmq_shape1(int a);
dmq_shape dmq_shape2(int a, int b);
dmq_shape dmq_shape3(int a, int b, int c);
dmq_shape dmq_shape4(int a, int b, int c, int d);

size_t dmq_shape_count(dmq_shape s);
int dmq_shape_equal(dmq_shape a, dmq_shape b);

/** "(32, 3, 16, 16)" for an image (32, 16, 16, 3): rank 4 is told as NCHW. Valid until the fourth next call. */
const char *dmq_shape_text(dmq_shape s);

#endif
