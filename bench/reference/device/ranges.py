"""Ranges of all weights of the CIFAR-10-shaped UNet, 4 bits, one an output channel, by the search over 80 candidates.

    R_a  the released code: channel by channel, candidate by candidate, the best score compared on the host. So many
         channels of three layers are measured and the time is that of all channels, each as long as those
    R_b  all channels of a layer at once, candidate by candidate
    R_c  that compiled

--check compares the scales of the three.
"""
import torch

import common
import unet

CANDIDATES, TOP, POWER = 80, 15, 2.4


def quantized(x, scale, zero):
    return (torch.clamp(torch.round(x / scale) + zero, 0, TOP) - zero) * scale


def by_channel(w):
    scales = []
    for x in w:
        high, low, best = x.max(), x.min(), 1e10
        for i in range(CANDIDATES):
            new_high, new_low = high * (1.0 - i * 0.01), low * (1.0 - i * 0.01)
            scale = (new_high - new_low) / TOP
            zero = (-new_low / scale).round()
            score = (x - quantized(x, scale, zero)).abs().pow(POWER).mean()
            if score < best:
                best, found = score, scale
        scales.append(found)
    return torch.stack(scales)


def at_once(w):
    x = w.flatten(1)
    high, low = x.amax(1, keepdim=True), x.amin(1, keepdim=True)
    best, found = torch.full_like(high, 1e10), torch.zeros_like(high)
    for i in range(CANDIDATES):
        scale = (high - low) * (1.0 - i * 0.01) / TOP
        zero = (-low * (1.0 - i * 0.01) / scale).round()
        score = (x - quantized(x, scale, zero)).abs().pow(POWER).mean(1, keepdim=True)
        better = score < best
        best, found = torch.where(better, score, best), torch.where(better, scale, found)
    return found[:, 0]


def candidate(x, high, low, best, found, shrink):
    scale = (high - low) * shrink / TOP
    zero = (-low * shrink / scale).round()
    score = (x - quantized(x, scale, zero)).abs().pow(POWER).mean(1, keepdim=True)
    better = score < best
    return torch.where(better, score, best), torch.where(better, scale, found)


def compiled_search(args, style):
    one = common.compiled(args, style, candidate, dynamic=True)  # one for layers of all shapes
    shrinks = [torch.tensor(1.0 - i * 0.01, device=args.device) for i in range(CANDIDATES)]

    def search(w):
        x = w.flatten(1)
        high, low = x.amax(1, keepdim=True), x.amin(1, keepdim=True)
        best, found = torch.full_like(high, 1e10), torch.zeros_like(high)
        for shrink in shrinks:
            best, found = one(x, high, low, best, found, shrink)
        return found[:, 0]

    return search


def weights(args, config):
    model = unet.randomize(unet.UNet(**config), 1).requires_grad_(False).to(args.device)
    left_out = ("conv_in.", "conv_out.", "temb.dense.0.", "downsample", "nin_shortcut")
    return [p for n, p in model.named_parameters() if p.dim() > 1 and not any(part in n for part in left_out)]


def main():
    parser = common.parser(__doc__)
    parser.add_argument("--channels", type=int, default=8, help="of R_a, in each of three layers")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    common.start(args)
    small = dict(resolution=8, ch=8, mult=(1, 2), res_blocks=1, attention=(4,), groups=4)
    all_weights = weights(args, small if args.small or args.check else unet.CIFAR10)
    if args.check:
        w = all_weights[1]
        want = by_channel(w)
        for name, got in (("R_b", at_once(w)), ("R_c", compiled_search(args, "R_c")(w))):
            other = int((got - want).abs().gt(1e-6 * want).sum())
            print(f"{name}: {other} of {len(want)} channels have another scale", flush=True)
            if other > len(want) // 20:
                raise SystemExit("they disagree")
        return None
    few = [w[:args.channels] for w in all_weights[:: max(1, len(all_weights) // 3)][:3]]
    channels, measured = sum(len(w) for w in all_weights), sum(len(w) for w in few)
    args.repeats = min(args.repeats, 3)
    common.report(args, "ranges", "cifar10", "R_a", lambda: lambda: [by_channel(w) for w in few],
                  note=f"{measured} of {channels} channels measured", scale=channels / measured)
    common.report(args, "ranges", "cifar10", "R_b", lambda: lambda: [at_once(w) for w in all_weights])
    search = compiled_search(args, "R_c")
    common.report(args, "ranges", "cifar10", "R_c",
                  lambda: common.graphed(args, "R_c", lambda: [search(w) for w in all_weights]))


if __name__ == "__main__":
    main()
