#include "model/fingerprint.h"

#include <string.h>

/* Values as f32, a few at a time. */
static dmq_status add_values(dmq_hash *hash, const dmq_real *x, size_t count)
{
    float part[1024];
    dmq_status st = DMQ_OK;

    for (size_t from = 0; from < count && st == DMQ_OK; from += 1024) {
        size_t n = count - from < 1024 ? count - from : 1024;

        for (size_t i = 0; i < n; i++)
            part[i] = (float)x[from + i];
        st = dmq_hash_add(hash, part, n * sizeof part[0]);
    }
    return st;
}

dmq_status dmq_model_fingerprint(char out[DMQ_HASH_TEXT], const dmq_model *model)
{
    dmq_hash *hash = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_hash_create(&hash));
    if (model->config_text)
        DMQ_TRY(dmq_hash_add(hash, model->config_text, strlen(model->config_text)));
    for (int i = 0; i < model->n_entries; i++) {
        const dmq_entry *e = &model->entry[i];

        DMQ_TRY(dmq_hash_add(hash, e->name, strlen(e->name) + 1));
        DMQ_TRY(dmq_hash_add(hash, dmq_shape_text(e->shape), strlen(dmq_shape_text(e->shape)) + 1));
        DMQ_TRY(add_values(hash, model->params + e->offset, dmq_shape_count(e->shape)));
    }
    DMQ_TRY(dmq_hash_text(out, hash));
done:
    dmq_hash_destroy(hash);
    return st;
}
