/* LPIPS with made-up weights against PyTorch in float64, from the files that it is imported from to the distance. */
#include "base/memory.h"
#include "eval/lpips.h"
#include "io/h5.h"
#include "io/safetensors.h"
#include "model/alexnet.h"
#include "model/features.h"
#include "model/import.h"
#include "model/model_file.h"
#include "model/published.h"
#include "scratch.h"
#include "wide_features.h"

#define OK(call)                                      \
    do {                                              \
        dmq_status status_of_call = (call);           \
        if (status_of_call != DMQ_OK)                 \
            fail_msg("%s: %s", #call, dmq_message()); \
    } while (0)

enum { ENTRIES = 15, CONVOLUTIONS = 10, MOST = 24, REGION = 1 << 22 };

static dmq_lanes *lanes;
static dmq_model *model;

/* What make_lpips.py makes up, too: numbers of the i-th tensor, in the order of files. */
static float *values[ENTRIES];
static int64_t dims[ENTRIES][4];
static int rank[ENTRIES];

static void make_up(int i)
{
    const dmq_entry *e = &model->entry[i];
    size_t n = dmq_shape_count(e->shape);
    double fan, low, high;

    rank[i] = dmq_entry_dims(dims[i], e);
    fan = (double)n / (double)dims[i][0];
    high = i >= CONVOLUTIONS ? 1 : i % 2 ? 0.1 : sqrt(6 / fan);
    low = i >= CONVOLUTIONS ? 0 : -high;
    OK(dmq_alloc((void **)&values[i], n, sizeof(float)));
    for (size_t k = 0; k < n; k++)
        values[i][k] = (float)(low + (high - low) * (wide_word((size_t)i * REGION + k) / 16777216));
}

static uint8_t *make_images(int changed, int n, int h, int w)
{
    size_t count = (size_t)n * (size_t)h * (size_t)w * 3;
    void *memory = NULL;
    uint8_t *image;

    OK(dmq_alloc(&memory, count, 1));
    image = memory;
    for (size_t at = 0; at < count; at++) {
        long c = (long)(at % 3), x = (long)(at / 3) % w, y = (long)(at / 3) / w % h;
        long i = (long)(at / 3) / w / h;
        long v = (5 * x + 3 * y + 60 * c + 17 * i) % 200 + (long)wide_word(at + 15 * REGION) % 32;

        v = v < 0 ? 0 : v > 255 ? 255 : v;
        if (changed)
            v += (long)wide_word(at + 15 * REGION + (1 << 20)) % (8 * i + 1) - 4 * i;
        image[at] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
    }
    return image;
}

/* ------------------------------------------------------------------ files */

static dmq_st_source tensor[MOST];
static char name_of[MOST][DMQ_NAME_MAX];
static int count;

static void add(const char *name, int from)
{
    (void)snprintf(name_of[count], sizeof *name_of, "%s", name);
    tensor[count] = (dmq_st_source){ name_of[count], DMQ_ST_F32, rank[from], { 0 }, values[from] };
    memcpy(tensor[count].dims, dims[from], (size_t)rank[from] * sizeof *dims[from]);
    count++;
}

static void add_own(int from, int to)
{
    for (int i = from; i < to; i++)
        add(model->entry[i].name, i);
}

/* Import of a file; its parameters are those of the first one. */
static void import(const char *path, const char *layout, int beside)
{
    static dmq_real *first;
    size_t bytes = dmq_model_count(model) * sizeof(dmq_real);
    dmq_import_report report;
    dmq_checkpoint *file = NULL;

    memset(model->params, 0, bytes);
    OK(dmq_checkpoint_open(&file, path, 0));
    OK(dmq_model_import(model, &report, file, &(dmq_import_options){ 0 }));
    assert_string_equal(report.layout, layout);
    assert_int_equal(report.beside, beside);
    dmq_checkpoint_close(file);
    if (!first) {
        OK(dmq_alloc((void **)&first, bytes, 1));
        memcpy(first, model->params, bytes);
    }
    assert_memory_equal(first, model->params, bytes);
    if (beside == 7) {
        dmq_free(first);
        first = NULL;
    }
}

static void save(const char *name)
{
    OK(dmq_safetensors_save(in_folder(name), tensor, count, NULL, 0));
    count = 0;
}

/* The index that is shipped, beside the files that it names. */
static void take_index(void)
{
    char text[4096];
    size_t n;
    FILE *f = fopen(DMQ_SOURCE_DIR "/data/lpips-alex.index.json", "rb");

    assert_non_null(f);
    n = fread(text, 1, sizeof text, f);
    (void)fclose(f);
    put(in_folder("lpips-alex.index.json"), text, n);
}

static void layouts(void **state)
{
    static const char *const slice[] = { "slice1.0", "slice2.3", "slice3.6", "slice4.8",
                                         "slice5.10" };
    char name[64];

    (void)state;
    add_own(0, ENTRIES);
    save("all.safetensors");
    import(in_folder("all.safetensors"), "torchvision", 0);
    /* the files of torchvision and of LPIPS, together; what a file is, its name does not say */
    add_own(0, CONVOLUTIONS);
    for (int i = 0; i < 6; i++) {
        static const int number[] = { 1, 4, 6 };

        (void)snprintf(name, sizeof name, "classifier.%d.%s", number[i / 2],
                       i % 2 ? "bias" : "weight");
        add(name, 1);
    }
    save("alexnet-owt-7be5be79.pth");
    add_own(CONVOLUTIONS, ENTRIES);
    save("lpips-alex.pth");
    take_index();
    import(in_folder("lpips-alex.index.json"), "torchvision", 6);
    /* the state dict of the lpips package */
    add("scaling_layer.shift", 1);
    add("scaling_layer.scale", 1);
    for (int i = 0; i < CONVOLUTIONS; i++) {
        (void)snprintf(name, sizeof name, "net.%s.%s", slice[i / 2], i % 2 ? "bias" : "weight");
        add(name, i);
    }
    for (int i = 0; i < DMQ_ALEXNET_STAGES; i++) {
        (void)snprintf(name, sizeof name, "lin%d.model.1.weight", i);
        add(name, CONVOLUTIONS + i);
        (void)snprintf(name, sizeof name, "lins.%d.model.1.weight", i);
        add(name, CONVOLUTIONS + i);
    }
    save("lpips.safetensors");
    import(in_folder("lpips.safetensors"), "lpips", 7);
    OK(dmq_model_save(model, &(dmq_model_info){ 0 }, in_folder("alexnet.h5"), 0));
}

/* ------------------------------------------------------------------ distances */

static void expect(dmq_h5 *golden, const dmq_lpips *l, const char *name, int n, int h, int w)
{
    uint8_t *q = make_images(1, n, h, w), *f = make_images(0, n, h, w);
    size_t per = (size_t)h * (size_t)w * 3;
    double want[8], got[8], again[8];

    OK(dmq_h5_read_f64(want, golden, name, DMQ_DIMS(n)));
    OK(dmq_lpips_run(got, l, q, f, n, h, w));
    for (int i = 0; i < n; i++) {
        print_message("  %s, pair %d: %.9f, relative error %.1e\n", name, i, got[i],
                      want[i] > 0 ? fabs(got[i] / want[i] - 1) : fabs(got[i]));
        assert_true(fabs(got[i] - want[i]) <= 1e-5 * want[i]);
    }
    /* one by one, and the other way round */
    for (int i = 0; i < n; i++)
        OK(dmq_lpips_run(&again[i], l, q + (size_t)i * per, f + (size_t)i * per, 1, h, w));
    assert_memory_equal(got, again, (size_t)n * sizeof *got);
    OK(dmq_lpips_run(again, l, f, q, n, h, w));
    for (int i = 0; i < n; i++)
        assert_true(fabs(got[i] - again[i]) <= 1e-12);
    dmq_free(q);
    dmq_free(f);
}

static void against_pytorch(void **state)
{
    const uint8_t small[30 * 30 * 3] = { 0 };
    double out;
    dmq_h5 *golden = NULL;
    dmq_lpips *l = NULL;

    (void)state;
    OK(dmq_h5_open(&golden, DMQ_GOLDEN_DIR "/lpips.h5", DMQ_H5_READ));
    OK(dmq_lpips_open(&l, in_folder("alexnet.h5"), lanes));
    expect(golden, l, "32x32", 5, 32, 32);
    expect(golden, l, "31x70", 2, 31, 70);
    assert_int_equal(dmq_lpips_run(&out, l, small, small, 1, 30, 30), DMQ_ESHAPE);
    dmq_lpips_close(l);
    dmq_h5_close(golden);
}

static void refused(void **state)
{
    const dmq_features_config config = { .resolution = 8,
                                         .channels = 3,
                                         .classes = 4,
                                         .width = { 4 },
                                         .n_stages = 1,
                                         .norm_groups = 2 };
    dmq_model *other = NULL;
    dmq_lpips *l = NULL;

    (void)state;
    OK(dmq_features_create(&other, &config));
    OK(dmq_model_save(other, &(dmq_model_info){ 0 }, in_folder("other.h5"), 0));
    dmq_model_destroy(other);
    assert_int_equal(dmq_lpips_open(&l, in_folder("other.h5"), lanes), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "is no network of LPIPS but a features"));
    assert_int_equal(dmq_lpips_open(&l, in_folder("absent.h5"), lanes), DMQ_ENOINPUT);
    assert_int_equal(dmq_alexnet_create_text(&other, "stages: 4\n"), DMQ_EDATA);
}

