/* The pretended cuDNN beside plain loops, what its algorithms say of themselves beside what they do, and what
   it says to mistakes of its caller. */
#include "pretend/libraries/device_arrays.h"

#include <cudnn.h>
#include <math.h>

/* y (N, K, HO, WO) = x (N, C, H, W) * w (K, C, R, S), stride 2, a padding of 1 */
enum { N = 2, C = 8, H = 7, W = 6, K = 5, R = 3, S = 3, STRIDE = 2, PAD = 1, HO = 4, WO = 3 };
enum { X_COUNT = N * C * H * W, W_COUNT = K * C * R * S, Y_COUNT = N * K * HO * WO };
enum { WORKSPACE = 1 << 16 };

typedef struct setup {
    cudnnHandle_t handle;
    cudaStream_t stream;
    cudnnTensorDescriptor_t x, y, bias;
    cudnnFilterDescriptor_t w;
    cudnnConvolutionDescriptor_t conv;
    cudnnActivationDescriptor_t identity;
    float *dx, *dw, *dy, *dbias; /* of the device */
    void *workspace;
    float hx[X_COUNT], hw[W_COUNT], hy[Y_COUNT], hbias[K];
} setup;

static void open_with(setup *s, cudnnTensorFormat_t format, cudnnMathType_t math)
{
    memset(s, 0, sizeof *s);
    OK(cudaStreamCreateWithFlags(&s->stream, cudaStreamNonBlocking));
    OK(cudnnCreate(&s->handle));
    OK(cudnnSetStream(s->handle, s->stream));
    OK(cudnnCreateTensorDescriptor(&s->x));
    OK(cudnnCreateTensorDescriptor(&s->y));
    OK(cudnnCreateTensorDescriptor(&s->bias));
    OK(cudnnCreateFilterDescriptor(&s->w));
    OK(cudnnCreateConvolutionDescriptor(&s->conv));
    OK(cudnnCreateActivationDescriptor(&s->identity));
    OK(cudnnSetTensor4dDescriptor(s->x, format, CUDNN_DATA_FLOAT, N, C, H, W));
    OK(cudnnSetTensor4dDescriptor(s->y, format, CUDNN_DATA_FLOAT, N, K, HO, WO));
    OK(cudnnSetTensor4dDescriptor(s->bias, format, CUDNN_DATA_FLOAT, 1, K, 1, 1));
    OK(cudnnSetFilter4dDescriptor(s->w, CUDNN_DATA_FLOAT, format, K, C, R, S));
    OK(cudnnSetConvolution2dDescriptor(s->conv, PAD, PAD, STRIDE, STRIDE, 1, 1,
                                       CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT));
    OK(cudnnSetConvolutionMathType(s->conv, math));
    OK(cudnnSetActivationDescriptor(s->identity, CUDNN_ACTIVATION_IDENTITY, CUDNN_NOT_PROPAGATE_NAN,
                                    0));
    for (size_t i = 0; i < X_COUNT; i++)
        s->hx[i] = number_at(1, i);
    for (size_t i = 0; i < W_COUNT; i++)
        s->hw[i] = number_at(2, i);
    for (size_t i = 0; i < Y_COUNT; i++)
        s->hy[i] = number_at(3, i);
    for (size_t i = 0; i < K; i++)
        s->hbias[i] = number_at(4, i);
    s->dx = device_alloc(sizeof s->hx);
    s->dw = device_alloc(sizeof s->hw);
    s->dy = device_alloc(sizeof s->hy);
    s->dbias = device_alloc(sizeof s->hbias);
    s->workspace = device_alloc(WORKSPACE);
    upload(s->dx, s->hx, sizeof s->hx, s->stream);
    upload(s->dw, s->hw, sizeof s->hw, s->stream);
    upload(s->dy, s->hy, sizeof s->hy, s->stream);
    upload(s->dbias, s->hbias, sizeof s->hbias, s->stream);
}

