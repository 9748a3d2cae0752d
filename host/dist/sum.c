#include "dist/sum.h"

#include "base/memory.h"

#include <assert.h>

/* Of a host, what lies in a core's caches: a wave is written, moved and read again (4 MiB, 8 pieces, 2 threads: half the
   time of one wave). */
enum { ALIGN = 16, SMALL_BYTES = 64 << 10, DEVICE_ROOM = 64 << 20, HOST_ROOM = 2 << 20 };

struct dmq_sum {
    dmq_comm *comm;
    dmq_deal deal;
    dmq_sum_form form;
    int own, most;        /* pieces of this rank, of the rank with most */
    size_t count;         /* numbers of a piece */
    size_t stretch;       /* of one rank; all of them without stretches */
    size_t wave;          /* numbers of a stretch that are under way at once */
    dmq_real *send;       /* SCATTER: (size, most, wave): stretch q of own pieces */
    dmq_real *pieces;     /* (size, most, wave): piece i of rank q */
    dmq_real *sums;       /* SCATTER: (size, wave) */
    const dmq_real **row; /* (n): the pieces in their order */
    size_t numbers;       /* of all three rooms, which are one block */
};

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* Numbers of room for each number of a wave. */
static size_t room_rows(const dmq_sum *s)
{
    size_t size = (size_t)s->deal.size, all = size * (size_t)s->most;

    return s->form == DMQ_SUM_GATHER ? all : 2 * all + size;
}

static dmq_status take_room(dmq_sum *s, size_t room_bytes)
{
    const dmq_backend *be = dmq_comm_backend(s->comm);
    size_t rows = room_rows(s), size = (size_t)s->deal.size, fits;
    dmq_status st = DMQ_OK;

    if (room_bytes == 0) {
        room_bytes = be->host_memory ? HOST_ROOM : DEVICE_ROOM;
        if (room_bytes < rows * ALIGN * sizeof(dmq_real))
            room_bytes = rows * ALIGN * sizeof(dmq_real);
    }
    fits = room_bytes / sizeof(dmq_real) / rows;
    if (fits < ALIGN && fits < s->stretch) {
        return dmq_fail(
            DMQ_ENOMEM,
            "group: the sum of %d pieces over %d ranks has room for %zu bytes, needs %zu",
            s->deal.n, s->deal.size, room_bytes, rows * ALIGN * sizeof(dmq_real));
    }
    s->wave = smaller(s->stretch, fits / ALIGN * ALIGN);
    s->numbers = rows * s->wave;
    DMQ_TRY(be->alloc((void **)&s->pieces, s->numbers * sizeof(dmq_real)));
    if (s->form == DMQ_SUM_SCATTER) {
        s->send = s->pieces + size * (size_t)s->most * s->wave;
        s->sums = s->send + size * (size_t)s->most * s->wave;
    }
done:
    return st;
}

static dmq_sum_form choose(const dmq_sum_config *config)
{
    if (config->form != DMQ_SUM_AUTO)
        return config->form;
    return config->count * sizeof(dmq_real) < SMALL_BYTES ? DMQ_SUM_GATHER : DMQ_SUM_SCATTER;
}

dmq_status dmq_sum_create(dmq_sum **out, dmq_comm *comm, const dmq_sum_config *config)
{
    size_t size = (size_t)dmq_comm_size(comm);
    dmq_sum *s = NULL;
    dmq_status st = DMQ_OK;

    assert(config->deal.size == dmq_comm_size(comm) && config->deal.n > 0 && config->count > 0);
    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&s, 1, sizeof *s));
    s->comm = comm;
    s->deal = config->deal;
    s->count = config->count;
    s->form = choose(config);
    s->own = dmq_deal_count(&s->deal, dmq_comm_rank(comm));
    s->most = dmq_deal_most(&s->deal);
    s->stretch = s->form == DMQ_SUM_GATHER ? s->count : up((s->count + size - 1) / size, ALIGN);
    s->wave = s->stretch;
    DMQ_TRY(dmq_alloc((void **)&s->row, (size_t)s->deal.n, sizeof *s->row));
    if (size > 1)
        DMQ_TRY(take_room(s, config->room_bytes));
    *out = s;
    s = NULL;
done:
    dmq_sum_destroy(s);
    return st;
}

void dmq_sum_destroy(dmq_sum *s)
{
    if (!s)
        return;
    if (s->pieces)
        dmq_comm_backend(s->comm)->free(s->pieces);
    dmq_free(s->row);
    dmq_free(s);
}

