/**
 * The loop of training: a batch in shards over lanes, a step of the optimizer, and so on.
 *
 *   loss(iteration) = scale * sum of the samples' losses,  gradient likewise;  iteration = 0, 1, ...
 *
 * A task says what is recorded and with what a shard is filled; sample b of iteration i must depend on
 * (seed, i, b) alone. Then the result depends on the settings alone: not on lanes, not on interruptions.
 * The shard's size is a setting, as sums over a batch are joined shard by shard.
 */
#ifndef DMQ_TRAIN_TRAINER_H
#define DMQ_TRAIN_TRAINER_H

#include "tape/shards.h"
#include "train/optim.h"

#include <stdint.h>

/** Room for the text of all settings of a training run. */
#define DMQ_TRAIN_TEXT 2048

typedef struct dmq_train_config {
    dmq_optim_config optim;
    int batch, shard;     /**< samples an iteration, samples a shard */
    uint64_t seed;        /**< of times, noises and initial weights */
    int checkpoint_every; /**< iterations; 0: only when stopped */
} dmq_train_config;

/** Begins what a task keeps for each tape. */
typedef struct dmq_train_state {
    dmq_var *loss; /**< (size) set by record: the loss of each sample, an output of the tape */
} dmq_train_state;

typedef struct dmq_train_task {
    const char *stage; /**< for progress and messages */
    void *context;     /**< for the two functions below */
    size_t state_bytes;
    dmq_status (*record)(void *context, dmq_tape *tape, int size, void *state);
    /** Inputs of a shard in iteration i: samples shard->first ... of the batch. Allocates nothing. */
    dmq_status (*fill)(void *context, const dmq_shard *shard, uint32_t i);
    double scale; /**< of the samples' losses, 1/batch included */
    const char
        *settings; /**< of the task, "key: value" lines: part of what a checkpoint is held to */
} dmq_train_task;

typedef struct dmq_train_watch {
    void *context;
    /** After every iteration; may be NULL. */
    void (*step)(void *context, int iteration, double loss, double rate);
} dmq_train_watch;

typedef struct dmq_train_place {
    const char *checkpoint; /**< file to write; NULL: none, and a stop loses the run */
    int resume;             /**< 1: continue from it if it is there */
} dmq_train_place;

typedef struct dmq_train_result {
    double loss;    /**< mean of the last tenth of the iterations of this process, at most 200 */
    int iterations; /**< run by this process */
    double seconds;
} dmq_train_result;

/** batch 64 in shards of 16, checkpoint every 1000. */
void dmq_train_defaults(dmq_train_config *config);

/** EINVAL with the key's name. */
dmq_status dmq_train_check(const dmq_train_config *config);

/** All settings of a run, one "key: value" a line, in a fixed order. */
void dmq_train_text(char out[DMQ_TRAIN_TEXT], const dmq_train_task *task,
                    const dmq_train_config *config, const dmq_model *model);

/**
 * Train the model; at the end its parameters are the average (ema) of the learned ones.
 *
 * @param watch, result  NULL if not wanted
 * @return  ESTOP on a signal, after writing the checkpoint; EDIVERGE when the loss is not finite; EINVAL
 *          for a wrong setting; EDATA for a checkpoint of another run
 */
dmq_status dmq_train_run(dmq_model *model, const dmq_train_task *task,
                         const dmq_train_config *config, dmq_lanes *lanes,
                         const dmq_train_place *place, const dmq_train_watch *watch,
                         dmq_train_result *result);

#endif
