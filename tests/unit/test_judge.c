/* Scores with Inception, whose weights are drawn here: ids, what is compared with what, and what is refused. */
#include "base/log.h"
#include "base/memory.h"
#include "base/schema.h"
#include "check.h"
#include "eval/images.h"
#include "io/file.h"
#include "io/png.h"
#include "model/inception.h"
#include "model/init.h"
#include "model/model_file.h"
#include "npz_bytes.h"
#include "run/judge.h"
#include "scratch.h"

#define OK(call) assert_int_equal(call, DMQ_OK)

enum { SIDE = 16, N = 8, PER = SIDE * SIDE * 3 };

static dmq_lanes *lanes;
static char network[256], network_id[64];

/* A pack of n images of smooth colours, no two alike. */
static const char *pack(const char *name, int n, int seed)
{
    const char *path = in_folder(name);
    uint8_t *levels = check_bytes((size_t)n * PER, 1);
    char shape[64];
    dmq_text arr;

    for (int i = 0; i < n * PER; i++) {
        int k = i / PER + seed, c = i % 3, x = i / 3 % SIDE, y = i / 3 / SIDE % SIDE;

        levels[i] = (uint8_t)((k * 31 + x * (c + 3) + y * (k % 5 + 2)) % 256);
    }
    (void)snprintf(shape, sizeof shape, "%d, %d, %d, 3", n, SIDE, SIDE);
    arr = npy_of("|u1", shape, levels, (size_t)n * PER);
    put_npz(path, ZIP_CM_STORE, 1, &(npz_member){ "arr_0.npy", &arr });
    dmq_text_release(&arr);
    return path;
}

static dmq_config *configure(const char *reference, const char *const *more)
{
    const dmq_origin here = { .kind = DMQ_ORIGIN_FLAG, .place = "the test" };
    dmq_config *c = NULL;

    OK(dmq_schema_config(&c));
    OK(dmq_config_set(c, "evaluate.features", network, &here));
    OK(dmq_config_set(c, "evaluate.reference", reference, &here));
    for (; *more; more++)
        OK(dmq_config_set_flag(c, *more));
    return c;
}

/* Scores of a pack; everything in memory. */
static void score(dmq_scores *out, const dmq_config *c, const char *images)
{
    const dmq_image_set_config how = { .prepare = DMQ_PREPARE_NONE };
    dmq_image_set *set = NULL;
    dmq_feature_set *features = NULL;
    dmq_judge *judge = NULL;
    int missing = 0;

    OK(dmq_image_set_open(&set, images, &how));
    OK(dmq_judge_create(&judge, &(dmq_judge_config){ .config = c,
                                                     .lanes = lanes,
                                                     .h = set->h,
                                                     .w = set->w,
                                                     .c = set->c,
                                                     .levels = "uint8-given" }));
    OK(dmq_feature_set_make(&features, &missing,
                            &(dmq_feature_job){ .extractor = judge->extractor,
                                                .images = set,
                                                .n = set->n,
                                                .spatial = dmq_metrics_need_spatial(judge->metrics),
                                                .logits = 1 }));
    OK(dmq_scorer_run(out, judge->scorer, features, judge->id));
    dmq_judge_destroy(judge);
    dmq_feature_set_destroy(features);
    dmq_image_set_close(set);
}

static void is_id(const dmq_score *s, dmq_metric metric, const char *format)
{
    char want[DMQ_SCORE_ID];

    (void)snprintf(want, sizeof want, format, network_id);
    assert_int_equal(s->metric, metric);
    assert_string_equal(s->id, want);
    assert_true(isfinite(s->value));
}

