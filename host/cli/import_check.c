#include "cli/import_check.h"

#include "base/memory.h"
#include "cli/batch_file.h"
#include "diffusion/forward.h"
#include "io/checkpoint.h"
#include "kernels/noise.h"
#include "model/decode.h"
#include "model/inception.h"
#include "tensor/layout.h"

#include <math.h>
#include <string.h>

enum { TIMES = 3, SEED = 0 };

/* Of one output: figures that a person can compare with those of another program. name NULL, t < 0: it has none. */
static dmq_status tell(dmq_json *list, const char *name, double t, const dmq_real *y, size_t n)
{
    double sum = 0, squares = 0, least = (double)y[0], greatest = (double)y[0];
    dmq_status st = DMQ_OK;
    dmq_json *entry;

    for (size_t i = 0; i < n; i++) {
        sum += (double)y[i];
        least = fmin(least, (double)y[i]);
        greatest = fmax(greatest, (double)y[i]);
    }
    for (size_t i = 0; i < n; i++)
        squares += ((double)y[i] - sum / (double)n) * ((double)y[i] - sum / (double)n);
    DMQ_TRY(dmq_json_add_object(&entry, list));
    if (name)
        DMQ_TRY(dmq_json_set_text(entry, "of", name));
    if (t >= 0)
        DMQ_TRY(dmq_json_set_real(entry, "t", t));
    DMQ_TRY(dmq_json_set_real(entry, "mean", sum / (double)n));
    DMQ_TRY(dmq_json_set_real(entry, "std", sqrt(squares / (double)n)));
    DMQ_TRY(dmq_json_set_real(entry, "min", least));
    DMQ_TRY(dmq_json_set_real(entry, "max", greatest));
done:
    return st;
}

/* n samples of the shape of the network's input, as files order them: the same everywhere. */
static dmq_status draw(dmq_real *x, const dmq_model *model, int n)
{
    return dmq_noise_normal_ref(NULL, &(dmq_noise_args){ .out = x,
                                                         .n = n,
                                                         .per = dmq_shape_count(model->input),
                                                         .seed = SEED,
                                                         .purpose = DMQ_FOR_TEST });
}

/* The image of one latent of noise. */
static dmq_status check_decoder(dmq_json *report, dmq_model *model, dmq_lanes *lanes)
{
    size_t n = dmq_shape_count(dmq_decoder_image(model));
    dmq_real *z = NULL, *nhwc = NULL, *image = NULL;
    const int *d = model->input.dim;
    dmq_decode *decode = NULL;
    dmq_status st = DMQ_OK;
    dmq_json *list;

    DMQ_TRY(dmq_alloc((void **)&z, dmq_shape_count(model->input), sizeof *z));
    DMQ_TRY(dmq_alloc((void **)&nhwc, dmq_shape_count(model->input), sizeof *nhwc));
    DMQ_TRY(dmq_alloc((void **)&image, n, sizeof *image));
    DMQ_TRY(draw(z, model, 1));
    dmq_nhwc_from_nchw(nhwc, z, 1, d[3], d[1], d[2]);
    DMQ_TRY(dmq_model_place(model, lanes));
    DMQ_TRY(dmq_decode_create(&decode, model, 1, lanes));
    DMQ_TRY(dmq_decode_run(decode, image, nhwc, 1, NULL, NULL));
    DMQ_TRY(dmq_json_set_array(&list, report, "check"));
    DMQ_TRY(tell(list, NULL, -1, image, n));
done:
    dmq_decode_destroy(decode);
    dmq_free(z);
    dmq_free(nhwc);
    dmq_free(image);
    return st;
}

/* Pool, spatial features and logits of one image of noise. */
static dmq_status check_inception(dmq_json *report, dmq_model *model, dmq_lanes *lanes)
{
    static const char *const name[] = { "pool", "spatial", "logits" };
    const dmq_backend *be = dmq_lanes_backend(lanes);
    dmq_queue *queue = dmq_lanes_queue(lanes, 0);
    size_t n = dmq_shape_count(model->input);
    dmq_real *x = NULL, *nhwc = NULL;
    const int *d = model->input.dim;
    dmq_inception_vars v;
    dmq_tape *tape = NULL;
    dmq_status st = DMQ_OK;
    dmq_json *list;
    dmq_var *in;

    DMQ_TRY(dmq_alloc((void **)&x, n, sizeof *x));
    DMQ_TRY(dmq_alloc((void **)&nhwc, n, sizeof *nhwc));
    DMQ_TRY(draw(x, model, 1));
    dmq_nhwc_from_nchw(nhwc, x, 1, d[3], d[1], d[2]);
    DMQ_TRY(dmq_model_place(model, lanes));
    DMQ_TRY(dmq_tape_create(&tape, be, DMQ_TAPE_FORWARD));
    in = dmq_tape_input(tape, "x", model->input);
    v = dmq_inception_record(model, tape, in);
    dmq_tape_output(tape, v.pool);
    dmq_tape_output(tape, v.spatial);
    dmq_tape_output(tape, v.logits);
    DMQ_TRY(dmq_tape_plan(tape));
    DMQ_TRY(be->upload(queue, in->value, nhwc, n * sizeof *nhwc));
    DMQ_TRY(dmq_tape_forward(tape, queue, DMQ_PART_ALL));
    DMQ_TRY(dmq_json_set_array(&list, report, "check"));
    for (int i = 0; i < 3; i++) {
        const dmq_var *out = i == 0 ? v.pool : i == 1 ? v.spatial : v.logits;
        size_t count = dmq_shape_count(out->shape);

        DMQ_TRY(be->download(queue, x, out->value, count * sizeof *x));
        DMQ_TRY(be->sync(queue));
        DMQ_TRY(tell(list, name[i], -1, x, count));
    }
done:
    dmq_tape_destroy(tape);
    dmq_free(x);
    dmq_free(nhwc);
    return st;
}

