/* Inception of the FID: its features with made-up weights are PyTorch's, from the published form to the extractor. */
#include "base/memory.h"
#include "eval/extractor.h"
#include "io/h5.h"
#include "model/features.h"
#include "model/inception.h"
#include "model/model_file.h"

#include <math.h>

#include "unit/recorder.h"
#include "unit/scratch.h"

#define OK(call)                                      \
    do {                                              \
        dmq_status status_of_call = (call);           \
        if (status_of_call != DMQ_OK)                 \
            fail_msg("%s: %s", #call, dmq_message()); \
    } while (0)

enum { SMALL = 32, LARGE = 256, SEVERAL = 2 };

static dmq_lanes *lanes;
static dmq_h5 *golden;

/* ------------------------------------------------------------------ what make_inception.py makes up, too */

static uint32_t seed_of(const char *name)
{
    uint32_t seed = 2166136261U;

    for (; *name; name++)
        seed = (seed ^ (uint8_t)*name) * 16777619U;
    return seed;
}

/* The i-th number of [0, 1) of a seed. */
static float uniform(uint32_t seed, size_t i)
{
    uint32_t x = (uint32_t)i * 0x9E3779B9U + seed;

    x = (x ^ (x >> 16)) * 0x85EBCA6BU;
    x = (x ^ (x >> 13)) * 0xC2B2AE35U;
    x = x ^ (x >> 16);
    return (float)(x >> 8) * 0x1p-24F;
}

static int ends(const char *name, const char *with)
{
    size_t n = strlen(name), m = strlen(with);

    return n >= m && strcmp(name + n - m, with) == 0;
}

/* A published tensor, counted as files order it. */
static void make_up(dmq_real *value, const dmq_entry *e)
{
    uint32_t seed = seed_of(e->name);
    int64_t d[4] = { 1, 1, 1, 1 };
    size_t n = dmq_shape_count(e->shape), rank = (size_t)dmq_entry_dims(d, e);
    size_t c = (size_t)d[1], area = (size_t)(d[2] * d[3]);
    float size = (float)sqrt(6.0 / (double)(n / (size_t)d[0]));

    for (size_t i = 0; i < n; i++) {
        float u = uniform(seed, i);

        if (rank >
            1) { /* i = (k c + channel) area + pixel, in memory (k area + pixel) c + channel */
            size_t k = i / (c * area), channel = i / area % c, pixel = i % area;

            value[(k * area + pixel) * c + channel] = (2 * u - 1) * size;
        } else if (ends(e->name, "bn.weight")) {
            value[i] = 0.75F + u * 0.5F;
        } else if (ends(e->name, "running_var")) {
            value[i] = 0.5F + u;
        } else {
            value[i] = (u - 0.5F) * 0.5F;
        }
    }
}

static uint8_t *make_images(int n, int size)
{
    size_t count = (size_t)n * (size_t)size * (size_t)size * 3;
    void *memory = NULL;
    uint8_t *image;
    uint32_t seed;
    char name[32];

    (void)snprintf(name, sizeof name, "images %d", size);
    seed = seed_of(name);
    OK(dmq_alloc(&memory, count, 1));
    image = memory;
    for (size_t i = 0; i < count; i++) {
        size_t side = (size_t)size, c = i % 3, x = i / 3 % side, y = i / 3 / side % side;
        size_t slope = (i / 3 / side / side * 37 + y * 256 / side + x * 128 / side + c * 40) % 192;

        image[i] = (uint8_t)(slope + (size_t)(uniform(seed, i) * 64));
    }
    return image;
}

/* The folded network as a file; training as an import writes it. */
static void make_file(const char *path, const char *training)
{
    char text[128];
    const dmq_model_info info = { .training = text };
    dmq_model *published = NULL, *folded = NULL;

    (void)snprintf(text, sizeof text, "%s", training);
    OK(dmq_inception_create(&published, 0));
    for (int i = 0; i < published->n_entries; i++)
        make_up(published->params + published->entry[i].offset, &published->entry[i]);
    OK(dmq_inception_fold(&folded, published));
    OK(dmq_model_save(folded, &info, path, 0));
    dmq_model_destroy(published);
    dmq_model_destroy(folded);
}

/* ------------------------------------------------------------------ the tests */

static float *numbers(size_t n)
{
    void *memory = NULL;

    OK(dmq_alloc(&memory, n, sizeof(float)));
    return memory;
}

/* Relative L2, and the greatest difference, of n numbers from those of the golden file. */
static void are_golden(const float *got, const char *group, const char *what, size_t n)
{
    float *want = numbers(n);
    double difference = 0, length = 0, most = 0;
    int64_t dims = (int64_t)n;
    char path[64];

    (void)snprintf(path, sizeof path, "%s/%s", group, what);
    OK(dmq_h5_read_f32(want, golden, path, 1, &dims));
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)got[i] - (double)want[i]);

        difference += d * d;
        length += (double)want[i] * (double)want[i];
        most = fmax(most, d);
    }
    printf("%-24s relative L2 %.2e, at most %.2e off\n", path, sqrt(difference / length), most);
    if (!(sqrt(difference / length) <= 1e-5 && most <= 1e-4))
        fail_msg("%s: relative L2 %.3g, at most %.3g off", path, sqrt(difference / length), most);
    dmq_free(want);
}

