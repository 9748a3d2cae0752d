/**
 * Every operation that can be recorded, alone and in the company it has in a model. 3 samples each.
 */
#ifndef DMQ_TESTS_TAPE_CASES_H
#define DMQ_TESTS_TAPE_CASES_H

#include "tape_net.h"

enum { CASE_SAMPLES = 3 };

static const dmq_pad pad_same = { 1, 1, 1, 1 }, pad_down = { 0, 1, 0, 1 },
                     pad_none = { 0, 0, 0, 0 };

static inline dmq_var *case_image(net *n)
{
    return net_input(n, dmq_shape4(n->samples, 4, 6, 8));
}

static inline dmq_var *case_tokens(net *n)
{
    return net_input(n, dmq_shape3(n->samples, 5, 6));
}

static inline dmq_var *case_conv_of(net *n, dmq_var *x, int c, int k, int r, int stride,
                                    dmq_pad pad)
{
    dmq_var *w = net_param(n, dmq_shape4(k, r, r, c));

    return dmq_record_conv2d(n->tape, x, w, net_param(n, dmq_shape1(k)), stride, pad);
}

static inline void case_conv(net *n)
{
    net_output(n, case_conv_of(n, case_image(n), 8, 5, 3, 1, pad_same));
}

static inline void case_conv_down(net *n)
{
    net_output(n, case_conv_of(n, case_image(n), 8, 6, 3, 2, pad_down));
}

static inline void case_conv_1x1(net *n)
{
    dmq_var *x = case_image(n), *w = net_param(n, dmq_shape4(3, 1, 1, 8));

    net_output(n, dmq_record_conv2d(n->tape, x, w, NULL, 1, pad_none));
}

/* What a layer with a quantized weight has: the bias alone is learned. */
static inline void case_conv_bias(net *n)
{
    dmq_var *x = net_data(n, dmq_shape4(n->samples, 4, 6, 8), 0, 1);
    dmq_var *w = net_constant(n, dmq_shape4(4, 3, 3, 8), 0, 0.1);

    net_output(n, dmq_record_conv2d(n->tape, x, w, net_param(n, dmq_shape1(4)), 1, pad_same));
}

static inline void case_linear(net *n)
{
    dmq_var *x = net_input(n, dmq_shape2(n->samples, 7)), *w = net_param(n, dmq_shape2(5, 7));

    net_output(n, dmq_record_linear(n->tape, x, w, net_param(n, dmq_shape1(5))));
}

static inline void case_linear_tokens(net *n)
{
    dmq_var *x = case_tokens(n), *w = net_param(n, dmq_shape2(4, 6));

    net_output(n, dmq_record_linear(n->tape, x, w, NULL));
}

static inline void case_linear_bias(net *n)
{
    dmq_var *x = net_data(n, dmq_shape2(n->samples, 7), 0, 1);
    dmq_var *w = net_constant(n, dmq_shape2(5, 7), 0, 0.4);

    net_output(n, dmq_record_linear(n->tape, x, w, net_param(n, dmq_shape1(5))));
}

static inline void case_matmul(net *n)
{
    for (int trans = 0; trans < 4; trans++) {
        dmq_var *a =
            net_input(n, trans & 1 ? dmq_shape3(n->samples, 4, 5) : dmq_shape3(n->samples, 5, 4));
        dmq_var *b =
            net_input(n, trans & 2 ? dmq_shape3(n->samples, 3, 4) : dmq_shape3(n->samples, 4, 3));

        net_output(n, dmq_record_matmul(n->tape, a, trans & 1, b, trans >> 1, 0.5));
    }
}

/* a^T a: both sides of a product are the same variable */
static inline void case_matmul_self(net *n)
{
    dmq_var *a = case_tokens(n);

    net_output(n, dmq_record_matmul(n->tape, a, 1, a, 0, 0.5));
}

static inline void case_softmax(net *n)
{
    net_output(n, dmq_record_softmax(n->tape, case_tokens(n)));
}

