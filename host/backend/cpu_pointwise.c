#include "backend/cpu.h"
#include "backend/cpu_math.h"
#include "kernels/pointwise_math.h"

#include <assert.h>

/* Arrays of these operations may be one another where the contract says so, element by element: the
 * compiler is told that iterations are independent, not that arrays are. */

/* ------------------------------------------------------------------ unary */

DMQ_INLINE float value(dmq_unary_kind kind, float x)
{
    return kind == DMQ_SILU        ? dmq_cpu_silu(x)
           : kind == DMQ_GELU      ? dmq_cpu_gelu(x)
           : kind == DMQ_GELU_TANH ? dmq_cpu_gelu_tanh(x)
           : kind == DMQ_RELU      ? dmq_relu(x)
                                   : x;
}

DMQ_INLINE float slope(dmq_unary_kind kind, float x)
{
    return kind == DMQ_SILU        ? dmq_cpu_silu_slope(x)
           : kind == DMQ_GELU      ? dmq_cpu_gelu_slope(x)
           : kind == DMQ_GELU_TANH ? dmq_cpu_gelu_tanh_slope(x)
           : kind == DMQ_RELU      ? dmq_relu_derive(x)
                                   : 1.0f;
}

DMQ_INLINE void unary_loop(float *y, const float *x, size_t count, dmq_unary_kind kind)
{
#pragma GCC ivdep
    for (size_t i = 0; i < count; i++)
        y[i] = value(kind, x[i]);
}

DMQ_CLONES
static void unary(const dmq_unary_args *a)
{
    switch (a->kind) {
    case DMQ_SILU:
        unary_loop(a->y, a->x, a->count, DMQ_SILU);
        break;
    case DMQ_GELU:
        unary_loop(a->y, a->x, a->count, DMQ_GELU);
        break;
    case DMQ_GELU_TANH:
        unary_loop(a->y, a->x, a->count, DMQ_GELU_TANH);
        break;
    case DMQ_RELU:
        unary_loop(a->y, a->x, a->count, DMQ_RELU);
        break;
    case DMQ_IDENTITY:
        unary_loop(a->y, a->x, a->count, DMQ_IDENTITY);
        break;
    }
}

DMQ_INLINE void derive_loop(const dmq_unary_args *a, dmq_unary_kind kind)
{
    const float *x = a->x, *v = a->v;
    float *out = a->out;

    if (a->add) {
#pragma GCC ivdep
        for (size_t i = 0; i < a->count; i++)
            out[i] += slope(kind, x[i]) * v[i];
    } else {
#pragma GCC ivdep
        for (size_t i = 0; i < a->count; i++)
            out[i] = slope(kind, x[i]) * v[i];
    }
}

DMQ_CLONES
static void derive(const dmq_unary_args *a)
{
    switch (a->kind) {
    case DMQ_SILU:
        derive_loop(a, DMQ_SILU);
        break;
    case DMQ_GELU:
        derive_loop(a, DMQ_GELU);
        break;
    case DMQ_GELU_TANH:
        derive_loop(a, DMQ_GELU_TANH);
        break;
    case DMQ_RELU:
        derive_loop(a, DMQ_RELU);
        break;
    case DMQ_IDENTITY:
        derive_loop(a, DMQ_IDENTITY);
        break;
    }
}

dmq_status dmq_unary_forward_cpu(dmq_queue *queue, const dmq_unary_args *a)
{
    (void)queue;
    unary(a);
    return DMQ_OK;
}

dmq_status dmq_unary_derive_cpu(dmq_queue *queue, const dmq_unary_args *a)
{
    (void)queue;
    derive(a);
    return DMQ_OK;
}

/* ------------------------------------------------------------------ geglu */

DMQ_CLONES
static void geglu_row(float *y, const float *left, const float *gate, size_t d)
{
#pragma GCC ivdep
    for (size_t j = 0; j < d; j++)
        y[j] = left[j] * dmq_cpu_gelu(gate[j]);
}

DMQ_CLONES
static void geglu_row_backward(float *dx, const float *x, const float *dy, size_t d, int add)
{
#pragma GCC ivdep
    for (size_t j = 0; j < d; j++) {
        float dleft = dy[j] * dmq_cpu_gelu(x[d + j]);
        float dgate = dy[j] * x[j] * dmq_cpu_gelu_slope(x[d + j]);

        dx[j] = add ? dx[j] + dleft : dleft;
        dx[d + j] = add ? dx[d + j] + dgate : dgate;
    }
}

