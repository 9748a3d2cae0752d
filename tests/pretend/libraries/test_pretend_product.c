/* The pretended cuBLASLt beside plain loops, and what it says to mistakes of its caller. */
#include "pretend/libraries/device_arrays.h"

#include <cublasLt.h>
#include <math.h>

/* D (M, N) = op(A) op(B) of a batch, column by column, with distances that are not tight */
enum { M = 8, COLS = 5, K = 12, BATCH = 3, LD = 16, APART = LD * LD, COUNT = BATCH * APART };
enum { WORKSPACE = 2 << 20 };

typedef struct setup {
    cublasLtHandle_t handle;
    cudaStream_t stream;
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t a, b, d;
    cublasLtMatmulPreference_t wishes;
    int trans_a, trans_b;
    float *da, *db, *dd, *dbias, *factors;
    void *workspace;
    float ha[COUNT], hb[COUNT], hd[COUNT], hbias[M];
} setup;

static cublasLtMatrixLayout_t layout_of(int rows, int cols)
{
    cublasLtMatrixLayout_t l = NULL;
    int32_t batch = BATCH;
    int64_t apart = APART;

    OK(cublasLtMatrixLayoutCreate(&l, CUDA_R_32F, (uint64_t)rows, (uint64_t)cols, LD));
    OK(cublasLtMatrixLayoutSetAttribute(l, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch,
                                        sizeof batch));
    OK(cublasLtMatrixLayoutSetAttribute(l, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &apart,
                                        sizeof apart));
    return l;
}

static void open_with(setup *s, cublasComputeType_t compute, int trans_a, int trans_b)
{
    int32_t op_a = trans_a ? CUBLAS_OP_T : CUBLAS_OP_N, op_b = trans_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    uint64_t room = WORKSPACE;

    memset(s, 0, sizeof *s);
    s->trans_a = trans_a;
    s->trans_b = trans_b;
    OK(cudaStreamCreateWithFlags(&s->stream, cudaStreamNonBlocking));
    OK(cublasLtCreate(&s->handle));
    OK(cublasLtMatmulDescCreate(&s->product, compute, CUDA_R_32F));
    OK(cublasLtMatmulDescSetAttribute(s->product, CUBLASLT_MATMUL_DESC_TRANSA, &op_a, sizeof op_a));
    OK(cublasLtMatmulDescSetAttribute(s->product, CUBLASLT_MATMUL_DESC_TRANSB, &op_b, sizeof op_b));
    s->a = trans_a ? layout_of(K, M) : layout_of(M, K);
    s->b = trans_b ? layout_of(COLS, K) : layout_of(K, COLS);
    s->d = layout_of(M, COLS);
    OK(cublasLtMatmulPreferenceCreate(&s->wishes));
    OK(cublasLtMatmulPreferenceSetAttribute(s->wishes, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                            &room, sizeof room));
    for (size_t i = 0; i < COUNT; i++) {
        s->ha[i] = number_at(1, i);
        s->hb[i] = number_at(2, i);
        s->hd[i] = number_at(3, i);
    }
    for (size_t i = 0; i < M; i++)
        s->hbias[i] = number_at(4, i);
    s->da = device_alloc(sizeof s->ha);
    s->db = device_alloc(sizeof s->hb);
    s->dd = device_alloc(sizeof s->hd);
    s->dbias = device_alloc(sizeof s->hbias);
    s->factors = device_alloc(2 * sizeof(float));
    s->workspace = device_alloc(WORKSPACE);
    upload(s->da, s->ha, sizeof s->ha, s->stream);
    upload(s->db, s->hb, sizeof s->hb, s->stream);
    upload(s->dd, s->hd, sizeof s->hd, s->stream);
    upload(s->dbias, s->hbias, sizeof s->hbias, s->stream);
}

static void free_memory(setup *s)
{
    OK(cudaFree(s->da));
    OK(cudaFree(s->db));
    OK(cudaFree(s->dd));
    OK(cudaFree(s->dbias));
    OK(cudaFree(s->factors));
    OK(cudaFree(s->workspace));
    OK(cudaStreamDestroy(s->stream));
}

