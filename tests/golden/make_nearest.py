"""Golden choices of codes: argmin of |x|^2 + |e|^2 - 2 x e, the first on ties; float32 inputs, float64 distances."""
import torch

from golden import grid, save

SEED = 31


def case(out, name, x, code):
    x, code = x.float().double(), code.float().double()
    distance = x.pow(2).sum(1, keepdim=True) + code.pow(2).sum(1) - 2 * x @ code.T
    if name != "grid" and len(code) > 1:  # no choice may hang on the rounding of float32
        two = distance.topk(2, dim=1, largest=False).values
        x, distance = (v[two[:, 1] - two[:, 0] > 1e-4] for v in (x, distance))
    index = torch.from_numpy(distance.numpy().argmin(1))  # numpy says that it is the first, PyTorch does not
    out.update({f"{name}/shape": torch.tensor([*x.shape, len(code)], dtype=torch.int32), f"{name}/x": x.float(),
                f"{name}/code": code.float(), f"{name}/index": index.int()})


def main():
    torch.manual_seed(SEED)
    out = {}
    case(out, "vq_f4", grid(60, 3), grid(200, 3))
    case(out, "wide", grid(20, 16), grid(70, 16))
    case(out, "one", grid(9, 5), grid(1, 5))
    # whole numbers: distances are exact in float32, and ties are many
    case(out, "grid", torch.randint(-2, 3, (64, 3)), torch.randint(-2, 3, (150, 3)))
    save("nearest", SEED, out)


main()
