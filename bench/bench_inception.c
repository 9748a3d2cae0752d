/*
 * Features of the Inception network of the FID, made-up weights, from 8-bit levels in host memory to pool, spatial
 * ones and logits there: what evaluate asks of an extractor. Beside bench/reference/inception.py, and
 * reference/device/inception.py of a device.
 *
 *   bench_inception [--backend cpu] [--threads 2] [--batch 16] [--size 299] [--reps 20] [--ms 200] [--check 1]
 *                   [--clock wall|cpu] [--profile 0] [--precision fp32|tf32] [--count 0] [--shard 0]
 *
 * A device is given 256 images of 32x32, as of CIFAR-10, unless told otherwise: evaluate reads them so.
 *
 * The error is that of the first image's pool against the reference backend (of a device: cpu). Images a second
 * and products a second, counted by the definition, go to stderr.
 */
#include "bench.h"
#include "setup.h"

#include "base/memory.h"
#include "eval/extractor.h"
#include "model/inception.h"
#include "model/model_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct features {
    dmq_model *model;
    dmq_extractor *extractor;
    uint8_t *images;
    float *pool, *spatial, *logits;
    int batch, size;
} features;

static size_t per_image(const features *f)
{
    return (size_t)f->size * (size_t)f->size * 3;
}

static dmq_status run(void *context)
{
    const features *f = context;

    return dmq_extractor_run(f->extractor, f->pool, f->spatial, f->logits, f->images, f->batch,
                             f->size, f->size);
}

/* Normal weights that keep the size of what passes through them; biases are small. */
static dmq_status make_up(dmq_model **out)
{
    dmq_status st = DMQ_OK;
    dmq_model *m = NULL;

    DMQ_TRY(dmq_inception_create(&m, 1));
    for (int i = 0; i < m->n_entries; i++) {
        const dmq_entry *e = &m->entry[i];
        size_t count = dmq_shape_count(e->shape), per = count / (size_t)e->shape.dim[0];
        float *w = m->params + e->offset;
        float size = e->shape.rank > 1 ? sqrtf(2.0f / (float)per) : 0.1f;

        bench_fill(w, count, (unsigned)i + 1);
        for (size_t k = 0; k < count; k++)
            w[k] *= size;
    }
    *out = m;
    m = NULL;
done:
    dmq_model_destroy(m);
    return st;
}

/* By way of a file, which is gone when the extractor has read it. */
static dmq_status open_extractor(features *f, dmq_lanes *lanes)
{
    const char *folder = getenv("TMPDIR");
    dmq_model_info info = { .training = "bench_inception" };
    char path[512];
    dmq_status st = DMQ_OK;

    (void)snprintf(path, sizeof path, "%s/bench_inception.%ld.h5", folder ? folder : "/tmp",
                   (long)getpid());
    DMQ_TRY(dmq_model_save(f->model, &info, path, 0));
    st = dmq_extractor_open(&f->extractor, path, DMQ_RESIZE_TF1, lanes);
    (void)remove(path);
done:
    return st;
}

static dmq_status open_features(features *f, dmq_lanes *lanes)
{
    dmq_status st = DMQ_OK;
    size_t n = (size_t)f->batch;

    DMQ_TRY(make_up(&f->model));
    DMQ_TRY(open_extractor(f, lanes));
    DMQ_TRY(dmq_alloc((void **)&f->images, n, per_image(f)));
    DMQ_TRY(dmq_alloc((void **)&f->pool, n, DMQ_INCEPTION_POOL * sizeof *f->pool));
    DMQ_TRY(dmq_alloc((void **)&f->spatial, n, DMQ_INCEPTION_SPATIAL * sizeof *f->spatial));
    DMQ_TRY(dmq_alloc((void **)&f->logits, n, DMQ_INCEPTION_CLASSES * sizeof *f->logits));
    for (size_t i = 0; i < n * per_image(f); i++)
        f->images[i] = (uint8_t)(i * 2654435761U >> 13);
done:
    return st;
}

