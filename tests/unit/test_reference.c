/* Reference statistics: ours come back as they were, those of other programs are read, damaged ones are refused. */
#include "base/memory.h"
#include "check.h"
#include "eval/image_set.h"
#include "eval/reference.h"
#include "io/file.h"
#include "npz_bytes.h"
#include "scratch.h"

enum { D = 5, S = 3, ROWS = 4 };

static double cov_at(int d, int i, int k)
{
    return (i == k ? 2.0 + i : 0) + 0.125 * (i + k) / d;
}

static double *mean_of(int d)
{
    double *x = check_bytes((size_t)d, sizeof *x);

    for (int i = 0; i < d; i++)
        x[i] = 0.5 * i - 1;
    return x;
}

static double *cov_of(int d)
{
    double *x = check_bytes((size_t)d * (size_t)d, sizeof *x);

    for (int i = 0; i < d * d; i++)
        x[i] = cov_at(d, i / d, i % d);
    return x;
}

static dmq_reference whole(void)
{
    dmq_reference r = { .name = "shapes16-train",
                        .extractor = "features-0123456789ab",
                        .n = 50000,
                        .d = D,
                        .d_spatial = S,
                        .n_rows = ROWS };

    r.mean = mean_of(D);
    r.cov = cov_of(D);
    r.mean_spatial = mean_of(S);
    r.cov_spatial = cov_of(S);
    r.rows = check_bytes(ROWS * D, sizeof *r.rows);
    for (int i = 0; i < ROWS * D; i++)
        r.rows[i] = (float)i / 3;
    return r;
}

static void ours_come_back(void **state)
{
    dmq_reference r = whole(), *got;
    char *a, *b;
    size_t n, m;
    int is;

    (void)state;
    CHECK_OK(dmq_reference_save(in_folder("r.h5"), &r));
    CHECK_OK(dmq_reference_is(&is, in_folder("r.h5")));
    assert_int_equal(is, 1);
    CHECK_OK(dmq_reference_load(&got, in_folder("r.h5")));
    assert_string_equal(got->name, r.name);
    assert_string_equal(got->extractor, r.extractor);
    assert_int_equal(got->n, 50000);
    assert_int_equal(got->d, D);
    assert_int_equal(got->d_spatial, S);
    assert_int_equal(got->n_rows, ROWS);
    assert_int_equal(got->n_images, 0);
    assert_int_equal(strlen(got->hash), 64);
    assert_memory_equal(got->mean, r.mean, D * sizeof(double));
    assert_memory_equal(got->cov, r.cov, sizeof(double) * D * D);
    assert_memory_equal(got->mean_spatial, r.mean_spatial, S * sizeof(double));
    assert_memory_equal(got->cov_spatial, r.cov_spatial, sizeof(double) * S * S);
    assert_memory_equal(got->rows, r.rows, sizeof(float) * ROWS * D);
    CHECK_OK(dmq_reference_save(in_folder("again.h5"), got));
    CHECK_OK(dmq_file_read(&a, &n, in_folder("r.h5"), 1 << 20));
    CHECK_OK(dmq_file_read(&b, &m, in_folder("again.h5"), 1 << 20));
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
    dmq_free(a);
    dmq_free(b);
    dmq_reference_destroy(got);
    r.d_spatial = 0;
    r.n_rows = 0;
    CHECK_OK(dmq_reference_save(in_folder("r.h5"), &r));
    CHECK_OK(dmq_reference_load(&got, in_folder("r.h5")));
    assert_int_equal(got->d_spatial, 0);
    assert_null(got->rows);
    dmq_reference_destroy(got);
    dmq_reference_destroy(NULL);
}

static void refused(const char *path, dmq_status st, const char *said)
{
    dmq_reference *r;

    assert_int_equal(dmq_reference_load(&r, path), st);
    assert_null(r);
    if (!strstr(dmq_message(), said))
        fail_msg("%s: said \"%s\", not \"%s\"", path, dmq_message(), said);
}

