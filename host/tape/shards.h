/**
 * A batch computed as shards over lanes: pieces of a fixed size, each on the tape of the lane that takes
 * it, gradients joined in the order of the shards. The same bits for any number of lanes.
 *
 *   shard i holds the samples i*size .. i*size + count - 1, count = size but for the last one
 *   grad = sum_i (J_i^T seeds_i)        each shard into a block of its own, then summed, i ascending
 *
 * For every shard, on its lane's thread:
 *
 *   fill     writes the inputs (and the cut, when only the live part runs) of all `size` rows
 *   forward  the part that the job names
 *   seed     writes the grad of the live outputs for the first `count` rows; then backward
 *   jvp      when the job has tangents
 *   take     reads the outputs
 *
 * The last shard is padded: row r of the tape is sample dmq_shard_sample(shard, r), rows from count on
 * are copies of the last sample. Their seeds are set to zero here, whatever `seed` wrote, and `take`
 * ignores them; so nothing depends on them.
 *
 * A gradient for each sample: size 1 and job.grad_each.
 */
#ifndef DMQ_TAPE_SHARDS_H
#define DMQ_TAPE_SHARDS_H

#include "backend/lanes.h"
#include "tape/tape.h"

typedef struct dmq_shards dmq_shards;

/** What is recorded on the tape of every lane. */
typedef struct dmq_shards_config {
    int size;           /**< samples of a shard */
    unsigned passes;    /**< DMQ_TAPE_... */
    size_t n_params;    /**< numbers in a gradient block; undefined where no parameter lies */
    int max_summed;     /**< most samples of a job with `grad`; 0: there will be none */
    size_t state_bytes; /**< of what record leaves for the callbacks, one for each lane */
    void *context;      /**< for record */
    /** Record a batch of `size` samples, and keep the variables in *state (zeroed); do not plan. */
    dmq_status (*record)(void *context, dmq_tape *tape, int size, void *state);
} dmq_shards_config;

/** One shard at work. */
typedef struct dmq_shard {
    dmq_tape *tape;
    void *state; /**< of the tape, as record left it */
    dmq_queue *queue;
    int number, lane;
    int first, count, size;
} dmq_shard;

typedef dmq_status dmq_shard_fn(void *context, const dmq_shard *shard);

typedef struct dmq_shards_job {
    int n; /**< samples, > 0 */
    dmq_part part;
    void *context;            /**< for the callbacks, which run on several lanes at once */
    dmq_shard_fn *fill;       /**< optional only if the inputs of all tapes are in place */
    dmq_shard_fn *seed;       /**< NULL: no backward pass */
    dmq_shard_fn *take;       /**< optional */
    dmq_real *values;         /**< parameters' values are at values + offset; NULL: as recorded */
    dmq_real *grad;           /**< (n_params), overwritten; with seed, this or the next one */
    dmq_real *grad_each;      /**< (shards, n_params): the blocks as they are, not summed */
    const dmq_real *tangents; /**< (n_params); NULL: no jvp */
} dmq_shards_job;

/** Tapes, one for each lane. lanes must outlive the shards. Errors: of record, of dmq_tape_plan; ENOMEM. */
dmq_status dmq_shards_create(dmq_shards **out, dmq_lanes *lanes, const dmq_shards_config *config);

/** Takes NULL. */
void dmq_shards_destroy(dmq_shards *shards);

/** Shards of a job of n samples. */
int dmq_shards_count(const dmq_shards *shards, int n);

/** Bytes of all tapes and gradient blocks. */
size_t dmq_shards_bytes(const dmq_shards *shards);

/** The tape of a lane and its state, between jobs. */
dmq_tape *dmq_shards_tape(const dmq_shards *shards, int lane);
void *dmq_shards_state(const dmq_shards *shards, int lane);

/** Allocates nothing. The first failure in the order of the shards is returned. */
dmq_status dmq_shards_run(dmq_shards *shards, const dmq_shards_job *job);

/** The sample of a row of the shard's tape. */
static inline int dmq_shard_sample(const dmq_shard *shard, int row)
{
    return shard->first + (row < shard->count ? row : shard->count - 1);
}

#endif
