#include "diffusion/moves.h"

#include "base/memory.h"

#include <math.h>

enum { N_COEF = sizeof(dmq_sampler_coef) / sizeof(dmq_real), BESIDE = 3 };

static size_t per(const dmq_moves *m)
{
    return dmq_shape_count(m->image);
}

static int row_length(const dmq_moves *m)
{
    return m->places + BESIDE;
}

static int real_length(const dmq_moves *m)
{
    return N_COEF + m->places;
}

static dmq_status check_channels(const dmq_sampler *sampler, int channels, int said)
{
    if (sampler->config.guided_channels > channels) {
        return dmq_fail(DMQ_EDATA, "sampler: guided_channels = %d: the network works on %d",
                        sampler->config.guided_channels, channels);
    }
    if (said == 2 * channels || (said == channels && sampler->form != DMQ_MOVE_LEARNED))
        return DMQ_OK;
    return dmq_fail(
        DMQ_EDATA, "sampler: the network gives %d channels for %d, %s", said, channels,
        sampler->form == DMQ_MOVE_LEARNED
            ? "a learned variance takes twice as many\n  hint: for a network that gives "
              "the noise alone, another sampler.variance"
            : "as many or twice as many are taken");
}

dmq_status dmq_moves_create(dmq_moves **out, const dmq_sampler *sampler, const dmq_backend *be,
                            int group, dmq_shape image, int eps_channels)
{
    dmq_status st = DMQ_OK;
    dmq_moves *m = NULL;
    size_t n = (size_t)sampler->n_steps, index, real;

    *out = NULL;
    DMQ_TRY(check_channels(sampler, image.dim[3], eps_channels));
    DMQ_TRY(dmq_alloc((void **)&m, 1, sizeof *m));
    m->sampler = sampler;
    m->be = be;
    m->group = group;
    m->places = group * dmq_sampler_branches(sampler);
    m->image = image;
    m->eps_channels = eps_channels;
    for (int i = 0; i < sampler->n_steps; i++)
        m->noisy |= sampler->step[i].sigma != 0;
    index = n * (size_t)row_length(m) * sizeof *m->index;
    real = n * (size_t)real_length(m) * sizeof *m->real;
    DMQ_TRY(dmq_alloc((void **)&m->call, n, sizeof *m->call));
    DMQ_TRY(dmq_alloc((void **)&m->index, 1, index));
    DMQ_TRY(dmq_mirror_init(&m->index_place, be, m->index, index));
    DMQ_TRY(dmq_alloc((void **)&m->real, 1, real));
    DMQ_TRY(dmq_mirror_init(&m->real_place, be, m->real, real));
    *out = m;
    m = NULL;
done:
    dmq_moves_destroy(m);
    return st;
}

void dmq_moves_destroy(dmq_moves *m)
{
    if (!m)
        return;
    dmq_mirror_release(&m->index_place);
    dmq_mirror_release(&m->real_place);
    dmq_free(m->call);
    dmq_free(m->index);
    dmq_free(m->real);
    dmq_free(m);
}

static dmq_sampler_coef coef_of(const dmq_sampler_step *s)
{
    dmq_sampler_coef k = { .r = (dmq_real)s->r,
                           .c = (dmq_real)s->c,
                           .sigma = (dmq_real)s->sigma,
                           .sqrt_a = (dmq_real)sqrt(s->a),
                           .sqrt_1ma = (dmq_real)sqrt(1 - s->a),
                           .sqrt_an = (dmq_real)sqrt(s->a_next),
                           .d = (dmq_real)s->d,
                           .q_x = (dmq_real)s->q_x,
                           .q_e = (dmq_real)s->q_e,
                           .log_min = (dmq_real)s->log_min,
                           .log_max = (dmq_real)s->log_max };

    for (int i = 0; i < DMQ_SAMPLER_SLOTS; i++)
        k.slot[i] = (dmq_real)s->slot[i];
    return k;
}

