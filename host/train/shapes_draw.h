/**
 * Outlines of the ten shapes as signed distances, for shapes.c.
 *
 * Unit frame: x to the right, y up, the shape upright within about [-1,1]^2. Negative
 * inside; exact but for the ellipse (first order). Only +, -, *, / and sqrtf, so that one machine
 * always gives the same bits.
 */
#ifndef DMQ_TRAIN_SHAPES_DRAW_H
#define DMQ_TRAIN_SHAPES_DRAW_H

typedef enum dmq_shape_kind {
    DMQ_SHAPE_DISC,
    DMQ_SHAPE_RING,
    DMQ_SHAPE_SQUARE,
    DMQ_SHAPE_TRIANGLE,
    DMQ_SHAPE_STAR,
    DMQ_SHAPE_CROSS,
    DMQ_SHAPE_HEART,
    DMQ_SHAPE_CRESCENT,
    DMQ_SHAPE_STRIPES,
    DMQ_SHAPE_ARROW
} dmq_shape_kind;

/**
 * Signed distance of (x, y) from the outline.
 *
 * @param normal  outward unit direction of growing distance, or zero on the outline itself and
 *                where no direction is better than another
 */
float dmq_shape_distance(float normal[2], dmq_shape_kind kind, float x, float y);

/** How deep the bevelled rim of this shape reaches, in unit-frame lengths: a disc is all dome. */
float dmq_shape_bevel(dmq_shape_kind kind);

#endif