void dmq_sum_tell(dmq_sum_plan *out, const dmq_sum *s)
{
    double others = (double)(s->deal.size - 1), each = (double)s->count * sizeof(dmq_real);

    out->form = s->form;
    out->sent_bytes = others * s->most * each;
    if (s->form == DMQ_SUM_SCATTER)
        out->sent_bytes = others * (s->most + 1) * (double)s->stretch * sizeof(dmq_real);
    out->waves = (int)((s->stretch + s->wave - 1) / s->wave);
    out->room_bytes = s->numbers * sizeof(dmq_real);
}

static dmq_status copy(dmq_sum *s, dmq_queue *queue, dmq_real *to, const dmq_real *from,
                       size_t count)
{
    dmq_copy2d_args a = {
        .src = from, .dst = to, .rows = 1, .cols = count, .src_ld = count, .dst_ld = count
    };

    return dmq_comm_backend(s->comm)->copy2d(queue, &a);
}

/* Of the numbers that begin at `at`, how many there are up to the end of a piece, at most n. */
static size_t inside(const dmq_sum *s, size_t at, size_t n)
{
    return at < s->count ? smaller(n, s->count - at) : 0;
}

/* The pieces as they lie in the room, n numbers each, in their order: this is what makes the bits. */
static dmq_status add_up(dmq_sum *s, dmq_queue *queue, dmq_real *y, size_t n, dmq_real alpha)
{
    dmq_sum_blocks_args a = {
        .x = s->row, .y = y, .n_blocks = s->deal.n, .count = n, .alpha = alpha
    };

    for (int k = 0; k < s->deal.n; k++) {
        int i = 0, rank = dmq_deal_owner(&i, &s->deal, k);

        s->row[k] = s->pieces + ((size_t)rank * (size_t)s->most + (size_t)i) * n;
    }
    return dmq_comm_backend(s->comm)->sum_blocks(queue, &a);
}

static dmq_status gather_wave(dmq_sum *s, dmq_queue *queue, dmq_real *y,
                              const dmq_real *const *piece, dmq_real alpha, size_t at, size_t n)
{
    size_t part = (size_t)s->most * n;
    dmq_real *own = s->pieces + (size_t)dmq_comm_rank(s->comm) * part;
    dmq_status st = DMQ_OK;

    for (int i = 0; i < s->own; i++)
        DMQ_TRY(copy(s, queue, own + (size_t)i * n, piece[i] + at, n));
    DMQ_TRY(dmq_comm_all_gather(s->comm, queue, s->pieces, part * sizeof(dmq_real)));
    DMQ_TRY(add_up(s, queue, y + at, n, alpha));
done:
    return st;
}

/* n numbers of every stretch, from `at` on. What lies behind the end of a piece is added too and left there. */
static dmq_status scatter_wave(dmq_sum *s, dmq_queue *queue, dmq_real *y,
                               const dmq_real *const *piece, dmq_real alpha, size_t at, size_t n)
{
    size_t size = (size_t)s->deal.size, part = (size_t)s->most * n;
    dmq_status st = DMQ_OK;

    for (size_t q = 0; q < size; q++) {
        size_t from = q * s->stretch + at, m = inside(s, from, n);

        for (int i = 0; i < s->own && m > 0; i++)
            DMQ_TRY(copy(s, queue, s->send + q * part + (size_t)i * n, piece[i] + from, m));
    }
    DMQ_TRY(dmq_comm_all_to_all(s->comm, queue, s->pieces, s->send, part * sizeof(dmq_real)));
    DMQ_TRY(add_up(s, queue, s->sums + (size_t)dmq_comm_rank(s->comm) * n, n, alpha));
    DMQ_TRY(dmq_comm_all_gather(s->comm, queue, s->sums, n * sizeof(dmq_real)));
    for (size_t q = 0; q < size; q++) {
        size_t to = q * s->stretch + at, m = inside(s, to, n);

        if (m > 0)
            DMQ_TRY(copy(s, queue, y + to, s->sums + q * n, m));
    }
done:
    return st;
}

dmq_status dmq_sum_run(dmq_sum *s, dmq_queue *queue, dmq_real *y, const dmq_real *const *piece,
                       dmq_real alpha)
{
    dmq_status st = DMQ_OK;

    assert(s->own == 0 || piece);
    if (s->deal.size == 1) {
        dmq_sum_blocks_args a = {
            .x = piece, .y = y, .n_blocks = s->deal.n, .count = s->count, .alpha = alpha
        };

        return dmq_comm_backend(s->comm)->sum_blocks(queue, &a);
    }
    for (size_t at = 0; at < s->stretch; at += s->wave) {
        size_t n = smaller(s->wave, s->stretch - at);

        DMQ_TRY((s->form == DMQ_SUM_GATHER ? gather_wave : scatter_wave)(s, queue, y, piece, alpha,
                                                                         at, n));
    }
done:
    return st;
}
