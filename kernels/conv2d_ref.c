#include "kernels/conv2d.h"

#include "kernels/pointwise_math.h"
#include "kernels/ref_util.h"

/*
 * The part of kernel row r that falls into the image for output (i, j). Pixels of x and taps of w are
 * both contiguous over (s, c) there, so all three passes are one inner loop over such a part.
 */
typedef struct part {
    ptrdiff_t x, w; /* first number, within an image and within an output channel */
    ptrdiff_t count;
} part;

static part part_of(const dmq_conv2d_args *a, int i, int j, int r)
{
    int row = i * a->stride - a->pad_top + r;
    int col = j * a->stride - a->pad_left;
    int first = col < 0 ? -col : 0;
    int end = col + a->s > a->wd ? a->wd - col : a->s;
    part p = { 0, 0, 0 };

    if (row < 0 || row >= a->h || first >= end)
        return p;
    p.x = ((ptrdiff_t)row * a->wd + col + first) * a->c;
    p.w = ((ptrdiff_t)r * a->s + first) * a->c;
    p.count = (ptrdiff_t)(end - first) * a->c;
    return p;
}

static ptrdiff_t image_size(const dmq_conv2d_args *a)
{
    return (ptrdiff_t)a->h * a->wd * a->c;
}

static ptrdiff_t tap_count(const dmq_conv2d_args *a)
{
    return (ptrdiff_t)a->r * a->s * a->c;
}

static ptrdiff_t out_index(const dmq_conv2d_args *a, int n, int i, int j, int k)
{
    return (((ptrdiff_t)n * a->ho + i) * a->wo + j) * a->k + k;
}

/* Of an image, the weights of its set. */
static const dmq_real *weights_of(const dmq_conv2d_args *a, int n)
{
    return a->sets > 1 ? a->w + (size_t)(n / (a->n / a->sets)) * a->sets_apart : a->w;
}

/* Rows of the image stay in cache while all output channels pass over them. */
#define FOR_OUTPUTS(a)                       \
    for (int n = 0; n < (a)->n; n++)         \
        for (int i = 0; i < (a)->ho; i++)    \
            for (int k = 0; k < (a)->k; k++) \
                for (int j = 0; j < (a)->wo; j++)

dmq_status dmq_conv2d_forward_ref(dmq_queue *queue, const dmq_conv2d_args *a)
{
    (void)queue;
    FOR_OUTPUTS(a)
    {
        const dmq_real *x = a->x + n * image_size(a), *w = weights_of(a, n) + k * tap_count(a);
        dmq_real *y = a->y + out_index(a, n, i, j, k), sum = a->bias ? a->bias[k] : 0;

        for (int r = 0; r < a->r; r++) {
            part p = part_of(a, i, j, r);

            sum += dmq_ref_dot(x + p.x, w + p.w, p.count);
        }
        dmq_ref_put(y, sum, a->add);
        if (a->relu)
            *y = dmq_relu(*y);
    }
    return DMQ_OK;
}

dmq_status dmq_conv2d_backward_data_ref(dmq_queue *queue, const dmq_conv2d_args *a)
{
    (void)queue;
    dmq_ref_start(a->dx, a->n * image_size(a), a->add);
    FOR_OUTPUTS(a)
    {
        dmq_real *dx = a->dx + n * image_size(a);
        const dmq_real *w = weights_of(a, n) + k * tap_count(a);
        dmq_real dy = a->dy[out_index(a, n, i, j, k)];

        for (int r = 0; r < a->r; r++) {
            part p = part_of(a, i, j, r);

            dmq_ref_axpy(dx + p.x, dy, w + p.w, p.count);
        }
    }
    return DMQ_OK;
}

dmq_status dmq_conv2d_backward_weights_ref(dmq_queue *queue, const dmq_conv2d_args *a)
{
    (void)queue;
    for (int g = 0; a->per && g < a->n / a->per; g++) {
        dmq_conv2d_args run = dmq_conv2d_run(a, g);

        (void)dmq_conv2d_backward_weights_ref(queue, &run);
    }
    if (a->per)
        return DMQ_OK;
    dmq_ref_start(a->dw, a->k * tap_count(a), a->add);
    if (a->dbias)
        dmq_ref_start(a->dbias, a->k, a->add);
    FOR_OUTPUTS(a)
    {
        const dmq_real *x = a->x + n * image_size(a);
        dmq_real *dw = a->dw + k * tap_count(a);
        dmq_real dy = a->dy[out_index(a, n, i, j, k)];

        for (int r = 0; r < a->r; r++) {
            part p = part_of(a, i, j, r);

            dmq_ref_axpy(dw + p.w, dy, x + p.x, p.count);
        }
        if (a->dbias)
            a->dbias[k] += dy;
    }
    return DMQ_OK;
}
