"""Golden values of the whole DDPM UNet: make_unet.py [--out unet.h5] | make_unet.py --cifar FILE

Written with HDF5 by name; layouts are PyTorch's, NCHW and KCRS. A file holds

    /model/<state-dict name>   f32  random weights
    /x  /t                     f32  (n, 3, size, size), (n) steps
    /output                    f64  the network in float64 on those weights and inputs
    /output_f32                f32  the same, rounded
    attributes                 the configuration, the seed, the version of PyTorch

and the small one, which is committed, also

    /temb                      f64  time embedding after both dense layers
    /mid                       f32  output of mid.block_2 for the first x
    /u                         f32  like output
    /grad/x, /grad/<name>      f32  d <u, output> / d x and / d some small parameters, by float64

The weights of the small network lie on a grid of a quarter of a power of two, which float32 holds exactly and
gzip packs well. --cifar writes the network of the CIFAR-10 checkpoint's shape (143 MB), for a comparison outside the
repository.
"""
import argparse
import os
import sys

import torch

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "..", "..", "bench", "reference"))
import unet  # noqa: E402
from network import create, to_grid, write  # noqa: E402

SMALL = dict(resolution=16, ch=16, mult=(1, 2), res_blocks=1, attention=(8,), groups=8)
SEED = 20261122
# One of each kind, early ones first: their gradients have passed through all that comes later.
WITH_GRADIENT = """conv_in temb.dense.0 down.0.block.0.norm1 down.0.block.0.conv1 down.0.block.0.temb_proj
    down.0.downsample.conv down.1.block.0.nin_shortcut down.1.attn.0.norm down.1.attn.0.q down.1.attn.0.v
    mid.attn_1.proj_out up.1.upsample.conv up.0.block.1.nin_shortcut up.0.block.1.norm2 norm_out conv_out""".split()


def write_gradients(file, model, x, t, draw):
    u = torch.randn(x.shape, generator=draw)
    leaf = x.double().requires_grad_(True)
    (model(leaf, t) * u.double()).sum().backward()
    write(file, "u", u, "f4")
    write(file, "grad/x", leaf.grad, "f4")
    for name, p in model.named_parameters():
        layer, kind = name.rsplit(".", 1)
        if layer in WITH_GRADIENT and (kind == "bias" or p.numel() < 512):
            write(file, "grad/" + name, p.grad, "f4")


def make(path, config, small):
    draw = torch.Generator().manual_seed(SEED + 1)
    model = unet.randomize(unet.UNet(**config), SEED)
    if small:
        to_grid(model)
    t = torch.tensor([1, 500, 999])
    x = torch.randn(len(t), 3, config["resolution"], config["resolution"], generator=draw)
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    model.double()
    seen = {}
    model.temb.dense[1].register_forward_hook(lambda m, i, o: seen.update(temb=o))
    model.mid.block_2.register_forward_hook(lambda m, i, o: seen.update(mid=o))
    with torch.no_grad():
        output = model(x.double(), t)

    with create(path, "model", "grad") as file:
        for key, value in config.items():
            file.attrs[key] = value
        file.attrs["seed"], file.attrs["torch"] = SEED, str(torch.__version__)
        for name, value in weights.items():
            write(file, "model/" + name, value, "f4", pack=small)
        write(file, "x", x, "f4")
        write(file, "t", t.float(), "f4")
        write(file, "output", output, "f8")
        write(file, "output_f32", output, "f4")
        if small:
            write(file, "temb", seen["temb"], "f8")
            write(file, "mid", seen["mid"][:1], "f4")
            write_gradients(file, model, x, t, draw)
    single = unet.UNet(**config).eval()
    single.load_state_dict(weights)
    with torch.no_grad():
        error = (single(x, t).double() - output).norm() / output.norm()
    print(f"{path}: {os.path.getsize(path)} bytes, {sum(v.numel() for v in weights.values())} parameters in "
          f"{len(weights)} entries, rms of output {float(output.pow(2).mean().sqrt()):.3f}, float32 off by {error:.1e}")


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--out", default=os.path.join(here, "unet.h5"), help="the small network's file")
parser.add_argument("--cifar", metavar="FILE", help="write only the network of CIFAR-10's shape, to FILE")
args = parser.parse_args()
torch.set_num_threads(2 if args.cifar else 1)  # one: the same bytes every time
if args.cifar:
    make(args.cifar, unet.CIFAR10, small=False)
else:
    make(args.out, SMALL, small=True)
