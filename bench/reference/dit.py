"""DiT in plain PyTorch: the twin that golden values and benches compare dmq with.

State-dict names are those of the published checkpoints (blocks.0.attn.qkv.weight, pos_embed, ...).
"""
import math

import torch
from torch import nn
from torch.nn import functional as F

XL2_256 = dict(resolution=32, patch=2, c_in=4, c_out=8, hidden=1152, depth=28, heads=16, classes=1000)
FREQUENCIES = 256


def norm(x):
    return F.layer_norm(x, x.shape[-1:], eps=1e-6)


def modulate(x, shift, scale):
    return norm(x) * (1 + scale[:, None]) + shift[:, None]


def gelu_tanh(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


class Block(nn.Module):
    def __init__(self, hidden, heads):
        super().__init__()
        self.heads = heads
        self.attn, self.mlp = nn.Module(), nn.Module()
        self.attn.qkv, self.attn.proj = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
        self.mlp.fc1, self.mlp.fc2 = nn.Linear(hidden, 4 * hidden), nn.Linear(4 * hidden, hidden)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(hidden, 6 * hidden))

    def attention(self, x):
        n, tokens, d = x.shape
        q, k, v = self.attn.qkv(x).view(n, tokens, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        weight = torch.softmax(q @ k.transpose(2, 3) * (d // self.heads)**-0.5, dim=3)
        return self.attn.proj((weight @ v).transpose(1, 2).reshape(n, tokens, d))

    def forward(self, x, c):
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.adaLN_modulation(c).chunk(6, dim=1)
        x = x + gate_a[:, None] * self.attention(modulate(x, shift_a, scale_a))
        return x + gate_m[:, None] * self.mlp.fc2(gelu_tanh(self.mlp.fc1(modulate(x, shift_m, scale_m))))


class DiT(nn.Module):
    def __init__(self, resolution, patch, c_in, c_out, hidden, depth, heads, classes):
        super().__init__()
        self.patch, self.c_out, side = patch, c_out, resolution // patch
        self.pos_embed = nn.Parameter(self.sines(hidden, side))
        self.x_embedder, self.t_embedder, self.y_embedder = nn.Module(), nn.Module(), nn.Module()
        self.x_embedder.proj = nn.Conv2d(c_in, hidden, patch, stride=patch)
        self.t_embedder.mlp = nn.Sequential(nn.Linear(FREQUENCIES, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.y_embedder.embedding_table = nn.Embedding(classes + 1, hidden)
        self.blocks = nn.ModuleList([Block(hidden, heads) for _ in range(depth)])
        self.final_layer = nn.Module()
        self.final_layer.linear = nn.Linear(hidden, patch * patch * c_out)
        self.final_layer.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(hidden, 2 * hidden))

    @staticmethod
    def sines(hidden, side):
        """The fixed position of each token: a half from its column, then a half from its row."""
        rate = 10000.0**(-torch.arange(hidden // 4, dtype=torch.float64) / (hidden // 4))
        angle = torch.arange(side, dtype=torch.float64)[:, None] * rate
        place = torch.cat([angle.sin(), angle.cos()], dim=1)
        both = torch.cat([place[None, :].expand(side, -1, -1), place[:, None].expand(-1, side, -1)], dim=2)
        return both.reshape(1, side * side, hidden).float()

    def embedding(self, t):
        """Cosines first, then sines; the frequency 1/10000 is not reached."""
        half = FREQUENCIES // 2
        dtype = self.pos_embed.dtype
        place = torch.arange(half, dtype=dtype, device=t.device)
        angle = t.to(dtype)[:, None] * torch.exp(-math.log(10000) / half * place)
        return torch.cat([torch.cos(angle), torch.sin(angle)], dim=1)

    def forward(self, x, t, y):
        n, p = x.shape[0], self.patch
        side = x.shape[2] // p
        x = self.x_embedder.proj(x).flatten(2).transpose(1, 2) + self.pos_embed
        c = self.t_embedder.mlp(self.embedding(t)) + self.y_embedder.embedding_table(y)
        for block in self.blocks:
            x = block(x, c)
        shift, scale = self.final_layer.adaLN_modulation(c).chunk(2, dim=1)
        x = self.final_layer.linear(modulate(x, shift, scale)).view(n, side, side, p, p, self.c_out)
        return x.permute(0, 5, 1, 3, 2, 4).reshape(n, self.c_out, side * p, side * p)


if __name__ == "__main__":
    entries = DiT(**XL2_256).state_dict()
    count = sum(v.numel() for v in entries.values())
    print(f"{count} numbers in {len(entries)} entries")
    if (count, len(entries)) != (675129632, 292):
        raise SystemExit("the published DiT-XL/2 has 675129632 numbers in 292 entries")
