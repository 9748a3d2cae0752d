/**
 * The procedural data set "shapes": shaded, textured, anti-aliased objects over colour gradients.
 *
 * Image number `index` of set `seed` is a function of (seed, index) alone: Philox4x32-10 with the
 * seed as key and (index, purpose, draw) as counter gives the class, the pose, the colours, the
 * light and the texture. So any order, batch, thread or machine that computes with the same libm
 * makes the same picture, there is no file to ship, and the set has no end: indices that training
 * never visits are the held-out images.
 *
 * The scene does not depend on the size: the 16x16 and the 32x32 image of one index show the same
 * object. Classes are drawn uniformly; objects span 55 to 85 % of the image and lie inside it.
 */
#ifndef DMQ_TRAIN_SHAPES_H
#define DMQ_TRAIN_SHAPES_H

#include <stdint.h>

#define DMQ_SHAPES_CLASSES  10
#define DMQ_SHAPES_CHANNELS 3

/** disc, ring, square, triangle, star, cross, heart, crescent, stripes, arrow. */
extern const char *const dmq_shapes_class_name[DMQ_SHAPES_CLASSES];

/**
 * One image.
 *
 * @param out_hwc  size * size * 3 f32 in [-1,1], rows from the top, channels red, green, blue
 * @param label    class 0..9, may be NULL
 * @param size     pixels a side, at least 8; meant for 16 and 32
 */
void dmq_shapes_image(float *out_hwc, int *label, int size, uint64_t seed, uint64_t index);

/** The class alone: what dmq_shapes_image gives, without drawing. */
int dmq_shapes_label(uint64_t seed, uint64_t index);

#endif
