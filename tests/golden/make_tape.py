"""Golden values of the tape, float64: networks of tests/tape_cases.h written with PyTorch.

For each case: leaves v<i> and directions d<i> in the order of recording, indices i<k>, and for each output j
its value y<j>, the seed u<j>, the tangent t<j> along all d; gradients g<i> of sum_j <u_j, y_j>. Arrays are in
memory order (NHWC, KRSC). The tangent is the derivative of the gradient in its seed (backward twice).
"""
import math

import torch
import torch.nn.functional as F

from golden import save

SEED = 23
N = 3


class Net:
    """Hands out leaves as tests/tape_net.h does, and collects the outputs."""

    def __init__(self):
        self.leaves, self.directions, self.outputs, self.indices = [], [], [], []

    def leaf(self, shape, mean=0.0, spread=1.0, learns=True):
        value = (mean + spread * torch.randn(shape)).float().double()
        self.directions.append(torch.randn(shape).float().double() if learns else None)
        self.leaves.append(value.requires_grad_() if learns else value)
        return value

    def data(self, shape, mean=0.0, spread=1.0):
        return self.leaf(shape, mean, spread, False)

    def param(self, *shape):
        per = math.prod(shape) / shape[0]
        return self.leaf(shape, 0, 0.3 if len(shape) == 1 else 1 / math.sqrt(per))

    def index(self, below):
        self.indices.append(torch.randint(0, below, (N,)))
        return self.indices[-1]

    def out(self, *values):
        self.outputs.extend(values)

    def image(self):
        return self.leaf((N, 4, 6, 8))

    def tokens(self):
        return self.leaf((N, 5, 6))

    def values(self):
        seeds = [torch.randn(y.shape).float().double().requires_grad_() for y in self.outputs]
        learned = [x for x in self.leaves if x.requires_grad]
        scalar = sum((u * y).sum() for u, y in zip(seeds, self.outputs))
        grads = list(torch.autograd.grad(scalar, learned, create_graph=True, allow_unused=True))
        directions = [d for d in self.directions if d is not None]
        slope = sum((g * d).sum() for g, d in zip(grads, directions) if g is not None)
        tangents = torch.autograd.grad(slope, seeds, allow_unused=True)
        out = {}
        for i, (value, direction) in enumerate(zip(self.leaves, self.directions)):
            out[f"v{i}"] = value.float()
            if direction is not None:
                out[f"d{i}"] = direction.float()
                out[f"g{i}"] = grads.pop(0)
        for k, index in enumerate(self.indices):
            out[f"i{k}"] = index.int()
        for j, (y, u, t) in enumerate(zip(self.outputs, seeds, tangents)):
            out.update({f"y{j}": y, f"u{j}": u.float()})
            if t is not None:
                out[f"t{j}"] = t
        return out


def nchw(x):
    return x.permute(0, 3, 1, 2)


def nhwc(x):
    return x.permute(0, 2, 3, 1)


def conv(x, w, bias=None, stride=1, pad=(1, 1, 1, 1)):
    """pad: left, right, top, bottom"""
    return nhwc(F.conv2d(F.pad(nchw(x), pad), nchw(w), bias, stride))


def conv_of(n, x, c, k, r, stride=1, pad=(1, 1, 1, 1)):
    w = n.param(k, r, r, c)
    return conv(x, w, n.param(k), stride, pad)


def case_conv_down(n):
    n.out(conv_of(n, n.image(), 8, 6, 3, 2, (0, 1, 0, 1)))


def case_matmul(n):
    for trans in range(4):
        a = n.leaf((N, 4, 5) if trans & 1 else (N, 5, 4))
        b = n.leaf((N, 3, 4) if trans & 2 else (N, 4, 3))
        n.out(0.5 * (a.mT if trans & 1 else a) @ (b.mT if trans & 2 else b))


def norm_of(n, x, c):
    gamma = n.leaf((c,), 1, 0.2)
    flat = x.movedim(-1, 1)
    return F.group_norm(flat, 2, gamma, n.param(c), 1e-6).movedim(1, -1)


def case_layer_norm(n):
    x = n.tokens()
    gamma = n.leaf((6,), 1, 0.2)
    n.out(F.layer_norm(x, (6,), gamma, n.param(6), 1e-5))


def case_geglu(n):
    a, gate = n.tokens().chunk(2, -1)
    n.out(a * F.gelu(gate))


def case_mul(n):
    x = n.image()
    n.out(x * n.image(), x * n.leaf((N, 8))[:, None, None], x * n.param(8), x * n.param(1))


def case_concat(n):
    x = n.image()
    data = n.data((N, 4, 6, 3))
    n.out(torch.cat([x, n.image()], -1), torch.cat([data, x], -1), torch.cat([x, x], -1))


def case_slice(n):
    x = n.image()
    n.out(x[..., 2:7], x[:, 1:3], n.image()[:, :, :3])


def case_resample(n):
    n.out(nhwc(F.interpolate(nchw(n.image()), scale_factor=2, mode="nearest")))
    n.out(nhwc(F.avg_pool2d(nchw(n.image()), 2)))


def case_embed(n):
    table = n.param(5, 6)
    x = n.leaf((N, 6))
    n.out(x + F.embedding(n.index(5), table))


