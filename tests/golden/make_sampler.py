"""Golden values of sampler updates, float64, in the form of the papers: DDIM through x0, DDPM with x0 clipped."""
import math

import torch

from golden import save

SEED = 16


def main():
    torch.manual_seed(SEED)
    beta = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    a_bar = torch.cumprod(1 - beta, 0)
    count = 60
    x, eps, z = (torch.randn(count).float().double() for _ in range(3))
    out = dict(x=x.float(), eps=eps.float(), z=z.float())
    coefs = []
    for name, t, t_next, eta, clip in (("ddim", 800, 783, 0.0, False), ("ddim_eta", 500, 400, 0.7, False),
                                       ("ddpm_clip", 600, 599, 1.0, True), ("last", 0, -1, 0.0, False)):
        a = float(a_bar[t])
        an = float(a_bar[t_next]) if t_next >= 0 else 1.0
        sigma = eta * math.sqrt((1 - an) / (1 - a) * (1 - a / an))
        x0 = (x - math.sqrt(1 - a) * eps) / math.sqrt(a)
        if clip:  # posterior mean with the clipped x0: "fixed small"
            x0 = x0.clamp(-1, 1)
            alpha = a / an
            mean = (math.sqrt(an) * (1 - alpha) * x0 + math.sqrt(alpha) * (1 - an) * x) / (1 - a)
            out[f"{name}_out"] = mean + sigma * z
        else:
            out[f"{name}_out"] = math.sqrt(an) * x0 + math.sqrt(1 - an - sigma ** 2) * eps + sigma * z
        coefs.append([a, an, eta, float(clip)])
    out["a_an_eta_clip"] = torch.tensor(coefs, dtype=torch.float64)
    save("sampler", SEED, {f"all/{k}": v for k, v in out.items()})


main()
