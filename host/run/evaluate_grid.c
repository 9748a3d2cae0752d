/* evaluate: grid-fp.png and grid.png */
#include "run/evaluate_inner.h"

#include "base/log.h"
#include "base/memory.h"
#include "io/png.h"

#include <math.h>

static dmq_status draw(const dmq_evaluating *v, const dmq_images_file *file, const char *name,
                       int n)
{
    dmq_picture picture = { 0 };
    dmq_images im = { 0 };
    char *path = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_folder_file(&path, v->job->folder, name));
    DMQ_TRY(dmq_images_read(&im, file, 0, n));
    dmq_images_export(im.data, im.data, (size_t)n * dmq_shape_count(im.one), v->levels);
    DMQ_TRY(dmq_png_grid(&picture, im.data, n, im.one.dim[1], im.one.dim[2], im.one.dim[3],
                         (int)ceil(sqrt(n)), 2, im.one.dim[1] < 32 ? 3 : 2));
    DMQ_TRY(dmq_png_save(path, &picture, NULL, 0));
done:
    dmq_picture_release(&picture);
    dmq_images_release(&im);
    dmq_free(path);
    return st;
}

dmq_status dmq_evaluate_grid(dmq_evaluating *v)
{
    int count = dmq_config_int(v->config, "sample.grid"), channels = v->q.one.dim[3];
    int n = count < v->q.n ? count : v->q.n;
    dmq_status st = DMQ_OK;

    if (channels != 1 && channels != 3 &&
        count > 0) { /* latents, with no first stage behind them */
        dmq_log_warn("no-grid", "evaluate: samples have %d channels, 1 or 3 can be drawn",
                     channels);
        return DMQ_OK;
    }
    if (n > 0) {
        DMQ_TRY(draw(v, &v->fp, "grid-fp.png", n));
        DMQ_TRY(draw(v, &v->q, "grid.png", n));
    }
done:
    return st;
}