/* One head and several, keys of other tokens, and the two orders of q, k, v in one variable. */
static inline void case_heads(net *n)
{
    dmq_var *q = case_tokens(n), *k = net_input(n, dmq_shape3(n->samples, 4, 6));
    dmq_var *qkv = net_input(n, dmq_shape3(n->samples, 5, 18));
    dmq_var *v = net_input(n, dmq_shape3(n->samples, 4, 6)), *y;

    net_output(n, dmq_record_attention(n->tape, q, k, v, 3, 0.7));
    net_output(n, dmq_record_attention(n->tape, q, q, q, 1, 0.5));
    y = dmq_record_attention_qkv(n->tape, qkv, 2, 1, 0.6);
    net_output(n, dmq_record_binary(n->tape, DMQ_MUL, y, q));
    net_output(n, dmq_record_attention_qkv(n->tape, qkv, 3, 0, 0.6));
}

/* Values alone are learned, queries alone move. */
static inline void case_heads_sides(net *n)
{
    dmq_var *data = net_data(n, dmq_shape3(n->samples, 5, 6), 0, 1), *x = case_tokens(n);

    net_output(n, dmq_record_attention(n->tape, data, data, x, 2, 0.7));
    net_output(n, dmq_record_attention(n->tape, x, data, data, 2, 0.7));
    net_output(n, dmq_record_attention(n->tape, data, x, data, 2, 0.7));
}

static inline dmq_var *case_norm_of(net *n, dmq_var *x, int c)
{
    dmq_var *gamma = net_param_near(n, dmq_shape1(c), 1, 0.2);

    return dmq_record_group_norm(n->tape, x, gamma, net_param(n, dmq_shape1(c)), 2, 1e-6);
}

static inline void case_group_norm(net *n)
{
    net_output(n, case_norm_of(n, case_image(n), 8));
    net_output(n, case_norm_of(n, case_tokens(n), 6));
}

static inline void case_layer_norm(net *n)
{
    dmq_var *x = case_tokens(n), *gamma = net_param_near(n, dmq_shape1(6), 1, 0.2);

    net_output(n, dmq_record_layer_norm(n->tape, x, gamma, net_param(n, dmq_shape1(6)), 1e-5));
}

static inline void case_unary(net *n)
{
    net_output(n, dmq_record_unary(n->tape, DMQ_SILU, case_tokens(n)));
    net_output(n, dmq_record_unary(n->tape, DMQ_GELU, case_tokens(n)));
    net_output(n, dmq_record_unary(n->tape, DMQ_IDENTITY, case_tokens(n)));
}

static inline void case_relu(net *n)
{
    net_output(n, dmq_record_unary(n->tape, DMQ_RELU, case_tokens(n)));
}

static inline void case_geglu(net *n)
{
    net_output(n, dmq_record_geglu(n->tape, case_tokens(n)));
}

static inline void case_binary(net *n, dmq_binary_kind kind)
{
    dmq_var *x = case_image(n);

    net_output(n, dmq_record_binary(n->tape, kind, x, case_image(n)));
    net_output(n, dmq_record_binary(n->tape, kind, x, net_input(n, dmq_shape2(n->samples, 8))));
    net_output(n, dmq_record_binary(n->tape, kind, x, net_param(n, dmq_shape1(8))));
    net_output(n, dmq_record_binary(n->tape, kind, x, net_param(n, dmq_shape1(1))));
}

static inline void case_add(net *n)
{
    case_binary(n, DMQ_ADD);
}

static inline void case_mul(net *n)
{
    case_binary(n, DMQ_MUL);
}

/* Tangents from one side alone, and the same variable on both. */
static inline void case_binary_sides(net *n)
{
    dmq_var *data = net_data(n, dmq_shape3(n->samples, 5, 6), 0, 1), *x = case_tokens(n);

    net_output(n, dmq_record_binary(n->tape, DMQ_ADD, data, net_param(n, dmq_shape1(6))));
    net_output(n, dmq_record_binary(n->tape, DMQ_MUL, data, net_param(n, dmq_shape1(6))));
    net_output(n, dmq_record_binary(n->tape, DMQ_MUL, x, x));
    net_output(n, dmq_record_binary(n->tape, DMQ_ADD, x, x));
}

static inline void case_concat(net *n)
{
    dmq_var *x = case_image(n), *data = net_data(n, dmq_shape4(n->samples, 4, 6, 3), 0, 1);

    net_output(n, dmq_record_concat(n->tape, x, case_image(n)));
    net_output(n, dmq_record_concat(n->tape, data, x));
    net_output(n, dmq_record_concat(n->tape, x, x));
}

