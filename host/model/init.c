#include "model/init.h"

#include <math.h>
#include <string.h>

static int ends_in(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

static double scale_of(const char *name)
{
    static const char *const last[] = {
        "conv2.weight",        "proj_out.weight", "conv_out.weight",
        "out_layers.3.weight", "out.2.weight",    "ff.net.2.weight"
    };

    for (size_t i = 0; i < sizeof last / sizeof *last; i++) {
        if (ends_in(name, last[i]))
            return 1e-10;
    }
    return 1;
}

static int is_table(const char *name)
{
    return ends_in(name, "embedding.weight") || ends_in(name, "embedding_table.weight");
}

/* Uniform in +-sqrt(3 v), whose variance is v. */
static void draw(dmq_real *value, size_t count, double variance, uint64_t seed, int e)
{
    double limit = sqrt(3 * variance);

    for (size_t i = 0; i < count; i++) {
        value[i] =
            (dmq_real)(limit *
                       (2 * dmq_uniform(seed, DMQ_FOR_INIT, (uint64_t)e, 0, (uint32_t)i) - 1));
    }
}

static void init(dmq_model *model, uint64_t seed, int random)
{
    for (int e = 0; e < model->n_entries; e++) {
        const dmq_entry *entry = &model->entry[e];
        size_t count = dmq_shape_count(entry->shape), out = (size_t)entry->shape.dim[0];
        dmq_real *value = model->params + entry->offset;

        if (entry->shape.rank == 1) {
            dmq_real fill = ends_in(entry->name, ".weight") ? 1 : 0;
            for (size_t i = 0; i < count; i++)
                value[i] = fill;
        } else if (random && is_table(entry->name)) {
            draw(value, count, 1, seed, e);
        } else {
            size_t area = entry->rank4 ? (size_t)(entry->shape.dim[1] * entry->shape.dim[2]) : 1;
            size_t fan_in = count / out, fan_out = out * area;
            double fan = (double)(fan_in + fan_out) / 2;
            draw(value, count, (random ? 1 : scale_of(entry->name)) / fan, seed, e);
        }
    }
}

void dmq_model_init(dmq_model *model, uint64_t seed)
{
    init(model, seed, 0);
}

void dmq_model_init_random(dmq_model *model, uint64_t seed)
{
    init(model, seed, 1);
}
