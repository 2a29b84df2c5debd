"""Writes tests/goldens/images: small PNG and JPEG files of every kind, and the pixels that Pillow makes of them.

Needs the PyPI packages `pillow` and `numpy`. Run from the repository's root:

    python tools/make_image_goldens.py

For each NAME.png or NAME.jpg, NAME.npy holds Image.open(file).convert("RGB") as uint8 [H, W, 3]. Sixteen-bit grey is the exception: Pillow
clips it, Tessera keeps the upper byte. Files of kinds that Pillow cannot write (grey of 2 and 4 bits with interlacing, 16-bit RGB) are put
together here chunk by chunk.
"""

import io
import pathlib
import struct
import zlib

import numpy as np
from PIL import Image

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "goldens" / "images"
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]  # x, y, step x, step y


def scene(height, width):
    """Smooth colours with an edge and a little noise: what JPEG is made for, and what shows every mistake of sampling."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    rgb = np.stack([127 + 120 * np.sin(x / 5.0), 127 + 120 * np.cos(y / 4.0), 255.0 * x / max(width - 1, 1)], axis=-1)
    rgb[height // 3 : height // 2, width // 4 : width // 2] = (250, 20, 30)
    return np.clip(rgb + rng.normal(0, 4, rgb.shape), 0, 255).astype(np.uint8)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(samples, depth, color, interlace=False, extra=b""):
    """samples: [H, W, C] integers of `depth` bits. Filter type 0 throughout."""
    height, width, channels = samples.shape

    def rows(part):
        out = b""
        for row in part:
            flat = row.reshape(-1)
            if depth == 16:
                packed = flat.astype(">u2").tobytes()
            elif depth == 8:
                packed = flat.astype(np.uint8).tobytes()
            else:
                bits = "".join(f"{int(v):0{depth}b}" for v in flat)
                bits += "0" * (-len(bits) % 8)
                packed = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
            out += b"\0" + packed
        return out

    if interlace:
        raw = b"".join(rows(samples[y::sy, x::sx]) for x, y, sx, sy in ADAM7 if samples[y::sy, x::sx].size)
    else:
        raw = rows(samples)
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, int(interlace))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b"")


def saved(image, fmt, **options):
    out = io.BytesIO()
    image.save(out, fmt, **options)
    return out.getvalue()


def orientation(value):
    exif = Image.Exif()
    exif[0x0112] = value
    exif[0x010E] = "a description before it"
    return exif.tobytes()


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(11)
    rgb = scene(23, 37)
    image = Image.fromarray(rgb)
    alpha = rng.integers(0, 256, (23, 37, 1), dtype=np.uint8)
    files = {}

    files["rgb.png"] = saved(image, "PNG")
    files["rgba.png"] = saved(Image.fromarray(np.concatenate([rgb, alpha], -1)), "PNG")
    files["grey_alpha.png"] = saved(Image.fromarray(np.concatenate([rgb[..., :1], alpha], -1), "LA"), "PNG")
    files["palette.png"] = saved(image.quantize(40), "PNG")
    files["palette_transparency.png"] = saved(image.quantize(16), "PNG", transparency=bytes(range(0, 160, 10)))
    files["rgb_transparency.png"] = saved(image, "PNG", transparency=tuple(int(v) for v in rgb[0, 0]))
    files["one_pixel.png"] = saved(image.crop((0, 0, 1, 1)), "PNG")
    for depth in (1, 2, 4, 8, 16):
        grey = rng.integers(0, 1 << depth, (9, 13, 1))
        files[f"grey_{depth}.png"] = png(grey, depth, 0)
        files[f"grey_{depth}_interlaced.png"] = png(grey, depth, 0, interlace=True)
    for depth in (1, 2, 4, 8):
        colors = min(1 << depth, 200)
        table = chunk(b"PLTE", rng.integers(0, 256, 3 * colors, dtype=np.uint8).tobytes())
        files[f"palette_{depth}_interlaced.png"] = png(rng.integers(0, colors, (9, 13, 1)), depth, 3, interlace=True, extra=table)
    files["rgb_16.png"] = png(rng.integers(0, 1 << 16, (9, 13, 3)), 16, 2)
    files["rgba_16_interlaced.png"] = png(rng.integers(0, 1 << 16, (9, 13, 4)), 16, 6, interlace=True)
    files["rgb_interlaced.png"] = png(rgb.astype(int), 8, 2, interlace=True)
    files["one_pixel_interlaced.png"] = png(rgb[:1, :1].astype(int), 8, 2, interlace=True)
    files["profile_and_text.png"] = png(
        rgb[:8, :8].astype(int), 8, 2,
        extra=chunk(b"gAMA", struct.pack(">I", 100000)) + chunk(b"tEXt", b"Comment\0nothing") + chunk(b"iCCP", b"broken\0\0not a profile"),
    )  # gamma, text and a broken colour profile: none of them changes a pixel

    files["rgb_420.jpg"] = saved(image, "JPEG", quality=90, subsampling="4:2:0")
    files["rgb_422.jpg"] = saved(image, "JPEG", quality=90, subsampling="4:2:2")
    files["rgb_444.jpg"] = saved(image, "JPEG", quality=75, subsampling="4:4:4")
    files["progressive.jpg"] = saved(image, "JPEG", quality=60, progressive=True)
    files["restart.jpg"] = saved(image, "JPEG", quality=80, restart_marker_blocks=2)
    files["grey.jpg"] = saved(image.convert("L"), "JPEG", quality=85)
    files["cmyk.jpg"] = saved(image.convert("CMYK"), "JPEG", quality=85)
    files["stored_as_rgb.jpg"] = saved(image, "JPEG", quality=85, keep_rgb=True)
    files["one_pixel.jpg"] = saved(image.crop((0, 0, 1, 1)), "JPEG")
    files["trailing_bytes.jpg"] = files["rgb_444.jpg"] + b"after the end"
    files["trailing_bytes.png"] = files["one_pixel.png"] + b"after the end"

    for name, data in files.items():
        (OUT / name).write_bytes(data)
        if name.startswith("grey_16"):
            pixels = np.asarray(Image.open(io.BytesIO(data))).astype(np.uint16)
            pixels = np.repeat((pixels >> 8).astype(np.uint8)[..., None], 3, axis=-1)
        else:
            pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        np.save(OUT / (name.replace(".", "_") + ".npy"), np.ascontiguousarray(pixels))

    # EXIF: one scene stored in eight ways; ImageOps.exif_transpose is the reference. Lossless in PNG.
    from PIL import ImageOps

    small = Image.fromarray(rgb[:5, :7])
    for value in range(1, 9):
        data = saved(small, "PNG", exif=orientation(value))
        (OUT / f"exif_{value}.png").write_bytes(data)
        upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        np.save(OUT / f"exif_{value}_png.npy", np.ascontiguousarray(np.asarray(upright.convert("RGB"))))
    for value in (3, 6):
        data = saved(Image.fromarray(rgb[:10, :17]), "JPEG", quality=90, exif=orientation(value))
        (OUT / f"exif_{value}.jpg").write_bytes(data)
        upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        np.save(OUT / f"exif_{value}_jpg.npy", np.ascontiguousarray(np.asarray(upright.convert("RGB"))))


if __name__ == "__main__":
    main()
