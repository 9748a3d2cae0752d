"""The Inception-v3 of the FID in PyTorch, under the names of its ports, batch norm as it is published.

What differs from torchvision's: average pooling does not count the padding; Mixed_7c pools with the maximum; 1008 logits;
other weights; neither auxiliary head nor dropout nor input transform. forward gives what scores are made of: the mean over
the last 8x8 pixels, the first 7 channels of Mixed_6d.branch1x1 in the order (y, x, c), and the logits without bias.

resize_tf1 and resize_half_pixel bring images (n, h, w, 3) of 8-bit levels to the 299x299 of the two families of tools.
"""
import numpy
import torch
import torch.nn.functional as F
from torch import nn

SIZE = 299


class Conv(nn.Module):
    def __init__(self, c_in, c_out, kernel, stride=1, padding=0):
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(c_out, eps=1e-3)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


def mean3(x):
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def max3(x):
    return F.max_pool2d(x, 3, stride=1, padding=1)


class BlockA(nn.Module):
    def __init__(self, c, c_pool):
        super().__init__()
        self.branch1x1 = Conv(c, 64, 1)
        self.branch5x5_1 = Conv(c, 48, 1)
        self.branch5x5_2 = Conv(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = Conv(c, 64, 1)
        self.branch3x3dbl_2 = Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Conv(96, 96, 3, padding=1)
        self.branch_pool = Conv(c, c_pool, 1)

    def forward(self, x):
        return torch.cat([self.branch1x1(x), self.branch5x5_2(self.branch5x5_1(x)),
                          self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x))),
                          self.branch_pool(mean3(x))], 1)


class BlockB(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.branch3x3 = Conv(c, 384, 3, 2)
        self.branch3x3dbl_1 = Conv(c, 64, 1)
        self.branch3x3dbl_2 = Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Conv(96, 96, 3, 2)

    def forward(self, x):
        return torch.cat([self.branch3x3(x), self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x))),
                          F.max_pool2d(x, 3, 2)], 1)


class BlockC(nn.Module):
    def __init__(self, c, c7):
        super().__init__()
        row, column = dict(kernel=(1, 7), padding=(0, 3)), dict(kernel=(7, 1), padding=(3, 0))
        self.branch1x1 = Conv(c, 192, 1)
        self.branch7x7_1 = Conv(c, c7, 1)
        self.branch7x7_2 = Conv(c7, c7, **row)
        self.branch7x7_3 = Conv(c7, 192, **column)
        self.branch7x7dbl_1 = Conv(c, c7, 1)
        self.branch7x7dbl_2 = Conv(c7, c7, **column)
        self.branch7x7dbl_3 = Conv(c7, c7, **row)
        self.branch7x7dbl_4 = Conv(c7, c7, **column)
        self.branch7x7dbl_5 = Conv(c7, 192, **row)
        self.branch_pool = Conv(c, 192, 1)

    def forward(self, x):
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        return torch.cat([self.branch1x1(x), self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x))),
                          self.branch7x7dbl_5(self.branch7x7dbl_4(double)), self.branch_pool(mean3(x))], 1)


class BlockD(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.branch3x3_1 = Conv(c, 192, 1)
        self.branch3x3_2 = Conv(192, 320, 3, 2)
        self.branch7x7x3_1 = Conv(c, 192, 1)
        self.branch7x7x3_2 = Conv(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = Conv(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = Conv(192, 192, 3, 2)

    def forward(self, x):
        seven = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), self.branch7x7x3_4(seven), F.max_pool2d(x, 3, 2)], 1)


class BlockE(nn.Module):
    def __init__(self, c, pool):
        super().__init__()
        row, column = dict(kernel=(1, 3), padding=(0, 1)), dict(kernel=(3, 1), padding=(1, 0))
        self.pool = pool
        self.branch1x1 = Conv(c, 320, 1)
        self.branch3x3_1 = Conv(c, 384, 1)
        self.branch3x3_2a = Conv(384, 384, **row)
        self.branch3x3_2b = Conv(384, 384, **column)
        self.branch3x3dbl_1 = Conv(c, 448, 1)
        self.branch3x3dbl_2 = Conv(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = Conv(384, 384, **row)
        self.branch3x3dbl_3b = Conv(384, 384, **column)
        self.branch_pool = Conv(c, 192, 1)

    def forward(self, x):
        single, double = self.branch3x3_1(x), self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        return torch.cat([self.branch1x1(x), self.branch3x3_2a(single), self.branch3x3_2b(single),
                          self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double),
                          self.branch_pool(self.pool(x))], 1)


