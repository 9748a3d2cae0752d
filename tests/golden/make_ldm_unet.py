"""Golden values of the latent diffusion UNet: make_ldm_unet.py | make_ldm_unet.py --full beds|cin|church FILE

Written with HDF5 by name; layouts are PyTorch's, NCHW and KCRS. Below the name of each network:

    model/<state-dict name>   f32  random weights, on a grid that float32 holds and gzip packs well
    x  t  label               f32  (n, C, size, size), (n) steps, (n) classes (of cin; the last is the null label)
    output                    f64  the network in float64 on those weights and inputs
    u                         f32  like output
    grad/x, grad/<name>       f32  d <u, output> / d x and / d some small parameters, by float64

--full writes one of the published sizes with random weights, output in float32, for a comparison outside of the
repository.
"""
import argparse
import os
import sys

import h5py
import torch

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "..", "..", "bench", "reference"))
import ldm_unet  # noqa: E402
import unet  # noqa: E402

SEED = 20261123
SMALL = {
    "beds": dict(resolution=8, channels=3, mc=8, mult=(1, 2), res_blocks=1, attention=(2,), head_channels=8, groups=4),
    "cin": dict(resolution=8, channels=3, mc=8, mult=(1, 2), res_blocks=1, attention=(2,), heads=2, context=12,
                classes=6, groups=4),
    "church": dict(resolution=8, channels=4, mc=8, mult=(1, 2), res_blocks=1, attention=(1, 2), heads=4,
                   scale_shift=True, updown=True, groups=4),
}


def create(path):
    """A compact file without times of creation: equal content gives equal bytes."""
    access, file_plist = h5py.h5p.create(h5py.h5p.FILE_ACCESS), h5py.h5p.create(h5py.h5p.FILE_CREATE)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    file_plist.set_obj_track_times(False)
    file = h5py.File(h5py.h5f.create(os.fsencode(path), h5py.h5f.ACC_TRUNC, file_plist, access))
    for name in SMALL:
        for part in ("", "/model", "/grad"):
            group_plist = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
            group_plist.set_obj_track_times(False)
            h5py.h5g.create(file.id, (name + part).encode(), gcpl=group_plist)
    return file


def write(file, name, value, dtype, pack=False):
    options = {}
    if pack and value.numel() >= 512:
        options = dict(compression="gzip", compression_opts=9, shuffle=True, chunks=tuple(value.shape))
    file.create_dataset(name, data=value.detach().numpy(), dtype=dtype, track_times=False, **options)


def to_grid(model):
    """Round each tensor to a quarter of the power of two next to its spread."""
    with torch.no_grad():
        for p in model.parameters():
            unit = 2.0 ** torch.log2(p.std()).round() / 4
            p.copy_(torch.round(p / unit) * unit)


def inputs(config, draw, count=3):
    x = torch.randn(count, config["channels"], config["resolution"], config["resolution"], generator=draw)
    t = torch.tensor([1, 500, 999][:count])
    label = torch.tensor([0, 3, config["classes"]][:count]) if "classes" in config else None
    return x, t, label


def small(file, name, config, draw):
    model = unet.randomize(ldm_unet.LdmUNet(**config), SEED)
    to_grid(model)
    for key, value in ldm_unet.names(model).items():
        write(file, f"{name}/model/{key}", value, "f4", pack=True)
    x, t, label = inputs(config, draw)
    u = torch.randn(x.shape, generator=draw)
    model.double()
    leaf = x.double().requires_grad_(True)
    output = model(leaf, t, label)
    (output * u.double()).sum().backward()
    write(file, f"{name}/x", x, "f4")
    write(file, f"{name}/t", t.float(), "f4")
    if label is not None:
        write(file, f"{name}/label", label, "i4")
    write(file, f"{name}/output", output, "f8")
    write(file, f"{name}/u", u, "f4")
    write(file, f"{name}/grad/x", leaf.grad, "f4")
    for key, p in model.named_parameters():
        if p.dim() == 1 and not key.startswith("context"):  # norms and biases of every layer; weights follow
            write(file, f"{name}/grad/{key}", p.grad, "f4")
    single = ldm_unet.LdmUNet(**config).eval()
    single.load_state_dict({k: v.float() for k, v in model.state_dict().items()})
    with torch.no_grad():
        error = (single(x, t, label).double() - output).norm() / output.norm()
    print(f"{name}: {sum(p.numel() for p in model.parameters())} parameters, rms of output "
          f"{float(output.pow(2).mean().sqrt()):.3f}, float32 off by {error:.1e}")


def full(name, path):
    config = dict(beds=ldm_unet.BEDS, cin=ldm_unet.CIN, church=ldm_unet.CHURCH)[name]
    model = unet.randomize(ldm_unet.LdmUNet(**config), SEED)
    x, t, label = inputs(config, torch.Generator().manual_seed(SEED + 1))
    with torch.no_grad():
        output = torch.cat([model(x[i:i + 1], t[i:i + 1], None if label is None else label[i:i + 1])
                            for i in range(len(t))])
    with h5py.File(path, "w", libver="v110") as file:
        for key, value in ldm_unet.names(model).items():
            write(file, f"{name}/model/{key}", value, "f4")
        write(file, f"{name}/x", x, "f4")
        write(file, f"{name}/t", t.float(), "f4")
        if label is not None:
            write(file, f"{name}/label", label, "i4")
        write(file, f"{name}/output", output, "f8")
    print(f"{path}: rms of output {float(output.pow(2).mean().sqrt()):.3f}")


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--full", nargs=2, metavar=("NAME", "FILE"))
args = parser.parse_args()
if args.full:
    torch.set_num_threads(2)
    full(*args.full)
else:
    torch.set_num_threads(1)  # the same bytes every time
    out = os.path.join(here, "ldm_unet.h5")
    with create(out) as file:
        file.attrs["seed"], file.attrs["torch"] = SEED, str(torch.__version__)
        generator = torch.Generator().manual_seed(SEED + 1)
        for each, settings in SMALL.items():
            small(file, each, settings, generator)
    print(f"{out}: {os.path.getsize(out)} bytes")
