"""Golden values of pooling without counting the padding, and of bilinear resizing of 8-bit levels."""
import numpy
import torch
import torch.nn.functional as F

from golden import grid, operation, save

SEED = 41


def pool(out, group, mean, n, h, wd, c, k, stride, pad):
    def function(x):
        x = x.permute(0, 3, 1, 2)
        x = F.avg_pool2d(x, k, stride, pad, count_include_pad=False) if mean else F.max_pool2d(x, k, stride, pad)
        return x.permute(0, 2, 3, 1)

    # of the mean the tangent can be asked for where the gradient depends on the input
    operation(out, group, (mean, n, h, wd, c, k, stride, pad),
              (lambda x: function(x) + 0 * function(x * x)) if mean else function, [grid(n, h, wd, c)])


def tf1(x, ho, wo):
    """float32, in the order of TensorFlow 1: no half pixels, x first."""
    x = x.astype(numpy.float32)

    def places(size, to):
        at = numpy.arange(to, dtype=numpy.float32) * (numpy.float32(size) / numpy.float32(to))
        low = numpy.floor(at).astype(int)
        return low, numpy.minimum(low + 1, size - 1), at - low.astype(numpy.float32)

    (y0, y1, fy), (x0, x1, fx) = places(x.shape[1], ho), places(x.shape[2], wo)
    fy, fx = fy[:, None, None], fx[:, None]
    top = x[:, y0][:, :, x0] + (x[:, y0][:, :, x1] - x[:, y0][:, :, x0]) * fx
    bottom = x[:, y1][:, :, x0] + (x[:, y1][:, :, x1] - x[:, y1][:, :, x0]) * fx
    return top + (bottom - top) * fy


def resize(out, group, n, h, wd, c, ho, wo):
    x = numpy.random.RandomState(SEED + h).randint(0, 256, (n, h, wd, c)).astype(numpy.uint8)
    half = F.interpolate(torch.from_numpy(x).permute(0, 3, 1, 2).float(), size=(ho, wo), mode="bilinear",
                         align_corners=False)
    out.update({f"{group}/shape": torch.tensor((n, h, wd, c, ho, wo), dtype=torch.int32),
                f"{group}/x": x.astype(numpy.int32), f"{group}/tf1": tf1(x, ho, wo),
                f"{group}/half_pixel": half.permute(0, 2, 3, 1)})


def main():
    torch.manual_seed(SEED)
    out = {}
    pool(out, "max_down", 0, 2, 9, 9, 4, 3, 2, 0)
    pool(out, "max_same", 0, 2, 5, 6, 3, 3, 1, 1)
    pool(out, "max_odd", 0, 1, 8, 5, 6, 4, 3, 2)
    pool(out, "mean_same", 1, 2, 5, 6, 3, 3, 1, 1)
    pool(out, "mean_odd", 1, 1, 8, 5, 6, 4, 3, 2)
    pool(out, "mean_all", 1, 2, 8, 8, 5, 8, 8, 0)
    save("pool2d", SEED, out)
    out = {}
    resize(out, "up", 2, 8, 8, 3, 19, 19)
    resize(out, "wide", 1, 4, 11, 3, 17, 13)
    resize(out, "one", 1, 1, 5, 1, 6, 7)
    resize(out, "down", 1, 13, 9, 2, 6, 4)
    save("resize", SEED, out)


main()
