#include "train/shapes_draw.h"

#include <math.h>
#include <stdbool.h>

typedef struct polygon {
    int n;
    float rounding; /* corners are rounded by growing the polygon by this much */
    float xy[12][2];
} polygon;

static const polygon square = {
    4, 0.10f, { { -0.68f, -0.68f }, { 0.68f, -0.68f }, { 0.68f, 0.68f }, { -0.68f, 0.68f } }
};
static const polygon triangle = { 3,
                                  0.08f,
                                  { { -0.92f, -0.64f }, { 0.92f, -0.64f }, { 0, 0.90f } } };
/* Tips at radius 0.98, notches at 0.42, the first tip up. */
static const polygon star = { 10,
                              0.05f,
                              { { 0, 0.98f },
                                { -0.24687f, 0.33979f },
                                { -0.93204f, 0.30284f },
                                { -0.39944f, -0.12979f },
                                { -0.57603f, -0.79284f },
                                { 0, -0.42f },
                                { 0.57603f, -0.79284f },
                                { 0.39944f, -0.12979f },
                                { 0.93204f, 0.30284f },
                                { 0.24687f, 0.33979f } } };
static const polygon cross = { 12,
                               0.06f,
                               { { -0.24f, 0.88f },
                                 { -0.24f, 0.24f },
                                 { -0.88f, 0.24f },
                                 { -0.88f, -0.24f },
                                 { -0.24f, -0.24f },
                                 { -0.24f, -0.88f },
                                 { 0.24f, -0.88f },
                                 { 0.24f, -0.24f },
                                 { 0.88f, -0.24f },
                                 { 0.88f, 0.24f },
                                 { 0.24f, 0.24f },
                                 { 0.24f, 0.88f } } };
static const polygon arrow = { 7,
                               0.06f,
                               { { 0, 0.92f },
                                 { -0.86f, 0.02f },
                                 { -0.26f, 0.02f },
                                 { -0.26f, -0.90f },
                                 { 0.26f, -0.90f },
                                 { 0.26f, 0.02f },
                                 { 0.86f, 0.02f } } };

/* normal = (dx, dy) / |(dx, dy)|, which is returned; zero stays zero. */
static float unit(float normal[2], float dx, float dy)
{
    float length = sqrtf(dx * dx + dy * dy);
    float inv = length > 0 ? 1.0f / length : 0.0f;
    normal[0] = dx * inv;
    normal[1] = dy * inv;
    return length;
}

static float flip(float normal[2], float distance)
{
    normal[0] = -normal[0];
    normal[1] = -normal[1];
    return -distance;
}

static float disc(float normal[2], float radius, float x, float y)
{
    return unit(normal, x, y) - radius;
}

/* Nearest point over all edges; inside by the parity of crossings of a ray to the right. */
static float outline(float normal[2], const polygon *shape, float x, float y)
{
    float best = 1e30f, best_x = 0, best_y = 0;
    bool inside = false;

    for (int i = 0, j = shape->n - 1; i < shape->n; j = i++) {
        const float *a = shape->xy[j], *b = shape->xy[i];
        float ex = b[0] - a[0], ey = b[1] - a[1], wx = x - a[0], wy = y - a[1];
        float t = (wx * ex + wy * ey) / (ex * ex + ey * ey);
        t = t < 0 ? 0 : t > 1 ? 1 : t;
        float qx = wx - t * ex, qy = wy - t * ey, q = qx * qx + qy * qy;
        if (q < best) {
            best = q;
            best_x = qx;
            best_y = qy;
        }
        if ((a[1] > y) != (b[1] > y) && (wx - wy * ex / ey < 0))
            inside = !inside;
    }
    float distance = unit(normal, best_x, best_y);
    return (inside ? flip(normal, distance) : distance) - shape->rounding;
}

/*
 * Tip at the origin, flanks along |x| = y up to (1/2, 1/2), where each meets a semicircle about
 * (1/4, 3/4) of radius sqrt(2)/4 that ends in the notch (0, 1).
 */