DMQ_CLONES
static void geglu_row_tangent(float *y_tan, const float *x, const float *x_tan, size_t d)
{
#pragma GCC ivdep
    for (size_t j = 0; j < d; j++)
        y_tan[j] =
            x_tan[j] * dmq_cpu_gelu(x[d + j]) + x[j] * dmq_cpu_gelu_slope(x[d + j]) * x_tan[d + j];
}

dmq_status dmq_geglu_forward_cpu(dmq_queue *queue, const dmq_geglu_args *a)
{
    size_t d = (size_t)a->d;

    (void)queue;
    for (size_t i = 0; i < (size_t)a->rows; i++)
        geglu_row(a->y + i * d, a->x + i * 2 * d, a->x + i * 2 * d + d, d);
    return DMQ_OK;
}

dmq_status dmq_geglu_backward_cpu(dmq_queue *queue, const dmq_geglu_args *a)
{
    size_t d = (size_t)a->d;

    (void)queue;
    for (size_t i = 0; i < (size_t)a->rows; i++)
        geglu_row_backward(a->dx + i * 2 * d, a->x + i * 2 * d, a->dy + i * d, d, a->add);
    return DMQ_OK;
}

dmq_status dmq_geglu_jvp_cpu(dmq_queue *queue, const dmq_geglu_args *a)
{
    size_t d = (size_t)a->d;

    (void)queue;
    for (size_t i = 0; i < (size_t)a->rows; i++)
        geglu_row_tangent(a->y_tan + i * d, a->x + i * 2 * d, a->x_tan + i * 2 * d, d);
    return DMQ_OK;
}

/* ------------------------------------------------------------------ binary */

/* Axes that lie one behind the other in all three arrays become one, so that inner loops are long. */
static void merge_axes(dmq_binary_args *a)
{
    for (int at = 1; at >= 0; at--) {
        if (a->stride_p[at] != a->dim[at + 1] * a->stride_p[at + 1] ||
            a->stride_q[at] != a->dim[at + 1] * a->stride_q[at + 1])
            continue;
        a->dim[at + 1] *= a->dim[at];
        a->stride_p[at] = a->stride_q[at] = 0;
        a->dim[at] = 1;
        if (at == 1) { /* the free axis goes to the front */
            a->dim[1] = a->dim[0];
            a->stride_p[1] = a->stride_p[0];
            a->stride_q[1] = a->stride_q[0];
            a->dim[0] = 1;
            a->stride_p[0] = a->stride_q[0] = 0;
        }
    }
}

/* y (+)= p op q over one row; one == 1: q is a single number. */
DMQ_INLINE void row_loop(float *y, const float *p, const float *q, size_t count, int one,
                         dmq_binary_kind kind, int add)
{
    float fixed = q[0];

#pragma GCC ivdep
    for (size_t l = 0; l < count; l++) {
        float right = one ? fixed : q[l];
        float v = kind == DMQ_ADD ? p[l] + right : p[l] * right;

        y[l] = add ? y[l] + v : v;
    }
}

DMQ_CLONES
static void row(float *y, const float *p, const float *q, size_t count, int one,
                dmq_binary_kind kind, int add)
{
    switch (4 * (one != 0) + 2 * (kind == DMQ_MUL) + (add != 0)) {
    case 0:
        row_loop(y, p, q, count, 0, DMQ_ADD, 0);
        break;
    case 1:
        row_loop(y, p, q, count, 0, DMQ_ADD, 1);
        break;
    case 2:
        row_loop(y, p, q, count, 0, DMQ_MUL, 0);
        break;
    case 3:
        row_loop(y, p, q, count, 0, DMQ_MUL, 1);
        break;
    case 4:
        row_loop(y, p, q, count, 1, DMQ_ADD, 0);
        break;
    case 5:
        row_loop(y, p, q, count, 1, DMQ_ADD, 1);
        break;
    case 6:
        row_loop(y, p, q, count, 1, DMQ_MUL, 0);
        break;
    default:
        row_loop(y, p, q, count, 1, DMQ_MUL, 1);
        break;
    }
}

dmq_status dmq_binary_forward_cpu(dmq_queue *queue, const dmq_binary_args *a)
{
    dmq_binary_args m = *a;
    float *y = a->y;

    merge_axes(&m);
    if (m.stride_p[2] == 0 && m.stride_q[2] == 1) { /* both kinds commute */
        for (int axis = 0; axis < 3; axis++) {
            ptrdiff_t stride = m.stride_p[axis];

            m.stride_p[axis] = m.stride_q[axis];
            m.stride_q[axis] = stride;
        }
        m.p = a->q;
        m.q = a->p;
    }
    if (m.stride_p[2] != 1 || m.stride_q[2] > 1 || m.stride_q[2] < 0)
        return dmq_binary_forward_ref(queue, a);
    for (int i = 0; i < m.dim[0]; i++)
        for (int j = 0; j < m.dim[1]; j++, y += m.dim[2])
            row(y, m.p + i * m.stride_p[0] + j * m.stride_p[1],
                m.q + i * m.stride_q[0] + j * m.stride_q[1], (size_t)m.dim[2], m.stride_q[2] == 0,
                m.kind, m.add);
    return DMQ_OK;
}