static void close_all(setup *s)
{
    OK(cublasLtMatmulDescDestroy(s->product));
    OK(cublasLtMatrixLayoutDestroy(s->a));
    OK(cublasLtMatrixLayoutDestroy(s->b));
    OK(cublasLtMatrixLayoutDestroy(s->d));
    OK(cublasLtMatmulPreferenceDestroy(s->wishes));
    OK(cublasLtDestroy(s->handle));
    free_memory(s);
}

static void bias_too(setup *s)
{
    uint32_t epilogue = CUBLASLT_EPILOGUE_BIAS;

    OK(cublasLtMatmulDescSetAttribute(s->product, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue,
                                      sizeof epilogue));
    OK(cublasLtMatmulDescSetAttribute(s->product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &s->dbias,
                                      sizeof s->dbias));
}

static int algorithms(const setup *s, cublasLtMatmulHeuristicResult_t found[4])
{
    int n = 0;

    OK(cublasLtMatmulAlgoGetHeuristic(s->handle, s->product, s->a, s->b, s->d, s->d, s->wishes, 4,
                                      found, &n));
    return n;
}

static cublasStatus_t multiply(const setup *s, const cublasLtMatmulHeuristicResult_t *with,
                               const float *alpha, const float *beta)
{
    return cublasLtMatmul(s->handle, s->product, alpha, s->da, s->a, s->db, s->b, beta, s->dd, s->d,
                          s->dd, s->d, &with->algo, s->workspace, WORKSPACE, s->stream);
}

/* The largest difference from alpha op(A) op(B) + beta D + bias. */
static double worst(const setup *s, const float *got, double alpha, double beta, int bias)
{
    double most = 0;

    for (int q = 0; q < BATCH; q++)
        for (int i = 0; i < M; i++)
            for (int j = 0; j < COLS; j++) {
                double sum = 0;
                int at = q * APART + j * LD + i;

                for (int k = 0; k < K; k++) {
                    int from_a = q * APART + (s->trans_a ? i * LD + k : k * LD + i);
                    int from_b = q * APART + (s->trans_b ? k * LD + j : j * LD + k);

                    sum += (double)s->ha[from_a] * (double)s->hb[from_b];
                }
                sum = alpha * sum + beta * (double)s->hd[at] + (bias ? (double)s->hbias[i] : 0);
                most = fmax(most, fabs(sum - (double)got[at]));
            }
    return most;
}

static void products_are_those_of_plain_loops(void **state)
{
    const float alpha = 0.5f, beta = 2;

    (void)state;
    for (int t = 0; t < 4; t++) {
        static setup s;
        static float wide[COUNT], narrow[COUNT];
        cublasLtMatmulHeuristicResult_t found[4];

        open_with(&s, CUBLAS_COMPUTE_32F, t & 1, t >> 1);
        bias_too(&s);
        assert_int_equal(algorithms(&s, found), 2);
        OK(multiply(&s, &found[0], &alpha, &beta));
        download(wide, s.dd, sizeof wide, s.stream);
        upload(s.dd, s.hd, sizeof s.hd, s.stream);
        OK(multiply(&s, &found[1], &alpha, &beta));
        download(narrow, s.dd, sizeof narrow, s.stream);
        assert_true(worst(&s, wide, 0.5, 2, 1) < 1e-5);
        assert_true(worst(&s, narrow, 0.5, 2, 1) < 1e-5);
        assert_memory_not_equal(wide, narrow, sizeof wide); /* two algorithms, two orders */
        assert_memory_equal(&wide[M], &s.hd[M], (LD - M) * sizeof(float));
        close_all(&s);
    }
}

