"""Golden values of the convolution, NHWC and KRSC, float64."""
import torch
import torch.nn.functional as F

from golden import grid, operation, save

SEED = 21


def case(out, group, n, h, wd, c, k, r, s, stride, top, left, bottom, right, bias):
    def function(x, w, b):
        x = F.pad(x.permute(0, 3, 1, 2), (left, right, top, bottom))
        return F.conv2d(x, w.permute(0, 3, 1, 2), b, stride=stride).permute(0, 2, 3, 1)

    shape = (n, h, wd, c, k, r, s, stride, top, left, bottom, right, bias)
    operation(out, group, shape, function, [grid(n, h, wd, c), grid(k, r, s, c), grid(k) if bias else None])


def main():
    torch.manual_seed(SEED)
    out = {}
    case(out, "image", 2, 7, 5, 3, 8, 3, 3, 1, 1, 1, 1, 1, 1)
    case(out, "down", 1, 6, 8, 5, 7, 3, 3, 2, 0, 0, 1, 1, 1)
    case(out, "shortcut", 2, 3, 3, 19, 6, 1, 1, 1, 0, 0, 0, 0, 1)
    case(out, "symmetric_down", 1, 7, 7, 4, 4, 3, 3, 2, 1, 1, 1, 1, 0)
    case(out, "patches", 1, 8, 6, 4, 9, 2, 2, 2, 0, 0, 0, 0, 1)
    case(out, "wide", 1, 5, 9, 2, 3, 3, 5, 1, 1, 3, 0, 2, 0)
    save("conv2d", SEED, out)


main()
