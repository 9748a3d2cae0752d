"""The DDPM UNet forward, random weights, for a configuration given by arguments (default: CIFAR-10's)."""
import torch

import timing
import unet


def main():
    parser = timing.parser(__doc__)
    unet.add_arguments(parser)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--name", help="what to call the line; default from the configuration")
    args = parser.parse_args()
    timing.start(args)
    model = timing.layout(args, unet.randomize(unet.UNet(**unet.configuration(args)), 1))
    x = timing.layout(args, torch.randn(args.batch, 3, args.resolution, args.resolution))
    t = torch.randint(0, 1000, (args.batch,))
    mult = "-".join(str(m) for m in args.mult)
    name = args.name or f"forward/ch{args.ch}x{mult}@{args.resolution}/b{args.batch}"
    with torch.no_grad():
        timing.report(args, name, lambda: model(x, t))


if __name__ == "__main__":
    main()