static inline void case_slice(net *n)
{
    dmq_var *x = case_image(n);

    net_output(n, dmq_record_slice(n->tape, x, 3, 2, 5));
    net_output(n, dmq_record_slice(n->tape, x, 1, 1, 2));
    net_output(n, dmq_record_slice(n->tape, case_image(n), 2, 0, 3));
}

static inline void case_resample(net *n)
{
    net_output(n, dmq_record_upsample(n->tape, case_image(n), 2));
    net_output(n, dmq_record_avg_pool(n->tape, case_image(n), 2));
}

/* Three parts, one of them twice and one that nothing learned reaches; one part alone. */
static inline void case_concat_all(net *n)
{
    dmq_var *x = case_image(n), *data = net_data(n, dmq_shape4(n->samples, 4, 6, 3), 0, 1);
    dmq_var *other = net_input(n, dmq_shape4(n->samples, 4, 6, 5));

    net_output(n, dmq_record_concat_all(n->tape, (dmq_var *[]){ x, data, other, x }, 4));
    net_output(n, dmq_record_concat_all(n->tape, &other, 1));
}

static inline void case_mean_pool(net *n)
{
    net_output(n, dmq_record_pool2d(n->tape, DMQ_POOL_MEAN, case_image(n), 3, 1, 1));
    net_output(n, dmq_record_pool2d(n->tape, DMQ_POOL_MEAN, case_image(n), 2, 2, 0));
}

static inline void case_max_pool(net *n)
{
    net_output(n, dmq_record_pool2d(n->tape, DMQ_POOL_MAX, case_image(n), 3, 1, 1));
    net_output(n, dmq_record_pool2d(n->tape, DMQ_POOL_MAX, case_image(n), 2, 1, 1));
}

static inline void case_embed(net *n)
{
    dmq_var *table = net_param(n, dmq_shape2(5, 6));
    dmq_var *x = net_input(n, dmq_shape2(n->samples, 6));

    net_output(n, dmq_record_binary(n->tape, DMQ_ADD, x,
                                    dmq_record_embed(n->tape, table, net_index(n, 5))));
}

static inline void case_time(net *n)
{
    dmq_var *t = net_data(n, dmq_shape1(n->samples), 500, 100);
    dmq_var *e = dmq_record_time_embed(n->tape, t, 8, 3, 0);
    dmq_var *w = net_param(n, dmq_shape2(4, 8));

    net_output(n, dmq_record_linear(n->tape, e, w, NULL));
    net_output(n, dmq_record_time_embed(n->tape, t, 8, 4, 1));
}

static inline void case_moves(net *n)
{
    dmq_var *x = case_image(n);
    dmq_var *y = dmq_record_reshape(n->tape, x, dmq_shape4(n->samples, 24, 2, 4));
    dmq_var *w =
        dmq_record_reshape(n->tape, net_param(n, dmq_shape4(3, 1, 1, 8)), dmq_shape2(3, 8));

    y = dmq_record_permute(n->tape, y, (const int[]){ 0, 2, 3, 1 });
    net_output(n, dmq_record_unary(n->tape, DMQ_SILU, y));
    net_output(n, dmq_record_linear(n->tape, x, w, NULL));
    net_output(n, dmq_record_permute(n->tape, case_tokens(n), (const int[]){ 0, 2, 1, 3 }));
}

static inline void case_loss(net *n)
{
    dmq_var *y = net_data(n, dmq_shape4(n->samples, 4, 6, 8), 0, 1);

    net_output(n, dmq_record_loss(n->tape, case_image(n), y, 2.0));
    y = net_data(n, dmq_shape3(n->samples, 5, 6), 0, 1);
    net_output(n, dmq_record_loss(n->tape, case_tokens(n), y, 2.0));
    y = net_data(n, dmq_shape2(n->samples, 7), 0, 1);
    net_output(n, dmq_record_loss(n->tape, net_input(n, dmq_shape2(n->samples, 7)), y, 2.0));
}

static inline void case_xent(net *n)
{
    dmq_var *x = net_input(n, dmq_shape2(n->samples, 7));

    net_output(n, dmq_record_xent(n->tape, x, net_index(n, 7)));
}

