"""The DDPM UNet in plain PyTorch: the twin that golden values and benches compare dmq with.

State-dict names are those of the published CIFAR-10 checkpoint (temb.dense.0.weight, down.1.attn.0.q.weight, ...).
Written as people write such models: NCHW, eager. Dropout is left out: it is the identity after training.
"""
import argparse
import math

import torch
from torch import nn
from torch.nn import functional as F

CIFAR10 = dict(resolution=32, ch=128, mult=(1, 2, 2, 2), res_blocks=2, attention=(16,), groups=32)


class ResBlock(nn.Module):
    def __init__(self, c_in, c_out, c_temb, groups):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, c_in, eps=1e-6)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.temb_proj = nn.Linear(c_temb, c_out)
        self.norm2 = nn.GroupNorm(groups, c_out, eps=1e-6)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        if c_in != c_out:
            self.nin_shortcut = nn.Conv2d(c_in, c_out, 1)

    def forward(self, x, temb):
        h = self.conv1(F.silu(self.norm1(x)))
        h = h + self.temb_proj(F.silu(temb))[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        return (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x) + h


class AttnBlock(nn.Module):
    def __init__(self, c, groups):
        super().__init__()
        self.norm = nn.GroupNorm(groups, c, eps=1e-6)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(c, c, 1) for _ in range(4))

    def forward(self, x):
        n, c, height, width = x.shape
        h = self.norm(x)
        q, k, v = (f(h).reshape(n, c, -1) for f in (self.q, self.k, self.v))
        weight = torch.softmax(q.transpose(1, 2) @ k * c**-0.5, dim=2)  # query, key
        return x + self.proj_out((v @ weight.transpose(1, 2)).reshape(n, c, height, width))


class Downsample(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, stride=2)

    def forward(self, x):
        return self.conv(F.pad(x, (0, 1, 0, 1)))  # zeros on the right and at the bottom only


class Upsample(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class UNet(nn.Module):
    def __init__(self, resolution, ch, mult, res_blocks, attention, groups, channels=3):
        super().__init__()
        self.ch, self.levels, self.res_blocks = ch, len(mult), res_blocks
        c_temb = 4 * ch
        self.temb = nn.Module()
        self.temb.dense = nn.ModuleList([nn.Linear(ch, c_temb), nn.Linear(c_temb, c_temb)])
        self.conv_in = nn.Conv2d(channels, ch, 3, padding=1)

        skips, c, size = [ch], ch, resolution
        self.down = nn.ModuleList()
        for i, m in enumerate(mult):
            level = nn.Module()
            level.block, level.attn = nn.ModuleList(), nn.ModuleList()
            for _ in range(res_blocks):
                level.block.append(ResBlock(c, ch * m, c_temb, groups))
                c = ch * m
                if size in attention:
                    level.attn.append(AttnBlock(c, groups))
                skips.append(c)
            if i + 1 < self.levels:
                level.downsample = Downsample(c)
                skips.append(c)
                size //= 2
            self.down.append(level)

        self.mid = nn.Module()
        self.mid.block_1 = ResBlock(c, c, c_temb, groups)
        self.mid.attn_1 = AttnBlock(c, groups)
        self.mid.block_2 = ResBlock(c, c, c_temb, groups)

        up = []  # made in execution order, stored by level
        for i in reversed(range(self.levels)):
            level = nn.Module()
            level.block, level.attn = nn.ModuleList(), nn.ModuleList()
            for _ in range(res_blocks + 1):
                level.block.append(ResBlock(c + skips.pop(), ch * mult[i], c_temb, groups))
                c = ch * mult[i]
                if size in attention:
                    level.attn.append(AttnBlock(c, groups))
            if i > 0:
                level.upsample = Upsample(c)
                size *= 2
            up.insert(0, level)
        self.up = nn.ModuleList(up)
        self.norm_out = nn.GroupNorm(groups, c, eps=1e-6)
        self.conv_out = nn.Conv2d(c, channels, 3, padding=1)

    def embedding(self, t):
        """Sines first, then cosines; frequencies from 1 down to 1/10000, both ends included."""
        half = self.ch // 2
        step = math.log(10000) / (half - 1)
        frequency = torch.exp(-step * torch.arange(half, dtype=self.conv_in.weight.dtype, device=t.device))
        angle = t.to(frequency.dtype)[:, None] * frequency[None, :]
        return torch.cat([torch.sin(angle), torch.cos(angle)], dim=1)

    def forward(self, x, t):
        temb = self.temb.dense[1](F.silu(self.temb.dense[0](self.embedding(t))))
        skips = [self.conv_in(x)]
        for level in self.down:
            for b, block in enumerate(level.block):
                h = block(skips[-1], temb)
                skips.append(level.attn[b](h) if len(level.attn) else h)
            if hasattr(level, "downsample"):
                skips.append(level.downsample(skips[-1]))
        h = self.mid.block_2(self.mid.attn_1(self.mid.block_1(skips[-1], temb)), temb)
        for level in reversed(self.up):
            for b, block in enumerate(level.block):
                h = block(torch.cat([h, skips.pop()], dim=1), temb)
                h = level.attn[b](h) if len(level.attn) else h
            if hasattr(level, "upsample"):
                h = level.upsample(h)
        return self.conv_out(F.silu(self.norm_out(h)))


def randomize(model, seed):
    """Random weights under which every layer matters: outputs of order 1, affine norms away from 1 and 0."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=draw)
            if name.endswith("bias"):
                p.copy_(0.1 * noise)
            elif p.dim() == 1:
                p.copy_(1 + 0.2 * noise)
            else:
                p.copy_(noise / math.sqrt(p[0].numel()))
    return model.eval()


def add_arguments(parser):
    whole = lambda text: tuple(int(v) for v in text.split(",") if v)
    parser.add_argument("--resolution", type=int, default=CIFAR10["resolution"])
    parser.add_argument("--ch", type=int, default=CIFAR10["ch"])
    parser.add_argument("--mult", type=whole, default=CIFAR10["mult"], help="as 1,2,2,2")
    parser.add_argument("--res-blocks", type=int, default=CIFAR10["res_blocks"])
    parser.add_argument("--attention", type=whole, default=CIFAR10["attention"], help="resolutions, as 16,8")
    parser.add_argument("--groups", type=int, default=CIFAR10["groups"], help="of the group norms")


def configuration(args):
    return {key: getattr(args, key) for key in CIFAR10}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="count the parameters of a configuration (default: CIFAR-10)")
    add_arguments(parser)
    config = configuration(parser.parse_args())
    model = UNet(**config)
    entries = model.state_dict()
    count = sum(v.numel() for v in entries.values())
    print(f"{count} parameters in {len(entries)} entries")
    if config == CIFAR10 and (count, len(entries)) != (35746307, 328):
        raise SystemExit("the published CIFAR-10 network has 35746307 parameters in 328 entries")
