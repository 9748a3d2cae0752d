"""Golden values of the range search, as Q-Diffusion's loop over candidates has it, float32; the score in float64 from
float32 errors. A case whose best two scores lie within 1e-5 of each other would not decide: it is refused.
"""
import torch

from golden import save

SEED = 13


def search(x, bits, always_zero=False):
    top, best, found = 2 ** bits - 1, float("inf"), None
    scores = []
    for i in range(80):
        factor = 1.0 - i * 0.01
        hi, lo = x.max() * factor, x.min() * factor
        scale = hi / top if always_zero else (hi - lo) / top
        zero = torch.zeros(()) if always_zero else torch.round(-lo / scale)
        y = (torch.clamp(torch.round(x / scale) + zero, 0, top) - zero) * scale
        score = (x - y).abs().pow(2.4).double().mean()
        scores.append(float(score))
        if score < best:
            best, found = score, (scale, zero, score, i)
    first, second = sorted(scores)[:2]
    assert second > first * (1 + 1e-5), (first, second)
    return found


def case(out, name, x, bits, always_zero=False):
    found = [search(channel, bits, always_zero) for channel in x]
    out.update({f"{name}/x": x, f"{name}/scale": torch.stack([f[0] for f in found]),
                f"{name}/zero": torch.stack([f[1] for f in found]), f"{name}/score": torch.stack([f[2] for f in found]),
                f"{name}/winner": torch.tensor([f[3] for f in found], dtype=torch.int32),
                f"{name}/bits": torch.tensor([bits, int(always_zero)], dtype=torch.int32)})


def main():
    torch.manual_seed(SEED)
    out = {}
    weight = torch.randn(6, 75) * torch.logspace(-2, 1, 6)[:, None]
    weight[2] += 40  # far from 0
    case(out, "w4", weight, 4)
    case(out, "w8", weight[[0, 1, 3]], 8)
    case(out, "w2", weight[3:5], 2)
    act = torch.nn.functional.silu(torch.randn(1, 600))
    case(out, "a4", act, 4)
    case(out, "prob", torch.softmax(torch.randn(12, 50) * 2, 1).reshape(1, -1), 4, True)
    save("observe", SEED, out)


main()