static inline dmq_quant_spec case_spec(net *n, dmq_var *scale, double hi)
{
    dmq_quant_spec spec = { .scale = scale, .hi = hi, .lsq_gain = 1 };
    dmq_real *zero = check_reals(dmq_shape_count(scale->shape));

    for (size_t i = 0; i < dmq_shape_count(scale->shape); i++)
        zero[i] = (dmq_real)((int)hi / 2);
    zero = check_up_real(n->on, zero, dmq_shape_count(scale->shape));
    spec.zero = dmq_tape_constant(n->tape, "zero", scale->shape, zero);
    return spec;
}

/* Per tensor with a table and per channel, scales fixed and learned; a weight's. */
static inline void case_fake_quant(net *n)
{
    dmq_quant_spec spec = case_spec(n, net_constant(n, dmq_shape2(4, 1), 0.2, 0.01), 15);

    spec.row = net_index(n, 4);
    net_output(n, dmq_record_fake_quant(n->tape, case_image(n), &spec));
    spec = case_spec(n, net_param_near(n, dmq_shape2(4, 1), 0.2, 0.01), 15);
    spec.row = n->index[0];
    net_output(n, dmq_record_fake_quant(n->tape, case_tokens(n), &spec));
    spec = case_spec(n, net_param_near(n, dmq_shape1(8), 0.2, 0.01), 15);
    spec.per_channel = 1;
    net_output(n, dmq_record_fake_quant(n->tape, case_image(n), &spec));
}

/* A soft weight and one that is fake-quantized with a learned step, each in a convolution. */
static inline void case_weights(net *n)
{
    dmq_var *x = case_image(n), *w = net_constant(n, dmq_shape4(4, 3, 3, 8), 0, 0.2);
    dmq_quant_spec spec = case_spec(n, net_constant(n, dmq_shape1(4), 0.1, 0.005), 15);
    dmq_var *alpha = net_param_near(n, dmq_shape4(4, 3, 3, 8), 0, 1);
    dmq_var *soft = dmq_record_adaround(n->tape, alpha, w, spec.scale, spec.zero, 0, 15);

    net_output(n, dmq_record_conv2d(n->tape, x, soft, NULL, 1, pad_same));
    spec = case_spec(n, net_param_near(n, dmq_shape1(4), 0.1, 0.005), 15);
    spec.per_channel = spec.weight = 1;
    soft = dmq_record_fake_quant(n->tape, w, &spec);
    net_output(n, dmq_record_conv2d(n->tape, x, soft, NULL, 1, pad_same));
}

static inline dmq_var *case_silu(net *n, dmq_var *x)
{
    return dmq_record_unary(n->tape, DMQ_SILU, x);
}

/* A result that nothing learned reaches, read again by the tangent long after its last reader. */
static inline void case_frozen_side(net *n)
{
    dmq_var *side = case_silu(n, net_data(n, dmq_shape3(n->samples, 5, 6), 0, 1));
    dmq_var *x = dmq_record_binary(n->tape, DMQ_MUL, case_tokens(n), side);

    for (int i = 0; i < 4; i++)
        x = case_silu(n, x);
    net_output(n, x);
}

/* Sums that may not lend their gradient's memory, products that may not be written in place. */
static inline void case_residuals(net *n)
{
    dmq_var *data = net_data(n, dmq_shape3(n->samples, 5, 6), 0, 1), *h[4], *y;

    for (int i = 0; i < 4; i++)
        h[i] = case_silu(n, case_tokens(n));
    y = dmq_record_binary(n->tape, DMQ_ADD, data, h[0]); /* h[0] is read again */
    net_output(n, dmq_record_binary(n->tape, DMQ_MUL, y, h[0]));
    net_output(n, h[1]); /* an output with a seed of its own */
    y = dmq_record_binary(n->tape, DMQ_ADD, h[1], data);
    net_output(n, case_silu(n, y));
    y = dmq_record_binary(n->tape, DMQ_ADD, h[2], h[2]);
    y = dmq_record_binary(n->tape, DMQ_ADD, case_silu(n, y), y);
    y = dmq_record_binary(n->tape, DMQ_ADD, y, h[3]); /* sums of sums */
    net_output(n, case_silu(n, y));
}