static void damaged_ones_of_ours_are_refused(void **state)
{
    dmq_reference r = whole();
    char *bytes;
    size_t size;
    int is;
    dmq_h5 *f;

    (void)state;
    CHECK_OK(dmq_reference_save(in_folder("r.h5"), &r));
    CHECK_OK(dmq_file_read(&bytes, &size, in_folder("r.h5"), 1 << 20));
    for (size_t n = 0; n < size; n += 97) {
        dmq_reference *got;

        put(in_folder("cut.h5"), bytes, n);
        assert_int_equal(dmq_reference_load(&got, in_folder("cut.h5")), DMQ_EDATA);
        assert_non_null(strstr(dmq_message(), "cut.h5"));
    }
    for (size_t i = 0; i < size; i += 31) {
        dmq_reference *got;

        put_flipped(in_folder("flip.h5"), bytes, size, i, 8);
        if (dmq_reference_load(&got, in_folder("flip.h5")) == DMQ_OK)
            dmq_reference_destroy(got);
    }
    dmq_free(bytes);
    r.cov[1] = NAN;
    assert_int_equal(dmq_reference_save(in_folder("nan.h5"), &r), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "nan.h5: cov[0, 1] is not finite"));
    assert_false(dmq_file_exists(in_folder("nan.h5")));
    r.cov[1] = r.cov[D];
    r.rows[7] = INFINITY;
    assert_int_equal(dmq_reference_save(in_folder("nan.h5"), &r), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "nan.h5: rows[1, 2] is not finite"));
    /* another of our formats */
    CHECK_OK(dmq_h5_open(&f, in_folder("other.h5"), DMQ_H5_WRITE));
    CHECK_OK(dmq_h5_format_set(f, "dmq-images", 1));
    CHECK_OK(dmq_h5_commit(f));
    dmq_h5_close(f);
    refused(in_folder("other.h5"), DMQ_EDATA, "dmq-images");
    CHECK_OK(dmq_reference_is(&is, in_folder("other.h5")));
    assert_int_equal(is, 0);
}

/* A file in our format whose arrays do not fit each other. */
static void misfits_of_ours_are_refused(void **state)
{
    static const struct {
        int64_t n, mean, cov[2], rows[2];
        int spatial, version;
        dmq_status st;
        const char *said;
    } cases[] = {
        { 9, 3, { 3, 3 }, { 2, 3 }, 0, 1, DMQ_OK, "" },
        { 1, 3, { 3, 3 }, { 0, 0 }, 0, 1, DMQ_EDATA, "is made of 1 images" },
        { 9, 3, { 3, 2 }, { 0, 0 }, 0, 1, DMQ_ESHAPE, "mean has 3 numbers, cov must be (3, 3)" },
        { 9, 3, { 4, 4 }, { 0, 0 }, 0, 1, DMQ_ESHAPE, "mean has 3 numbers, cov must be (3, 3)" },
        { 9, 3, { 3, 3 }, { 2, 4 }, 0, 1, DMQ_ESHAPE, "rows must be (1..9, 3)" },
        { 9, 3, { 3, 3 }, { 10, 3 }, 0, 1, DMQ_ESHAPE, "rows must be (1..9, 3)" },
        { 9, 3, { 3, 3 }, { 0, 0 }, 1, 1, DMQ_EDATA, "cov_spatial" },
        { 9, 3, { 0, 0 }, { 0, 0 }, 0, 1, DMQ_EDATA, "cov" },
        { 9,
          20000,
          { 0, 0 },
          { 0, 0 },
          0,
          1,
          DMQ_EDATA,
          "mean has 20000 numbers: features have 1..16384" },
        { 9, 3, { 3, 3 }, { 0, 0 }, 0, 2, DMQ_EDATA, "version" },
    };
    const double *zeros = check_bytes(20000, sizeof(double));
    const float *rows = check_bytes(64, sizeof(float));

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dmq_reference *r;
        dmq_h5 *f;

        CHECK_OK(dmq_h5_open(&f, in_folder("misfit.h5"), DMQ_H5_WRITE));
        CHECK_OK(dmq_h5_format_set(f, "dmq-reference", cases[i].version));
        CHECK_OK(dmq_h5_attr_set_text(f, "/", "name", "x"));
        CHECK_OK(dmq_h5_attr_set_text(f, "/", "extractor", "y"));
        CHECK_OK(dmq_h5_attr_set_i64(f, "/", "n", cases[i].n));
        CHECK_OK(dmq_h5_write_f64(f, "mean", DMQ_DIMS(cases[i].mean), zeros));
        if (cases[i].cov[0] > 0)
            CHECK_OK(dmq_h5_write_f64(f, "cov", 2, cases[i].cov, zeros));
        if (cases[i].rows[0] > 0)
            CHECK_OK(dmq_h5_write_f32(f, "rows", 2, cases[i].rows, rows));
        if (cases[i].spatial)
            CHECK_OK(dmq_h5_write_f64(f, "mean_spatial", DMQ_DIMS(2), zeros));
        CHECK_OK(dmq_h5_commit(f));
        dmq_h5_close(f);
        if (cases[i].st != DMQ_OK) {
            refused(in_folder("misfit.h5"), cases[i].st, cases[i].said);
            continue;
        }
        CHECK_OK(dmq_reference_load(&r, in_folder("misfit.h5")));
        assert_int_equal(r->n_rows, 2);
        dmq_reference_destroy(r);
    }
}

/* ------------------------------------------------------------------ of other programs */

