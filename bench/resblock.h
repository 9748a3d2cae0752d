/**
 * A residual block under reconstruction, as benches need it: the same shapes as bench/reference/block.py.
 *
 *   x (C, S, S) -> norm, SiLU, [8 bits], conv 3x3, + embedding, norm, SiLU, [8 bits], conv 3x3, + x
 *
 * It is down.0.block.0 of a UNet of ch = C and resolution S with random weights of unit gain, min(32, C/4)
 * groups, 4-bit weights per output channel, activations per tensor with one table row a sampler step, and
 * samples of which nothing is zero. Other units of it: up.0.block.0, of 2 C channels and C, with a convolution on
 * its shortcut; mid.attn_1, attention over S x S. Everything runs as in a reconstruction: inputs come out of the cache
 * of the quantized prefix, what does not depend on the rounding is computed once a sample.
 */
#ifndef DMQ_BENCH_RESBLOCK_H
#define DMQ_BENCH_RESBLOCK_H

#include "recon/reconstruct.h"

typedef struct bench_resblock {
    dmq_model *model;
    dmq_calib *calib;
    dmq_qmodel *q;
    dmq_cache *cache;
    dmq_block *block;
    dmq_recon_state *state; /**< alpha away from the full-precision weights; moments zero */
    double macs;            /**< multiply-adds of both convolutions, one sample forward */
} bench_resblock;

/** Weights of unit gain, norms near 1: with those of an untrained network blocks would be identities. */
void bench_fill_model(dmq_model *model);

/** Sizes of the benches: channels and resolution. The first few are those of a CPU; the last ones, of latent
    networks, take it seconds. */
enum { BENCH_RESBLOCKS = 6, BENCH_RESBLOCKS_CPU = 3 };
extern const int bench_resblock_sizes[BENCH_RESBLOCKS][2];

typedef struct bench_resblock_config {
    int channels, size, samples;
    int acts;         /* 1: activations of 8 bits */
    const char *unit; /* NULL: the block above */
} bench_resblock_config;

/** lanes must outlive it. On failure everything is released. */
dmq_status bench_resblock_open(bench_resblock *b, dmq_lanes *lanes,
                               const bench_resblock_config *config);

/** Leaves zeros; takes a zeroed struct. */
void bench_resblock_close(bench_resblock *b);

/** Most iterations of one call. */
enum { BENCH_PLAN = 50 };

/** Bring such iterations to the device; dmq_block_run does them. */
dmq_status bench_resblock_plan(bench_resblock *b, const int *sample, int n, int number, int count);

/** Iterations as reconstruction does them, numbers from `number` (1, 2, ...) on, with the regularizer on:
    one plan. sample, loss (count, n); loss is there on return. */
dmq_status bench_resblock_iterate(bench_resblock *b, const int *sample, int n, int number,
                                  int count, dmq_real *loss);

#endif