static float heart(float normal[2], float x, float y)
{
    const float grow = 1.5f, centre_y = 0.55f, radius = 0.35355339f;
    float side = x < 0 ? -1.0f : 1.0f, distance;
    float u = side * x / grow, v = y / grow + centre_y;

    if (u + v > 1.0f) {
        distance = disc(normal, radius, u - 0.25f, v - 0.75f);
    } else {
        float along = u + v > 0 ? 0.5f * (u + v) : 0.0f;
        float fx = u - along, fy = v - along, nx = u, ny = v - 1.0f;
        bool flank = fx * fx + fy * fy < nx * nx + ny * ny;
        distance = flank ? unit(normal, fx, fy) : unit(normal, nx, ny);
        if (v > u)
            distance = flip(normal, distance);
    }
    normal[0] *= side;
    return distance * grow;
}

/*
 * A disc without another that bites into it from the right. The larger of the two distances, but
 * around the horns, where the circles cross, it would see the whole disc: there the horn is nearest.
 */
static float crescent(float normal[2], float x, float y)
{
    const float radius = 0.94f, bite = 0.72f, apart = 0.46f;
    const float horn_x = (radius * radius - bite * bite + apart * apart) / (2.0f * apart);
    const float horn_y = sqrtf(radius * radius - horn_x * horn_x);
    float side = y < 0 ? -1.0f : 1.0f, hollow[2], distance;
    float v = side * y, wx = x - horn_x, wy = v - horn_y;

    /* Between the outward normals of the two arcs: (horn) and (bite's centre - horn). */
    if ((apart - horn_x) * wy + horn_y * wx > 0 && wx * horn_y - wy * horn_x > 0) {
        distance = unit(normal, wx, wy);
    } else {
        float rest = disc(hollow, bite, x - apart, v);
        distance = disc(normal, radius, x, v);
        if (-rest > distance) {
            distance = flip(hollow, rest);
            normal[0] = hollow[0];
            normal[1] = hollow[1];
        }
    }
    normal[1] *= side;
    return distance;
}

/* First order: the level of the quadratic form over the length of its gradient. */
static float ellipse(float normal[2], float a, float b, float x, float y)
{
    float level = sqrtf(x * x / (a * a) + y * y / (b * b));
    float slope = unit(normal, x / (a * a), y / (b * b));

    return slope > 1e-6f ? level * (level - 1.0f) / slope : -b;
}

static float ring(float normal[2], float x, float y)
{
    float from_middle = disc(normal, 0.68f, x, y);

    return (from_middle < 0 ? flip(normal, from_middle) : from_middle) - 0.25f;
}

float dmq_shape_distance(float normal[2], dmq_shape_kind kind, float x, float y)
{
    switch (kind) {
    case DMQ_SHAPE_DISC:
        return disc(normal, 0.90f, x, y);
    case DMQ_SHAPE_RING:
        return ring(normal, x, y);
    case DMQ_SHAPE_SQUARE:
        return outline(normal, &square, x, y);
    case DMQ_SHAPE_TRIANGLE:
        return outline(normal, &triangle, x, y);
    case DMQ_SHAPE_STAR:
        return outline(normal, &star, x, y);
    case DMQ_SHAPE_CROSS:
        return outline(normal, &cross, x, y);
    case DMQ_SHAPE_HEART:
        return heart(normal, x, y);
    case DMQ_SHAPE_CRESCENT:
        return crescent(normal, x, y);
    case DMQ_SHAPE_STRIPES:
        return ellipse(normal, 0.72f, 1.0f, x, y);
    case DMQ_SHAPE_ARROW:
        return outline(normal, &arrow, x, y);
    }
    return 1.0f;
}

float dmq_shape_bevel(dmq_shape_kind kind)
{
    switch (kind) {
    case DMQ_SHAPE_DISC:
        return 0.90f;
    case DMQ_SHAPE_STRIPES:
        return 0.70f;
    case DMQ_SHAPE_RING:
    case DMQ_SHAPE_CRESCENT:
    case DMQ_SHAPE_CROSS:
        return 0.25f;
    default:
        return 0.32f;
    }
}
