#include "eval/moments.h"

#include "base/memory.h"
#include "eval/bounded.h"
#include "eval/exact_sum.h"
#include "eval/pieces.h"

#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Rows that are added to a tile while it is in cache; whole blocks. */
enum { BLOCK = DMQ_MOMENTS_BLOCK, GROUP = 8 * BLOCK, TILE = 128, PARTS = 3 };

/* Where the first part of a sum of squares must end, which bounds all the others: half of what is exact. Features are
   below 2^24 (bounded.h), so what a block adds is below 2^54. */
#define FULL 0x1p56

dmq_status dmq_moments_create(dmq_moments **out, int d)
{
    dmq_status st = DMQ_OK;
    dmq_moments *m = NULL;

    DMQ_TRY(dmq_alloc((void **)&m, 1, sizeof *m));
    m->d = d;
    DMQ_TRY(dmq_alloc((void **)&m->sum, PARTS * (size_t)d, sizeof(double)));
    DMQ_TRY(dmq_alloc((void **)&m->outer, PARTS * (size_t)d, (size_t)d * sizeof(double)));
    *out = m;
    m = NULL;
done:
    dmq_moments_destroy(m);
    return st;
}

void dmq_moments_destroy(dmq_moments *m)
{
    if (!m)
        return;
    dmq_free(m->sum);
    dmq_free(m->outer);
    dmq_free(m);
}

/* ------------------------------------------------------------------ adding */

/* Parts of v are added to theirs; `apart` numbers lie between the parts of one sum. */
DMQ_CLONES static void add_parts(double *sum, size_t apart, const double *v, size_t n)
{
    double *low = sum + apart, *least = low + apart;

    for (size_t j = 0; j < n; j++)
        dmq_exact_add(&sum[j], &low[j], &least[j], v[j]);
}

static double whole(const double *sum, size_t apart)
{
    return dmq_exact_sum(sum[0], sum[apart], sum[2 * apart]);
}

static dmq_status check(const dmq_moments *m, const float *x, size_t rows)
{
    if (m->n + rows > DMQ_MOMENTS_ROWS) {
        return dmq_fail(DMQ_EDATA, "features: %zu rows and %zu more; sums are exact up to %zu",
                        m->n, rows, DMQ_MOMENTS_ROWS);
    }
    return dmq_features_bounded("", x, rows, (size_t)m->d, m->n);
}

/* One group of rows, and what is added to its tiles. */
typedef struct adding {
    dmq_moments *m;
    const double *x; /* (rows, d) */
    size_t rows;
    int tiles;       /* along one side */
    double *product; /* (threads, TILE, TILE) */
} adding;

static size_t block_rows(size_t rows, size_t from)
{
    return rows - from < BLOCK ? rows - from : BLOCK;
}

/* Tile number `piece` of the upper triangle, row by row. */
static dmq_status add_tile(void *context, int piece, int thread)
{
    const adding *g = context;
    size_t d = (size_t)g->m->d;
    double *product = g->product + (size_t)thread * TILE * TILE;
    int row = 0, rows, columns;
    size_t top, left;

    while (piece >= g->tiles - row)
        piece -= g->tiles - row++;
    top = (size_t)row * TILE;
    left = (size_t)(row + piece) * TILE;
    rows = (int)(d - top < TILE ? d - top : TILE);
    columns = (int)(d - left < TILE ? d - left : TILE);
    for (size_t from = 0; from < g->rows; from += BLOCK) {
        const double *x = g->x + from * d;

        cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, rows, columns,
                    (int)block_rows(g->rows, from), 1, x + top, g->m->d, x + left, g->m->d, 0,
                    product, TILE);
        for (int i = 0; i < rows; i++) {
            size_t skip = piece == 0 ? (size_t)i : 0; /* below the diagonal */

            add_parts(g->m->outer + (top + (size_t)i) * d + left + skip, d * d,
                      product + (size_t)i * TILE + skip, (size_t)columns - skip);
        }
    }
    return DMQ_OK;
}

