"""A quantized DDPM residual block as people of this field write it in PyTorch: separate eager operations.

x -> GN - SiLU - [fake quantization] - conv 3x3 -> + temb -> GN - SiLU - [fake quantization] - conv 3x3 -> + x

4-bit AdaRound weights per output channel, 8-bit activations per tensor with a straight-through round.
"""
import torch
from torch import nn
from torch.nn import functional as F

GAMMA, ZETA = -0.1, 1.1
SIZES = ((32, 32), (64, 16), (128, 32))  # channels, resolution


def round_ste(x):
    return (x.round() - x).detach() + x


class ActQuant(nn.Module):
    """x^ = (clamp(round(x / delta) + zero, 0, 255) - zero) * delta; the range is that of the first input."""

    def __init__(self, learned=False, bits=8):
        super().__init__()
        self.top = 2**bits - 1
        self.register_parameter("delta", None)
        self.register_buffer("zero", None)
        self.learned = learned  # the gradient of the scale comes from the expression itself, as in LSQ

    def forward(self, x):
        if self.delta is None:
            low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
            delta = torch.tensor((high - low) / self.top, dtype=x.dtype, device=x.device)
            self.delta = nn.Parameter(delta, self.learned)
            self.zero = torch.round(-low / self.delta.detach())
        x_int = round_ste(x / self.delta) + self.zero
        x_quant = torch.clamp(x_int, 0, self.top)
        return (x_quant - self.zero) * self.delta


class AdaRoundConv(nn.Module):
    """W^ = delta * (clamp(floor(W / delta) + h(alpha) + zero, 0, 15) - zero) with soft h."""

    def __init__(self, c_in, c_out, bits=4):
        super().__init__()
        self.top = 2**bits - 1
        conv = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.register_buffer("weight", conv.weight.detach())
        self.register_buffer("bias", conv.bias.detach())
        # A range shrunk by 15 % as a search finds it, so that some weights are clipped.
        low = 0.85 * self.weight.amin(dim=(1, 2, 3), keepdim=True)
        high = 0.85 * self.weight.amax(dim=(1, 2, 3), keepdim=True)
        self.register_buffer("delta", (high - low) / self.top)
        self.register_buffer("zero", torch.round(-low / self.delta))
        rest = self.weight / self.delta - torch.floor(self.weight / self.delta)
        self.alpha = nn.Parameter(-torch.log((ZETA - GAMMA) / (rest - GAMMA) - 1))

    def soft_targets(self, alpha):
        return torch.clamp(torch.sigmoid(alpha) * (ZETA - GAMMA) + GAMMA, 0, 1)

    def forward(self, x, alpha=None):
        alpha = self.alpha if alpha is None else alpha
        x_int = torch.floor(self.weight / self.delta) + self.soft_targets(alpha)
        x_quant = torch.clamp(x_int + self.zero, 0, self.top)
        return F.conv2d(x, (x_quant - self.zero) * self.delta, self.bias, padding=1)


class Block(nn.Module):
    def __init__(self, c, act="weights"):
        super().__init__()
        groups = min(32, c // 4)
        self.norm1, self.norm2 = (nn.GroupNorm(groups, c, eps=1e-6).requires_grad_(False) for _ in range(2))
        self.temb_proj = nn.Linear(4 * c, c).requires_grad_(False)
        self.conv1, self.conv2 = AdaRoundConv(c, c), AdaRoundConv(c, c)
        quantizer = {"weights": nn.Identity, "act8": ActQuant, "act8-learned": lambda: ActQuant(learned=True)}[act]
        self.act1, self.act2 = quantizer(), quantizer()

    def forward(self, x, temb, alphas=(None, None)):
        h = self.conv1(self.act1(F.silu(self.norm1(x))), alphas[0])
        h = h + self.temb_proj(F.silu(temb))[:, :, None, None]
        h = self.conv2(self.act2(F.silu(self.norm2(h))), alphas[1])
        return x + h


def sample_loss(output, target):
    """(N): squared error, summed over channels, mean over space."""
    return (output - target).pow(2).sum(1).mean(dim=(1, 2))
