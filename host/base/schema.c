#include "base/schema.h"

#include "base/log.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#define TRAIN     DMQ_STAGE_TRAIN
#define CALIBRATE DMQ_STAGE_CALIBRATE
#define QUANTIZE  DMQ_STAGE_QUANTIZE
#define SAMPLE    DMQ_STAGE_SAMPLE
#define EVALUATE  DMQ_STAGE_EVALUATE
#define REPORT    DMQ_STAGE_REPORT
#define RUNS      (CALIBRATE | QUANTIZE | SAMPLE | EVALUATE) /* stages that run the network */

#define BOOL  DMQ_CONFIG_BOOL
#define INT   DMQ_CONFIG_INT
#define REAL  DMQ_CONFIG_REAL
#define SIZE  DMQ_CONFIG_SIZE
#define ENUM  DMQ_CONFIG_ENUM
#define TEXT  DMQ_CONFIG_TEXT
#define PATH  DMQ_CONFIG_PATH
#define INTS  DMQ_CONFIG_INTS
#define REALS DMQ_CONFIG_REALS
#define ENUMS DMQ_CONFIG_ENUMS
#define TEXTS DMQ_CONFIG_TEXTS

#define TINY DMQ_CONFIG_POSITIVE
#define MANY 1e9

/* Members of a group stay together: the dump opens each group once. */
/* clang-format off */
static const dmq_config_key keys[] = {
{ "schema", ENUM, "dmq/1", .names = "dmq/1",
  .help = "version of this schema",
  .hint = "this dmq reads schema: dmq/1" },
{ "name", TEXT, "run",
  .help = "name of the run folder" },
{ "seed", INT, "1234", 0, (double)INFINITY, .stages = TRAIN | CALIBRATE | QUANTIZE,
  .help = "of training, calibration noise and draws of batches; images have sample.seed" },

/* ------------------------------------------------------------------ the network: a card */
{ "model.kind", ENUM, "ddpm_unet", .names = "ddpm_unet|ldm_unet|dit|decoder",
  .stages = TRAIN | RUNS, .help = "architecture" },
{ "model.checkpoint", PATH, "",
  .help = "weights: a model.h5; \"data:NAME\" is in the data folder; a .yaml: model.* with random weights",
  .hint = "dmq train makes one, dmq import makes one of a checkpoint; experiments/cards names those that ship" },
{ "model.sha256", TEXT, "",
  .help = "what the checkpoint must hash to; empty: not checked" },
{ "model.source", TEXTS, "[]", .quiet = true,
  .help = "where the checkpoint comes from: files, sizes, checksums, the command that imports it" },
{ "model.network", TEXT, "", .quiet = true,
  .help = "published network that the checkpoint holds: where it is missing, dmq plan and --dry-run know it by this" },
{ "model.ch", INT, "128", 1, 4096, .stages = TRAIN | RUNS,
  .help = "channels of the first level" },
{ "model.ch_mult", INTS, "[1, 2, 2, 2]", 1, 64, .min_items = 1, .max_items = 8,
  .stages = TRAIN | RUNS, .help = "channels of each level, in multiples of ch" },
{ "model.num_res_blocks", INT, "2", 1, 16, .stages = TRAIN | RUNS,
  .help = "residual blocks a level on the way down; one more on the way up" },
{ "model.attn_resolutions", INTS, "[16]", 1, 4096, .max_items = 8, .stages = TRAIN | RUNS,
  .unit = "pixels", .help = "levels of this width have attention; the middle always has" },
{ "model.resolution", INT, "32", 4, 4096, .stages = TRAIN | RUNS, .unit = "pixels",
  .help = "width and height of an image" },
{ "model.in_channels", INT, "3", 1, 64, .stages = TRAIN | RUNS, .help = "channels of x" },
{ "model.out_ch", INT, "3", 1, 64, .stages = TRAIN | RUNS,
  .help = "channels of the predicted noise" },
{ "model.norm_groups", INT, "32", 1, 1024, .stages = TRAIN | RUNS,
  .help = "groups of a group norm" },
{ "model.num_heads", INT, "0", 0, 1024, .stages = TRAIN | RUNS, .quiet = true,
  .help = "ldm_unet, dit: heads of every attention; 0: by head_channels" },
{ "model.head_channels", INT, "0", 0, 4096, .stages = TRAIN | RUNS, .quiet = true,
  .help = "ldm_unet: channels of a head; 0: by num_heads" },
{ "model.context_dim", INT, "0", 0, 65536, .stages = TRAIN | RUNS, .quiet = true,
  .help = "ldm_unet: width of a class's context, which transformers read; 0: attention alone" },
{ "model.n_classes", INT, "0", 0, 16777216, .stages = TRAIN | RUNS, .quiet = true,
  .help = "ldm_unet, dit: classes of the table, which has a row for none beside; 0: unconditional" },
{ "model.scale_shift", BOOL, "false", .stages = TRAIN | RUNS, .quiet = true,
  .help = "ldm_unet: embeddings scale and shift the second norm of a block" },
{ "model.resblock_updown", BOOL, "false", .stages = TRAIN | RUNS, .quiet = true,
  .help = "ldm_unet: residual blocks change the resolution" },
{ "model.patch", INT, "0", 0, 64, .stages = TRAIN | RUNS, .unit = "pixels", .quiet = true,
  .help = "dit: width and height of what becomes a token" },
{ "model.hidden", INT, "0", 0, 65536, .stages = TRAIN | RUNS, .quiet = true,
  .help = "dit: width of a token" },
{ "model.depth", INT, "0", 0, 64, .stages = TRAIN | RUNS, .quiet = true,
  .help = "dit: blocks" },
{ "model.n_embed", INT, "0", 0, 1048576, .stages = TRAIN | RUNS, .quiet = true,
  .help = "decoder: codes, to the nearest of which a latent is rounded; 0: it is taken as it is (KL)" },

{ "first_stage.checkpoint", PATH, "",
  .help = "decoder that makes images of the network's latents; a .yaml: as model.checkpoint; empty: none",
  .hint = "\"data:NAME\" is in the data folder" },
{ "first_stage.sha256", TEXT, "",
  .help = "what the decoder's file must hash to; empty: not checked" },
{ "first_stage.network", TEXT, "", .quiet = true, .help = "as model.network" },
{ "first_stage.source", TEXTS, "[]", .quiet = true, .help = "as model.source" },
{ "first_stage.scale_factor", REAL, "1", TINY, 1e6, .stages = SAMPLE, .quiet = true,
  .help = "latents are divided by it before they are decoded" },
{ "first_stage.keep_latents", BOOL, "false", .stages = SAMPLE, .quiet = true,
  .help = "keep the latents beside the images in their files" },

{ "schedule.kind", ENUM, "linear", .names = "linear|scaled_linear", .stages = TRAIN | RUNS,
  .help = "how beta grows: evenly, or its root does (latent diffusion)" },
{ "schedule.beta_start", REAL, "0.0001", TINY, 0.999, .stages = TRAIN | RUNS,
  .help = "beta at t = 0" },
{ "schedule.beta_end", REAL, "0.02", TINY, 0.999, .stages = TRAIN | RUNS,
  .help = "beta at t = T - 1" },
{ "schedule.T", INT, "1000", 2, 100000, .stages = TRAIN | RUNS, .help = "steps of training" },

/* ------------------------------------------------------------------ sampling and calibration */
{ "sampler.kind", ENUM, "ddim", .names = "ddim|ddpm|plms|dpm_solver", .stages = RUNS,
  .help = "sampler" },
{ "sampler.steps", INT, "100", 1, 100000, .stages = RUNS, .help = "steps asked for" },
{ "sampler.eta", REAL, "0.0", 0, 1, .stages = RUNS,
  .help = "ddim: share of fresh noise in a step" },
{ "sampler.spacing", ENUM, "quad", .names = "uniform|quad|linspace|logsnr", .stages = RUNS,
  .help = "which t the steps visit; linspace: DiT's; logsnr: dpm_solver; uniform for plms, dpm_solver, ldm",
  .hint = "linspace is for ddim, ddpm and plms, logsnr for dpm_solver" },
{ "sampler.repository", ENUM, "ddim", .names = "ddim|ldm", .stages = RUNS, .quiet = true,
  .help = "ldm: steps of latent diffusion, one t later, that end at alpha_bar[0]; dpm_solver has its own" },
{ "sampler.order", ENUM, "2m", .names = "2m|2s|3s", .stages = RUNS, .quiet = true,
  .help = "dpm_solver: order 2 over steps, or 2 or 3 within a step" },
{ "sampler.lower_order_below", INT, "15", 0, 100000, .stages = RUNS, .quiet = true,
  .help = "dpm_solver 2m: with fewer steps the last one has order 1" },
{ "sampler.variance", ENUM, "fixed_large", .names = "fixed_large|fixed_small|learned_range",
  .stages = RUNS, .help = "ddpm: beta, the posterior variance, or the network's choice between them" },
{ "sampler.guidance", REAL, "1", TINY, 1000, .stages = RUNS, .quiet = true,
  .help = "scale of classifier-free guidance; 1: none, one call without a second branch" },
{ "sampler.guidance_batch", ENUM, "null_first", .names = "null_first|cond_first", .stages = RUNS,
  .quiet = true, .help = "order of the two branches in a batch: latent diffusion, or DiT" },
{ "sampler.guided_channels", INT, "0", 0, 4096, .stages = RUNS, .quiet = true,
  .help = "guide the first so many channels (DiT: 3), the others are the condition's; 0: all" },
{ "sampler.clip_x0", BOOL, "false", .stages = RUNS,
  .help = "clip the predicted image to [-1, 1] in every step" },

{ "calibrate.per_timestep", INT, "256", 1, MANY, .stages = CALIBRATE,
  .help = "samples a timestep for the weights, validation included" },
{ "calibrate.interval", INT, "5", 1, 100000, .stages = CALIBRATE,
  .help = "every so many sampler steps are used for the weights" },
{ "calibrate.validation", REAL, "0.05", 0, 0.5, .stages = CALIBRATE,
  .help = "share of per_timestep that only the sample weights' outer loss sees" },
{ "calibrate.held_out", REAL, "0.05", 0, 1, .stages = CALIBRATE,
  .help = "samples beside per_timestep, as a share of it, that only measure" },
{ "calibrate.trajectories", ENUM, "shared", .names = "shared|fresh", .stages = CALIBRATE,
  .help = "take all timesteps from the same trajectories, or new noise for each (TFMQ-DM)" },
{ "calibrate.microbatch", INT, "64", 1, 65536,
  .help = "for devices that batch; the CPU works in shards of 8" },

/* ------------------------------------------------------------------ quantization */
{ "quant.weight.bits", INT, "4", 2, 8, .word = "off", .main = true, .stages = QUANTIZE,
  .help = "bits of a weight", .hint = "for full-precision weights write \"weight: off\"" },
{ "quant.weight.granularity", ENUM, "channel", .names = "channel|tensor", .stages = QUANTIZE,
  .help = "what shares a scale" },
{ "quant.weight.init", ENUM, "mse", .names = "mse|max", .stages = QUANTIZE,
  .help = "ranges: search for the least error, or the extremes" },
{ "quant.weight.round", ENUM, "adaround", .names = "nearest|adaround", .stages = QUANTIZE,
  .help = "to the nearest code, or learned block by block" },
{ "quant.weight.mse_power", REAL, "2.4", 1, 10, .stages = QUANTIZE,
  .help = "exponent of the error in the search" },
{ "quant.weight.mse_candidates", INT, "80", 1, 100, .stages = QUANTIZE,
  .help = "ranges tried, each 1 % narrower" },
{ "quant.act.bits", INT, "8", 2, 8, .word = "off", .main = true, .stages = QUANTIZE,
  .help = "bits of an activation",
  .hint = "for no activation quantization write \"act: off\"" },
{ "quant.act.granularity", ENUM, "tensor", .names = "tensor|channel", .stages = QUANTIZE,
  .help = "what shares a scale" },
{ "quant.act.tables", ENUM, "per_step", .names = "per_step|single", .stages = QUANTIZE,
  .help = "a table for every sampler step, or one for all" },
{ "quant.act.init", ENUM, "ema_minmax", .names = "ema_minmax|mse|minmax", .stages = QUANTIZE,
  .help = "ranges from the samples" },
{ "quant.act.batch", INT, "16", 1, 65536, .stages = QUANTIZE,
  .help = "samples of one observation" },
{ "quant.act.momentum", REAL, "0.95", 0, 0.9999, .stages = QUANTIZE,
  .help = "ema_minmax: share of the old range that is kept" },
{ "quant.policy", ENUM, "tfmq", .names = "tfmq|qdiffusion|all|rules", .stages = QUANTIZE,
  .help = "which layers stay in full precision; rules: quantize what quant.rules say" },
{ "quant.rules", TEXTS, "[]", .stages = QUANTIZE,
  .help = "\"PATTERN: ACTION\", after the policy, the last match wins",
  .hint = "for example rules: [\"up.*.conv1: w8a8\", \"conv_in: fp\"]" },

{ "recon.iters", INT, "20000", 0, MANY, .stages = QUANTIZE,
  .help = "iterations a block", .hint = "for no reconstruction write round: nearest" },
{ "recon.batch", INT, "32", 1, 65536, .stages = QUANTIZE, .help = "samples an iteration" },
{ "recon.lr", REAL, "0.001", TINY, 10, .stages = QUANTIZE, .help = "of Adam, on the roundings" },
{ "recon.round_weight", REAL, "0.01", 0, 1e6, .stages = QUANTIZE,
  .help = "weight of the term that drives roundings to 0 or 1" },
{ "recon.beta", REALS, "[20, 2]", 0.1, 1000, .min_items = 2, .max_items = 2, .stages = QUANTIZE,
  .help = "its exponent, first and last" },
{ "recon.warmup", REAL, "0.2", 0, 1, .stages = QUANTIZE,
  .help = "share of the iterations before it begins" },
{ "recon.order", ENUM, "execution", .names = "execution|reference", .stages = QUANTIZE,
  .help = "of the blocks: as they run, or as the released code registers them" },
{ "recon.tib_iters", INT, "same", 0, MANY, .word = "same", .word_value = -1, .stages = QUANTIZE,
  .help = "iterations of the temporal information block; same: recon.iters" },
{ "recon.cache_budget", SIZE, "auto", 0, (double)INFINITY, .word = "auto", .word_value = -1,
  .unit = "bytes",
  .help = "the device's memory for inputs and outputs of blocks; 0: no limit; auto: on cuda 60 % of what "
          "is free, else 2G" },
{ "recon.cache_host", SIZE, "auto", 0, (double)INFINITY, .word = "auto", .word_value = -1,
  .unit = "bytes",
  .help = "host memory for what has no room there; auto: on cuda a quarter of all, else 0" },
{ "recon.cache_disk", SIZE, "0", 0, (double)INFINITY, .unit = "bytes",
  .help = "disk (of DMQ_SCRATCH, else of the run) for what has no room in either; beyond the three, "
          "blocks' inputs are computed again" },

/* ------------------------------------------------------------------ sample weights (GAC) */
{ "reweight.form", ENUM, "off", .names = "off|surrogate|sequential|original", .main = true,
  .stages = QUANTIZE, .help = "outer objective: R1, R2 or R3 of the method; off: uniform weights" },
{ "reweight.mode", ENUM, "one_shot", .names = "one_shot|exact", .stages = QUANTIZE,
  .help = "one gradient a block, or the loop of the paper" },
{ "reweight.groups", INT, "5", 2, 32, .stages = QUANTIZE,
  .help = "timestep groups whose gradients are to align" },
{ "reweight.tau", REAL, "1.0", TINY, 1e6, .stages = QUANTIZE,
  .help = "temperature of the softmax" },
{ "reweight.visits", REAL, "7", 0, 1e6, .stages = QUANTIZE,
  .help = "how often each sample's weight is updated" },
{ "reweight.lr", REAL, "0.05", TINY, 100, .stages = QUANTIZE, .help = "of Adam, on the logits" },
{ "reweight.batch", INT, "32", 2, 65536, .stages = QUANTIZE, .help = "samples an update" },
{ "reweight.gm_weight", ENUM, "projected", .names = "off|literal|balanced|capped|projected",
  .stages = QUANTIZE, .help = "how the alignment term is weighed against the reconstruction" },
{ "reweight.rho", REAL, "auto", TINY, 1e6, .word = "auto", .stages = QUANTIZE,
  .help = "its size beside the reconstruction's; auto: 1, capped 0.3" },
{ "reweight.ess_stop", REAL, "0.9", 0, 1, .word = "off", .stages = QUANTIZE,
  .help = "stop when the effective share of samples falls below" },
{ "reweight.eta_move", REAL, "0.0001", TINY, 1, .stages = QUANTIZE,
  .help = "inner step, as rms move of a rounding variable" },
{ "reweight.eta", REAL, "off", TINY, 1e9, .word = "off", .stages = QUANTIZE,
  .help = "the inner step itself, in place of eta_move" },
{ "reweight.similarity", ENUM, "dot", .names = "dot|cosine", .stages = QUANTIZE,
  .help = "of two groups' gradients" },
{ "reweight.normalize", BOOL, "false", .stages = QUANTIZE,
  .help = "divide each sample's gradient by its length: finds corrupted samples" },
{ "reweight.point", ENUM, "init", .names = "init|warmup", .stages = QUANTIZE,
  .help = "where gradients are taken: before, or after a uniform warm-up" },
{ "reweight.point_iters", INT, "same", 1, MANY, .word = "same", .stages = QUANTIZE,
  .help = "iterations of that warm-up; same: as long as recon.warmup" },
{ "reweight.jacobian", ENUM, "explicit", .names = "explicit|matrix_free", .stages = QUANTIZE,
  .help = "store each sample's gradient, or run passes instead" },
{ "reweight.permute", BOOL, "false", .stages = QUANTIZE,
  .help = "shuffle the learned weights over the samples: the control" },
{ "reweight.validation_batch", INT, "8", 1, 65536, .word = "all", .stages = QUANTIZE,
  .help = "exact: validation samples of a group in an update" },

/* ------------------------------------------------------------------ images and metrics */
{ "sample.count", INT, "50000", 1, MANY, .stages = SAMPLE, .help = "images" },
{ "sample.labels", ENUM, "balanced", .names = "balanced|random|one", .stages = SAMPLE,
  .quiet = true, .help = "classes of images: each as often as the others, drawn, or sample.class" },
{ "sample.class", INT, "0", 0, MANY, .stages = SAMPLE, .quiet = true,
  .help = "the class of all images, with labels: one" },
{ "sample.batch", INT, "256", 1, 65536, .help = "images at a time; memory only" },
{ "sample.seed", INT, "1234", 0, (double)INFINITY, .stages = SAMPLE,
  .help = "of the noise; the same for every model that is compared" },
{ "sample.levels", ENUM, "round", .names = "round|truncate", .stages = EVALUATE, .quiet = true,
  .help = "how images become 8-bit: to the nearest level, or down to the next as LDM's scripts do" },
{ "sample.grid", INT, "64", 0, 4096, .stages = SAMPLE, .help = "images in grid.png" },

{ "evaluate.metrics", ENUMS, "[fd, is]",
  .names = "fid|sfid|is|precision|recall|fd|paired|noise_error|block_loss|density|coverage|kid|psnr|ssim|lpips",
  .stages = EVALUATE,
  .help = "fid, sfid: Frechet distances in the features of Inception; fd: in those of another network" },
{ "evaluate.features", TEXT, "", .stages = EVALUATE,
  .help = "feature network: a file, or data:NAME" },
{ "evaluate.resize", ENUM, "tf1", .names = "tf1|half_pixel", .stages = EVALUATE, .quiet = true,
  .help = "how images are brought to Inception's 299 x 299: torch-fidelity and ADM, or pytorch-fid" },
{ "evaluate.reference", TEXT, "shapes16", .stages = EVALUATE,
  .help = "what images are compared with: a data set, a folder or file of images, or one of statistics" },
{ "evaluate.source", TEXTS, "[]", .quiet = true,
  .help = "as model.source, of the feature network and the reference" },
{ "evaluate.reference_count", INT, "10000", 2, MANY, .stages = EVALUATE,
  .help = "images of a procedural reference" },
{ "evaluate.reference_rows", INT, "10000", 0, MANY, .stages = EVALUATE, .quiet = true,
  .help = "images of the reference whose own features are kept, for precision, recall, kid and the like" },
{ "evaluate.reference_features", TEXT, "", .stages = EVALUATE, .quiet = true,
  .help = "id of network and resize behind statistics, or ready features, in an npz: it does not tell",
  .hint = "for example inception-2015-12-05/tf1-resize, as in the ids of metrics" },
{ "evaluate.prepare", ENUM, "none", .names = "none|ldm|adm", .stages = EVALUATE, .quiet = true,
  .help = "how images of the reference are made square and small, as the two loaders do" },
{ "evaluate.prepare_size", INT, "0", 0, 65536, .stages = EVALUATE, .unit = "pixels", .quiet = true,
  .help = "to which width and height; 0: that of the images that are scored" },
{ "evaluate.splits", INT, "auto", 1, 100000, .word = "auto", .word_value = 0, .stages = EVALUATE,
  .quiet = true, .help = "parts of an inception score; auto: 10 with Inception, else 1" },
{ "evaluate.is_order", ENUM, "shuffled", .names = "shuffled|consecutive", .stages = EVALUATE,
  .quiet = true, .help = "images of a part: torch-fidelity's permutation, or as they come (ADM)" },
{ "evaluate.neighbours", INT, "3", 1, 1000, .stages = EVALUATE, .quiet = true,
  .help = "k of precision, recall, density and coverage" },
{ "evaluate.kid_subsets", INT, "100", 1, 100000, .stages = EVALUATE, .quiet = true,
  .help = "subsets of kid" },
{ "evaluate.kid_size", INT, "1000", 2, MANY, .stages = EVALUATE, .quiet = true,
  .help = "images of a subset" },
{ "evaluate.lpips", TEXT, "data:lpips-alex.h5", .stages = EVALUATE, .quiet = true,
  .help = "network of lpips" },
{ "evaluate.bootstrap", INT, "0", 0, 100000, .stages = EVALUATE, .quiet = true,
  .help = "resamples of the images for a 95 % interval of fid, sfid, fd and is; 0: none. With Inception 10 s each" },
{ "evaluate.groups", INT, "5", 1, 1000, .stages = EVALUATE,
  .help = "timestep groups of noise_error" },

/* ------------------------------------------------------------------ training */
{ "train.task", ENUM, "diffusion", .names = "diffusion|features", .stages = TRAIN,
  .help = "a noise predictor, or the classifier whose features are used by fd" },
{ "train.data", ENUM, "shapes16", .names = "shapes16|shapes32", .stages = TRAIN | EVALUATE,
  .help = "data set" },
{ "train.iters", INT, "20000", 1, MANY, .stages = TRAIN, .help = "iterations" },
{ "train.batch", INT, "64", 1, 65536, .stages = TRAIN, .help = "images an iteration" },
{ "train.lr", REAL, "0.0002", TINY, 10, .stages = TRAIN, .help = "of Adam" },
{ "train.lr_decay", ENUM, "none", .names = "none|cosine", .stages = TRAIN,
  .help = "cosine to a fiftieth at the end, or none" },
{ "train.warmup", INT, "500", 0, MANY, .stages = TRAIN, .unit = "iterations",
  .help = "in which the rate grows from zero" },
{ "train.ema", REAL, "0.999", 0, 0.999999, .stages = TRAIN,
  .help = "decay of the averaged weights, which are what is kept" },
{ "train.clip", REAL, "1.0", TINY, 1e9, .word = "off", .stages = TRAIN,
  .help = "largest norm of the gradient" },
{ "train.channels", INTS, "[32, 64, 128]", 1, 4096, .min_items = 1, .max_items = 8,
  .stages = TRAIN, .help = "features: channels of each stage; the last are the features" },
{ "train.save_every", INT, "1000", 1, MANY, .unit = "iterations", .help = "between checkpoints" },
{ "train.out_dtype", ENUM, "f32", .names = "f16|f32", .stages = TRAIN,
  .help = "storage of the result" },

/* ------------------------------------------------------------------ the device */
{ "device.precision", ENUM, "fp32", .names = "fp32|tf32|fp16", .stages = TRAIN | RUNS, .quiet = true,
  .help = "how products are taken on cuda; sums are fp32 in all of them",
  .hint = "fp32 is the reference, and what other devices have" },

/* ------------------------------------------------------------------ sweeps */
{ "sweep.seeds", INTS, "[1234]", 0, (double)INFINITY, .min_items = 1,
  .help = "every arm runs once with each seed" },
{ "sweep.arms", TEXTS, "[]",
  .help = "\"LABEL: FILE... KEY=VALUE...\": a row of the table; files relative to the first -c file" },
{ "sweep.grid", TEXTS, "[]", .quiet = true,
  .help = "\"ARM | ARM | ...\": every combination of one arm of each line is a row; the first line varies fastest" },

/* ------------------------------------------------------------------ report */
{ "report.title", TEXT, "", .stages = REPORT, .help = "heading; empty: the run's name" },
{ "report.table", TEXT, "", .stages = REPORT,
  .help = "published table that --vs paper puts beside: a name in experiments/papers, or a .yaml" },
{ "report.method", TEXT, "", .stages = REPORT, .help = "name of the method in that table" },
{ "report.paper.fid", REAL, "none", 0, 1e6, .word = "none", .word_value = (double)NAN,
  .stages = REPORT, .help = "the published value, told beside ours" },
{ "report.paper.sfid", REAL, "none", 0, 1e6, .word = "none", .word_value = (double)NAN,
  .stages = REPORT, .help = "the published value" },
{ "report.paper.is", REAL, "none", 0, 1e6, .word = "none", .word_value = (double)NAN,
  .stages = REPORT, .help = "the published value" },
{ "report.paper.source", TEXT, "", .stages = REPORT, .help = "where it was published" },
};
/* clang-format on */

