/* The data set "shapes" and the data sets by name. */
#include "base/memory.h"
#include "base/status.h"
#include "train/dataset.h"
#include "train/shapes.h"

#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define S16   ((size_t)16 * 16 * 3)
#define S32   ((size_t)32 * 32 * 3)
#define BATCH 96

static bool same(const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (a[i] != b[i])
            return false;
    }
    return true;
}

static float *floats(size_t n)
{
    void *p = NULL;
    assert_int_equal(dmq_alloc(&p, n, sizeof(float)), DMQ_OK);
    return p;
}

static dmq_dataset *open_set(const char *name, uint64_t seed)
{
    dmq_dataset *set = NULL;
    assert_int_equal(dmq_dataset_open(&set, name, seed), DMQ_OK);
    return set;
}

static void same_image_in_any_order_batch_and_thread_count(void **state)
{
    (void)state;
    dmq_dataset *set = open_set("shapes16", 3);
    float *forward = floats(BATCH * S16), *mixed = floats(BATCH * S16), one[S16];
    uint64_t indices[BATCH];
    int labels[BATCH], mixed_labels[BATCH], label, threads = omp_get_max_threads();

    omp_set_num_threads(1);
    assert_int_equal(dmq_dataset_range(set, forward, labels, 1000, BATCH), DMQ_OK);
    for (uint64_t i = 0; i < BATCH; i++)
        indices[i] = 1000 + i * 35 % BATCH;
    omp_set_num_threads(5);
    assert_int_equal(dmq_dataset_fill(set, mixed, mixed_labels, indices, BATCH), DMQ_OK);
    omp_set_num_threads(threads);
    for (size_t i = 0; i < BATCH; i++) {
        size_t j = indices[i] - 1000;
        assert_true(same(mixed + i * S16, forward + j * S16, S16));
        assert_int_equal(mixed_labels[i], labels[j]);
        dmq_shapes_image(one, &label, 16, 3, indices[i]);
        assert_true(same(one, mixed + i * S16, S16));
        assert_int_equal(label, mixed_labels[i]);
        assert_int_equal(label, dmq_shapes_label(3, indices[i]));
    }
    dmq_free(forward);
    dmq_free(mixed);
    dmq_dataset_close(set);
}

static void values_fill_the_range_and_images_differ(void **state)
{
    (void)state;
    enum { N = 400 };
    float *all = floats(N * S16), low = 1, high = -1;

    for (size_t i = 0; i < N; i++) {
        float min = 1, max = -1, *image = all + i * S16;
        dmq_shapes_image(image, NULL, 16, 11, i);
        for (size_t k = 0; k < S16; k++) {
            assert_true(image[k] >= -1.0f && image[k] <= 1.0f); /* also false for NaN */
            min = fminf(min, image[k]);
            max = fmaxf(max, image[k]);
        }
        assert_true(max - min > 0.6f); /* the object stands out */
        low = fminf(low, min);
        high = fmaxf(high, max);
        for (size_t j = 0; j < i; j++)
            assert_false(same(image, all + j * S16, S16));
    }
    assert_true(low < -0.95f && high > 0.95f);
    dmq_free(all);
}

static void seeds_and_high_index_bits_matter(void **state)
{
    (void)state;
    const uint64_t seed[] = { 1, 2, 1 + (UINT64_C(1) << 32), 1 },
                   index[] = { 5, 5, 5, 5 + DMQ_DATASET_HELD_OUT };
    float image[4][S16];

    for (int i = 0; i < 4; i++) {
        dmq_shapes_image(image[i], NULL, 16, seed[i], index[i]);
        for (int j = 0; j < i; j++)
            assert_false(same(image[i], image[j], S16));
    }
}

static void labels_are_balanced(void **state)
{
    (void)state;
    int count[DMQ_SHAPES_CLASSES] = { 0 }, repeats = 0, last = -1;

    for (uint64_t i = 0; i < 10000; i++) {
        int label = dmq_shapes_label(1, i);
        count[label]++;
        repeats += label == last;
        last = label;
    }
    /* Standard deviation of each count is 30: five of them. */
    for (int c = 0; c < DMQ_SHAPES_CLASSES; c++)
        assert_in_range(count[c], 850, 1150);
    assert_in_range(repeats, 850, 1150); /* neighbours are independent */
}

static void both_sizes_show_the_same_scene(void **state)
{
    (void)state;
    float small[S16], large[S32];
    double worst = 0;

    for (uint64_t i = 0; i < 200; i++) {
        int label16, label32;
        double sum = 0;
        dmq_shapes_image(small, &label16, 16, 2, i);
        dmq_shapes_image(large, &label32, 32, 2, i);
        assert_int_equal(label16, label32);
        for (size_t y = 0; y < 16; y++) {
            for (size_t k = 0; k < 48; k++) {
                const float *a = large + 2 * y * 96 + k / 3 * 6 + k % 3;
                sum +=
                    fabs(0.25 * (double)(a[0] + a[3] + a[96] + a[99]) - (double)small[y * 48 + k]);
            }
        }
        worst = fmax(worst, sum / (double)S16);
    }
    assert_true(worst < 0.08);
}

