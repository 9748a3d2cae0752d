/* Convolution by kernels of our own, all strides and paddings: matrix products over the pixels whose
   operands are looked up in the image as they are needed (an im2col that is never written). */
#include "kernels/gemm.cuh"

extern "C" {
#include "kernels/conv2d.h"
#include "kernels/matmul.h"
#include "kernels/pointwise_math.h"
}

DMQ_DEVICE(dmq_col_sum)(dmq_queue *queue, const dmq_col_sum_args *a);
DMQ_DEVICE(dmq_conv2d_weights_columns)(bool *done, dmq_queue *queue, const dmq_conv2d_args *a);

/* Parts of a sum over all positions: enough that a device is full, none shorter than this. */
enum { BLOCKS_WANTED = 256, PART_LEAST = 64 };

/* The images that one set of weights is for: a set a block of z. */
struct image_run {
    int first, count;
    const dmq_real *w;
};

/* Without sets nothing of it takes a register. */
template <bool SETS>
static __device__ __forceinline__ image_run run_of(const dmq_conv2d_args &a, unsigned set)
{
    if (!SETS)
        return { 0, a.n, a.w };
    return { (int)set * (a.n / a.sets), a.n / a.sets, a.w + set * a.sets_apart };
}

/* Lines: the pixels of y of a run; k: the channels of x below one tap. */
struct input_pixels {
    static constexpr bool ALONG_K = true;
    const dmq_conv2d_args &a;
    image_run run;
    bool four;
    const float *image, *p; /* p: NULL outside */
    int top, left;

    __device__ void at(int line)
    {
        int n = line / (a.ho * a.wo), i = line / a.wo % a.ho, j = line % a.wo;

        image = n < run.count ? a.x + (size_t)(run.first + n) * a.h * a.wd * a.c : NULL;
        top = i * a.stride - a.pad_top;
        left = j * a.stride - a.pad_left;
    }
    __device__ void tap(int r, int s)
    {
        int row = top + r, col = left + s;
        bool inside = image && row >= 0 && row < a.h && col >= 0 && col < a.wd;

        p = inside ? image + ((size_t)row * a.wd + col) * a.c : NULL;
    }
    __device__ float4 get(int k) const
    {
        return p ? dmq_gemm_take(p + k, a.c - k, four) : make_float4(0, 0, 0, 0);
    }
};

template <int T, bool SETS>
static __global__ void __launch_bounds__(DMQ_GEMM_BLOCK)
    forward(dmq_conv2d_args a, bool four_x, bool four_w)
{
    const image_run run = run_of<SETS>(a, blockIdx.z);
    int m0 = (int)blockIdx.x * 16 * T, n0 = (int)blockIdx.y * 16 * T;
    int pixels = run.count * a.ho * a.wo;
    size_t filter = (size_t)a.r * a.s * a.c, begin = (size_t)run.first * a.ho * a.wo;
    input_pixels x = { a, run, four_x, NULL, NULL, 0, 0 };
    dmq_gemm_matrix<true> w = { run.w, filter, a.k, a.c, four_w, 0 };
    float acc[T][T];

    x.at(m0 + dmq_gemm_line<T, true>());
    w.at(n0 + dmq_gemm_line<T, true>());
    dmq_gemm_zero(acc);
    for (int tap = 0; tap < a.r * a.s; tap++) {
        x.tap(tap / a.s, tap % a.s);
        w.p = run.w + (size_t)tap * a.c;
        dmq_gemm_tile(acc, x, w, a.c);
    }
    dmq_gemm_each(acc, m0, n0, pixels, a.k, [&](int m, int k, float sum) {
        dmq_real *to = a.y + (begin + m) * a.k + k;
        float value = sum + (a.bias ? a.bias[k] : 0);

        value = a.add ? *to + value : value;
        *to = a.relu ? dmq_relu(value) : value;
    });
}

/* The pixels of x whose row and column have the same rest by the stride see the same taps. */
struct kind_of_pixel {
    int row, col;   /* first of them */
    int rows, cols; /* how many */
};

static __device__ kind_of_pixel kind_of(const dmq_conv2d_args &a, int number)
{
    kind_of_pixel kind = { number / a.stride, number % a.stride, 0, 0 };

    kind.rows = (a.h - kind.row + a.stride - 1) / a.stride;
    kind.cols = (a.wd - kind.col + a.stride - 1) / a.stride;
    return kind;
}

