"""One meta-iteration of sample weights by unrolled differentiation, as bilevel problems are written with autograd.

    w      = softmax(s)                                             32 training samples
    theta* = theta - eta * grad(sum_i w_i l_i, theta)               kept in the graph
    L      = mean_t L_t(theta*) + L_GM                              5 groups of 8 validation samples
    r1:  L_GM = -2/(K(K-1)) sum_{t<k} <G_t, G_k>,  G_t = grad(L_t, w)         differentiated three times
    r3:  L_GM = -2/(K(K-1)) sum_{t<k} <g_t, g_k>,  g_t = grad(L_t, theta*)
    s     <- Adam(grad(L, s))

--check compares d L / d s with the closed forms (explicit J, Hessian-vector products) in float64 on a small block.
"""
import torch

import block
import timing

N, K, M = 32, 5, 8  # training samples, groups, validation samples of a group
ETA = 1e-3


def objective(model, form, s, train, groups, eta, weight):
    theta = (model.conv1.alpha, model.conv2.alpha)
    w = torch.softmax(s, 0)
    inner = (w * block.sample_loss(model(*train[:2]), train[2])).sum()
    gradient = torch.autograd.grad(inner, theta, create_graph=True)
    star = tuple(a - eta * g for a, g in zip(theta, gradient))
    losses = [block.sample_loss(model(x, t, star), y).mean() for x, t, y in groups]
    to = (w,) if form == "r1" else star
    each = []
    for loss in losses:
        each.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, to, create_graph=True)]))
    pairs = 0.5 * (sum(each).pow(2).sum() - sum(g.pow(2).sum() for g in each))
    k = len(groups)
    return sum(losses) / k - weight * 2 / (k * (k - 1)) * pairs


def closed_form(model, form, s, train, groups, eta, weight):
    """d L / d s by the formulas that need no graph of a graph."""
    theta = (model.conv1.alpha, model.conv2.alpha)
    shapes = [a.shape for a in theta]
    flat = lambda parts: torch.cat([p.flatten() for p in parts])
    split = lambda v: [p.view(sh) for p, sh in zip(v.split([sh.numel() for sh in shapes]), shapes)]
    each = block.sample_loss(model(*train[:2]), train[2])
    j = torch.stack([flat(torch.autograd.grad(l, theta, retain_graph=True)) for l in each], dim=1).detach()
    w = torch.softmax(s.detach(), 0)
    star = (flat(theta).detach() - eta * j @ w).requires_grad_(True)
    g, hvp = [], []
    for x, t, y in groups:
        loss = block.sample_loss(model(x, t, split(star)), y).mean()
        grad = torch.autograd.grad(loss, star, create_graph=True)[0]
        g.append(grad.detach())
        hvp.append(lambda p, grad=grad: torch.autograd.grad(grad, star, p, retain_graph=True)[0])
    k, total = len(g), sum(g)
    c = 2 / (k * (k - 1))
    if form == "r1":
        u = [-eta * j.t() @ (total - v) for v in g]
        r = eta * total / k + weight * c * eta**2 * sum(h(j @ v) for h, v in zip(hvp, u))
    else:
        r = eta * total / k - weight * c * eta * sum(h(total - v) for h, v in zip(hvp, g))
    d = -j.t() @ r
    return w * (d - (w * d).sum())


def make_data(args, model, c, size):
    def batch(n):
        x = timing.layout(args, torch.randn(n, c, size, size))
        t = torch.randn(n, 4 * c)
        with torch.no_grad():
            y = model(x, t)
        return x, t, timing.layout(args, y + 0.1 * torch.randn(n, c, size, size))

    return batch(N), [batch(M) for _ in range(K)]


def make_step(args, c, size, form):
    model = block.Block(c)
    train, groups = make_data(args, model, c, size)
    s = torch.full((N,), 1 / 32, requires_grad=True)
    optimizer = torch.optim.Adam([s], lr=0.05)

    def step():
        optimizer.zero_grad()
        s.grad = torch.autograd.grad(objective(model, form, s, train, groups, ETA, 1.0), s)[0]
        optimizer.step()

    return step


def check(args):
    torch.set_default_dtype(torch.float64)
    model = block.Block(8)
    train, groups = make_data(args, model, 8, 6)
    s = torch.randn(N, requires_grad=True)
    for form in ("r1", "r3"):
        gradient = lambda weight: torch.autograd.grad(objective(model, form, s, train, groups, 0.1, weight), s)[0]
        plain = gradient(0.0)
        weight = float(1e6 * plain.norm() / (gradient(1e6) - plain).norm())  # both terms count the same
        got = gradient(weight)
        want = closed_form(model, form, s, train, groups, 0.1, weight)
        error = float((got - want).norm() / want.norm())
        share = float((got - plain).norm() / plain.norm())
        print(f"{form}: unrolled against closed form {error:.1e}; matching term {share:.2g} of the rest", flush=True)
        if not error < 1e-9:
            raise SystemExit("they disagree")


def main():
    parser = timing.parser(__doc__)
    parser.add_argument("--only", metavar="TEXT", default="", help="only measurements whose name holds TEXT")
    parser.add_argument("--check", action="store_true", help="compare with the closed forms and stop")
    args = parser.parse_args()
    if args.check:
        torch.manual_seed(1)
        return check(args)
    timing.start(args)
    for c, size in block.SIZES[:2]:
        for form in ("r1", "r3"):
            name = f"meta/{c}@{size}/{form}"
            if args.only in name:
                timing.report(args, name, make_step(args, c, size, form))


if __name__ == "__main__":
    main()
