/**
 * Winograd's convolution along a line, F(3, 7) and F(4, 3), and by squares of 5x5, F(4x4, 5x5): included by
 * cpu_winograd_avx512.c and cpu_winograd_avx2.c behind cpu_winograd_body.h, whose product and order of weights
 * it has; nobody else includes it.
 *
 * Points come in pairs +-p, with infinity and, for an odd number of others, 0. With Q the product of
 * (x^2 - p^2) over the other pairs, the rows of B^T for +-p are x Q +- p Q, or x^2 Q +- p x Q with 0 among
 * the points: even powers and odd ones are summed once for both.
 */

enum { LINE_PAIRS = 4, LINE_POINTS = 10, FIVE = 5, EIGHT = 8 };

typedef dmq_winograd_line_job line_job;

typedef struct line_rule {
    int taps, pairs, zero, points;
    float p[LINE_PAIRS];
    float q[LINE_PAIRS][LINE_PAIRS]; /* of the other pairs, by powers of x^2; the last is 1 */
    float all[LINE_PAIRS];           /* of all pairs, without the last, which is 1 */
    double norm[LINE_PAIRS], norm_zero;
} line_rule;

/* Errors along a line of 1.7e-6 (7 taps), 1.1e-6 (5) and 0.5e-6 (3) of sums over 160 channels; about the best of
   those tried. */
static line_rule rule_of(int taps)
{
    static const double seven[] = { 0.25, 0.625, 1.25, 2.5 }, five[] = { 0.5, 1, 2 },
                        three[] = { 0.625, 1.5 };
    const double *p = taps == 7 ? seven : taps == 5 ? five : three;
    line_rule r = { .taps = taps, .pairs = (taps + 1) / 2, .zero = taps != 7, .norm_zero = 1 };

    r.points = 2 * r.pairs + r.zero + 1;
    for (int i = 0; i <= r.pairs; i++) { /* the last: all pairs */
        double c[LINE_PAIRS + 1] = { 1 }, norm = 1;
        int degree = 0;

        for (int j = 0; j < r.pairs; j++) {
            if (j == i)
                continue;
            for (int l = degree++; l >= 0; l--) { /* times x^2 - p^2 */
                c[l + 1] += c[l];
                c[l] *= -p[j] * p[j];
            }
            norm *= i < r.pairs ? p[i] * p[i] - p[j] * p[j] : -p[j] * p[j];
        }
        for (int l = 0; l < r.pairs; l++)
            *(i < r.pairs ? &r.q[i][l] : &r.all[l]) = (float)c[l];
        if (i < r.pairs) {
            r.p[i] = (float)p[i];
            r.norm[i] = norm * 2 * p[i] * (r.zero ? p[i] : 1);
        } else {
            r.norm_zero = norm;
        }
    }
    return r;
}

/* ------------------------------------------------------------------ transforms */

/* x^from (all[0] + all[1] x^2 + ...) of d */
INLINE vec line_all(const vec *d, int from, const line_rule *r, int pairs)
{
    vec sum = d[from + 2 * pairs];

#pragma GCC unroll 4
    for (int l = pairs - 1; l >= 0; l--)
        sum = madd(d[from + 2 * l], all(r->all[l]), sum);
    return sum;
}

/* B^T d */
INLINE void line_to_points(vec *o, const vec *d, const line_rule *r, int pairs, int zero)
{
#pragma GCC unroll 4
    for (int i = 0; i < pairs; i++) {
        vec even = d[2 * (pairs - 1 + zero)], odd = d[2 * pairs - 1];

#pragma GCC unroll 4
        for (int l = pairs - 2; l >= 0; l--) {
            even = madd(d[2 * (l + zero)], all(r->q[i][l]), even);
            odd = madd(d[2 * l + 1], all(r->q[i][l]), odd);
        }
        if (zero) {
            o[2 * i] = madd(odd, all(r->p[i]), even);
            o[2 * i + 1] = madd(odd, all(-r->p[i]), even);
        } else {
            o[2 * i] = madd(even, all(r->p[i]), odd);
            o[2 * i + 1] = madd(even, all(-r->p[i]), odd);
        }
    }
    if (zero)
        o[2 * pairs] = line_all(d, 0, r, pairs);
    o[2 * pairs + zero] = line_all(d, zero, r, pairs);
}

