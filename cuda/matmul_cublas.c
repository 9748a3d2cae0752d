/* Matrix products by cuBLASLt: FP32 sums, one plan a shape, one workspace. Halves are packed copies of the
   operands, whose scales the library finds on the device as its alpha (half.h). */
#include "cuda/device.h"

#include "base/log.h"
#include "base/memory.h"
#include "cuda/half.h"
#include "kernels/matmul.h"

#include <stdint.h>

typedef struct product_plan {
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t a, b, c;
    cublasLtMatmulAlgo_t algorithm;
    int plain; /* 1: the library knows no way */
} product_plan;

dmq_status dmq_matmul_cuda(dmq_queue *queue, const dmq_matmul_args *a);
dmq_status dmq_matmul_plain_cuda(dmq_queue *queue, const dmq_matmul_args *a);

#define LT(call) DMQ_TRY(lt_status(lt->call, #call))

static dmq_status lt_status(cublasStatus_t status, const char *call)
{
    const dmq_cublaslt *lt = NULL;

    if (status == CUBLAS_STATUS_SUCCESS)
        return DMQ_OK;
    (void)dmq_cublaslt_load(&lt);
    return dmq_fail(DMQ_EDEVICE, "cuda: cublasLt%s: %s", call,
                    lt ? lt->GetStatusString(status) : "?");
}

void dmq_cuda_product_plan_destroy(void *plan)
{
    product_plan *p = plan;
    const dmq_cublaslt *lt = NULL;

    if (!p)
        return;
    if (dmq_cublaslt_load(&lt) == DMQ_OK) {
        if (p->product)
            (void)lt->MatmulDescDestroy(p->product);
        if (p->a)
            (void)lt->MatrixLayoutDestroy(p->a);
        if (p->b)
            (void)lt->MatrixLayoutDestroy(p->b);
        if (p->c)
            (void)lt->MatrixLayoutDestroy(p->c);
    }
    dmq_free(p);
}

/* The library expects 256 bytes unless it is told: views of a block of parameters begin anywhere. */
static uint32_t alignment(const void *p)
{
    return (uintptr_t)p % 16 == 0 ? 16 : (uintptr_t)p % 8 == 0 ? 8 : 4;
}

static dmq_status layout(cublasLtMatrixLayout_t *out, const dmq_cublaslt *lt, cudaDataType_t type,
                         int rows, int cols, int ld, int batch, ptrdiff_t stride)
{
    int32_t count = batch;
    int64_t apart = stride;
    dmq_status st = DMQ_OK;

    LT(MatrixLayoutCreate(out, type, (uint64_t)rows, (uint64_t)cols, ld));
    LT(MatrixLayoutSetAttribute(*out, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count));
    LT(MatrixLayoutSetAttribute(*out, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &apart,
                                sizeof apart));
done:
    return st;
}

static int is_half(void)
{
    return dmq_cuda_precision() == DMQ_FP16;
}

/*
 * The library counts columns first, we rows: what we call c (m, n) it reads as c^T (n, m), and
 * c^T = op(b)^T op(a)^T, with b first. A matrix that is stored (k, n) is to it an (n, k) one. So the bias,
 * one number for each of its rows, runs along our columns, as it should.
 */
