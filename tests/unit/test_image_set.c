/* Image sets, whatever they are kept as; files of the real formats are made here. */
#include "base/log.h"
#include "base/memory.h"
#include "check.h"
#include "eval/image_set.h"
#include "io/file.h"
#include "io/png.h"
#include "npz_bytes.h"
#include "scratch.h"
#include "train/dataset.h"

#include <fcntl.h>

static const dmq_image_set_config as_they_are = { .prepare = DMQ_PREPARE_NONE };

static uint8_t level(int image, size_t k)
{
    return (uint8_t)((size_t)image * 53 + k * 7 + k / 11);
}

/* A PNG of image number i. */
static void put_png(const char *name, int i, int w, int h)
{
    dmq_picture p = { .width = w, .height = h };
    size_t n = (size_t)w * (size_t)h * 3;

    p.rgb = check_bytes(n, 1);
    for (size_t k = 0; k < n; k++)
        p.rgb[k] = level(i, k);
    CHECK_OK(dmq_png_save(in_folder(name), &p, NULL, 0));
}

/* A file of tests/golden/pictures.h5, 23x17, as PIL wrote it. */
static void put_golden(const char *name, const char *group)
{
    dmq_h5 *golden = check_golden_open("pictures");
    char path[64];
    dmq_h5_info info;
    uint8_t *bytes;

    (void)snprintf(path, sizeof path, "%s/file", group);
    CHECK_OK(dmq_h5_shape(&info, golden, path));
    bytes = check_bytes((size_t)info.count, 1);
    CHECK_OK(dmq_h5_read_u8(bytes, golden, path, DMQ_DIMS(-1)));
    put(in_folder(name), bytes, (size_t)info.count);
    dmq_h5_close(golden);
}

static void images_are(const dmq_image_set *set, int64_t first, int n, const int *numbers)
{
    size_t one = (size_t)set->h * (size_t)set->w * 3;
    uint8_t *got = check_bytes((size_t)n * one, 1);

    CHECK_OK(dmq_image_set_read(got, NULL, set, first, n));
    for (size_t k = 0; k < (size_t)n * one; k++)
        assert_int_equal(got[k], level(numbers[k / one], k % one));
}

static void refused(const char *name, const dmq_image_set_config *config, dmq_status st,
                    const char *said)
{
    dmq_image_set *set;

    assert_int_equal(dmq_image_set_open(&set, name, config), st);
    assert_null(set);
    if (!strstr(dmq_message(), said))
        fail_msg("%s: said \"%s\", not \"%s\"", name, dmq_message(), said);
}

static void folders_are_read_in_order(void **state)
{
    dmq_image_set_config three = { .count = 3 };
    dmq_image_set *set;

    (void)state;
    CHECK_OK(dmq_folder_create(in_folder("f/b/c")));
    CHECK_OK(dmq_folder_create(in_folder("f/.hidden")));
    put_png("f/10.png", 0, 9, 5);
    put_png("f/9.PNG", 1, 9, 5);
    put_png("f/b/a.png", 2, 9, 5);
    put_png("f/b/c/a.png", 3, 9, 5);
    put_png("f/.hidden/x.png", 4, 7, 7);
    put(in_folder("f/readme.txt"), "x", 1);
    CHECK_OK(dmq_image_set_open(&set, in_folder("f"), &as_they_are));
    assert_int_equal(set->n, 4);
    assert_int_equal(set->h, 5);
    assert_int_equal(set->w, 9);
    assert_int_equal(set->c, 3);
    assert_int_equal(set->has_labels, 0);
    assert_string_equal(set->kind, "folder");
    assert_string_equal(set->text, "folder, 4 png");
    images_are(set, 0, 4, (int[]){ 0, 1, 2, 3 });
    images_are(set, 2, 1, (int[]){ 2 });
    dmq_image_set_close(set);
    CHECK_OK(dmq_image_set_open(&set, in_folder("f"), &three));
    assert_int_equal(set->n, 3);
    assert_string_equal(set->text, "folder, 4 png, first 3");
    dmq_image_set_close(set);
    refused(in_folder("f"), &(dmq_image_set_config){ .count = 5 }, DMQ_EINVAL,
            "5 images are asked for, it holds 4");
}