static void free_memory(setup *s)
{
    OK(cudaFree(s->dx));
    OK(cudaFree(s->dw));
    OK(cudaFree(s->dy));
    OK(cudaFree(s->dbias));
    OK(cudaFree(s->workspace));
    OK(cudaStreamDestroy(s->stream));
}

static void close_all(setup *s)
{
    OK(cudnnDestroyTensorDescriptor(s->x));
    OK(cudnnDestroyTensorDescriptor(s->y));
    OK(cudnnDestroyTensorDescriptor(s->bias));
    OK(cudnnDestroyFilterDescriptor(s->w));
    OK(cudnnDestroyConvolutionDescriptor(s->conv));
    OK(cudnnDestroyActivationDescriptor(s->identity));
    OK(cudnnDestroy(s->handle));
    free_memory(s);
}

/* ------------------------------------------------------------------ plain loops */

static int last; /* 1: channels are innermost */

static size_t at(int a, int b, int c, int d, int nb, int nc, int nd)
{
    return last ? (((size_t)a * (size_t)nc + (size_t)c) * (size_t)nd + (size_t)d) * (size_t)nb +
                      (size_t)b
                : (((size_t)a * (size_t)nb + (size_t)b) * (size_t)nc + (size_t)c) * (size_t)nd +
                      (size_t)d;
}

typedef struct sums {
    double x[X_COUNT], w[W_COUNT], y[Y_COUNT];
} sums;

/* All three passes: each product belongs to one sum of each. */
static void loops(sums *out, const setup *s)
{
    memset(out, 0, sizeof *out);
    for (int n = 0; n < N; n++)
        for (int k = 0; k < K; k++)
            for (int p = 0; p < HO * WO; p++)
                for (int q = 0; q < C * R * S; q++) {
                    int c = q / (R * S), r = q / S % R, t = q % S, i = p / WO, j = p % WO;
                    int row = i * STRIDE - PAD + r, col = j * STRIDE - PAD + t;
                    size_t ix, iw = at(k, c, r, t, C, R, S), iy = at(n, k, i, j, K, HO, WO);

                    if (row < 0 || row >= H || col < 0 || col >= W)
                        continue;
                    ix = at(n, c, row, col, C, H, W);
                    out->y[iy] += (double)s->hx[ix] * (double)s->hw[iw];
                    out->x[ix] += (double)s->hy[iy] * (double)s->hw[iw];
                    out->w[iw] += (double)s->hx[ix] * (double)s->hy[iy];
                }
}

static double worst(const float *got, const double *want, size_t n)
{
    double most = 0;

    for (size_t i = 0; i < n; i++)
        most = fmax(most, isnan(got[i]) ? HUGE_VAL : fabs((double)got[i] - want[i]));
    return most;
}

/* ------------------------------------------------------------------ a pass by each algorithm */

static void forward(setup *s, int algorithm, float *y)
{
    const float one = 1, zero = 0;

    OK(cudnnConvolutionForward(s->handle, &one, s->x, s->dx, s->w, s->dw, s->conv,
                               (cudnnConvolutionFwdAlgo_t)algorithm, s->workspace, WORKSPACE, &zero,
                               s->y, s->dy));
    download(y, s->dy, sizeof s->hy, s->stream);
    upload(s->dy, s->hy, sizeof s->hy, s->stream);
}

static void backward_data(setup *s, int algorithm, float *x)
{
    const float one = 1, zero = 0;

    OK(cudnnConvolutionBackwardData(s->handle, &one, s->w, s->dw, s->y, s->dy, s->conv,
                                    (cudnnConvolutionBwdDataAlgo_t)algorithm, s->workspace,
                                    WORKSPACE, &zero, s->x, s->dx));
    download(x, s->dx, sizeof s->hx, s->stream);
    upload(s->dx, s->hx, sizeof s->hx, s->stream);
}

