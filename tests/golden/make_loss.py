"""Golden values of the reconstruction loss of each sample, float64: the papers' reduction on (n, C, H, W)."""
import torch

from golden import save

SEED = 14


def main():
    torch.manual_seed(SEED)
    n, c, hw = 4, 3, 20
    f, y, tan = (torch.randn(n, c, hw).float().double() for _ in range(3))
    y[:, :, :2] = f[:, :, :2]  # no error: no slope either
    dloss = torch.randn(n).float().double()
    out = dict(f=f.float(), y=y.float(), f_tan=tan.float(), dloss=dloss.float(), coef=torch.tensor([1.0 / hw]))
    for power in (2.0, 2.4):
        leaf = f.clone().requires_grad_()
        loss = (leaf - y).abs().pow(power).sum(1).mean(1)
        df, = torch.autograd.grad((loss * dloss).sum(), leaf, retain_graph=True)
        one, = torch.autograd.grad(loss.sum(), leaf)
        tag = str(power).replace(".", "_")
        out.update({f"loss_{tag}": loss, f"df_{tag}": df, f"tan_{tag}": (one * tan).sum((1, 2))})
    save("loss", SEED, {f"all/{k}": v for k, v in out.items()})


main()
