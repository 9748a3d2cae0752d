"""Golden values of samplers, float64: single updates in the form of the papers (DDIM through x0, DDPM with x0 clipped), and
whole trajectories on data whose denoiser is known, from the formulas of the LDM repository's PLMS and of DPM-Solver++."""
import math

import numpy
import torch

from golden import save

SEED = 16


# ------------------------------------------------------------------ trajectories

MEAN, SPREAD = 0.6, 0.2  # of the data: half at +MEAN, half at -MEAN


def denoiser(x, alpha, sigma):
    """The noise in x = alpha x0 + sigma eps that is expected for these data."""
    variance = (alpha * SPREAD) ** 2 + sigma ** 2
    mean = alpha * MEAN * numpy.tanh(x * alpha * MEAN / variance)
    return sigma * (x - mean) / variance


def linear():
    return numpy.cumprod(1 - numpy.linspace(1e-4, 2e-2, 1000))


def scaled(start=0.0015, end=0.0195):
    return numpy.cumprod(1 - numpy.linspace(start ** 0.5, end ** 0.5, 1000) ** 2)


def plms(x, a_bar, steps):
    """LDM's: t from 1, the last target a_bar[0], the first step corrected by a look at its end."""
    times = numpy.arange(0, 1000, 1000 // steps) + 1
    alphas = a_bar[times]
    alphas_prev = numpy.append(a_bar[0], a_bar[times[:-1]])
    old, asked = [], []

    def network(x, i):
        asked.append(times[i])
        return denoiser(x, math.sqrt(alphas[i]), math.sqrt(1 - alphas[i]))

    def get_x_prev(x, e, i):
        pred_x0 = (x - math.sqrt(1 - alphas[i]) * e) / math.sqrt(alphas[i])
        return math.sqrt(alphas_prev[i]) * pred_x0 + math.sqrt(1 - alphas_prev[i]) * e

    for i in reversed(range(len(times))):
        e = network(x, i)
        if len(old) == 0:
            e_prime = (e + network(get_x_prev(x, e, i), max(i - 1, 0))) / 2
        elif len(old) == 1:
            e_prime = (3 * e - old[-1]) / 2
        elif len(old) == 2:
            e_prime = (23 * e - 16 * old[-1] + 5 * old[-2]) / 12
        else:
            e_prime = (55 * e - 59 * old[-1] + 37 * old[-2] - 9 * old[-3]) / 24
        x = get_x_prev(x, e_prime, i)
        old = (old + [e])[-3:]
    return x, asked


class VP:
    """Continuous time over a discrete schedule: log alpha is linear between its knots."""

    def __init__(self, a_bar):
        self.t = numpy.arange(1, 1001) / 1000
        self.log_alpha_knots = 0.5 * numpy.log(a_bar)

    def log_alpha(self, t):
        return numpy.interp(t, self.t, self.log_alpha_knots)

    def alpha(self, t):
        return math.exp(self.log_alpha(t))

    def sigma(self, t):
        return math.sqrt(1 - math.exp(2 * self.log_alpha(t)))

    def lam(self, t):
        return self.log_alpha(t) - math.log(self.sigma(t))

    def inverse(self, lam):
        log_alpha = -0.5 * numpy.logaddexp(0, -2 * lam)
        return numpy.interp(log_alpha, self.log_alpha_knots[::-1], self.t[::-1])


def time_steps(ns, kind, first, last, n):
    if kind == "logsnr":
        return [float(ns.inverse(v)) for v in numpy.linspace(ns.lam(first), ns.lam(last), n + 1)]
    if kind == "quad":
        return list(numpy.linspace(first ** 0.5, last ** 0.5, n + 1) ** 2)
    return list(numpy.linspace(first, last, n + 1))


def dpm_solver(x, a_bar, steps, solver, kind, lower_below=15):
    ns, asked = VP(a_bar), []

    def model(x, t):
        asked.append(1000 * t - 1)
        return (x - ns.sigma(t) * denoiser(x, ns.alpha(t), ns.sigma(t))) / ns.alpha(t)

    def first_order(x, s, t, m_s):
        h = ns.lam(t) - ns.lam(s)
        return ns.sigma(t) / ns.sigma(s) * x - ns.alpha(t) * math.expm1(-h) * m_s

    def second_order(x, s, t, r1):
        h = ns.lam(t) - ns.lam(s)
        s1 = float(ns.inverse(ns.lam(s) + r1 * h))
        m_s = model(x, s)
        x_s1 = ns.sigma(s1) / ns.sigma(s) * x - ns.alpha(s1) * math.expm1(-r1 * h) * m_s
        m_s1 = model(x_s1, s1)
        return (ns.sigma(t) / ns.sigma(s) * x - ns.alpha(t) * math.expm1(-h) * m_s
                - 0.5 / r1 * ns.alpha(t) * math.expm1(-h) * (m_s1 - m_s))

    def third_order(x, s, t, r1, r2):
        h = ns.lam(t) - ns.lam(s)
        s1, s2 = (float(ns.inverse(ns.lam(s) + r * h)) for r in (r1, r2))
        phi_11, phi_12, phi_1 = math.expm1(-r1 * h), math.expm1(-r2 * h), math.expm1(-h)
        phi_22, phi_2 = phi_12 / (r2 * h) + 1, phi_1 / h + 1
        m_s = model(x, s)
        x_s1 = ns.sigma(s1) / ns.sigma(s) * x - ns.alpha(s1) * phi_11 * m_s
        m_s1 = model(x_s1, s1)
        x_s2 = (ns.sigma(s2) / ns.sigma(s) * x - ns.alpha(s2) * phi_12 * m_s
                + r2 / r1 * ns.alpha(s2) * phi_22 * (m_s1 - m_s))
        m_s2 = model(x_s2, s2)
        return (ns.sigma(t) / ns.sigma(s) * x - ns.alpha(t) * phi_1 * m_s
                + 1 / r2 * ns.alpha(t) * phi_2 * (m_s2 - m_s))

    if solver == "2m":
        times = time_steps(ns, kind, 1.0, 1 / 1000, steps)
        m = [model(x, times[0])]
        for i in range(1, steps + 1):
            prev, now = times[i - 1], times[i]
            if i == 1 or (i == steps and steps < lower_below):
                x = first_order(x, prev, now, m[-1])
            else:
                h_0, h = ns.lam(prev) - ns.lam(times[i - 2]), ns.lam(now) - ns.lam(prev)
                d = (m[-1] - m[-2]) / (h_0 / h)
                x = (ns.sigma(now) / ns.sigma(prev) * x - ns.alpha(now) * math.expm1(-h) * m[-1]
                     - 0.5 * ns.alpha(now) * math.expm1(-h) * d)
            if i < steps:
                m.append(model(x, now))
        return x, asked
    if solver == "3s":
        k = steps // 3 + 1
        orders = [3] * (k - 2) + [2, 1] if steps % 3 == 0 else [3] * (k - 1) + [steps % 3]
    else:
        k = (steps + 1) // 2
        orders = [2] * (steps // 2) + [1] * (steps % 2)
    if kind == "logsnr":
        outer = time_steps(ns, kind, 1.0, 1 / 1000, k)
    else:
        every = time_steps(ns, kind, 1.0, 1 / 1000, steps)
        outer = [every[i] for i in numpy.cumsum([0] + orders)]
    for i, order in enumerate(orders):
        s, t = outer[i], outer[i + 1]
        lam = [ns.lam(v) for v in time_steps(ns, kind, s, t, order)]
        share = [(v - lam[0]) / (lam[-1] - lam[0]) for v in lam]
        if order == 1:
            x = first_order(x, s, t, model(x, s))
        elif order == 2:
            x = second_order(x, s, t, share[1])
        else:
            x = third_order(x, s, t, share[1], share[2])
    return x, asked


def trajectories():
    """{case}/x, out, t: initial and final x, and the times that the network was called with."""
    generator = numpy.random.default_rng(SEED)
    out = {}

    def add(name, run):
        x = generator.standard_normal(7).astype(numpy.float32)
        final, asked = run(x.astype(numpy.float64))
        out.update({f"{name}/x": x, f"{name}/out": final, f"{name}/t": numpy.array(asked, dtype=numpy.float64)})

    for steps in (1, 2, 20, 50):
        if 999 % (1000 // steps) != 0:
            add(f"plms_{steps}", lambda x: plms(x, scaled(), steps))
    for solver in ("2m", "2s", "3s"):
        for kind, steps in (("uniform", 20), ("quad", 10), ("logsnr", 18), ("uniform", 7)):
            add(f"dpm_{solver}_{kind}_{steps}", lambda x: dpm_solver(x, linear(), steps, solver, kind))
    add("dpm_2m_ldm", lambda x: dpm_solver(x, scaled(), 12, "2m", "uniform", lower_below=10))
    return out


# ------------------------------------------------------------------ lists of t

def respaced(steps):
    """space_timesteps of guided-diffusion for one section."""
    stride, now, taken = 999 / (steps - 1), 0.0, []
    for _ in range(steps):
        taken.append(round(now))
        now += stride
    return taken


def lists():
    out = {}
    for steps in (20, 50, 200, 250, 400, 500):
        out[f"lists/ldm_{steps}"] = numpy.arange(0, 1000, 1000 // steps) + 1
    out["lists/ldm_quad_50"] = (numpy.linspace(0, numpy.sqrt(1000 * 0.8), 50) ** 2).astype(int) + 1
    for steps in (50, 100, 250, 999, 1000):
        out[f"lists/respaced_{steps}"] = numpy.array(respaced(steps))
    return {k: v.astype(numpy.int32) for k, v in out.items()}


# ------------------------------------------------------------------ single updates

def updates():
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
    return {f"all/{k}": v for k, v in out.items()}


save("sampler", SEED, {**updates(), **trajectories(), **lists()})
