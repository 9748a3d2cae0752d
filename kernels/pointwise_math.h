/**
 * Activations of one element, and their derivatives. NaN in, NaN out.
 */
#ifndef DMQ_KERNELS_POINTWISE_MATH_H
#define DMQ_KERNELS_POINTWISE_MATH_H

#include "kernels/pointwise.h"

/** 1/(1 + exp(-x)); an overflow of exp gives the right limit. */
DMQ_HD dmq_real dmq_sigmoid(dmq_real x)
{
    return (dmq_real)1 / ((dmq_real)1 + dmq_exp(-x));
}

/** x sigmoid(x) */
DMQ_HD dmq_real dmq_silu(dmq_real x)
{
    return x / ((dmq_real)1 + dmq_exp(-x));
}

/** s (1 + x (1 - s)), s = sigmoid(x) */
DMQ_HD dmq_real dmq_silu_derive(dmq_real x)
{
    dmq_real s = dmq_sigmoid(x);

    return s * ((dmq_real)1 + x * ((dmq_real)1 - s));
}

/** x Phi(x), Phi by the error function */
DMQ_HD dmq_real dmq_gelu(dmq_real x)
{
    return (dmq_real)0.5 * x * ((dmq_real)1 + dmq_erf(x * (dmq_real)0.70710678118654752440));
}

/** Phi(x) + x phi(x) */
DMQ_HD dmq_real dmq_gelu_derive(dmq_real x)
{
    dmq_real cdf = (dmq_real)0.5 * ((dmq_real)1 + dmq_erf(x * (dmq_real)0.70710678118654752440));
    dmq_real pdf = (dmq_real)0.39894228040143267794 * dmq_exp((dmq_real)-0.5 * x * x);

    return cdf + x * pdf;
}

/** 2 u of the tanh form: (1 + tanh(u)) / 2 = sigmoid(2 u), u = sqrt(2/pi) (x + 0.044715 x^3). */
DMQ_HD dmq_real dmq_gelu_tanh_at(dmq_real x)
{
    return (dmq_real)1.59576912160573071176 * (x + (dmq_real)0.044715 * (x * x * x));
}

DMQ_HD dmq_real dmq_gelu_tanh(dmq_real x)
{
    return x * dmq_sigmoid(dmq_gelu_tanh_at(x));
}

/** s + x s (1 - s) 2 u'; s (1 - s) by e = exp(-|2 u|), since 1 - s loses what x u' multiplies. */
DMQ_HD dmq_real dmq_gelu_tanh_derive(dmq_real x)
{
    dmq_real at = dmq_gelu_tanh_at(x), e = dmq_exp(-dmq_fabs(at)), sum = (dmq_real)1 + e;
    dmq_real slope =
        (dmq_real)1.59576912160573071176 * ((dmq_real)1 + (dmq_real)0.134145 * (x * x));

    return (at < 0 ? e : (dmq_real)1) / sum + x * (e / (sum * sum)) * slope;
}

/** Not max(0, x), which would turn a NaN into 0. */
DMQ_HD dmq_real dmq_relu(dmq_real x)
{
    return x <= 0 ? 0 : x;
}

/** 0 at 0, as the frameworks have it. */
DMQ_HD dmq_real dmq_relu_derive(dmq_real x)
{
    return x > 0 ? (dmq_real)1 : x <= 0 ? (dmq_real)0 : x;
}

DMQ_HD dmq_real dmq_unary(dmq_unary_kind kind, dmq_real x)
{
    switch (kind) {
    case DMQ_SILU:
        return dmq_silu(x);
    case DMQ_GELU:
        return dmq_gelu(x);
    case DMQ_RELU:
        return dmq_relu(x);
    case DMQ_GELU_TANH:
        return dmq_gelu_tanh(x);
    case DMQ_IDENTITY:
        break;
    }
    return x;
}

DMQ_HD dmq_real dmq_unary_slope(dmq_unary_kind kind, dmq_real x)
{
    switch (kind) {
    case DMQ_SILU:
        return dmq_silu_derive(x);
    case DMQ_GELU:
        return dmq_gelu_derive(x);
    case DMQ_RELU:
        return dmq_relu_derive(x);
    case DMQ_GELU_TANH:
        return dmq_gelu_tanh_derive(x);
    case DMQ_IDENTITY:
        break;
    }
    return (dmq_real)1;
}

#endif
