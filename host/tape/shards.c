#include "tape/shards.h"

#include "base/memory.h"
#include "tape/node.h"

#include <assert.h>
#include <limits.h>

enum { SUM_NUMBERS = 16384 }; /* of one piece of the sum over blocks: stays in the first caches */

typedef struct bench {
    dmq_tape *tape;
    void *state;
    const dmq_real **block; /* where the blocks have this lane's piece of the sum */
} bench;

struct dmq_shards {
    dmq_lanes *lanes;
    dmq_shards_config config;
    bench *lane;
    dmq_real *blocks; /* (max_blocks, n_params) */
    int max_blocks;
};

/* Room for a gradient block of each shard; a single one is written where it belongs. */
static dmq_status create_blocks(dmq_shards *s, const dmq_backend *be)
{
    size_t n = s->config.n_params;
    dmq_status st = DMQ_OK;

    s->max_blocks = dmq_shards_count(s, s->config.max_summed);
    if (s->max_blocks < 2)
        return DMQ_OK;
    if (n > SIZE_MAX / sizeof *s->blocks / (size_t)s->max_blocks) {
        return dmq_fail(DMQ_ENOMEM, "shards: %d gradients of %zu numbers cannot be addressed",
                        s->max_blocks, n);
    }
    DMQ_TRY(be->alloc((void **)&s->blocks, (size_t)s->max_blocks * n * sizeof *s->blocks));
    for (int i = 0; i < dmq_lanes_count(s->lanes); i++)
        DMQ_TRY(dmq_alloc((void **)&s->lane[i].block, (size_t)s->max_blocks, sizeof(dmq_real *)));
done:
    return st;
}

dmq_status dmq_shards_create(dmq_shards **out, dmq_lanes *lanes, const dmq_shards_config *config)
{
    const dmq_backend *be = dmq_lanes_backend(lanes);
    dmq_shards *s = NULL;
    dmq_status st = DMQ_OK;

    assert(config->size > 0);
    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&s, 1, sizeof *s));
    s->lanes = lanes;
    s->config = *config;
    DMQ_TRY(dmq_alloc((void **)&s->lane, (size_t)dmq_lanes_count(lanes), sizeof *s->lane));
    for (int i = 0; i < dmq_lanes_count(lanes); i++) {
        bench *l = &s->lane[i];

        DMQ_TRY(dmq_alloc(&l->state, config->state_bytes, 1));
        DMQ_TRY(dmq_tape_create(&l->tape, be, config->passes));
        DMQ_TRY(config->record(config->context, l->tape, config->size, l->state));
        DMQ_TRY(dmq_tape_plan(l->tape));
    }
    DMQ_TRY(create_blocks(s, be));
    *out = s;
    s = NULL;
done:
    dmq_shards_destroy(s);
    return st;
}

void dmq_shards_destroy(dmq_shards *s)
{
    if (!s)
        return;
    for (int i = 0; s->lane && i < dmq_lanes_count(s->lanes); i++) {
        dmq_tape_destroy(s->lane[i].tape);
        dmq_free(s->lane[i].state);
        dmq_free(s->lane[i].block);
    }
    if (s->blocks)
        dmq_lanes_backend(s->lanes)->free(s->blocks);
    dmq_free(s->lane);
    dmq_free(s);
}

int dmq_shards_count(const dmq_shards *s, int n)
{
    return n / s->config.size + (n % s->config.size != 0);
}

size_t dmq_shards_bytes(const dmq_shards *s)
{
    size_t bytes = s->blocks ? (size_t)s->max_blocks * s->config.n_params * sizeof(dmq_real) : 0;

    for (int i = 0; i < dmq_lanes_count(s->lanes); i++)
        bytes += dmq_tape_bytes(s->lane[i].tape);
    return bytes;
}

dmq_tape *dmq_shards_tape(const dmq_shards *s, int lane)
{
    return s->lane[lane].tape;
}

void *dmq_shards_state(const dmq_shards *s, int lane)
{
    return s->lane[lane].state;
}

