#include "recon/space.h"

#include "base/memory.h"

#include <assert.h>
#include <string.h>

void dmq_space_init(dmq_space *s, dmq_lanes *lanes)
{
    *s = (dmq_space){ .be = dmq_lanes_backend(lanes),
                      .queue = dmq_lanes_queue(lanes, 0),
                      .lanes = lanes };
}

void dmq_space_init_queue(dmq_space *s, const dmq_backend *be, dmq_queue *queue)
{
    *s = (dmq_space){ .be = be, .queue = queue };
}

void dmq_space_release(dmq_space *s)
{
    if (!s->be)
        return;
    s->be->free(s->sums);
    s->be->free(s->factors);
    memset(s, 0, sizeof *s);
}

void dmq_space_record(const dmq_space *s, int on)
{
    if (s->lanes)
        dmq_lanes_record(s->lanes, on);
}

dmq_status dmq_space_alloc(dmq_real **out, const dmq_space *s, size_t count)
{
    return s->be->alloc((void **)out, count * sizeof **out);
}

void dmq_space_free(const dmq_space *s, void *memory)
{
    if (memory)
        s->be->free(memory);
}

dmq_status dmq_space_put(const dmq_space *s, void *to, const void *host, size_t bytes)
{
    return to == host ? DMQ_OK : s->be->upload(s->queue, to, host, bytes);
}

dmq_status dmq_space_get(const dmq_space *s, void *host, const void *from, size_t bytes)
{
    dmq_status st = DMQ_OK;

    if (from != host)
        DMQ_TRY(s->be->download(s->queue, host, from, bytes));
    DMQ_TRY(s->be->sync(s->queue));
done:
    return st;
}

dmq_status dmq_space_copy_on(const dmq_space *s, dmq_queue *queue, dmq_real *y, const dmq_real *x,
                             size_t n)
{
    return s->be->copy2d(
        queue,
        &(dmq_copy2d_args){ .src = x, .dst = y, .rows = 1, .cols = n, .src_ld = n, .dst_ld = n });
}

dmq_status dmq_space_copy(const dmq_space *s, dmq_real *y, const dmq_real *x, size_t n)
{
    return dmq_space_copy_on(s, s->queue, y, x, n);
}

dmq_status dmq_space_fill(const dmq_space *s, dmq_real *y, double value, size_t n)
{
    return s->be->fill(s->queue, &(dmq_fill_args){ .y = y, .count = n, .value = (dmq_real)value });
}

dmq_status dmq_space_axpby(const dmq_space *s, dmq_real *y, double beta, const dmq_real *x,
                           double alpha, size_t n)
{
    return s->be->axpby(
        s->queue,
        &(dmq_axpby_args){
            .x = x, .y = y, .alpha = (dmq_real)alpha, .beta = (dmq_real)beta, .count = n });
}

dmq_status dmq_space_move(const dmq_space *s, dmq_real *z, const dmq_real *x, double alpha,
                          const dmq_real *y, size_t n)
{
    return s->be->axpby(
        s->queue, &(dmq_axpby_args){
                      .x = y, .y = z, .z = x, .alpha = (dmq_real)alpha, .beta = 1, .count = n });
}

/* ------------------------------------------------------------------ products */

/* A product in runs of columns. */
typedef struct product {
    dmq_space *space;
    dmq_jacobian_args args;
    int pieces;
    size_t width; /* columns of a piece */
} product;

/* Lanes of a host share the columns out; a device does them at once. */
static void cut(product *j)
{
    j->pieces = 1;
    j->width = j->args.count;
    if (!j->space->lanes || !j->space->be->host_memory)
        return;
    j->width = DMQ_JACOBIAN_COLUMNS;
    j->pieces = (int)((j->args.count + j->width - 1) / j->width);
}

static dmq_jacobian_args args_of(const product *j, int piece)
{
    dmq_jacobian_args a = j->args;
    size_t at = (size_t)piece * j->width;

    a.count = j->args.count - at < j->width ? j->args.count - at : j->width;
    a.rows += at;
    if (a.out)
        a.out += at;
    if (a.x)
        a.x += at;
    if (a.dots)
        a.dots += (size_t)piece * (size_t)a.n * (size_t)a.m;
    return a;
}

static dmq_status times_piece(void *context, int piece, int lane, dmq_queue *queue)
{
    const product *j = context;
    dmq_jacobian_args a = args_of(j, piece);

    (void)lane;
    return j->space->be->jacobian_times(queue, &a);
}

static dmq_status dots_piece(void *context, int piece, int lane, dmq_queue *queue)
{
    const product *j = context;
    dmq_jacobian_args a = args_of(j, piece);

    (void)lane;
    return j->space->be->jacobian_dots(queue, &a);
}

