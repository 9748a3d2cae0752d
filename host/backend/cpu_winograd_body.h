/**
 * The code of Winograd's convolution for one width of registers: included by cpu_winograd_avx512.c and
 * cpu_winograd_avx2.c, which define WIDTH (numbers of a register), BLOCK (rows of a product that registers
 * hold), vec, madd, all, positive, and INLINE; nobody else includes it.
 *
 * Weights at the points lie as (36, k / 2W, c, 2W), the last k as (c, W) where W are left.
 */
#include "backend/cpu_winograd_code.h"

enum { P = 6, POINTS = DMQ_POINTS, TILE = DMQ_TILE, PAIR = 2 * WIDTH, SPAN = 128 };

typedef dmq_winograd_job job;

#define P1 0.625f
#define P2 1.5f
#define Q1 (P1 * P1)
#define Q2 (P2 * P2)

INLINE vec load(const float *x)
{
    vec v;

    memcpy(&v, x, sizeof v);
    return v;
}

INLINE void store(float *x, vec v)
{
    memcpy(x, &v, sizeof v);
}

/* ------------------------------------------------------------------ transforms of six (four, three) */

/* B^T d. A row: the polynomial prod (x - p) over the other points. */
INLINE void to_points(vec o[P], const vec d[P])
{
    vec even1 = madd(d[2], all(-Q2), d[4]), odd1 = P1 * madd(d[1], all(-Q2), d[3]);
    vec even2 = madd(d[2], all(-Q1), d[4]), odd2 = P2 * madd(d[1], all(-Q1), d[3]);

    o[0] = madd(d[0], all(Q1 * Q2), madd(d[2], all(-(Q1 + Q2)), d[4]));
    o[1] = even1 + odd1;
    o[2] = even1 - odd1;
    o[3] = even2 + odd2;
    o[4] = even2 - odd2;
    o[5] = madd(d[1], all(Q1 * Q2), madd(d[3], all(-(Q1 + Q2)), d[5]));
}

/* A^T m: powers of the points. */
INLINE void from_points(vec o[TILE], const vec m[P])
{
    vec sum1 = m[1] + m[2], sum2 = m[3] + m[4];
    vec diff1 = P1 * (m[1] - m[2]), diff2 = P2 * (m[3] - m[4]);

    o[0] = m[0] + sum1 + sum2;
    o[1] = diff1 + diff2;
    o[2] = madd(sum1, all(Q1), Q2 * sum2);
    o[3] = madd(diff1, all(Q1), madd(diff2, all(Q2), m[5]));
}

/* A d: a tile of gradients as a polynomial at the points. */
INLINE void tile_to_points(vec o[P], const vec d[TILE])
{
    vec even1 = madd(d[2], all(Q1), d[0]), odd1 = P1 * madd(d[3], all(Q1), d[1]);
    vec even2 = madd(d[2], all(Q2), d[0]), odd2 = P2 * madd(d[3], all(Q2), d[1]);

    o[0] = d[0];
    o[1] = even1 + odd1;
    o[2] = even1 - odd1;
    o[3] = even2 + odd2;
    o[4] = even2 - odd2;
    o[5] = d[3];
}

/* G g: three taps at the points, over prod (p - others). */
#define N0 (Q1 * Q2)
#define N1 (2 * Q1 * (Q1 - Q2))
#define N2 (2 * Q2 * (Q2 - Q1))

INLINE void taps_to_points(vec o[P], vec g0, vec g1, vec g2)
{
    vec even1 = madd(g2, all(Q1 / N1), (1 / N1) * g0), odd1 = (P1 / N1) * g1;
    vec even2 = madd(g2, all(Q2 / N2), (1 / N2) * g0), odd2 = (P2 / N2) * g1;

    o[0] = (1 / N0) * g0;
    o[1] = even1 + odd1;
    o[2] = even1 - odd1;
    o[3] = even2 + odd2;
    o[4] = even2 - odd2;
    o[5] = g2;
}

/* G^T u */
INLINE void taps_from_points(vec o[3], const vec u[P])
{
    vec sum1 = (1 / N1) * (u[1] + u[2]), diff1 = (P1 / N1) * (u[1] - u[2]);
    vec sum2 = (1 / N2) * (u[3] + u[4]), diff2 = (P2 / N2) * (u[3] - u[4]);

    o[0] = madd(u[0], all(1 / N0), sum1 + sum2);
    o[1] = diff1 + diff2;
    o[2] = madd(sum1, all(Q1), madd(sum2, all(Q2), u[5]));
}