static dmq_status describe(product_plan *p, const dmq_cublaslt *lt, const dmq_matmul_args *a)
{
    cublasComputeType_t compute =
        dmq_cuda_precision() == DMQ_TF32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    cublasOperation_t op_a = a->trans_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasOperation_t op_b = a->trans_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    cudaDataType_t type = is_half() ? CUDA_R_16F : CUDA_R_32F;
    int32_t factors = is_half() ? CUBLASLT_POINTER_MODE_DEVICE : CUBLASLT_POINTER_MODE_HOST;
    dmq_status st = DMQ_OK;

    LT(MatmulDescCreate(&p->product, compute, CUDA_R_32F));
    LT(MatmulDescSetAttribute(p->product, CUBLASLT_MATMUL_DESC_POINTER_MODE, &factors,
                              sizeof factors));
    LT(MatmulDescSetAttribute(p->product, CUBLASLT_MATMUL_DESC_TRANSA, &op_b, sizeof op_b));
    LT(MatmulDescSetAttribute(p->product, CUBLASLT_MATMUL_DESC_TRANSB, &op_a, sizeof op_a));
    if (a->bias) {
        LT(MatmulDescSetAttribute(p->product, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue,
                                  sizeof epilogue));
        LT(MatmulDescSetAttribute(p->product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &a->bias,
                                  sizeof a->bias));
    }
    DMQ_TRY(layout(&p->b, lt, type, a->trans_b ? a->k : a->n, a->trans_b ? a->n : a->k, a->ldb,
                   a->batch, a->stride_b));
    DMQ_TRY(layout(&p->a, lt, type, a->trans_a ? a->m : a->k, a->trans_a ? a->k : a->m, a->lda,
                   a->batch, a->stride_a));
    DMQ_TRY(layout(&p->c, lt, CUDA_R_32F, a->n, a->m, a->ldc, a->batch, a->stride_c));
done:
    return st;
}

/* The first of the library's own list: a rule of the shape, not timed, the same in every run. */
static dmq_status choose(product_plan *p, const dmq_cublaslt *lt, dmq_queue *q,
                         const dmq_matmul_args *a)
{
    cublasLtMatmulPreference_t wishes = NULL;
    cublasLtMatmulHeuristicResult_t best = { 0 };
    uint64_t bytes = q->workspace_bytes;
    uint32_t at_a = alignment(a->b), at_b = alignment(a->a), at_c = alignment(a->c);
    /* the bias is read as wide as d is written, and has no wish of its own */
    uint32_t at_d = a->bias && alignment(a->bias) < at_c ? alignment(a->bias) : at_c;
    dmq_status st = DMQ_OK;
    cublasStatus_t status;
    int found = 0;

    LT(MatmulPreferenceCreate(&wishes));
    LT(MatmulPreferenceSetAttribute(wishes, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes,
                                    sizeof bytes));
    LT(MatmulPreferenceSetAttribute(wishes, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &at_a,
                                    sizeof at_a));
    LT(MatmulPreferenceSetAttribute(wishes, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &at_b,
                                    sizeof at_b));
    LT(MatmulPreferenceSetAttribute(wishes, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &at_c,
                                    sizeof at_c));
    LT(MatmulPreferenceSetAttribute(wishes, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &at_d,
                                    sizeof at_d));
    status = lt->MatmulAlgoGetHeuristic(q->cublaslt, p->product, p->b, p->a, p->c, p->c, wishes, 1,
                                        &best, &found);
    p->plain = status != CUBLAS_STATUS_SUCCESS || found == 0 || best.state != CUBLAS_STATUS_SUCCESS;
    p->algorithm = best.algo;
    if (p->plain) {
        dmq_log_detail("cuBLASLt knows no product of %d x %d by %d x %d (%s): by our own kernel",
                       a->m, a->k, a->k, a->n, lt->GetStatusString(status));
    }
done:
    if (wishes)
        (void)lt->MatmulPreferenceDestroy(wishes);
    return st;
}

static dmq_status plan_of(product_plan **out, dmq_queue *q, const dmq_cublaslt *lt,
                          const dmq_matmul_args *a)
{
    dmq_cuda_key key = { .word = { a->batch, a->m, a->n, a->k, a->trans_a, a->trans_b, a->lda,
                                   a->ldb, a->ldc, a->stride_a, a->stride_b, a->stride_c,
                                   dmq_cuda_precision(), alignment(a->a), alignment(a->b),
                                   alignment(a->c), a->bias ? alignment(a->bias) : 0 } };
    product_plan *p = NULL;
    dmq_status st = DMQ_OK;

    *out = dmq_cuda_plans_find(&q->product, &key);
    if (*out)
        return DMQ_OK;
    DMQ_TRY(dmq_alloc((void **)&p, 1, sizeof *p));
    DMQ_TRY(describe(p, lt, a));
    DMQ_TRY(choose(p, lt, q, a));
    DMQ_TRY(dmq_cuda_plans_add(&q->product, &key, p));
    *out = p;
    p = NULL;
done:
    dmq_cuda_product_plan_destroy(p);
    return st;
}