/* Lines: the pixels of x of one kind, of a run; k: the channels of y. */
struct output_pixels {
    static constexpr bool ALONG_K = true;
    const dmq_conv2d_args &a;
    image_run run;
    bool four;
    kind_of_pixel kind;
    const float *image, *p;
    int row, col;

    __device__ void at(int line)
    {
        int n = line / (kind.rows * kind.cols);

        image = n < run.count ? a.dy + (size_t)(run.first + n) * a.ho * a.wo * a.k : NULL;
        row = kind.row + line / kind.cols % kind.rows * a.stride;
        col = kind.col + line % kind.cols * a.stride;
    }
    /* y[i,j] saw x[row,col] through tap (r,s): row = i stride - pad_top + r, col likewise. */
    __device__ void tap(int r, int s)
    {
        int i = row + a.pad_top - r, j = col + a.pad_left - s;
        bool inside = image && i >= 0 && j >= 0 && i < a.ho * a.stride && j < a.wo * a.stride;

        p = inside ? image + ((size_t)(i / a.stride) * a.wo + j / a.stride) * a.k : NULL;
    }
    __device__ float4 get(int k) const
    {
        return p ? dmq_gemm_take(p + k, a.k - k, four) : make_float4(0, 0, 0, 0);
    }
};

template <int T, bool SETS>
static __global__ void __launch_bounds__(DMQ_GEMM_BLOCK)
    backward_data(dmq_conv2d_args a, bool four_dy, bool four_w)
{
    const unsigned kinds = (unsigned)(a.stride * a.stride);
    const image_run run = run_of<SETS>(a, blockIdx.z / kinds);
    int m0 = (int)blockIdx.x * 16 * T, n0 = (int)blockIdx.y * 16 * T;
    kind_of_pixel kind = kind_of(a, (int)(blockIdx.z % kinds));
    int pixels = run.count * kind.rows * kind.cols;
    size_t filter = (size_t)a.r * a.s * a.c;
    output_pixels dy = { a, run, four_dy, kind, NULL, NULL, 0, 0 };
    dmq_gemm_matrix<false> w = { run.w, filter, a.c, a.k, four_w, 0 };
    float acc[T][T];

    if (m0 >= pixels)
        return;
    dy.at(m0 + dmq_gemm_line<T, true>());
    w.at(n0 + dmq_gemm_line<T, false>());
    dmq_gemm_zero(acc);
    for (int r = (kind.row + a.pad_top) % a.stride; r < a.r; r += a.stride) {
        for (int s = (kind.col + a.pad_left) % a.stride; s < a.s; s += a.stride) {
            dy.tap(r, s);
            w.p = run.w + (size_t)(r * a.s + s) * a.c;
            dmq_gemm_tile(acc, dy, w, a.k);
        }
    }
    dmq_gemm_each(acc, m0, n0, pixels, a.c, [&](int m, int c, float sum) {
        int n = run.first + m / (kind.rows * kind.cols);
        int row = kind.row + m / kind.cols % kind.rows * a.stride;
        int col = kind.col + m % kind.cols * a.stride;
        dmq_real *to = a.dx + (((size_t)n * a.h + row) * a.wd + col) * a.c + c;

        *to = a.add ? *to + sum : sum;
    });
}

/* Lines: the channels of x; k: positions of y from `first` on, looked up below one tap. */
struct input_columns {
    static constexpr bool ALONG_K = false;
    const dmq_conv2d_args &a;
    bool four;
    int r, s, first, count, line;

    __device__ void at(int channel)
    {
        line = channel;
    }
    __device__ float4 get(int k) const
    {
        int position = first + k, n = position / (a.ho * a.wo);
        int row = position / a.wo % a.ho * a.stride - a.pad_top + r;
        int col = position % a.wo * a.stride - a.pad_left + s;

        if (k >= count || line >= a.c || row < 0 || row >= a.h || col < 0 || col >= a.wd)
            return make_float4(0, 0, 0, 0);
        return dmq_gemm_take(a.x + (((size_t)n * a.h + row) * a.wd + col) * a.c + line, a.c - line,
                             four);
    }
};

/* dw[k,r,s,c] over one part of the positions, a tap and a part a block of z; `apart` numbers from one
   part's to the next. */