/* A^T m: powers of the points. */
INLINE void line_from_points(vec *o, const vec *m, const line_rule *r, int pairs, int zero,
                             int tile)
{
    vec sum[LINE_PAIRS], diff[LINE_PAIRS];

#pragma GCC unroll 4
    for (int i = 0; i < pairs; i++) {
        sum[i] = m[2 * i] + m[2 * i + 1];
        diff[i] = r->p[i] * (m[2 * i] - m[2 * i + 1]);
    }
#pragma GCC unroll 4
    for (int k = 0; k < tile; k++) {
        vec to = all(0);

        if (k == tile - 1)
            to = m[2 * pairs + zero];
        if (k == 0 && zero)
            to = m[2 * pairs];
#pragma GCC unroll 4
        for (int i = 0; i < pairs; i++) {
            float square = r->p[i] * r->p[i];

            to = madd(k % 2 ? diff[i] : sum[i], all(k < 2 ? 1.0f : square), to);
        }
        o[k] = to;
    }
}

/* ------------------------------------------------------------------ tiles */

typedef struct line_place {
    const float *in; /* first pixel of the line */
    float *out;      /* first result of the tile */
    int at;          /* of its first input along the line */
    int count;       /* results within the line */
} line_place;

INLINE line_place line_place_of(const line_job *j, int tile)
{
    int line = tile / j->across, first = tile % j->across * j->tile;
    int image = line / j->lines, in_image = line % j->lines;
    int left = j->length_out - first;

    return (line_place){ j->in + image * j->in_image + in_image * j->in_line,
                         j->out + image * j->out_image + in_image * j->out_line +
                             first * j->out_step,
                         first - j->pad, left < j->tile ? left : j->tile };
}

/* v = B^T x of tiles first.. */
INLINE void line_inputs(const line_job *j, const line_rule *r, int first, int tiles, int pairs,
                        int zero)
{
    const int points = 2 * pairs + zero + 1;

    for (int t = 0; t < tiles; t++) {
        line_place at = line_place_of(j, first + t);
        float *v = j->v + (size_t)t * (size_t)j->c;
        const float *from[LINE_POINTS];
        size_t moves[LINE_POINTS];

        for (int q = 0; q < points; q++) {
            int inside = at.at + q >= 0 && at.at + q < j->length_in;

            from[q] = inside ? at.in + (at.at + q) * j->in_step : zeros;
            moves[q] = inside ? 1 : 0;
        }
        for (size_t c = 0; c < (size_t)j->c; c += WIDTH) {
            vec d[LINE_POINTS], o[LINE_POINTS];

#pragma GCC unroll 10
            for (int q = 0; q < points; q++)
                d[q] = load(from[q] + moves[q] * c);
            line_to_points(o, d, r, pairs, zero);
#pragma GCC unroll 10
            for (int q = 0; q < points; q++)
                store(v + (size_t)q * j->plane_v + c, o[q]);
        }
    }
}

/* y = A^T m of tiles first.., with what comes behind the sum. */
INLINE void line_outputs(const line_job *j, const line_rule *r, int first, int tiles, int pairs,
                         int zero, int tile)
{
    const int points = 2 * pairs + zero + 1;

    for (int t = 0; t < tiles; t++) {
        line_place at = line_place_of(j, first + t);
        const float *m = j->m + (size_t)t * (size_t)j->k;

        for (size_t k = 0; k < (size_t)j->k; k += WIDTH) {
            vec d[LINE_POINTS], o[LINE_POINTS], bias = j->bias ? load(j->bias + k) : all(0);

#pragma GCC unroll 10
            for (int q = 0; q < points; q++)
                d[q] = load(m + (size_t)q * j->plane_m + k);
            line_from_points(o, d, r, pairs, zero, tile);
#pragma GCC unroll 4
            for (int q = 0; q < tile; q++) {
                float *to = at.out + q * j->out_step + k;
                vec sum = o[q] + bias;

                if (q >= at.count)
                    break;
                sum = j->add ? load(to) + sum : sum;
                store(to, j->relu ? positive(sum) : sum);
            }
        }
    }
}

/* ------------------------------------------------------------------ weights */

/* G g */
static void taps_to_line(double *o, const double *g, const line_rule *r)
{
    for (int i = 0; i < r->pairs; i++) {
        double even = 0, odd = 0, power = 1;

        for (int t = 0; t < r->taps; t++, power *= (double)r->p[i])
            *(t % 2 ? &odd : &even) += power * g[t];
        o[2 * i] = (even + odd) / r->norm[i];
        o[2 * i + 1] = (even - odd) / (r->zero ? r->norm[i] : -r->norm[i]);
    }
    if (r->zero)
        o[2 * r->pairs] = g[0] / r->norm_zero;
    o[2 * r->pairs + r->zero] = g[r->taps - 1];
}

