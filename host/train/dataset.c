#include "train/dataset.h"

#include "base/memory.h"
#include "train/shapes.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static dmq_status shapes_fill(const dmq_dataset *set, float *images, int *labels,
                              const uint64_t *indices, int n)
{
    size_t image = (size_t)set->size * (size_t)set->size * (size_t)set->channels;

    /* One writer an image: the number of threads changes nothing but the time. */
#pragma omp parallel for schedule(static) if (n > 8)
    for (int i = 0; i < n; i++) {
        dmq_shapes_image(images + (size_t)i * image, labels ? labels + i : NULL, set->size,
                         set->seed, indices[i]);
    }
    return DMQ_OK;
}

static const dmq_dataset known[] = {
    { .name = "shapes16",
      .size = 16,
      .channels = DMQ_SHAPES_CHANNELS,
      .n_classes = DMQ_SHAPES_CLASSES,
      .class_name = dmq_shapes_class_name,
      .count = UINT64_MAX,
      .fill = shapes_fill },
    { .name = "shapes32",
      .size = 32,
      .channels = DMQ_SHAPES_CHANNELS,
      .n_classes = DMQ_SHAPES_CLASSES,
      .class_name = dmq_shapes_class_name,
      .count = UINT64_MAX,
      .fill = shapes_fill },
};
enum { N_KNOWN = sizeof known / sizeof *known };

static dmq_status unknown(const char *name)
{
    char names[256];
    size_t used = 0;

    for (int i = 0; i < N_KNOWN && used < sizeof names; i++) {
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "",
                                 known[i].name);
    }
    return dmq_fail(DMQ_EINVAL, "data set \"%s\": not known\n  hint: the data sets are %s", name,
                    names);
}

dmq_status dmq_dataset_open(dmq_dataset **out, const char *name, uint64_t seed)
{
    dmq_status st = DMQ_OK;
    dmq_dataset *set = NULL;
    const dmq_dataset *found = NULL;

    for (int i = 0; i < N_KNOWN; i++) {
        if (strcmp(known[i].name, name) == 0)
            found = &known[i];
    }
    if (!found)
        return unknown(name);
    DMQ_TRY(dmq_alloc((void **)&set, 1, sizeof *set));
    *set = *found;
    set->seed = seed;
    *out = set;
done:
    return st;
}

void dmq_dataset_close(dmq_dataset *set)
{
    if (set && set->release)
        set->release(set);
    dmq_free(set);
}

dmq_status dmq_dataset_fill(const dmq_dataset *set, float *images, int *labels,
                            const uint64_t *indices, int n)
{
    for (int i = 0; i < n; i++) {
        if (indices[i] >= set->count) {
            return dmq_fail(DMQ_EINVAL, "data set %s: image %" PRIu64 " of %" PRIu64, set->name,
                            indices[i], set->count);
        }
    }
    return set->fill(set, images, labels, indices, n);
}

dmq_status dmq_dataset_range(const dmq_dataset *set, float *images, int *labels, uint64_t first,
                             int n)
{
    enum { CHUNK = 64 };
    uint64_t indices[CHUNK];
    size_t image = (size_t)set->size * (size_t)set->size * (size_t)set->channels;
    dmq_status st = DMQ_OK;

    for (int from = 0; from < n; from += CHUNK) {
        int here = n - from < CHUNK ? n - from : CHUNK;
        for (int i = 0; i < here; i++)
            indices[i] = first + (uint64_t)from + (uint64_t)i;
        DMQ_TRY(dmq_dataset_fill(set, images + (size_t)from * image, labels ? labels + from : NULL,
                                 indices, here));
    }
done:
    return st;
}