static void tf32_rounds_operands(void **state)
{
    const float alpha = 1, beta = 0;
    static setup s;
    static float got[COUNT];
    cublasLtMatmulHeuristicResult_t found[4];
    double off;

    (void)state;
    open_with(&s, CUBLAS_COMPUTE_32F_FAST_TF32, 0, 0);
    assert_true(algorithms(&s, found) > 0);
    OK(multiply(&s, &found[0], &alpha, &beta));
    download(got, s.dd, sizeof got, s.stream);
    off = worst(&s, got, 1, 0, 0);
    assert_true(off > 1e-5 && off < 1e-2);
    close_all(&s);
}

static void factors_of_the_device_are_read_when_it_runs(void **state)
{
    const float before[2] = { 9, 9 }, then[2] = { 0.5f, 2 };
    int32_t mode = CUBLASLT_POINTER_MODE_DEVICE;
    static setup s;
    static float got[COUNT];
    cublasLtMatmulHeuristicResult_t found[4];

    (void)state;
    open_with(&s, CUBLAS_COMPUTE_32F, 0, 0);
    OK(cublasLtMatmulDescSetAttribute(s.product, CUBLASLT_MATMUL_DESC_POINTER_MODE, &mode,
                                      sizeof mode));
    assert_true(algorithms(&s, found) > 0);
    upload(s.factors, before, sizeof before, s.stream);
    OK(cudaMemcpyAsync(s.factors, then, sizeof then, cudaMemcpyHostToDevice, s.stream));
    OK(multiply(&s, &found[0], s.factors, s.factors + 1));
    download(got, s.dd, sizeof got, s.stream);
    assert_true(worst(&s, got, 0.5, 2, 0) < 1e-5);
    close_all(&s);
}

static void alignments_decide_what_is_found(void **state)
{
    const float one = 1;
    uint32_t four = 4, two = 2;
    static setup s;
    cublasLtMatmulHeuristicResult_t found[4];
    int n = 1;

    (void)state;
    open_with(&s, CUBLAS_COMPUTE_32F, 0, 0);
    OK(cublasLtMatmulPreferenceSetAttribute(s.wishes, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                                            &four, sizeof four));
    assert_int_equal(algorithms(&s, found), 1);
    s.db++;
    OK(multiply(&s, &found[0], &one, &one));
    s.db--;
    OK(cudaStreamSynchronize(s.stream));
    OK(cublasLtMatmulPreferenceSetAttribute(s.wishes, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                                            &two, sizeof two));
    assert_int_equal(cublasLtMatmulAlgoGetHeuristic(s.handle, s.product, s.a, s.b, s.d, s.d,
                                                    s.wishes, 4, found, &n),
                     CUBLAS_STATUS_NOT_SUPPORTED);
    assert_int_equal(n, 0);
    close_all(&s);
}

static void what_the_library_refuses_is_refused(void **state)
{
    const float one = 1;
    int32_t op = CUBLAS_OP_T;
    int n = 0;
    cublasStatus_t status;
    static setup s;
    cublasLtMatmulHeuristicResult_t found[4];

    (void)state;
    open_with(&s, CUBLAS_COMPUTE_32F, 0, 0);
    assert_int_equal(algorithms(&s, found), 2);
    assert_int_equal(cublasLtMatmulDescSetAttribute(s.product, CUBLASLT_MATMUL_DESC_TRANSA, &op, 8),
                     CUBLAS_STATUS_INVALID_VALUE);
    assert_int_equal(multiply(&s, &found[0], NULL, &one), CUBLAS_STATUS_INVALID_VALUE);
    assert_int_equal(cublasLtMatmul(s.handle, s.product, &one, s.da, s.a, s.db, s.b, &one, s.dd,
                                    s.d, s.dd, s.d, &found[0].algo, s.workspace,
                                    found[0].workspaceSize - 1, s.stream),
                     CUBLAS_STATUS_INVALID_VALUE);
    bias_too(&s);
    OK(cublasLtMatmulDescSetAttribute(s.product, CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                                      &(void *){ NULL }, sizeof(void *)));
    assert_int_equal(multiply(&s, &found[0], &one, &one), CUBLAS_STATUS_INVALID_VALUE);
    OK(setenv("PRETEND_CUBLASLT_REFUSES", "1", 1));
    status = cublasLtMatmulAlgoGetHeuristic(s.handle, s.product, s.a, s.b, s.d, s.d, s.wishes, 4,
                                            found, &n);
    assert_true(n == 0 &&
                (status == CUBLAS_STATUS_SUCCESS || status == CUBLAS_STATUS_NOT_SUPPORTED));
    OK(unsetenv("PRETEND_CUBLASLT_REFUSES"));
    /* op(A) has no longer as many columns as op(B) rows */
    OK(cublasLtMatmulDescSetAttribute(s.product, CUBLASLT_MATMUL_DESC_TRANSA, &op, sizeof op));
    assert_int_equal(cublasLtMatmulAlgoGetHeuristic(s.handle, s.product, s.a, s.b, s.d, s.d,
                                                    s.wishes, 4, found, &n),
                     CUBLAS_STATUS_INVALID_VALUE);
    close_all(&s);
}

