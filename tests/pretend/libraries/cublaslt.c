/* A pretended cuBLASLt: products of matrices that are stored column by column. PRETEND_CUBLASLT_REFUSES=n: it knows
   no algorithm for one product in n. */
#include "convolve_loops.h"
#include "judge.h"
#include "numbers.h"

#include <cublasLt.h>
#include <stdlib.h>

#define KIND_HANDLE     "cublasLtHandle_t"
#define KIND_PRODUCT    "cublasLtMatmulDesc_t"
#define KIND_LAYOUT     "cublasLtMatrixLayout_t"
#define KIND_PREFERENCE "cublasLtMatmulPreference_t"

size_t cublasLtGetVersion(void)
{
    return CUBLAS_VERSION;
}

const char *cublasLtGetStatusString(cublasStatus_t status)
{
    switch (status) {
    case CUBLAS_STATUS_SUCCESS:
        return "success";
    case CUBLAS_STATUS_INVALID_VALUE:
        return "an unsupported value or parameter was passed to the function";
    case CUBLAS_STATUS_NOT_SUPPORTED:
        return "the requested functionality is not supported";
    default:
        return "another status";
    }
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle)
{
    if (!handle)
        return CUBLAS_STATUS_INVALID_VALUE;
    *handle = judge_create(1, KIND_HANDLE);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
    judge_destroy(handle, KIND_HANDLE, __func__);
    return CUBLAS_STATUS_SUCCESS;
}

/* ------------------------------------------------------------------ descriptors */

typedef struct product {
    cublasComputeType_t compute;
    cudaDataType_t scale;
    int32_t pointer_mode, trans_a, trans_b;
    uint32_t epilogue;
    const void *bias;
} product;

typedef struct layout {
    cudaDataType_t type;
    uint64_t rows, cols;
    int64_t ld, apart;
    int32_t batch;
} layout;

typedef struct preference {
    uint64_t workspace;
    uint32_t a, b, c, d; /* alignments */
} preference;