/* An array of numbers as f8, or as f4 where narrow. */
static dmq_text numbers(const double *x, const char *shape, size_t n, int narrow)
{
    float *f = check_bytes(n, sizeof *f);

    for (size_t i = 0; i < n; i++)
        f[i] = (float)x[i];
    return narrow ? npy_of("<f4", shape, f, n * sizeof *f) : npy_of("<f8", shape, x, n * sizeof *x);
}

/* Members in the order of ADM's files; which: bits of those that are there. */
enum { MU = 1, SIGMA = 2, MU_S = 4, SIGMA_S = 8, IMAGES = 16 };

static const char *put_statistics(const char *name, int method, unsigned which, int narrow)
{
    static const char *const names[] = { "mu.npy", "sigma.npy", "mu_s.npy", "sigma_s.npy",
                                         "arr_0.npy" };
    uint8_t levels[2 * 4 * 3 * 3] = { 7 };
    dmq_text t[5] = { numbers(mean_of(D), "5,", D, narrow),
                      numbers(cov_of(D), "5, 5", (size_t)D * D, narrow),
                      numbers(mean_of(S), "3,", S, narrow),
                      numbers(cov_of(S), "3, 3", (size_t)S * S, narrow),
                      npy_of("|u1", "2, 4, 3, 3", levels, sizeof levels) };
    npz_member members[5];
    int n = 0;

    for (int i = 0; i < 5; i++) {
        if (which >> i & 1U)
            members[n++] = (npz_member){ names[i], &t[i] };
    }
    put_npz(in_folder(name), method, n, members);
    for (int i = 0; i < 5; i++)
        dmq_text_release(&t[i]);
    return in_folder(name);
}

static void statistics_of_others_are_read(void **state)
{
    (void)state;
    for (int narrow = 0; narrow < 2; narrow++) {
        const char *adm =
            put_statistics("VIRTUAL set,1.npz", narrow ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 31, narrow);
        dmq_reference *r;
        dmq_image_set *set;
        uint8_t first[4 * 3 * 3];
        int is;

        CHECK_OK(dmq_reference_is(&is, adm));
        assert_int_equal(is, 1);
        CHECK_OK(dmq_reference_load(&r, adm));
        assert_string_equal(r->name, "VIRTUAL_set_1");
        assert_string_equal(r->extractor, "");
        assert_int_equal(r->n, 0);
        assert_int_equal(r->d, D);
        assert_int_equal(r->d_spatial, S);
        assert_int_equal(r->n_images, 2);
        assert_int_equal(r->h, 4);
        assert_int_equal(r->w, 3);
        assert_null(r->rows);
        for (int i = 0; i < D * D; i++)
            assert_true(r->cov[i] == (narrow ? (double)(float)cov_at(D, i / D, i % D)
                                             : cov_at(D, i / D, i % D)));
        for (int i = 0; i < S; i++)
            assert_true(r->mean_spatial[i] == 0.5 * i - 1);
        dmq_reference_destroy(r);
        CHECK_OK(
            dmq_image_set_open(&set, adm, &(dmq_image_set_config){ .prepare = DMQ_PREPARE_NONE }));
        CHECK_OK(dmq_image_set_read(first, NULL, set, 0, 1));
        assert_int_equal(first[0], 7);
        dmq_image_set_close(set);
        CHECK_OK(
            dmq_reference_load(&r, put_statistics("fid.npz", ZIP_CM_STORE, MU | SIGMA, narrow)));
        assert_string_equal(r->name, "fid");
        assert_int_equal(r->d_spatial, 0);
        assert_int_equal(r->n_images, 0);
        dmq_reference_destroy(r);
    }
}

static void incomplete_statistics_are_refused(void **state)
{
    int is;

    (void)state;
    refused(put_statistics("a.npz", ZIP_CM_STORE, MU, 0), DMQ_EDATA,
            "a.npz: has no array \"sigma\"");
    refused(put_statistics("a.npz", ZIP_CM_STORE, SIGMA, 0), DMQ_EDATA, "has no array \"mu\"");
    refused(put_statistics("a.npz", ZIP_CM_STORE, MU | SIGMA | MU_S, 0), DMQ_EDATA,
            "has no array \"sigma_s\"");
    refused(put_statistics("a.npz", ZIP_CM_STORE, IMAGES, 0), DMQ_EDATA,
            "dmq evaluate --make-reference");
    CHECK_OK(dmq_reference_is(&is, in_folder("a.npz")));
    assert_int_equal(is, 0);
    CHECK_OK(dmq_reference_is(&is, scratch_folder));
    assert_int_equal(is, 0);
    put(in_folder("text"), "hello there", 11);
    refused(in_folder("text"), DMQ_EDATA, "text: holds no reference statistics that are known");
    refused(in_folder("nothere.npz"), DMQ_ENOINPUT, "nothere.npz");
}

