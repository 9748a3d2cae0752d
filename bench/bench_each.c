/*
 * Gradients of single samples: the Jacobian of 32 samples of a residual block, by rows, and its Gram matrix, beside one
 * gradient of the whole batch. Beside bench/reference/device/each.py.
 *
 *   bench_each [--backend cpu] [--threads 2] [--only 64@16] [--reps 20] [--ms 200] [--check 1] [--clock wall|cpu]
 *              [--profile 0] [--precision fp32|tf32]
 *
 *   each_batch    sum_i d loss_i / d theta: a forward and a backward pass
 *   each          d loss_i / d theta for every i: the same arithmetic, n results
 *   each_gram     the same, and the products of all pairs of rows
 *
 * FLOPs are those of the five convolution passes in all three (each_gram: and the products'); bytes those of
 * the result. The error is that of a few rows against the reference backend (of a device: cpu).
 */
#include "bench.h"
#include "resblock.h"
#include "setup.h"

#include "base/memory.h"

#include <stdio.h>
#include <string.h>

enum { SAMPLES = 32, FEW = 8 };

typedef struct each {
    bench_resblock b;
    int n, sample[SAMPLES];
    dmq_real *rows; /* (n, P), the problem's memory */
    dmq_real loss[SAMPLES];
    double gram[SAMPLES * SAMPLES];
} each;

static dmq_status batch(void *context)
{
    each *e = context;
    const dmq_problem *p = &e->b.block->problem;
    dmq_status st = DMQ_OK;

    DMQ_TRY(p->grad(p->context, e->b.state->alpha, e->sample, NULL, e->n, e->rows, e->loss));
    DMQ_TRY(p->space->be->sync(p->space->queue));
done:
    return st;
}

static dmq_status rows(void *context)
{
    each *e = context;
    const dmq_problem *p = &e->b.block->problem;
    dmq_status st = DMQ_OK;

    DMQ_TRY(p->grad_each(p->context, e->b.state->alpha, e->sample, e->n, e->rows, e->loss));
    DMQ_TRY(p->space->be->sync(p->space->queue));
done:
    return st;
}

static dmq_status gram(void *context)
{
    each *e = context;
    const dmq_problem *p = &e->b.block->problem;
    dmq_status st = DMQ_OK;

    DMQ_TRY(p->grad_each(p->context, e->b.state->alpha, e->sample, e->n, e->rows, e->loss));
    DMQ_TRY(dmq_space_dots(e->gram, p->space, e->rows, e->n, e->rows, e->n, p->n_theta));
done:
    return st;
}

static dmq_status open_each(each *e, dmq_lanes *lanes, const int size[2], int n)
{
    dmq_status st = DMQ_OK;

    memset(e, 0, sizeof *e);
    e->n = n;
    for (int i = 0; i < n; i++)
        e->sample[i] = i;
    DMQ_TRY(bench_resblock_open(
        &e->b, lanes,
        &(bench_resblock_config){ .channels = size[0], .size = size[1], .samples = n }));
    DMQ_TRY(dmq_space_alloc(&e->rows, e->b.block->problem.space,
                            (size_t)n * e->b.block->problem.n_theta));
done:
    return st;
}

static void close_each(each *e)
{
    if (e->b.block)
        dmq_space_free(e->b.block->problem.space, e->rows);
    bench_resblock_close(&e->b);
    memset(e, 0, sizeof *e);
}

/* All rows of a few samples, here and on the backend that judges. */
static dmq_status compare(double *worst, const bench_setup *setup, const int size[2])
{
    static each side[2];
    dmq_real *host[2] = { NULL, NULL };
    dmq_lanes *ref = NULL;
    dmq_status st = DMQ_OK;
    size_t count = 0;

    DMQ_TRY(dmq_lanes_create(&ref, bench_setup_judge(setup), setup->be->host_memory ? 2 : 0));
    for (int i = 0; i < 2; i++) {
        DMQ_TRY(open_each(&side[i], i ? ref : setup->lanes, size, FEW));
        DMQ_TRY(rows(&side[i]));
        count = FEW * side[i].b.block->problem.n_theta;
        DMQ_TRY(dmq_alloc((void **)&host[i], count, sizeof *host[i]));
        DMQ_TRY(dmq_space_get(side[i].b.block->problem.space, host[i], side[i].rows,
                              count * sizeof *host[i]));
    }
    *worst = bench_error(host[0], host[1], count);
done:
    for (int i = 0; i < 2; i++) {
        dmq_free(host[i]);
        close_each(&side[i]);
    }
    dmq_lanes_destroy(ref);
    return st;
}

static dmq_status bench_size(each *e, const bench_setup *setup, const int size[2])
{
    static const struct {
        const char *op;
        bench_fn *run;
    } measured[] = { { "each_batch", batch }, { "each", rows }, { "each_gram", gram } };
    char shape[64] = "";
    bench_case c = bench_setup_case(setup, "each", shape, rows, e);
    dmq_status st = DMQ_OK;
    double p;

    (void)snprintf(shape, sizeof shape, "%d@%d/n%d", size[0], size[1], SAMPLES);
    if (!bench_setup_wants(setup, shape))
        return DMQ_OK;
    if (setup->check) {
        DMQ_TRY(compare(&c.worst_error, setup, size));
        DMQ_TRY(bench_setup_within(setup, &c, 1e-3));
    }
    DMQ_TRY(open_each(e, setup->lanes, size, SAMPLES));
    p = (double)e->b.block->problem.n_theta;
    for (size_t i = 0; i < sizeof measured / sizeof *measured; i++) {
        c.op = measured[i].op;
        c.run = measured[i].run;
        c.flop = 2 * 2.5 * e->b.macs * SAMPLES + (i == 2 ? 2 * p * SAMPLES * SAMPLES : 0);
        c.bytes = 4 * p * (i == 0 ? 1 : SAMPLES);
        DMQ_TRY(bench_setup_measure(NULL, setup, &c));
    }
done:
    close_each(e);
    return st;
}

int main(int argc, char **argv)
{
    static each e;
    bench_setup setup;
    dmq_status st = DMQ_OK;

    DMQ_TRY(bench_setup_open(&setup, "bench_each", argc, argv));
    for (int k = 0; k < 4; k++) { /* on a CPU the first two */
        if (k < 2 || !setup.be->host_memory)
            DMQ_TRY(bench_size(&e, &setup, bench_resblock_sizes[k]));
    }
done:
    return bench_setup_close(&setup, st);
}
