"""The first-stage decoders of latent diffusion in plain PyTorch: the twin of golden values and benches.

State-dict names are those of the published checkpoints behind "first_stage_model.".
"""
import torch
from torch import nn
from torch.nn import functional as F

from unet import AttnBlock, Upsample

VQ_F4 = dict(resolution=256, ch=128, mult=(1, 2, 4), res_blocks=2, z=3, embed=3, codes=8192, groups=32)
KL_F8 = dict(resolution=256, ch=128, mult=(1, 2, 4, 4), res_blocks=2, z=4, embed=4, codes=0, groups=32)


class ResBlock(nn.Module):
    def __init__(self, c_in, c_out, groups):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, c_in, eps=1e-6)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, c_out, eps=1e-6)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        if c_in != c_out:
            self.nin_shortcut = nn.Conv2d(c_in, c_out, 1)

    def forward(self, x):
        h = self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))
        return (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x) + h


class Decoder(nn.Module):
    def __init__(self, ch, mult, res_blocks, z, groups):
        super().__init__()
        c = ch * mult[-1]
        self.conv_in = nn.Conv2d(z, c, 3, padding=1)
        self.mid = nn.Module()
        self.mid.block_1, self.mid.attn_1, self.mid.block_2 = ResBlock(c, c, groups), AttnBlock(c, groups), ResBlock(
            c, c, groups)
        up = []  # made in execution order, stored by level
        for i in reversed(range(len(mult))):
            level = nn.Module()
            level.block = nn.ModuleList()
            for _ in range(res_blocks + 1):
                level.block.append(ResBlock(c, ch * mult[i], groups))
                c = ch * mult[i]
            if i > 0:
                level.upsample = Upsample(c)
            up.insert(0, level)
        self.up = nn.ModuleList(up)
        self.norm_out = nn.GroupNorm(groups, c, eps=1e-6)
        self.conv_out = nn.Conv2d(c, 3, 3, padding=1)

    def forward(self, h):
        h = self.mid.block_2(self.mid.attn_1(self.mid.block_1(self.conv_in(h))))
        for level in reversed(self.up):
            for block in level.block:
                h = block(h)
            if hasattr(level, "upsample"):
                h = level.upsample(h)
        return self.conv_out(F.silu(self.norm_out(h)))


class FirstStage(nn.Module):
    def __init__(self, resolution, ch, mult, res_blocks, z, embed, codes, groups):
        super().__init__()
        self.latent = (embed, resolution >> (len(mult) - 1), resolution >> (len(mult) - 1))
        self.decoder = Decoder(ch, mult, res_blocks, z, groups)
        if codes:
            self.quantize = nn.Module()
            self.quantize.embedding = nn.Embedding(codes, embed)
        self.post_quant_conv = nn.Conv2d(embed, z, 1)

    def choose(self, z):
        """Number of the nearest code at every pixel."""
        x, e = z.permute(0, 2, 3, 1).reshape(-1, z.shape[1]), self.quantize.embedding.weight
        distance = x.pow(2).sum(1, keepdim=True) + e.pow(2).sum(1) - 2 * x @ e.T
        return torch.from_numpy(distance.detach().numpy().argmin(1)).view(z.shape[0], *z.shape[2:])

    def codes(self, z):
        return self.quantize.embedding(self.choose(z)).permute(0, 3, 1, 2) if hasattr(self, "quantize") else z

    def forward(self, z):
        return self.decoder(self.post_quant_conv(self.codes(z)))


if __name__ == "__main__":
    for name, config, want in ("VQ-f4", VQ_F4, 32960783), ("KL-f8", KL_F8, 49490199):
        entries = {k: v for k, v in FirstStage(**config).state_dict().items() if not k.startswith("quantize.")}
        count = sum(v.numel() for v in entries.values())
        print(f"{name}: {count} parameters in {len(entries)} entries without the codes")
        if count != want:
            raise SystemExit(f"{name} has {want} parameters")