static void every_number_has_its_id(void **state)
{
    static const char *const keys[] = {
        "evaluate.metrics=[fid, sfid, is, precision, coverage, kid]",
        "evaluate.splits=2",
        "evaluate.kid_size=4",
        "evaluate.kid_subsets=3",
        "evaluate.neighbours=2",
        "evaluate.reference_rows=6",
        NULL
    };
    const char *images = pack("images.npz", N, 3);
    dmq_config *c = configure(pack("reference.npz", N, 0), keys);
    dmq_scores s;

    (void)state;
    score(&s, c, images);
    assert_int_equal(s.count, 6);
    is_id(&s.score[0], DMQ_METRIC_FID, "fid8/%s/tf1-resize/reference-4076911e30df/uint8-given");
    is_id(&s.score[1], DMQ_METRIC_SFID, "sfid8/%s/tf1-resize/reference-4076911e30df/uint8-given");
    is_id(&s.score[2], DMQ_METRIC_PRECISION,
          "precision8/%s/tf1-resize/k2/reference-4076911e30df-6/uint8-given");
    is_id(&s.score[3], DMQ_METRIC_COVERAGE,
          "coverage8/%s/tf1-resize/k2/reference-4076911e30df-6/uint8-given");
    is_id(&s.score[4], DMQ_METRIC_KID,
          "kid8/%s/tf1-resize/3x4/reference-4076911e30df-6/uint8-given");
    is_id(&s.score[5], DMQ_METRIC_IS, "is8/%s/tf1-resize/2-splits-shuffled/uint8-given");
    assert_true(s.score[0].value > 0 && s.score[1].value > 0);
    assert_true(s.score[5].value >= 1 && isfinite(s.score[5].sd));
    dmq_config_destroy(c);
}

static void a_resize_is_another_network(void **state)
{
    static const char *const tf1[] = { "evaluate.metrics=[is]", "evaluate.splits=1", NULL };
    static const char *const half[] = { "evaluate.metrics=[is]", "evaluate.splits=1",
                                        "evaluate.resize=half_pixel", NULL };
    const char *images = pack("images.npz", N, 3);
    dmq_config *a = configure("shapes16", tf1), *b = configure("shapes16", half);
    dmq_scores s, t;

    (void)state;
    score(&s, a, images);
    score(&t, b, images);
    is_id(&s.score[0], DMQ_METRIC_IS, "is8/%s/tf1-resize/1-split/uint8-given");
    is_id(&t.score[0], DMQ_METRIC_IS, "is8/%s/half-pixel-resize/1-split/uint8-given");
    assert_true(s.score[0].value != t.score[0].value);
    dmq_config_destroy(a);
    dmq_config_destroy(b);
}

static void too_few_images_for_ten_splits(void **state)
{
    static const char *const keys[] = { "evaluate.metrics=[is]", NULL };
    dmq_config *c = configure("shapes16", keys);
    dmq_judge *judge = NULL;
    dmq_feature_set *set = NULL;
    dmq_scores s;
    float logits[4 * 1008] = { 0 }, pool[4 * 2048] = { 0 };
    dmq_text p = npy_of("<f4", "4, 2048", pool, sizeof pool),
             l = npy_of("<f4", "4, 1008", logits, sizeof logits);

    (void)state;
    put_npz(in_folder("ready.npz"), ZIP_CM_STORE, 2,
            (npz_member[]){ { "pool.npy", &p }, { "logits.npy", &l } });
    OK(dmq_feature_set_ready(&set, in_folder("ready.npz")));
    OK(dmq_judge_create(
        &judge, &(dmq_judge_config){ .config = c, .ready = set, .levels = "ready-features" }));
    assert_int_equal(dmq_scorer_run(&s, judge->scorer, set, judge->id), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "4 images cannot make 10 splits"));
    dmq_judge_destroy(judge);
    dmq_feature_set_destroy(set);
    dmq_config_destroy(c);
    dmq_text_release(&p);
    dmq_text_release(&l);
}