/* w (k, taps, c) to (points, k, c) in the order of cpu_winograd_body.h, in double until it is rounded. */
static void line_weights(float *u, int k_all, int c_all, const float *w, int taps)
{
    const line_rule r = rule_of(taps);
    size_t plane = (size_t)k_all * (size_t)c_all, row = (size_t)taps * (size_t)c_all;

    for (int k = 0; k < k_all; k++)
        for (int c = 0; c < c_all; c++) {
            float *to = u + place_in_u(k_all, c_all, k / WIDTH * WIDTH, c) + k % WIDTH;
            double g[LINE_POINTS], o[LINE_POINTS];

            for (int t = 0; t < taps; t++)
                g[t] = (double)w[(size_t)k * row + (size_t)(t * c_all + c)];
            taps_to_line(o, g, &r);
            for (int p = 0; p < r.points; p++)
                to[(size_t)p * plane] = (float)o[p];
        }
}

/* w (k, 5, 5, c) to (8 8, k, c): G w G^T */
static void five_weights(float *u, int k_all, int c_all, const float *w)
{
    const line_rule r = rule_of(FIVE);
    size_t plane = (size_t)k_all * (size_t)c_all;

    for (int k = 0; k < k_all; k++)
        for (int c = 0; c < c_all; c++) {
            const float *from = w + (size_t)(k * FIVE * FIVE) * (size_t)c_all + c;
            float *to = u + place_in_u(k_all, c_all, k / WIDTH * WIDTH, c) + k % WIDTH;
            double half[EIGHT][FIVE], g[FIVE], o[EIGHT];

            for (int s = 0; s < FIVE; s++) {
                for (int t = 0; t < FIVE; t++)
                    g[t] = (double)from[(t * FIVE + s) * c_all];
                taps_to_line(o, g, &r);
                for (int p = 0; p < EIGHT; p++)
                    half[p][s] = o[p];
            }
            for (int p = 0; p < EIGHT; p++) {
                taps_to_line(o, half[p], &r);
                for (int q = 0; q < EIGHT; q++)
                    to[(size_t)(p * EIGHT + q) * plane] = (float)o[q];
            }
        }
}

/* ------------------------------------------------------------------ passes along lines */

INLINE void line_runs(const line_job *j, int pairs, int zero, int tile)
{
    const line_rule r = rule_of(j->taps);
    size_t c = (size_t)j->c, k = (size_t)j->k;

    for (int first = 0; first < j->tiles; first += j->run) {
        int count = j->tiles - first < j->run ? j->tiles - first : j->run;
        int rows = (count + BLOCK - 1) / BLOCK * BLOCK;

        line_inputs(j, &r, first, count, pairs, zero);
        for (int p = 0; p < r.points; p++) {
            float *v = j->v + (size_t)p * j->plane_v;

            memset(v + (size_t)count * c, 0, (size_t)(rows - count) * c * sizeof *v);
            products_at(j->m + (size_t)p * j->plane_m, v, j->weights + (size_t)p * c * k, rows, c,
                        k);
        }
        line_outputs(j, &r, first, count, pairs, zero, tile);
    }
}

static void line_convolve(const line_job *j)
{
    if (j->taps == 7)
        line_runs(j, 4, 0, 3);
    else
        line_runs(j, 2, 1, 4);
}

/* ------------------------------------------------------------------ squares of 5x5 */