const dmq_config_key *dmq_schema_keys(int *count)
{
    *count = (int)(sizeof keys / sizeof keys[0]);
    return keys;
}

dmq_status dmq_schema_config(dmq_config **out)
{
    return dmq_config_create(out, keys, (int)(sizeof keys / sizeof keys[0]));
}

/* ------------------------------------------------------------------ what keys say together */

/* Also where the other key comes from: it may be the one to change. */
static dmq_status and_at(const dmq_config *c, const char *other, dmq_status st)
{
    return dmq_origin_note(st, dmq_config_origin(c, other));
}

/* In the order of model.kind. */
enum {
    OF_DDPM = 1,
    OF_LDM = 2,
    OF_DIT = 4,
    OF_DECODER = 8,
    OF_UNETS = OF_DDPM | OF_LDM,
    OF_LEVELS = OF_UNETS | OF_DECODER
};

/* Keys that not every kind of network has, and what they are where they say nothing. */
static dmq_status check_kind(const dmq_config *c)
{
    static const struct {
        const char *key, *nothing;
        unsigned kinds;
    } own[] = {
        { "model.ch", "128", OF_LEVELS },
        { "model.ch_mult", "[1, 2, 2, 2]", OF_LEVELS },
        { "model.num_res_blocks", "2", OF_LEVELS },
        { "model.attn_resolutions", "[16]", OF_UNETS },
        { "model.norm_groups", "32", OF_LEVELS },
        { "model.num_heads", "0", OF_LDM | OF_DIT },
        { "model.n_classes", "0", OF_LDM | OF_DIT },
        { "model.head_channels", "0", OF_LDM },
        { "model.context_dim", "0", OF_LDM },
        { "model.scale_shift", "false", OF_LDM },
        { "model.resblock_updown", "false", OF_LDM },
        { "model.patch", "0", OF_DIT },
        { "model.hidden", "0", OF_DIT },
        { "model.depth", "0", OF_DIT },
        { "model.n_embed", "0", OF_DECODER },
    };
    unsigned kind = 1U << dmq_config_enum(c, "model.kind");

    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        if (own[i].kinds & kind || strcmp(dmq_config_value(c, own[i].key), own[i].nothing) == 0)
            continue;
        return and_at(c, "model.kind",
                      dmq_config_refuse(c, own[i].key, "has no effect on model.kind = %s",
                                        dmq_config_value(c, "model.kind")));
    }
    return DMQ_OK;
}