static void photographs_are_prepared(void **state)
{
    dmq_image_set_config config = { .prepare = DMQ_PREPARE_LDM, .size = 8, .lossless = 1 };
    dmq_image_set *set;
    uint8_t got[3][8 * 8 * 3], want[8 * 8 * 3];
    dmq_picture p;

    (void)state;
    CHECK_OK(dmq_folder_create(in_folder("p")));
    put_golden("p/a.jpeg", "jpeg_420");
    put_golden("p/b.webp", "webp_lossy");
    put_png("p/c.png", 5, 6, 40);
    dmq_log_fd_set(-1);
    for (int how = DMQ_PREPARE_LDM; how <= DMQ_PREPARE_ADM; how++) {
        long lossy = dmq_log_warnings("lossy-images"),
             enlarged = dmq_log_warnings("enlarged-images");

        config.prepare = (dmq_prepare)how;
        CHECK_OK(dmq_image_set_open(&set, in_folder("p"), &config));
        assert_string_equal(set->text, how == DMQ_PREPARE_LDM
                                           ? "folder, 1 png, 1 jpeg, 1 webp, ldm-crop-8"
                                           : "folder, 1 png, 1 jpeg, 1 webp, adm-crop-8");
        assert_int_equal(dmq_log_warnings("lossy-images"), lossy + 1);
        CHECK_OK(dmq_image_set_read(&got[0][0], NULL, set, 0, 3));
        assert_int_equal(dmq_log_warnings("enlarged-images"), enlarged + 1); /* c.png alone */
        for (int i = 0; i < 3; i++) {
            CHECK_OK(dmq_picture_load(&p, in_folder(i == 0   ? "p/a.jpeg"
                                                    : i == 1 ? "p/b.webp"
                                                             : "p/c.png")));
            CHECK_OK(dmq_prepare_run(want, &p, (dmq_prepare)how, 8));
            assert_memory_equal(got[i], want, sizeof want);
            dmq_picture_release(&p);
        }
        dmq_image_set_close(set);
    }
    dmq_log_fd_set(2);
    refused(in_folder("p"), &as_they_are, DMQ_ESHAPE,
            "a.jpeg is 23x17, c.png is 6x40: images must have one size");
}

/* tests/golden/lsun.mdb, which LMDB wrote; the caller frees. */
static char *put_database(size_t *size, const char *folder, const char *name)
{
    char path[512], *bytes;

    (void)snprintf(path, sizeof path, "%s/lsun.mdb", check_golden_folder());
    CHECK_OK(dmq_file_read(&bytes, size, path, 1 << 20));
    CHECK_OK(dmq_folder_create(in_folder(folder)));
    put(in_folder(name), bytes, *size);
    return bytes;
}