typedef struct outputs {
    float *pool, *spatial, *logits;
} outputs;

static outputs run(const dmq_extractor *x, const uint8_t *images, int n, int size)
{
    outputs o = { numbers((size_t)(n * x->pool)), numbers((size_t)(n * x->spatial)),
                  numbers((size_t)(n * x->classes)) };

    OK(dmq_extractor_run(x, o.pool, o.spatial, o.logits, images, n, size, size));
    return o;
}

static void release(outputs *o)
{
    dmq_free(o->pool);
    dmq_free(o->spatial);
    dmq_free(o->logits);
}

static void features_are_pytorchs(void **state)
{
    static const char *const rule[] = { "tf1", "half_pixel" };
    static const int sizes[] = { SMALL, LARGE }, count[] = { SEVERAL, 1 };

    (void)state;
    for (int r = 0; r < 2; r++) {
        dmq_extractor *x = NULL;

        OK(dmq_extractor_open(&x, in_folder("published.h5"), (dmq_resize)r, lanes));
        for (int i = 0; i < 2; i++) {
            uint8_t *images = make_images(count[i], sizes[i]);
            outputs o = run(x, images, count[i], sizes[i]);
            char group[32];

            (void)snprintf(group, sizeof group, "%s_%d", rule[r], sizes[i]);
            are_golden(o.pool, group, "pool", (size_t)(count[i] * x->pool));
            are_golden(o.spatial, group, "spatial", (size_t)(count[i] * x->spatial));
            are_golden(o.logits, group, "logits", (size_t)(count[i] * x->classes));
            release(&o);
            dmq_free(images);
        }
        dmq_extractor_close(x);
    }
}

/* Five images at once, and the last two again, which a pass of four has parted: the same bits, what is not wanted
   is left out. */
static void a_cut_of_a_set_changes_no_bit(void **state)
{
    uint8_t *images = make_images(5, SMALL);
    dmq_extractor *x = NULL;
    float *pool = numbers((size_t)(2 * DMQ_INCEPTION_POOL));
    outputs all;

    (void)state;
    OK(dmq_extractor_open(&x, in_folder("published.h5"), DMQ_RESIZE_TF1, lanes));
    all = run(x, images, 5, SMALL);
    OK(dmq_extractor_run(x, pool, NULL, NULL, images + SMALL * SMALL * 9, 2, SMALL, SMALL));
    assert_memory_equal(pool, all.pool + (size_t)3 * DMQ_INCEPTION_POOL,
                        (size_t)2 * DMQ_INCEPTION_POOL * sizeof *pool);
    assert_memory_not_equal(all.pool + (size_t)3 * DMQ_INCEPTION_POOL,
                            all.pool + (size_t)4 * DMQ_INCEPTION_POOL,
                            (size_t)DMQ_INCEPTION_POOL * sizeof *pool);
    release(&all);
    dmq_free(pool);
    dmq_free(images);
    dmq_extractor_close(x);
}

