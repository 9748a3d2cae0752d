"""One AdaRound iteration of a residual block at batch 32, as bench_iteration has it on a device.

Gather 32 of 256 cached samples, forward with soft weights, loss + 0.01 * rounding regularizer, backward, Adam on the
alphas of both convolutions. R_a keeps the cache in host memory and moves every batch, as the released code does.

--check compares a step of R_b and of R_c with one of R_a from the same start.
"""
import torch

import common
import block

CACHE, BATCH = 256, 32
SIZES = ((128, 32), (256, 16), (384, 32), (960, 8))


def make(args, style, c, size, act, draw=None, cache=CACHE, batch=BATCH):
    torch.manual_seed(1)
    model = block.Block(c, act)
    inputs, temb = torch.randn(cache, c, size, size), torch.randn(cache, 4 * c)
    with torch.no_grad():
        model(inputs[:batch], temb[:batch])  # sets the activation ranges
    targets = inputs + torch.randn(cache, c, size, size)
    model = common.layout(style, model.to(args.device))
    home = "cpu" if style == "R_a" else args.device
    inputs, targets = (common.layout(style, v.to(home)) for v in (inputs, targets))
    temb = temb.to(home)
    alphas = [model.conv1.alpha, model.conv2.alpha]
    fast = style.startswith("R_c") and args.device.startswith("cuda")
    optimizer = torch.optim.Adam(alphas, lr=1e-3, **({} if style == "R_a" else dict(fused=True, capturable=fast)))

    def objective(x, t, y):
        output = model(x, t)
        loss = (output - y).pow(2).sum(1).mean()
        for conv in (model.conv1, model.conv2):
            h = conv.soft_targets(conv.alpha)
            loss = loss + 0.01 * (1 - ((h - 0.5).abs() * 2).pow(10.0)).sum()
        return loss

    objective = common.compiled(args, style, objective)

    def index():
        if draw is not None:
            return draw.to(home)
        if style == "R_a":
            return torch.randperm(cache)[:batch]
        return torch.rand(cache, device=home).argsort()[:batch]  # without a word to the host

    def step():
        i = index()
        x, t, y = (v[i].to(args.device) for v in (inputs, temb, targets))
        optimizer.zero_grad()
        with common.autocast(args, style):
            loss = objective(x, t, y)
        loss.backward(retain_graph=style == "R_a")  # the released code asks for that
        optimizer.step()

    step.alphas = alphas
    return step


def check(args):
    draw, after = torch.arange(4), {}
    for style in common.STYLES[:3]:
        common.settle(style)
        step = make(args, style, 16, 8, "act8", draw, 8, 4)
        for _ in range(2):
            step()
        after[style] = torch.cat([a.detach().flatten().cpu() for a in step.alphas])
    start = torch.cat([a.detach().flatten().cpu() for a in make(args, "R_a", 16, 8, "act8", draw, 8, 4).alphas])
    for style in ("R_b", "R_c"):
        error = float((after[style] - after["R_a"]).norm() / (after["R_a"] - start).norm())
        print(f"{style}: two steps against those of R_a {error:.1e}", flush=True)
        if not error < (1e-3 if args.device == "cpu" else 5e-2):
            raise SystemExit("they disagree")


def main():
    args = common.begin(__doc__, check)
    for c, size in ((16, 8),) if args.small else SIZES:
        for act in ("act8", "weights"):
            for style in common.STYLES:
                common.report(args, "iteration", f"{c}@{size}/{act}", style,
                              lambda: common.graphed(args, style, make(args, style, c, size, act)))


if __name__ == "__main__":
    main()
