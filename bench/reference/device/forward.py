"""The CIFAR-10-shaped UNet once on a batch, random weights, as bench_forward has it on a device.

cifar10        full precision
cifar10-w4a8   fake-quantized: 4-bit weights per output channel, 8-bit inputs per tensor, of all layers but the
               first and last convolution, the first linear, shortcuts and downsampling. R_a rounds the weights in
               every pass, as the released modules do; R_b and R_c have rounded them before.
"""
import torch
from torch import nn
from torch.nn import functional as F

import common
import unet

BATCHES = (1, 16, 256)


class Quantized(nn.Module):
    """A convolution or linear layer with a quantizer on its input and on its weight."""

    def __init__(self, layer, every_pass, scale=4.8 / 255, zero=15):
        super().__init__()
        self.layer, self.every_pass, self.scale, self.zero = layer, every_pass, scale, zero
        axes = tuple(range(1, layer.weight.dim()))
        low, high = layer.weight.amin(dim=axes, keepdim=True), layer.weight.amax(dim=axes, keepdim=True)
        self.register_buffer("w_scale", (high - low).detach() / 15)
        self.register_buffer("w_zero", torch.round(-low / self.w_scale).detach())
        if not every_pass:
            with torch.no_grad():
                layer.weight.copy_(self.rounded(layer.weight))

    def rounded(self, w):
        code = torch.clamp(torch.round(w / self.w_scale) + self.w_zero, 0, 15)
        return (code - self.w_zero) * self.w_scale

    def forward(self, x):
        code = torch.clamp(torch.round(x / self.scale) + self.zero, 0, 255)
        x = (code - self.zero) * self.scale
        w = self.rounded(self.layer.weight) if self.every_pass else self.layer.weight
        if isinstance(self.layer, nn.Linear):
            return F.linear(x, w, self.layer.bias)
        return F.conv2d(x, w, self.layer.bias, self.layer.stride, self.layer.padding)


def quantize(module, every_pass, prefix=""):
    for name, child in module.named_children():
        path = f"{prefix}{name}"
        left_out = ("conv_in", "conv_out", "temb.dense.0")
        if isinstance(child, (nn.Conv2d, nn.Linear)):
            if path not in left_out and "downsample" not in path and "nin_shortcut" not in path:
                setattr(module, name, Quantized(child, every_pass))
        else:
            quantize(child, every_pass, path + ".")


def make(args, style, batch, quantized, config):
    torch.manual_seed(1)
    model = unet.randomize(unet.UNet(**config), 1).requires_grad_(False)
    if quantized:
        quantize(model, style == "R_a")
    model = common.layout(style, model.to(args.device))
    size = config["resolution"]
    x = common.layout(style, torch.randn(batch, 3, size, size, device=args.device))
    t = torch.randint(0, 1000, (batch,), device=args.device)
    run = common.compiled(args, style, model)

    def step():
        with torch.no_grad(), common.autocast(args, style):
            return run(x, t)

    return step


def check(args, config):
    for quantized in (False, True):
        common.check_device(args, lambda a, style: make(a, style, 2, quantized, config))
        want = make(args, "R_a", 2, quantized, config)()
        for style in ("R_b", "R_c"):
            got = make(args, style, 2, quantized, config)()
            error = float((got - want).norm() / want.norm())
            print(f"{style}, {'w4a8' if quantized else 'full precision'}: against R_a {error:.1e}", flush=True)
            if not error < (1e-2 if quantized or args.device != "cpu" else 1e-5):
                raise SystemExit("they disagree")


def main():
    parser = common.parser(__doc__)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    common.start(args)
    small = dict(resolution=8, ch=8, mult=(1, 2), res_blocks=1, attention=(4,), groups=4)
    config = small if args.small or args.check else unet.CIFAR10
    if args.check:
        return check(args, config)
    for name in ("cifar10", "cifar10-w4a8"):
        for batch in BATCHES[:2] if args.small else BATCHES:
            for style in common.STYLES:
                common.report(args, "forward", f"{name}/b{batch}", style,
                              lambda: common.graphed(args, style, make(args, style, batch, "w4a8" in name, config)))


if __name__ == "__main__":
    main()