/* The noise that the network makes of x, both in the order of files. */
static dmq_status run(dmq_real *eps, dmq_model *model, dmq_lanes *lanes, const dmq_real *x,
                      const dmq_real *t, const int *label, int n)
{
    size_t count = (size_t)n * dmq_shape_count(model->input);
    const int *d = model->input.dim;
    dmq_real *in = NULL, *out = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&in, count, sizeof *in));
    DMQ_TRY(dmq_alloc((void **)&out, count, sizeof *out));
    dmq_nhwc_from_nchw(in, x, n, d[3], d[1], d[2]);
    DMQ_TRY(dmq_model_place(model, lanes));
    DMQ_TRY(dmq_forward_run(
        model, NULL, lanes,
        &(dmq_forward_args){ .x = in, .t = t, .label = label, .out = out, .n = n, .nhwc = 1 }));
    dmq_nchw_from_nhwc(eps, out, n, d[3], d[1], d[2]);
done:
    dmq_free(in);
    dmq_free(out);
    return st;
}

dmq_status dmq_import_check(dmq_json *report, dmq_model *model, int steps, dmq_lanes *lanes)
{
    const int middle = steps / 2;
    const dmq_real t[TIMES] = { 1, (dmq_real)middle, (dmq_real)(steps - 1) };
    const int label[TIMES] = { 0, 0, 0 };
    size_t per = dmq_shape_count(model->input);
    dmq_real *x = NULL, *y = NULL;
    dmq_status st = DMQ_OK;
    dmq_json *list;

    if (dmq_decoder_is(model))
        return check_decoder(report, model, lanes);
    if (dmq_inception_is_folded(model))
        return check_inception(report, model, lanes);
    if (!dmq_forward_fits(model)) {
        return dmq_json_set_text(report, "check",
                                 "not made: no network from x and t to a noise like x");
    }
    DMQ_TRY(dmq_alloc((void **)&x, TIMES * per, sizeof *x));
    DMQ_TRY(dmq_alloc((void **)&y, TIMES * per, sizeof *y));
    DMQ_TRY(draw(x, model, TIMES));
    DMQ_TRY(run(y, model, lanes, x, t, model->n_labels > 0 ? label : NULL, TIMES));
    DMQ_TRY(dmq_json_set_array(&list, report, "check"));
    for (int i = 0; i < TIMES; i++)
        DMQ_TRY(tell(list, NULL, (double)t[i], y + (size_t)i * per, per));
done:
    dmq_free(x);
    dmq_free(y);
    return st;
}

/* eps of the file, as many numbers as x. */
static dmq_status read_wanted(float **out, const dmq_forward_batch *b, const char *path)
{
    dmq_checkpoint *file = NULL;
    dmq_status st = DMQ_OK;
    const dmq_stored *eps;

    *out = NULL;
    DMQ_TRY(dmq_checkpoint_open(&file, path, 1));
    eps = dmq_table_find(dmq_checkpoint_table(file), "eps");
    if (!eps || eps->rank != 4 || memcmp(eps->dims, b->dims, sizeof b->dims) != 0) {
        st = dmq_fail(DMQ_ESHAPE, "%s: must hold eps, of the shape of x", path);
        goto done;
    }
    DMQ_TRY(dmq_alloc((void **)out, (size_t)eps->count, sizeof **out));
    DMQ_TRY(dmq_checkpoint_read_f32(*out, file, eps));
done:
    dmq_checkpoint_close(file);
    return st;
}

dmq_status dmq_import_compare(dmq_json *report, dmq_model *model, const char *path,
                              dmq_lanes *lanes)
{
    dmq_forward_batch b = { 0 };
    double difference = 0, length = 0, distance;
    dmq_status st = DMQ_OK;
    float *wanted = NULL;
    size_t n;

    if (!dmq_forward_fits(model)) {
        return dmq_fail(DMQ_EUSAGE, "--reference %s: this network makes no noise of x and t", path);
    }
    DMQ_TRY(dmq_forward_batch_read(&b, model, path, "--reference"));
    DMQ_TRY(read_wanted(&wanted, &b, path));
    DMQ_TRY(run(b.eps, model, lanes, b.x, b.t, b.label, (int)b.dims[0]));
    n = (size_t)b.dims[0] * dmq_shape_count(model->input);
    for (size_t i = 0; i < n; i++) {
        double d = (double)b.eps[i] - (double)wanted[i];

        difference += d * d;
        length += (double)wanted[i] * (double)wanted[i];
    }
    distance = sqrt(difference / fmax(length, 1e-300));
    if (!(distance <= DMQ_IMPORT_TOLERANCE)) { /* a NaN is beyond it, too */
        st = dmq_fail(
            DMQ_EDATA,
            "%s: the network's output is %.3g away from eps (relative L2), %.3g is allowed", path,
            distance, DMQ_IMPORT_TOLERANCE);
        st = dmq_fail_note(
            st, "  hint: is it of the same weights (averaged or not), the same settings, "
                "and computed in FP32?");
        goto done;
    }
    DMQ_TRY(dmq_json_set_real(report, "reference_distance", distance));
done:
    dmq_forward_batch_release(&b);
    dmq_free(wanted);
    return st;
}