static void backward_filter(setup *s, int algorithm, float *w)
{
    const float one = 1, zero = 0;

    OK(cudnnConvolutionBackwardFilter(s->handle, &one, s->x, s->dx, s->y, s->dy, s->conv,
                                      (cudnnConvolutionBwdFilterAlgo_t)algorithm, s->workspace,
                                      WORKSPACE, &zero, s->w, s->dw));
    download(w, s->dw, sizeof s->hw, s->stream);
    upload(s->dw, s->hw, sizeof s->hw, s->stream);
}

/* Rows of the three lists that a careful caller would take, and those of changing bits. */
#define CHECK(perf, run, want, count)                                                     \
    do {                                                                                  \
        int taken = 0, changing = 0;                                                      \
        assert_false((perf)[0].determinism == CUDNN_DETERMINISTIC);                       \
        for (int i = 0; i < n; i++) {                                                     \
            float first[count], second[count];                                            \
            if ((perf)[i].status != CUDNN_STATUS_SUCCESS || (perf)[i].memory > WORKSPACE) \
                continue;                                                                 \
            run(&s, (int)(perf)[i].algo, first);                                          \
            run(&s, (int)(perf)[i].algo, second);                                         \
            assert_true(worst(first, want, count) < 1e-5);                                \
            if ((perf)[i].determinism == CUDNN_DETERMINISTIC) {                           \
                assert_memory_equal(first, second, sizeof first);                         \
                taken++;                                                                  \
            } else {                                                                      \
                changing += memcmp(first, second, sizeof first) != 0;                     \
            }                                                                             \
        }                                                                                 \
        assert_true(taken >= 2 && changing >= 1);                                         \
    } while (0)

static void algorithms_are_what_they_say(void **state)
{
    (void)state;
    for (last = 0; last < 2; last++) {
        static sums want;
        static setup s;
        cudnnConvolutionFwdAlgoPerf_t forwards[16];
        cudnnConvolutionBwdDataAlgoPerf_t data[16];
        cudnnConvolutionBwdFilterAlgoPerf_t filters[16];
        int n;

        open_with(&s, last ? CUDNN_TENSOR_NHWC : CUDNN_TENSOR_NCHW, CUDNN_FMA_MATH);
        loops(&want, &s);
        OK(cudnnGetConvolutionForwardAlgorithm_v7(s.handle, s.x, s.w, s.conv, s.y, 16, &n,
                                                  forwards));
        CHECK(forwards, forward, want.y, Y_COUNT);
        OK(cudnnGetConvolutionBackwardDataAlgorithm_v7(s.handle, s.w, s.y, s.conv, s.x, 16, &n,
                                                       data));
        CHECK(data, backward_data, want.x, X_COUNT);
        OK(cudnnGetConvolutionBackwardFilterAlgorithm_v7(s.handle, s.x, s.y, s.conv, s.w, 16, &n,
                                                         filters));
        CHECK(filters, backward_filter, want.w, W_COUNT);
        close_all(&s);
    }
}

static void the_default_math_rounds_operands(void **state)
{
    static setup s;
    static sums want;
    float y[Y_COUNT];
    double off;

    (void)state;
    last = 1;
    open_with(&s, CUDNN_TENSOR_NHWC, CUDNN_DEFAULT_MATH);
    loops(&want, &s);
    forward(&s, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM, y);
    off = worst(y, want.y, Y_COUNT);
    assert_true(off > 1e-4 && off < 1e-2); /* sums of 72 numbers of about 1/4 with 11 bits */
    close_all(&s);
}

