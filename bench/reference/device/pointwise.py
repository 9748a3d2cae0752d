"""Elementwise passes over (256, 32, 32, 128), channels last, as bench_bandwidth has them on a device.

R_b is a call or a few of eager PyTorch, R_c the same compiled into what one pass can do. gbs counts what must move
once, so it is less than what eager operations really move.
"""
import torch
from torch.nn import functional as F

import common

SCALE, ZERO = 0.02, 7.0


def fake_quant(x):
    return (torch.clamp(torch.round(x / SCALE) + ZERO, 0, 255) - ZERO) * SCALE


def fake_quant_backward(x, dy):
    code = torch.round(x / SCALE) + ZERO
    return dy * ((code >= 0) & (code <= 255))


def loss(f, y):
    return (f - y).pow(2).sum(dim=(1, 2, 3))


def loss_and_gradient(f, y):
    e = f - y
    return e.pow(2).sum(dim=(1, 2, 3)), 2 * e


def adam(p, g, m, v):
    m.lerp_(g, 0.1)
    v.mul_(0.999).addcmul_(g, g, value=0.001)
    p.addcdiv_(m / 0.65, (v / 0.01).sqrt_().add_(1e-8), value=-1e-5)
    return p


def soft(w, alpha):
    h = torch.clamp(torch.sigmoid(alpha) * 1.2 - 0.1, 0, 1)
    return (torch.clamp(torch.floor(w / SCALE) + h + ZERO, 0, 15) - ZERO) * SCALE


def operations(x, y, z, m, v):
    """name -> (function, arguments, arrays moved)"""
    c = x.shape[1]
    gamma, beta = torch.randn(c, device=x.device), torch.randn(c, device=x.device)
    norm = lambda a: F.silu(F.group_norm(a, 32, gamma, beta, 1e-6))
    rows = x.permute(0, 2, 3, 1).reshape(-1, 256)
    index = torch.arange(x.shape[0], device=x.device).roll(x.shape[0] // 2)
    return {
        "copy": (lambda a, b: b.copy_(a), (x, z), 2),
        "add": (lambda a, b: a + b, (x, y), 3),
        "silu": (F.silu, (x,), 2),
        "group_norm+silu": (norm, (x,), 2),
        "group_norm+silu+quant": (lambda a: fake_quant(norm(a)), (x,), 2),
        "softmax": (lambda a: torch.softmax(a, 1), (rows,), 2),
        "fake_quant": (fake_quant, (x,), 2),
        "fake_quant_backward": (fake_quant_backward, (x, y), 3),
        "loss2": (loss, (x, y), 2),
        "loss2_both": (loss_and_gradient, (x, y), 3),
        "gather": (lambda a: a[index], (x,), 2),
        "pool_max3": (lambda a: F.max_pool2d(a, 3, 1, 1), (x,), 2),
        "pool_mean3": (lambda a: F.avg_pool2d(a, 3, 1, 1, count_include_pad=False), (x,), 2),
        "adam": (adam, (z, x, m, v), 7),
        "adaround_forward": (soft, (x, y), 3),
        "sum_blocks": (lambda a, b, c, d: 0.25 * (a + b + c + d), (x, y, z, m), 5),
        "minmax": (lambda a: (a.min(), a.max()), (x,), 1),
        "noise_normal": (lambda a: a.normal_(), (z,), 1),
        "sampler_update": (lambda a, b: 1.01 * a - 0.1 * b, (x, y), 3),
    }


def main():
    args = common.parser(__doc__).parse_args()
    common.start(args)
    shape = (2, 128, 8, 8) if args.small else (256, 128, 32, 32)
    arrays = [common.layout("R_b", torch.randn(shape, device=args.device)) for _ in range(5)]
    arrays[4].abs_()
    for name, (function, given, moved) in operations(*arrays).items():
        for style in ("R_b", "R_c"):
            if style == "R_c" and name in ("copy", "noise_normal"):
                continue  # one call: there is nothing to fuse
            run = common.compiled(args, style, function)
            common.report(args, name, "256x32x32x128", style, lambda: lambda: run(*given),
                          bytes=4 * moved * arrays[0].numel())


if __name__ == "__main__":
    main()
