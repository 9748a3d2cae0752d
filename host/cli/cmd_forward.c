/* dmq forward: the network once on x (N, C, H, W), t (N) and, where it knows classes, label (N) of a file
   -> eps in an HDF5 file */
#include "base/log.h"
#include "cli/batch_file.h"
#include "cli/setup.h"
#include "cli/verbs.h"
#include "diffusion/forward.h"
#include "io/file.h"
#include "io/h5.h"

#include <limits.h>
#include <string.h>

static dmq_status check_times(const dmq_forward_batch *b, const char *path, int steps)
{
    for (int64_t i = 0; i < b->dims[0]; i++) {
        if (!(b->t[i] >= 0) || !(b->t[i] <= (dmq_real)(steps - 1))) {
            return dmq_fail(DMQ_EDATA, "%s: t of sample %lld is %g: must be 0..%d", path,
                            (long long)i, (double)b->t[i], steps - 1);
        }
    }
    return DMQ_OK;
}

static dmq_status write(const dmq_forward_batch *b, const dmq_experiment *e, const char *path)
{
    dmq_h5 *file = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_h5_open(&file, path, DMQ_H5_WRITE));
    DMQ_TRY(dmq_h5_format_set(file, "dmq-forward", 1));
    DMQ_TRY(dmq_h5_attr_set_text(file, "/", "model_sha256", e->model_hash));
    DMQ_TRY(dmq_h5_write_real(file, "eps", 4, b->dims, b->eps));
    DMQ_TRY(dmq_h5_write_real(file, "t", DMQ_DIMS(b->dims[0]), b->t));
    DMQ_TRY(dmq_h5_commit(file));
done:
    dmq_h5_close(file);
    return st;
}

dmq_status dmq_cmd_forward(const dmq_options *o)
{
    dmq_config *config = NULL;
    dmq_experiment *e = NULL;
    dmq_forward_batch b = { 0 };
    dmq_forward_args args;
    dmq_status st = DMQ_OK;

    if (!o->input || !o->out) {
        return dmq_fail(DMQ_EUSAGE, "dmq forward needs --input FILE (x and t) and -o FILE.h5\n"
                                    "  hint: dmq forward --help");
    }
    if (dmq_file_exists(o->out) && !o->overwrite)
        return dmq_fail(DMQ_EEXIST, "%s is there already\n  hint: --overwrite replaces it", o->out);
    DMQ_TRY(dmq_setup_config(&config, o));
    DMQ_TRY(dmq_experiment_open(&e, config, o->device, o->threads));
    DMQ_TRY(dmq_forward_batch_read(&b, e->model, o->input, "--input"));
    DMQ_TRY(check_times(&b, o->input, e->schedule->T));
    args = (dmq_forward_args){
        .x = b.x, .t = b.t, .label = b.label, .out = b.eps, .n = (int)b.dims[0]
    };
    DMQ_TRY(dmq_forward_run(e->model, NULL, e->lanes, &args));
    DMQ_TRY(write(&b, e, o->out));
    dmq_log_info("forward: %d samples -> %s", args.n, o->out);
done:
    dmq_forward_batch_release(&b);
    dmq_experiment_close(e);
    dmq_config_destroy(config);
    return st;
}
