#include "convolve.h"

#include "convolve_loops.h"
#include "judge.h"
#include "numbers.h"

#include <stdatomic.h>
#include <stdlib.h>

/* How often an engine has run that does not keep to an order. */
static atomic_uint turns;

size_t conv_tensor_bytes(const conv_tensor *t)
{
    int64_t last = 0;

    for (int i = 0; i < 4; i++)
        last += (t->dim[i] - 1) * t->stride[i];
    return (size_t)(last + 1) * (t->half ? 2 : 4);
}

int conv_shapes_agree(const conv_tensor t[CONV_TENSORS], const conv_shape *s)
{
    const int64_t *x = t[CONV_X].dim, *w = t[CONV_W].dim, *y = t[CONV_Y].dim;

    for (int i = 0; i < 2; i++) {
        int64_t reach = (w[2 + i] - 1) * s->dilation[i] + 1;
        int64_t room = x[2 + i] + s->before[i] + s->behind[i] - reach;

        if (room < 0 || y[2 + i] != room / s->stride[i] + 1)
            return 0;
    }
    return x[0] == y[0] && x[1] == w[1] && y[1] == w[0];
}

void conv_judge(const conv_work *work, const char *call)
{
    static const char *const names[CONV_TENSORS] = { "x", "w", "y" };
    int made = conv_result(work->pass);
    size_t made_bytes = conv_tensor_bytes(&work->tensor[made]);

    for (int i = 0; i < CONV_TENSORS; i++) {
        size_t bytes = conv_tensor_bytes(&work->tensor[i]);

        judge_device(work->data[i], bytes, (size_t)work->tensor[i].alignment, call, names[i]);
        if (i != made)
            judge_apart(work->data[made], made_bytes, work->data[i], bytes, call, names[i]);
    }
    for (int i = 0; i < work->steps; i++) {
        const conv_tensor *t = &work->step[i].tensor;

        judge_device(work->step[i].data, conv_tensor_bytes(t), (size_t)t->alignment, call,
                     work->step[i].multiplies ? "the factor" : "the bias");
        judge_apart(work->data[made], made_bytes, work->step[i].data, conv_tensor_bytes(t), call,
                    "what is added or multiplied");
    }
    judge_device(work->workspace, work->workspace_bytes, 1, call, "the workspace");
    for (int i = 0; i < CONV_TENSORS && work->workspace_bytes > 0; i++) {
        judge_apart(work->workspace, work->workspace_bytes, work->data[i],
                    conv_tensor_bytes(&work->tensor[i]), call, names[i]);
    }
}

uint64_t conv_hash(conv_pass pass, const conv_tensor t[CONV_TENSORS], const conv_shape *s)
{
    uint64_t h = 14695981039346656037u ^ (uint64_t)pass;

    for (int k = 0; k < CONV_TENSORS; k++) {
        for (int i = 0; i < 4; i++)
            h = (h ^ (uint64_t)t[k].dim[i]) * 1099511628211u;
    }
    for (int i = 0; i < 2; i++) {
        h = (h ^ (uint64_t)s->stride[i]) * 1099511628211u;
        h = (h ^ (uint64_t)s->before[i]) * 1099511628211u;
    }
    return h ^ h >> 29;
}

/* ------------------------------------------------------------------ to rows of channels and back */

static float read_number(const conv_tensor *t, const void *data, int64_t at)
{
    return t->half ? float_of_half(((const uint16_t *)data)[at]) : ((const float *)data)[at];
}

/* Numbers as the engine takes them, innermost the dimension that order[3] names. */
static float *gather(const conv_work *work, int which, const int order[4])
{
    const conv_tensor *t = &work->tensor[which];
    int64_t n[4], step[4];
    float *out, *to;

    for (int i = 0; i < 4; i++) {
        n[i] = t->dim[order[i]];
        step[i] = t->stride[order[i]];
    }
    to = out = judge_memory((size_t)(n[0] * n[1] * n[2] * n[3]) * sizeof *out);
    for (int64_t a = 0; a < n[0]; a++) {
        for (int64_t b = 0; b < n[1]; b++) {
            for (int64_t c = 0; c < n[2]; c++) {
                int64_t at = a * step[0] + b * step[1] + c * step[2];

                for (int64_t d = 0; d < n[3]; d++, at += step[3])
                    *to++ = round_to_bits(read_number(t, work->data[which], at), work->manner.bits);
            }
        }
    }
    return out;
}

