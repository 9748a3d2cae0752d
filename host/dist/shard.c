#include "dist/shard.h"

#include <assert.h>
#include <stddef.h>

static int width(const dmq_deal *d)
{
    assert(d->n >= 0 && d->size > 0 && d->group >= 0);
    return d->group > 0 ? d->group : 1;
}

static int groups(const dmq_deal *d)
{
    int w = width(d);

    return d->n / w + (d->n % w != 0);
}

static int groups_of(const dmq_deal *d, int rank)
{
    int all = groups(d);

    assert(rank >= 0 && rank < d->size);
    return all / d->size + (rank < all % d->size);
}

/* The k-th group of a rank. */
static int group_at(const dmq_deal *d, int rank, int k)
{
    int all = groups(d), more = all % d->size;

    if (d->kind == DMQ_DEAL_ROUND)
        return rank + k * d->size;
    return rank * (all / d->size) + (rank < more ? rank : more) + k;
}

/* The last group of all may be short; it is the last one of its rank. */
int dmq_deal_count(const dmq_deal *d, int rank)
{
    int own = groups_of(d, rank), w = width(d);
    int last = own > 0 && group_at(d, rank, own - 1) == groups(d) - 1;

    return own * w - (last ? groups(d) * w - d->n : 0);
}

int dmq_deal_most(const dmq_deal *d)
{
    int most = 0;

    for (int rank = 0; rank < d->size; rank++) {
        int count = dmq_deal_count(d, rank);

        most = count > most ? count : most;
    }
    return most;
}

int dmq_deal_item(const dmq_deal *d, int rank, int i)
{
    int w = width(d);

    assert(i >= 0 && i < dmq_deal_count(d, rank));
    return group_at(d, rank, i / w) * w + i % w;
}

int dmq_deal_owner(int *i, const dmq_deal *d, int item)
{
    int w = width(d), g = item / w, all = groups(d), few = all / d->size, more = all % d->size;
    int rank, k;

    assert(item >= 0 && item < d->n);
    if (d->kind == DMQ_DEAL_ROUND) {
        rank = g % d->size;
        k = g / d->size;
    } else if (g < more * (few + 1)) {
        rank = g / (few + 1);
        k = g % (few + 1);
    } else {
        rank = more + (g - more * (few + 1)) / few;
        k = (g - more * (few + 1)) % few;
    }
    if (i)
        *i = k * w + item % w;
    return rank;
}