/* x stays as it is: a step between equal times. */
static int stands_still(const dmq_sampler *sampler, const dmq_sampler_step *s)
{
    return sampler->form == DMQ_MOVE_LINEAR && s->r == 1 && s->c == 0 && s->sigma == 0;
}

int dmq_moves_count(const dmq_sampler *sampler)
{
    int n = 0;

    for (int i = 0; i < sampler->n_steps; i++)
        n += !stands_still(sampler, &sampler->step[i]);
    return n;
}

dmq_status dmq_moves_set(dmq_moves *m, dmq_queue *queue, int all)
{
    dmq_status st = DMQ_OK;
    size_t n;

    m->rows = 0;
    for (int i = 0; i < m->sampler->n_steps; i++) {
        const dmq_sampler_step *s = &m->sampler->step[i];
        int *row = m->index + (size_t)m->rows * (size_t)row_length(m);
        dmq_real *real = m->real + (size_t)m->rows * (size_t)real_length(m);

        if (!all && stands_still(m->sampler, s))
            continue;
        for (int k = 0; k <= m->places; k++)
            row[k] = i;
        row[m->places + 1] = s->keep_q;
        row[m->places + 2] = s->keep_x;
        *(dmq_sampler_coef *)real = coef_of(s);
        for (int k = 0; k < m->places; k++)
            real[N_COEF + k] = (dmq_real)s->t;
        m->call[m->rows++] = i;
    }
    n = (size_t)m->rows;
    DMQ_TRY(dmq_mirror_push(&m->index_place, queue, m->index,
                            n * (size_t)row_length(m) * sizeof *m->index));
    DMQ_TRY(dmq_mirror_push(&m->real_place, queue, m->real,
                            n * (size_t)real_length(m) * sizeof *m->real));
done:
    return st;
}

dmq_status dmq_moves_check_model(const dmq_sampler *sampler, const dmq_model *model)
{
    if (dmq_sampler_branches(sampler) == 1 || model->n_labels > model->n_classes)
        return DMQ_OK;
    return dmq_fail(DMQ_EDATA,
                    "sampler: guidance = %g: the network %s\n"
                    "  hint: guidance: 1, or a network trained with a null label",
                    sampler->config.guidance,
                    model->n_classes > 0 ? "has no null label" : "knows no classes");
}

dmq_status dmq_mover_init(dmq_mover *out, const dmq_moves *m)
{
    const dmq_backend *be = m->be;
    size_t group = (size_t)m->group, bytes = group * per(m) * sizeof(dmq_real);
    dmq_status st = DMQ_OK;

    *out = (dmq_mover){ .moves = m };
    DMQ_TRY(be->alloc((void **)&out->counter, DMQ_SCHEDULE_COUNTERS * sizeof *out->counter));
    DMQ_TRY(be->alloc((void **)&out->row, (size_t)row_length(m) * sizeof *out->row));
    DMQ_TRY(be->alloc((void **)&out->real, (size_t)real_length(m) * sizeof *out->real));
    out->t = out->real + N_COEF;
    DMQ_TRY(be->alloc((void **)&out->sample, group * sizeof *out->sample));
    if (m->noisy)
        DMQ_TRY(be->alloc((void **)&out->z, bytes));
    if (m->sampler->form == DMQ_MOVE_KEPT)
        DMQ_TRY(be->alloc((void **)&out->slots, DMQ_SAMPLER_SLOTS * bytes));
done:
    if (st != DMQ_OK)
        dmq_mover_release(out);
    return st;
}

void dmq_mover_release(dmq_mover *mover)
{
    void *const memory[] = { mover->counter, mover->row,   mover->real,
                             mover->z,       mover->slots, mover->sample };

    for (size_t i = 0; mover->moves && i < sizeof memory / sizeof *memory; i++)
        mover->moves->be->free(memory[i]);
    *mover = (dmq_mover){ 0 };
}

