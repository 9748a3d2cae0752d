/*
 * ref on memory apart: a slot opens what its arguments point at, and closes it again. A pointer to the
 * host's own memory where a device wants its own is a failure that names it.
 */
#include "backend/apart.h"
#include "backend/backend.h"
#include "backend/backend_host.h"

#include <assert.h>
#include <string.h>

/* ------------------------------------------------------------------ the pointers of the arguments */

/* A walk over the pointers of one call's arguments, in a definite order. */
typedef struct walk {
    const char *slot;
    int closing; /* 0: open them; 1: close the first n_open */
    int n_open;
    dmq_status status;
} walk;

/* Name i of "a->x, a->w, ...", its length in *length. */
static const char *name_of(int *length, const char *names, int i)
{
    while (i-- > 0)
        names = strchr(names, ',') + 2;
    names += strcspn(names, ">,") < strcspn(names, ",") ? strcspn(names, ">") + 1 : 0;
    *length = (int)strcspn(names, ",");
    return names;
}

static void visit(walk *w, const char *names, const void *const *pointer, size_t n)
{
    for (size_t i = 0; i < n && w->status == DMQ_OK; i++) {
        int length;
        const char *name;

        if (!pointer[i])
            continue;
        if (w->closing) {
            if (w->n_open-- > 0)
                dmq_apart_close(pointer[i]);
        } else if (dmq_apart_holds(pointer[i])) {
            w->status = dmq_apart_open(pointer[i]);
            w->n_open += w->status == DMQ_OK;
        } else {
            name = name_of(&length, names, (int)i);
            w->status = dmq_fail(DMQ_EINVAL,
                                 "check: %s: %.*s is not device memory\n"
                                 "  hint: allocate it by the backend and upload the numbers",
                                 w->slot, length, name);
        }
    }
}

#define VISIT(...)                                               \
    visit(w, #__VA_ARGS__, (const void *const[]){ __VA_ARGS__ }, \
          sizeof((const void *const[]){ __VA_ARGS__ }) / sizeof(void *))

#define POINTERS(args, ...)                         \
    static void walk_##args(walk *w, const args *a) \
    {                                               \
        VISIT(__VA_ARGS__);                         \
    }

POINTERS(dmq_conv2d_args, a->x, a->w, a->bias, a->y, a->dy, a->dx, a->dw, a->dbias)
POINTERS(dmq_matmul_args, a->a, a->b, a->c, a->bias)
POINTERS(dmq_col_sum_args, a->x, a->y)
POINTERS(dmq_softmax_args, a->x, a->y, a->v, a->out)
POINTERS(dmq_xent_args, a->x, a->label, a->loss, a->dloss, a->dx)
POINTERS(dmq_fake_quant_args, a->x, a->scale, a->zero, a->row, a->y, a->code, a->dy, a->dx,
         a->dscale, a->x_tan, a->scale_tan, a->y_tan)
POINTERS(dmq_group_norm_args, a->x, a->shift, a->gamma, a->beta, a->y, a->mean, a->rstd, a->scale,
         a->zero, a->row, a->dy, a->dx, a->dshift, a->dgamma, a->dbeta, a->x_tan, a->shift_tan,
         a->gamma_tan, a->beta_tan, a->y_tan)
POINTERS(dmq_layer_norm_args, a->x, a->gamma, a->beta, a->y, a->mean, a->rstd, a->dy, a->dx,
         a->dgamma, a->dbeta, a->x_tan, a->gamma_tan, a->beta_tan, a->y_tan)
POINTERS(dmq_unary_args, a->x, a->y, a->v, a->out)
POINTERS(dmq_geglu_args, a->x, a->y, a->dy, a->dx, a->x_tan, a->y_tan)
POINTERS(dmq_binary_args, a->p, a->q, a->y, a->dy, a->dp, a->dq)
POINTERS(dmq_axpby_args, a->x, a->y, a->z)
POINTERS(dmq_fill_args, a->y)
POINTERS(dmq_copy2d_args, a->src, a->dst)
POINTERS(dmq_permute_args, a->x, a->y)
POINTERS(dmq_resample_args, a->x, a->y, a->dy, a->dx)
POINTERS(dmq_pool2d_args, a->x, a->y, a->dy, a->dx, a->x_tan, a->y_tan)
POINTERS(dmq_resize_args, a->x, a->y)
POINTERS(dmq_embed_args, a->table, a->index, a->y, a->dy, a->dtable)
POINTERS(dmq_time_embed_args, a->t, a->y)
POINTERS(dmq_nearest_args, a->x, a->code, a->y, a->index)
POINTERS(dmq_minmax_args, a->x, a->lo, a->hi)
POINTERS(dmq_range_search_args, a->x, a->scale, a->zero, a->score, a->winner)
POINTERS(dmq_loss_args, a->f, a->y, a->index, a->loss, a->dloss, a->df, a->f_tan, a->loss_tan)
POINTERS(dmq_adam_args, a->p, a->m, a->v, a->g)
POINTERS(dmq_dot_args, a->x, a->y, a->out)
POINTERS(dmq_jacobian_args, a->rows, a->v, a->out, a->x, a->dots)
POINTERS(dmq_noise_args, a->out, a->sample, a->step_now)
POINTERS(dmq_sampler_args, a->x, a->eps, a->null, a->z, a->slots, a->out, a->twin, a->coef, a->keep)
POINTERS(dmq_schedule_args, a->counter, a->index, a->index_now, a->real, a->real_now, a->scalars,
         a->scalars_now, a->result, a->results)