/* ------------------------------------------------------------------ tiles */

/* Place of a tile: its first result. */
typedef struct place {
    int image, y, x;
} place;

INLINE place place_of(const job *j, int tile)
{
    int in_image = tile % (j->across * j->down);

    return (place){ tile / (j->across * j->down), in_image / j->across * TILE,
                    in_image % j->across * TILE };
}

/*
 * Some tiles and channels, SPAN numbers a point at most: whole tiles, or a part of the channels of one.
 * Transforms go over them twice, once by tiles between the map and `mid`, once by points between `mid` and
 * the planes, which are then read or written in long runs: with all 36 planes open at a time every store
 * would wait for its line.
 */
typedef struct span {
    int tile, tiles;  /* first tile, how many */
    int at, channels; /* first channel, how many */
} span;

/* The next span of `all` tiles of `channels` channels; 0 when there is none. Starts from zeros. */
INLINE int span_next(span *s, int tiles, int channels)
{
    s->at += s->channels;
    if (s->at >= channels || s->channels == 0) {
        s->tile += s->tiles;
        s->at = 0;
    }
    s->tiles = channels >= SPAN ? 1 : SPAN / channels;
    if (s->tiles > tiles - s->tile)
        s->tiles = tiles - s->tile;
    s->channels = channels - s->at < SPAN ? channels - s->at : SPAN;
    return s->tile < tiles;
}

/* What lies around a map. */
static const float zeros[SPAN];

/* B^T d of six inputs, or A d of four gradients. */
INLINE void expand(vec o[P], const vec *d, int count)
{
    if (count == P)
        to_points(o, d);
    else
        tile_to_points(o, d);
}

/* First half, one column of a tile: `count` pixels at from[], to column 0 of mid. */
INLINE void expand_column(float *mid, const float *const *from, int count, size_t channels)
{
    for (size_t c = 0; c < channels; c += WIDTH) {
        vec d[P], o[P];

        for (int r = 0; r < count; r++)
            d[r] = load(from[r] + c);
        expand(o, d, count);
        for (int r = 0; r < P; r++)
            store(mid + r * P * SPAN + c, o[r]);
    }
}

/* Second half: along the rows of mid, to the planes. */
INLINE void expand_rows(float *to, size_t plane, const float *mid, int count, size_t length)
{
    for (int r = 0; r < P; r++, mid += P * SPAN, to += P * plane)
        for (size_t l = 0; l < length; l += WIDTH) {
            vec d[P], o[P];

            for (int q = 0; q < count; q++)
                d[q] = load(mid + q * SPAN + l);
            expand(o, d, count);
            for (int q = 0; q < P; q++)
                store(to + (size_t)q * plane + l, o[q]);
        }
}

/* First half of B^T x B, one tile. y, x: its first input, outside of the map for whole = 0. */
INLINE void input_tile(float *mid, size_t channels, const float *map, const job *j, int y, int x,
                       int whole)
{
    const ptrdiff_t pixel = j->c, line = (ptrdiff_t)j->w * pixel;
    const int h = j->h, w = j->w;

    for (int q = 0; q < P; q++) {
        const float *from[P];

        for (int r = 0; r < P; r++) {
            int inside = whole || (y + r >= 0 && y + r < h && x + q >= 0 && x + q < w);

            from[r] = inside ? map + (y + r) * line + (x + q) * pixel : zeros;
        }
        expand_column(mid + q * SPAN, from, P, channels);
    }
}

/* First half of A dy A^T, one tile: zeros where it reaches over the edge. */
INLINE void gradient_tile(float *mid, size_t channels, const float *map, const job *j, int y, int x)
{
    const ptrdiff_t pixel = j->k, line = (ptrdiff_t)j->wo * pixel;
    const int ho = j->ho, wo = j->wo;

    for (int q = 0; q < TILE; q++) {
        const float *from[TILE];

        for (int r = 0; r < TILE; r++)
            from[r] = y + r < ho && x + q < wo ? map + (y + r) * line + (x + q) * pixel : zeros;
        expand_column(mid + q * SPAN, from, TILE, channels);
    }
}

