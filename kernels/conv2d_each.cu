/* Weight gradients of single images, or of runs of them, as products of matrices, which a library does on tensor
   cores; no library has a convolution for them.

   The pixels that a position of y has seen are written out as a row of a matrix, its columns:

     dw[k, r s c] = sum over positions p  dy[p, k] columns[p, r s c]

   for a run a matrix of the batch. All taps in one row are one product over all runs; but r s c numbers a position are
   many: where scratch does not hold those of all runs, images of one run with stride 1 have rows of one line of
   taps, s c numbers, for every line of x that a tap can see. The product of tap line r then begins r lines behind.
   A filter of one pixel without padding needs no copies. */
#include "kernels/map.cuh"

extern "C" {
#include "kernels/conv2d.h"
#include "kernels/matmul.h"
}

#ifdef DMQ_SIMT /* small ones, so that tests run them */
#define dmq_matmul_simt dmq_matmul_plain_simt
enum { CHANNELS_LEAST = 8, COLUMN_BYTES = 96 << 10 };
#else
enum {
    CHANNELS_LEAST = 32, /* with fewer the products are no work for a tensor core */
    COLUMN_BYTES = DMQ_SCRATCH_BYTES
};
#endif

DMQ_DEVICE(dmq_matmul)(dmq_queue *queue, const dmq_matmul_args *a);
DMQ_DEVICE(dmq_conv2d_weights_columns)(bool *done, dmq_queue *queue, const dmq_conv2d_args *a);

/* Columns of images: for every line and position of it the taps of `r` lines by `s`, zeros outside of x. */
struct columns {
    const dmq_real *x;
    dmq_real *y;
    int h, w, stride, top, left;
    dmq_divider lines, cols, r, s, packs; /* packs of a pixel */

    enum { depth = 2 };
    template <int W> struct held {
        dmq_pack<W> x;
    };
    template <int W> __device__ void load(held<W> &v, size_t pack) const
    {
        unsigned i, j, dr, ds, at, n = dmq_divide((unsigned)pack, &at, packs);

        n = dmq_divide(n, &ds, s);
        n = dmq_divide(n, &dr, r);
        n = dmq_divide(n, &j, cols);
        n = dmq_divide(n, &i, lines);
        int row = (int)(i * stride + dr) - top, col = (int)(j * stride + ds) - left;

        v.x = dmq_pack<W>{};
        if (row >= 0 && row < h && col >= 0 && col < w)
            v.x = dmq_load<W>(x, (((size_t)n * h + row) * w + col) * packs.d + at);
    }
    template <int W> __device__ void store(held<W> &v, size_t pack) const
    {
        dmq_store<W>(y, pack, v.x);
    }
};

/* How the columns of a call lie. */
struct layout {
    int lines;  /* of an image */
    int r;      /* lines of taps in a row: all of them, or 1 */
    int row;    /* numbers of a row */
    size_t run; /* numbers of a run of images */
};

static layout layout_of(const dmq_conv2d_args *a, bool all_taps)
{
    layout l = { all_taps ? a->ho : a->ho + a->r - 1, all_taps ? a->r : 1, 0, 0 };

    l.row = l.r * a->s * a->c;
    l.run = (size_t)a->per * l.lines * a->wo * l.row;
    return l;
}

static size_t runs_that_fit(const layout &l)
{
    return COLUMN_BYTES / (l.run * sizeof(dmq_real));
}

static dmq_status write_columns(dmq_queue *queue, dmq_real *y, const dmq_conv2d_args *a, int images,
                                const layout &l)
{
    size_t count = (size_t)images * l.lines * a->wo * l.row;
    bool wide = dmq_aligned(a->x, y) && dmq_by_four(a->c);
    columns op = { a->x,
                   y,
                   a->h,
                   a->wd,
                   a->stride,
                   a->pad_top,
                   a->pad_left,
                   dmq_divider_of((size_t)l.lines),
                   dmq_divider_of((size_t)a->wo),
                   dmq_divider_of((size_t)l.r),
                   dmq_divider_of((size_t)a->s),
                   dmq_divider_of((size_t)(wide ? a->c / 4 : a->c)) };

    return dmq_map(queue, op, count, wide);
}

/* One product a line of taps, or one for all of them, over `runs` runs from a's first on. */
static dmq_status products(dmq_queue *queue, const dmq_conv2d_args *a, const dmq_real *x, int runs,
                           const layout &l)
{
    int positions = a->per * a->ho * a->wo;
    dmq_matmul_args p = { a->dy,
                          x,
                          a->dw,
                          NULL,
                          runs,
                          a->k,
                          l.row,
                          positions,
                          1,
                          0,
                          a->k,
                          l.row,
                          a->r * a->s * a->c,
                          (ptrdiff_t)positions * a->k,
                          (ptrdiff_t)l.run,
                          (ptrdiff_t)a->apart,
                          1,
                          a->add };
    dmq_status st = DMQ_OK;

    for (int r = 0; r < a->r && st == DMQ_OK; r += l.r) {
        p.b = x + (size_t)r * a->wo * l.row;
        p.c = a->dw + (size_t)r * a->s * a->c;
        st = DMQ_LAUNCHER(dmq_matmul)(queue, &p);
    }
    return st;
}

/* dw of a->per images each, a->dbias left alone; *done says whether this was the way. */
DMQ_DEVICE(dmq_conv2d_weights_columns)(bool *done, dmq_queue *queue, const dmq_conv2d_args *a)
{
    int runs = a->n / a->per;
    layout l = layout_of(a, true);
    void *scratch = NULL;
    dmq_status st = DMQ_OK;
    size_t fit;

    *done = a->c >= CHANNELS_LEAST && a->k >= CHANNELS_LEAST;
    if (!*done)
        return DMQ_OK;
    if (a->r * a->s == 1 && a->stride == 1 && a->ho == a->h && a->wo == a->wd && a->pad_top == 0 &&
        a->pad_left == 0)
        return products(queue, a, a->x, runs, l);
    if (runs_that_fit(l) < (size_t)runs && a->stride == 1 && a->per == 1)
        l = layout_of(a, false);
    fit = runs_that_fit(l);
    *done = fit > 0;
    for (int g = 0; g < runs && *done;) {
        int some = (size_t)(runs - g) < fit ? runs - g : (int)fit;
        dmq_conv2d_args from = dmq_conv2d_run(a, g);

        from.per = a->per;
        DMQ_TRY(dmq_cuda_scratch(&scratch, queue, (size_t)some * l.run * sizeof(dmq_real)));
        DMQ_TRY(write_columns(queue, static_cast<dmq_real *>(scratch), &from, some * a->per, l));
        DMQ_TRY(products(queue, &from, static_cast<dmq_real *>(scratch), some, l));
        g += some;
    }
done:
    return st;
}
