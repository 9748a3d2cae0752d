#include "diffusion/labels.h"

#include "base/memory.h"
#include "kernels/noise.h"

#include <assert.h>

/* Streams of one purpose, told apart by their step: what is drawn for an image, and for a block of them. */
enum { OF_IMAGE = 0, OF_BLOCK = 1 };

static dmq_status balanced(int *out, const dmq_labels *l, uint64_t first, int n)
{
    uint64_t classes = (uint64_t)l->n_classes, drawn = 0;
    int *order = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&order, (size_t)l->n_classes, sizeof *order));
    for (int i = 0; i < n; i++) {
        uint64_t image = first + (uint64_t)i, block = image / classes;

        if (i == 0 || block != drawn) {
            dmq_permutation(order, l->n_classes, l->seed, DMQ_FOR_LABEL, block, OF_BLOCK);
            drawn = block;
        }
        out[i] = order[image % classes];
    }
done:
    dmq_free(order);
    return st;
}

dmq_status dmq_labels_fill(int *out, const dmq_labels *l, uint64_t first, int n)
{
    assert(l->n_classes > 0 && l->one >= 0 && l->one < l->n_classes);
    if (l->choice == DMQ_LABELS_BALANCED)
        return balanced(out, l, first, n);
    for (int i = 0; i < n; i++) {
        out[i] = l->choice == DMQ_LABELS_ONE
                     ? l->one
                     : (int)(dmq_uniform(l->seed, DMQ_FOR_LABEL, first + (uint64_t)i, OF_IMAGE, 0) *
                             l->n_classes);
    }
    return DMQ_OK;
}