static void an_id_tells_the_weights_and_the_resize(void **state)
{
    dmq_extractor *x = NULL;

    (void)state;
    OK(dmq_extractor_open(&x, in_folder("published.h5"), DMQ_RESIZE_TF1, lanes));
    assert_string_equal(x->id, "inception-2015-12-05/tf1-resize");
    assert_true(x->is_inception && x->pool == 2048 && x->spatial == 2023 && x->classes == 1008);
    OK(dmq_extractor_takes(x, 17, 400, 3));
    assert_int_equal(dmq_extractor_takes(x, 32, 32, 1), DMQ_ESHAPE);
    dmq_extractor_close(x);
    OK(dmq_extractor_open(&x, in_folder("published.h5"), DMQ_RESIZE_HALF_PIXEL, lanes));
    assert_string_equal(x->id, "inception-2015-12-05/half-pixel-resize");
    dmq_extractor_close(x);
    make_file(in_folder("other.h5"), "imported from PyTorch, zip\nnet.pth sha256 0726825d\n");
    OK(dmq_extractor_open(&x, in_folder("other.h5"), DMQ_RESIZE_TF1, lanes));
    assert_int_equal(strncmp(x->id, "inception-", 10), 0);
    assert_int_equal(strspn(x->id + 10, "0123456789abcdef"), 12);
    assert_string_equal(x->id + 22, "/tf1-resize");
    dmq_extractor_close(x);
    (void)remove(in_folder("other.h5"));
}

/* The small network takes the steps of dmq_features_run. */
static void a_small_network_keeps_its_bits(void **state)
{
    const dmq_features_config c = { .resolution = SMALL,
                                    .channels = 3,
                                    .classes = 10,
                                    .width = { 8, 16 },
                                    .n_stages = 2,
                                    .norm_groups = 4 };
    uint8_t *images = make_images(SEVERAL, SMALL);
    size_t count = (size_t)SEVERAL * SMALL * SMALL * 3;
    const dmq_model_info info = { 0 };
    dmq_extractor *x = NULL;
    dmq_model *m = NULL;
    float *levels = numbers(count), want[SEVERAL * 26], got[SEVERAL * 26];

    (void)state;
    OK(dmq_features_create(&m, &c));
    for (int i = 0; i < m->n_entries; i++)
        make_up(m->params + m->entry[i].offset, &m->entry[i]);
    OK(dmq_model_save(m, &info, in_folder("small.h5"), 0));
    OK(dmq_model_place(m, lanes));
    for (size_t i = 0; i < count; i++)
        levels[i] = (float)((double)images[i] / 255 * 2 - 1);
    OK(dmq_features_run(want, want + (ptrdiff_t)SEVERAL * 16, m, lanes, levels, SEVERAL));
    OK(dmq_extractor_open(&x, in_folder("small.h5"), DMQ_RESIZE_TF1, lanes));
    assert_true(!x->is_inception && x->pool == 16 && x->spatial == 0 && x->classes == 10);
    assert_int_equal(strncmp(x->id, "features-", 9), 0);
    assert_int_equal(strlen(x->id), 9 + 12);
    OK(dmq_extractor_run(x, got, NULL, got + (ptrdiff_t)SEVERAL * 16, images, SEVERAL, SMALL,
                         SMALL));
    assert_memory_equal(got, want, sizeof want);
    assert_int_equal(dmq_extractor_run(x, got, NULL, NULL, images, 1, LARGE, LARGE), DMQ_ESHAPE);
    dmq_extractor_close(x);
    dmq_model_destroy(m);
    dmq_free(levels);
    dmq_free(images);
}

/* Every allocation of a network that is made, and of an extractor that is opened and run, may be the last one. */
static void memory_may_run_out(void **state)
{
    uint8_t *images = make_images(SEVERAL, SMALL);
    float pool[SEVERAL * 16];
    dmq_status st = DMQ_ENOMEM;
    long n = 0;

    (void)state;
    for (; st != DMQ_OK; n++) {
        dmq_model *m = NULL;

        dmq_alloc_fail_at(n + 1);
        st = dmq_inception_create(&m, 1);
        dmq_alloc_fail_at(0);
        assert_true(st == DMQ_OK ? m != NULL : st == DMQ_ENOMEM && !m);
        dmq_model_destroy(m);
    }
    assert_true(n > 10);
    st = DMQ_ENOMEM;
    for (n = 0; st != DMQ_OK; n++) {
        dmq_extractor *x = NULL;

        dmq_alloc_fail_at(n + 1);
        st = dmq_extractor_open(&x, in_folder("small.h5"), DMQ_RESIZE_TF1, lanes);
        assert_true((st == DMQ_OK) == (x != NULL));
        if (st == DMQ_OK)
            st = dmq_extractor_run(x, pool, NULL, NULL, images, SEVERAL, SMALL, SMALL);
        dmq_alloc_fail_at(0);
        assert_true(st == DMQ_OK || st == DMQ_ENOMEM);
        dmq_extractor_close(x);
    }
    assert_true(n > 20);
    dmq_free(images);
}