static void bias_and_old_result_are_added(void **state)
{
    const float one = 1, zero = 0, two = 2, half = 0.5f;
    static setup s;
    static sums want;
    float y[Y_COUNT];

    (void)state;
    last = 1;
    open_with(&s, CUDNN_TENSOR_NHWC, CUDNN_FMA_MATH);
    loops(&want, &s);
    for (int i = 0; i < Y_COUNT; i++)
        want.y[i] += (double)s.hbias[i % K];
    OK(cudnnConvolutionBiasActivationForward(s.handle, &one, s.x, s.dx, s.w, s.dw, s.conv,
                                             CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM,
                                             s.workspace, WORKSPACE, &zero, s.y, s.dy, s.bias,
                                             s.dbias, s.identity, s.y, s.dy));
    download(y, s.dy, sizeof y, s.stream);
    assert_true(worst(y, want.y, Y_COUNT) < 1e-5);
    assert_int_equal(cudnnConvolutionBiasActivationForward(
                         s.handle, &one, s.x, s.dx, s.w, s.dw, s.conv,
                         CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM, s.workspace, WORKSPACE, &zero,
                         s.y, s.dy, s.bias, s.dbias, s.identity, s.y, s.dy),
                     CUDNN_STATUS_NOT_SUPPORTED);
    OK(cudnnConvolutionForward(s.handle, &half, s.x, s.dx, s.w, s.dw, s.conv,
                               CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM, NULL, 0, &two, s.y, s.dy));
    OK(cudnnAddTensor(s.handle, &half, s.bias, s.dbias, &one, s.y, s.dy));
    download(y, s.dy, sizeof y, s.stream);
    for (int i = 0; i < Y_COUNT; i++)
        want.y[i] *= 2.5;
    assert_true(worst(y, want.y, Y_COUNT) < 2e-5);
    close_all(&s);
}

/* ------------------------------------------------------------------ mistakes */

static int mistake;

static const char *const mistakes[] = {
    "bytes of device memory",   /* 0: x of a smaller allocation */
    "is memory of the device",  /* 1: alpha on the device */
    "no multiple of 16 bytes",  /* 2: x begins where it should not */
    "was created, but not set", /* 3 */
    "is no living",             /* 4: destroyed twice */
    "must be a",                /* 5: a handle where a descriptor belongs */
    "cudnnSetStream was not",   /* 6 */
    "not destroyed: 1",         /* 7 */
    "overlaps",                 /* 8: y is x */
    "bytes of device memory"    /* 9: the workspace is the host's */
};

static void make(void *with)
{
    setup *s = with;
    const float one = 1, zero = 0;
    float *device = s->dbias;
    cudnnTensorDescriptor_t unset = NULL;
    cudnnHandle_t other = NULL;
    static char host[WORKSPACE];

#define FORWARD(handle, alpha, x, dx, workspace, dy)                                           \
    (void)cudnnConvolutionForward(handle, alpha, x, dx, s->w, s->dw, s->conv,                  \
                                  CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, workspace, \
                                  WORKSPACE, &zero, s->y, dy)
    if (mistake == 0)
        FORWARD(s->handle, &one, s->x, s->dw, s->workspace, s->dy);
    if (mistake == 1)
        FORWARD(s->handle, device, s->x, s->dx, s->workspace, s->dy);
    if (mistake == 2)
        FORWARD(s->handle, &one, s->x, s->dx + 1, s->workspace, s->dy);
    if (mistake == 3) {
        OK(cudnnCreateTensorDescriptor(&unset));
        FORWARD(s->handle, &one, unset, s->dx, s->workspace, s->dy);
    }
    if (mistake == 4) {
        OK(cudnnDestroyTensorDescriptor(s->x));
        OK(cudnnDestroyTensorDescriptor(s->x));
    }
    if (mistake == 5)
        FORWARD(s->handle, &one, (cudnnTensorDescriptor_t)(void *)s->w, s->dx, s->workspace, s->dy);
    if (mistake == 6) {
        OK(cudnnCreate(&other));
        FORWARD(other, &one, s->x, s->dx, s->workspace, s->dy);
    }
    if (mistake == 7)
        free_memory(s);
    if (mistake == 8)
        FORWARD(s->handle, &one, s->x, s->dx, s->workspace, s->dx);
    if (mistake == 9)
        FORWARD(s->handle, &one, s->x, s->dx, host, s->dy);
#undef FORWARD
}