/* 40 images of 4 classes that the network is sure of, class by class or in turn. */
static void classes_in_a_row(const char *name, int in_turn, long warnings)
{
    static const char *const keys[] = { "evaluate.metrics=[is]", "evaluate.splits=4",
                                        "evaluate.is_order=consecutive", NULL };
    enum { M = 40 };
    dmq_config *c = configure("shapes16", keys);
    dmq_judge *judge = NULL;
    dmq_feature_set *set = NULL;
    dmq_scores s;
    float logits[M * 4] = { 0 }, pool[M] = { 0 };
    dmq_text p = npy_of("<f4", "40, 1", pool, sizeof pool), l;

    for (int i = 0; i < M; i++)
        logits[i * 4 + (in_turn ? i % 4 : i / 10)] = 30;
    l = npy_of("<f4", "40, 4", logits, sizeof logits);
    put_npz(in_folder(name), ZIP_CM_STORE, 2,
            (npz_member[]){ { "pool.npy", &p }, { "logits.npy", &l } });
    OK(dmq_feature_set_ready(&set, in_folder(name)));
    OK(dmq_judge_create(
        &judge, &(dmq_judge_config){ .config = c, .ready = set, .levels = "ready-features" }));
    OK(dmq_scorer_run(&s, judge->scorer, set, judge->id));
    assert_int_equal(dmq_log_warnings("class-sorted"), warnings);
    if (in_turn) { /* a part of 10 images has classes of 3, 3, 2 and 2 */
        double h = -(2 * 0.3 * log(0.3) + 2 * 0.2 * log(0.2));

        assert_true(fabs(s.score[0].value - exp(h)) < 1e-6);
    } else {
        assert_true(fabs(s.score[0].value - 1) < 1e-6);
    }
    dmq_judge_destroy(judge);
    dmq_feature_set_destroy(set);
    dmq_config_destroy(c);
    dmq_text_release(&p);
    dmq_text_release(&l);
}

static void images_that_come_class_by_class_are_told(void **state)
{
    (void)state;
    classes_in_a_row("turn.npz", 1, 0);
    classes_in_a_row("sorted.npz", 0, 1);
}

/* ------------------------------------------------------------------ one set in every form */

/* The levels of pack() as numbers. */
static float *as_numbers(const char *images)
{
    const dmq_image_set_config how = { .prepare = DMQ_PREPARE_NONE };
    uint8_t *levels = check_bytes(N * PER, 1);
    float *x = check_bytes(N * PER, sizeof *x);
    dmq_image_set *set = NULL;

    OK(dmq_image_set_open(&set, images, &how));
    OK(dmq_image_set_read(levels, NULL, set, 0, N));
    for (int i = 0; i < N * PER; i++)
        x[i] = (float)levels[i] / 255 * 2 - 1;
    dmq_image_set_close(set);
    return x;
}

static void save_image(const char *path, const float *x)
{
    dmq_picture picture = { 0 };

    OK(dmq_png_grid(&picture, x, 1, SIDE, SIDE, 3, 1, 0, 1));
    OK(dmq_png_save(path, &picture, NULL, 0));
    dmq_picture_release(&picture);
}

/* Features of a set, as a file of pieces where a folder is given; the same bits as these rows. */
static dmq_feature_set *features(const dmq_extractor *x, const char *images, const char *folder)
{
    const dmq_image_set_config how = { .prepare = DMQ_PREPARE_NONE };
    dmq_image_set *set = NULL;
    dmq_feature_set *out = NULL;
    int missing = 0;

    OK(dmq_image_set_open(&set, images, &how));
    OK(dmq_feature_set_make(&out, &missing,
                            &(dmq_feature_job){ .extractor = x,
                                                .images = set,
                                                .n = set->n,
                                                .logits = 1,
                                                .folder = folder,
                                                .name = "features" }));
    assert_int_equal(missing, 0);
    dmq_image_set_close(set);
    return out;
}

static void same_rows(dmq_feature_set *a, dmq_feature_set *b)
{
    const dmq_feature_kind kinds[] = { DMQ_FEATURE_POOL, DMQ_FEATURE_LOGITS };
    const float *x, *y;

    for (int k = 0; k < 2; k++) {
        assert_int_equal(a->width[kinds[k]], b->width[kinds[k]]);
        OK(dmq_feature_set_rows(&x, a, kinds[k]));
        OK(dmq_feature_set_rows(&y, b, kinds[k]));
        assert_memory_equal(x, y, (size_t)N * (size_t)a->width[kinds[k]] * sizeof *x);
    }
}