/* v = B^T x B of tiles first.., by spans as the inputs of 3x3. */
static void five_inputs(const job *j, const line_rule *r, int first, int tiles)
{
    const size_t image = (size_t)(j->h * j->w) * (size_t)j->c;
    const ptrdiff_t pixel = j->c, line = (ptrdiff_t)j->w * pixel;
    float middle[EIGHT * EIGHT][SPAN];
    span s = { .tile = 0 };

    while (span_next(&s, tiles, j->c)) {
        float *v = j->v + (size_t)s.tile * (size_t)j->c + s.at;
        size_t channels = (size_t)s.channels, length = (size_t)s.tiles * channels;

        for (int i = 0; i < s.tiles * EIGHT; i++) { /* a column of a tile */
            place at = place_of(j, first + s.tile + i / EIGHT);
            const float *map = j->in + (size_t)at.image * image + s.at, *from[EIGHT];
            int q = i % EIGHT, y = at.y - j->top, x = at.x - j->left + q;
            float *mid = middle[q] + (size_t)(i / EIGHT) * channels;

            for (int p = 0; p < EIGHT; p++) {
                int inside = y + p >= 0 && y + p < j->h && x >= 0 && x < j->w;

                from[p] = inside ? map + (y + p) * line + x * pixel : zeros;
            }
            for (size_t c = 0; c < channels; c += WIDTH) {
                vec d[EIGHT], o[EIGHT];

#pragma GCC unroll 8
                for (int p = 0; p < EIGHT; p++)
                    d[p] = load(from[p] + c);
                line_to_points(o, d, r, 3, 1);
#pragma GCC unroll 8
                for (int p = 0; p < EIGHT; p++)
                    store(mid + p * EIGHT * SPAN + c, o[p]);
            }
        }
        for (int p = 0; p < EIGHT; p++)
            for (size_t l = 0; l < length; l += WIDTH) {
                vec d[EIGHT], o[EIGHT];

#pragma GCC unroll 8
                for (int q = 0; q < EIGHT; q++)
                    d[q] = load(middle[p * EIGHT + q] + l);
                line_to_points(o, d, r, 3, 1);
#pragma GCC unroll 8
                for (int q = 0; q < EIGHT; q++)
                    store(v + (size_t)(p * EIGHT + q) * j->plane_v + l, o[q]);
            }
    }
}

/* The results of one tile from the columns that are summed up. */
INLINE void five_tile(const job *j, const line_rule *r, const float *mid, place at, int first,
                      size_t channels)
{
    const size_t pixel = (size_t)j->k;
    int rows = j->ho - at.y < TILE ? j->ho - at.y : TILE;
    int cols = j->wo - at.x < TILE ? j->wo - at.x : TILE;
    float *y =
        j->out +
        ((size_t)at.image * (size_t)(j->ho * j->wo) + (size_t)(at.y * j->wo + at.x)) * pixel +
        first;

    for (int p = 0; p < rows; p++, mid += EIGHT * SPAN, y += (size_t)j->wo * pixel)
        for (size_t k = 0; k < channels; k += WIDTH) {
            vec d[EIGHT], o[TILE], bias = j->bias ? load(j->bias + (size_t)first + k) : all(0);

#pragma GCC unroll 8
            for (int q = 0; q < EIGHT; q++)
                d[q] = load(mid + q * SPAN + k);
            line_from_points(o, d, r, 3, 1, TILE);
#pragma GCC unroll 4
            for (int q = 0; q < TILE; q++) {
                float *to = y + (size_t)q * pixel + k;
                vec sum = o[q] + bias;

                if (q >= cols)
                    break;
                sum = j->add ? load(to) + sum : sum;
                store(to, j->relu ? positive(sum) : sum);
            }
        }
}

static void five_outputs(const job *j, const line_rule *r, int first, int tiles)
{
    float middle[TILE * EIGHT][SPAN];
    span s = { .tile = 0 };

    while (span_next(&s, tiles, j->k)) {
        const float *m = j->m + (size_t)s.tile * (size_t)j->k + s.at;
        size_t channels = (size_t)s.channels, length = (size_t)s.tiles * channels;

        for (int q = 0; q < EIGHT; q++)
            for (size_t l = 0; l < length; l += WIDTH) {
                vec d[EIGHT], o[TILE];

#pragma GCC unroll 8
                for (int p = 0; p < EIGHT; p++)
                    d[p] = load(m + (size_t)(p * EIGHT + q) * j->plane_m + l);
                line_from_points(o, d, r, 3, 1, TILE);
#pragma GCC unroll 4
                for (int p = 0; p < TILE; p++)
                    store(middle[p * EIGHT + q] + l, o[p]);
            }
        for (int i = 0; i < s.tiles; i++) {
            five_tile(j, r, middle[0] + (size_t)i * channels, place_of(j, first + s.tile + i), s.at,
                      channels);
        }
    }
}

static void five_convolve(const job *j)
{
    const line_rule r = rule_of(FIVE);
    size_t c = (size_t)j->c, k = (size_t)j->k;

    for (int first = 0; first < j->tiles; first += j->run) {
        int count = j->tiles - first < j->run ? j->tiles - first : j->run;
        int rows = (count + BLOCK - 1) / BLOCK * BLOCK;

        five_inputs(j, &r, first, count);
        for (size_t p = 0; p < EIGHT * EIGHT; p++) {
            float *v = j->v + p * j->plane_v;

            memset(v + (size_t)count * c, 0, (size_t)(rows - count) * c * sizeof *v);
            products_at(j->m + p * j->plane_m, v, j->weights + p * c * k, rows, c, k);
        }
        five_outputs(j, &r, first, count);
    }
}
