/* One function for each kind of arguments; an optional array counts where it is there. */
#include "count.h"

static const double number = sizeof(dmq_real);

/* Numbers of the array, if it is there; twice if it is added to. */
static double of(const void *array, double count)
{
    return array ? count * number : 0;
}

static double out(const void *array, double count, int add)
{
    return of(array, count) * (add ? 2 : 1);
}

static bench_cost conv2d(int slot, const dmq_conv2d_args *a)
{
    double x = (double)a->n * a->h * a->wd * a->c, y = (double)a->n * a->ho * a->wo * a->k;
    double w = (double)a->k * a->r * a->s * a->c, several = a->per > 0 ? (double)a->n / a->per : 1;
    double flop = 2 * y * a->r * a->s * a->c;

    if (slot == BENCH_conv2d_forward)
        return (bench_cost){ of(a->x, x) + of(a->w, w) + of(a->bias, a->k) + out(a->y, y, a->add),
                             flop };
    if (slot == BENCH_conv2d_backward_data)
        return (bench_cost){ of(a->dy, y) + of(a->w, w) + out(a->dx, x, a->add), flop };
    return (bench_cost){ of(a->x, x) + of(a->dy, y) + out(a->dw, w * several, a->add) +
                             out(a->dbias, a->k * several, a->add),
                         flop };
}

static bench_cost matmul(int slot, const dmq_matmul_args *a)
{
    double m = a->m, n = a->n, k = a->k, batch = a->batch;
    double b = a->stride_b == 0 ? n * k : batch * n * k;

    (void)slot;
    return (bench_cost){ of(a->a, batch * m * k) + of(a->b, b) + of(a->bias, n) +
                             out(a->c, batch * m * n, a->add),
                         2 * batch * m * n * k };
}

static bench_cost col_sum(int slot, const dmq_col_sum_args *a)
{
    (void)slot;
    return (bench_cost){ of(a->x, (double)a->rows * a->cols) + out(a->y, a->cols, a->add), 0 };
}

static bench_cost softmax(int slot, const dmq_softmax_args *a)
{
    double n = (double)a->rows * a->cols;

    if (slot == BENCH_softmax_forward)
        return (bench_cost){ of(a->x, n) + of(a->y, n), 0 };
    return (bench_cost){ of(a->y, n) + of(a->v, n) + out(a->out, n, a->add), 0 };
}

static bench_cost xent(int slot, const dmq_xent_args *a)
{
    double n = (double)a->n * a->classes;

    if (slot == BENCH_xent_forward)
        return (bench_cost){ of(a->x, n) + of(a->loss, a->n), 0 };
    return (bench_cost){ of(a->x, n) + of(a->dloss, a->n) + out(a->dx, n, a->add), 0 };
}

static bench_cost fake_quant(int slot, const dmq_fake_quant_args *a)
{
    double n = (double)a->n * a->outer * a->c * a->inner, code = a->code ? n * 2 : 0;

    if (slot == BENCH_fake_quant_forward)
        return (bench_cost){ of(a->x, n) + of(a->y, n) + code, 0 };
    if (slot == BENCH_fake_quant_backward)
        return (bench_cost){ of(a->x, n) + of(a->dy, n) + out(a->dx, n, a->add), 0 };
    return (bench_cost){ of(a->x, n) + of(a->x_tan, n) + of(a->y_tan, n), 0 };
}

/* Arrays of alpha's length that a pass reads and writes. */
static double rounding_arrays(int slot, const dmq_adaround_args *a)
{
    switch (slot) {
    case BENCH_adaround_init:
    case BENCH_adaround_regularize:
        return 2 + a->add;
    case BENCH_adaround_forward:
        return 3;
    case BENCH_adaround_curve:
        return 5 + a->add;
    case BENCH_adaround_jvp:
        return a->n_layers > 0 && a->layer[0].alpha_tan ? 4 : 3;
    default: /* backward */
        return 4 + a->add;
    }
}

static double rounding_count(const dmq_adaround_args *a)
{
    double n = 0;

    for (int i = 0; i < a->n_layers; i++)
        n += (double)a->layer[i].k * a->layer[i].per;
    return n;
}