static dmq_status run(product *j, dmq_piece_fn *piece)
{
    if (j->pieces > 1)
        return dmq_lanes_run(j->space->lanes, j->pieces, piece, j);
    return piece(j, 0, 0, j->space->queue);
}

static dmq_status room_for_factors(dmq_space *s, size_t count)
{
    dmq_status st = DMQ_OK;

    if (count <= s->factors_room)
        return DMQ_OK;
    s->be->free(s->factors);
    s->factors = NULL;
    s->factors_room = 0;
    DMQ_TRY(s->be->alloc((void **)&s->factors, count * sizeof *s->factors));
    s->factors_room = count;
done:
    return st;
}

static dmq_status room_for_sums(dmq_space *s, size_t count)
{
    dmq_status st = DMQ_OK;

    if (count <= s->sums_room)
        return DMQ_OK;
    s->be->free(s->sums);
    s->sums = NULL;
    s->sums_room = 0;
    DMQ_TRY(s->be->alloc((void **)&s->sums, count * sizeof *s->sums));
    s->sums_room = count;
done:
    return st;
}

dmq_status dmq_space_times_of(dmq_space *s, dmq_real *out, const dmq_real *rows, size_t ld, int n,
                              const dmq_real *v, int m, size_t p)
{
    product j = { .space = s,
                  .args = { .rows = rows,
                            .v = v,
                            .out = out,
                            .n = n,
                            .m = m,
                            .count = p,
                            .ld = ld,
                            .ld_out = p } };

    cut(&j);
    return run(&j, times_piece);
}

dmq_status dmq_space_times(dmq_space *s, dmq_real *out, const dmq_real *rows, int n,
                           const dmq_real *v, int m, size_t p)
{
    size_t count = (size_t)n * (size_t)m;
    dmq_status st = DMQ_OK;

    DMQ_TRY(room_for_factors(s, count));
    DMQ_TRY(dmq_space_put(s, s->factors, v, count * sizeof *v));
    DMQ_TRY(dmq_space_times_of(s, out, rows, p, n, s->factors, m, p));
done:
    return st;
}

/* The sums of the pieces, which lanes of a host have computed, in their order. */
static void join_pieces(double *out, const product *j, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        out[i] = 0;
        for (int k = 0; k < j->pieces; k++)
            out[i] += j->space->sums[(size_t)k * count + i];
    }
}

static dmq_status dots(dmq_space *s, const dmq_jacobian_args *args)
{
    size_t count = (size_t)args->n * (size_t)args->m;
    product j = { .space = s, .args = *args };
    dmq_status st = DMQ_OK;

    cut(&j);
    if (j.pieces > 1) {
        DMQ_TRY(room_for_sums(s, count * (size_t)j.pieces));
        j.args.dots = s->sums;
    }
    DMQ_TRY(run(&j, dots_piece));
    if (j.pieces > 1)
        join_pieces(args->dots, &j, count);
done:
    return st;
}

dmq_status dmq_space_dots_of(double *out, dmq_space *s, const dmq_real *rows, int n,
                             const dmq_real *x, int m, size_t p)
{
    return dots(
        s, &(dmq_jacobian_args){
               .rows = rows, .x = x, .dots = out, .n = n, .m = m, .count = p, .ld = p, .ld_x = p });
}

dmq_status dmq_space_squares_of(double *out, dmq_space *s, const dmq_real *rows, int n, size_t p)
{
    return dots(s, &(dmq_jacobian_args){ .rows = rows,
                                         .x = rows,
                                         .dots = out,
                                         .n = n,
                                         .m = 1,
                                         .pairs = 1,
                                         .count = p,
                                         .ld = p,
                                         .ld_x = p });
}

dmq_status dmq_space_dots(double *out, dmq_space *s, const dmq_real *rows, int n, const dmq_real *x,
                          int m, size_t p)
{
    size_t count = (size_t)n * (size_t)m;
    dmq_status st = DMQ_OK;

    if (s->be->host_memory)
        return dmq_space_dots_of(out, s, rows, n, x, m, p);
    DMQ_TRY(room_for_sums(s, count));
    DMQ_TRY(dmq_space_dots_of(s->sums, s, rows, n, x, m, p));
    DMQ_TRY(dmq_space_get(s, out, s->sums, count * sizeof *out));
done:
    return st;
}

dmq_status dmq_space_dot(double *out, dmq_space *s, const dmq_real *x, const dmq_real *y, size_t n)
{
    return dmq_space_dots(out, s, x, 1, y, 1, n);
}

dmq_status dmq_space_norm(double *out, dmq_space *s, const dmq_real *x, size_t n)
{
    dmq_status st = dmq_space_dot(out, s, x, x, n);

    if (st == DMQ_OK)
        *out = sqrt(*out);
    return st;
}
