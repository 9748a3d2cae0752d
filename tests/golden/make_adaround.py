"""Golden values of AdaRound (arXiv:2004.10568; BRECQ), float64 on inputs that float32 holds.

Derivatives by autograd: D through clamp(sigmoid), the curve by differentiating twice.
"""
import torch

from golden import save

SEED = 12
GAMMA, ZETA = -0.1, 1.1


def h_of(alpha):
    return torch.clamp(torch.sigmoid(alpha) * (ZETA - GAMMA) + GAMMA, 0, 1)


def soft(w, alpha, scale, zero, lo, hi):
    return (torch.clamp(torch.floor(w / scale) + h_of(alpha) + zero, lo, hi) - zero) * scale


def main():
    torch.manual_seed(SEED)
    k, per, lo, hi = 5, 27, 0, 15
    w = torch.randn(k, per) * 0.4
    scale = torch.rand(k, 1) * 0.05 + 0.06
    scale[0] = 0.0625
    w[0, :9] = torch.arange(-4, 5) * 0.0625  # fraction exactly 0
    zero = torch.tensor([[7.0], [8.0], [6.0], [-1.0], [16.0]])  # the last two partly outside of the codes
    alpha0 = -torch.log((ZETA - GAMMA) / ((w / scale - torch.floor(w / scale)).double() - GAMMA) - 1)
    w, scale, zero = w.double(), scale.double(), zero.double()
    alpha = (torch.randn(k, per) * 1.5).double()
    alpha[1, :4] = torch.tensor([-9.0, 9.0, -30.0, 100.0])  # h clipped
    alpha = alpha.float().double()
    dw, tan = torch.randn(k, per).double(), torch.randn(k, per).double()

    leaf = alpha.clone().requires_grad_()
    w_soft = soft(w, leaf, scale, zero, lo, hi)
    dalpha, = torch.autograd.grad((w_soft * dw).sum(), leaf, create_graph=True)
    curve, = torch.autograd.grad((dalpha * tan).sum(), leaf)
    w_tan = dalpha.detach() / dw * tan
    code = torch.clamp(torch.floor(w / scale) + (alpha >= 0).double() + zero, lo, hi)
    out = dict(w=w.float(), scale=scale.float(), zero=zero.float(), alpha=alpha.float(), dw=dw.float(), tan=tan.float(),
               alpha0=alpha0, w_soft=w_soft, w_hard=(code - zero) * scale, code=code.int(), dalpha=dalpha, w_tan=w_tan,
               curve=curve)
    for beta in (20.0, 2.0, 7.3):
        leaf = alpha.clone().requires_grad_()
        reg = 0.01 * (1 - (2 * h_of(leaf) - 1).abs().pow(beta)).sum()
        grad, = torch.autograd.grad(reg, leaf)
        tag = str(beta).replace(".", "_")
        out.update({f"reg_{tag}": reg.reshape(1), f"dreg_{tag}": grad})
    save("adaround", SEED, {f"all/{k}": v for k, v in out.items()})


main()
