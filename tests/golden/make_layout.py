"""Golden values of slices, permutations, up-sampling, pooling, table lookup and the time embedding, float64."""
import math

import torch
import torch.nn.functional as F

from golden import grid, operation, save

SEED = 26


def linear(function):
    """As an operation whose gradient depends on its input, so that the tangent can be asked for."""
    return lambda x: function(x) + 0 * function(x * x)


def resample(out, group, pool, n, h, wd, c, factor):
    def function(x):
        x = x.permute(0, 3, 1, 2)
        x = F.avg_pool2d(x, factor) if pool else F.interpolate(x, scale_factor=factor, mode="nearest")
        return x.permute(0, 2, 3, 1)

    operation(out, group, (pool, n, h, wd, c, factor), linear(function), [grid(n, h, wd, c)])


def main():
    torch.manual_seed(SEED)
    out = {}
    for name, rows, cols, first in ("head", 5, 4, 0), ("middle", 3, 7, 2), ("column", 11, 1, 5):
        operation(out, f"slice_{name}", (rows, cols, first), linear(lambda x: x[:, first:first + cols]),
                  [grid(rows, 2 * cols + first)])
    for name, dim, perm in (("transpose", (5, 7, 1, 1), (1, 0, 2, 3)), ("to_nchw", (2, 3, 5, 4), (0, 3, 1, 2)),
                            ("heads", (2, 6, 3, 4), (0, 2, 1, 3)), ("reverse", (2, 3, 4, 5), (3, 2, 1, 0))):
        operation(out, f"permute_{name}", (*dim, *perm), linear(lambda x: x.permute(perm)), [grid(*dim)])
    save("layout", SEED, out)
    out = {}
    for pool, name in enumerate(("up", "pool")):
        resample(out, f"{name}_2", pool, 2, 6, 4, 3, 2)
        resample(out, f"{name}_3", pool, 1, 3, 9, 5, 3)
        resample(out, f"{name}_line", pool, 3, 2, 2, 1, 2)
    save("resample", SEED, out)
    out = {}
    for name, rows, d, n in ("classes", 10, 6, 7), ("few", 3, 5, 9), ("row", 4, 12, 2):
        operation(out, name, (rows, d, n), linear(lambda x: x[torch.arange(n) ** 2 % rows]), [grid(rows, d)])
    t = torch.tensor([0, 1, 7.25, 250, 500.5, 999], dtype=torch.float64)
    for name, d, cos_first in ("ddpm", 128, 0), ("openaimodel", 192, 1), ("small", 6, 0):
        half = d // 2
        divisor = half if cos_first else half - 1
        phase = t[:, None] * torch.exp(-math.log(10000) * torch.arange(half).double() / divisor)
        parts = [torch.cos(phase), torch.sin(phase)] if cos_first else [torch.sin(phase), torch.cos(phase)]
        out.update({f"time_{name}/shape": torch.tensor([len(t), d, divisor, cos_first], dtype=torch.int32),
                    f"time_{name}/t": t.float(), f"time_{name}/out": torch.cat(parts, 1)})
    save("embed", SEED, out)


main()