static void ready_of(const char *path, dmq_feature_set *set)
{
    const float *pool, *logits;
    dmq_text p, l;

    OK(dmq_feature_set_rows(&pool, set, DMQ_FEATURE_POOL));
    OK(dmq_feature_set_rows(&logits, set, DMQ_FEATURE_LOGITS));
    p = npy_of("<f4", "8, 2048", pool, sizeof *pool * N * DMQ_INCEPTION_POOL);
    l = npy_of("<f4", "8, 1008", logits, sizeof *logits * N * DMQ_INCEPTION_CLASSES);
    put_npz(path, ZIP_CM_DEFLATE, 2, (npz_member[]){ { "pool.npy", &p }, { "logits.npy", &l } });
    dmq_text_release(&p);
    dmq_text_release(&l);
}

static void a_set_is_the_same_in_every_form(void **state)
{
    const char *images = pack("images.npz", N, 3);
    float *x = as_numbers(images);
    const dmq_images numbers = { .data = x, .n = N, .one = dmq_shape4(1, SIDE, SIDE, 3) };
    dmq_extractor *extractor = NULL;
    dmq_feature_set *of_pack, *other;
    char name[32];

    (void)state;
    OK(dmq_extractor_open(&extractor, network, DMQ_RESIZE_TF1, lanes));
    of_pack = features(extractor, images, NULL);
    OK(dmq_images_save(in_folder("images.h5"), &numbers, 0, "key"));
    other = features(extractor, in_folder("images.h5"), in_folder("pieces"));
    same_rows(of_pack, other);
    assert_string_equal(of_pack->images, other->images);
    dmq_feature_set_destroy(other);
    OK(dmq_folder_create(in_folder("pngs")));
    for (int i = 0; i < N; i++) {
        (void)snprintf(name, sizeof name, "pngs/%d.png", i);
        save_image(in_folder(name), x + (size_t)i * PER);
    }
    other = features(extractor, in_folder("pngs"), NULL);
    same_rows(of_pack, other);
    dmq_feature_set_destroy(other);
    ready_of(in_folder("ready.npz"), of_pack);
    OK(dmq_feature_set_ready(&other, in_folder("ready.npz")));
    same_rows(of_pack, other);
    dmq_feature_set_destroy(other);
    dmq_feature_set_destroy(of_pack);
    dmq_extractor_close(extractor);
}

/* A piece that is not what would be made now is made again. */
static void a_damaged_piece_is_made_again(void **state)
{
    const char *images = pack("images.npz", N, 3), *others = pack("others.npz", N, 4);
    char folder[256], piece[256];
    dmq_extractor *extractor = NULL;
    dmq_feature_set *right, *again;
    char *bytes;
    size_t size;

    (void)state;
    (void)snprintf(folder, sizeof folder, "%s", in_folder("worn"));
    (void)snprintf(piece, sizeof piece, "%s", in_folder("worn/features-00000000.h5"));
    OK(dmq_extractor_open(&extractor, network, DMQ_RESIZE_TF1, lanes));
    right = features(extractor, images, NULL);
    dmq_feature_set_destroy(features(extractor, others, folder));
    again = features(extractor, images, folder); /* of other images */
    same_rows(right, again);
    dmq_feature_set_destroy(again);
    OK(dmq_file_read(&bytes, &size, piece, (size_t)1 << 30));
    put(piece, bytes, size / 2);
    again = features(extractor, images, folder);
    same_rows(right, again);
    OK(dmq_feature_set_remove(folder, "features", N));
    assert_false(dmq_file_exists(piece));
    dmq_feature_set_destroy(again);
    dmq_feature_set_destroy(right);
    dmq_extractor_close(extractor);
    dmq_free(bytes);
}

/* ------------------------------------------------------------------ statistics that others made */

enum { D = 2048 };