/* d += slope dy over one row; slope == NULL: 1. */
DMQ_CLONES
static void row_backward(float *d, const float *factor, int one, const float *dy, size_t count)
{
    if (!factor) {
#pragma GCC ivdep
        for (size_t l = 0; l < count; l++)
            d[l] += dy[l];
    } else if (one) {
#pragma GCC ivdep
        for (size_t l = 0; l < count; l++)
            d[l] += factor[0] * dy[l];
    } else {
#pragma GCC ivdep
        for (size_t l = 0; l < count; l++)
            d[l] += factor[l] * dy[l];
    }
}

/* The gradient of the side whose row is a single number: 16 sums, then one. */
DMQ_CLONES
static float row_sum(const float *factor, int one, const float *dy, size_t count)
{
    float part[16] = { 0 };
    double sum = 0;
    size_t whole = count / 16 * 16;

    for (size_t l = 0; l < whole; l += 16)
        for (size_t k = 0; k < 16; k++)
            part[k] += (factor ? factor[one ? 0 : l + k] : 1.0f) * dy[l + k];
    for (size_t l = whole; l < count; l++)
        part[l - whole] += (factor ? factor[one ? 0 : l] : 1.0f) * dy[l];
    for (size_t k = 0; k < 16; k++)
        sum += (double)part[k];
    return (float)sum;
}

static void clear(float *d, const ptrdiff_t stride[3], const int dim[3])
{
    int own[3];

    for (int axis = 0; axis < 3; axis++)
        own[axis] = stride[axis] == 0 ? 1 : dim[axis];
    for (int i = 0; i < own[0]; i++)
        for (int j = 0; j < own[1]; j++)
            for (int l = 0; l < own[2]; l++)
                d[i * stride[0] + j * stride[1] + l * stride[2]] = 0;
}

/* One side's gradient: dy, times the other side of a product, summed over the axes that repeat. */
static void backward_side(float *d, const ptrdiff_t stride[3], int add, const float *other,
                          const ptrdiff_t other_stride[3], const dmq_binary_args *a)
{
    const float *dy = a->dy;
    size_t count = (size_t)a->dim[2];

    if (!add)
        clear(d, stride, a->dim);
    for (int i = 0; i < a->dim[0]; i++)
        for (int j = 0; j < a->dim[1]; j++, dy += count) {
            float *to = d + i * stride[0] + j * stride[1];
            const float *factor = NULL;

            if (a->kind == DMQ_MUL)
                factor = other + i * other_stride[0] + j * other_stride[1];
            if (stride[2] == 1)
                row_backward(to, factor, other_stride[2] == 0, dy, count);
            else
                *to += row_sum(factor, other_stride[2] == 0, dy, count);
        }
}

static int simple(const ptrdiff_t stride[3])
{
    return stride[2] == 0 || stride[2] == 1;
}

dmq_status dmq_binary_backward_cpu(dmq_queue *queue, const dmq_binary_args *a)
{
    dmq_binary_args m = *a;

    merge_axes(&m);
    if (!simple(m.stride_p) || !simple(m.stride_q))
        return dmq_binary_backward_ref(queue, a);
    if (m.dp)
        backward_side(m.dp, m.stride_p, m.add_p, m.q, m.stride_q, &m);
    if (m.dq)
        backward_side(m.dq, m.stride_q, m.add_q, m.p, m.stride_p, &m);
    return DMQ_OK;
}

DMQ_CLONES
static void axpby(float *y, const float *x, float alpha, const float *z, float beta, size_t count)
{
    if (beta == 0) {
#pragma GCC ivdep
        for (size_t i = 0; i < count; i++)
            y[i] = alpha * x[i];
    } else {
#pragma GCC ivdep
        for (size_t i = 0; i < count; i++)
            y[i] = alpha * x[i] + beta * z[i];
    }
}

dmq_status dmq_axpby_cpu(dmq_queue *queue, const dmq_axpby_args *a)
{
    (void)queue;
    axpby(a->y, a->x, a->alpha, a->z ? a->z : a->y, a->beta, a->count);
    return DMQ_OK;
}
