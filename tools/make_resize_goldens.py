#!/usr/bin/env python3
"""Writes tests/goldens/resize/resize.safetensors: what Pillow, jax and torch make of a few pictures.

Needs pillow < 13 (13 may run the vertical pass first), numpy, safetensors, jax and torch (CPU). Run from the root of the repository; README.md beside the file names the versions
that the stored one was made with. The tests read the inputs from the file too, so that no random generator has to agree.
"""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import torch
from safetensors.numpy import save_file

# (name, height, width, channels, new height, new width)
CASES = [
    ("down", 61, 83, 3, 21, 28),
    ("down_a_little", 40, 50, 3, 33, 47),
    ("up", 9, 13, 3, 24, 31),
    ("up_and_down", 12, 70, 3, 40, 19),
    ("height_only", 45, 20, 3, 17, 20),
    ("width_only", 20, 45, 3, 20, 17),
    ("gray", 37, 29, 1, 16, 16),
    ("one_row", 1, 40, 3, 5, 9),
    ("to_one_pixel", 19, 23, 3, 1, 1),
    ("camera", 240, 320, 3, 42, 56),
]

# (name, height, width, target height, target width), three channels
PADDED = [
    ("wide", 30, 53, 28, 28),
    ("tall", 53, 30, 28, 28),
    ("small", 10, 7, 28, 28),
    ("sliver", 2, 90, 16, 16),
    ("fits_one_side", 16, 10, 16, 16),
    ("not_square", 33, 31, 20, 40),
    ("same", 20, 24, 20, 24),
]


def picture(rng, height, width, channels):
    """Half smooth, half noise, with black and white blocks."""
    y, x = np.mgrid[0:height, 0:width]
    smooth = 127 + 120 * np.sin(x / 5.0) * np.cos(y / 7.0)
    img = np.repeat(smooth[..., None], channels, -1)
    img[:, width // 2 :] = rng.integers(0, 256, size=img[:, width // 2 :].shape)
    img[: max(1, height // 8), : max(1, width // 8)] = 255
    img[-max(1, height // 8) :, -max(1, width // 8) :] = 0
    return np.clip(img, 0, 255).astype(np.uint8)


def by_pil(img, height, width):
    mode = img[..., 0] if img.shape[-1] == 1 else img
    out = np.asarray(PIL.Image.fromarray(mode).resize((width, height), PIL.Image.Resampling.BILINEAR))
    return out.reshape(height, width, img.shape[-1])


def by_jax(img, height, width):
    return np.asarray(jax.image.resize(jnp.asarray(img), (height, width, img.shape[-1]), method="linear"))


def by_torch(img, height, width):
    planes = torch.from_numpy(np.ascontiguousarray(img.transpose(2, 0, 1)))[None]
    out = torch.nn.functional.interpolate(planes, size=(height, width), mode="bilinear", align_corners=False)
    return out[0].numpy().transpose(1, 2, 0)


def to_u8(x):
    return np.clip(np.round(x), 0, 255).astype(np.uint8)


def padded(img, height, width, resize, fill):
    """The letterbox of openpi and LeRobot: sizes in double, truncated; the odd pixel right and bottom."""
    if img.shape[:2] == (height, width):
        return img
    ratio = max(img.shape[1] / width, img.shape[0] / height)
    h, w = max(1, int(img.shape[0] / ratio)), max(1, int(img.shape[1] / ratio))
    top, left = (height - h) // 2, (width - w) // 2
    out = np.full((height, width, img.shape[-1]), fill, img.dtype)
    out[top : top + h, left : left + w] = resize(img, h, w)
    return out


def main():
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    tensors = {}
    for name, h, w, c, nh, nw in CASES:
        img = picture(rng, h, w, c)
        tensors[f"{name}.x"] = img
        tensors[f"{name}.pil"] = by_pil(img, nh, nw)
        as_float = img.astype(np.float32) / np.float32(255)
        tensors[f"{name}.jax_f32"] = by_jax(as_float, nh, nw)
        tensors[f"{name}.jax_u8"] = to_u8(by_jax(img, nh, nw))
        tensors[f"{name}.torch_f32"] = by_torch(as_float, nh, nw)
    for name, h, w, nh, nw in PADDED:
        img = picture(rng, h, w, 3)
        as_float = img.astype(np.float32) / np.float32(255)
        tensors[f"pad.{name}.x"] = img
        tensors[f"pad.{name}.pil"] = padded(img, nh, nw, by_pil, 0)
        tensors[f"pad.{name}.jax_u8"] = padded(img, nh, nw, lambda *a: to_u8(by_jax(*a)), 0)
        tensors[f"pad.{name}.torch_f32"] = padded(as_float, nh, nw, lambda *a: np.clip(by_torch(*a), 0, 1), 0)
    path = pathlib.Path(__file__).resolve().parent.parent / "tests" / "goldens" / "resize" / "resize.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, path)
    print(f"{path.name}: {len(tensors)} tensors, {path.stat().st_size} bytes")
    print("pillow", PIL.__version__, "jax", jax.__version__, "torch", torch.__version__, torch.backends.cpu.get_cpu_capability())


if __name__ == "__main__":
    main()
