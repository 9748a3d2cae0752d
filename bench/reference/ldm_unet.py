"""The UNet of latent diffusion in plain PyTorch: the twin that golden values compare dmq with.

State-dict names are those of the published checkpoints without "model.diffusion_model." (input_blocks.1.0.in_layers.0,
middle_block.1.qkv, ...); the table of classes is context.weight, published as cond_stage_model.embedding.weight.
NCHW, eager, one method a formula of the paper's network; dropout is left out.
"""
import argparse
import math

import torch
from torch import nn
from torch.nn import functional as F

BEDS = dict(resolution=64, channels=3, mc=224, mult=(1, 2, 3, 4), res_blocks=2, attention=(8, 4, 2), head_channels=32)
CIN = dict(resolution=64, channels=3, mc=192, mult=(1, 2, 3, 5), res_blocks=2, attention=(8, 4, 2), heads=1,
           context=512, classes=1000)
CHURCH = dict(resolution=32, channels=4, mc=192, mult=(1, 2, 2, 4, 4), res_blocks=2, attention=(1, 2, 4, 8), heads=8,
              scale_shift=True, updown=True)


class Silu(nn.Module):
    def forward(self, x):
        return F.silu(x)


class Resample(nn.Module):
    """Nearest x2 or 2x2 averages, in front of a 3x3 convolution where one is asked for (.conv, .op)."""

    def __init__(self, c, up, convolves):
        super().__init__()
        self.up = up
        if convolves:
            setattr(self, "conv" if up else "op", nn.Conv2d(c, c, 3, stride=1 if up else 2, padding=1))

    def forward(self, x):
        if self.up:
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            return self.conv(x) if hasattr(self, "conv") else x
        return self.op(x) if hasattr(self, "op") else F.avg_pool2d(x, 2)


class ResBlock(nn.Module):
    def __init__(self, c_in, c_out, c_emb, groups, scale_shift=False, resample=None):
        super().__init__()
        self.scale_shift, self.resample = scale_shift, resample
        self.in_layers = nn.Sequential(nn.GroupNorm(groups, c_in), Silu(), nn.Conv2d(c_in, c_out, 3, padding=1))
        self.emb_layers = nn.Sequential(Silu(), nn.Linear(c_emb, c_out * (2 if scale_shift else 1)))
        self.out_layers = nn.Sequential(nn.GroupNorm(groups, c_out), Silu(), nn.Identity(),
                                        nn.Conv2d(c_out, c_out, 3, padding=1))
        self.skip_connection = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else nn.Identity()

    def forward(self, x, emb, context):
        norm, act, conv = self.in_layers
        h = act(norm(x))
        if self.resample:
            h, x = self.resample(h), self.resample(x)
        h = conv(h)
        e = self.emb_layers(emb)[:, :, None, None]
        norm, act, _, conv = self.out_layers
        if self.scale_shift:
            scale, shift = e.chunk(2, 1)
            h = norm(h) * (1 + scale) + shift
        else:
            h = norm(h + e)
        return self.skip_connection(x) + conv(act(h))


class AttentionBlock(nn.Module):
    def __init__(self, c, heads, groups):
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(groups, c)
        self.qkv, self.proj_out = nn.Conv1d(c, 3 * c, 1), nn.Conv1d(c, c, 1)

    def forward(self, x, emb, context):
        n, c, tokens = x.shape[0], x.shape[1], x[0, 0].numel()
        h = self.qkv(self.norm(x).flatten(2)).reshape(n * self.heads, 3 * c // self.heads, tokens)
        q, k, v = h.chunk(3, 1)
        scale = (c // self.heads) ** -0.25  # on both, before the product
        weight = torch.softmax((q * scale).mT @ (k * scale), -1)
        h = (v @ weight.mT).reshape(n, c, tokens)
        return x + self.proj_out(h).reshape(x.shape)


class CrossAttention(nn.Module):
    def __init__(self, c, c_context, heads):
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(d, c, bias=False) for d in (c, c_context, c_context))
        self.to_out = nn.Sequential(nn.Linear(c, c))

    def forward(self, z, context):
        q, k, v = (f(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
                   for f, x in ((self.to_q, z), (self.to_k, context), (self.to_v, context)))
        weight = torch.softmax(q @ k.mT * q.shape[-1] ** -0.5, -1)
        return self.to_out((weight @ v).transpose(1, 2).flatten(2))


class GatedGelu(nn.Module):
    def __init__(self, c, width):
        super().__init__()
        self.proj = nn.Linear(c, 2 * width)

    def forward(self, z):
        a, gate = self.proj(z).chunk(2, -1)
        return a * F.gelu(gate)


class TransformerBlock(nn.Module):
    def __init__(self, c, c_context, heads):
        super().__init__()
        self.attn1, self.attn2 = CrossAttention(c, c, heads), CrossAttention(c, c_context, heads)
        self.ff = nn.Module()
        self.ff.net = nn.Sequential(GatedGelu(c, 4 * c), nn.Identity(), nn.Linear(4 * c, c))
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(c) for _ in range(3))

    def forward(self, z, context):
        h = self.norm1(z)
        z = z + self.attn1(h, h)
        z = z + self.attn2(self.norm2(z), context)
        return z + self.ff.net(self.norm3(z))


class SpatialTransformer(nn.Module):
    def __init__(self, c, c_context, heads, groups):
        super().__init__()
        self.norm = nn.GroupNorm(groups, c, eps=1e-6)
        self.proj_in = nn.Conv2d(c, c, 1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(c, c_context, heads)])
        self.proj_out = nn.Conv2d(c, c, 1)

    def forward(self, x, emb, context):
        z = self.proj_in(self.norm(x))
        tokens = self.transformer_blocks[0](z.flatten(2).mT, context)
        return x + self.proj_out(tokens.mT.reshape(z.shape))


