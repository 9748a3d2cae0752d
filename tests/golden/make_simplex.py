"""Golden values of the sample weights: softmax(s / tau) of a batch and its gradient, float64."""
import torch

from golden import save

SEED = 17


def main():
    torch.manual_seed(SEED)
    s, d = torch.randn(24).float().double(), torch.randn(24).float().double()
    out = dict(s=s.float(), d=d.float())
    for tau in (1.0, 0.1):
        leaf = s.clone().requires_grad_()
        w = torch.softmax(leaf / tau, 0)
        ds, = torch.autograd.grad((w * d).sum(), leaf)
        tag = str(tau).replace(".", "_")
        out.update({f"w_{tag}": w, f"ds_{tag}": ds})
    save("simplex", SEED, {f"all/{k}": v for k, v in out.items()})


main()
