#!/usr/bin/env python3
"""Golden values of the Frechet distance and the inception score, by numpy and scipy in float64."""
import sys

import h5py
import numpy as np
import scipy
import scipy.special

rng = np.random.default_rng(5)


def frechet(a, b):
    m1, m2 = a.mean(0), b.mean(0)
    c1, c2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # the nuclear norm of c1^(1/2) c2^(1/2): exact for singular covariances too
    def root(c):
        w, q = np.linalg.eigh(c)
        return (q * np.sqrt(np.maximum(w, 0))) @ q.T
    trace = np.linalg.svd(root(c1) @ root(c2), compute_uv=False).sum()
    return ((m1 - m2) ** 2).sum() + np.trace(c1) + np.trace(c2) - 2 * trace


def inception(logits, splits):
    scores = []
    n = len(logits)
    for i in range(splits):
        x = logits[n * i // splits : n * (i + 1) // splits].astype(np.float64)
        logp = x - scipy.special.logsumexp(x, axis=1, keepdims=True)
        p = np.exp(logp)
        scores.append(np.exp((p * (logp - np.log(p.mean(0, keepdims=True)))).sum(1).mean()))
    return np.mean(scores), np.std(scores)


with h5py.File(sys.argv[1] if len(sys.argv) > 1 else __file__.replace("make_moments.py", "moments.h5"),
               "w", libver=("earliest", "v110")) as f:
    f.attrs["numpy"] = np.__version__
    f.attrs["scipy"] = scipy.__version__
    f.attrs["seed"] = 5
    mix = rng.normal(size=(12, 12))
    for name, n1, n2 in (("full", 90, 75), ("deficient", 7, 9)):
        a = (rng.normal(size=(n1, 12)) @ mix).astype(np.float32)
        b = (rng.normal(size=(n2, 12)) @ mix * 1.2 + 0.3).astype(np.float32)
        f[name + "/a"], f[name + "/b"] = a, b
        f[name + "/distance"] = np.array([frechet(a.astype(np.float64), b.astype(np.float64))])
    logits = (3 * rng.normal(size=(50, 10))).astype(np.float32)
    f["logits"] = logits
    f["score"] = np.array(inception(logits, 4))
    print(f["full/distance"][:], f["deficient/distance"][:], f["score"][:])