static void databases_are_read(void **state)
{
    dmq_image_set_config config = { .prepare = DMQ_PREPARE_LDM, .size = 16, .lossless = 1 };
    long lossy = dmq_log_warnings("lossy-images");
    dmq_image_set *set;
    char *bytes;
    size_t size;
    uint8_t got[31 * 16 * 16 * 3], want[16 * 16 * 3];

    (void)state;
    bytes = put_database(&size, "church_train_lmdb", "church_train_lmdb/data.mdb");
    put(in_folder("church_train_lmdb/lock.mdb"), "x", 1);
    dmq_log_fd_set(-1);
    CHECK_OK(dmq_image_set_open(&set, in_folder("church_train_lmdb"), &config));
    assert_int_equal(dmq_log_warnings("lossy-images"), lossy + 1);
    assert_string_equal(set->kind, "lmdb");
    assert_int_equal(set->n, 31);
    assert_string_equal(set->text, "lmdb, 31, ldm-crop-16");
    CHECK_OK(dmq_image_set_read(got, NULL, set, 0, 31));
    /* the first three records by their own files */
    for (int i = 0; i < 3; i++) {
        static const char *const cases[] = { "png_rgba", "webp_lossy", "jpeg_422" };
        dmq_picture p;

        put_golden("one.img", cases[i]);
        CHECK_OK(dmq_picture_load(&p, in_folder("one.img")));
        CHECK_OK(dmq_prepare_run(want, &p, DMQ_PREPARE_LDM, 16));
        assert_memory_equal(got + (size_t)i * sizeof want, want, sizeof want);
        dmq_picture_release(&p);
    }
    dmq_image_set_close(set);
    dmq_log_fd_set(2);
    /* images of several sizes are no set as they are */
    CHECK_OK(dmq_image_set_open(&set, in_folder("church_train_lmdb/data.mdb"), &as_they_are));
    assert_int_equal(set->n, 31);
    assert_int_equal(
        dmq_image_set_read(check_bytes((size_t)set->h * (size_t)set->w * 93, 1), NULL, set, 0, 31),
        DMQ_ESHAPE);
    assert_non_null(strstr(dmq_message(), "images must have one size"));
    dmq_image_set_close(set);
    /* records that are no images */
    for (size_t i = 0; i + 4 < size; i++) {
        if (memcmp(bytes + i, "\x89PNG", 4) == 0 || memcmp(bytes + i, "RIFF", 4) == 0 ||
            memcmp(bytes + i, "\xff\xd8\xff", 3) == 0)
            memset(bytes + i, 'x', 4);
    }
    put(in_folder("numbers.mdb"), bytes, size);
    refused(in_folder("numbers.mdb"), &as_they_are, DMQ_EDATA, "numbers.mdb: record 0");
    dmq_free(bytes);
}

static void wrong_folders_are_refused(void **state)
{
    dmq_image_set_config ldm = { .prepare = DMQ_PREPARE_LDM, .size = 4 };
    dmq_image_set *set;
    uint8_t got[2][4 * 4 * 3];
    char *bytes;
    size_t size;

    (void)state;
    CHECK_OK(dmq_folder_create(in_folder("e/deep")));
    refused(in_folder("e"), &as_they_are, DMQ_EDATA,
            "/e: the folder holds no image (.png .jpg .jpeg .webp)");
    put(in_folder("e/deep/list.txt"), "x", 1);
    refused(in_folder("e"), &as_they_are, DMQ_EDATA, "1 other files, deep/list.txt is one");
    put_png("e/a.png", 1, 4, 4);
    CHECK_OK(dmq_file_read(&bytes, &size, in_folder("e/a.png"), 10000));
    put(in_folder("e/b.png"), bytes, size - 20);
    dmq_free(bytes);
    /* a header that is whole, and data that is not: seen when it is read */
    CHECK_OK(dmq_image_set_open(&set, in_folder("e"), &as_they_are));
    assert_int_equal(dmq_image_set_read(&got[0][0], NULL, set, 0, 2), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "e/b.png: is cut short"));
    put_png("e/a.png", 1, 4, 5); /* changed behind our back */
    assert_int_equal(dmq_image_set_read(&got[0][0], NULL, set, 0, 1), DMQ_ESHAPE);
    assert_non_null(strstr(dmq_message(), "a.png is 4x5, the set's first image 4x4"));
    dmq_image_set_close(set);
    put(in_folder("e/0.png"), "no", 2);
    refused(in_folder("e"), &as_they_are, DMQ_EDATA,
            "e/0.png: is neither a PNG nor a JPEG nor a WebP");
    ldm.size = 0;
    refused(in_folder("e"), &ldm, DMQ_EINVAL, "images of size 0 are asked for: must be 1..");
    CHECK_OK(dmq_folder_create(in_folder("run")));
    put(in_folder("run/run.json"), "{}", 2);
    put_png("run/grid.png", 1, 4, 4);
    refused(in_folder("run"), &as_they_are, DMQ_EDATA, "run/images-q.h5");
    refused(in_folder("nothere/x"), &as_they_are, DMQ_ENOINPUT,
            "nothere/x: no such file or folder");
    refused("shapes33", &as_they_are, DMQ_EINVAL, "the data sets are shapes16, shapes32");
    put_png("one.png", 1, 4, 4);
    refused(in_folder("one.png"), &as_they_are, DMQ_EDATA, "one.png: is one image");
    put(in_folder("images.tar"), "hello there", 11);
    refused(in_folder("images.tar"), &as_they_are, DMQ_EDATA, "an archive must be unpacked first");
}