template <int T>
static __global__ void __launch_bounds__(DMQ_GEMM_BLOCK)
    backward_weights(dmq_conv2d_args a, dmq_real *out, int parts, int part_size, size_t apart,
                     bool add, bool four_x, bool four_dy)
{
    int m0 = (int)blockIdx.x * 16 * T, n0 = (int)blockIdx.y * 16 * T;
    int tap = (int)blockIdx.z / parts, part = (int)blockIdx.z % parts;
    int first = part * part_size, rest = a.n * a.ho * a.wo - first;
    int count = rest < part_size ? rest : part_size;
    dmq_gemm_matrix<false> dy = { a.dy + (size_t)first * a.k, (size_t)a.k, a.k, count, four_dy, 0 };
    input_columns x = { a, four_x, tap / a.s, tap % a.s, first, count, 0 };
    dmq_real *to = out + part * apart;
    float acc[T][T];

    dy.at(m0 + dmq_gemm_line<T, false>());
    x.at(n0 + dmq_gemm_line<T, false>());
    dmq_gemm_zero(acc);
    dmq_gemm_tile(acc, dy, x, count);
    dmq_gemm_each(acc, m0, n0, a.k, a.c, [&](int k, int c, float sum) {
        size_t at = ((size_t)k * a.r * a.s + tap) * a.c + c;

        to[at] = add ? to[at] + sum : sum;
    });
}

static __global__ void join_parts(dmq_real *dw, const dmq_real *part, int parts, size_t count,
                                  int add)
{
    DMQ_EACH_INDEX(i, count)
    {
        float sum = part[i];

        for (int p = 1; p < parts; p++)
            sum += part[p * count + i];
        dw[i] = add ? dw[i] + sum : sum;
    }
}

static unsigned sets_of(const dmq_conv2d_args *a)
{
    return a->sets > 1 ? (unsigned)a->sets : 1;
}

/* Whether four numbers of the weights may be read at once, in every set. */
static bool four_of_w(const dmq_conv2d_args *a)
{
    return dmq_gemm_four(a->w, a->c) && (a->sets <= 1 || a->sets_apart % 4 == 0);
}

template <int T>
static dmq_status launch_forward(dmq_queue *queue, const dmq_conv2d_args *a, int pixels)
{
    dim3 grid(dmq_gemm_tiles(pixels, T), dmq_gemm_tiles(a->k, T), sets_of(a));

    return a->sets > 1 ? DMQ_LAUNCH((forward<T, true>), grid, DMQ_GEMM_BLOCK, 0, queue, *a,
                                    dmq_gemm_four(a->x, a->c), four_of_w(a))
                       : DMQ_LAUNCH((forward<T, false>), grid, DMQ_GEMM_BLOCK, 0, queue, *a,
                                    dmq_gemm_four(a->x, a->c), four_of_w(a));
}

DMQ_DEVICE(dmq_conv2d_forward_plain)(dmq_queue *queue, const dmq_conv2d_args *a)
{
    int pixels = a->n / (int)sets_of(a) * a->ho * a->wo;

    return dmq_gemm_large(pixels, a->k, sets_of(a)) ? launch_forward<8>(queue, a, pixels)
                                                    : launch_forward<4>(queue, a, pixels);
}

template <int T>
static dmq_status launch_backward_data(dmq_queue *queue, const dmq_conv2d_args *a, int pixels)
{
    dim3 grid(dmq_gemm_tiles(pixels, T), dmq_gemm_tiles(a->c, T),
              (unsigned)(a->stride * a->stride) * sets_of(a));

    return a->sets > 1 ? DMQ_LAUNCH((backward_data<T, true>), grid, DMQ_GEMM_BLOCK, 0, queue, *a,
                                    dmq_gemm_four(a->dy, a->k), four_of_w(a))
                       : DMQ_LAUNCH((backward_data<T, false>), grid, DMQ_GEMM_BLOCK, 0, queue, *a,
                                    dmq_gemm_four(a->dy, a->k), four_of_w(a));
}

DMQ_DEVICE(dmq_conv2d_backward_data_plain)(dmq_queue *queue, const dmq_conv2d_args *a)
{
    /* of the largest kind, the one at (0, 0) */
    int rows = (a->h + a->stride - 1) / a->stride, cols = (a->wd + a->stride - 1) / a->stride;
    int pixels = a->n / (int)sets_of(a) * rows * cols;

    return dmq_gemm_large(pixels, a->c, (unsigned)(a->stride * a->stride) * sets_of(a))
               ? launch_backward_data<8>(queue, a, pixels)
               : launch_backward_data<4>(queue, a, pixels);
}

