"""Golden values of Adam: torch.optim.Adam in float64, 12 steps with the given gradients."""
import torch

from golden import save

SEED = 15


def main():
    torch.manual_seed(SEED)
    count, steps = 37, 12
    p = torch.randn(count).float().double()
    g = (torch.randn(steps, count) * torch.logspace(-6, 1, count)).float().double()
    g[:, 3] = 0
    leaf = p.clone().requires_grad_()
    adam = torch.optim.Adam([leaf], lr=1e-3, betas=(0.9, 0.999), eps=1e-8)
    path = []
    for k in range(steps):
        leaf.grad = g[k].clone()
        adam.step()
        path.append(leaf.detach().clone())
    state = adam.state[leaf]
    save("optim", SEED, {
        "adam/p": p.float(), "adam/g": g.float(), "adam/path": torch.stack(path), "adam/m": state["exp_avg"],
        "adam/v": state["exp_avg_sq"]})


main()
