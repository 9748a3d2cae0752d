"""One AdaRound iteration of a residual block, with and without activation fake quantization.

Gather 32 of 256 cached samples, forward with soft weights, loss (squared error, sum over channels, mean over the
rest) + 0.01 * rounding regularizer, backward, Adam on the alphas of both convolutions. With --learn-scales also the
variant that trains the activation scales with them, which needs the data gradient of the first convolution.
"""
import torch

import block
import timing

CACHE, BATCH = 256, 32


def make_step(args, c, size, act):
    model = block.Block(c, act)
    inputs = timing.layout(args, torch.randn(CACHE, c, size, size))
    temb = torch.randn(CACHE, 4 * c)
    with torch.no_grad():
        model(inputs[:BATCH], temb[:BATCH])  # sets the activation ranges
    targets = timing.layout(args, inputs + torch.randn(CACHE, c, size, size))
    trained = [{"params": [model.conv1.alpha, model.conv2.alpha]}]
    if act == "act8-learned":
        trained.append({"params": [model.act1.delta, model.act2.delta], "lr": 4e-4})
    optimizer = torch.optim.Adam(trained, lr=1e-3)

    def step():
        index = torch.randperm(CACHE)[:BATCH]
        x, t, y = inputs[index], temb[index], targets[index]
        optimizer.zero_grad()
        output = model(x, t)
        loss = (output - y).pow(2).sum(1).mean()
        for conv in (model.conv1, model.conv2):
            h = conv.soft_targets(conv.alpha)
            loss = loss + 0.01 * (1 - ((h - 0.5).abs() * 2).pow(10.0)).sum()
        loss.backward()
        optimizer.step()

    return step


def main():
    parser = timing.parser(__doc__)
    parser.add_argument("--only", metavar="TEXT", default="", help="only measurements whose name holds TEXT")
    parser.add_argument("--learn-scales", action="store_true")
    args = parser.parse_args()
    timing.start(args)
    for c, size in block.SIZES:
        for act in ("act8", "weights") + (("act8-learned",) if args.learn_scales else ()):
            name = f"iteration/{c}@{size}/{act}"
            if args.only in name:
                timing.report(args, name, make_step(args, c, size, act))


if __name__ == "__main__":
    main()
