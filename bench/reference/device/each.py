"""Gradients of single samples of a residual block: the Jacobian of 32 samples by rows, as bench_each has it.

    each_batch  one gradient of the batch         each  a gradient for every sample      each_gram  and their products

R_a goes from sample to sample, R_b is torch.func.vmap of torch.func.grad, R_c that compiled. --check compares the
three.
"""
import torch

import common
import block

N = 32
SIZES = ((128, 32), (256, 16))


def data(args, style, c, size, n):
    torch.manual_seed(1)
    model = common.layout(style, block.Block(c).to(args.device))
    x, y = (common.layout(style, torch.randn(n, c, size, size, device=args.device)) for _ in range(2))
    return model, x, torch.randn(n, 4 * c, device=args.device), y


def single(model):
    """loss of one sample as a function of both alphas"""
    return lambda alphas, x, t, y: block.sample_loss(model(x[None], t[None], alphas), y[None])[0]


def make_rows(args, style, c, size, n=N, gram=False):
    model, x, t, y = data(args, style, c, size, n)
    alphas = (model.conv1.alpha, model.conv2.alpha)

    def loop():
        rows = []
        for i in range(n):
            loss = block.sample_loss(model(x[i:i + 1], t[i:i + 1]), y[i:i + 1])[0]
            rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, alphas)]))
        return torch.stack(rows)

    mapped = torch.func.vmap(torch.func.grad(single(model)), in_dims=(None, 0, 0, 0))

    def at_once():
        return torch.cat([g.flatten(1) for g in mapped(tuple(a.detach() for a in alphas), x, t, y)], dim=1)

    rows = loop if style == "R_a" else common.compiled(args, style, at_once)

    def step():
        with common.autocast(args, style):
            j = rows()
        return j @ j.t() if gram else j

    return step


def make_batch(args, style, c, size):
    model, x, t, y = data(args, style, c, size, N)
    alphas = (model.conv1.alpha, model.conv2.alpha)
    loss = common.compiled(args, style, lambda: block.sample_loss(model(x, t), y).sum())

    def step():
        with common.autocast(args, style):
            value = loss()
        return torch.autograd.grad(value, alphas)

    return step


def check(args):
    common.check_device(args, lambda a, style: make_rows(a, style, 8, 6, 4))
    common.check_device(args, lambda a, style: make_batch(a, style, 8, 6))
    want = make_rows(args, "R_a", 8, 6, 4)()
    for style in ("R_b", "R_c"):
        common.settle(style)
        error = float((make_rows(args, style, 8, 6, 4)() - want).norm() / want.norm())
        print(f"{style}: rows against those of a loop {error:.1e}", flush=True)
        if not error < (1e-5 if args.device == "cpu" else 1e-2):
            raise SystemExit("they disagree")


def main():
    args = common.begin(__doc__, check)
    for c, size in ((8, 6),) if args.small else SIZES:
        shape = f"{c}@{size}/n{N}"
        for style in common.STYLES:
            common.report(args, "each_batch", shape, style,
                          lambda: common.graphed(args, style, make_batch(args, style, c, size)))
            for op, gram in (("each", False), ("each_gram", True)):
                common.report(args, op, shape, style,
                              lambda: common.graphed(args, style, make_rows(args, style, c, size, gram=gram)))


if __name__ == "__main__":
    main()
