#include "eval/manifold.h"

#include "backend/cpu_math.h"
#include "base/memory.h"
#include "eval/bounded.h"
#include "eval/pieces.h"

#include <assert.h>
#include <cblas.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

/* Rows and columns of a tile of products; a piece is the rows of one set against all tiles of another. */
enum { ROWS = 256, COLUMNS = 1024 };

/* ------------------------------------------------------------------ distances */

/* One side of the tiles: features, and squared lengths of the centred ones. */
typedef struct points {
    const float *x; /* (n, d) */
    size_t n;
    double *length2; /* (n) */
} points;

typedef struct room {
    float *rows, *columns; /* (ROWS, d), (COLUMNS, d), centred */
    float *product;        /* (ROWS, COLUMNS) */
    double *nearest;       /* (ROWS, k) ascending */
} room;

/* Two sets, possibly one twice, and what is computed of them. */
typedef struct pairs {
    points row, column;
    size_t d;
    int k;
    double *centre; /* (d) of the columns: near the middle of all */
    double off;     /* a distance is off by this times the squared lengths, */
    double floor;   /* and by this where products are below the normal numbers of FP32 */
    room *room;     /* (threads) */
    int threads;

    double *radius2; /* (row.n) results of radii */

    const double *row_radius2, *column_radius2;
    size_t *holding;             /* (row.n) balls of columns that hold the row */
    unsigned char *holds, *held; /* (column.n) its ball holds a row; the ball of a row holds it */
} pairs;

/* sum (a - b)^2, the same for (b, a) and on every machine: sixteen sums, joined in order. */
DMQ_CLONES static double distance2(const float *a, const float *b, size_t d)
{
    double sum[16] = { 0 }, all = 0;
    size_t j = 0;

    for (; j + 16 <= d; j += 16) {
        for (size_t i = 0; i < 16; i++) {
            double diff = (double)a[j + i] - (double)b[j + i];

            sum[i] += diff * diff;
        }
    }
    for (size_t i = 0; j < d; i++, j++) {
        double diff = (double)a[j] - (double)b[j];

        sum[i] += diff * diff;
    }
    for (size_t i = 0; i < 16; i++)
        all += sum[i];
    return all;
}

DMQ_CLONES static void centre_rows(float *out, const float *x, size_t n, size_t d,
                                   const double *centre)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < d; j++)
            out[i * d + j] = (float)((double)x[i * d + j] - centre[j]);
    }
}

static void find_centre(double *centre, const float *x, size_t n, size_t d)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < d; j++)
            centre[j] += (double)x[i * d + j] / (double)n;
    }
}

static void find_lengths(const points *p, const pairs *s)
{
    for (size_t i = 0; i < p->n; i++) {
        double sum = 0;

        for (size_t j = 0; j < s->d; j++) {
            double value = (double)p->x[i * s->d + j] - s->centre[j];

            sum += value * value;
        }
        p->length2[i] = sum;
    }
}

static void pairs_release(pairs *s)
{
    for (int i = 0; s->room && i < s->threads; i++) {
        dmq_free(s->room[i].rows);
        dmq_free(s->room[i].columns);
        dmq_free(s->room[i].product);
        dmq_free(s->room[i].nearest);
    }
    dmq_free(s->room);
    dmq_free(s->centre);
    dmq_free(s->row.length2);
    dmq_free(s->column.length2);
    dmq_free(s->holding);
    dmq_free(s->holds);
    dmq_free(s->held);
}

