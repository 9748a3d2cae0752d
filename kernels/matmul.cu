/* Products and column sums by kernels of our own: what a library does not take, and what runs thread by
   thread on a host. */
#include "kernels/gemm.cuh"

extern "C" {
#include "kernels/matmul.h"
}

enum { BATCHES_MOST = 65535, COLUMNS = 32, ROWS = 8, ROWS_OF_PART = 256, PARTS_MOST = 64 };

template <int T, bool TRANS_A, bool TRANS_B>
static __global__ void __launch_bounds__(DMQ_GEMM_BLOCK)
    product(dmq_matmul_args a, bool four_a, bool four_b)
{
    int m0 = (int)blockIdx.x * 16 * T, n0 = (int)blockIdx.y * 16 * T;

    for (int i = (int)blockIdx.z; i < a.batch; i += (int)gridDim.z) {
        dmq_gemm_matrix<!TRANS_A> left = {
            a.a + i * a.stride_a, (size_t)a.lda, a.m, a.k, four_a, 0
        };
        dmq_gemm_matrix<TRANS_B> right = {
            a.b + i * a.stride_b, (size_t)a.ldb, a.n, a.k, four_b, 0
        };
        dmq_real *c = a.c + i * a.stride_c;
        float acc[T][T];

        left.at(m0 + dmq_gemm_line<T, !TRANS_A>());
        right.at(n0 + dmq_gemm_line<T, TRANS_B>());
        dmq_gemm_zero(acc);
        dmq_gemm_tile(acc, left, right, a.k);
        dmq_gemm_each(acc, m0, n0, a.m, a.n, [&](int m, int n, float sum) {
            dmq_real *to = c + (size_t)m * a.ldc + n;
            float value = a.alpha * sum + (a.bias ? a.bias[n] : 0);

            *to = a.add ? *to + value : value;
        });
    }
}

template <int T> static dmq_status launch(dmq_queue *queue, const dmq_matmul_args *a)
{
    dim3 grid(dmq_gemm_tiles(a->m, T), dmq_gemm_tiles(a->n, T),
              a->batch < BATCHES_MOST ? (unsigned)a->batch : (unsigned)BATCHES_MOST);
    bool fa = dmq_gemm_four(a->a, a->lda) && a->stride_a % 4 == 0;
    bool fb = dmq_gemm_four(a->b, a->ldb) && a->stride_b % 4 == 0;

    if (a->trans_a && a->trans_b)
        return DMQ_LAUNCH((product<T, true, true>), grid, DMQ_GEMM_BLOCK, 0, queue, *a, fa, fb);
    if (a->trans_a)
        return DMQ_LAUNCH((product<T, true, false>), grid, DMQ_GEMM_BLOCK, 0, queue, *a, fa, fb);
    if (a->trans_b)
        return DMQ_LAUNCH((product<T, false, true>), grid, DMQ_GEMM_BLOCK, 0, queue, *a, fa, fb);
    return DMQ_LAUNCH((product<T, false, false>), grid, DMQ_GEMM_BLOCK, 0, queue, *a, fa, fb);
}

DMQ_DEVICE(dmq_matmul_plain)(dmq_queue *queue, const dmq_matmul_args *a)
{
    return dmq_gemm_large(a->m, a->n, (unsigned)a->batch) ? launch<8>(queue, a)
                                                          : launch<4>(queue, a);
}

/* Rows first..end-1 of 32 columns: eight sums a column, joined in their order. */
static __global__ void column_parts(dmq_col_sum_args a, dmq_real *out, int rows_of_part)
{
    __shared__ float sums[ROWS][COLUMNS];
    int column = (int)(blockIdx.x * COLUMNS + threadIdx.x % COLUMNS);
    int first = (int)blockIdx.y * rows_of_part, row = (int)threadIdx.x / COLUMNS;
    int end = first + rows_of_part < a.rows ? first + rows_of_part : a.rows;
    float sum = 0;

    if (column < a.cols) {
        for (int i = first + row; i < end; i += ROWS)
            sum += a.x[(size_t)i * a.cols + column];
    }
    sums[row][threadIdx.x % COLUMNS] = sum;
    __syncthreads();
    if (row == 0 && column < a.cols) {
        for (int i = 1; i < ROWS; i++)
            sum += sums[i][threadIdx.x];
        out[(size_t)blockIdx.y * a.cols + column] = sum;
    }
}

static __global__ void join_parts(dmq_col_sum_args a, const dmq_real *part, int parts)
{
    DMQ_EACH_INDEX(i, (size_t)a.cols)
    {
        float sum = part[i];

        for (int p = 1; p < parts; p++)
            sum += part[(size_t)p * a.cols + i];
        a.y[i] = a.add ? a.y[i] + sum : sum;
    }
}

DMQ_DEVICE(dmq_col_sum)(dmq_queue *queue, const dmq_col_sum_args *a)
{
    size_t row_bytes = (size_t)a->cols * sizeof(dmq_real);
    int parts = (a->rows + ROWS_OF_PART - 1) / ROWS_OF_PART, rows_of_part;
    dmq_status st = DMQ_OK;
    void *scratch = NULL;

    parts = parts > PARTS_MOST ? (int)PARTS_MOST : parts < 1 ? 1 : parts;
    if ((size_t)parts * row_bytes > DMQ_SCRATCH_BYTES)
        parts = row_bytes < DMQ_SCRATCH_BYTES ? (int)(DMQ_SCRATCH_BYTES / row_bytes) : 1;
    rows_of_part = (a->rows + parts - 1) / parts;
    DMQ_TRY(dmq_cuda_scratch(&scratch, queue, (size_t)parts * row_bytes));
    DMQ_TRY(
        DMQ_LAUNCH(column_parts, dim3(((unsigned)a->cols + COLUMNS - 1) / COLUMNS, (unsigned)parts),
                   COLUMNS * ROWS, 0, queue, *a, static_cast<dmq_real *>(scratch), rows_of_part));
    DMQ_TRY(DMQ_LAUNCH(join_parts, dmq_grid((size_t)a->cols, 256), 256, 0, queue, *a,
                       static_cast<const dmq_real *>(scratch), parts));
done:
    return st;
}