static const char *statistics(const char *name)
{
    double *mu = check_bytes(D, sizeof *mu), *sigma = check_bytes((size_t)D * D, sizeof *sigma);
    const char *path = in_folder(name);
    dmq_text m, s;

    for (int i = 0; i < D; i++)
        sigma[(size_t)i * D + (size_t)i] = 1;
    m = npy_of("<f8", "2048,", mu, D * sizeof *mu);
    s = npy_of("<f8", "2048, 2048", sigma, (size_t)D * D * sizeof *sigma);
    put_npz(path, ZIP_CM_STORE, 2, (npz_member[]){ { "mu.npy", &m }, { "sigma.npy", &s } });
    dmq_text_release(&m);
    dmq_text_release(&s);
    return path;
}

static void an_npz_does_not_tell_its_network(void **state)
{
    static const char *const nothing[] = { "evaluate.metrics=[fid]", NULL };
    static const char *const spatial[] = { "evaluate.metrics=[sfid]", NULL };
    static const char *const rows[] = { "evaluate.metrics=[precision]", NULL };
    char stated[128], path[256];
    const char *const keys[] = { "evaluate.metrics=[fid]", stated, NULL };
    dmq_config *c;
    dmq_judge_config how = { .lanes = lanes, .levels = "x" };
    dmq_judge *judge = NULL;

    (void)state;
    (void)snprintf(path, sizeof path, "%s", statistics("fid_stats.npz"));
    how.config = c = configure(path, nothing);
    OK(dmq_judge_create(&judge, &how));
    assert_int_equal(dmq_log_warnings("reference-unstated"), 1);
    assert_true(strncmp(judge->reference->name, "fid_stats-", 10) == 0);
    assert_string_equal(judge->reference->name + 10 + 12, "-unstated");
    dmq_judge_destroy(judge);
    judge = NULL;
    dmq_config_destroy(c);

    (void)snprintf(stated, sizeof stated, "evaluate.reference_features=%s/half-pixel-resize",
                   network_id);
    how.config = c = configure(path, keys);
    assert_int_equal(dmq_judge_create(&judge, &how), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "half-pixel-resize, the images are scored with"));
    dmq_config_destroy(c);

    (void)snprintf(stated, sizeof stated, "evaluate.reference_features=%s/tf1-resize", network_id);
    how.config = c = configure(path, keys);
    OK(dmq_judge_create(&judge, &how));
    assert_int_equal(strlen(judge->reference->name), 10 + 12);
    dmq_judge_destroy(judge);
    judge = NULL;
    dmq_config_destroy(c);

    how.config = c = configure(path, spatial);
    assert_int_equal(dmq_judge_create(&judge, &how), DMQ_EDATA);
    assert_non_null(
        strstr(dmq_message(), "has no statistics of spatial features, which sfid needs"));
    dmq_config_destroy(c);
    how.config = c = configure(path, rows);
    assert_int_equal(dmq_judge_create(&judge, &how), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "has features of 0 single images"));
    dmq_config_destroy(c);
}

static int open_all(void **state)
{
    const dmq_model_info info = { 0 };
    dmq_model *m = NULL;
    char hash[DMQ_HASH_TEXT];

    if (scratch_make(state) != 0)
        return -1;
    dmq_log_fd_set(-1);
    OK(dmq_lanes_create(&lanes, dmq_backend_cpu(), 0));
    OK(dmq_inception_create(&m, 1));
    dmq_model_init_random(m, 7);
    (void)snprintf(network, sizeof network, "%s", in_folder("inception.h5"));
    OK(dmq_model_save(m, &info, network, 0));
    OK(dmq_hash_file(hash, network));
    (void)snprintf(network_id, sizeof network_id, "inception-%.12s", hash);
    dmq_model_destroy(m);
    return 0;
}

static int close_all(void **state)
{
    dmq_lanes_destroy(lanes);
    return scratch_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(every_number_has_its_id),
        CHECK_TEST(a_resize_is_another_network),
        CHECK_TEST(too_few_images_for_ten_splits),
        CHECK_TEST(images_that_come_class_by_class_are_told),
        CHECK_TEST(a_set_is_the_same_in_every_form),
        CHECK_TEST(a_damaged_piece_is_made_again),
        CHECK_TEST(an_npz_does_not_tell_its_network),
    };

    return cmocka_run_group_tests(tests, open_all, close_all);
}
