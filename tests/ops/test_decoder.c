/*
 * The first-stage decoders against PyTorch: codes and images.
 *
 *   test_decoder BACKEND             the small decoders of golden/decoder.h5
 *   test_decoder BACKEND KIND FILE   the released shape: golden/make_decoder.py --full KIND FILE
 */
#include "base/clock.h"
#include "model/decode.h"
#include "model/model_file.h"
#include "network_test.h"
#include "tensor/layout.h"

#include <math.h>
#include <sys/resource.h>

static const dmq_decoder_config small_vq = {
    .resolution = 16,
    .out_channels = 3,
    .ch = 8,
    .ch_mult = { 1, 2, 4 },
    .n_levels = 3,
    .num_res_blocks = 1,
    .z_channels = 3,
    .embed_dim = 3,
    .n_embed = 100,
    .norm_groups = 4,
    .norm_eps = 1e-6,
};

static const dmq_decoder_config small_kl = {
    .resolution = 8,
    .out_channels = 3,
    .ch = 8,
    .ch_mult = { 1, 2, 2 },
    .n_levels = 3,
    .num_res_blocks = 2,
    .z_channels = 5,
    .embed_dim = 4,
    .norm_groups = 8,
    .norm_eps = 1e-6,
};

static const char *path = DMQ_GOLDEN_DIR "/decoder.h5";
static const char *full; /* "vq" or "kl", NULL: the small ones */

/** An array (n, c, h, w) of the file, in memory order; one: (1, h, w, c). */
static dmq_real *images(const char *kind, const char *what, int n, dmq_shape one)
{
    size_t count = (size_t)n * dmq_shape_count(one);
    int h = one.dim[1], w = one.dim[2], c = one.dim[3];
    dmq_real *in = reals(count), *out = reals(count);
    char name[32];

    (void)snprintf(name, sizeof name, "%s_%s", kind, what);
    OK(dmq_h5_read_real(in, file, name, DMQ_DIMS(n, c, h, w)));
    dmq_nhwc_from_nchw(out, in, n, c, h, w);
    dmq_free(in);
    return out;
}

static void same(const char *what, const dmq_real *a, const dmq_real *b, size_t n)
{
    double difference = 0, norm = 0, most = 0;

    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - (double)b[i]);

        difference += d * d;
        norm += (double)b[i] * (double)b[i];
        most = d > most ? d : most;
    }
    printf("  %-32s relative L2 %.1e, at most %.1e off\n", what, sqrt(difference / norm), most);
    if (!(sqrt(difference / norm) <= 1e-5) || !(most <= 1e-3)) {
        fail_msg("%s: relative L2 %.2e, may be 1e-5; %.2e off, may be 1e-3", what,
                 sqrt(difference / norm), most);
    }
}

static dmq_model *model_of(const char *kind)
{
    const dmq_decoder_config *vq = full ? &dmq_decoder_vq_f4 : &small_vq;
    const dmq_decoder_config *kl = full ? &dmq_decoder_kl_f8 : &small_kl;
    dmq_model *m = NULL;

    OK(dmq_decoder_create(&m, strcmp(kind, "vq") == 0 ? vq : kl));
    OK(dmq_model_block_read(m->params, file, kind, m));
    OK(dmq_model_place(m, lanes));
    return m;
}

static void decode_equals_pytorch(const char *kind)
{
    int n = full ? 1 : 3;
    dmq_model *m = model_of(kind);
    dmq_shape image = dmq_decoder_image(m);
    size_t per = dmq_shape_count(image);
    dmq_real *z = images(kind, "z", n, m->input), *want = images(kind, "image", n, image);
    dmq_real *got = reals((size_t)n * per);
    dmq_decode *d = NULL;
    struct rusage used, before;
    double start;

    OK(dmq_decode_create(&d, m, 1, lanes));
    (void)getrusage(RUSAGE_SELF, &before);
    start = dmq_clock_seconds();
    OK(dmq_decode_run(d, got, z, n, NULL, NULL));
    (void)getrusage(RUSAGE_SELF, &used);
    printf("  %s: %.2f s, %.2f s of a core; tape %.1f MiB, weights %.1f MiB, peak %.0f MiB, %.0f "
           "before\n",
           kind, dmq_clock_seconds() - start,
           (double)(used.ru_utime.tv_sec - before.ru_utime.tv_sec) +
               (double)(used.ru_utime.tv_usec - before.ru_utime.tv_usec) * 1e-6,
           (double)dmq_decode_bytes(d) / 1048576, (double)m->n_params * sizeof(dmq_real) / 1048576,
           (double)used.ru_maxrss / 1024, (double)before.ru_maxrss / 1024);
    same(kind, got, want, (size_t)n * per);
    dmq_decode_destroy(d);
    dmq_model_destroy(m);
    dmq_free(z);
    dmq_free(want);
    dmq_free(got);
}

static void vq_equals_pytorch(void **state)
{
    (void)state;
    if (full && strcmp(full, "vq") != 0)
        skip();
    decode_equals_pytorch("vq");
}