typedef struct run {
    dmq_shards *shards;
    const dmq_shards_job *job;
    int n_shards;
} run;

static dmq_real *block_of(const run *r, int number)
{
    size_t at = (size_t)number * r->shards->config.n_params;

    if (!r->job->seed)
        return NULL;
    if (r->job->grad_each)
        return r->job->grad_each + at;
    return r->n_shards == 1 ? r->job->grad : r->shards->blocks + at;
}

/* Seeds of the copies that pad the last shard. */
static dmq_status clear_padding(const dmq_shard *shard)
{
    const dmq_tape *tape = shard->tape;
    const dmq_node here = { .tape = shard->tape };
    dmq_status st = DMQ_OK;

    for (int i = 0; i < tape->n_cells && shard->count < shard->size; i++) {
        const dmq_var *v = &tape->cell[i]->var;
        size_t per = dmq_shape_count(v->shape) / (size_t)shard->size;
        size_t rest = per * (size_t)(shard->size - shard->count);

        if (v->is_output && v->grad) {
            DMQ_TRY(dmq_node_zero(&here, tape->backend, shard->queue,
                                  v->grad + per * (size_t)shard->count, 1, rest, rest));
        }
    }
done:
    return st;
}

static dmq_status run_shard(void *context, int number, int at, dmq_queue *queue)
{
    const run *r = context;
    const dmq_shards_job *job = r->job;
    int size = r->shards->config.size, first = number * size;
    dmq_shard shard = { .tape = r->shards->lane[at].tape,
                        .state = r->shards->lane[at].state,
                        .queue = queue,
                        .number = number,
                        .lane = at,
                        .first = first,
                        .count = job->n - first < size ? job->n - first : size,
                        .size = size };
    dmq_status st = DMQ_OK;

    dmq_tape_bind(shard.tape, block_of(r, number), job->tangents);
    if (job->values)
        dmq_tape_bind_values(shard.tape, job->values);
    if (job->fill)
        DMQ_TRY(job->fill(job->context, &shard));
    DMQ_TRY(dmq_tape_forward(shard.tape, queue, job->part));
    if (job->seed) {
        DMQ_TRY(job->seed(job->context, &shard));
        DMQ_TRY(clear_padding(&shard));
        DMQ_TRY(dmq_tape_backward(shard.tape, queue));
    }
    if (job->tangents)
        DMQ_TRY(dmq_tape_jvp(shard.tape, queue));
    if (job->take)
        DMQ_TRY(job->take(job->context, &shard));
done:
    return st;
}

static dmq_status sum_piece(void *context, int piece, int at, dmq_queue *queue)
{
    const run *r = context;
    const dmq_shards *s = r->shards;
    size_t from = (size_t)piece * SUM_NUMBERS, n = s->config.n_params;
    const dmq_real **block = s->lane[at].block;

    for (int i = 0; i < r->n_shards; i++)
        block[i] = s->blocks + (size_t)i * n + from;
    return dmq_lanes_backend(s->lanes)->sum_blocks(
        queue, &(dmq_sum_blocks_args){ .x = block,
                                       .y = r->job->grad + from,
                                       .n_blocks = r->n_shards,
                                       .count = n - from < SUM_NUMBERS ? n - from : SUM_NUMBERS,
                                       .alpha = 1 });
}

dmq_status dmq_shards_run(dmq_shards *s, const dmq_shards_job *job)
{
    run r = { .shards = s, .job = job, .n_shards = dmq_shards_count(s, job->n) };
    size_t pieces = (s->config.n_params + SUM_NUMBERS - 1) / SUM_NUMBERS;
    dmq_status st;

    assert(job->n > 0 && pieces <= INT_MAX);
    assert(!job->seed || !job->grad != !job->grad_each);
    assert(!job->grad || r.n_shards <= 1 || r.n_shards <= s->max_blocks);
    st = dmq_lanes_run(s->lanes, r.n_shards, run_shard, &r);
    if (st == DMQ_OK && job->seed && job->grad && r.n_shards > 1)
        st = dmq_lanes_run(s->lanes, (int)pieces, sum_piece, &r);
    return st;
}
