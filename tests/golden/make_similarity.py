#!/usr/bin/env python3
"""Golden values of SSIM and PSNR, by numpy and scipy in float64."""
import sys

import h5py
import numpy as np
import scipy
from scipy.signal import convolve2d

from make_moments import word

N, H, W, C = 4, 23, 17, 3


def images():
    i, y, x, c = np.meshgrid(*map(np.arange, (N, H, W, C)), indexing="ij")
    place = ((i * H + y) * W + x) * C + c
    f = np.clip((7 * x + 3 * y + 90 * c + 17 * i) % 200 + word(place) % 32, 0, 255)
    q = np.clip(f + word(place + 2**20) % (8 * i + 1) - 4 * i, 0, 255)  # image 0 is the same
    return q, f


def ssim(x, y):
    """Wang et al.'s form, over the places where the window lies inside."""
    g = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(g, g) / np.outer(g, g).sum()

    def mean(a):
        return convolve2d(a, window, mode="valid")

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mx, my = mean(x), mean(y)
    sxx, syy, sxy = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    return ((2 * mx * my + c1) * (2 * sxy + c2) / ((mx**2 + my**2 + c1) * (sxx + syy + c2))).mean()


if __name__ == "__main__":
    path = sys.argv[1] if len(sys.argv) > 1 else __file__.replace("make_similarity.py", "similarity.h5")
    q, f = images()
    each = [np.mean([ssim(q[i, ..., c], f[i, ..., c]) for c in range(C)]) for i in range(N)]
    squares = ((q - f) ** 2).mean((1, 2, 3))
    psnr = [10 * np.log10(255**2 / s) for s in squares if s > 0]
    with h5py.File(path, "w", libver=("earliest", "v110")) as h:
        h.attrs["numpy"], h.attrs["scipy"] = np.__version__, scipy.__version__
        h["ssim"] = np.array(each)
        h["psnr"] = np.array([10 * np.log10(255**2 / squares.mean()), np.mean(psnr)])
        print(each, h["psnr"][:])
