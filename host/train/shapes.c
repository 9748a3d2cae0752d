#include "train/shapes.h"

#include "train/shapes_draw.h"

#include <Random123/philox.h>
#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>

#define TEXTURE_CELLS 4

const char *const dmq_shapes_class_name[DMQ_SHAPES_CLASSES] = {
    "disc", "ring", "square", "triangle", "star", "cross", "heart", "crescent", "stripes", "arrow"
};

/* What a draw is for: streams of one index never meet. */
enum { PURPOSE_LABEL = 0x53484C42, PURPOSE_SCENE = 0x53485343, PURPOSE_TEXTURE = 0x53485458 };

typedef struct draws {
    philox4x32_key_t key;
    philox4x32_ctr_t counter, word;
    unsigned used;
} draws;

typedef struct scene {
    dmq_shape_kind kind;
    float x, y, scale, cosine, sine; /* pose: unit frame = R^T (p - centre) / scale */
    float light[3], half[3];         /* unit vectors: to the light, and between light and eye */
    float shadow;                    /* opacity */
    float sky[2][3], across[2];      /* background: two colours and the direction between them */
    float body[3], stripe[3];
    float texture[TEXTURE_CELLS + 1][TEXTURE_CELLS + 1];
} scene;

static draws draws_of(uint64_t seed, uint64_t index, uint32_t purpose)
{
    draws d = { .used = 4 };
    d.key.v[0] = (uint32_t)seed;
    d.key.v[1] = (uint32_t)(seed >> 32);
    d.counter.v[0] = (uint32_t)index;
    d.counter.v[1] = (uint32_t)(index >> 32);
    d.counter.v[2] = purpose;
    return d;
}

static uint32_t draw_word(draws *d)
{
    if (d->used == 4) {
        d->word = philox4x32(d->counter, d->key);
        d->counter.v[3]++;
        d->used = 0;
    }
    return d->word.v[d->used++];
}

/* Uniform in [lo, hi): 24 bits, which a float holds exactly. */
static float draw(draws *d, float lo, float hi)
{
    return lo + (hi - lo) * (float)(draw_word(d) >> 8) * 0x1p-24f;
}

static float clamp(float v, float lo, float hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}

/* 0 below lo, 1 above hi, a cubic between. */
static float smooth(float lo, float hi, float v)
{
    float t = clamp((v - lo) / (hi - lo), 0, 1);
    return t * t * (3.0f - 2.0f * t);
}

/*
 * Place on the wheel in [-1, 2), one turn being 1; saturation and value in [0, 1]. The table gives
 * the hue (red 0, green 2, blue 4) of equally spaced places: the eye sees more kinds of orange and
 * violet than of green.
 */
static void colour(float rgb[3], float place, float saturation, float value)
{
    static const float wheel[] = { 0, 0.35f, 0.62f, 0.92f, 1.9f, 2.75f, 3.3f, 3.8f, 4.4f, 5.2f, 6 };
    float at = (place < 0 ? place + 1.0f : place >= 1.0f ? place - 1.0f : place) * 10.0f;
    int i = (int)clamp(at, 0, 9);
    float h = wheel[i] + (at - (float)i) * (wheel[i + 1] - wheel[i]);
    float pure[3] = { fabsf(h - 3.0f) - 1.0f, 2.0f - fabsf(h - 2.0f), 2.0f - fabsf(h - 4.0f) };

    for (int c = 0; c < 3; c++)
        rgb[c] = value * (1.0f - saturation * (1.0f - clamp(pure[c], 0, 1)));
}

static float luma(const float rgb[3])
{
    return 0.299f * rgb[0] + 0.587f * rgb[1] + 0.114f * rgb[2];
}

