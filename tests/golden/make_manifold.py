#!/usr/bin/env python3
"""Golden values of precision, recall, density, coverage and the kernel distance, by numpy in float64."""
import sys

import h5py
import numpy as np

from make_moments import wide


def squares(a, b):
    return ((a[:, None, :] - b[None, :, :]) ** 2).sum(2)


def radii(x, k):
    """Squared distance to the k-th neighbour: number k of the sorted ones, the point itself being number 0."""
    return np.array([np.sort(((x - p) ** 2).sum(1))[k] for p in x])


def manifold(real, fake, k):
    r, g = radii(real, k), radii(fake, k)
    d = np.stack([((real - p) ** 2).sum(1) for p in fake])  # (fake, real)
    inside, held = d <= r[None, :], d <= g[:, None]
    return [inside.any(1).mean(), held.any(0).mean(), inside.sum() / (k * len(fake)), inside.any(0).mean()]


def kid(fake, real, subsets, size, seed):
    """As torch-fidelity writes it."""
    random = np.random.RandomState(seed)
    d = fake.shape[1]

    def kernel(a, b):
        return (a @ b.T / d + 1) ** 3

    values = []
    for _ in range(subsets):
        x = fake[random.choice(len(fake), size, replace=False)]
        y = real[random.choice(len(real), size, replace=False)]
        xx, yy = kernel(x, x), kernel(y, y)
        own = xx.sum() - np.trace(xx) + yy.sum() - np.trace(yy)
        values.append(own / (size * (size - 1)) - 2 * kernel(x, y).sum() / size**2)
    return np.mean(values), np.std(values)


def near(first, n):
    """Two clusters 8192 apart, in which points are a few units of the last place of float from each other."""
    side = 4096.0 * (1 - 2 * (np.arange(n)[:, None] % 2))
    return side + np.floor(wide(first, n, 3) * 8) / 1024


def sets():
    """Real ones, generated ones, k. "near": |a|^2 + |b|^2 - 2<a,b> has no correct digit in float32, also when the mean
    is taken away; "few": many equal points, and distances that are exactly radii."""
    yield "plain", wide(0, 1100, 20), wide(20000, 300, 20), 3
    yield "near", near(1, 700), near(30001, 400), 5
    yield "few", np.floor(wide(2, 300, 2) * 2), np.floor(wide(40002, 280, 2) * 2), 2


if __name__ == "__main__":
    path = sys.argv[1] if len(sys.argv) > 1 else __file__.replace("make_manifold.py", "manifold.h5")
    with h5py.File(path, "w", libver=("earliest", "v110")) as f:
        f.attrs["numpy"] = np.__version__
        for name, real, fake, k in sets():
            assert (real == real.astype(np.float32)).all() and (fake == fake.astype(np.float32)).all()
            f[name] = np.array(manifold(real, fake, k))
            f[name].attrs["k"] = k
            print(name, f[name][:])
        f["kid"] = np.array(kid(wide(20000, 260, 20), wide(0, 300, 20), 7, 150, 2020))
        print("kid", f["kid"][:])