/* Noise for every trajectory: of the call under way, or the first state. */
static dmq_status draw(const dmq_mover *mover, dmq_queue *queue, dmq_real *out, dmq_purpose purpose,
                       int now)
{
    const dmq_moves *m = mover->moves;

    return m->be->noise_normal(queue,
                               &(dmq_noise_args){ .out = out,
                                                  .n = m->group,
                                                  .per = per(m),
                                                  .seed = mover->seed,
                                                  .purpose = purpose,
                                                  .sample = mover->sample,
                                                  .step_now = now ? mover->row + m->places : NULL,
                                                  .channels = m->image.dim[3] });
}

dmq_status dmq_mover_begin(dmq_mover *mover, dmq_queue *queue, dmq_real *x, const dmq_start *start)
{
    enum { AT_ONCE = 64 };
    static const int zeros[DMQ_SCHEDULE_COUNTERS] = { 0 };
    const dmq_moves *m = mover->moves;
    uint64_t sample[AT_ONCE];
    dmq_status st = DMQ_OK;

    mover->seed = start->seed;
    mover->purpose = start->noise;
    for (int from = 0; from < m->group; from += AT_ONCE) {
        int n = m->group - from < AT_ONCE ? m->group - from : AT_ONCE;

        for (int i = 0; i < n; i++)
            sample[i] = start->first + (uint64_t)(from + i);
        DMQ_TRY(m->be->upload(queue, mover->sample + from, sample, (size_t)n * sizeof *sample));
    }
    DMQ_TRY(m->be->upload(queue, mover->counter, zeros, sizeof zeros));
    for (int i = 0; i < m->places; i += m->group)
        DMQ_TRY(draw(mover, queue, x + (size_t)i * per(m), start->latent, 0));
done:
    return st;
}

dmq_status dmq_mover_take(const dmq_mover *mover, dmq_queue *queue)
{
    const dmq_moves *m = mover->moves;

    return m->be->schedule_take(
        queue, &(dmq_schedule_args){ .counter = mover->counter,
                                     .rows = m->sampler->n_steps,
                                     .index = dmq_mirror_device(&m->index_place, m->index),
                                     .index_now = mover->row,
                                     .n_index = row_length(m),
                                     .real = dmq_mirror_device(&m->real_place, m->real),
                                     .real_now = mover->real,
                                     .n_real = real_length(m) });
}

int dmq_moves_is_null(const dmq_moves *m, int place)
{
    return dmq_sampler_is_null(m->sampler, place / m->group);
}

dmq_status dmq_mover_move(const dmq_mover *mover, dmq_queue *queue, dmq_real *x,
                          const dmq_real *eps)
{
    const dmq_moves *m = mover->moves;
    const dmq_sampler_config *c = &m->sampler->config;
    size_t pixels = (size_t)m->group * per(m) / (size_t)m->image.dim[3];
    dmq_sampler_args a = { .x = x,
                           .eps = eps,
                           .z = mover->z,
                           .slots = mover->slots,
                           .out = x,
                           .coef = (const dmq_sampler_coef *)mover->real,
                           .keep = mover->row + m->places + 1,
                           .pixels = pixels,
                           .channels = m->image.dim[3],
                           .eps_channels = m->eps_channels,
                           .form = m->sampler->form };
    dmq_status st = DMQ_OK;

    if (m->places > m->group) {
        const dmq_real *second = eps + pixels * (size_t)m->eps_channels;

        a.eps = c->cond_first ? eps : second;
        a.null = c->cond_first ? second : eps;
        a.twin = x + (size_t)m->group * per(m);
        a.guidance = (dmq_real)c->guidance;
        a.guided = c->guided_channels > 0 ? c->guided_channels : a.channels;
    }
    if (m->noisy)
        DMQ_TRY(draw(mover, queue, mover->z, mover->purpose, 1));
    DMQ_TRY(m->be->sampler_update(queue, &a));
done:
    return st;
}