/* v = B^T x B of tiles first.. */
static void inputs(const job *j, int first, int tiles)
{
    const size_t plane = j->plane_v, image = (size_t)(j->h * j->w) * (size_t)j->c;
    float middle[POINTS][SPAN];
    span s = { .tile = 0 };

    while (span_next(&s, tiles, j->c)) {
        float *v = j->v + (size_t)s.tile * (size_t)j->c + s.at;
        size_t channels = (size_t)s.channels, length = (size_t)s.tiles * channels;

        for (int i = 0; i < s.tiles; i++) {
            place at = place_of(j, first + s.tile + i);
            const float *map = j->in + (size_t)at.image * image + s.at;
            float *mid = middle[0] + (size_t)i * channels;
            int y = at.y - j->top, x = at.x - j->left;

            if (y >= 0 && x >= 0 && y + P <= j->h && x + P <= j->w)
                input_tile(mid, channels, map, j, y, x, 1);
            else
                input_tile(mid, channels, map, j, y, x, 0);
        }
        expand_rows(v, plane, middle[0], P, length);
    }
}

/* m = A dy A^T of tiles first.. */
static void gradients(const job *j, int first, int tiles)
{
    const size_t plane = j->plane_m, image = (size_t)(j->ho * j->wo) * (size_t)j->k;
    float middle[POINTS][SPAN];
    span s = { .tile = 0 };

    while (span_next(&s, tiles, j->k)) {
        float *m = j->m + (size_t)s.tile * (size_t)j->k + s.at;
        size_t channels = (size_t)s.channels, length = (size_t)s.tiles * channels;

        for (int i = 0; i < s.tiles; i++) {
            place at = place_of(j, first + s.tile + i);

            gradient_tile(middle[0] + (size_t)i * channels, channels,
                          j->dy + (size_t)at.image * image + s.at, j, at.y, at.x);
        }
        expand_rows(m, plane, middle[0], TILE, length);
    }
}

/* Second half of A^T m A of one tile, bias, and to where it belongs. */
INLINE void output_tile(const float *mid, size_t channels, float *y, const float *bias,
                        const job *j, int rows, int cols, int add, int relu)
{
    const size_t pixel = (size_t)j->k, line = (size_t)j->wo * pixel;

    for (int r = 0; r < rows; r++, mid += P * SPAN, y += line)
        for (size_t k = 0; k < channels; k += WIDTH) {
            vec d[P], o[TILE], b = bias ? load(bias + k) : all(0);

            for (int q = 0; q < P; q++)
                d[q] = load(mid + q * SPAN + k);
            from_points(o, d);
            for (int q = 0; q < TILE; q++) {
                float *to = y + (size_t)q * pixel + k;

                if (q < cols) {
                    vec sum = add ? load(to) + (o[q] + b) : o[q] + b;

                    store(to, relu ? positive(sum) : sum);
                }
            }
        }
}

/* First half of A^T m A: down the columns of the points, to mid. */
INLINE void output_columns(float *mid, const float *m, size_t plane, size_t length)
{
    for (int q = 0; q < P; q++, m += plane, mid += SPAN)
        for (size_t l = 0; l < length; l += WIDTH) {
            vec d[P], o[TILE];

            for (int r = 0; r < P; r++)
                d[r] = load(m + (size_t)r * P * plane + l);
            from_points(o, d);
            for (int r = 0; r < TILE; r++)
                store(mid + r * P * SPAN + l, o[r]);
        }
}

/* Results of tiles first.. from m. */
static void outputs(const job *j, int first, int tiles)
{
    const size_t image = (size_t)(j->ho * j->wo), pixel = (size_t)j->k;
    float middle[POINTS][SPAN];
    span s = { .tile = 0 };

    while (span_next(&s, tiles, j->k)) {
        size_t channels = (size_t)s.channels;

        output_columns(middle[0], j->m + (size_t)s.tile * pixel + s.at, j->plane_m,
                       (size_t)s.tiles * channels);
        for (int i = 0; i < s.tiles; i++) {
            place at = place_of(j, first + s.tile + i);
            size_t first_pixel = (size_t)at.image * image + (size_t)(at.y * j->wo + at.x);
            float *y = j->out + first_pixel * pixel + s.at;
            const float *mid = middle[0] + (size_t)i * channels;
            const float *bias = j->bias ? j->bias + s.at : NULL;
            int rows = j->ho - at.y < TILE ? j->ho - at.y : TILE;
            int cols = j->wo - at.x < TILE ? j->wo - at.x : TILE;

            if (cols == TILE && !j->add && !j->relu)
                output_tile(mid, channels, y, bias, j, rows, TILE, 0, 0);
            else
                output_tile(mid, channels, y, bias, j, rows, cols, j->add, j->relu);
        }
    }
}

