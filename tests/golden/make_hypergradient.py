#!/usr/bin/env python3
"""Golden values of the sample-weight hypergradients: full nested autograd in float64.

A residual block GN-SiLU-conv3x3-(+emb)-GN-SiLU-conv3x3 with 4-bit AdaRound weights whose range is
shrunk by 15 % (so that some entries clip), input mismatch in the targets. Arrays are stored in memory
order: activations (N,H,W,C), weights (K,R,S,C); theta is alpha1 then alpha2.
"""
import sys

import h5py
import numpy as np
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
SEED, C, HW, N, K, M, ETA = 7, 8, 6, 12, 5, 4, 2.0
GAMMA, ZETA, GROUPS, EPS = -0.1, 1.1, 4, 1e-6
torch.manual_seed(SEED)


def make_weight():
    w = torch.randn(C, C, 3, 3) * 0.15
    lo, hi = w.amin(dim=(1, 2, 3)) * 0.85, w.amax(dim=(1, 2, 3)) * 0.85
    scale = (hi - lo) / 15
    zero = torch.round(-lo / scale)
    return w, scale, zero


def init_alpha(w, scale):
    u = w / scale.view(-1, 1, 1, 1)
    r = u - torch.floor(u)
    return -torch.log((ZETA - GAMMA) / (r - GAMMA) - 1)


def soft(w, scale, zero, alpha):
    s, z = scale.view(-1, 1, 1, 1), zero.view(-1, 1, 1, 1)
    h = torch.clamp(torch.sigmoid(alpha) * (ZETA - GAMMA) + GAMMA, 0, 1)
    return (torch.clamp(torch.floor(w / s) + h + z, 0, 15) - z) * s


w1, s1, z1 = make_weight()
w2, s2, z2 = make_weight()
g1, b1 = 1 + 0.1 * torch.randn(C), 0.1 * torch.randn(C)
g2, b2 = 1 + 0.1 * torch.randn(C), 0.1 * torch.randn(C)
c1, c2 = 0.1 * torch.randn(C), 0.1 * torch.randn(C)
# away from the initial point, where h is the fractional part and most gradients are nearly zero
alpha0 = [init_alpha(w1, s1) + 0.5 * torch.randn_like(w1), init_alpha(w2, s2) + 0.5 * torch.randn_like(w2)]
P1 = w1.numel()
theta0 = torch.cat([a.reshape(-1) for a in alpha0])


def block(u1, u2, x, emb):
    h = F.conv2d(F.silu(F.group_norm(x, GROUPS, g1, b1, EPS)), u1, c1, padding=1)
    h = h + emb[:, :, None, None]
    h = F.conv2d(F.silu(F.group_norm(h, GROUPS, g2, b2, EPS)), u2, c2, padding=1)
    return x + h


def losses(theta, x, emb, y):
    a1, a2 = theta[:P1].view_as(w1), theta[P1:].view_as(w2)
    f = block(soft(w1, s1, z1, a1), soft(w2, s2, z2, a2), x, emb)
    return ((f - y) ** 2).sum(1).mean(dim=(1, 2))


def data(n):
    x = torch.randn(n, C, HW, HW)
    emb = 0.3 * torch.randn(n, C)
    return x + 0.05 * torch.randn_like(x), emb, block(w1, w2, x, emb)


train = data(N)
groups = [data(M) for _ in range(K)]
s = torch.randn(N) * 0.3
grad = torch.autograd.grad


def outer(form, cosine, normalize, omega):
    """(L_MSE, L_GM) as differentiable functions of omega, by nested autograd alone."""
    theta = theta0.clone().requires_grad_(True)
    per = losses(theta, *train)
    rows = [grad(per[i], theta, retain_graph=True)[0] for i in range(N)]
    if normalize:
        rows = [r / r.norm() for r in rows]
    star = theta0 - ETA * sum(omega[i] * rows[i] for i in range(N))
    lt = [losses(star, *g).mean() for g in groups]
    mse = sum(lt) / K
    if form == "original":
        a = [grad(l, star, create_graph=True)[0] for l in lt]
    else:
        a = [grad(l, omega, create_graph=True)[0] for l in lt]
    if cosine:
        a = [v / v.norm() for v in a]
    gm = -2 / (K * (K - 1)) * sum((a[t] * a[k]).sum() for t in range(K) for k in range(t + 1, K))
    return mse, gm