/* ------------------------------------------------------------------ packs */

enum { N = 5, W = 6, H = 4 };

/* arr_0 of the given type and shape, and arr_1 of n_labels classes 3, 4, ... where it is not negative. */
static const char *put_pack(const char *name, int method, const char *descr, const char *shape,
                            int n_labels)
{
    uint8_t levels[N * W * H * 3];
    int64_t labels[8];
    dmq_text a, b;

    for (size_t k = 0; k < sizeof levels; k++)
        levels[k] = level((int)(k / (W * H * 3)), k % (W * H * 3));
    for (int i = 0; i < 8; i++)
        labels[i] = 3 + i;
    a = npy_of(descr, shape, levels, sizeof levels);
    b = npy_of("<i8", n_labels == 5 ? "5," : "4,", labels,
               (size_t)(n_labels > 0 ? n_labels : 0) * 8);
    put_npz(in_folder(name), method, n_labels < 0 ? 1 : 2,
            (npz_member[]){ { "arr_0.npy", &a }, { "arr_1.npy", &b } });
    dmq_text_release(&a);
    dmq_text_release(&b);
    return in_folder(name);
}

static void packs_are_read(void **state)
{
    dmq_image_set_config small = { .prepare = DMQ_PREPARE_ADM, .size = 2, .count = 4 };
    uint8_t got[N][W * H * 3], want[2 * 2 * 3];
    dmq_picture p = { .width = W, .height = H };
    int labels[N];
    dmq_image_set *set;

    (void)state;
    for (int deflated = 0; deflated < 2; deflated++) {
        const char *path =
            put_pack("pack.npz", deflated ? ZIP_CM_DEFLATE : ZIP_CM_STORE, "|u1", "5, 4, 6, 3", 5);

        CHECK_OK(dmq_image_set_open(&set, path, &as_they_are));
        assert_string_equal(set->kind, "pack");
        assert_string_equal(set->text, "pack, 5");
        assert_int_equal(set->has_labels, 1);
        images_are(set, 0, 5, (int[]){ 0, 1, 2, 3, 4 });
        images_are(set, 1, 2, (int[]){ 1, 2 });
        CHECK_OK(dmq_image_set_read(&got[0][0], labels, set, 1, 4));
        assert_int_equal(labels[0], 4);
        assert_int_equal(labels[3], 7);
        dmq_image_set_close(set);
        CHECK_OK(dmq_image_set_open(&set, path, &small));
        assert_string_equal(set->text, "pack, 5, adm-crop-2, first 4");
        CHECK_OK(dmq_image_set_read(&got[0][0], labels, set, 3, 1));
        assert_int_equal(labels[0], 6);
        p.rgb = check_bytes(W * H * 3, 1);
        for (size_t k = 0; k < (size_t)W * H * 3; k++)
            p.rgb[k] = level(3, k);
        CHECK_OK(dmq_prepare_run(want, &p, DMQ_PREPARE_ADM, 2));
        assert_memory_equal(got[0], want, sizeof want);
        dmq_image_set_close(set);
    }
    CHECK_OK(dmq_image_set_open(&set, put_pack("bare.npz", ZIP_CM_STORE, "|u1", "5, 4, 6, 3", -1),
                                &as_they_are));
    assert_int_equal(set->has_labels, 0);
    dmq_image_set_close(set);
}

