"""Features of the Inception of the FID, as bench_inception has them on a device: 8-bit levels of 32x32 in host memory to
pool, spatial ones and logits there, by batches.

R_a is pytorch-fid's way (floats made on the host, batch norm by itself, NCHW, 50 images at a time as its default); R_b brings
levels over, resizes and folds nothing but uses channels last, TF32 and the whole batch; R_c is that compiled.
"""
import torch
from torch.nn import functional as F

import common
import inception

SIZE, BATCH, FID_BATCH = 32, 256, 50


def to_input(levels):
    """As pytorch-fid does it on the device: half pixels, [-1, 1]."""
    x = F.interpolate(levels, size=(inception.SIZE, inception.SIZE), mode="bilinear", align_corners=False)
    return 2 * x - 1


def make(args, style, batch):
    torch.manual_seed(1)
    net = common.layout(style, inception.made_up().requires_grad_(False).to(args.device))
    levels = torch.from_numpy(inception.images(batch, SIZE)).permute(0, 3, 1, 2).contiguous()
    if args.device.startswith("cuda") and style != "R_a":
        levels = levels.pin_memory()

    def features(x):
        return net(common.layout(style, to_input(x.float() / 255)))

    run = common.compiled(args, style, features)

    def step():
        with torch.no_grad(), common.autocast(args, style):
            if style == "R_a":  # a loader gives floats
                floats = levels.float() / 255
                parts = [net(to_input(part.to(args.device))) for part in floats.split(FID_BATCH)]
                found = [torch.cat(kind) for kind in zip(*parts)]
            else:
                found = run(levels.to(args.device, non_blocking=True))
            return found if args.device == "meta" else [f.float().cpu() for f in found]

    return step


def check(args):
    common.check_device(args, lambda a, style: make(a, style, 2))
    want = make(args, "R_a", 2)()
    for style in ("R_b", "R_c"):
        for got, wanted in zip(make(args, style, 2)(), want):
            error = float((got - wanted).norm() / wanted.norm())
            print(f"{style}: against R_a {error:.1e}", flush=True)
            if not error < (1e-2 if args.device != "cpu" else 1e-5):
                raise SystemExit("they disagree")


def main():
    args = common.begin(__doc__, check)
    batch = 4 if args.small else BATCH
    for style in common.STYLES:
        common.report(args, "forward", f"inception/b{batch}", style, lambda: make(args, style, batch))


if __name__ == "__main__":
    main()