/* What the product and the old result are multiplied by: on the host, or on the device for halves. */
typedef struct factors {
    const float *alpha, *beta;
} factors;

static dmq_status multiply(dmq_queue *queue, const dmq_cublaslt *lt, product_plan *p,
                           const dmq_matmul_args *a, const factors *f)
{
    dmq_status st = DMQ_OK;

    if (a->bias) {
        LT(MatmulDescSetAttribute(p->product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &a->bias,
                                  sizeof a->bias));
    }
    LT(Matmul(queue->cublaslt, p->product, f->alpha, a->b, p->b, a->a, p->a, f->beta, a->c, p->c,
              a->c, p->c, &p->algorithm, queue->workspace, queue->workspace_bytes, queue->stream));
done:
    return st;
}

/* An operand as it is stored: one matrix where the batch shares it. */
static dmq_cuda_half stored(const float *x, int batch, int rows, int cols, int ld, ptrdiff_t stride)
{
    return (dmq_cuda_half){ .array = { .x = x,
                                       .batch = stride == 0 ? 1 : (size_t)batch,
                                       .rows = (size_t)rows,
                                       .cols = (size_t)cols,
                                       .ld = (size_t)ld,
                                       .stride = (size_t)stride } };
}

static dmq_status multiply_halves(dmq_queue *queue, const dmq_cublaslt *lt,
                                  const dmq_matmul_args *args)
{
    int rows_a = args->trans_a ? args->k : args->m, cols_a = args->trans_a ? args->m : args->k;
    int rows_b = args->trans_b ? args->n : args->k, cols_b = args->trans_b ? args->k : args->n;
    dmq_cuda_half a = stored(args->a, args->batch, rows_a, cols_a, args->lda, args->stride_a);
    dmq_cuda_half b = stored(args->b, args->batch, rows_b, cols_b, args->ldb, args->stride_b);
    dmq_matmul_args packed = *args;
    dmq_cuda_halves halves;
    product_plan *p = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_cuda_halves_make(&halves, queue, &a, &b, args->alpha, args->add ? 1 : 0));
    packed.a = (const float *)(const void *)halves.a; /* the plan says what they are */
    packed.b = (const float *)(const void *)halves.b;
    packed.lda = cols_a;
    packed.ldb = cols_b;
    packed.stride_a = args->stride_a == 0 ? 0 : (ptrdiff_t)rows_a * cols_a;
    packed.stride_b = args->stride_b == 0 ? 0 : (ptrdiff_t)rows_b * cols_b;
    DMQ_TRY(plan_of(&p, queue, lt, &packed));
    if (p->plain)
        return dmq_matmul_plain_cuda(queue, args);
    st = multiply(queue, lt, p, &packed, &(factors){ halves.factor, halves.factor + 1 });
done:
    return st;
}

dmq_status dmq_matmul_cuda(dmq_queue *queue, const dmq_matmul_args *a)
{
    const float beta = a->add ? 1 : 0;
    const dmq_cublaslt *lt = NULL;
    product_plan *p = NULL;
    dmq_status st = DMQ_OK;

    if (!queue->cublaslt)
        return dmq_matmul_plain_cuda(queue, a);
    DMQ_TRY(dmq_cuda_use());
    DMQ_TRY(dmq_cublaslt_load(&lt));
    if (is_half())
        return multiply_halves(queue, lt, a);
    DMQ_TRY(plan_of(&p, queue, lt, a));
    if (p->plain)
        return dmq_matmul_plain_cuda(queue, a);
    st = multiply(queue, lt, p, a, &(factors){ &a->alpha, &beta });
done:
    return st;
}