static void wrong_packs_are_refused(void **state)
{
    static const struct {
        const char *descr, *shape;
        int labels;
        dmq_status st;
        const char *said;
    } cases[] = {
        { "|u1", "5, 4, 6, 3", 4, DMQ_ESHAPE, "arr_0 holds 5 images, arr_1 4 labels" },
        { "|u1", "5, 3, 4, 6", -1, DMQ_ESHAPE,
          "arr_0 must be u1 (N, H, W, 3), levels 0..255, but is (N, 3, H, W)" },
        { "|u1", "5, 24, 3", -1, DMQ_ESHAPE, "has another rank" },
        { "|u1", "5, 6, 6, 2", -1, DMQ_ESHAPE, "another number of channels" },
        { "<f4", "5, 6, 3, 1", -1, DMQ_ESHAPE, "numbers of another type" },
        { "|u1", "6, 4, 6, 3", -1, DMQ_EDATA, "array arr_0: is cut short" },
        { "|u1", "4, 4, 6, 3", -1, DMQ_EDATA, "array arr_0: has more bytes" },
        { "|u1", "1000000, 1024, 1024, 3", -1, DMQ_EDATA, "below 2^40 elements" },
        { "|u1", "100000, 1024, 1024, 3", -1, DMQ_EDATA,
          "needs 314572800000 bytes, the file has 360" },
        { "|u1", "0, 4, 6, 3", -1, DMQ_EDATA, "array arr_0: has" },
        { ">u2", "5, 4, 3, 3", -1, DMQ_EDATA, "its numbers are not |u1" },
    };
    const double mu[2] = { 0, 1 };
    dmq_text t;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        refused(put_pack("bad.npz", ZIP_CM_STORE, cases[i].descr, cases[i].shape, cases[i].labels),
                &as_they_are, cases[i].st, cases[i].said);
    }
    t = npy_of("<f8", "2,", mu, sizeof mu);
    put_npz(in_folder("stats.npz"), ZIP_CM_STORE, 1, (npz_member[]){ { "mu.npy", &t } });
    dmq_text_release(&t);
    refused(in_folder("stats.npz"), &as_they_are, DMQ_EDATA,
            "holds statistics (mu), which stand for a reference");
}

/* ------------------------------------------------------------------ our own */

static void data_sets_and_image_files_are_read(void **state)
{
    enum { COUNT = 6, PER = 16 * 16 * 3 };
    dmq_image_set_config config = { .count = COUNT };
    dmq_images images = { .n = COUNT, .one = dmq_shape4(1, 16, 16, 3) };
    uint8_t a[COUNT * PER], b[COUNT * PER], want[COUNT * PER];
    int labels[COUNT], again[COUNT];
    dmq_image_set *set, *file;
    dmq_dataset *data;
    long sum[2] = { 0 };

    (void)state;
    images.data = check_reals(COUNT * PER);
    images.label = check_bytes(COUNT, sizeof(int));
    CHECK_OK(dmq_dataset_open(&data, "shapes16", 0));
    CHECK_OK(dmq_dataset_range(data, images.data, images.label, DMQ_DATASET_HELD_OUT, COUNT));
    dmq_dataset_close(data);
    CHECK_OK(dmq_images_save(in_folder("images.h5"), &images, 0, "key"));
    refused("shapes16", &as_they_are, DMQ_EINVAL, "shapes16 has no end");
    for (int levels = DMQ_LEVELS_ROUND; levels <= DMQ_LEVELS_TRUNCATE; levels++) {
        config.levels = (dmq_levels)levels;
        dmq_images_levels(want, images.data, COUNT * PER, config.levels);
        CHECK_OK(dmq_image_set_open(&set, "shapes16", &config));
        assert_string_equal(set->text, "shapes16, 6 held out");
        CHECK_OK(dmq_image_set_open(&file, in_folder("images.h5"), &config));
        assert_string_equal(file->kind, "images.h5");
        assert_int_equal(file->has_labels, 1);
        CHECK_OK(dmq_image_set_read(a, labels, set, 0, COUNT));
        CHECK_OK(dmq_image_set_read(b, again, file, 0, 2));
        CHECK_OK(dmq_image_set_read(b + 2 * PER, again + 2, file, 2, COUNT - 2));
        assert_memory_equal(a, want, sizeof a);
        assert_memory_equal(b, want, sizeof b);
        assert_memory_equal(labels, images.label, sizeof labels);
        assert_memory_equal(again, labels, sizeof labels);
        for (int k = 0; k < PER; k++)
            sum[levels] += want[k];
        dmq_image_set_close(set);
        dmq_image_set_close(file);
    }
    assert_true(sum[DMQ_LEVELS_TRUNCATE] < sum[DMQ_LEVELS_ROUND]); /* or the choice did nothing */
}