static dmq_status check_levels(const dmq_config *c)
{
    int levels, groups = dmq_config_int(c, "model.norm_groups");
    const int64_t *mult = dmq_config_ints(c, "model.ch_mult", &levels);
    int resolution = dmq_config_int(c, "model.resolution");

    for (int i = 0; i < levels; i++) {
        if (dmq_config_int(c, "model.ch") * mult[i] % groups != 0) {
            return and_at(c, "model.ch",
                          dmq_config_refuse(c, "model.norm_groups",
                                            "must divide the %lld channels of level %d",
                                            (long long)dmq_config_int(c, "model.ch") * mult[i], i));
        }
    }
    if (resolution % (1 << (levels - 1)) != 0) {
        return and_at(
            c, "model.ch_mult",
            dmq_config_refuse(c, "model.resolution",
                              "must be a multiple of %d, because model.ch_mult has %d levels",
                              1 << (levels - 1), levels));
    }
    return DMQ_OK;
}

static dmq_status check_model(const dmq_config *c)
{
    dmq_status st = check_kind(c);

    if (st == DMQ_OK && OF_LEVELS >> dmq_config_enum(c, "model.kind") & 1)
        st = check_levels(c);
    if (st != DMQ_OK)
        return st;
    if (dmq_config_real(c, "schedule.beta_start") > dmq_config_real(c, "schedule.beta_end")) {
        return and_at(c, "schedule.beta_end",
                      dmq_config_refuse(c, "schedule.beta_start", "must not exceed beta_end = %s",
                                        dmq_config_value(c, "schedule.beta_end")));
    }
    return DMQ_OK;
}