/* ------------------------------------------------------------------ products */

/* m (8, 2W or W) = v (8, c) u (c, 2W or W) */
INLINE void product(float *m, const float *v, const float *u, size_t c, size_t k, int pair)
{
    vec sum[BLOCK][2];

#pragma GCC unroll 8
    for (int i = 0; i < BLOCK; i++)
        sum[i][0] = sum[i][1] = all(0);
    for (size_t l = 0; l < c; l++) {
        vec a = load(u + l * (size_t)(pair ? PAIR : WIDTH)), b = a;

        if (pair)
            b = load(u + l * PAIR + WIDTH);
#pragma GCC unroll 8
        for (int i = 0; i < BLOCK; i++) {
            vec x = all(v[(size_t)i * c + l]);

            sum[i][0] = madd(x, a, sum[i][0]);
            if (pair)
                sum[i][1] = madd(x, b, sum[i][1]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < BLOCK; i++) {
        store(m + (size_t)i * k, sum[i][0]);
        if (pair)
            store(m + (size_t)i * k + WIDTH, sum[i][1]);
    }
}

/* m = v u at one point, for `rows` tiles (a multiple of 8). */
static void products_at(float *m, const float *v, const float *u, int rows, size_t c, size_t k)
{
    for (size_t at = 0; at < k; at += PAIR) {
        for (size_t i = 0; i < (size_t)rows; i += BLOCK) {
            if (at + PAIR <= k)
                product(m + i * k + at, v + i * c, u + at * c, c, k, 1);
            else
                product(m + i * k + at, v + i * c, u + at * c, c, k, 0);
        }
    }
}

static void products(const job *j, int rows)
{
    size_t c = (size_t)j->c, k = (size_t)j->k;

    for (size_t p = 0; p < POINTS; p++)
        products_at(j->m + p * j->plane_m, j->v + p * j->plane_v, j->weights + p * c * k, rows, c,
                    k);
}

/* u (8 k, 2W or W c) (+)= m^T (8 k, rows) v (rows, 2W or W c) */
INLINE void outer(float *u, const float *m, const float *v, size_t rows, size_t c, size_t k,
                  int pair, int add)
{
    vec sum[BLOCK][2];

#pragma GCC unroll 8
    for (int i = 0; i < BLOCK; i++) {
        sum[i][0] = sum[i][1] = all(0);
        __builtin_prefetch(u + (size_t)i * c, 1);
        __builtin_prefetch(u + (size_t)i * c + DMQ_LINE, 1);
    }
    for (size_t t = 0; t < rows; t++) {
        vec a = load(v + t * c), b = a;

        if (pair)
            b = load(v + t * c + WIDTH);
#pragma GCC unroll 8
        for (size_t i = 0; i < BLOCK; i++) {
            vec x = all(m[t * k + i]);

            sum[i][0] = madd(x, a, sum[i][0]);
            if (pair)
                sum[i][1] = madd(x, b, sum[i][1]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < BLOCK; i++) {
        float *to = u + (size_t)i * c;

        store(to, add ? load(to) + sum[i][0] : sum[i][0]);
        if (pair)
            store(to + WIDTH, add ? load(to + WIDTH) + sum[i][1] : sum[i][1]);
    }
}

static void outer_products(const job *j, int rows, int add)
{
    size_t c = (size_t)j->c, k = (size_t)j->k;

    for (int p = 0; p < POINTS; p++) {
        const float *m = j->m + (size_t)p * j->plane_m, *v = j->v + (size_t)p * j->plane_v;
        float *u = j->u + (size_t)p * c * k;

        for (size_t at = 0; at < c; at += PAIR)
            for (size_t i = 0; i < k; i += BLOCK) {
                if (at + PAIR <= c)
                    outer(u + i * c + at, m + i, v + at, (size_t)rows, c, k, 1, add);
                else
                    outer(u + i * c + at, m + i, v + at, (size_t)rows, c, k, 0, add);
            }
    }
}

/* ------------------------------------------------------------------ weights */

/* G g G^T of WIDTH output channels and one input channel, to the planes of u. */
INLINE void taps_store(float *u, size_t plane, const vec tap[9])
{
    vec half[P][3];

    for (int s = 0; s < 3; s++) {
        vec o[P];

        taps_to_points(o, tap[s], tap[3 + s], tap[6 + s]);
        for (int r = 0; r < P; r++)
            half[r][s] = o[r];
    }
    for (int r = 0; r < P; r++) {
        vec o[P];

        taps_to_points(o, half[r][0], half[r][1], half[r][2]);
        for (int s = 0; s < P; s++)
            store(u + (size_t)(r * P + s) * plane, o[s]);
    }
}

/* Place in a plane of u of the output channels from k on and input channel c, of k_all and c_all. */
INLINE size_t place_in_u(int k_all, int c_all, int k, int c)
{
    int first = k / PAIR * PAIR, wide = first + PAIR <= k_all ? PAIR : WIDTH;

    return (size_t)first * (size_t)c_all + (size_t)c * (size_t)wide + (size_t)(k - first);
}

static void weights_to_points(float *u, int k_all, int c_all, const float *w, int turned)
{
    size_t plane = (size_t)k_all * (size_t)c_all;

    for (int k = 0; k < k_all; k += WIDTH)
        for (int c = 0; c < c_all; c += WIDTH) {
            vec tap[WIDTH][9];

            for (int t = 0; t < 9; t++) {
                const float *from = w + ((size_t)k * 9 + (size_t)t) * (size_t)c_all + (size_t)c;

                if (turned)
                    for (int i = 0; i < WIDTH; i++)
                        tap[i][t] =
                            load(w + ((size_t)(c + i) * 9 + (size_t)(8 - t)) * (size_t)k_all + k);
                else
                    for (int o = 0; o < WIDTH; o++)
                        for (int i = 0; i < WIDTH; i++)
                            tap[i][t][o] = from[(size_t)o * 9 * (size_t)c_all + (size_t)i];
            }
            for (int i = 0; i < WIDTH; i++)
                taps_store(u + place_in_u(k_all, c_all, k, c + i), plane, tap[i]);
        }
}

/* dw (k, 3, 3, c) (+)= G^T u G */
static void weights_from_points(const job *j)
{
    size_t plane = (size_t)j->c * (size_t)j->k, c_all = (size_t)j->c;

    for (size_t at = 0; at < plane; at += WIDTH) {
        float *dw = j->dw + at / c_all * 9 * c_all + at % c_all;
        vec half[3][P];

        for (int s = 0; s < P; s++) {
            vec d[P], o[3];

            for (int r = 0; r < P; r++)
                d[r] = load(j->u + (size_t)(r * P + s) * plane + at);
            taps_from_points(o, d);
            for (int r = 0; r < 3; r++)
                half[r][s] = o[r];
        }
        for (int r = 0; r < 3; r++) {
            vec o[3];

            taps_from_points(o, half[r]);
            for (int s = 0; s < 3; s++) {
                float *to = dw + (size_t)(r * 3 + s) * c_all;

                store(to, j->add ? load(to) + o[s] : o[s]);
            }
        }
    }
}

/* ------------------------------------------------------------------ passes */

/* Tiles that fill up the last rows of a product: zeros, whose results nobody reads. */
static void clear_rows(const job *j, int from, int to)
{
    for (int p = 0; p < POINTS && to > from; p++)
        memset(j->v + (size_t)p * j->plane_v + (size_t)from * (size_t)j->c, 0,
               (size_t)(to - from) * (size_t)j->c * sizeof(float));
}

static void convolve(const job *j)
{
    for (int first = 0; first < j->tiles; first += j->run) {
        int count = j->tiles - first < j->run ? j->tiles - first : j->run;
        int rows = (count + BLOCK - 1) / BLOCK * BLOCK;

        inputs(j, first, count);
        clear_rows(j, count, rows);
        products(j, rows);
        outputs(j, first, count);
    }
}

static void correlate(const job *j)
{
    for (int first = 0; first < j->tiles; first += j->run) {
        int count = j->tiles - first < j->run ? j->tiles - first : j->run;

        inputs(j, first, count);
        gradients(j, first, count);
        outer_products(j, count, first > 0);
    }
    weights_from_points(j);
}
