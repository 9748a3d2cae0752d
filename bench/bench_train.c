/*
 * Training speed of the shipped networks, on the data set that they are made from.
 *
 *   bench_train [SIZE 16|32] [ITERATIONS] [BACKEND] [LANES] [BATCH] [SHARD]
 *
 * One tab-separated line: iterations a second, images a second, and the loss that was reached.
 */
#include "base/progress.h"
#include "model/ddpm_unet.h"
#include "model/init.h"
#include "train/train_diffusion.h"

#include <stdio.h>
#include <stdlib.h>

static int number(int argc, char **argv, int i, int otherwise)
{
    return argc > i ? atoi(argv[i]) : otherwise;
}

static dmq_status run(int argc, char **argv)
{
    dmq_status st = DMQ_OK;
    int size = number(argc, argv, 1, 16), iterations = number(argc, argv, 2, 20);
    const char *name = argc > 3 ? argv[3] : "cpu";
    dmq_ddpm_unet_config net = { .in_channels = 3,
                                 .out_channels = 3,
                                 .resolution = size,
                                 .ch = 32,
                                 .ch_mult = { 1, 2, 2 },
                                 .n_levels = 3,
                                 .num_res_blocks = 1,
                                 .attention = { 8 },
                                 .n_attention = 1,
                                 .norm_groups = 8,
                                 .norm_eps = 1e-6 };
    dmq_train_diffusion_config config;
    dmq_train_result result;
    const dmq_train_place nowhere = { 0 };
    const dmq_backend *be;
    dmq_lanes *lanes = NULL;
    dmq_model *model = NULL;
    dmq_schedule *schedule = NULL;
    dmq_dataset *set = NULL;

    dmq_train_diffusion_defaults(&config);
    config.train.optim.iterations = iterations;
    config.train.batch = number(argc, argv, 5, 64);
    config.train.shard = number(argc, argv, 6, 16);
    dmq_progress_form_set(DMQ_PROGRESS_NONE);
    DMQ_TRY(dmq_backend_open(&be, name));
    DMQ_TRY(dmq_lanes_create(&lanes, be, number(argc, argv, 4, 0)));
    DMQ_TRY(dmq_ddpm_unet_create(&model, &net));
    dmq_model_init(model, 1);
    DMQ_TRY(dmq_schedule_create(&schedule, 1000, 1e-4, 0.02));
    DMQ_TRY(dmq_dataset_open(&set, size == 16 ? "shapes16" : "shapes32", 1));
    DMQ_TRY(
        dmq_train_diffusion(model, NULL, schedule, set, &config, lanes, &nowhere, NULL, &result));
    printf("train\t%s\tunet%d\t%zu parameters\tbatch %d in shards of %d\t%d lanes\t%.2f it/s\t"
           "%.0f images/s\tloss %.4f\n",
           name, size, dmq_model_count(model), config.train.batch, config.train.shard,
           dmq_lanes_count(lanes), result.iterations / result.seconds,
           result.iterations * config.train.batch / result.seconds, result.loss);
done:
    dmq_dataset_close(set);
    dmq_schedule_destroy(schedule);
    dmq_model_destroy(model);
    dmq_lanes_destroy(lanes);
    return st;
}

int main(int argc, char **argv)
{
    dmq_status st = run(argc, argv);
    if (st != DMQ_OK)
        fprintf(stderr, "bench_train: %s\n", dmq_message());
    return dmq_exit_code(st);
}