class LdmUNet(nn.Module):
    def __init__(self, resolution, channels, mc, mult, res_blocks, attention, heads=0, head_channels=0, context=0,
                 classes=0, scale_shift=False, updown=False, groups=32):
        super().__init__()
        self.mc, c_emb = mc, 4 * mc

        def block(c_in, c_out, resample=None):
            return ResBlock(c_in, c_out, c_emb, groups, scale_shift, resample)

        def attends(c):
            n = heads or c // head_channels
            return SpatialTransformer(c, context, n, groups) if context else AttentionBlock(c, n, groups)

        def resamples(c, up):
            return block(c, c, Resample(c, up, False)) if updown else Resample(c, up, True)

        self.time_embed = nn.Sequential(nn.Linear(mc, c_emb), Silu(), nn.Linear(c_emb, c_emb))
        self.input_blocks = nn.ModuleList([nn.ModuleList([nn.Conv2d(channels, mc, 3, padding=1)])])
        skips, c, factor = [mc], mc, 1
        for level, m in enumerate(mult):
            for _ in range(res_blocks):
                parts = [block(c, mc * m)]
                c = mc * m
                if factor in attention:
                    parts.append(attends(c))
                self.input_blocks.append(nn.ModuleList(parts))
                skips.append(c)
            if level + 1 < len(mult):
                self.input_blocks.append(nn.ModuleList([resamples(c, False)]))
                skips.append(c)
                factor *= 2
        self.middle_block = nn.ModuleList([block(c, c), attends(c), block(c, c)])
        self.output_blocks = nn.ModuleList()
        for level, m in reversed(list(enumerate(mult))):
            for i in range(res_blocks + 1):
                parts = [block(c + skips.pop(), mc * m)]
                c = mc * m
                if factor in attention:
                    parts.append(attends(c))
                if level > 0 and i == res_blocks:
                    parts.append(resamples(c, True))
                    factor //= 2
                self.output_blocks.append(nn.ModuleList(parts))
        self.out = nn.Sequential(nn.GroupNorm(groups, c), Silu(), nn.Conv2d(c, channels, 3, padding=1))
        self.context = nn.Embedding(classes + 1, context) if classes else None

    def embedding(self, t):
        """Cosines first, then sines; frequencies from 1 down, 1/10000 left out."""
        half = self.mc // 2
        place = torch.arange(half, dtype=self.out[2].weight.dtype, device=t.device)
        frequency = torch.exp(-math.log(10000) * place / half)
        angle = t.to(frequency.dtype)[:, None] * frequency[None, :]
        return torch.cat([angle.cos(), angle.sin()], 1)

    def forward(self, x, t, label=None):
        emb = self.time_embed(self.embedding(t))
        context = None if label is None else self.context(label)[:, None]

        def run(parts, h):
            for part in parts:
                h = part(h) if isinstance(part, (nn.Conv2d, Resample)) else part(h, emb, context)
            return h

        skips = []
        for parts in self.input_blocks:
            x = run(parts, x)
            skips.append(x)
        x = run(self.middle_block, x)
        for parts in self.output_blocks:
            x = run(parts, torch.cat([x, skips.pop()], 1))
        return self.out(x)


def names(model):
    """State dict as published: the table of classes by its own name."""
    return {"cond_stage_model.embedding.weight" if k == "context.weight" else k: v
            for k, v in model.state_dict().items()}


if __name__ == "__main__":
    argparse.ArgumentParser(description="count the parameters of the published configurations").parse_args()
    for name, config, want in (("beds", BEDS, (274056163, 368)), ("cin", CIN, (400920579, 688)),
                               ("church", CHURCH, (294966916, None))):
        entries = {k: v for k, v in names(LdmUNet(**config)).items() if not k.startswith("cond_stage_model")}
        found = sum(v.numel() for v in entries.values()), len(entries)
        print(name, *found)
        if found[0] != want[0] or want[1] not in (None, found[1]):
            raise SystemExit(f"the published network has {want}")
