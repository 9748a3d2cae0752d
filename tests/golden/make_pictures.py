"""pictures.h5: small image files as PIL writes them and the levels that it reads from them, and PIL's resizing in the way
of the loaders of latent diffusion and guided diffusion. lsun.mdb: the same files in a database as LSUN's, by the package
lmdb."""
import hashlib
import io
import os
import tempfile

import lmdb
import numpy
from PIL import Image, features

from golden import HERE, save

SEED = 20
rng = numpy.random.RandomState(SEED)
arrays = {}


def scene(w, h, channels=3):
    """Colour ramps, an edge and some noise: chroma that subsampling changes, and contrast that overshoots."""
    y, x = numpy.mgrid[0:h, 0:w]
    planes = [120 + 90 * numpy.sin(x / (3.0 + c) + c) * numpy.cos(y / (4.0 - 0.5 * c)) for c in range(channels)]
    image = numpy.stack(planes, 2) + 100 * (x > 0.6 * w)[:, :, None] + rng.normal(0, 12, (h, w, channels))
    return numpy.clip(image, 0, 255).astype(numpy.uint8)


def file_case(name, image, form, **options):
    out = io.BytesIO()
    image.save(out, form, **options)
    back = Image.open(io.BytesIO(out.getvalue()))
    arrays[f"{name}/file"] = numpy.frombuffer(out.getvalue(), numpy.uint8)
    arrays[f"{name}/size"] = numpy.array(back.size, numpy.int32)
    arrays[f"{name}/rgb"] = numpy.array(back.convert("RGB"))


def opaque(mode, image):
    image = image.convert(mode)
    image.putalpha(255)
    return image


rgb = Image.fromarray(scene(23, 17))
file_case("png_rgb", rgb, "PNG")
file_case("png_rgba", opaque("RGBA", rgb), "PNG")
file_case("png_grey", rgb.convert("L"), "PNG")
file_case("png_grey_alpha", opaque("LA", rgb.convert("L")), "PNG")
file_case("png_palette", rgb.quantize(37), "PNG")
file_case("png_palette_4", rgb.quantize(11), "PNG")
file_case("png_bits", rgb.convert("1"), "PNG")
file_case("jpeg_420", rgb, "JPEG", quality=85)
file_case("jpeg_444", rgb, "JPEG", quality=95, subsampling=0)
file_case("jpeg_422", rgb, "JPEG", quality=85, subsampling=1)
file_case("jpeg_grey", rgb.convert("L"), "JPEG")
file_case("jpeg_progressive", rgb, "JPEG", progressive=True)
file_case("webp_lossy", rgb, "WEBP", quality=80)
file_case("webp_lossless", rgb, "WEBP", lossless=True)
# refused ones: what PIL makes of them does not matter
file_case("no_png_alpha", Image.fromarray(scene(23, 17, 4)), "PNG")
file_case("no_png_key", rgb.convert("P"), "PNG", transparency=rgb.convert("P").getpixel((4, 2)))
file_case("no_png_16", Image.fromarray(scene(9, 5, 1)[:, :, 0].astype(numpy.int32) * 257, "I"), "PNG")
file_case("no_jpeg_cmyk", rgb.convert("CMYK"), "JPEG")
file_case("no_webp_alpha", Image.fromarray(scene(23, 17, 4)), "WEBP", lossless=True)
file_case("no_webp_moves", rgb, "WEBP", save_all=True, append_images=[Image.fromarray(scene(23, 17))])


def ldm(array, size):
    crop = min(array.shape[:2])
    h, w = array.shape[:2]
    array = array[(h - crop) // 2:(h + crop) // 2, (w - crop) // 2:(w + crop) // 2]
    return numpy.array(Image.fromarray(array).resize((size, size), resample=Image.BICUBIC))


def adm(array, size):
    image = Image.fromarray(array)
    while min(*image.size) >= 2 * size:
        image = image.resize(tuple(x // 2 for x in image.size), resample=Image.BOX)
    scale = size / min(*image.size)
    image = image.resize(tuple(round(x * scale) for x in image.size), resample=Image.BICUBIC)
    array = numpy.array(image)
    y, x = (array.shape[0] - size) // 2, (array.shape[1] - size) // 2
    return array[y:y + size, x:x + size]


# wider, higher, square, halved once and twice (odd sides), just larger, as large, smaller than what is wanted
CASES = [(61, 47, 16), (37, 58, 24), (40, 40, 16), (75, 71, 32), (135, 101, 24), (33, 35, 32), (32, 32, 32), (50, 32, 32),
         (19, 23, 32), (16, 300, 8)]
for k, (w, h, size) in enumerate(CASES):
    array = scene(w, h) if k % 2 == 0 else rng.randint(0, 2, (h, w, 3)).astype(numpy.uint8) * 255
    arrays[f"prepare_{k}/size"] = numpy.array([w, h, size], numpy.int32)
    arrays[f"prepare_{k}/in"] = array
    arrays[f"prepare_{k}/ldm"] = ldm(array, size)
    arrays[f"prepare_{k}/adm"] = adm(array, size)

# Keys are hashes, as there. Two transactions and some records taken away again leave free pages and two meta pages that
# differ; files above 2 kB lie on pages of their own.
photo = Image.fromarray(scene(90, 70))
file_case("jpeg_photo", photo, "JPEG", quality=95)
file_case("webp_photo", photo, "WEBP", lossless=True)
kept = [name for name in dict.fromkeys(key.split("/")[0] for key in arrays) if name.startswith(("png", "jpeg", "webp"))]
records = {hashlib.sha1(str(i).encode()).hexdigest(): i % len(kept) for i in range(34)}
with tempfile.TemporaryDirectory() as folder:
    with lmdb.open(folder, map_size=1 << 20) as database:
        with database.begin(write=True) as change:
            for key, case in records.items():
                change.put(key.encode(), arrays[kept[case] + "/file"].tobytes())
        with database.begin(write=True) as change:
            for key in sorted(records)[3:20:8]:
                change.delete(key.encode())
                del records[key]
    with open(os.path.join(folder, "data.mdb"), "rb") as file, open(os.path.join(HERE, "lsun.mdb"), "wb") as out:
        out.write(file.read())
arrays["lmdb/case"] = numpy.array([records[key] for key in sorted(records)], numpy.int32)
arrays["lmdb/keys"] = numpy.frombuffer("".join(sorted(records)).encode(), numpy.uint8)

print("PIL", Image.__version__, "libjpeg-turbo", features.version("jpg"), "libwebp", features.version("webp"))
save("pictures", SEED, arrays)