static void out_of_memory(void **state)
{
    uint8_t *image = make_images(0, 1, 32, 32);
    int failures = 0;

    (void)state;
    for (long n = 1; n < 5000; n++) {
        dmq_lpips *l = NULL;
        double out;
        dmq_status st;

        dmq_alloc_fail_at(n);
        st = dmq_lpips_open(&l, in_folder("alexnet.h5"), lanes);
        if (st == DMQ_OK)
            st = dmq_lpips_run(&out, l, image, image, 1, 32, 32);
        dmq_alloc_fail_at(0);
        dmq_lpips_close(l);
        if (st == DMQ_OK)
            break;
        assert_int_equal(st, DMQ_ENOMEM);
        failures++;
    }
    print_message("  %d places\n", failures);
    assert_true(failures > 40);
    dmq_free(image);
}

static int start(void **state)
{
    const dmq_backend *be = NULL;

    if (scratch_make(state) != 0 || dmq_backend_open(&be, "cpu") != DMQ_OK ||
        dmq_lanes_create(&lanes, be, 2) != DMQ_OK || dmq_alexnet_create(&model) != DMQ_OK)
        return 1;
    for (int i = 0; i < ENTRIES; i++)
        make_up(i);
    return 0;
}

static int end(void **state)
{
    for (int i = 0; i < ENTRIES; i++)
        dmq_free(values[i]);
    dmq_model_destroy(model);
    dmq_lanes_destroy(lanes);
    return scratch_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layouts),
        cmocka_unit_test(against_pytorch),
        cmocka_unit_test(refused),
        cmocka_unit_test(out_of_memory),
    };

    return cmocka_run_group_tests(tests, start, end);
}