/* A device records a pass once for images of a size. */
static void a_recorded_pass_has_the_same_bits(void **state)
{
    static const int sizes[] = { SMALL, LARGE }, count[] = { 3, 2 }, launches[] = { 2, 3 };
    dmq_backend be[2];
    outputs o[2][2];

    (void)state;
    recorder_under = dmq_backend_cpu();
    be[0] = be[1] = recorder();
    be[0].shard = be[1].shard = 1; /* an image a pass */
    be[0].capture_begin = NULL;
    for (int k = 0; k < 2; k++) {
        dmq_lanes *one = NULL;
        dmq_extractor *x = NULL;

        recorded.launches = 0;
        OK(dmq_lanes_create(&one, &be[k], 1));
        OK(dmq_extractor_open(&x, in_folder("published.h5"), DMQ_RESIZE_TF1, one));
        for (int i = 0; i < 2; i++) {
            uint8_t *images = make_images(count[i], sizes[i]);

            o[k][i] = run(x, images, count[i], sizes[i]);
            assert_int_equal(recorded.launches, k ? launches[i] : 0);
            dmq_free(images);
        }
        dmq_extractor_close(x);
        dmq_lanes_destroy(one);
        assert_int_equal(recorded.n, 0);
    }
    for (int i = 0; i < 2; i++) {
        size_t n = (size_t)count[i] * sizeof(float);

        assert_memory_equal(o[1][i].pool, o[0][i].pool, n * DMQ_INCEPTION_POOL);
        assert_memory_equal(o[1][i].spatial, o[0][i].spatial, n * DMQ_INCEPTION_SPATIAL);
        assert_memory_equal(o[1][i].logits, o[0][i].logits, n * DMQ_INCEPTION_CLASSES);
        release(&o[0][i]);
        release(&o[1][i]);
    }
}

static void totals_are_the_published_ones(void **state)
{
    dmq_inception_totals t;
    dmq_model *m = NULL, *folded = NULL;
    dmq_real *variance;

    (void)state;
    OK(dmq_inception_create(&m, 0));
    t = dmq_inception_totals_of(m);
    assert_int_equal(t.convolutions, 94);
    assert_int_equal(t.conv_weights, 21751136);
    assert_int_equal(t.norm_channels, 17216);
    assert_int_equal(t.learnable, 23850960);
    variance = m->params + dmq_model_entry(m, "Mixed_6a.branch3x3.bn.running_var")->offset;
    variance[3] = -1;
    assert_int_equal(dmq_inception_fold(&folded, m), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "Mixed_6a.branch3x3.bn.running_var[3] is -1"));
    dmq_model_destroy(m);
}

static int open_all(void **state)
{
    if (scratch_make(state) != 0)
        return -1;
    OK(dmq_h5_open(&golden, DMQ_GOLDEN_DIR "/inception.h5", DMQ_H5_READ));
    OK(dmq_lanes_create(&lanes, dmq_backend_cpu(), 0));
    make_file(in_folder("published.h5"), "imported from PyTorch, zip\nnet.pth sha256 6726825d\n");
    return 0;
}

static int close_all(void **state)
{
    dmq_lanes_destroy(lanes);
    dmq_h5_close(golden);
    return scratch_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(features_are_pytorchs),
        cmocka_unit_test(a_cut_of_a_set_changes_no_bit),
        cmocka_unit_test(a_recorded_pass_has_the_same_bits),
        cmocka_unit_test(an_id_tells_the_weights_and_the_resize),
        cmocka_unit_test(a_small_network_keeps_its_bits),
        cmocka_unit_test(memory_may_run_out),
        cmocka_unit_test(totals_are_the_published_ones),
    };

    return cmocka_run_group_tests(tests, open_all, close_all);
}
