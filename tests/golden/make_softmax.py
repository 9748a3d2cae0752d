"""Golden values of softmax over the last axis and of cross entropy, float64."""
import torch

from golden import grid, operation, save

SEED = 23


def entropy(x):
    label = (5 * torch.arange(x.shape[0]) + 2) % x.shape[1]
    return torch.logsumexp(x, 1) - x[torch.arange(x.shape[0]), label]


def main():
    torch.manual_seed(SEED)
    out = {}
    for name, rows, cols, scale in ("square", 9, 9, 1), ("long", 3, 65, 8), ("short", 11, 2, 1), ("large", 4, 10, 64):
        operation(out, name, (rows, cols), lambda x: torch.exp(x) / torch.exp(x).sum(1, keepdim=True),
                  [scale * grid(rows, cols)])
    for name, rows, cols in ("xent_classes", 12, 10), ("xent_pairs", 13, 2), ("xent_many", 10, 31):
        operation(out, name, (rows, cols), entropy, [4 * grid(rows, cols)])
    save("softmax", SEED, out)


main()
