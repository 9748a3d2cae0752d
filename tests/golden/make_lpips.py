#!/usr/bin/env python3
"""Golden values of LPIPS with made-up weights, by PyTorch in float64, written as the lpips package computes it."""
import sys

import h5py
import numpy as np
import torch
import torch.nn.functional as F

from make_moments import word

SHAPES = [(64, 3, 11, 11), (192, 64, 5, 5), (384, 192, 3, 3), (256, 384, 3, 3), (256, 256, 3, 3)]


def numbers(first, shape, low, high):
    n = int(np.prod(shape))
    value = low + (high - low) * (word(first + np.arange(n)) / 2.0**24)
    return torch.from_numpy(value.astype(np.float32).astype(np.float64).reshape(shape))


def weights():
    """Weight and bias of each convolution, then of each stage's channels; numbers of tensor i begin at i 2^22."""
    for i, shape in enumerate(SHAPES):
        size = np.sqrt(6 / np.prod(shape[1:]))
        yield numbers((2 * i) << 22, shape, -size, size), numbers((2 * i + 1) << 22, shape[:1], -0.1, 0.1)
    for i, shape in enumerate(SHAPES):
        yield numbers((10 + i) << 22, (1, shape[0], 1, 1), 0, 1)


def images(n, h, w):
    i, y, x, c = np.meshgrid(*map(np.arange, (n, h, w, 3)), indexing="ij")
    place = ((i * h + y) * w + x) * 3 + c + (15 << 22)
    f = np.clip((5 * x + 3 * y + 60 * c + 17 * i) % 200 + word(place) % 32, 0, 255)
    q = np.clip(f + word(place + 2**20) % (8 * i + 1) - 4 * i, 0, 255)  # image 0 is the same
    return [torch.from_numpy(a.transpose(0, 3, 1, 2).copy()) for a in (q, f)]


def stages(x, conv):
    shift = torch.tensor([-0.030, -0.088, -0.188], dtype=torch.float64)[None, :, None, None]
    scale = torch.tensor([0.458, 0.448, 0.450], dtype=torch.float64)[None, :, None, None]
    h = (x / 127.5 - 1 - shift) / scale
    for i, (w, b) in enumerate(conv):
        if i in (1, 2):
            h = F.max_pool2d(h, 3, 2)
        h = F.relu(F.conv2d(h, w, b, stride=(4, 1, 1, 1, 1)[i], padding=(2, 2, 1, 1, 1)[i]))
        yield h / (torch.sqrt((h**2).sum(1, keepdim=True)) + 1e-10)


def lpips(q, f, conv, lin):
    parts = zip(stages(q, conv), stages(f, conv), lin)
    return sum(F.conv2d((a - b) ** 2, w).mean((2, 3))[:, 0] for a, b, w in parts)


if __name__ == "__main__":
    path = sys.argv[1] if len(sys.argv) > 1 else __file__.replace("make_lpips.py", "lpips.h5")
    all_weights = list(weights())
    with h5py.File(path, "w", libver=("earliest", "v110")) as h5:
        h5.attrs["torch"] = str(torch.__version__)
        for n, h, w in ((5, 32, 32), (2, 31, 70)):
            value = lpips(*images(n, h, w), all_weights[:5], all_weights[5:])
            h5[f"{h}x{w}"] = value.numpy()
            print(h, w, value)
