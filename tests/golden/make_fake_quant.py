"""Golden values of fake quantization, seen as (n, outer, c, inner) with a table of parameters (rows, c).

Straight through by hand: round(u) = (round(u) - u).detach() + u, then clamp, as BRECQ and Q-Diffusion write it.
float32, where the codes are defined; the sums of dscale in float64.
"""
import torch

from golden import save

SEED = 11


def quantize(x, scale, zero, lo, hi):
    u = x / scale
    rounded = (torch.round(u) - u).detach() + u
    return (torch.clamp(rounded + zero, lo, hi) - zero) * scale


def case(out, name, shape, rows, row, lo, hi, step, gain=1.0):
    n, outer, c, inner = shape
    scale = torch.rand(rows, c) * 0.5 * step + 0.75 * step
    scale[:, 0] = 2.0 ** torch.round(torch.log2(scale[:, 0]))  # ties are exact there
    zero = torch.round(torch.rand(rows, c) * (hi - lo) * 0.5 + lo + 0.25 * (hi - lo))
    x = torch.randn(n, outer, c, inner) * step * (hi - lo) * 0.35
    index = torch.tensor(row)
    s, z = scale[index][:, None, :, None], zero[index][:, None, :, None]
    tie = torch.rand(n, outer, inner) < 0.3
    half = (torch.round(x[:, :, 0] / s[:, :, 0]) + 0.5) * s[:, :, 0]
    x[:, :, 0] = torch.where(tie, half, x[:, :, 0])
    dy, x_tan, scale_tan = torch.randn(shape), torch.randn(shape), torch.randn(rows, c)

    code = torch.clamp(torch.round(x / s) + z, lo, hi)
    x_leaf, scale_leaf = x.clone().requires_grad_(), scale.clone().requires_grad_()
    y = quantize(x_leaf, scale_leaf[index][:, None, :, None], z, lo, hi)
    assert torch.equal(y, (code - z) * s)
    dx, = torch.autograd.grad(y, x_leaf, dy, retain_graph=True)

    # The tangent by the double-backward trick: J v is the derivative of u^T J by u.
    u = torch.zeros(shape, requires_grad=True)
    gx, gs = torch.autograd.grad(y, (x_leaf, scale_leaf), u, create_graph=True)
    y_tan, = torch.autograd.grad((gx * x_tan).sum() + (gs * scale_tan).sum(), u)

    # dscale element by element in float32 as autograd has it, summed in float64.
    full = s.expand(shape).clone().requires_grad_()
    slope, = torch.autograd.grad(quantize(x, full, z, lo, hi).sum(), full)
    dscale = torch.zeros(rows, c, dtype=torch.float64)
    dscale.index_add_(0, index, (slope.double() * dy.double()).sum((1, 3)))
    out.update({f"{name}/{k}": v for k, v in dict(
        dim=torch.tensor([n, outer, c, inner, rows], dtype=torch.int32), row=index.int(), x=x, scale=scale, zero=zero,
        range=torch.tensor([lo, hi, gain], dtype=torch.float32), y=y, code=code.int(), dy=dy, dx=dx,
        dscale=dscale * gain, x_tan=x_tan, scale_tan=scale_tan, y_tan=y_tan).items()})


def main():
    torch.manual_seed(SEED)
    out = {}
    case(out, "tensor", (3, 4, 1, 10), 5, [3, 0, 3], 0, 255, 0.01)
    case(out, "weight", (1, 1, 6, 27), 1, [0], 0, 15, 0.1)
    case(out, "nhwc", (2, 5, 7, 1), 2, [1, 0], -8, 7, 0.3)
    case(out, "lsq", (4, 3, 2, 5), 1, [0, 0, 0, 0], 0, 15, 0.2, 1.0 / (4 * 3 * 5 * 15) ** 0.5)
    save("fake_quant", SEED, out)


main()