POINTERS(dmq_simplex_args, a->s, a->w, a->d, a->ds)
POINTERS(dmq_hyper_args, a->w, a->scale, a->factor, a->w_walked, a->d_mse, a->d_gm, a->points,
         a->joins, a->products, a->tangents, a->squares, a->gram, a->coefficient, a->value)
POINTERS(dmq_logits_args, a->s, a->pick, a->w, a->m, a->v, a->visited, a->d_mse, a->d_gm, a->d,
         a->s_old, a->state)

static void walk_dmq_gather_args(walk *w, const dmq_gather_args *a)
{
    for (int p = 0; p < a->n_parts; p++)
        VISIT(a->part[p].table, a->part[p].index, a->part[p].y);
}

static void walk_dmq_sum_blocks_args(walk *w, const dmq_sum_blocks_args *a)
{
    for (int i = 0; i < a->n_blocks; i++)
        VISIT(a->x[i]);
    VISIT(a->y);
}

static void walk_dmq_adaround_args(walk *w, const dmq_adaround_args *a)
{
    for (int i = 0; i < a->n_layers; i++) {
        const dmq_adaround_layer *l = &a->layer[i];

        VISIT(l->w, l->scale, l->zero, l->alpha, l->w_soft, l->code, l->dw, l->alpha_tan, l->w_tan,
              l->dalpha);
    }
    VISIT(a->reg_value);
}

static void walk_dmq_adaround_step_args(walk *w, const dmq_adaround_step_args *a)
{
    walk_dmq_adaround_args(w, &a->round);
    VISIT(a->m, a->v, a->scalars);
}

/* ------------------------------------------------------------------ the slots */

#define CHECKED(slot_, args)                                              \
    static dmq_status slot_##_check(dmq_queue *queue, const args *a)      \
    {                                                                     \
        walk w = { .slot = #slot_ };                                      \
        dmq_status st;                                                    \
                                                                          \
        walk_##args(&w, a);                                               \
        st = w.status == DMQ_OK ? dmq_##slot_##_ref(queue, a) : w.status; \
        w.closing = 1;                                                    \
        w.status = DMQ_OK;                                                \
        walk_##args(&w, a);                                               \
        return st;                                                        \
    }
DMQ_BACKEND_OPS(CHECKED)
#undef CHECKED

/* ------------------------------------------------------------------ copies */

static dmq_status upload(dmq_queue *queue, void *device, const void *host, size_t bytes)
{
    dmq_status st = DMQ_OK;

    if (bytes == 0)
        return DMQ_OK;
    if (dmq_apart_holds(host))
        return dmq_fail(DMQ_EINVAL, "check: upload: what is read is device memory already");
    DMQ_TRY(dmq_apart_open(device));
    st = dmq_host_copy(queue, device, host, bytes);
    dmq_apart_close(device);
done:
    return st;
}

static dmq_status download(dmq_queue *queue, void *host, const void *device, size_t bytes)
{
    dmq_status st = DMQ_OK;

    if (bytes == 0)
        return DMQ_OK;
    if (dmq_apart_holds(host))
        return dmq_fail(DMQ_EINVAL, "check: download: what is written is device memory");
    DMQ_TRY(dmq_apart_open(device));
    st = dmq_host_copy(queue, host, device, bytes);
    dmq_apart_close(device);
done:
    return st;
}

const dmq_backend *dmq_backend_check(void)
{
    static const dmq_backend backend = { .name = "check",
                                         .shard = 8,
                                         .alloc = dmq_apart_alloc,
                                         .free = dmq_apart_free,
                                         .upload = upload,
                                         .download = download,
                                         .queue_create = dmq_host_queue_create,
                                         .queue_destroy = dmq_host_queue_destroy,
                                         .sync = dmq_host_sync,
                                         .pinned_alloc = dmq_host_alloc,
                                         .pinned_free = dmq_host_free,
                                         .fetch = upload,
                                         .event_create = dmq_host_event_create,
                                         .event_destroy = dmq_host_event_destroy,
                                         .event_record = dmq_host_event,
                                         .event_wait = dmq_host_event,
#define CHECK_SLOT(slot_, args) .slot_ = slot_##_check,
                                         DMQ_BACKEND_OPS(CHECK_SLOT)
#undef CHECK_SLOT
    };

    return &backend;
}
