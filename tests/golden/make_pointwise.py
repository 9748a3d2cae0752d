"""Golden values of activations, GEGLU and broadcast sums and products, float64."""
import math

import torch

from golden import grid, operation, save

SEED = 25


def gelu(x):
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


UNARY = [("silu", lambda x: x / (1 + torch.exp(-x))), ("gelu", gelu),
         ("relu", lambda x: torch.where(x > 0, x, torch.zeros_like(x)) + 0 * x * x), ("identity", lambda x: x + 0 * x * x)]


def gelu_tanh(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def binary(out, group, kind, dim, keep_p, keep_q):
    def function(p, q):
        return p + q + 0 * p * q if kind == 0 else p * q

    p, q = (grid(*[d if k else 1 for d, k in zip(dim, keep)]) for keep in (keep_p, keep_q))
    operation(out, group, (kind, *dim, *keep_p, *keep_q), function, [p, q])


def main():
    torch.manual_seed(SEED)
    out = {}
    for kind, (name, function) in enumerate(UNARY):
        for scale, count in (1, 37), (6, 64):
            operation(out, f"{name}_{count}", (kind, count), function, [scale * grid(count)])
    for name, rows, d in ("tokens", 5, 8), ("odd", 3, 13), ("one", 1, 21):
        operation(out, f"geglu_{name}", (rows, d), lambda x: x.chunk(2, 1)[0] * gelu(x.chunk(2, 1)[1]),
                  [1.5 * grid(rows, 2 * d)])
    all3, none = (1, 1, 1), (0, 0, 0)
    for kind, name in enumerate(("add", "mul")):
        binary(out, f"{name}_same", kind, (2, 3, 5), all3, all3)
        binary(out, f"{name}_image", kind, (3, 4, 5), all3, (1, 0, 1))
        binary(out, f"{name}_channel", kind, (2, 7, 3), all3, (0, 0, 1))
        binary(out, f"{name}_outer", kind, (4, 3, 2), (1, 0, 1), (0, 1, 1))
        binary(out, f"{name}_scalar", kind, (1, 3, 7), all3, none)
        binary(out, f"{name}_sample", kind, (4, 1, 6), all3, (1, 0, 0))
    for scale, count in (1, 37), (6, 64):
        operation(out, f"gelu_tanh_{count}", (4, count), gelu_tanh, [scale * grid(count)])
    save("pointwise", SEED, out)


main()
