"""Golden values of group norm, plain and fused, and of layer norm, NHWC, float64.

The quantizer is written as the papers' code has it. Inputs are drawn until nothing lies near the edge of a code or of
the range, so that float32 finds the same codes.
"""
import torch

from golden import grid, operation, save

SEED = 24
ROWS = 3


def group_norm(x, shift, gamma, beta, groups):
    n, hw, c = x.shape
    x = x if shift is None else x + shift[:, None]
    x = x.reshape(n, hw, groups, c // groups)
    mean = x.mean((1, 3), keepdim=True)
    variance = ((x - mean) ** 2).mean((1, 3), keepdim=True)
    return ((x - mean) / torch.sqrt(variance + 1e-6)).reshape(n, hw, c) * gamma + beta


def quantize(x, delta, zero, levels, edge):
    u = x / delta
    edge.append(((u - torch.floor(u)) - 0.5).abs().min().item())
    rounded = (torch.round(u) - u).detach() + u
    return (torch.clamp(rounded + zero, 0, levels - 1) - zero) * delta


def case(out, group, n, hw, c, groups, shift, silu, quant, step1024):
    edge = [1.0]

    def function(x, t, gamma, beta):
        y = group_norm(x, t, gamma, beta, groups)
        y = y * torch.sigmoid(y) if silu else y
        if not quant:
            return y
        delta = torch.tensor([step1024 * (1 + 0.5 * ((i + 1) % ROWS)) / 1024 for i in range(n)], dtype=torch.float64)
        return quantize(y, delta[:, None, None], quant // 3, quant, edge)

    while True:
        inputs = [(grid(n, hw, c) + 0.5).float().double(), grid(n, c) if shift else None, grid(c), grid(c)]
        edge[:] = [1.0]
        function(*inputs)
        if edge[-1] > 2e-4:
            break
    operation(out, group, (n, hw, c, groups, shift, silu, quant, step1024), function, inputs)


def layer_norm(x, gamma, beta):
    mean = x.mean(1, keepdim=True)
    variance = ((x - mean) ** 2).mean(1, keepdim=True)
    return (x - mean) / torch.sqrt(variance + 1e-5) * gamma + beta


def main():
    torch.manual_seed(SEED)
    out = {}
    case(out, "plain", 2, 9, 32, 8, 0, 0, 0, 0)
    case(out, "one_group", 3, 7, 5, 1, 0, 0, 0, 0)
    case(out, "groups32", 1, 15, 64, 32, 0, 1, 0, 0)
    case(out, "channels", 2, 6, 12, 12, 1, 0, 0, 0)
    case(out, "shifted", 3, 10, 16, 8, 1, 1, 0, 0)
    case(out, "quant", 2, 11, 8, 2, 0, 0, 16, 256)
    case(out, "fused", 4, 9, 8, 4, 1, 1, 256, 20)
    case(out, "fused_clipped", 3, 12, 6, 3, 1, 1, 16, 96)
    save("group_norm", SEED, out)
    out = {}
    for name, rows, d in ("tokens", 6, 32), ("odd", 3, 17), ("pair", 11, 2):
        operation(out, name, (rows, d), layer_norm, [2 * grid(rows, d) - 1, grid(d), grid(d)])
    save("layer_norm", SEED, out)


main()
