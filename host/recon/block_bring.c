/* Rows of a block that are not on the device: brought in batches of places, ahead of the passes. */
#include "recon/block_inner.h"

#include <assert.h>

dmq_status dmq_block_bring_create(dmq_block *b)
{
    dmq_block_inner *in = b->inner;
    const dmq_store *store[DMQ_PREFETCH_MOST];
    int n = 0, moved, shard = dmq_shard_size(in->space.be, DMQ_BATCH_MAX);
    dmq_status st = DMQ_OK;

    for (int k = 0; k < in->n_sources; k++) {
        dmq_block_source *s = &in->source[k];

        s->is_brought = !s->rows.data;
        if (!s->is_brought)
            continue;
        assert(s->rows.store && n < DMQ_PREFETCH_MOST);
        store[n++] = s->rows.store;
    }
    if (n == 0)
        return DMQ_OK;
    DMQ_TRY(dmq_prefetch_create(&in->prefetch, in->space.be, store, n));
    DMQ_TRY(dmq_block_bring_reserve(b, shard * dmq_lanes_count(b->lanes), &moved));
done:
    return st;
}

dmq_status dmq_block_bring_reserve(dmq_block *b, int places, int *moved)
{
    dmq_block_inner *in = b->inner;
    dmq_status st = DMQ_OK;

    *moved = 0;
    if (!in->prefetch)
        return DMQ_OK;
    DMQ_TRY(dmq_prefetch_reserve(in->prefetch, places, moved));
    for (int k = 0, n = 0; k < in->n_sources; k++) {
        dmq_rows *rows = &in->source[k].rows;

        if (!in->source[k].is_brought)
            continue;
        rows->data = dmq_prefetch_table(in->prefetch, n++);
        rows->count = 2 * dmq_prefetch_room(in->prefetch);
    }
done:
    return st;
}

int dmq_block_bring_batch(const dmq_block *b, int size)
{
    return b->inner->prefetch ? dmq_prefetch_room(b->inner->prefetch) / size * size : 0;
}

void dmq_block_bring_begin(dmq_block *b, const int *index, int n, int batch)
{
    (void)dmq_prefetch_begin(
        b->inner->prefetch,
        &(dmq_trip){ .index = index, .stride = batch, .rows = batch, .count = n }, 0);
}

/* Pieces from one on. */
typedef struct some {
    dmq_piece_fn *fn;
    void *context;
    int from;
} some;

static dmq_status run_one(void *context, int piece, int lane, dmq_queue *queue)
{
    const some *s = context;

    return s->fn(s->context, s->from + piece, lane, queue);
}

dmq_status dmq_block_run_shards(const dmq_block *b, const dmq_block_rows *rows, int size,
                                int first_shard, int n_pieces, dmq_piece_fn *fn, void *context)
{
    dmq_prefetch *p = b->inner->prefetch;
    dmq_queue *queue = b->inner->space.queue;
    int per_batch = rows->batch / size;
    dmq_status st = DMQ_OK;

    if (!per_batch)
        return dmq_lanes_run(b->lanes, n_pieces, fn, context);
    for (int from = 0, end; from < n_pieces; from = end) {
        int batch = (first_shard + from) / per_batch;
        some s = { .fn = fn, .context = context, .from = from };

        end = (batch + 1) * per_batch - first_shard; /* where the batch ends */
        DMQ_TRY(dmq_prefetch_take(p, batch, queue));
        DMQ_TRY(dmq_lanes_run(b->lanes, (end < n_pieces ? end : n_pieces) - from, run_one, &s));
        if (end <= n_pieces)
            DMQ_TRY(dmq_prefetch_leave(p, batch, queue));
    }
done:
    return st;
}