static void normalize(float v[3])
{
    float inv = 1.0f / sqrtf(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
    for (int c = 0; c < 3; c++)
        v[c] *= inv;
}

/* How far a shape may turn without being taken for another, in radians. */
static float turn_of(dmq_shape_kind kind)
{
    switch (kind) {
    case DMQ_SHAPE_SQUARE:
        return 0.40f;
    case DMQ_SHAPE_STRIPES:
        return 0.90f;
    case DMQ_SHAPE_CRESCENT:
        return 0.80f;
    default:
        return 0.35f;
    }
}

static void pose(scene *s, draws *d)
{
    float turn = turn_of(s->kind);
    double angle = (double)draw(d, -turn, turn);

    s->scale = draw(d, 0.64f, 0.87f);
    float room = clamp(0.95f - s->scale, 0, 0.20f);
    s->x = draw(d, -room, room);
    s->y = draw(d, -room, room);
    s->cosine = (float)cos(angle);
    s->sine = (float)sin(angle);
}

static void light(scene *s, draws *d)
{
    s->light[0] = draw(d, -0.75f, -0.25f);
    s->light[1] = draw(d, 0.45f, 0.85f);
    s->light[2] = 0.75f;
    normalize(s->light);
    for (int c = 0; c < 3; c++)
        s->half[c] = s->light[c];
    s->half[2] += 1.0f;
    normalize(s->half);
    s->shadow = draw(d, 0.20f, 0.45f);
}

/* A vivid body before a paler background of another hue, dark behind bright and bright behind dark. */
static void paint(scene *s, draws *d)
{
    float place = draw(d, 0, 1);

    colour(s->body, place, draw(d, 0.70f, 0.95f), draw(d, 0.80f, 1.0f));
    bool bright = luma(s->body) > 0.50f;
    float other = place + draw(d, 0.3f, 0.7f), spread = draw(d, -0.08f, 0.08f);
    float saturation = bright ? draw(d, 0.35f, 0.65f) : draw(d, 0.20f, 0.45f);
    float value = bright ? draw(d, 0.18f, 0.36f) : draw(d, 0.80f, 0.95f);
    float step = draw(d, 0.06f, 0.14f);
    for (int end = 0; end < 2; end++) {
        float sign = end ? 1.0f : -1.0f;
        colour(s->sky[end], other + sign * spread, saturation, clamp(value + sign * step, 0, 1));
    }
    double angle = (double)draw(d, -3.1415927f, 3.1415927f);
    s->across[0] = (float)cos(angle);
    s->across[1] = (float)sin(angle);
    for (int c = 0; c < 3; c++)
        s->stripe[c] = bright ? 0.22f * s->body[c] : 1.0f - 0.15f * (1.0f - s->body[c]);
}

static scene scene_of(uint64_t seed, uint64_t index)
{
    scene s = { .kind = (dmq_shape_kind)dmq_shapes_label(seed, index) };
    draws d = draws_of(seed, index, PURPOSE_SCENE);

    pose(&s, &d);
    light(&s, &d);
    paint(&s, &d);
    d = draws_of(seed, index, PURPOSE_TEXTURE);
    for (int i = 0; i <= TEXTURE_CELLS; i++) {
        for (int j = 0; j <= TEXTURE_CELLS; j++)
            s.texture[i][j] = draw(&d, -1.0f, 1.0f);
    }
    return s;
}

/* Smooth noise in [-1, 1] over the unit frame. */
static float texture(const scene *s, float u, float v)
{
    float x = clamp((u + 1.0f) * 0.5f, 0, 0.9999f) * TEXTURE_CELLS;
    float y = clamp((v + 1.0f) * 0.5f, 0, 0.9999f) * TEXTURE_CELLS;
    int i = (int)y, j = (int)x;
    float a = smooth(0, 1, x - (float)j), b = smooth(0, 1, y - (float)i);
    const float *low = s->texture[i] + j, *high = s->texture[i + 1] + j;

    return (1.0f - b) * (low[0] + a * (low[1] - low[0])) + b * (high[0] + a * (high[1] - high[0]));
}

/* Distance in image units of the object moved by (-dx, -dy); (u, v) and normal in the unit frame. */
static float reach(float uv[2], float normal[2], const scene *s, float x, float y)
{
    float px = (x - s->x) / s->scale, py = (y - s->y) / s->scale;
    uv[0] = s->cosine * px + s->sine * py;
    uv[1] = s->cosine * py - s->sine * px;
    return dmq_shape_distance(normal, s->kind, uv[0], uv[1]) * s->scale;
}

/* The lit surface: a rim that falls off like a quarter of a circle around a flat top. */
static void surface(float rgb[3], const scene *s, const float uv[2], const float normal[2],
                    float depth, float pixel)
{
    float rim = 1.0f - clamp(depth / (dmq_shape_bevel(s->kind) * s->scale), 0, 1);
    float n[3] = { 1.1f * rim * (s->cosine * normal[0] - s->sine * normal[1]),
                   1.1f * rim * (s->sine * normal[0] + s->cosine * normal[1]), 1.0f };
    float grain = 1.0f + 0.09f * texture(s, uv[0], uv[1]), stripe = 0, diffuse = 0, shine = 0;

    normalize(n);
    for (int c = 0; c < 3; c++) {
        diffuse += n[c] * s->light[c];
        shine += n[c] * s->half[c];
    }
    diffuse = clamp(diffuse, 0, 1);
    shine = shine * shine;
    shine = shine * shine * shine * shine;
    shine = 0.22f * shine * shine * shine;
    if (s->kind == DMQ_SHAPE_STRIPES) {
        /* Five bands, three of them in the body's colour; edges as soft as the outline. */
        float wave = fabsf(uv[1]), soft = 0.6f * pixel / s->scale;
        stripe =
            smooth(0.20f - soft, 0.20f + soft, wave) * smooth(-0.60f - soft, -0.60f + soft, -wave);
    }
    for (int c = 0; c < 3; c++) {
        float albedo = s->body[c] + stripe * (s->stripe[c] - s->body[c]);
        rgb[c] = albedo * grain * (0.42f + 0.70f * diffuse) + shine;
    }
}

static void pixel_of(float rgb[3], const scene *s, float x, float y, float pixel)
{
    float uv[2], normal[2], face[3];
    float along = clamp(0.5f + 0.42f * (x * s->across[0] + y * s->across[1]), 0, 1);
    float cast = reach(uv, normal, s, x + 0.16f * s->light[0], y + 0.16f * s->light[1]);
    float shade = 1.0f - s->shadow * (1.0f - smooth(-0.14f, 0.14f, cast));

    for (int c = 0; c < 3; c++)
        rgb[c] = shade * (s->sky[0][c] + along * (s->sky[1][c] - s->sky[0][c]));
    float distance = reach(uv, normal, s, x, y);
    float cover = 1.0f - smooth(-0.7f * pixel, 0.7f * pixel, distance);
    if (cover > 0) {
        surface(face, s, uv, normal, -distance, pixel);
        for (int c = 0; c < 3; c++)
            rgb[c] += cover * (face[c] - rgb[c]);
    }
}

int dmq_shapes_label(uint64_t seed, uint64_t index)
{
    draws d = draws_of(seed, index, PURPOSE_LABEL);

    return (int)(((uint64_t)draw_word(&d) * DMQ_SHAPES_CLASSES) >> 32);
}

void dmq_shapes_image(float *out_hwc, int *label, int size, uint64_t seed, uint64_t index)
{
    assert(size >= 8);
    scene s = scene_of(seed, index);
    float pixel = 2.0f / (float)size;

    for (int row = 0; row < size; row++) {
        for (int column = 0; column < size; column++) {
            float *rgb =
                out_hwc + ((size_t)row * (size_t)size + (size_t)column) * DMQ_SHAPES_CHANNELS;
            float x = ((float)column + 0.5f) * pixel - 1.0f, y = 1.0f - ((float)row + 0.5f) * pixel;
            pixel_of(rgb, &s, x, y, pixel);
            for (int c = 0; c < DMQ_SHAPES_CHANNELS; c++)
                rgb[c] = 2.0f * clamp(rgb[c], 0, 1) - 1.0f;
        }
    }
    if (label)
        *label = (int)s.kind;
}