static void close_features(features *f)
{
    dmq_extractor_close(f->extractor);
    dmq_model_destroy(f->model);
    dmq_free(f->images);
    dmq_free(f->pool);
    dmq_free(f->spatial);
    dmq_free(f->logits);
}

/* The first image by another backend, and the multiply-adds of one. */
static dmq_status compare(double *error, double *macs, const features *f, const dmq_backend *judge,
                          int check)
{
    dmq_shape shape = dmq_shape4(1, DMQ_INCEPTION_SIZE, DMQ_INCEPTION_SIZE, 3);
    dmq_queue *queue = NULL;
    dmq_tape *tape = NULL;
    dmq_inception_vars v;
    dmq_var *x;
    dmq_status st = DMQ_OK;
    double bytes;

    DMQ_TRY(judge->queue_create(&queue, 0));
    DMQ_TRY(dmq_tape_create(&tape, judge, DMQ_TAPE_FORWARD));
    x = dmq_tape_input(tape, "x", shape);
    v = dmq_inception_record(f->model, tape, x);
    dmq_tape_output(tape, v.pool);
    dmq_tape_output(tape, v.logits);
    DMQ_TRY(dmq_tape_plan(tape));
    dmq_tape_cost(tape, macs, &bytes);
    if (!check)
        goto done;
    DMQ_TRY(dmq_resize_levels_ref(queue, &(dmq_resize_args){ .rule = DMQ_RESIZE_TF1,
                                                             .x = f->images,
                                                             .y = x->value,
                                                             .n = 1,
                                                             .h = f->size,
                                                             .wd = f->size,
                                                             .c = 3,
                                                             .ho = DMQ_INCEPTION_SIZE,
                                                             .wo = DMQ_INCEPTION_SIZE,
                                                             .unit = 1,
                                                             .alpha = (dmq_real)1 / 128,
                                                             .beta = -1 }));
    DMQ_TRY(dmq_tape_forward(tape, queue, DMQ_PART_ALL));
    *error = bench_error(f->pool, v.pool->value, DMQ_INCEPTION_POOL);
done:
    dmq_tape_destroy(tape);
    judge->queue_destroy(queue);
    return st;
}

int main(int argc, char **argv)
{
    features f = { 0 };
    bench_setup setup;
    bench_result result;
    bench_case c;
    char shape[32];
    double macs = 0;
    dmq_status st = DMQ_OK;

    DMQ_TRY(bench_setup_open(&setup, "bench_inception", argc, argv));
    f.batch = atoi(bench_option(argc, argv, "--batch", setup.be->host_memory ? "16" : "256"));
    f.size = atoi(bench_option(argc, argv, "--size", setup.be->host_memory ? "299" : "32"));
    (void)snprintf(shape, sizeof shape, "inception/b%d", f.batch);
    if (!bench_setup_wants(&setup, shape))
        goto done;
    c = bench_setup_case(&setup, "forward", shape, run, &f);
    DMQ_TRY(open_features(&f, setup.lanes));
    if (setup.check)
        DMQ_TRY(run(&f));
    DMQ_TRY(compare(&c.worst_error, &macs, &f, bench_setup_judge(&setup), setup.check));
    if (setup.check)
        DMQ_TRY(bench_setup_within(&setup, &c, 1e-5));
    c.flop = 2 * macs * f.batch;
    DMQ_TRY(bench_setup_measure(&result, &setup, &c));
    if (setup.count)
        goto done;
    (void)fprintf(
        stderr,
        "# %s: %.3f GMAC an image, %.2f images/s at best, %.2f at the median, %.0f GMAC/s\n", shape,
        macs * 1e-9, f.batch / result.min_us * 1e6, f.batch / result.median_us * 1e6,
        macs * f.batch / result.min_us * 1e-3);
done:
    close_features(&f);
    return bench_setup_close(&setup, st);
}