static dmq_status check_steps(const dmq_config *c)
{
    int steps = dmq_config_int(c, "sampler.steps");

    if (steps > dmq_config_int(c, "schedule.T")) {
        return and_at(c, "schedule.T",
                      dmq_config_refuse(c, "sampler.steps", "must not exceed schedule.T = %s",
                                        dmq_config_value(c, "schedule.T")));
    }
    if (dmq_config_int(c, "calibrate.interval") > steps) {
        return and_at(c, "sampler.steps",
                      dmq_config_refuse(c, "calibrate.interval",
                                        "must not exceed sampler.steps = %d", steps));
    }
    return DMQ_OK;
}

static dmq_status check_reweight(const dmq_config *c)
{
    int kept = (dmq_config_int(c, "sampler.steps") - 1) / dmq_config_int(c, "calibrate.interval");

    if (dmq_config_enum(c, "reweight.form") == 0)
        return DMQ_OK;
    if (dmq_config_real(c, "calibrate.validation") <= 0.0) {
        return and_at(
            c, "reweight.form",
            dmq_config_refuse(c, "calibrate.validation",
                              "must be above 0, because reweight learns from these samples"));
    }
    if (dmq_config_int(c, "reweight.groups") > kept + 1) {
        return and_at(
            c, "calibrate.interval",
            dmq_config_refuse(c, "reweight.groups",
                              "must not exceed the %d timesteps that calibrate.interval keeps",
                              kept + 1));
    }
    return DMQ_OK;
}