/* An attribute has one size, and the library takes no other. */
static cublasStatus_t set(void *at, size_t bytes, const void *value, size_t given)
{
    if (!value || given != bytes)
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(at, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *out, cublasComputeType_t compute,
                                        cudaDataType_t scale)
{
    product *p = judge_create(sizeof *p, KIND_PRODUCT);

    *p = (product){ .compute = compute, .scale = scale, .epilogue = CUBLASLT_EPILOGUE_DEFAULT };
    *out = (cublasLtMatmulDesc_t)(void *)p;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t descriptor)
{
    judge_destroy(descriptor, KIND_PRODUCT, __func__);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t descriptor,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void *value, size_t bytes)
{
    product *p = judge_living(descriptor, KIND_PRODUCT, __func__, "matmulDesc");

    switch (attribute) {
    case CUBLASLT_MATMUL_DESC_POINTER_MODE:
        return set(&p->pointer_mode, sizeof p->pointer_mode, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSA:
        return set(&p->trans_a, sizeof p->trans_a, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB:
        return set(&p->trans_b, sizeof p->trans_b, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
        return set(&p->epilogue, sizeof p->epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
        return set(&p->bias, sizeof p->bias, value, bytes);
    default:
        pretend_die("%s: attribute %d is not pretended", __func__, (int)attribute);
    }
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *out, cudaDataType type,
                                          uint64_t rows, uint64_t cols, int64_t ld)
{
    layout *l = judge_create(sizeof *l, KIND_LAYOUT);

    *l = (layout){ .type = type, .rows = rows, .cols = cols, .ld = ld, .batch = 1 };
    *out = (cublasLtMatrixLayout_t)(void *)l;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t descriptor)
{
    judge_destroy(descriptor, KIND_LAYOUT, __func__);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t descriptor,
                                                cublasLtMatrixLayoutAttribute_t attribute,
                                                const void *value, size_t bytes)
{
    layout *l = judge_living(descriptor, KIND_LAYOUT, __func__, "matLayout");

    switch (attribute) {
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT:
        return set(&l->batch, sizeof l->batch, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET:
        return set(&l->apart, sizeof l->apart, value, bytes);
    default:
        pretend_die("%s: attribute %d is not pretended", __func__, (int)attribute);
    }
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *out)
{
    preference *p = judge_create(sizeof *p, KIND_PREFERENCE);

    *p = (preference){ 0, 256, 256, 256, 256 };
    *out = (cublasLtMatmulPreference_t)(void *)p;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t descriptor)
{
    judge_destroy(descriptor, KIND_PREFERENCE, __func__);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t descriptor,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void *value, size_t bytes)
{
    preference *p = judge_living(descriptor, KIND_PREFERENCE, __func__, "pref");

    switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
        return set(&p->workspace, sizeof p->workspace, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
        return set(&p->a, sizeof p->a, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
        return set(&p->b, sizeof p->b, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
        return set(&p->c, sizeof p->c, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
        return set(&p->d, sizeof p->d, value, bytes);
    default:
        pretend_die("%s: attribute %d is not pretended", __func__, (int)attribute);
    }
}

/* ------------------------------------------------------------------ a product */

/* All that a product needs when its turn comes. */
typedef struct work {
    product product;
    layout a, b, c, d;
    uint64_t m, n, k;
    const void *alpha, *beta; /* of the device, or NULL: */
    float alpha_host, beta_host;
    const void *a_data, *b_data, *c_data;
    void *d_data;
    int backwards; /* the sum begins in its middle */
    unsigned char *workspace;
    size_t workspace_bytes;
} work;

static size_t number_bytes(const layout *l)
{
    return l->type == CUDA_R_16F ? 2 : 4;
}

/* From the first number of all matrices of a batch to behind the last. */
static size_t bytes_of(const layout *l)
{
    int64_t last = (int64_t)l->rows - 1 + ((int64_t)l->cols - 1) * l->ld;

    return (size_t)(last + 1 + (l->batch - 1) * l->apart) * number_bytes(l);
}

static int is_layout(const layout *l)
{
    return l->rows > 0 && l->cols > 0 && l->ld >= (int64_t)l->rows && l->batch > 0 && l->apart >= 0;
}

static int is_float_product(const work *w)
{
    return w->a.type == CUDA_R_32F && w->b.type == CUDA_R_32F && w->c.type == CUDA_R_32F;
}

static int is_half_product(const work *w)
{
    return w->a.type == CUDA_R_16F && w->b.type == CUDA_R_16F &&
           (w->c.type == CUDA_R_32F || w->c.type == CUDA_R_16F);
}

/* What the descriptors say, or the status with which the library refuses it. */
static cublasStatus_t describe(work *w, cublasLtHandle_t handle, cublasLtMatmulDesc_t descriptor,
                               const cublasLtMatrixLayout_t of[4], const char *call)
{
    (void)judge_living(handle, KIND_HANDLE, call, "lightHandle");
    *w = (work){ .product = *(product *)judge_living(descriptor, KIND_PRODUCT, call, "computeDesc"),
                 .a = *(layout *)judge_living(of[0], KIND_LAYOUT, call, "Adesc"),
                 .b = *(layout *)judge_living(of[1], KIND_LAYOUT, call, "Bdesc"),
                 .c = *(layout *)judge_living(of[2], KIND_LAYOUT, call, "Cdesc"),
                 .d = *(layout *)judge_living(of[3], KIND_LAYOUT, call, "Ddesc") };
    w->m = w->d.rows;
    w->n = w->d.cols;
    w->k = w->product.trans_a == CUBLAS_OP_N ? w->a.cols : w->a.rows;
    if (!is_layout(&w->a) || !is_layout(&w->b) || !is_layout(&w->c) || !is_layout(&w->d))
        return CUBLAS_STATUS_INVALID_VALUE;
    if ((w->product.trans_a == CUBLAS_OP_N ? w->a.rows : w->a.cols) != w->m ||
        (w->product.trans_b == CUBLAS_OP_N ? w->b.rows : w->b.cols) != w->k ||
        (w->product.trans_b == CUBLAS_OP_N ? w->b.cols : w->b.rows) != w->n || w->c.rows != w->m ||
        w->c.cols != w->n)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (w->a.batch != w->d.batch || w->b.batch != w->d.batch || w->c.batch != w->d.batch)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (w->product.scale != CUDA_R_32F || w->c.type != w->d.type)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if (w->product.compute == CUBLAS_COMPUTE_32F ? !is_float_product(w) && !is_half_product(w)
        : w->product.compute == CUBLAS_COMPUTE_32F_FAST_TF32 ? !is_float_product(w)
                                                             : 1)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if (w->product.epilogue != CUBLASLT_EPILOGUE_DEFAULT &&
        w->product.epilogue != CUBLASLT_EPILOGUE_BIAS)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    return CUBLAS_STATUS_SUCCESS;
}

/* ------------------------------------------------------------------ algorithms */

/* What cublasLtMatmulAlgo_t holds. The wide one reads 16 bytes at a time, and writes so. */
typedef struct algorithm {
    uint64_t magic, alignment, workspace, problem;
} algorithm;

_Static_assert(sizeof(algorithm) <= sizeof(cublasLtMatmulAlgo_t),
               "an algorithm is copied by value");

#define MAGIC 0x646d71u

enum { WIDE = 16, WIDE_WORKSPACE = 1 << 20 };

static uint64_t hash_layout(uint64_t h, const layout *l)
{
    const uint64_t word[] = {
        l->type, l->rows, l->cols, (uint64_t)l->ld, (uint64_t)l->apart, (uint64_t)l->batch
    };

    for (size_t i = 0; i < sizeof word / sizeof *word; i++)
        h = (h ^ word[i]) * 1099511628211u;
    return h;
}

static uint64_t hash(const work *w)
{
    uint64_t h = 14695981039346656037u ^ (uint64_t)w->product.trans_a << 8 ^
                 (uint64_t)w->product.trans_b << 16 ^ (uint64_t)w->product.compute;

    h = hash_layout(hash_layout(hash_layout(h, &w->a), &w->b), &w->d);
    return h ^ h >> 29;
}

/* Columns and matrices of a batch begin where its first number's alignment puts them. */
static int keeps(const layout *l, uint32_t promised, size_t alignment)
{
    size_t bytes = number_bytes(l);

    return promised >= alignment && (size_t)l->ld * bytes % alignment == 0 &&
           (size_t)l->apart * bytes % alignment == 0;
}

static int is_wide(const work *w, const preference *p)
{
    return keeps(&w->a, p->a, WIDE) && keeps(&w->b, p->b, WIDE) && keeps(&w->c, p->c, WIDE) &&
           keeps(&w->d, p->d, WIDE) && p->workspace >= WIDE_WORKSPACE;
}

static void tell(cublasLtMatmulHeuristicResult_t *out, const algorithm *a)
{
    memset(out, 0, sizeof *out);
    memcpy(&out->algo, a, sizeof *a);
    out->workspaceSize = a->workspace;
    out->state = CUBLAS_STATUS_SUCCESS;
    out->wavesCount = 1;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle,
                                              cublasLtMatmulDesc_t descriptor,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t wishes, int wanted,
                                              cublasLtMatmulHeuristicResult_t results[], int *count)
{
    const preference *p = judge_living(wishes, KIND_PREFERENCE, __func__, "preference");
    const cublasLtMatrixLayout_t of[4] = { a, b, c, d };
    uint64_t one_in = (uint64_t)pretend_wish("CUBLASLT_REFUSES", 0), number;
    cublasStatus_t status;
    work w;

    if (wanted < 1 || !results || !count)
        return CUBLAS_STATUS_INVALID_VALUE;
    *count = 0;
    status = describe(&w, handle, descriptor, of, __func__);
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    number = hash(&w);
    if (one_in > 0 && number % one_in == 0) /* in one of its two ways */
        return number / one_in % 2 ? CUBLAS_STATUS_NOT_SUPPORTED : CUBLAS_STATUS_SUCCESS;
    if (is_wide(&w, p))
        tell(&results[(*count)++], &(algorithm){ MAGIC, WIDE, WIDE_WORKSPACE, number });
    if (*count < wanted && p->a >= number_bytes(&w.a) && p->b >= number_bytes(&w.b) &&
        p->c >= number_bytes(&w.c) && p->d >= number_bytes(&w.d))
        tell(&results[(*count)++], &(algorithm){ MAGIC, 1, 0, number });
    return *count > 0 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

/* ------------------------------------------------------------------ its turn */

static float read_number(const layout *l, const void *data, size_t at)
{
    return l->type == CUDA_R_16F ? float_of_half(((const uint16_t *)data)[at])
                                 : ((const float *)data)[at];
}

/* (rows, cols) row by row of a matrix as it is stored, or of its transpose; operands as they are taken. */
static float *gather(const work *w, const layout *l, const void *data, int matrix, int transpose)
{
    size_t rows = transpose ? l->cols : l->rows, cols = transpose ? l->rows : l->cols;
    size_t first = (size_t)matrix * (size_t)l->apart, ld = (size_t)l->ld;
    float *out = judge_memory(rows * cols * sizeof *out);
    int bits = w->product.compute == CUBLAS_COMPUTE_32F_FAST_TF32 ? BITS_TF32 : BITS_FLOAT;

    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < cols; j++) {
            size_t at = first + (transpose ? i * ld + j : j * ld + i);

            out[i * cols + j] = round_to_bits(read_number(l, data, at), bits);
        }
    }
    return out;
}

static void finish(const work *w, const float *sums, int matrix)
{
    float alpha = w->alpha ? *(const float *)w->alpha : w->alpha_host;
    float beta = w->beta ? *(const float *)w->beta : w->beta_host;
    const float *bias = w->product.epilogue == CUBLASLT_EPILOGUE_BIAS ? w->product.bias : NULL;

    for (size_t j = 0; j < w->n; j++) {
        for (size_t i = 0; i < w->m; i++) {
            size_t from = (size_t)matrix * (size_t)w->c.apart + j * (size_t)w->c.ld + i;
            size_t to = (size_t)matrix * (size_t)w->d.apart + j * (size_t)w->d.ld + i;
            float v = alpha * sums[j * w->m + i];

            if (beta != 0) /* else the old numbers may be anything */
                v += beta * read_number(&w->c, w->c_data, from);
            if (bias)
                v += bias[i];
            if (w->d.type == CUDA_R_16F)
                ((uint16_t *)w->d_data)[to] = half_of_float(v);
            else
                ((float *)w->d_data)[to] = v;
        }
    }
}

static void run(void *context)
{
    const work *w = context;

    if (w->workspace_bytes > 0)
        memset(w->workspace, 0xff, w->workspace_bytes);
    for (int i = 0; i < w->d.batch; i++) {
        float *a = gather(w, &w->a, w->a_data, i, w->product.trans_a == CUBLAS_OP_N); /* (k, m) */
        float *b = gather(w, &w->b, w->b_data, i, w->product.trans_b == CUBLAS_OP_N); /* (n, k) */
        float *sums = judge_memory(w->n * w->m * sizeof *sums);

        product_loops(sums, b, a, (int)w->n, (int)w->m, (int)w->k,
                      w->backwards ? (int)(w->k / 2) : 0);
        finish(w, sums, i);
        free(a);
        free(b);
        free(sums);
    }
}

/* ------------------------------------------------------------------ the call */

static void judge_array(const layout *l, const void *data, size_t alignment, const char *call,
                        const char *argument)
{
    size_t number = number_bytes(l);

    judge_device(data, bytes_of(l), alignment > number ? alignment : number, call, argument);
}

/* Matrices of a batch lie one behind the other, or side by side within a column. */
static void judge_result(const layout *l, const char *call)
{
    int64_t rows = (int64_t)l->rows, extent = ((int64_t)l->cols - 1) * l->ld + rows;

    if (l->batch == 1 || l->apart >= extent)
        return;
    if (l->apart < rows || (l->batch - 1) * l->apart + rows > l->ld)
        pretend_die("%s: matrices of D overlap: %lld apart", call, (long long)l->apart);
}

static void judge_arrays(const work *w, size_t alignment, const char *call)
{
    judge_array(&w->a, w->a_data, alignment, call, "A");
    judge_array(&w->b, w->b_data, alignment, call, "B");
    judge_array(&w->c, w->c_data, alignment, call, "C");
    judge_array(&w->d, w->d_data, alignment, call, "D");
    judge_apart(w->d_data, bytes_of(&w->d), w->a_data, bytes_of(&w->a), call, "A");
    judge_apart(w->d_data, bytes_of(&w->d), w->b_data, bytes_of(&w->b), call, "B");
    judge_result(&w->d, call);
    /* the epilogue reads the bias as wide as it writes D: a bias of less alignment is a fault on some devices */
    if (w->product.epilogue == CUBLASLT_EPILOGUE_BIAS) {
        judge_device(w->product.bias, w->m * sizeof(float),
                     alignment > sizeof(float) ? alignment : sizeof(float), call, "the bias");
    }
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t descriptor,
                              const void *alpha, const void *a_data, cublasLtMatrixLayout_t a,
                              const void *b_data, cublasLtMatrixLayout_t b, const void *beta,
                              const void *c_data, cublasLtMatrixLayout_t c, void *d_data,
                              cublasLtMatrixLayout_t d, const cublasLtMatmulAlgo_t *chosen,
                              void *workspace, size_t workspace_bytes, cudaStream_t stream)
{
    const cublasLtMatrixLayout_t of[4] = { a, b, c, d };
    algorithm is;
    work w, *late;
    cublasStatus_t status = describe(&w, handle, descriptor, of, __func__);

    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    if (!alpha || !beta || !a_data || !b_data || !d_data || !chosen)
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(&is, chosen, sizeof is);
    if (is.magic != MAGIC)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (is.problem != hash(&w))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if (workspace_bytes < is.workspace || (is.workspace > 0 && !workspace) ||
        (uintptr_t)workspace % 16 != 0 ||
        (w.product.epilogue == CUBLASLT_EPILOGUE_BIAS && !w.product.bias) ||
        (c_data == d_data && memcmp(&w.c, &w.d, sizeof w.c) != 0))
        return CUBLAS_STATUS_INVALID_VALUE;
    if (w.product.pointer_mode == CUBLASLT_POINTER_MODE_DEVICE) {
        judge_device(alpha, sizeof(float), sizeof(float), __func__, "alpha");
        judge_device(beta, sizeof(float), sizeof(float), __func__, "beta");
        w.alpha = alpha;
        w.beta = beta;
    } else {
        judge_host(alpha, sizeof(float), __func__, "alpha");
        judge_host(beta, sizeof(float), __func__, "beta");
        w.alpha_host = *(const float *)alpha;
        w.beta_host = *(const float *)beta;
    }
    w.a_data = a_data;
    w.b_data = b_data;
    w.c_data = c_data;
    w.d_data = d_data;
    w.backwards = is.alignment == WIDE;
    w.workspace = workspace;
    w.workspace_bytes = is.workspace;
    judge_arrays(&w, is.alignment, __func__);
    judge_device(workspace, workspace_bytes, 1, __func__, "the workspace");
    judge_apart(workspace, workspace_bytes, d_data, bytes_of(&w.d), __func__, "D");
    late = judge_memory(sizeof *late);
    *late = w;
    return judge_enqueue(stream, __func__, run, free, late) ? CUBLAS_STATUS_SUCCESS
                                                            : CUBLAS_STATUS_EXECUTION_FAILED;
}