out = {}
omega0 = torch.softmax(s, 0)
for form in ("surrogate", "original"):
    for cosine in (0, 1):
        for normalize in (0, 1):
            omega = omega0.clone().requires_grad_(True)
            mse, gm = outer(form, cosine, normalize, omega)
            key = f"{form}/{'cosine' if cosine else 'dot'}/{'normalized' if normalize else 'plain'}"
            out[key + "/value_mse"] = mse.detach().reshape(1)
            out[key + "/value_gm"] = gm.detach().reshape(1)
            out[key + "/d_mse"] = grad(mse, omega, retain_graph=True)[0]
            out[key + "/d_gm"] = grad(gm, omega)[0]

# dL/ds through the softmax, of the literal sum
sv = s.clone().requires_grad_(True)
mse, gm = outer("original", 0, 0, torch.softmax(sv, 0))
out["ds_literal_original"] = grad(mse + gm, sv)[0]

# explicit J, one Hessian-vector product, a tangent
theta = theta0.clone().requires_grad_(True)
per = losses(theta, *train)
out["jacobian"] = torch.stack([grad(per[i], theta, retain_graph=True)[0] for i in range(N)])
out["train_loss"] = per.detach()
direction = torch.randn_like(theta0)
g = grad(losses(theta, *groups[0]).mean(), theta, create_graph=True)[0]
out["hvp"] = grad((g * direction).sum(), theta)[0]
out["dots"] = out["jacobian"] @ direction


def weight(t):  # (K,C,R,S) -> (K,R,S,C)
    return t.permute(0, 2, 3, 1).contiguous()


def theta_order(v):
    """theta-shaped last axis from (K,C,R,S) to (K,R,S,C) order."""
    a = v[..., :P1].reshape(*v.shape[:-1], C, C, 3, 3)
    b = v[..., P1:].reshape(*v.shape[:-1], C, C, 3, 3)
    d = v.dim() - 1
    perm = list(range(d)) + [d, d + 2, d + 3, d + 1]
    return torch.cat([t.permute(*perm).reshape(*v.shape[:-1], -1) for t in (a, b)], dim=-1)


for name in ("jacobian", "hvp"):
    out[name] = theta_order(out[name])
out["direction"] = theta_order(direction)
out["theta"] = theta_order(theta0)
for name, t in (("w1", w1), ("w2", w2)):
    out[name] = weight(t)
for name, t in (("scale1", s1), ("scale2", s2), ("zero1", z1), ("zero2", z2), ("gamma1", g1), ("beta1", b1),
                ("gamma2", g2), ("beta2", b2), ("bias1", c1), ("bias2", c2), ("s", s), ("omega", omega0)):
    out[name] = t
every = [train] + groups
out["x"] = torch.cat([d[0] for d in every]).permute(0, 2, 3, 1)
out["emb"] = torch.cat([d[1] for d in every])
out["y"] = torch.cat([d[2] for d in every]).permute(0, 2, 3, 1)

path = sys.argv[1] if len(sys.argv) > 1 else __file__.replace("make_hypergradient.py", "hypergradient.h5")
with h5py.File(path, "w", libver=("earliest", "v110")) as f:
    f.attrs["torch"] = str(torch.__version__)
    f.attrs["seed"] = SEED
    f.attrs["eta"] = ETA
    for name, t in out.items():
        f.create_dataset(name, data=np.ascontiguousarray(t.detach().numpy()))
    soft1 = soft(w1, s1, z1, alpha0[0])
    clipped = ((torch.floor(w1 / s1.view(-1, 1, 1, 1)) + z1.view(-1, 1, 1, 1) >= 15)).double().mean()
    print("clipped share of layer 1: %.3f, |hvp| %.3g, gm/mse %s" % (
        float(clipped), float(out["hvp"].norm()),
        [float(out[f"{k}/dot/plain/d_gm"].norm() / out[f"{k}/dot/plain/d_mse"].norm()) for k in ("surrogate", "original")]))
