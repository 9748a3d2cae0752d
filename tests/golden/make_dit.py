"""Golden values of a small DiT: make_dit.py [--out dit.h5] | make_dit.py --full FILE

    /model/<state-dict name>   f32  random weights on a grid of a quarter of a power of two
    /x  /t  /label             f32  (3, c, size, size) and steps; i32 classes, the last one none
    /output                    f64  the network in float64 on those weights and inputs
    /u, /grad/x, /grad/<name>  f32  d <u, output> / d x and / d some parameters, by float64

--full writes the released shape (2.7 GB) without gradients, for a comparison outside of the repository; its output is
float32's.
"""
import argparse
import os
import sys

import torch

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "..", "..", "bench", "reference"))
import dit  # noqa: E402
from network import create, to_grid, write  # noqa: E402
from unet import randomize  # noqa: E402

SMALL = dict(resolution=8, patch=2, c_in=4, c_out=8, hidden=24, depth=2, heads=3, classes=5)
SEED = 20261124
WITH_GRADIENT = """pos_embed x_embedder.proj.weight x_embedder.proj.bias t_embedder.mlp.0.bias t_embedder.mlp.2.weight
    y_embedder.embedding_table.weight blocks.0.attn.qkv.bias blocks.0.attn.proj.weight blocks.0.mlp.fc1.bias
    blocks.0.adaLN_modulation.1.bias blocks.1.attn.qkv.weight blocks.1.mlp.fc2.bias
    final_layer.adaLN_modulation.1.weight final_layer.linear.bias""".split()


def make(path, config, small):
    draw = torch.Generator().manual_seed(SEED + 1)
    model = dit.DiT(**config)
    place = model.pos_embed.detach().clone()
    randomize(model, SEED)
    with torch.no_grad():
        model.pos_embed.copy_(place)
        model.y_embedder.embedding_table.weight.copy_(
            torch.randn(model.y_embedder.embedding_table.weight.shape, generator=draw))
    if small:
        to_grid(model)
    t, label = torch.tensor([1, 500, 999]), torch.tensor([3, 0, config["classes"]])
    x = torch.randn(3, config["c_in"], config["resolution"], config["resolution"], generator=draw)
    with create(path, "model", "grad") as file:
        file.attrs["seed"], file.attrs["torch"] = SEED, str(torch.__version__)
        for name, value in model.state_dict().items():
            write(file, "model/" + name, value, "f4", pack=small)
        write(file, "x", x, "f4")
        write(file, "t", t.float(), "f4")
        write(file, "label", label, "i4")
        with torch.no_grad():
            output = model(x, t, label)
        if small:
            single = output
            model.double()
            leaf = x.double().requires_grad_(True)
            output = model(leaf, t, label)
            u = torch.randn(output.shape, generator=draw)
            (output * u.double()).sum().backward()
            write(file, "u", u, "f4")
            write(file, "grad/x", leaf.grad, "f4")
            parameters = dict(model.named_parameters())
            for name in WITH_GRADIENT:
                write(file, "grad/" + name, parameters[name].grad, "f4")
            error = float((single.double() - output).norm() / output.norm())
            print(f"rms of output {float(output.pow(2).mean().sqrt()):.3f}, float32 off by {error:.1e}")
        write(file, "output", output, "f8")
    print(f"{path}: {os.path.getsize(path)} bytes")


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--out", default=os.path.join(here, "dit.h5"), help="the small network's file")
parser.add_argument("--full", metavar="FILE", help="write only the network of the released shape, to FILE")
args = parser.parse_args()
torch.set_num_threads(2 if args.full else 1)  # one: the same bytes every time
if args.full:
    make(args.full, dit.XL2_256, small=False)
else:
    make(args.out, SMALL, small=True)
