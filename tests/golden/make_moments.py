#!/usr/bin/env python3
"""Golden values of the Frechet distance, the inception score and NumPy's permutations, by numpy and scipy in float64."""
import sys

import h5py
import numpy as np
import scipy
import scipy.linalg
import scipy.special

rng = np.random.default_rng(5)


def by_sqrtm(a, b):
    """As pytorch-fid writes it."""
    c1, c2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    shift = a.mean(0) - b.mean(0)
    root = scipy.linalg.sqrtm(c1 @ c2)
    return shift @ shift + np.trace(c1) + np.trace(c2) - 2 * np.trace(root.real)


def by_samples(a, b):
    """tr (C1 C2)^(1/2) is the nuclear norm of A B^T / sqrt((n1 - 1) (n2 - 1)), A and B centred: exact for singular
    covariances, and small where there are few samples."""
    m1, m2 = a.mean(0), b.mean(0)
    x, y = (a - m1) / np.sqrt(len(a) - 1), (b - m2) / np.sqrt(len(b) - 1)
    product = x @ y.T if len(x) < x.shape[1] else np.linalg.qr(x, "r") @ np.linalg.qr(y, "r").T
    trace = np.linalg.svd(product, compute_uv=False).sum()
    return ((m1 - m2) ** 2).sum() + (x**2).sum() + (y**2).sum() - 2 * trace


def word(n):
    """The generator of wide features: 24 bits of a hash of a counter (the finalizer of MurmurHash3)."""
    h = n.astype(np.uint32)
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x85EBCA6B)
    h ^= h >> np.uint32(13)
    h *= np.uint32(0xC2B2AE35)
    h ^= h >> np.uint32(16)
    return (h >> np.uint32(8)).astype(np.float64)


def wide(first, n, d):
    """Row i, column j: a number of its own, narrower from column to column, and one of 8 that rows share with others.
    All of it is exact in float32."""
    i, j = np.arange(first, first + n)[:, None], np.arange(d)[None, :]
    own = np.floor(word(i * d + j) / 2**16) - 128
    shared = np.floor(word(i * 8 + j % 8 + 0x40000000) / 2**18) - 32
    return own * 2.0 ** -(j % 6 + 6) + shared / 64 + 2.0 ** -(first % 3 + 2)


def inception(logits, ends):
    scores = []
    for i in range(len(ends) - 1):
        x = logits[ends[i] : ends[i + 1]].astype(np.float64)
        logp = x - scipy.special.logsumexp(x, axis=1, keepdims=True)
        p = np.exp(logp)
        scores.append(np.exp((p * (logp - np.log(p.mean(0, keepdims=True)))).sum(1).mean()))
    return np.mean(scores), np.std(scores)


def equal(n, splits):
    return [n * i // splits for i in range(splits + 1)]


if __name__ == "__main__":
    path = sys.argv[1] if len(sys.argv) > 1 else __file__.replace("make_moments.py", "moments.h5")
    with h5py.File(path, "w", libver=("earliest", "v110")) as f:
        f.attrs["numpy"] = np.__version__
        f.attrs["scipy"] = scipy.__version__
        f.attrs["seed"] = 5
        mix = rng.normal(size=(12, 12))
        for name, n1, n2 in (("full", 90, 75), ("deficient", 7, 9)):
            a = (rng.normal(size=(n1, 12)) @ mix).astype(np.float32)
            b = (rng.normal(size=(n2, 12)) @ mix * 1.2 + 0.3).astype(np.float32)
            f[name + "/a"], f[name + "/b"] = a, b
            a, b = a.astype(np.float64), b.astype(np.float64)
            f[name + "/distance"] = np.array([by_samples(a, b)])
            if name == "full":
                f[name + "/sqrtm"] = np.array([by_sqrtm(a, b)])
                print(f[name + "/distance"][0], f[name + "/sqrtm"][0])
        for name, n1, n2, d in (("deficient", 320, 250, 2023), ("full", 2304, 2240, 2048)):
            value = by_samples(wide(0, n1, d), wide(10000, n2, d))
            f["wide/" + name] = np.array([value])
            print(name, n1, n2, d, value)
        logits = (3 * rng.normal(size=(50, 10))).astype(np.float32)
        f["logits"] = logits
        f["score"] = np.array(inception(logits, equal(50, 4)))
        order = np.random.RandomState(2020).permutation(50)
        f["score_shuffled"] = np.array(inception(logits[order], equal(50, 10)))
        f["score_parts"] = np.array(inception(logits, [0, 16, 32, 48, 50]))
        random = np.random.RandomState(2020)
        for n in (1, 2, 50, 1000, 65537, 70000):
            order = random.permutation(n)
            f[f"permutation/{n}"] = order[:: max(n // 50, 1)].astype(np.int32)
            f[f"permutation/{n}"].attrs["sum"] = int((order.astype(np.int64) * np.arange(1, n + 1)).sum() % 2**31)