template <int T>
static dmq_status launch_backward_weights(dmq_queue *queue, const dmq_conv2d_args *a, dmq_real *out,
                                          int parts, int part_size, size_t apart, bool add)
{
    dim3 grid(dmq_gemm_tiles(a->k, T), dmq_gemm_tiles(a->c, T), (unsigned)(a->r * a->s * parts));

    return DMQ_LAUNCH((backward_weights<T>), grid, DMQ_GEMM_BLOCK, 0, queue, *a, out, parts,
                      part_size, apart, add, dmq_gemm_four(a->x, a->c), dmq_gemm_four(a->dy, a->k));
}

/* How many parts: a rule of the shape, so that every run has the same sums. */
static int parts_of(const dmq_conv2d_args *a, int t)
{
    size_t tiles =
        (size_t)dmq_gemm_tiles(a->k, t) * dmq_gemm_tiles(a->c, t) * (size_t)(a->r * a->s);
    size_t positions = (size_t)a->n * a->ho * a->wo;
    size_t bytes = (size_t)a->k * a->r * a->s * a->c * sizeof(dmq_real);
    size_t parts = (BLOCKS_WANTED + tiles - 1) / tiles;

    if (parts > (positions + PART_LEAST - 1) / PART_LEAST)
        parts = (positions + PART_LEAST - 1) / PART_LEAST;
    if (parts * bytes > DMQ_SCRATCH_BYTES)
        parts = DMQ_SCRATCH_BYTES / bytes;
    return parts < 1 ? 1 : (int)parts;
}

/* Gradients of runs of images: what are parts of a sum above are results here. */
DMQ_DEVICE(dmq_conv2d_weights_each)(dmq_queue *queue, const dmq_conv2d_args *a)
{
    int runs = a->n / a->per, run_size = a->per * a->ho * a->wo;
    dmq_status st = DMQ_OK;
    bool by_columns;

    DMQ_TRY(DMQ_LAUNCHER(dmq_conv2d_weights_columns)(&by_columns, queue, a));
    if (!by_columns) {
        DMQ_TRY(
            a->k > 64 && a->c > 64
                ? launch_backward_weights<8>(queue, a, a->dw, runs, run_size, a->apart, a->add)
                : launch_backward_weights<4>(queue, a, a->dw, runs, run_size, a->apart, a->add));
    }
    for (int g = 0; a->dbias && g < runs; g++) { /* no bias is learned where time counts */
        dmq_col_sum_args sum = { a->dy + (size_t)g * run_size * a->k, a->dbias + g * a->apart,
                                 run_size, a->k, a->add };

        DMQ_TRY(DMQ_LAUNCHER(dmq_col_sum)(queue, &sum));
    }
done:
    return st;
}

DMQ_DEVICE(dmq_conv2d_backward_weights_plain)(dmq_queue *queue, const dmq_conv2d_args *a)
{
    int t = a->k > 64 && a->c > 64 ? 8 : 4, parts = parts_of(a, t),
        positions = a->n * a->ho * a->wo;
    int part_size = (positions + parts - 1) / parts;
    size_t count = (size_t)a->k * a->r * a->s * a->c;
    void *scratch = NULL;
    dmq_real *out = a->dw;
    dmq_status st = DMQ_OK;

    if (a->per)
        return DMQ_LAUNCHER(dmq_conv2d_weights_each)(queue, a);
    parts = (positions + part_size - 1) / part_size;
    if (parts > 1) {
        DMQ_TRY(dmq_cuda_scratch(&scratch, queue, (size_t)parts * count * sizeof(dmq_real)));
        out = static_cast<dmq_real *>(scratch);
    }
    DMQ_TRY(t == 8 ? launch_backward_weights<8>(queue, a, out, parts, part_size, count,
                                                a->add && parts == 1)
                   : launch_backward_weights<4>(queue, a, out, parts, part_size, count,
                                                a->add && parts == 1));
    if (parts > 1) {
        DMQ_TRY(DMQ_LAUNCH(join_parts, dmq_grid(count, 256), 256, 0, queue, a->dw, out, parts,
                           count, a->add));
    }
    if (a->dbias) {
        dmq_col_sum_args sum = { a->dy, a->dbias, positions, a->k, a->add };

        DMQ_TRY(DMQ_LAUNCHER(dmq_col_sum)(queue, &sum));
    }
done:
    return st;
}
