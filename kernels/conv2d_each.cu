/* Weight gradients of single images as products of matrices, which a library does on tensor cores; no
   library has a convolution for them.

   With stride 1, and x and dy copied to images of one width wp = wo + s - 1 and height hp = ho + r - 1, zeros
   around them, a step of one tap is a step along both alike:

     dw[k, tap, c] = sum over p  dy_padded[p, k] x_padded[p + tap_r wp + tap_s, c]

   the positions p of a run of images one behind the other, since dy is zero wherever a tap would reach
   into the next row or image. A tap is one batched product, a run a matrix of it. A filter of one pixel
   without padding needs no copies. */
#include "kernels/map.cuh"

extern "C" {
#include "kernels/conv2d.h"
#include "kernels/matmul.h"
}

#ifdef DMQ_SIMT /* small ones, so that tests run them */
#define dmq_matmul_simt dmq_matmul_plain_simt
enum { CHANNELS_LEAST = 8 };
#else
enum { CHANNELS_LEAST = 32 }; /* with fewer the products are no work for a tensor core */
#endif

DMQ_DEVICE(dmq_matmul)(dmq_queue *queue, const dmq_matmul_args *a);
DMQ_DEVICE(dmq_conv2d_weights_padded)(bool *done, dmq_queue *queue, const dmq_conv2d_args *a);

/* An image (h, w, c) at (top, left) of a larger one of zeros. */
struct frame {
    const dmq_real *x;
    dmq_real *y;
    int h, w, top, left;
    dmq_divider rows, cols, packs; /* of the larger one; of a pixel */

    enum { depth = 2 };
    template <int W> struct held {
        dmq_pack<W> x;
    };
    template <int W> __device__ void load(held<W> &v, size_t pack) const
    {
        unsigned i, j, at, n = dmq_divide((unsigned)pack, &at, packs);

        n = dmq_divide(n, &j, cols);
        n = dmq_divide(n, &i, rows);
        int row = (int)i - top, col = (int)j - left;

        v.x = dmq_pack<W>{};
        if (row >= 0 && row < h && col >= 0 && col < w)
            v.x = dmq_load<W>(x, (((size_t)n * h + row) * w + col) * packs.d + at);
    }
    template <int W> __device__ void store(held<W> &v, size_t pack) const
    {
        dmq_store<W>(y, pack, v.x);
    }
};

static dmq_status pad(dmq_queue *queue, dmq_real *y, int hp, int wp, const dmq_real *x, int n,
                      int h, int w, int c, int top, int left)
{
    size_t count = (size_t)n * hp * wp * c;
    bool wide = dmq_aligned(x, y) && dmq_by_four(c);
    frame op = { x,
                 y,
                 h,
                 w,
                 top,
                 left,
                 dmq_divider_of((size_t)hp),
                 dmq_divider_of((size_t)wp),
                 dmq_divider_of((size_t)(wide ? c / 4 : c)) };

    return dmq_map(queue, op, count, wide);
}

/* One product a tap over `runs` runs of positions, hp by wp in an image. */
static dmq_status products(dmq_queue *queue, const dmq_conv2d_args *a, const dmq_real *dy,
                           const dmq_real *x, dmq_real *dw, int runs, int hp, int wp)
{
    int positions = a->per * hp * wp;
    dmq_matmul_args p = { dy,
                          x,
                          dw,
                          NULL,
                          runs,
                          a->k,
                          a->c,
                          0,
                          1,
                          0,
                          a->k,
                          a->c,
                          a->r * a->s * a->c,
                          (ptrdiff_t)positions * a->k,
                          (ptrdiff_t)positions * a->c,
                          (ptrdiff_t)a->apart,
                          1,
                          a->add };
    dmq_status st = DMQ_OK;

    p.k =
        positions - (a->r - 1) * wp - (a->s - 1); /* behind them dy is zero, and x is at its end */
    for (int tap = 0; tap < a->r * a->s && st == DMQ_OK; tap++) {
        p.b = x + (size_t)(tap / a->s * wp + tap % a->s) * a->c;
        p.c = dw + (size_t)tap * a->c;
        st = DMQ_LAUNCHER(dmq_matmul)(queue, &p);
    }
    return st;
}

/* dw of a->per images each, a->dbias left alone; *done says whether this was the way. */
DMQ_DEVICE(dmq_conv2d_weights_padded)(bool *done, dmq_queue *queue, const dmq_conv2d_args *a)
{
    int hp = a->ho + a->r - 1, wp = a->wo + a->s - 1, runs = a->n / a->per;
    size_t pixels = (size_t)a->per * hp * wp, count = pixels * (size_t)(a->c + a->k);
    size_t fit = DMQ_SCRATCH_BYTES / (count * sizeof(dmq_real));
    void *scratch = NULL;
    dmq_status st = DMQ_OK;

    *done = a->stride == 1 && a->c >= CHANNELS_LEAST && a->k >= CHANNELS_LEAST;
    if (!*done)
        return DMQ_OK;
    if (hp == a->h && wp == a->wd && a->r * a->s == 1) /* nothing to pad */
        return products(queue, a, a->dy, a->x, a->dw, runs, hp, wp);
    *done = fit > 0;
    for (int g = 0; g < runs && *done;) {
        int some = (size_t)(runs - g) < fit ? runs - g : (int)fit, n = some * a->per;
        dmq_conv2d_args from = dmq_conv2d_run(a, g);
        dmq_real *x, *dy;

        DMQ_TRY(dmq_cuda_scratch(&scratch, queue, (size_t)some * count * sizeof(dmq_real)));
        x = static_cast<dmq_real *>(scratch);
        dy = x + (size_t)some * pixels * a->c;
        DMQ_TRY(pad(queue, x, hp, wp, from.x, n, a->h, a->wd, a->c, a->pad_top, a->pad_left));
        DMQ_TRY(pad(queue, dy, hp, wp, from.dy, n, a->ho, a->wo, a->k, 0, 0));
        DMQ_TRY(products(queue, a, dy, x, from.dw, some, hp, wp));
        g += some;
    }
done:
    return st;
}
