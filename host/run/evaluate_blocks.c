/* evaluate: what is left of the losses of reconstruction units */
#include "run/evaluate_inner.h"

#include "base/memory.h"
#include "io/file.h"

#include <math.h>

/* Geometric means over the units that were reconstructed: losses of units differ by orders of magnitude. */
dmq_status dmq_evaluate_blocks(dmq_evaluating *v, dmq_json *q)
{
    char *path = NULL;
    dmq_json *root = NULL, *blocks;
    double near = 0, last = 0, ess = 0, before = 0, after = 0;
    int n = 0, weighted = 0, cosines = 0;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_folder_file(&path, v->job->folder, "blocks.json"));
    if (!dmq_file_exists(path))
        goto done;
    DMQ_TRY(dmq_json_load(&root, path));
    blocks = dmq_json_get(root, "blocks");
    for (size_t i = 0; i < dmq_json_count(blocks); i++) {
        const dmq_json *b = dmq_json_at(blocks, i);
        double x = dmq_json_real(dmq_json_find(b, "recon.nearest_held"), 0);
        double y = dmq_json_real(dmq_json_find(b, "recon.final_held"), 0);

        if (!(x > 0) || !(y > 0)) /* the temporal unit has no held-out samples */
            continue;
        near += log(x);
        last += log(y);
        n++;
        if (dmq_json_get(b, "cosine_before")) {
            before += dmq_json_real(dmq_json_get(b, "cosine_before"), 0);
            after += dmq_json_real(dmq_json_get(b, "cosine_after"), 0);
            cosines++;
        }
        if (dmq_json_get(b, "weights")) {
            ess += dmq_json_real(dmq_json_find(b, "weights.ess"), 0);
            weighted++;
        }
    }
    if (n == 0)
        goto done;
    DMQ_TRY(dmq_evaluate_put(q, "block_loss_nearest", "geometric-mean/held-out", exp(near / n), n));
    DMQ_TRY(dmq_evaluate_put(q, "block_loss", "geometric-mean/held-out", exp(last / n), n));
    if (cosines) {
        DMQ_TRY(dmq_evaluate_put(q, "group_cosine_before", "mean-pairwise/validation",
                                 before / cosines, cosines));
        DMQ_TRY(dmq_evaluate_put(q, "group_cosine_after", "mean-pairwise/validation",
                                 after / cosines, cosines));
    }
    if (weighted)
        DMQ_TRY(dmq_evaluate_put(q, "ess", "mean-over-units", ess / weighted, weighted));
done:
    dmq_json_destroy(root);
    dmq_free(path);
    return st;
}
