#include "backend/cpu_math.h"
#include "backend/cpu_matmul.h"

#include <string.h>

/*
 * Our own product, for machines without AVX-512. oneDNN's product for those reads beyond its own
 * buffers, and the last bits of a row depend on where it stands. Here every number of c is the sum over
 * k in ascending order, by blocks of DEPTH that are added to c one after the other, whatever m and n.
 */
enum { WIDTH = 16, ROWS = 6, DEPTH = 256 };

typedef float lanes __attribute__((vector_size(WIDTH * sizeof(float))));

typedef struct product {
    ptrdiff_t a_row, a_k; /* steps in a from row to row, and along k */
    ptrdiff_t b_k, b_col;
    float alpha;
    int ldc;
} product;

/* Up to 16 columns of up to DEPTH rows of b, zeros beyond. */
DMQ_INLINE void pack(lanes *to, const product *g, const float *b, int depth, int cols)
{
    for (int p = 0; p < depth; p++) {
        float row[WIDTH] = { 0 };

        for (int j = 0; j < cols; j++)
            row[j] = b[p * g->b_k + j * g->b_col];
        memcpy(&to[p], row, sizeof row);
    }
}

/* c += alpha a b for a few rows; first: c = beta c + ... with beta 0 or 1 */
DMQ_INLINE void some_rows(const product *g, const float *a, const lanes *b, int depth, float *c,
                          int cols, int rows, int replace)
{
    lanes sum[ROWS];

    for (int r = 0; r < rows; r++)
        sum[r] = (lanes){ 0 };
    for (int p = 0; p < depth; p++) {
        for (int r = 0; r < rows; r++)
            sum[r] += a[r * g->a_row + p * g->a_k] * b[p];
    }
    for (int r = 0; r < rows; r++) {
        float out[WIDTH];

        sum[r] *= g->alpha;
        memcpy(out, &sum[r], sizeof out);
        for (int j = 0; j < cols; j++)
            c[r * g->ldc + j] = replace ? out[j] : c[r * g->ldc + j] + out[j];
    }
}

DMQ_CLONES
static void block(const product *g, const float *a, const float *b, int m, int depth, float *c,
                  int cols, int replace)
{
    lanes packed[DEPTH];
    int i = 0;

    pack(packed, g, b, depth, cols);
    for (; i + ROWS <= m; i += ROWS) {
        some_rows(g, a + i * g->a_row, packed, depth, c + (ptrdiff_t)i * g->ldc, cols, ROWS,
                  replace);
    }
    for (; i < m; i++)
        some_rows(g, a + i * g->a_row, packed, depth, c + (ptrdiff_t)i * g->ldc, cols, 1, replace);
}

void dmq_cpu_gemm_plain(int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a,
                        int lda, const float *b, int ldb, float beta, float *c, int ldc)
{
    product g = { .a_row = trans_a ? 1 : lda,
                  .a_k = trans_a ? lda : 1,
                  .b_k = trans_b ? 1 : ldb,
                  .b_col = trans_b ? ldb : 1,
                  .alpha = alpha,
                  .ldc = ldc };

    for (int j = 0; j < n; j += WIDTH) {
        for (int p = 0; p < k; p += DEPTH) {
            block(&g, a + p * g.a_k, b + p * g.b_k + j * g.b_col, m, k - p < DEPTH ? k - p : DEPTH,
                  c + j, n - j < WIDTH ? n - j : WIDTH, p == 0 && beta == 0.0f);
        }
    }
}
