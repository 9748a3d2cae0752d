"""Golden values of the batched matrix product, float64."""
import torch

from golden import grid, operation, save

SEED = 22


def case(out, group, batch, m, n, k, trans_a, trans_b, bias, shared, slack, alpha):
    def function(a, b, v):
        a = a.transpose(1, 2) if trans_a else a
        b = b.transpose(1, 2) if trans_b else b
        c = alpha[0] / alpha[1] * torch.matmul(a, b)
        return c if v is None else c + v

    a = grid(batch, k, m) if trans_a else grid(batch, m, k)
    b = grid(1 if shared else batch, *((n, k) if trans_b else (k, n)))
    shape = (batch, m, n, k, trans_a, trans_b, bias, shared, slack, *alpha)
    operation(out, group, shape, function, [a, b, grid(n) if bias else None])


def main():
    torch.manual_seed(SEED)
    out = {}
    case(out, "linear", 1, 5, 7, 11, 0, 1, 1, 0, 0, (1, 1))
    case(out, "plain", 3, 4, 6, 5, 0, 0, 0, 0, 2, (1, 4))
    case(out, "scores", 2, 9, 9, 16, 0, 1, 0, 0, 0, (1, 8))
    case(out, "left", 2, 5, 3, 7, 1, 0, 1, 0, 1, (1, 1))
    case(out, "both", 2, 3, 8, 5, 1, 1, 0, 0, 3, (3, 2))
    case(out, "shared", 3, 4, 5, 6, 0, 1, 1, 1, 0, (1, 1))
    case(out, "vector", 1, 1, 10, 33, 0, 0, 1, 0, 0, (1, 1))
    save("matmul", SEED, out)


main()