static void kl_equals_pytorch(void **state)
{
    (void)state;
    if (full && strcmp(full, "kl") != 0)
        skip();
    decode_equals_pytorch("kl");
}

/* What stands in front of post_quant_conv is the code that PyTorch chose, at every pixel. */
static void codes_equal_pytorch(void **state)
{
    dmq_model *m;
    dmq_real *z, *got;
    int *index = NULL, n = full ? 1 : 3, pixels, differ = 0;
    dmq_var *in, *quantized;
    dmq_tape *tape = NULL;
    dmq_shape shape;
    const dmq_real *code;

    (void)state;
    if (full && strcmp(full, "vq") != 0)
        skip();
    m = model_of("vq");
    shape = m->input;
    code = m->params + dmq_model_entry(m, "quantize.embedding.weight")->offset;
    z = images("vq", "z", n, m->input);
    shape.dim[0] = n;
    pixels = n * shape.dim[1] * shape.dim[2];
    got = reals(dmq_shape_count(shape));
    OK(dmq_alloc((void **)&index, (size_t)pixels, sizeof *index));
    OK(dmq_h5_read_i32(index, file, "vq_index", DMQ_DIMS(n, shape.dim[1], shape.dim[2])));
    OK(dmq_tape_create(&tape, backend, DMQ_TAPE_FORWARD));
    in = dmq_tape_input(tape, "z", shape);
    assert_non_null(dmq_decoder_record(m, tape, in, &quantized));
    dmq_tape_output(tape, quantized);
    OK(dmq_tape_plan(tape));
    OK(backend->upload(queue, in->value, z, dmq_shape_count(shape) * sizeof *z));
    OK(dmq_tape_forward(tape, queue, DMQ_PART_ALL));
    OK(backend->download(queue, got, quantized->value, dmq_shape_count(shape) * sizeof *got));
    OK(backend->sync(queue));
    for (size_t i = 0; i < (size_t)pixels; i++) {
        for (size_t k = 0; k < 3; k++)
            differ += got[3 * i + k] != code[3 * (size_t)index[i] + k];
    }
    printf("  %d numbers of %d codes differ\n", differ, pixels);
    assert_int_equal(differ, 0);
    dmq_tape_destroy(tape);
    dmq_model_destroy(m);
    dmq_free(z);
    dmq_free(got);
    dmq_free(index);
}

/* One image has the same bits alone, among others, and on two lanes; the scale divides. */
static void bits_do_not_depend_on_the_batch(void **state)
{
    dmq_model *m;
    dmq_real *z, *all, *one;
    size_t per, latent;
    dmq_decode *d = NULL, *scaled = NULL;
    dmq_lanes *two = NULL;

    (void)state;
    if (full)
        skip();
    m = model_of("kl");
    per = dmq_shape_count(dmq_decoder_image(m));
    latent = dmq_shape_count(m->input);
    z = images("kl", "z", 3, m->input);
    all = reals(3 * per);
    one = reals(per);
    OK(dmq_decode_create(&d, m, 1, lanes));
    OK(dmq_decode_run(d, all, z, 3, NULL, NULL));
    for (int i = 0; i < 3; i++) {
        OK(dmq_decode_run(d, one, z + (size_t)i * latent, 1, NULL, NULL));
        assert_memory_equal(one, all + (size_t)i * per, per * sizeof *one);
    }
    dmq_decode_destroy(d);
    OK(dmq_lanes_create(&two, backend, 2));
    for (size_t i = 0; i < 3 * latent; i++)
        z[i] *= (dmq_real)0.5;
    OK(dmq_decode_create(&scaled, m, 0.5, two));
    OK(dmq_decode_run(scaled, one, z + 2 * latent, 1, NULL, NULL));
    assert_memory_equal(one, all + 2 * per, per * sizeof *one);
    z[2] = (dmq_real)NAN;
    assert_int_equal(dmq_decode_run(scaled, one, z, 1, NULL, NULL), DMQ_EDIVERGE);
    assert_non_null(strstr(dmq_message(), "image 0"));
    dmq_decode_destroy(scaled);
    dmq_lanes_destroy(two);
    dmq_model_destroy(m);
    dmq_free(z);
    dmq_free(all);
    dmq_free(one);
}

static int set_up(void **state)
{
    (void)state;
    network_open(path);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    network_close();
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vq_equals_pytorch),
        cmocka_unit_test(kl_equals_pytorch),
        cmocka_unit_test(codes_equal_pytorch),
        cmocka_unit_test(bits_do_not_depend_on_the_batch),
    };
    const char *name = argc > 1 ? argv[1] : "ref";
    int failed;

    if (argc > 3) {
        full = argv[2];
        path = argv[3];
    }
    failed = network_backend(name);
    if (failed)
        return failed;
    failed = cmocka_run_group_tests(tests, set_up, tear_down);
    backend->queue_destroy(queue);
    return failed;
}