/* Everything of a group that a user set, though something else switches the group off. */
static void warn_without_effect(const dmq_config *c, const char *group, const char *main_key,
                                const char *why)
{
    size_t n = strlen(group);

    for (int i = 0; i < dmq_config_count(c); i++) {
        const char *name = dmq_config_key_at(c, i)->name;

        if (strncmp(name, group, n) == 0 && strcmp(name, main_key) != 0 &&
            dmq_config_origin(c, name)->kind == DMQ_ORIGIN_FLAG) {
            dmq_log_warn("no-effect", "%s = %s has no effect, because %s", name,
                         dmq_config_value(c, name), why);
        }
    }
}

/* Settings of the sampler that another one leaves unread. */
static void warn_sampler(const dmq_config *c)
{
    int solver = strcmp(dmq_config_text(c, "sampler.kind"), "dpm_solver") == 0;

    if (solver) {
        warn_without_effect(c, "sampler.repository", "", "dpm_solver has steps of its own");
    } else {
        warn_without_effect(c, "sampler.order", "", "sampler.kind is not dpm_solver");
        warn_without_effect(c, "sampler.lower_order_below", "", "sampler.kind is not dpm_solver");
    }
    if (dmq_config_real(c, "sampler.guidance") == 1) {
        warn_without_effect(c, "sampler.guidance_batch", "", "sampler.guidance is 1");
        warn_without_effect(c, "sampler.guided_channels", "", "sampler.guidance is 1");
    }
    if (strcmp(dmq_config_text(c, "sample.labels"), "one") != 0)
        warn_without_effect(c, "sample.class", "", "sample.labels is not one");
}

