#include "calib/slots.h"

#include "base/memory.h"

#include <stdlib.h>

/* A sample and what its slot is keyed by. */
typedef struct key {
    int step, label, sample;
} key;

static int compare(const void *left, const void *right)
{
    const key *a = left, *b = right;

    if (a->step != b->step)
        return a->step < b->step ? -1 : 1;
    return (a->label > b->label) - (a->label < b->label);
}

dmq_status dmq_slots_create(dmq_slots **out, const dmq_calib *calib, int emb_of)
{
    size_t n = (size_t)calib->n;
    dmq_slots *s = NULL;
    key *k = NULL;
    dmq_status st = DMQ_OK;

    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&s, 1, sizeof *s));
    DMQ_TRY(dmq_alloc((void **)&s->step, n, sizeof *s->step));
    DMQ_TRY(dmq_alloc((void **)&s->label, n, sizeof *s->label));
    DMQ_TRY(dmq_alloc((void **)&s->of, n, sizeof *s->of));
    DMQ_TRY(dmq_alloc((void **)&k, n, sizeof *k));
    for (int i = 0; i < calib->n; i++) {
        k[i].sample = i;
        k[i].step = emb_of & DMQ_OF_T ? dmq_calib_step(calib, i) : calib->weight_step[0];
        k[i].label = emb_of & DMQ_OF_LABEL
                         ? dmq_calib_label(calib, dmq_calib_step(calib, i), i % calib->per_step)
                         : 0;
    }
    qsort(k, n, sizeof *k, compare);
    for (int i = 0; i < calib->n; i++) {
        if (i == 0 || compare(&k[i - 1], &k[i]) != 0) {
            s->step[s->n] = k[i].step;
            s->label[s->n++] = k[i].label;
        }
        s->of[k[i].sample] = s->n - 1;
    }
    *out = s;
    s = NULL;
done:
    dmq_free(k);
    dmq_slots_destroy(s);
    return st;
}

void dmq_slots_destroy(dmq_slots *slots)
{
    if (!slots)
        return;
    dmq_free(slots->step);
    dmq_free(slots->label);
    dmq_free(slots->of);
    dmq_free(slots);
}