/* ------------------------------------------------------------------ mistakes */

static int mistake;

static const char *const mistakes[] = {
    "is no multiple of 16 bytes",            /* 0: A is not where the preferences had it */
    "bytes of device memory",                /* 1: B is shorter than its layout */
    "is memory of the device",               /* 2: alpha of the device in the mode of the host */
    "the bias (",                            /* 3: aligned to 4 bytes under a wide algorithm */
    "the result overlaps A",                 /* 4 */
    "is no living cublasLtMatrixLayout_t",   /* 5 */
    "is not pretended",                      /* 6: an attribute that nobody here sets */
    "cublasLtMatmulDesc_t not destroyed: 1", /* 7 */
    "matrices of D overlap",                 /* 8 */
    "alpha (",                               /* 9: of the host in the mode of the device */
};

static void make(void *with)
{
    setup *s = with;
    const float one = 1;
    const float *alpha = &one;
    cublasLtMatmulHeuristicResult_t found[4];
    int32_t mode = CUBLASLT_POINTER_MODE_DEVICE;
    int64_t apart = 3;

    if (mistake == 3) {
        s->dbias++;
        bias_too(s);
    }
    if (mistake == 6)
        (void)cublasLtMatmulDescSetAttribute(s->product, CUBLASLT_MATMUL_DESC_FILL_MODE, &mode, 4);
    if (mistake == 8) {
        OK(cublasLtMatrixLayoutSetAttribute(s->d, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                            &apart, sizeof apart));
    }
    if (mistake == 9) {
        OK(cublasLtMatmulDescSetAttribute(s->product, CUBLASLT_MATMUL_DESC_POINTER_MODE, &mode,
                                          sizeof mode));
    }
    if (mistake == 7) {
        free_memory(s);
        return;
    }
    (void)algorithms(s, found);
    if (mistake == 0)
        s->da++;
    if (mistake == 1)
        s->db = s->factors;
    if (mistake == 2)
        alpha = s->factors;
    if (mistake == 4)
        s->dd = s->da;
    if (mistake == 5) {
        OK(cublasLtMatrixLayoutDestroy(s->b));
    }
    (void)multiply(s, &found[0], alpha, &one);
}

static void mistakes_end_the_program(void **state)
{
    static setup s;

    (void)state;
    open_with(&s, CUBLAS_COMPUTE_32F, 0, 0);
    for (mistake = 0; mistake < (int)(sizeof mistakes / sizeof *mistakes); mistake++)
        assert_dies(make, &s, mistakes[mistake]);
    close_all(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_those_of_plain_loops),
        cmocka_unit_test(tf32_rounds_operands),
        cmocka_unit_test(factors_of_the_device_are_read_when_it_runs),
        cmocka_unit_test(alignments_decide_what_is_found),
        cmocka_unit_test(what_the_library_refuses_is_refused),
        cmocka_unit_test(mistakes_end_the_program),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