dmq_status dmq_schema_check(const dmq_config *config)
{
    dmq_status st = DMQ_OK;
    int rules;

    DMQ_TRY(check_model(config));
    DMQ_TRY(check_steps(config));
    DMQ_TRY(check_reweight(config));
    (void)dmq_config_texts(config, "quant.rules", &rules);
    if (strcmp(dmq_config_text(config, "quant.policy"), "rules") == 0 && rules == 0) {
        st = dmq_config_refuse(config, "quant.policy", "needs quant.rules, which are empty");
        goto done;
    }
    if (dmq_config_int(config, "quant.weight.bits") == 0 &&
        dmq_config_int(config, "quant.act.bits") == 0) {
        st = dmq_config_refuse(config, "quant.weight.bits",
                               "nothing is left to quantize, because quant.act.bits is off too");
        goto done;
    }
    if (strcmp(dmq_config_text(config, "quant.weight.round"), "nearest") == 0) {
        warn_without_effect(config, "recon.", "", "quant.weight.round is nearest");
        warn_without_effect(config, "reweight.", "", "quant.weight.round is nearest");
    } else if (dmq_config_enum(config, "reweight.form") == 0) {
        warn_without_effect(config, "reweight.", "reweight.form", "reweight.form is off");
    }
    warn_sampler(config);
    if (!*dmq_config_text(config, "first_stage.checkpoint")) {
        warn_without_effect(config, "first_stage.", "first_stage.checkpoint",
                            "first_stage.checkpoint is empty");
    }
    if (dmq_config_int(config, "quant.act.bits") == 0)
        warn_without_effect(config, "quant.act.", "quant.act.bits", "quant.act.bits is off");
done:
    return st;
}