/* Sums of a group's blocks; block (d) is scratch. */
static void add_sums(dmq_moments *m, const double *x, size_t rows, double *block)
{
    size_t d = (size_t)m->d;

    for (size_t from = 0; from < rows; from += BLOCK) {
        size_t count = block_rows(rows, from);

        memset(block, 0, d * sizeof *block);
        for (size_t i = 0; i < count; i++) {
            for (size_t j = 0; j < d; j++)
                block[j] += x[(from + i) * d + j];
        }
        add_parts(m->sum, d, block, d);
    }
}

static dmq_status check_room(const dmq_moments *m)
{
    size_t d = (size_t)m->d;

    for (size_t j = 0; j < d; j++) {
        if (!(m->outer[j * d + j] < FULL)) {
            return dmq_fail(DMQ_EDATA,
                            "features: the squares at place %zu add up to %g in %zu rows; sums are "
                            "exact up to 2^56",
                            j, m->outer[j * d + j], m->n);
        }
    }
    return DMQ_OK;
}

dmq_status dmq_moments_add(dmq_moments *m, const float *x, size_t rows)
{
    size_t d = (size_t)m->d, group_rows = rows < GROUP ? rows : GROUP;
    dmq_status st = DMQ_OK;
    double *wide = NULL, *block = NULL;
    adding g = { .m = m, .tiles = (m->d + TILE - 1) / TILE };

    DMQ_TRY(check(m, x, rows));
    DMQ_TRY(dmq_alloc((void **)&wide, group_rows * d, sizeof *wide));
    DMQ_TRY(dmq_alloc((void **)&block, d, sizeof *block));
    DMQ_TRY(dmq_alloc((void **)&g.product, (size_t)dmq_pieces_threads() * TILE * TILE,
                      sizeof *g.product));
    g.x = wide;
    for (size_t from = 0; from < rows; from += GROUP) {
        g.rows = rows - from < GROUP ? rows - from : GROUP;
        for (size_t i = 0; i < g.rows * d; i++)
            wide[i] = (double)x[from * d + i];
        add_sums(m, wide, g.rows, block);
        DMQ_TRY(dmq_pieces_run(g.tiles * (g.tiles + 1) / 2, add_tile, &g));
    }
    m->n += rows;
    DMQ_TRY(check_room(m));
done:
    dmq_free(wide);
    dmq_free(block);
    dmq_free(g.product);
    return st;
}

dmq_status dmq_moments_merge(dmq_moments *m, const dmq_moments *other)
{
    size_t d = (size_t)m->d;

    if (m->d != other->d) {
        return dmq_fail(DMQ_ESHAPE, "features: moments of %d and of %d numbers cannot be merged",
                        m->d, other->d);
    }
    if (m->n + other->n > DMQ_MOMENTS_ROWS) {
        return dmq_fail(DMQ_EDATA, "features: %zu rows and %zu more; sums are exact up to %zu",
                        m->n, other->n, DMQ_MOMENTS_ROWS);
    }
    for (size_t i = 0; i < PARTS * d; i++)
        m->sum[i] += other->sum[i];
    for (size_t i = 0; i < PARTS * d * d; i++)
        m->outer[i] += other->outer[i];
    m->n += other->n;
    return check_room(m);
}

dmq_status dmq_moments_result(const dmq_moments *m, double *mean, double *cov)
{
    size_t d = (size_t)m->d;
    double n = (double)m->n;

    if (m->n < 2) {
        return dmq_fail(DMQ_EDATA, "features: a covariance needs at least 2 samples, there are %zu",
                        m->n);
    }
    for (size_t i = 0; i < d; i++)
        mean[i] = whole(m->sum + i, d) / n;
    for (size_t i = 0; i < d; i++) {
        double sum = whole(m->sum + i, d);

        for (size_t j = i; j < d; j++) {
            cov[i * d + j] = cov[j * d + i] =
                (whole(m->outer + i * d + j, d * d) - sum * mean[j]) / (n - 1);
        }
    }
    return DMQ_OK;
}

/* ------------------------------------------------------------------ files */

static void name_in(char out[128], const char *group, const char *name)
{
    (void)snprintf(out, 128, "%s/%s", group, name);
}