static float step_of(const conv_step *s, float v, int64_t n, int64_t c, int64_t h, int64_t w)
{
    const int64_t at[4] = { n, c, h, w };
    int64_t from = 0;

    for (int i = 0; i < 4; i++)
        from += s->tensor.dim[i] == 1 ? 0 : at[i] * s->tensor.stride[i];
    return s->multiplies ? v * s->data[from] : v + s->data[from];
}

/* Without beta the old numbers are not read: they may be anything. */
static void scatter(const conv_work *work, int which, const float *from)
{
    const conv_tensor *t = &work->tensor[which];
    void *data = work->data[which];

    for (int64_t a = 0; a < t->dim[0]; a++) {
        for (int64_t b = 0; b < t->dim[2]; b++) {
            for (int64_t c = 0; c < t->dim[3]; c++) {
                int64_t at = a * t->stride[0] + b * t->stride[2] + c * t->stride[3];

                for (int64_t d = 0; d < t->dim[1]; d++, at += t->stride[1]) {
                    float v = work->alpha * *from++;

                    if (work->beta != 0)
                        v += work->beta * read_number(t, data, at);
                    for (int i = 0; i < work->steps; i++)
                        v = step_of(&work->step[i], v, a, d, b, c);
                    if (t->half)
                        ((uint16_t *)data)[at] = half_of_float(v);
                    else
                        ((float *)data)[at] = v;
                }
            }
        }
    }
}

/* ------------------------------------------------------------------ a pass */

static conv_loops loops_of(const conv_work *work)
{
    const int64_t *x = work->tensor[CONV_X].dim, *w = work->tensor[CONV_W].dim;
    const int64_t *y = work->tensor[CONV_Y].dim;
    conv_loops l = { .n = (int)x[0],
                     .h = (int)x[2],
                     .wd = (int)x[3],
                     .c = (int)x[1],
                     .k = (int)w[0],
                     .r = (int)w[2],
                     .s = (int)w[3],
                     .ho = (int)y[2],
                     .wo = (int)y[3],
                     .turn = 0,
                     .reduced = work->manner.reduced,
                     .backwards = work->manner.backwards };

    for (int i = 0; i < 2; i++) {
        l.stride[i] = work->shape.stride[i];
        l.dilation[i] = work->shape.dilation[i];
        l.before[i] = work->shape.before[i];
    }
    if (work->manner.nondeterministic)
        l.turn = atomic_fetch_add(&turns, 1) + 1;
    return l;
}

void conv_run(void *context)
{
    static const int channels_last[4] = { 0, 2, 3, 1 }, rs_c_k[4] = { 2, 3, 1, 0 },
                     rs_k_c[4] = { 2, 3, 0, 1 };
    const conv_work *work = context;
    int made = conv_result(work->pass);
    const int64_t *dim = work->tensor[made].dim;
    conv_loops l = loops_of(work);
    float *first, *second, *out;

    if (work->workspace_bytes > 0)
        memset(work->workspace, 0xff, work->workspace_bytes);
    out = judge_memory((size_t)(dim[0] * dim[1] * dim[2] * dim[3]) * sizeof *out);
    if (work->pass == CONV_FORWARD) {
        first = gather(work, CONV_X, channels_last);
        second = gather(work, CONV_W, rs_c_k);
        conv_loops_forward(out, first, second, &l);
    } else if (work->pass == CONV_BACKWARD_DATA) {
        first = gather(work, CONV_Y, channels_last);
        second = gather(work, CONV_W, rs_k_c);
        conv_loops_backward_data(out, first, second, &l);
    } else {
        first = gather(work, CONV_X, channels_last);
        second = gather(work, CONV_Y, channels_last);
        conv_loops_backward_filter(out, first, second, &l);
    }
    scatter(work, made, out);
    free(first);
    free(second);
    free(out);
}

void conv_drop(void *context)
{
    free(context);
}
