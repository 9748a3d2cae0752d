"""Golden values of small first-stage decoders: make_decoder.py [--out decoder.h5] | make_decoder.py --full vq|kl FILE

Layouts are PyTorch's, NCHW and KCRS. For each of vq and kl a file holds

    /<kind>/<state-dict name>  f32  random weights on a grid of a quarter of a power of two
    /<kind>_z                  f32  (n, embed, size, size) latents
    /<kind>_index              i32  vq: the number of the code at every pixel
    /<kind>_image              f64  the decoder in float64 on those weights and latents

--full writes one of the released shape (132 or 198 MB) with one latent, for a comparison outside of the repository.
"""
import argparse
import os
import sys

import torch

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "..", "..", "bench", "reference"))
import decoder  # noqa: E402
from network import create, to_grid, write  # noqa: E402
from unet import randomize  # noqa: E402

SMALL = dict(vq=dict(resolution=16, ch=8, mult=(1, 2, 4), res_blocks=1, z=3, embed=3, codes=100, groups=4),
             kl=dict(resolution=8, ch=8, mult=(1, 2, 2), res_blocks=2, z=5, embed=4, codes=0, groups=8))
SEED = 20261123


def latents(model, n, draw):
    """Latents whose nearest code is nearer than the next by more than float32 rounds."""
    z = torch.randn(n, *model.latent, generator=draw)
    if not hasattr(model, "quantize"):
        return z
    while True:
        x = z.double().permute(0, 2, 3, 1).reshape(-1, z.shape[1])
        two = torch.cdist(x, model.quantize.embedding.weight.double()).pow(2).topk(2, dim=1, largest=False).values
        close = (two[:, 1] - two[:, 0] < 1e-5).view(n, *z.shape[2:])
        if not close.any():
            return z
        z = torch.where(close[:, None], torch.randn(z.shape, generator=draw), z)


def add(file, kind, config, n, small):
    draw = torch.Generator().manual_seed(SEED + 1)
    model = randomize(decoder.FirstStage(**config), SEED)
    with torch.no_grad():
        if small:
            to_grid(model)
        if config["codes"]:
            model.quantize.embedding.weight.copy_(torch.randn(config["codes"], config["embed"], generator=draw))
        z = latents(model, n, draw)
        for name, value in model.state_dict().items():
            write(file, f"{kind}/{name}", value, "f4", pack=small)
        single = model(z) if small else None
        model.double()
        image = model(z.double())
    write(file, kind + "_z", z, "f4")
    if config["codes"]:
        write(file, kind + "_index", model.choose(z.double()), "i4")
    write(file, kind + "_image", image, "f8" if small else "f4")
    error = float((single.double() - image).norm() / image.norm()) if small else 0
    print(f"{kind}: rms of the image {float(image.pow(2).mean().sqrt()):.3f}, float32 off by {error:.1e}")


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--out", default=os.path.join(here, "decoder.h5"), help="the small decoders' file")
parser.add_argument("--full", nargs=2, metavar=("KIND", "FILE"), help="write only the decoder of the released shape")
args = parser.parse_args()
torch.set_num_threads(2 if args.full else 1)  # one: the same bytes every time
if args.full:
    which, path = args.full
    with create(path, which) as out:
        add(out, which, dict(vq=decoder.VQ_F4, kl=decoder.KL_F8)[which], 1, small=False)
else:
    with create(args.out, *SMALL) as out:
        out.attrs["seed"], out.attrs["torch"] = SEED, str(torch.__version__)
        for which, settings in SMALL.items():
            add(out, which, settings, 3, small=True)
    print(f"{args.out}: {os.path.getsize(args.out)} bytes")