static bench_cost adaround(int slot, const dmq_adaround_args *a)
{
    return (bench_cost){ rounding_count(a) * number * rounding_arrays(slot, a), 0 };
}

static bench_cost adaround_step(int slot, const dmq_adaround_step_args *a)
{
    (void)slot; /* w, dw, alpha, m, v; alpha, m, v, w_soft */
    return (bench_cost){ rounding_count(&a->round) * number * 9, 0 };
}

static bench_cost group_norm(int slot, const dmq_group_norm_args *a)
{
    double n = (double)a->n * a->hw * a->c, small = (double)a->n * a->c;

    if (slot == BENCH_group_norm_forward)
        return (bench_cost){ of(a->x, n) + of(a->shift, small) + of(a->y, n), 0 };
    if (slot == BENCH_group_norm_backward)
        return (bench_cost){ of(a->x, n) + of(a->dy, n) + out(a->dx, n, a->add) +
                                 out(a->dshift, small, a->add_shift),
                             0 };
    return (bench_cost){ of(a->x, n) + of(a->x_tan, n) + of(a->y_tan, n), 0 };
}

static bench_cost layer_norm(int slot, const dmq_layer_norm_args *a)
{
    double n = (double)a->rows * a->d;

    if (slot == BENCH_layer_norm_forward)
        return (bench_cost){ of(a->x, n) + of(a->y, n), 0 };
    if (slot == BENCH_layer_norm_backward)
        return (bench_cost){ of(a->x, n) + of(a->dy, n) + out(a->dx, n, a->add), 0 };
    return (bench_cost){ of(a->x, n) + of(a->x_tan, n) + of(a->y_tan, n), 0 };
}

static bench_cost unary(int slot, const dmq_unary_args *a)
{
    double n = (double)a->count;

    if (slot == BENCH_unary_forward)
        return (bench_cost){ of(a->x, n) + of(a->y, n), 0 };
    return (bench_cost){ of(a->x, n) + of(a->v, n) + out(a->out, n, a->add), 0 };
}

static bench_cost geglu(int slot, const dmq_geglu_args *a)
{
    double n = (double)a->rows * a->d;

    if (slot == BENCH_geglu_forward)
        return (bench_cost){ of(a->x, 2 * n) + of(a->y, n), 0 };
    if (slot == BENCH_geglu_backward)
        return (bench_cost){ of(a->x, 2 * n) + of(a->dy, n) + out(a->dx, 2 * n, a->add), 0 };
    return (bench_cost){ of(a->x, 2 * n) + of(a->x_tan, 2 * n) + of(a->y_tan, n), 0 };
}

/* Numbers of an operand, of which a repeated axis has one. */
static double operand(const dmq_binary_args *a, const ptrdiff_t stride[3])
{
    double n = 1;

    for (int i = 0; i < 3; i++)
        n *= stride[i] == 0 ? 1 : a->dim[i];
    return n;
}

static bench_cost binary(int slot, const dmq_binary_args *a)
{
    double n = (double)a->dim[0] * a->dim[1] * a->dim[2];
    double p = operand(a, a->stride_p), q = operand(a, a->stride_q);

    if (slot == BENCH_binary_forward)
        return (bench_cost){ of(a->p, p) + of(a->q, q) + out(a->y, n, a->add), 0 };
    return (bench_cost){ of(a->dy, n) + out(a->dp, p, a->add_p) + out(a->dq, q, a->add_q) +
                             (a->kind == DMQ_MUL ? of(a->p, p) + of(a->q, q) : 0),
                         0 };
}

static bench_cost axpby(int slot, const dmq_axpby_args *a)
{
    double n = (double)a->count;

    (void)slot;
    return (bench_cost){ of(a->x, n) + of(a->y, n) + (a->beta != 0 ? of(a->y, n) : 0), 0 };
}

static bench_cost fill(int slot, const dmq_fill_args *a)
{
    (void)slot;
    return (bench_cost){ of(a->y, (double)a->count), 0 };
}

