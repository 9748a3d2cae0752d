#include "cuda/plans.h"

#include "base/memory.h"

#include <string.h>

enum { FIRST_ROOM = 64 };

/* FNV over the words, then its high bits folded down: shapes differ in few bits. */
static size_t hash(const dmq_cuda_key *key)
{
    uint64_t h = UINT64_C(14695981039346656037);

    for (int i = 0; i < DMQ_CUDA_KEY; i++)
        h = (h ^ (uint64_t)key->word[i]) * UINT64_C(1099511628211);
    return (size_t)(h ^ h >> 29);
}

/* Where the key is, or would be. room is a power of two and never full. */
static dmq_cuda_plan *place_of(const dmq_cuda_plans *plans, const dmq_cuda_key *key)
{
    size_t at = hash(key) & (plans->room - 1);

    while (plans->place[at].plan && memcmp(&plans->place[at].key, key, sizeof *key) != 0)
        at = (at + 1) & (plans->room - 1);
    return &plans->place[at];
}

void *dmq_cuda_plans_find(const dmq_cuda_plans *plans, const dmq_cuda_key *key)
{
    return plans->room ? place_of(plans, key)->plan : NULL;
}

static dmq_status make_room(dmq_cuda_plans *plans)
{
    dmq_cuda_plans larger = { NULL, plans->room ? 2 * plans->room : FIRST_ROOM, plans->count };
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&larger.place, larger.room, sizeof *larger.place));
    for (size_t i = 0; i < plans->room; i++) {
        if (plans->place[i].plan)
            *place_of(&larger, &plans->place[i].key) = plans->place[i];
    }
    dmq_free(plans->place);
    *plans = larger;
done:
    return st;
}

dmq_status dmq_cuda_plans_add(dmq_cuda_plans *plans, const dmq_cuda_key *key, void *plan)
{
    dmq_status st = DMQ_OK;
    dmq_cuda_plan *place = NULL;

    if (3 * (plans->count + 1) > 2 * plans->room)
        DMQ_TRY(make_room(plans));
    place = place_of(plans, key);
    place->key = *key;
    place->plan = plan;
    plans->count++;
done:
    return st;
}

void dmq_cuda_plans_release(dmq_cuda_plans *plans, void (*destroy)(void *plan))
{
    for (size_t i = 0; i < plans->room; i++) {
        if (plans->place[i].plan)
            destroy(plans->place[i].plan);
    }
    dmq_free(plans->place);
    *plans = (dmq_cuda_plans){ NULL, 0, 0 };
}