/* norm, SiLU, conv, + time embedding, norm, SiLU, conv, + shortcut: as the models have it */
static inline dmq_var *case_residual(net *n, dmq_var *x, dmq_var *temb, int c, int k)
{
    dmq_var *h = case_conv_of(n, case_silu(n, case_norm_of(n, x, c)), c, k, 3, 1, pad_same);
    dmq_var *w = net_param(n, dmq_shape2(k, temb->shape.dim[1]));
    dmq_var *shift = dmq_record_linear(n->tape, case_silu(n, temb), w, net_param(n, dmq_shape1(k)));

    h = dmq_record_binary(n->tape, DMQ_ADD, h, shift);
    h = case_conv_of(n, case_silu(n, case_norm_of(n, h, k)), k, k, 3, 1, pad_same);
    if (c != k)
        x = case_conv_of(n, x, c, k, 1, 1, pad_none);
    return dmq_record_binary(n->tape, DMQ_ADD, x, h);
}

/* norm, q k v by 1x1 convolutions, softmax(q k^T / sqrt c) v, projection, + x */
static inline dmq_var *case_attention(net *n, dmq_var *x)
{
    int h = x->shape.dim[1], w = x->shape.dim[2], c = x->shape.dim[3];
    dmq_shape tokens = dmq_shape3(n->samples, h * w, c);
    dmq_var *norm = case_norm_of(n, x, c), *qkv[3], *a;

    for (int i = 0; i < 3; i++)
        qkv[i] = dmq_record_reshape(n->tape, case_conv_of(n, norm, c, c, 1, 1, pad_none), tokens);
    a = dmq_record_matmul(n->tape, qkv[0], 0, qkv[1], 1, 1 / sqrt((double)c));
    a = dmq_record_matmul(n->tape, dmq_record_softmax(n->tape, a), 0, qkv[2], 0, 1);
    a = dmq_record_reshape(n->tape, a, x->shape);
    return dmq_record_binary(n->tape, DMQ_ADD, x, case_conv_of(n, a, c, c, 1, 1, pad_none));
}

static inline void case_block(net *n)
{
    dmq_var *x = case_image(n), *temb = net_input(n, dmq_shape2(n->samples, 5));
    dmq_var *y = net_data(n, dmq_shape4(n->samples, 4, 6, 6), 0, 1);

    x = case_attention(n, case_residual(n, x, temb, 8, 6));
    net_output(n, x);
    net_output(n, dmq_record_loss(n->tape, x, y, 2.0));
}

/* A weight used twice, a bias used twice, a norm's gamma used twice but not its beta. */
static inline void case_shared(net *n)
{
    dmq_var *x = case_image(n), *w = net_param(n, dmq_shape4(8, 3, 3, 8));
    dmq_var *bias = net_param(n, dmq_shape1(8)), *gamma = net_param_near(n, dmq_shape1(8), 1, 0.2);

    x = dmq_record_conv2d(n->tape, x, w, bias, 1, pad_same);
    x = dmq_record_group_norm(n->tape, x, gamma, net_param(n, dmq_shape1(8)), 4, 1e-6);
    x = dmq_record_conv2d(n->tape, x, w, NULL, 1, pad_same);
    x = dmq_record_group_norm(n->tape, x, gamma, bias, 4, 1e-6);
    x = dmq_record_layer_norm(n->tape, x, gamma, bias, 1e-6);
    x = dmq_record_conv2d(n->tape, x, net_param(n, dmq_shape4(8, 1, 1, 8)), bias, 1, pad_none);
    net_output(
        n, dmq_record_conv2d(n->tape, x, net_param(n, dmq_shape4(8, 1, 1, 8)), bias, 1, pad_none));
}

/* Convolutions with a ReLU: a batch for each algorithm of a host; one whose sum somebody else reads. */
static inline void case_conv_relu(net *n)
{
    dmq_var *x = case_image(n), *h = case_conv_of(n, x, 8, 16, 3, 1, pad_same);

    h = dmq_record_unary(n->tape, DMQ_RELU, h);
    h = dmq_record_unary(n->tape, DMQ_RELU, case_conv_of(n, h, 16, 32, 3, 1, pad_same));
    h = dmq_record_unary(n->tape, DMQ_RELU, case_conv_of(n, h, 32, 6, 1, 1, pad_none));
    h = case_conv_of(n, h, 6, 5, 3, 2, pad_down);
    net_output(n, dmq_record_binary(n->tape, DMQ_ADD, dmq_record_unary(n->tape, DMQ_RELU, h), h));
}

