"""One meta-iteration of the sample weights of a residual block, as bench_meta has it on a device: r1, r3, r2 and off.

    R_a  as bilevel problems are written with autograd: the inner step stays in the graph, which is differentiated
         again (r1: three times)
    R_b  by the closed forms: J by vmap of grad, Hessian-vector products by differentiating gradients
    R_c  that as one CUDA graph, the losses compiled

--check compares the gradient of R_b with that of R_a in float64 on a small block.
"""
import torch

import common
import block
import meta as unrolled

N, K, M = unrolled.N, unrolled.K, unrolled.M
ETA, RATE = unrolled.ETA, 1.0
SIZES = ((128, 32), (256, 16))
FORMS = ("off", "r1", "r3", "r2")


def sequential_unrolled(model, s, train, groups, eta, rate):
    """w~ <- w~ - rate d L_t / d w at theta*(w~), group by group; (w - w~)/(rate K) through softmax."""
    theta = (model.conv1.alpha, model.conv2.alpha)
    w = torch.softmax(s.detach(), 0)
    moved = w
    for x, t, y in groups:
        now = moved.detach().requires_grad_(True)
        inner = (now * block.sample_loss(model(*train[:2]), train[2])).sum()
        gradient = torch.autograd.grad(inner, theta, create_graph=True)
        star = tuple(a - eta * g for a, g in zip(theta, gradient))
        loss = block.sample_loss(model(x, t, star), y).mean()
        moved = now - rate * torch.autograd.grad(loss, now)[0]
    d = (w - moved.detach()) / (rate * len(groups))
    return w * (d - (w * d).sum())


def gradient_unrolled(model, form, s, train, groups, eta, weight, rate=RATE):
    if form == "r2":
        return sequential_unrolled(model, s, train, groups, eta, rate)
    kind, weight = ("r1", 0.0) if form == "off" else (form, weight)
    return torch.autograd.grad(unrolled.objective(model, kind, s, train, groups, eta, weight), s)[0]


def closed(args, style, model):
    """d L / d s by J and products with Hessians; everything of a call stays on the device."""
    theta = (model.conv1.alpha, model.conv2.alpha)
    sizes = [a.numel() for a in theta]
    flat = lambda parts: torch.cat([p.flatten() for p in parts])
    split = lambda v: tuple(p.view(a.shape) for p, a in zip(v.split(sizes), theta))
    single = lambda alphas, x, t, y: block.sample_loss(model(x[None], t[None], alphas), y[None])[0]
    rows = torch.func.vmap(torch.func.grad(single), in_dims=(None, 0, 0, 0))
    mean = common.compiled(args, style, lambda v, x, t, y: block.sample_loss(model(x, t, split(v)), y).mean())

    def gradient(form, s, train, groups, eta, weight, rate=RATE):
        j = torch.cat([g.flatten(1) for g in rows(tuple(a.detach() for a in theta), *train)], dim=1)  # (n, P)
        w = torch.softmax(s.detach(), 0)
        start = flat(theta).detach()
        at = lambda v: (start - eta * (v @ j)).requires_grad_(True)
        if form == "r2":
            moved = w
            for x, t, y in groups:
                star = at(moved)
                moved = moved + rate * eta * (j @ torch.autograd.grad(mean(star, x, t, y), star)[0])
            d = (w - moved) / (rate * len(groups))
            return w * (d - (w * d).sum())
        star, g, hessian = at(w), [], []
        for x, t, y in groups:
            grad = torch.autograd.grad(mean(star, x, t, y), star, create_graph=form != "off")[0]
            g.append(grad.detach())
            hessian.append(lambda p, grad=grad: torch.autograd.grad(grad, star, p, retain_graph=True)[0])
        k, total = len(g), sum(g)
        c = 2 / (k * (k - 1))
        r = eta * total / k
        if form == "r1":
            u = [-eta * (j @ (total - v)) for v in g]
            r = r + weight * c * eta**2 * sum(h(v @ j) for h, v in zip(hessian, u))
        elif form == "r3":
            r = r - weight * c * eta * sum(h(total - v) for h, v in zip(hessian, g))
        d = -(j @ r)
        return w * (d - (w * d).sum())

    return gradient


def make_data(args, style, c, size):
    torch.manual_seed(1)
    model = common.layout(style, block.Block(c).to(args.device))

    def batch(n):
        x = common.layout(style, torch.randn(n, c, size, size, device=args.device))
        t = torch.randn(n, 4 * c, device=args.device)
        with torch.no_grad():
            y = model(x, t)
        return x, t, y + 0.1 * torch.randn_like(y)

    return model, batch(N), [batch(M) for _ in range(K)]


def make(args, style, c, size, form):
    model, train, groups = make_data(args, style, c, size)
    s = torch.full((N,), 1 / 32, device=args.device, requires_grad=True)
    fast = style.startswith("R_c") and args.device.startswith("cuda")
    optimizer = torch.optim.Adam([s], lr=0.05, capturable=fast)
    if style == "R_a":
        gradient = lambda: gradient_unrolled(model, form, s, train, groups, ETA, 1.0)
    else:
        # what differentiates a gradient again cannot be compiled
        formula = closed(args, "R_b" if form in ("r1", "r3") else style, model)
        gradient = lambda: formula(form, s, train, groups, ETA, 1.0)
    s.grad = torch.zeros_like(s)

    def step():
        with common.autocast(args, style):
            s.grad.copy_(gradient())
        optimizer.step()

    return step


def check(args):
    for form in FORMS:
        common.check_device(args, lambda a, style: make(a, style, 8, 6, form))
    torch.set_default_dtype(torch.float64)
    model, train, groups = make_data(args, "R_b", 8, 6)
    s = torch.randn(N, device=args.device, requires_grad=True)
    formula = closed(args, "R_b", model)
    for form in FORMS:
        plain = gradient_unrolled(model, "off", s, train, groups, 0.1, 0.0)
        weight = 1.0
        if form in ("r1", "r3"):  # both terms count the same
            term = gradient_unrolled(model, form, s, train, groups, 0.1, 1e6) - plain
            weight = float(1e6 * plain.norm() / term.norm())
        numbers = (form, s, train, groups, 0.1, weight, 1e6)  # a rate that moves w by more than its last digits
        want = gradient_unrolled(model, *numbers)
        error = float((formula(*numbers) - want).norm() / want.norm())
        print(f"{form}: closed form against unrolled {error:.1e}", flush=True)
        if not error < 1e-9:
            raise SystemExit("they disagree")


def main():
    args = common.begin(__doc__, check)
    for c, size in ((8, 6),) if args.small else SIZES:
        for form in FORMS:
            for style in common.STYLES[:3]:
                common.report(args, "meta", f"{c}@{size}/{form}", style,
                              lambda: common.graphed(args, style, make(args, style, c, size, form)))


if __name__ == "__main__":
    main()