static void cifar10_is_a_set(void **state)
{
    dmq_image_set *set;
    uint8_t got[2 * 32 * 32 * 3];
    int labels[2], fd;

    (void)state;
    CHECK_OK(dmq_folder_create(in_folder("c10")));
    fd = open(in_folder("c10/test_batch.bin"), O_CREAT | O_WRONLY, 0600);
    assert_int_equal(pwrite(fd, "\7\xff", 2, 3073), 2);
    assert_int_equal(ftruncate(fd, 30730000), 0);
    assert_int_equal(close(fd), 0);
    CHECK_OK(dmq_image_set_open(&set, in_folder("c10/test_batch.bin"), &as_they_are));
    assert_string_equal(set->text, "cifar10-test");
    assert_string_equal(set->kind, "cifar10-binary");
    CHECK_OK(dmq_image_set_read(got, labels, set, 0, 2));
    assert_int_equal(labels[1], 7);
    assert_int_equal(got[32 * 32 * 3], 255);
    dmq_image_set_close(set);
    refused(in_folder("c10"), &as_they_are, DMQ_ENOINPUT, "data_batch_1.bin");
}

/* The n-th allocation fails, for every n until none is left: each time it is said, and nothing is lost. */
static void memory_that_ends_is_told(void **state)
{
    static const char *const names[] = { "m", "m.npz", "m.h5", "m.mdb", "shapes16" };
    dmq_image_set_config config = { .prepare = DMQ_PREPARE_ADM, .size = 5, .count = 3 };
    dmq_images images = { .n = 3, .one = dmq_shape4(1, 8, 8, 3) };
    uint8_t got[3 * 5 * 5 * 3];
    size_t size;

    (void)state;
    CHECK_OK(dmq_folder_create(in_folder("m")));
    put_png("m/a.png", 0, 12, 17);
    put_golden("m/b.jpg", "jpeg_progressive");
    put_golden("m/c.webp", "webp_lossless");
    dmq_free(put_database(&size, "m", "m.mdb"));
    (void)put_pack("m.npz", ZIP_CM_DEFLATE, "|u1", "5, 4, 6, 3", 5);
    images.data = check_reals(3 * 8 * 8 * 3);
    CHECK_OK(dmq_images_save(in_folder("m.h5"), &images, 0, "key"));
    dmq_log_fd_set(-1);
    for (int i = 0; i < 5; i++) {
        dmq_status st = DMQ_ENOMEM;
        long n = 0;

        while (st != DMQ_OK) {
            dmq_image_set *set;

            dmq_alloc_fail_at(++n);
            st = dmq_image_set_open(&set, i < 4 ? in_folder(names[i]) : names[i], &config);
            if (st == DMQ_OK)
                st = dmq_image_set_read(got, NULL, set, 0, 3);
            if (st != DMQ_OK && st != DMQ_ENOMEM)
                fail_msg("%s: allocation %ld failed: %s", names[i], n, dmq_message());
            dmq_image_set_close(set);
        }
        dmq_alloc_fail_at(0);
        assert_true(n > 5);
    }
    dmq_log_fd_set(2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(folders_are_read_in_order),
        CHECK_TEST(photographs_are_prepared),
        CHECK_TEST(databases_are_read),
        CHECK_TEST(wrong_folders_are_refused),
        CHECK_TEST(packs_are_read),
        CHECK_TEST(wrong_packs_are_refused),
        CHECK_TEST(data_sets_and_image_files_are_read),
        CHECK_TEST(cifar10_is_a_set),
        CHECK_TEST(memory_that_ends_is_told),
    };

    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
