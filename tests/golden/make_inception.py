"""Golden values of Inception with made-up weights (bench/reference/inception.py): float64 from float32 weights and inputs."""
import os
import sys

import numpy
import torch

from golden import save

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench", "reference"))
import inception  # noqa: E402


def main():
    torch.manual_seed(0)
    out = {}
    net = inception.made_up().double()
    for size, n in (32, 2), (256, 1):
        levels = inception.images(n, size)
        for name, resize in ("tf1", inception.resize_tf1), ("half_pixel", inception.resize_half_pixel):
            x = resize(levels)
            with torch.no_grad():
                pool, spatial, logits = net(torch.from_numpy(x).permute(0, 3, 1, 2).double())
            for key, value in ("pool", pool), ("spatial", spatial), ("logits", logits):
                out[f"{name}_{size}/{key}"] = value.float()
                print(name, size, key, tuple(value.shape), "mean %.4g std %.4g zeros %.3f" % (value.mean(), value.std(), (value == 0).double().mean()))
    save("inception", 0, out)


main()