/* Contrast to the mean of the corners, which are background: keeps the outline, drops the colours. */
static void contrast(float out[256], const float *image)
{
    const size_t corner[4] = { 0, 15, 240, 255 };
    float mean = 0;

    for (size_t p = 0; p < 256; p++) {
        float sum = 0;
        for (size_t c = 0; c < 3; c++) {
            float back = 0;
            for (int k = 0; k < 4; k++)
                back += 0.25f * image[corner[k] * 3 + c];
            sum += (image[p * 3 + c] - back) * (image[p * 3 + c] - back);
        }
        out[p] = sqrtf(sum);
        mean += out[p] / 256.0f;
    }
    for (int p = 0; p < 256; p++)
        out[p] /= mean;
}

static float distance2(const float *a, const float *b)
{
    float sum = 0;
    for (int p = 0; p < 256; p++)
        sum += (a[p] - b[p]) * (a[p] - b[p]);
    return sum;
}

static void class_means_differ_and_classify(void **state)
{
    (void)state;
    enum { TRAIN = 4000, TEST = 1000 };
    static float mean[DMQ_SHAPES_CLASSES][256];
    int count[DMQ_SHAPES_CLASSES] = { 0 }, right[DMQ_SHAPES_CLASSES] = { 0 },
        seen[DMQ_SHAPES_CLASSES] = { 0 };
    float image[S16], outline[256];
    int label, all = 0;

    for (uint64_t i = 0; i < TRAIN; i++) {
        dmq_shapes_image(image, &label, 16, 4, i);
        contrast(outline, image);
        count[label]++;
        for (int p = 0; p < 256; p++)
            mean[label][p] += outline[p];
    }
    for (int c = 0; c < DMQ_SHAPES_CLASSES; c++) {
        for (int p = 0; p < 256; p++)
            mean[c][p] /= (float)count[c];
        for (int b = 0; b < c; b++)
            assert_true(distance2(mean[c], mean[b]) > 1.0f);
    }
    for (uint64_t i = 0; i < TEST; i++) {
        dmq_shapes_image(image, &label, 16, 4, DMQ_DATASET_HELD_OUT + i);
        contrast(outline, image);
        int best = 0;
        for (int c = 1; c < DMQ_SHAPES_CLASSES; c++)
            best = distance2(outline, mean[c]) < distance2(outline, mean[best]) ? c : best;
        seen[label]++;
        right[label] += best == label;
        all += best == label;
    }
    print_message("nearest class mean: %.1f %% of %d held-out images\n", 100.0 * all / TEST, TEST);
    assert_true(all > TEST * 45 / 100);
    for (int c = 0; c < DMQ_SHAPES_CLASSES; c++) {
        print_message("  %-8s %d of %d\n", dmq_shapes_class_name[c], right[c], seen[c]);
        assert_true(right[c] * 5 > seen[c]); /* twice chance */
    }
}

static void sets_by_name(void **state)
{
    (void)state;
    dmq_dataset *set = open_set("shapes32", 9);
    float *images = floats(2 * S32), alone[S32];
    const uint64_t index[2] = { 7, 3 };

    assert_string_equal(set->name, "shapes32");
    assert_int_equal(set->size, 32);
    assert_int_equal(set->channels, 3);
    assert_int_equal(set->n_classes, 10);
    assert_string_equal(set->class_name[9], "arrow");
    assert_int_equal(dmq_dataset_fill(set, images, NULL, index, 2), DMQ_OK);
    dmq_shapes_image(alone, NULL, 32, 9, 3);
    assert_true(same(alone, images + S32, S32));

    set->count = 5;
    assert_int_equal(dmq_dataset_fill(set, images, NULL, index, 2), DMQ_EINVAL);
    assert_non_null(strstr(dmq_message(), "image 7 of 5"));
    dmq_dataset_close(set);
    dmq_dataset_close(NULL);
    dmq_free(images);

    set = NULL;
    assert_int_equal(dmq_dataset_open(&set, "shapes64", 0), DMQ_EINVAL);
    assert_null(set);
    assert_non_null(strstr(dmq_message(), "shapes64"));
    assert_non_null(strstr(dmq_message(), "shapes16, shapes32"));
    dmq_alloc_fail_at(1);
    assert_int_equal(dmq_dataset_open(&set, "shapes16", 0), DMQ_ENOMEM);
    dmq_alloc_fail_at(0);
    assert_null(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_image_in_any_order_batch_and_thread_count),
        cmocka_unit_test(values_fill_the_range_and_images_differ),
        cmocka_unit_test(seeds_and_high_index_bits_matter),
        cmocka_unit_test(labels_are_balanced),
        cmocka_unit_test(both_sizes_show_the_same_scene),
        cmocka_unit_test(class_means_differ_and_classify),
        cmocka_unit_test(sets_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