static void mistakes_end_the_program(void **state)
{
    static setup s;

    (void)state;
    open_with(&s, CUDNN_TENSOR_NHWC, CUDNN_FMA_MATH);
    for (mistake = 0; mistake < (int)(sizeof mistakes / sizeof *mistakes); mistake++)
        assert_dies(make, &s, mistakes[mistake]);
    close_all(&s);
}

static void what_the_library_refuses_is_refused(void **state)
{
    const float one = 1, zero = 0;
    static setup s;
    size_t bytes = 0;
    int n = 0;
    cudnnConvolutionFwdAlgoPerf_t perf[16];

    (void)state;
    open_with(&s, CUDNN_TENSOR_NHWC, CUDNN_FMA_MATH);
    assert_int_equal(
        cudnnSetTensor4dDescriptor(s.x, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, 0, 1, 1, 1),
        CUDNN_STATUS_BAD_PARAM);
    assert_int_equal(cudnnSetConvolution2dDescriptor(s.conv, -1, 0, 1, 1, 1, 1,
                                                     CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT),
                     CUDNN_STATUS_BAD_PARAM);
    OK(cudnnGetConvolutionForwardWorkspaceSize(
        s.handle, s.x, s.w, s.conv, s.y, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, &bytes));
    assert_true(bytes > 0 && bytes <= WORKSPACE);
    assert_int_equal(cudnnConvolutionForward(s.handle, &one, s.x, s.dx, s.w, s.dw, s.conv,
                                             CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM,
                                             s.workspace, bytes - 1, &zero, s.y, s.dy),
                     CUDNN_STATUS_BAD_PARAM);
    OK(setenv("PRETEND_CUDNN_REFUSES", "1", 1)); /* in whichever way, the fused form is refused */
    assert_int_equal(cudnnConvolutionBiasActivationForward(
                         s.handle, &one, s.x, s.dx, s.w, s.dw, s.conv,
                         CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, s.workspace, WORKSPACE,
                         &zero, s.y, s.dy, s.bias, s.dbias, s.identity, s.y, s.dy),
                     CUDNN_STATUS_NOT_SUPPORTED);
    OK(unsetenv("PRETEND_CUDNN_REFUSES"));
    /* the size of y is another than what x and w make */
    OK(cudnnSetTensor4dDescriptor(s.y, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, N, K, HO + 1, WO));
    assert_int_equal(
        cudnnGetConvolutionForwardAlgorithm_v7(s.handle, s.x, s.w, s.conv, s.y, 16, &n, perf),
        CUDNN_STATUS_BAD_PARAM);
    close_all(&s);
}

static void timing_writes_its_result(void **state)
{
    static setup s;
    int n = 0;
    cudnnConvolutionBwdFilterAlgoPerf_t perf[16];
    float w[W_COUNT];

    (void)state;
    open_with(&s, CUDNN_TENSOR_NHWC, CUDNN_FMA_MATH);
    OK(cudnnFindConvolutionBackwardFilterAlgorithmEx(s.handle, s.x, s.dx, s.y, s.dy, s.conv, s.w,
                                                     s.dw, 2, &n, perf, s.workspace, WORKSPACE));
    assert_int_equal(n, 2);
    download(w, s.dw, sizeof w, s.stream);
    assert_true(isnan(w[0]) && isnan(w[W_COUNT - 1]));
    close_all(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(algorithms_are_what_they_say),
        cmocka_unit_test(the_default_math_rounds_operands),
        cmocka_unit_test(bias_and_old_result_are_added),
        cmocka_unit_test(mistakes_end_the_program),
        cmocka_unit_test(what_the_library_refuses_is_refused),
        cmocka_unit_test(timing_writes_its_result),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