/* What fusion looks for: all four parts, and a result in between that somebody else reads. */
static inline void case_fusible(net *n)
{
    dmq_quant_spec spec = case_spec(n, net_constant(n, dmq_shape2(4, 1), 0.05, 0.002), 63);
    dmq_var *x = case_image(n), *shift = net_input(n, dmq_shape2(n->samples, 8)), *h;

    spec.row = net_index(n, 4);
    h = case_norm_of(n, dmq_record_binary(n->tape, DMQ_ADD, x, shift), 8);
    h = dmq_record_fake_quant(n->tape, case_silu(n, h), &spec);
    h = case_conv_of(n, h, 8, 8, 3, 1, pad_same);
    net_output(n, h);
    h = dmq_record_fake_quant(n->tape, case_norm_of(n, h, 8), &spec);
    net_output(n, case_silu(n, case_norm_of(n, h, 8)));
    h = dmq_record_binary(n->tape, DMQ_ADD, h, shift);
    net_output(n, dmq_record_binary(n->tape, DMQ_MUL, h, case_silu(n, case_norm_of(n, h, 8))));
}

typedef struct tape_case {
    const char *name;
    net_fn *record;
    int smooth; /* has a derivative that differences can see */
} tape_case;

static const tape_case tape_cases[] = {
    { "conv", case_conv, 1 },
    { "conv_down", case_conv_down, 1 },
    { "conv_1x1", case_conv_1x1, 1 },
    { "conv_bias", case_conv_bias, 1 },
    { "linear", case_linear, 1 },
    { "linear_tokens", case_linear_tokens, 1 },
    { "linear_bias", case_linear_bias, 1 },
    { "matmul", case_matmul, 1 },
    { "matmul_self", case_matmul_self, 1 },
    { "softmax", case_softmax, 1 },
    { "heads", case_heads, 1 },
    { "heads_sides", case_heads_sides, 1 },
    { "group_norm", case_group_norm, 1 },
    { "layer_norm", case_layer_norm, 1 },
    { "unary", case_unary, 1 },
    { "relu", case_relu, 0 },
    { "geglu", case_geglu, 1 },
    { "add", case_add, 1 },
    { "mul", case_mul, 1 },
    { "binary_sides", case_binary_sides, 1 },
    { "concat", case_concat, 1 },
    { "slice", case_slice, 1 },
    { "concat_all", case_concat_all, 1 },
    { "resample", case_resample, 1 },
    { "mean_pool", case_mean_pool, 1 },
    { "max_pool", case_max_pool, 0 },
    { "embed", case_embed, 1 },
    { "time", case_time, 1 },
    { "moves", case_moves, 1 },
    { "loss", case_loss, 1 },
    { "xent", case_xent, 1 },
    { "fake_quant", case_fake_quant, 0 },
    { "weights", case_weights, 0 },
    { "frozen_side", case_frozen_side, 1 },
    { "residuals", case_residuals, 1 },
    { "block", case_block, 1 },
    { "shared", case_shared, 1 },
    { "conv_relu", case_conv_relu, 0 },
    { "fusible", case_fusible, 0 },
};

enum { TAPE_CASES = sizeof tape_cases / sizeof *tape_cases };

/** All cases that have golden values, on one backend. */
static inline void cases_check_golden(const check_on *on, unsigned passes, double tolerance)
{
    dmq_h5 *golden = check_golden_open("tape");
    int found = 0;

    for (int i = 0; i < TAPE_CASES; i++) {
        const tape_case *c = &tape_cases[i];
        net *n;

        if (!check_golden_has(golden, c->name, "y0"))
            continue;
        n = net_open_golden(on, passes, CASE_SAMPLES, c->record, golden, c->name);
        net_check_golden(n, tolerance);
        net_close(n);
        (void)check_release(NULL);
        found++;
    }
    dmq_h5_close(golden);
    check_report("golden");
    assert_in_range(found, 16, TAPE_CASES);
}

#endif