static void wrong_statistics_are_refused(void **state)
{
    static const struct {
        const char *mu_descr, *mu, *sigma;
        int i; /* which number of sigma becomes x; -1: none */
        double x;
        dmq_status st;
        const char *said;
    } cases[] = {
        { "<f8", "5,", "5, 4", -1, 0, DMQ_ESHAPE,
          "sigma is (5, 4) of rank 2: must be (5, 5), as mu has 5 numbers" },
        { "<f8", "5,", "25,", -1, 0, DMQ_ESHAPE, "sigma is (25, 1) of rank 1: must be (5, 5)" },
        { "<f8", "1, 5", "5, 5", -1, 0, DMQ_ESHAPE, "mu has 2 dimensions" },
        { "<i8", "5,", "5, 5", -1, 0, DMQ_ESHAPE, "array \"mu\" is i8 [5]" },
        { "<f2", "5,", "5, 5", -1, 0, DMQ_EDATA, "array mu: its numbers are not" },
        { ">f8", "5,", "5, 5", -1, 0, DMQ_EDATA, "array mu: its numbers are not" },
        { "<f8", "1048576,", "1048576, 1048576", -1, 0, DMQ_EDATA, "is cut short" },
        { "<f8", "5,", "1048576, 1048576", -1, 0, DMQ_EDATA,
          "its shape needs 8796093022208 bytes" },
        { "<f8", "0,", "0, 0", -1, 0, DMQ_EDATA, "array mu: has more bytes than its shape" },
        { "<f8", "5,", "5, 5", 7, NAN, DMQ_EDATA, "sigma[1, 2] is not finite" },
        { "<f8", "5,", "5, 5", 7, 9, DMQ_EDATA,
          "sigma[2, 1] is 0.075, [1, 2] is 9: a covariance is symmetric" },
        { "<f8", "5,", "5, 5", 6, -1, DMQ_EDATA, "sigma[1, 1] is -1: a variance is not negative" },
    };
    dmq_reference *r;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double *cov = cov_of(D);
        size_t there = strcmp(cases[i].sigma, "5, 4") == 0 ? 20 : (size_t)D * D;
        dmq_text mu, sigma;

        if (cases[i].i >= 0)
            cov[cases[i].i] = cases[i].x;
        mu = npy_of(cases[i].mu_descr, cases[i].mu, mean_of(D), D * sizeof(double));
        sigma = npy_of("<f8", cases[i].sigma, cov, there * sizeof(double));
        put_npz(in_folder("bad.npz"), ZIP_CM_STORE, 2,
                (npz_member[]){ { "mu.npy", &mu }, { "sigma.npy", &sigma } });
        dmq_text_release(&mu);
        dmq_text_release(&sigma);
        refused(in_folder("bad.npz"), cases[i].st, cases[i].said);
    }
    /* rounding is no asymmetry */
    {
        double *cov = cov_of(D);
        dmq_text mu = npy_of("<f8", "5,", mean_of(D), D * sizeof(double)), sigma;

        cov[7] *= 1 + 1e-7;
        sigma = npy_of("<f8", "5, 5", cov, sizeof(double) * D * D);
        put_npz(in_folder("near.npz"), ZIP_CM_STORE, 2,
                (npz_member[]){ { "mu.npy", &mu }, { "sigma.npy", &sigma } });
        dmq_text_release(&mu);
        dmq_text_release(&sigma);
        CHECK_OK(dmq_reference_load(&r, in_folder("near.npz")));
        dmq_reference_destroy(r);
    }
}

static void memory_that_ends_is_told(void **state)
{
    dmq_reference ours = whole();

    (void)state;
    CHECK_OK(dmq_reference_save(in_folder("m0.h5"), &ours));
    (void)put_statistics("m1.npz", ZIP_CM_DEFLATE, 31, 0);
    for (int i = 0; i < 2; i++) {
        const char *path = in_folder(i ? "m1.npz" : "m0.h5");
        dmq_status st = DMQ_ENOMEM;
        long n = 0;

        while (st != DMQ_OK) {
            dmq_reference *r;
            int is;

            dmq_alloc_fail_at(++n);
            st = dmq_reference_load(&r, path);
            if (st != DMQ_OK && st != DMQ_ENOMEM)
                fail_msg("%s: allocation %ld failed: %s", path, n, dmq_message());
            dmq_reference_destroy(r);
            dmq_alloc_fail_at(n);
            if (dmq_reference_is(&is, path) == DMQ_OK)
                assert_int_equal(is, 1);
        }
        dmq_alloc_fail_at(0);
        assert_true(n > 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(ours_come_back),
        CHECK_TEST(damaged_ones_of_ours_are_refused),
        CHECK_TEST(misfits_of_ours_are_refused),
        CHECK_TEST(statistics_of_others_are_read),
        CHECK_TEST(incomplete_statistics_are_refused),
        CHECK_TEST(wrong_statistics_are_refused),
        CHECK_TEST(memory_that_ends_is_told),
    };

    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