static dmq_status pairs_init(pairs *s, const dmq_balls *row, const dmq_balls *column)
{
    dmq_status st = DMQ_OK;

    s->d = (size_t)row->d;
    s->k = row->k;
    s->row = (points){ .x = row->x, .n = row->n };
    s->column = (points){ .x = column->x, .n = column->n };
    /* a sum of d products, each factor rounded when it was centred, and room */
    s->off = ((double)row->d + 16) * 0x1p-24 * 1.01;
    s->floor = (double)row->d * 0x1p-124;
    s->threads = dmq_pieces_threads();
    DMQ_TRY(dmq_alloc((void **)&s->centre, s->d, sizeof *s->centre));
    DMQ_TRY(dmq_alloc((void **)&s->row.length2, row->n, sizeof(double)));
    DMQ_TRY(dmq_alloc((void **)&s->column.length2, column->n, sizeof(double)));
    DMQ_TRY(dmq_alloc((void **)&s->room, (size_t)s->threads, sizeof *s->room));
    for (int i = 0; i < s->threads; i++) {
        room *r = &s->room[i];

        DMQ_TRY(dmq_alloc((void **)&r->rows, ROWS * s->d, sizeof *r->rows));
        DMQ_TRY(dmq_alloc((void **)&r->columns, COLUMNS * s->d, sizeof *r->columns));
        DMQ_TRY(dmq_alloc((void **)&r->product, (size_t)ROWS * COLUMNS, sizeof *r->product));
        DMQ_TRY(dmq_alloc((void **)&r->nearest, ROWS * (size_t)s->k, sizeof *r->nearest));
    }
    find_centre(s->centre, column->x, column->n, s->d);
    find_lengths(&s->row, s);
    find_lengths(&s->column, s);
done:
    return st;
}

static int piece_count(const pairs *s)
{
    return (int)((s->row.n + ROWS - 1) / ROWS);
}

static size_t part(size_t n, size_t from, size_t most)
{
    return n - from < most ? n - from : most;
}

/* What is done with one row and the columns of a tile: product (columns) of the row with them. */
typedef void visit_fn(pairs *s, const room *r, size_t row, size_t first, size_t columns,
                      const float *product);

/* All tiles of one piece's rows, in order. */
static void visit_tiles(pairs *s, room *r, size_t from, visit_fn *visit)
{
    size_t rows = part(s->row.n, from, ROWS);
    int d = (int)s->d;

    centre_rows(r->rows, s->row.x + from * s->d, rows, s->d, s->centre);
    for (size_t first = 0; first < s->column.n; first += COLUMNS) {
        size_t columns = part(s->column.n, first, COLUMNS);

        centre_rows(r->columns, s->column.x + first * s->d, columns, s->d, s->centre);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)columns, d, 1, r->rows,
                    d, r->columns, d, 0, r->product, COLUMNS);
        for (size_t i = 0; i < rows; i++)
            visit(s, r, from + i, first, columns, r->product + i * COLUMNS);
    }
}

/* ------------------------------------------------------------------ radii */

/* Keep the k smallest: the nearest of a row whose piece begins at a multiple of ROWS. */
static void keep_nearest(double *nearest, int k, double value)
{
    int at = k - 1;

    for (; at > 0 && nearest[at - 1] > value; at--)
        nearest[at] = nearest[at - 1];
    nearest[at] = value;
}

static void visit_nearest(pairs *s, const room *r, size_t row, size_t first, size_t columns,
                          const float *product)
{
    double *nearest = r->nearest + row % ROWS * (size_t)s->k;
    const double *farthest = &nearest[s->k - 1];

    for (size_t j = 0; j < columns; j++) {
        double lengths = s->row.length2[row] + s->column.length2[first + j];
        double least = lengths * (1 - s->off) - 2 * (double)product[j] - s->floor, value;

        if (least > *farthest || row == first + j)
            continue;
        value = distance2(s->row.x + row * s->d, s->column.x + (first + j) * s->d, s->d);
        if (value < *farthest)
            keep_nearest(nearest, s->k, value);
    }
}

static dmq_status radii(void *context, int piece, int thread)
{
    pairs *s = context;
    room *r = &s->room[thread];
    size_t from = (size_t)piece * ROWS, k = (size_t)s->k;

    for (size_t i = 0; i < ROWS * k; i++)
        r->nearest[i] = INFINITY;
    visit_tiles(s, r, from, visit_nearest);
    for (size_t i = 0; i < part(s->row.n, from, ROWS); i++)
        s->radius2[from + i] = r->nearest[i * k + k - 1];
    return DMQ_OK;
}

void dmq_balls_destroy(dmq_balls *balls)
{
    if (!balls)
        return;
    dmq_free(balls->radius2);
    dmq_free(balls);
}

