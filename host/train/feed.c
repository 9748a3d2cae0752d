#include "train/feed.h"

#include "base/memory.h"

dmq_status dmq_feed_init(dmq_feed *feed, const dmq_dataset *set, uint64_t images, int batch,
                         int shard, dmq_lanes *lanes)
{
    dmq_status st = DMQ_OK;
    size_t n = (size_t)shard;

    *feed = (dmq_feed){ .set = set,
                        .images = images ? images : set->count,
                        .batch = batch,
                        .per = (size_t)(set->size * set->size * set->channels) };
    if (images > set->count) {
        return dmq_fail(DMQ_EINVAL, "train: images = %llu: %s has %llu", (unsigned long long)images,
                        set->name, (unsigned long long)set->count);
    }
    DMQ_TRY(dmq_alloc((void **)&feed->lane, (size_t)dmq_lanes_count(lanes), sizeof *feed->lane));
    feed->n_lanes = dmq_lanes_count(lanes);
    for (int i = 0; i < feed->n_lanes; i++) {
        dmq_feed_lane *l = &feed->lane[i];
        DMQ_TRY(dmq_alloc((void **)&l->image, n * feed->per, sizeof *l->image));
        DMQ_TRY(dmq_alloc((void **)&l->x, n * feed->per, sizeof *l->x));
        DMQ_TRY(dmq_alloc((void **)&l->row, 2 * n, sizeof *l->row));
        DMQ_TRY(dmq_alloc((void **)&l->index, n, sizeof *l->index));
        DMQ_TRY(dmq_alloc((void **)&l->sample, n, sizeof *l->sample));
        DMQ_TRY(dmq_alloc((void **)&l->label, n, sizeof *l->label));
    }
done:
    if (st != DMQ_OK)
        dmq_feed_release(feed);
    return st;
}

void dmq_feed_release(dmq_feed *feed)
{
    for (int i = 0; i < feed->n_lanes; i++) {
        dmq_feed_lane *l = &feed->lane[i];
        dmq_free(l->image);
        dmq_free(l->x);
        dmq_free(l->row);
        dmq_free(l->index);
        dmq_free(l->sample);
        dmq_free(l->label);
    }
    dmq_free(feed->lane);
    feed->lane = NULL;
    feed->n_lanes = 0;
}

dmq_status dmq_feed_fill(dmq_feed *feed, const dmq_shard *shard, uint32_t iteration, int *labels)
{
    dmq_status st = DMQ_OK;
    dmq_feed_lane *l = &feed->lane[shard->lane];

    for (int r = 0; r < shard->size; r++) {
        l->sample[r] = (uint64_t)dmq_shard_sample(shard, r);
        l->index[r] = ((uint64_t)iteration * (uint64_t)feed->batch + l->sample[r]) % feed->images;
    }
    DMQ_TRY(dmq_dataset_fill(feed->set, l->image, labels, l->index, shard->size));
    for (size_t i = 0; i < (size_t)shard->size * feed->per; i++)
        l->x[i] = (dmq_real)l->image[i];
done:
    return st;
}