class Inception(nn.Module):
    def __init__(self):
        super().__init__()
        self.Conv2d_1a_3x3 = Conv(3, 32, 3, 2)
        self.Conv2d_2a_3x3 = Conv(32, 32, 3)
        self.Conv2d_2b_3x3 = Conv(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = Conv(80, 192, 3)
        self.Mixed_5b = BlockA(192, 32)
        self.Mixed_5c = BlockA(256, 64)
        self.Mixed_5d = BlockA(288, 64)
        self.Mixed_6a = BlockB(288)
        self.Mixed_6b = BlockC(768, 128)
        self.Mixed_6c = BlockC(768, 160)
        self.Mixed_6d = BlockC(768, 160)
        self.Mixed_6e = BlockC(768, 192)
        self.Mixed_7a = BlockD(768)
        self.Mixed_7b = BlockE(1280, mean3)
        self.Mixed_7c = BlockE(2048, max3)
        self.fc = nn.Linear(2048, 1008)
        self.eval()

    def forward(self, x):
        """x (n, 3, 299, 299) in [-1, 1] -> pool (n, 2048), spatial (n, 2023), logits (n, 1008)."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(F.max_pool2d(x, 3, 2))))
        x = self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))
        spatial = self.Mixed_6d.branch1x1(x)[:, :7].permute(0, 2, 3, 1).flatten(1)
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(self.Mixed_6e(self.Mixed_6d(x)))))
        pool = x.mean((2, 3))
        return pool, spatial, pool @ self.fc.weight.T


def uniform(name, count):
    """count numbers in [0, 1) that float32 holds: a hash of the place in what has this name."""
    seed = numpy.uint32(2166136261)
    with numpy.errstate(over="ignore"):
        for byte in name.encode():
            seed = (seed ^ numpy.uint32(byte)) * numpy.uint32(16777619)
        x = numpy.arange(count, dtype=numpy.uint32) * numpy.uint32(0x9E3779B9) + seed
        x = (x ^ (x >> numpy.uint32(16))) * numpy.uint32(0x85EBCA6B)
        x = (x ^ (x >> numpy.uint32(13))) * numpy.uint32(0xC2B2AE35)
        x = x ^ (x >> numpy.uint32(16))
    return (x >> numpy.uint32(8)).astype(numpy.float32) * numpy.float32(2.0 ** -24)


def parameter(name, shape):
    """The numbers of a tensor: weights keep the size of activations, statistics are about those of such a layer."""
    one = numpy.float32(1)
    u = uniform(name, int(numpy.prod(shape))).reshape(shape)
    if len(shape) > 1:
        return (2 * u - one) * numpy.float32(numpy.sqrt(6 / numpy.prod(shape[1:])))
    if name.endswith("bn.weight"):
        return numpy.float32(0.75) + u * numpy.float32(0.5)
    if name.endswith("running_var"):
        return numpy.float32(0.5) + u
    return (u - numpy.float32(0.5)) * numpy.float32(0.5)


def made_up():
    """A network with such parameters, in float32."""
    net = Inception()
    state = {name: torch.from_numpy(parameter(name, tuple(value.shape)))
             for name, value in net.state_dict().items() if not name.endswith("num_batches_tracked")}
    net.load_state_dict(state, strict=False)
    return net


def images(n, size):
    """Levels (n, size, size, 3): slopes with a texture on them."""
    at = numpy.indices((n, size, size, 3))
    slope = (at[0] * 37 + at[1] * 256 // size + at[2] * 128 // size + at[3] * 40) % 192
    return (slope + uniform(f"images {size}", slope.size).reshape(slope.shape) * 64).astype(numpy.uint8)


def resize_tf1(levels):
    """float32 in [-1, 1], (n, 299, 299, 3), in the order of TensorFlow 1: no half pixels, x first."""
    x = levels.astype(numpy.float32)

    def places(size):
        at = numpy.arange(SIZE, dtype=numpy.float32) * (numpy.float32(size) / numpy.float32(SIZE))
        low = numpy.floor(at).astype(int)
        return low, numpy.minimum(low + 1, size - 1), at - low.astype(numpy.float32)

    (y0, y1, fy), (x0, x1, fx) = places(x.shape[1]), places(x.shape[2])
    fy, fx = fy[:, None, None], fx[:, None]
    top = x[:, y0][:, :, x0] + (x[:, y0][:, :, x1] - x[:, y0][:, :, x0]) * fx
    bottom = x[:, y1][:, :, x0] + (x[:, y1][:, :, x1] - x[:, y1][:, :, x0]) * fx
    return ((top + (bottom - top) * fy) - numpy.float32(128)) / numpy.float32(128)


def resize_half_pixel(levels):
    """The same by F.interpolate, as pytorch-fid does."""
    x = torch.from_numpy(levels).permute(0, 3, 1, 2).float() / 255
    x = F.interpolate(x, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
    return (2 * x - 1).permute(0, 2, 3, 1).numpy()


def main():
    """The forward pass of bench_inception, as pytorch-fid runs it: batch norm by itself, float32, no gradient."""
    import timing

    parser = timing.parser(main.__doc__)
    parser.add_argument("--batch", type=int, default=16)
    args = parser.parse_args()
    timing.start(args)
    net = timing.layout(args, made_up())
    x = timing.layout(args, torch.from_numpy(resize_tf1(images(args.batch, SIZE))).permute(0, 3, 1, 2).contiguous())
    with torch.no_grad():
        timing.report(args, f"forward/inception/b{args.batch}", lambda: net(x))


if __name__ == "__main__":
    main()