static bench_cost copy2d(int slot, const dmq_copy2d_args *a)
{
    double n = (double)a->rows * (double)a->cols;

    (void)slot;
    return (bench_cost){ of(a->src, a->src_ld == 0 ? (double)a->cols : n) + out(a->dst, n, a->add),
                         0 };
}

static bench_cost permute(int slot, const dmq_permute_args *a)
{
    double n = (double)a->dim[0] * a->dim[1] * a->dim[2] * a->dim[3];

    (void)slot;
    return (bench_cost){ of(a->x, n) + out(a->y, n, a->add), 0 };
}

static bench_cost resample(int slot, const dmq_resample_args *a)
{
    double x = (double)a->n * a->h * a->wd * a->c, f = (double)a->factor * a->factor;
    int up = slot == BENCH_upsample_forward || slot == BENCH_upsample_backward;
    double y = up ? x * f : x / f;

    if (slot == BENCH_upsample_forward || slot == BENCH_avg_pool_forward)
        return (bench_cost){ of(a->x, x) + out(a->y, y, a->add), 0 };
    return (bench_cost){ of(a->dy, y) + out(a->dx, x, a->add), 0 };
}

static bench_cost pool2d(int slot, const dmq_pool2d_args *a)
{
    double x = (double)a->n * a->h * a->wd * a->c, y = (double)a->n * a->ho * a->wo * a->c;

    if (slot == BENCH_pool2d_forward)
        return (bench_cost){ of(a->x, x) + of(a->y, y), 0 };
    if (slot == BENCH_pool2d_backward)
        return (bench_cost){ of(a->x, x) + of(a->dy, y) + out(a->dx, x, a->add), 0 };
    return (bench_cost){ of(a->x, x) + of(a->x_tan, x) + of(a->y_tan, y), 0 };
}

static bench_cost resize(int slot, const dmq_resize_args *a)
{
    (void)slot; /* a level is a byte */
    return (bench_cost){
        (double)a->n * a->c * ((double)a->h * a->wd + number * (double)a->ho * a->wo), 0
    };
}

static bench_cost embed(int slot, const dmq_embed_args *a)
{
    double n = (double)a->n * a->d, table = (double)a->rows * a->d;

    if (slot == BENCH_embed_forward)
        return (bench_cost){ of(a->table, n) + out(a->y, n, a->add), 0 };
    return (bench_cost){ of(a->dy, n) + out(a->dtable, table, a->add), 0 };
}

static bench_cost gather(int slot, const dmq_gather_args *a)
{
    double n = 0;

    (void)slot;
    for (int p = 0; p < a->n_parts; p++)
        n += 2.0 * a->n * a->part[p].d;
    return (bench_cost){ n * number, 0 };
}

static bench_cost time_embed(int slot, const dmq_time_embed_args *a)
{
    (void)slot;
    return (bench_cost){ of(a->t, a->n) + of(a->y, (double)a->n * a->d), 0 };
}

static bench_cost nearest(int slot, const dmq_nearest_args *a)
{
    double x = (double)a->rows * a->d;

    (void)slot;
    return (bench_cost){ of(a->x, x) + of(a->code, (double)a->n * a->d) + of(a->y, x),
                         2 * x * a->n };
}

static bench_cost loss(int slot, const dmq_loss_args *a)
{
    double n = (double)a->n * (double)a->per, both = of(a->f, n) + of(a->y, n);

    if (slot == BENCH_loss_forward)
        return (bench_cost){ both + of(a->loss, a->n), 0 };
    if (slot == BENCH_loss_backward || slot == BENCH_loss_both)
        return (bench_cost){ both + of(a->dloss, a->n) + out(a->df, n, a->add), 0 };
    return (bench_cost){ both + of(a->f_tan, n) + of(a->loss_tan, a->n), 0 };
}

static bench_cost adam(int slot, const dmq_adam_args *a)
{
    (void)slot;
    return (bench_cost){ of(a->p, 7 * (double)a->count), 0 };
}

