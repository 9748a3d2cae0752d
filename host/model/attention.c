#include "model/attention.h"

#include <stdio.h>

void dmq_build_operands(dmq_build *b, int unit, int channels, const char *prefix,
                        int operand[DMQ_OPERANDS])
{
    static const char *const part[] = { "q", "k", "v", "softmax" };

    for (int i = 0; i < DMQ_OPERANDS; i++) {
        char name[2 * DMQ_NAME_MAX];

        snprintf(name, sizeof name, "%s.%s", prefix, part[i]);
        operand[i] = dmq_build_operand(b, unit, channels, name);
        if (b->status == DMQ_OK)
            b->model->layer[operand[i]].from_zero = i == DMQ_OPERAND_SOFTMAX;
    }
}

static int wants(const dmq_heads *a, int layer)
{
    const dmq_layer *l = &a->model->layer[layer];

    return a->hooks && a->hooks->wants && a->hooks->wants(a->hooks->context, l);
}

dmq_var *dmq_heads_operand(const dmq_heads *a, int layer, dmq_var *x)
{
    const dmq_layer *l = &a->model->layer[layer];

    return x && wants(a, layer) ? a->hooks->input(a->hooks->context, a->tape, l, x) : x;
}

static dmq_var *hooked(const dmq_heads *a, int operand, dmq_var *x)
{
    return dmq_heads_operand(a, a->operand[operand], x);
}

/* (N,L,C) -> (N heads,L,d) */
static dmq_var *head_by_head(const dmq_heads *a, dmq_var *x)
{
    static const int order[4] = { 0, 2, 1, 3 };
    int n, l, d;

    if (!x)
        return NULL;
    n = x->shape.dim[0];
    l = x->shape.dim[1];
    d = x->shape.dim[2] / a->heads;
    x = dmq_record_reshape(a->tape, x, dmq_shape4(n, l, a->heads, d));
    return dmq_record_reshape(a->tape, dmq_record_permute(a->tape, x, order),
                              dmq_shape3(n * a->heads, l, d));
}

/* And back. */
static dmq_var *side_by_side(const dmq_heads *a, dmq_var *x)
{
    static const int order[4] = { 0, 2, 1, 3 };
    int n, l, d;

    if (!x)
        return NULL;
    n = x->shape.dim[0] / a->heads;
    l = x->shape.dim[1];
    d = x->shape.dim[2];
    x = dmq_record_reshape(a->tape, x, dmq_shape4(n, a->heads, l, d));
    return dmq_record_reshape(a->tape, dmq_record_permute(a->tape, x, order),
                              dmq_shape3(n, l, a->heads * d));
}

/* With all probabilities of a sample side by side, for the hook that wants them. */
static dmq_var *whole(const dmq_heads *a, dmq_var *q, dmq_var *k, dmq_var *v)
{
    dmq_var *p;
    dmq_shape s;

    q = head_by_head(a, q);
    k = head_by_head(a, k);
    v = head_by_head(a, v);
    p = dmq_record_softmax(a->tape, dmq_record_matmul(a->tape, q, 0, k, 1, a->alpha));
    if (!p)
        return NULL;
    s = p->shape;
    p = dmq_record_reshape(a->tape, p,
                           dmq_shape4(s.dim[0] / a->heads, a->heads, s.dim[1], s.dim[2]));
    p = dmq_record_reshape(a->tape, hooked(a, DMQ_OPERAND_SOFTMAX, p), s);
    return side_by_side(a, dmq_record_matmul(a->tape, p, 0, v, 0, 1));
}

dmq_var *dmq_heads_record(const dmq_heads *a, dmq_var *q, dmq_var *k, dmq_var *v)
{
    q = hooked(a, DMQ_OPERAND_Q, q);
    k = hooked(a, DMQ_OPERAND_K, k);
    v = hooked(a, DMQ_OPERAND_V, v);
    if (wants(a, a->operand[DMQ_OPERAND_SOFTMAX]))
        return whole(a, q, k, v);
    return dmq_record_attention(a->tape, q, k, v, a->heads, a->alpha);
}

dmq_var *dmq_heads_record_qkv(const dmq_heads *a, dmq_var *qkv, int by_head)
{
    int wanted = 0, n, l, c;
    dmq_var *part[3];

    for (int i = 0; i < DMQ_OPERANDS; i++)
        wanted |= wants(a, a->operand[i]);
    if (!wanted || !qkv)
        return dmq_record_attention_qkv(a->tape, qkv, a->heads, by_head, a->alpha);
    n = qkv->shape.dim[0];
    l = qkv->shape.dim[1];
    c = qkv->shape.dim[2] / 3;
    if (by_head)
        qkv = dmq_record_reshape(a->tape, qkv, dmq_shape4(n, l, a->heads, 3 * (c / a->heads)));
    for (int i = 0; i < 3; i++) {
        int width = by_head ? c / a->heads : c;

        part[i] = dmq_record_slice(a->tape, qkv, by_head ? 3 : 2, i * width, width);
        part[i] = dmq_record_reshape(a->tape, part[i], dmq_shape3(n, l, c));
    }
    return dmq_heads_record(a, part[0], part[1], part[2]);
}
