/*
 * What the tape itself costs: all passes of a deep network on a backend whose operations do nothing, per
 * node. And what planning costs, once for a tape.
 */
#include "bench.h"

#include "backend/backend.h"
#include "tape/ops.h"
#include "tape/tape.h"

#include <assert.h>
#include <stdio.h>

enum { BLOCKS = 40, C = 8, BATCH = 2, ROUNDS = 100 };

#define NOTHING(slot, args)                                       \
    static dmq_status slot##_nothing(dmq_queue *q, const args *a) \
    {                                                             \
        (void)q;                                                  \
        (void)a;                                                  \
        return DMQ_OK;                                            \
    }
DMQ_BACKEND_OPS(NOTHING)

static dmq_real numbers[C * C * 9], block[BLOCKS * 4 * C * C * 9];

/* norm, SiLU, convolution twice, and the shortcut: one residual block. */
static dmq_var *record_block(dmq_tape *tape, dmq_var *x, size_t *offset)
{
    const dmq_pad pad = { 1, 1, 1, 1 };
    dmq_var *h = x;

    for (int i = 0; i < 2; i++) {
        dmq_var *gamma = dmq_tape_constant(tape, "gamma", dmq_shape1(C), numbers);
        dmq_var *w = dmq_tape_param(tape, "w", dmq_shape4(C, 3, 3, C), numbers, *offset);

        *offset += (size_t)C * C * 9;
        h = dmq_record_group_norm(tape, h, gamma, gamma, 2, 1e-6);
        h = dmq_record_conv2d(tape, dmq_record_unary(tape, DMQ_SILU, h), w, NULL, 1, pad);
    }
    return dmq_record_binary(tape, DMQ_ADD, x, h);
}

static dmq_status record(dmq_tape **out, const dmq_backend *be, unsigned passes)
{
    size_t offset = 0;
    dmq_var *x;
    dmq_status st = dmq_tape_create(out, be, passes);

    if (st != DMQ_OK) {
        return st;
    }
    x = dmq_tape_input(*out, "x", dmq_shape4(BATCH, 4, 4, C));
    for (int i = 0; i < BLOCKS; i++) {
        x = record_block(*out, x, &offset);
    }
    assert(offset <= sizeof block / sizeof *block);
    dmq_tape_output(*out, x);
    st = dmq_tape_plan(*out);
    if (st == DMQ_OK) {
        dmq_tape_bind(*out, block, block);
    }
    return st;
}

typedef struct pass {
    const dmq_backend *be;
    dmq_tape *tape;
    unsigned passes;
} pass;

static dmq_status forward(void *context)
{
    const pass *p = context;
    dmq_status st = DMQ_OK;

    for (int i = 0; i < ROUNDS && st == DMQ_OK; i++) {
        st = dmq_tape_forward(p->tape, NULL, DMQ_PART_ALL);
    }
    return st;
}

static dmq_status backward(void *context)
{
    const pass *p = context;
    dmq_status st = DMQ_OK;

    for (int i = 0; i < ROUNDS && st == DMQ_OK; i++) {
        st = dmq_tape_backward(p->tape, NULL);
    }
    return st;
}

static dmq_status jvp(void *context)
{
    const pass *p = context;
    dmq_status st = DMQ_OK;

    for (int i = 0; i < ROUNDS && st == DMQ_OK; i++) {
        st = dmq_tape_jvp(p->tape, NULL);
    }
    return st;
}

static dmq_status bind(void *context)
{
    const pass *p = context;

    for (int i = 0; i < ROUNDS; i++) {
        dmq_tape_bind(p->tape, block, block);
    }
    return DMQ_OK;
}

static dmq_status plan(void *context)
{
    const pass *p = context;
    dmq_tape *tape = NULL;
    dmq_status st = record(&tape, p->be, p->passes);

    dmq_tape_destroy(tape);
    return st;
}

static dmq_status measure(const char *op, bench_fn *run, pass *p, int rounds, int nodes)
{
    char shape[32];
    bench_case c = { .op = op,
                     .backend = "none",
                     .shape = shape,
                     .dtype = "f32",
                     .run = run,
                     .context = p,
                     .worst_error = -1,
                     .reps = 20,
                     .min_ms = 50 };
    bench_result result;
    dmq_status st;

    (void)snprintf(shape, sizeof shape, "%dx%d", rounds, nodes);
    st = bench_measure(&result, &c);
    if (st == DMQ_OK) {
        (void)fprintf(stderr, "%s: %.3f us a node\n", op, result.median_us / rounds / nodes);
    }
    return st;
}

int main(void)
{
    dmq_backend none = *dmq_backend_ref();
    pass p = { &none, NULL, DMQ_TAPE_BACKWARD | DMQ_TAPE_JVP | DMQ_TAPE_NO_FUSION };
    int nodes = BLOCKS * 7;
    dmq_status st = DMQ_OK;

    /* planning needs memory that holds what it is given; all else does nothing */
#define USE_NOTHING(slot, args) none.slot = slot##_nothing;
    DMQ_BACKEND_OPS(USE_NOTHING)
#undef USE_NOTHING
    bench_header();
    DMQ_TRY(record(&p.tape, &none, p.passes));
    DMQ_TRY(measure("tape_forward", forward, &p, ROUNDS, nodes));
    DMQ_TRY(measure("tape_backward", backward, &p, ROUNDS, nodes));
    DMQ_TRY(measure("tape_jvp", jvp, &p, ROUNDS, nodes));
    DMQ_TRY(measure("tape_bind", bind, &p, ROUNDS, nodes));
    DMQ_TRY(measure("tape_plan", plan, &p, 1, nodes));
done:
    if (st != DMQ_OK) {
        (void)fprintf(stderr, "%s\n", dmq_message());
    }
    dmq_tape_destroy(p.tape);
    return dmq_exit_code(st);
}
