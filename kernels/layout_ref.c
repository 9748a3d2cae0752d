#include "kernels/layout.h"

#include "kernels/ref_util.h"

dmq_status dmq_copy2d_ref(dmq_queue *queue, const dmq_copy2d_args *a)
{
    (void)queue;
    for (size_t i = 0; i < a->rows; i++) {
        for (size_t j = 0; j < a->cols; j++)
            dmq_ref_put(a->dst + i * a->dst_ld + j, a->src[i * a->src_ld + j], a->add);
    }
    return DMQ_OK;
}

dmq_status dmq_permute_ref(dmq_queue *queue, const dmq_permute_args *a)
{
    const int *dim = a->dim, *perm = a->perm;
    ptrdiff_t of_x[4] = { (ptrdiff_t)dim[1] * dim[2] * dim[3], (ptrdiff_t)dim[2] * dim[3], dim[3],
                          1 };
    dmq_real *y = a->y;

    (void)queue;
    for (int i = 0; i < dim[perm[0]]; i++) {
        for (int j = 0; j < dim[perm[1]]; j++) {
            for (int k = 0; k < dim[perm[2]]; k++) {
                for (int l = 0; l < dim[perm[3]]; l++) {
                    dmq_ref_put(y++,
                                a->x[i * of_x[perm[0]] + j * of_x[perm[1]] + k * of_x[perm[2]] +
                                     l * of_x[perm[3]]],
                                a->add);
                }
            }
        }
    }
    return DMQ_OK;
}