/* Triangles of all parts, row behind row; 1: out of the square, 0: into it. */
static void pack(double *triangle, double *square, int d, int out)
{
    size_t n = (size_t)d;

    for (size_t p = 0; p < PARTS; p++) {
        for (size_t i = 0; i < n; i++, square += n) {
            memcpy(out ? triangle : square + i, out ? square + i : triangle,
                   (n - i) * sizeof *square);
            triangle += n - i;
        }
    }
}

dmq_status dmq_moments_save(dmq_h5 *file, const char *group, const dmq_moments *m)
{
    size_t d = (size_t)m->d, half = d * (d + 1) / 2;
    char name[128];
    double *triangle = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&triangle, PARTS * half, sizeof *triangle));
    pack(triangle, m->outer, m->d, 1);
    name_in(name, group, "sum");
    DMQ_TRY(dmq_h5_write_f64(file, name, DMQ_DIMS(PARTS, m->d), m->sum));
    name_in(name, group, "outer");
    DMQ_TRY(dmq_h5_write_f64(file, name, DMQ_DIMS(PARTS, (int64_t)half), triangle));
    DMQ_TRY(dmq_h5_attr_set_i64(file, group, "n", (int64_t)m->n));
    DMQ_TRY(dmq_h5_attr_set_i64(file, group, "d", m->d));
done:
    dmq_free(triangle);
    return st;
}

/* Whether all are whole multiples of their part's unit within what is exact. */
static int parts_are_exact(const double *x, size_t apart)
{
    static const double unit[PARTS] = { 0x1p4, 0x1p-32, 0x1p-68 };

    for (size_t p = 0; p < PARTS; p++) {
        for (size_t i = 0; i < apart; i++) {
            double whole_units = x[p * apart + i] / unit[p];

            if (!(fabs(whole_units) <= 0x1p53) || whole_units != rint(whole_units))
                return 0;
        }
    }
    return 1;
}

dmq_status dmq_moments_load(dmq_moments **out, dmq_h5 *file, const char *group)
{
    int64_t n, d;
    size_t half;
    char name[128], shape[64];
    dmq_h5_info info;
    dmq_moments *m = NULL;
    double *triangle = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_h5_attr_i64(&n, file, group, "n"));
    DMQ_TRY(dmq_h5_attr_i64(&d, file, group, "d"));
    if (n < 0 || n > (int64_t)DMQ_MOMENTS_ROWS || d < 1 || d > 1 << 16) {
        st = dmq_fail(DMQ_EDATA, "%s: %s: moments of %lld rows of %lld numbers", dmq_h5_path(file),
                      group, (long long)n, (long long)d);
        goto done;
    }
    half = (size_t)d * ((size_t)d + 1) / 2;
    name_in(name, group, "outer");
    DMQ_TRY(dmq_h5_shape(&info, file, name));
    if (info.rank != 2 || info.dims[0] != PARTS || info.dims[1] != (int64_t)half) {
        dmq_h5_info_text(shape, sizeof shape, &info);
        st = dmq_fail(DMQ_ESHAPE, "%s: %s is %s; %lld numbers a row need [%d,%zu]",
                      dmq_h5_path(file), name, shape, (long long)d, PARTS, half);
        goto done;
    }
    DMQ_TRY(dmq_moments_create(&m, (int)d));
    DMQ_TRY(dmq_alloc((void **)&triangle, PARTS * half, sizeof *triangle));
    DMQ_TRY(dmq_h5_read_f64(triangle, file, name, DMQ_DIMS(PARTS, (int64_t)half)));
    name_in(name, group, "sum");
    DMQ_TRY(dmq_h5_read_f64(m->sum, file, name, DMQ_DIMS(PARTS, d)));
    if (!parts_are_exact(triangle, half) || !parts_are_exact(m->sum, (size_t)d)) {
        st = dmq_fail(DMQ_EDATA, "%s: %s: these are no sums of features", dmq_h5_path(file), group);
        goto done;
    }
    pack(triangle, m->outer, m->d, 0);
    m->n = (size_t)n;
    *out = m;
    m = NULL;
done:
    dmq_moments_destroy(m);
    dmq_free(triangle);
    return st;
}