def time_embed(t, d, divisor, cos_first):
    phase = t[:, None] * torch.exp(-math.log(10000) * torch.arange(d // 2).double() / divisor)
    parts = [phase.cos(), phase.sin()] if cos_first else [phase.sin(), phase.cos()]
    return torch.cat(parts, 1)


def case_time(n):
    t = n.data((N,), 500, 100)
    n.out(time_embed(t, 8, 3, False) @ n.param(4, 8).T, time_embed(t, 8, 4, True))


def case_moves(n):
    x = n.image()
    w = n.param(3, 1, 1, 8)
    n.out(F.silu(x.reshape(N, 24, 2, 4).permute(0, 2, 3, 1)), x @ w.reshape(3, 8).T, n.tokens().mT)


def case_loss(n):
    y = n.data((N, 4, 6, 8))
    n.out(((n.image() - y) ** 2).sum(3).mean((1, 2)))
    y = n.data((N, 5, 6))
    n.out(((n.tokens() - y) ** 2).sum(1).mean(1))
    y = n.data((N, 7))
    n.out(((n.leaf((N, 7)) - y) ** 2).sum(1))


def case_xent(n):
    x = n.leaf((N, 7))
    n.out(F.cross_entropy(x, n.index(7), reduction="none"))


def straight(x):
    """round half to even; the derivative passes straight through"""
    return x + (x.round() - x).detach()


def fake_quant(x, scale, hi):
    zero = hi // 2
    return (torch.clamp(straight(x / scale) + zero, 0, hi) - zero) * scale


def case_fake_quant(n):
    table = n.data((4, 1), 0.2, 0.01)
    row = n.index(4)
    n.out(fake_quant(n.image(), table[row][:, :, None, None], 15))
    table = n.leaf((4, 1), 0.2, 0.01)
    n.out(fake_quant(n.tokens(), table[row][:, :, None], 15))
    scale = n.leaf((8,), 0.2, 0.01)
    n.out(fake_quant(n.image(), scale, 15))


def adaround(alpha, w, scale, hi):
    zero = hi // 2
    h = torch.clamp(torch.sigmoid(alpha) * 1.2 - 0.1, 0, 1)
    return (torch.clamp(torch.floor(w / scale) + h + zero, 0, hi) - zero) * scale


def case_weights(n):
    x = n.image()
    w = n.data((4, 3, 3, 8), 0, 0.2)
    scale = n.data((4,), 0.1, 0.005)[:, None, None, None]
    n.out(conv(x, adaround(n.leaf((4, 3, 3, 8), 0, 1), w, scale, 15)))
    n.out(conv(x, fake_quant(w, n.leaf((4,), 0.1, 0.005)[:, None, None, None], 15)))


def residual(n, x, temb, c, k):
    h = conv_of(n, F.silu(norm_of(n, x, c)), c, k, 3)
    w = n.param(k, temb.shape[1])
    h = h + F.linear(F.silu(temb), w, n.param(k))[:, None, None]
    h = conv_of(n, F.silu(norm_of(n, h, k)), k, k, 3)
    if c != k:
        x = conv_of(n, x, c, k, 1, 1, (0, 0, 0, 0))
    return x + h


def attention(n, x):
    size, c = x.shape, x.shape[3]
    norm = norm_of(n, x, c)
    q, k, v = (conv_of(n, norm, c, c, 1, 1, (0, 0, 0, 0)).reshape(N, -1, c) for _ in range(3))
    a = ((q @ k.mT) / math.sqrt(c)).softmax(-1) @ v
    return x + conv_of(n, a.reshape(size), c, c, 1, 1, (0, 0, 0, 0))


def case_block(n):
    x = n.image()
    temb = n.leaf((N, 5))
    y = n.data((N, 4, 6, 6))
    x = attention(n, residual(n, x, temb, 8, 6))
    n.out(x, ((x - y) ** 2).sum(3).mean((1, 2)))


def heads_of(q, k, v, heads, alpha):
    """(N, L, C) each: softmax over the keys of every head, heads side by side in the result"""
    q, k, v = (x.reshape(N, x.shape[1], heads, -1).transpose(1, 2) for x in (q, k, v))
    return ((alpha * q @ k.mT).softmax(-1) @ v).transpose(1, 2).flatten(2)


def legacy_heads(qkv, heads, scale):
    """(N, L, 3C) with q, k, v of head 0, then of head 1: channels first, q and k scaled before the product"""
    x = qkv.mT.reshape(N * heads, -1, qkv.shape[1])
    q, k, v = x.chunk(3, 1)
    weight = torch.einsum("bct,bcs->bts", q * scale, k * scale).softmax(-1)
    return torch.einsum("bts,bcs->bct", weight, v).reshape(N, -1, qkv.shape[1]).mT


def case_heads(n):
    q, k, qkv, v = n.tokens(), n.leaf((N, 4, 6)), n.leaf((N, 5, 18)), n.leaf((N, 4, 6))
    n.out(heads_of(q, k, v, 3, 0.7), heads_of(q, q, q, 1, 0.5), legacy_heads(qkv, 2, math.sqrt(0.6)) * q)
    n.out(heads_of(*qkv.chunk(3, -1), 3, 0.6))


def case_concat_all(n):
    x, data, other = n.image(), n.data((N, 4, 6, 3)), n.leaf((N, 4, 6, 5))
    n.out(torch.cat([x, data, other, x], -1), other * 1)


def case_mean_pool(n):
    n.out(nhwc(F.avg_pool2d(nchw(n.image()), 3, 1, 1, count_include_pad=False)))
    n.out(nhwc(F.avg_pool2d(nchw(n.image()), 2)))


def case_max_pool(n):
    n.out(nhwc(F.max_pool2d(nchw(n.image()), 3, 1, 1)), nhwc(F.max_pool2d(nchw(n.image()), 2, 1, 1)))


def main():
    torch.manual_seed(SEED)
    out = {}
    for name, record in list(globals().items()):
        if name.startswith("case_"):
            net = Net()
            record(net)
            out.update({f"{name[5:]}/{key}": value for key, value in net.values().items()})
    save("tape", SEED, out)


main()