static bench_cost sum_blocks(int slot, const dmq_sum_blocks_args *a)
{
    (void)slot;
    return (bench_cost){
        of(a->x, (double)a->n_blocks * (double)a->count) + out(a->y, (double)a->count, a->add), 0
    };
}

static bench_cost dot(int slot, const dmq_dot_args *a)
{
    (void)slot;
    return (bench_cost){
        of(a->x, (double)a->count) + (a->y == a->x ? 0 : of(a->y, (double)a->count)), 0
    };
}

static bench_cost jacobian(int slot, const dmq_jacobian_args *a)
{
    double n = a->n, m = a->m, count = (double)a->count;
    double x = a->x == a->rows ? 0 : of(a->x, m * count);

    return (bench_cost){ of(a->rows, n * count) + x +
                             (slot == BENCH_jacobian_times ? of(a->out, m * count) : 0),
                         2 * n * m * count };
}

static bench_cost noise(int slot, const dmq_noise_args *a)
{
    (void)slot;
    return (bench_cost){ of(a->out, (double)a->n * (double)a->per), 0 };
}

static bench_cost sampler(int slot, const dmq_sampler_args *a)
{
    double x = (double)a->pixels * a->channels, eps = (double)a->pixels * a->eps_channels;

    (void)slot;
    return (bench_cost){ of(a->x, x) + of(a->eps, eps) + of(a->null, eps) + of(a->z, x) +
                             of(a->out, x) + of(a->twin, x),
                         0 };
}

static bench_cost schedule(int slot, const dmq_schedule_args *a)
{
    double kept = a->n_result * number;

    if (slot == BENCH_schedule_keep)
        return (bench_cost){ 2 * kept, 0 };
    return (bench_cost){ 2 * (a->n_index * (double)sizeof(int) + a->n_real * number + kept), 0 };
}

static bench_cost unknown(int slot, const void *args)
{
    (void)slot;
    (void)args;
    return (bench_cost){ 0, 0 };
}

/* Those of some hundred numbers (hyper, logits, simplex) and of preparations are left to `unknown`. */
#define KIND(args) \
    _Generic((const args *)0,                        \
             const dmq_conv2d_args *: conv2d,        \
             const dmq_matmul_args *: matmul,        \
             const dmq_col_sum_args *: col_sum,      \
             const dmq_softmax_args *: softmax,      \
             const dmq_xent_args *: xent,            \
             const dmq_fake_quant_args *: fake_quant, \
             const dmq_adaround_args *: adaround,    \
             const dmq_adaround_step_args *: adaround_step, \
             const dmq_group_norm_args *: group_norm, \
             const dmq_layer_norm_args *: layer_norm, \
             const dmq_unary_args *: unary,          \
             const dmq_geglu_args *: geglu,          \
             const dmq_binary_args *: binary,        \
             const dmq_axpby_args *: axpby,          \
             const dmq_fill_args *: fill,            \
             const dmq_copy2d_args *: copy2d,        \
             const dmq_permute_args *: permute,      \
             const dmq_resample_args *: resample,    \
             const dmq_pool2d_args *: pool2d,        \
             const dmq_resize_args *: resize, \
             const dmq_embed_args *: embed,          \
             const dmq_gather_args *: gather, \
             const dmq_time_embed_args *: time_embed, \
             const dmq_nearest_args *: nearest,      \
             const dmq_loss_args *: loss,            \
             const dmq_adam_args *: adam,            \
             const dmq_sum_blocks_args *: sum_blocks, \
             const dmq_dot_args *: dot,              \
             const dmq_jacobian_args *: jacobian,    \
             const dmq_noise_args *: noise,          \
             const dmq_sampler_args *: sampler,      \
             const dmq_schedule_args *: schedule,    \
             default: unknown)

bench_cost bench_cost_of(int slot, const void *args)
{
    switch (slot) {
#define COST(name, kind) \
    case BENCH_##name:   \
        return KIND(kind)(slot, (const kind *)args);
        DMQ_BACKEND_OPS(COST)
    default:
        return (bench_cost){ 0, 0 };
    }
}