dmq_status dmq_balls_create(dmq_balls **out, const float *x, size_t n, int d, int k)
{
    pairs s = { .radius2 = NULL };
    dmq_balls *b = NULL;
    dmq_status st = DMQ_OK;

    assert(d >= 1 && k >= 1);
    if (n <= (size_t)k) {
        st = dmq_fail(DMQ_EDATA, "features: %zu points have no %d neighbours each", n, k);
        goto done;
    }
    DMQ_TRY(dmq_features_bounded("", x, n, (size_t)d, 0));
    DMQ_TRY(dmq_alloc((void **)&b, 1, sizeof *b));
    *b = (dmq_balls){ .x = x, .n = n, .d = d, .k = k };
    DMQ_TRY(dmq_alloc((void **)&b->radius2, n, sizeof *b->radius2));
    DMQ_TRY(pairs_init(&s, b, b));
    s.radius2 = b->radius2;
    DMQ_TRY(dmq_pieces_run(piece_count(&s), radii, &s));
    *out = b;
    b = NULL;
done:
    pairs_release(&s);
    dmq_balls_destroy(b);
    return st;
}

/* ------------------------------------------------------------------ balls */

/* Where a distance between least and most lies against a bound: 1 within, 0 without, -1 not certain. */
static int within(double least, double most, double bound)
{
    return most <= bound ? 1 : least > bound ? 0 : -1;
}

static void mark(unsigned char *flag)
{
#pragma omp atomic write
    *flag = 1; /* by any piece, to the same value */
}

static void visit_balls(pairs *s, const room *r, size_t row, size_t first, size_t columns,
                        const float *product)
{
    (void)r;
    for (size_t j = 0; j < columns; j++) {
        size_t column = first + j;
        double lengths = s->row.length2[row] + s->column.length2[column];
        double middle = lengths - 2 * (double)product[j], off = lengths * s->off + s->floor;
        int in_column = within(middle - off, middle + off, s->column_radius2[column]);
        int in_row = within(middle - off, middle + off, s->row_radius2[row]);

        if (in_column < 0 || in_row < 0) {
            middle = distance2(s->row.x + row * s->d, s->column.x + column * s->d, s->d);
            in_column = middle <= s->column_radius2[column];
            in_row = middle <= s->row_radius2[row];
        }
        if (in_column) {
            s->holding[row]++;
            mark(&s->holds[column]);
        }
        if (in_row)
            mark(&s->held[column]);
    }
}

static dmq_status compare(void *context, int piece, int thread)
{
    pairs *s = context;

    visit_tiles(s, &s->room[thread], (size_t)piece * ROWS, visit_balls);
    return DMQ_OK;
}

dmq_status dmq_manifold_compare(dmq_manifold *out, const dmq_balls *real,
                                const dmq_balls *generated)
{
    pairs s = { .row_radius2 = generated->radius2, .column_radius2 = real->radius2 };
    size_t inside = 0, holding = 0, holds = 0, held = 0;
    dmq_status st = DMQ_OK;

    if (real->d != generated->d || real->k != generated->k) {
        st = dmq_fail(DMQ_ESHAPE,
                      "features: real ones have %d numbers and %d neighbours, generated ones %d "
                      "and %d",
                      real->d, real->k, generated->d, generated->k);
        goto done;
    }
    DMQ_TRY(pairs_init(&s, generated, real));
    DMQ_TRY(dmq_alloc((void **)&s.holding, generated->n, sizeof *s.holding));
    DMQ_TRY(dmq_alloc((void **)&s.holds, real->n, 1));
    DMQ_TRY(dmq_alloc((void **)&s.held, real->n, 1));
    DMQ_TRY(dmq_pieces_run(piece_count(&s), compare, &s));
    for (size_t i = 0; i < generated->n; i++) {
        inside += s.holding[i] > 0;
        holding += s.holding[i];
    }
    for (size_t i = 0; i < real->n; i++) {
        holds += s.holds[i];
        held += s.held[i];
    }
    out->precision = (double)inside / (double)generated->n;
    out->density = (double)holding / ((double)real->k * (double)generated->n);
    out->coverage = (double)holds / (double)real->n;
    out->recall = (double)held / (double)real->n;
done:
    pairs_release(&s);
    return st;
}
