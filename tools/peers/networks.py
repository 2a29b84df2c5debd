"""MobileNetV2 and EfficientNet-Lite0 as lists of layers, and weights for them: made up here, or read from a file and with the batch norms folded in.

The lists are what every peer builds its model from, so that all compute the same with the same numbers. Only folded() needs numpy.
"""

import array
import dataclasses
import json
import math
import pathlib
import random
import struct

SIDE = 224
CLASSES = 1000
HEAD = 1280
# expansion, channels, repeats, stride, kernel
ROWS = {
    "mobilenet_v2": [(1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 32, 3, 2, 3), (6, 64, 4, 2, 3), (6, 96, 3, 1, 3), (6, 160, 3, 2, 3), (6, 320, 1, 1, 3)],
    "efficientnet_lite0": [(1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3)],
}
EPS = {"mobilenet_v2": 1e-5, "efficientnet_lite0": 1e-3}
LINEAR = {"mobilenet_v2": "classifier.1", "efficientnet_lite0": "_fc"}


@dataclasses.dataclass
class Layer:
    """A convolution, the batch norm behind it, ReLU6 where `active`, and the residual of its block."""

    conv: str
    norm: str
    inputs: int
    outputs: int
    kernel: int
    stride: int
    groups: int
    active: bool
    side: int  # of the output
    before: int  # padding at the top and at the left
    after: int
    keeps: bool = False  # what it reads is what a later layer adds
    adds: bool = False

    @property
    def shape(self):
        return (self.outputs, self.inputs // self.groups, self.kernel, self.kernel)

    @property
    def flops(self):
        return 2 * self.side * self.side * math.prod(self.shape)


def layers(net):
    """The convolutions in order; after them the mean over the picture and one linear layer."""
    found, side = [], SIDE

    def add(names, inputs, outputs, kernel=1, stride=1, groups=1, active=True):
        nonlocal side
        after_side = -(-side // stride)
        total = kernel - 1 if net == "mobilenet_v2" else max((after_side - 1) * stride + kernel - side, 0)
        side = after_side
        found.append(Layer(*names, inputs, outputs, kernel, stride, groups, active, side, total // 2, total - total // 2))

    def block(index, part, expands):
        """Names of a block's convolution and norm; part 0 expands, 1 is depthwise, 2 projects."""
        if net == "mobilenet_v2":
            place = f"features.{index + 1}.conv."
            at = part if expands else part - 1
            return (f"{place}{at}.0", f"{place}{at}.1") if part < 2 else (f"{place}{at}", f"{place}{at + 1}")
        return f"_blocks.{index}._{('expand', 'depthwise', 'project')[part]}_conv", f"_blocks.{index}._bn{part}"

    ends = (("features.0.0", "features.0.1"), ("features.18.0", "features.18.1"))
    if net != "mobilenet_v2":
        ends = (("_conv_stem", "_bn0"), ("_conv_head", "_bn1"))
    channels, index = 32, 0
    add(ends[0], 3, channels, 3, 2)
    for expansion, outputs, repeats, row_stride, kernel in ROWS[net]:
        for repeat in range(repeats):
            stride = row_stride if repeat == 0 else 1
            first, wide, expands = len(found), channels * expansion, expansion > 1
            if expands:
                add(block(index, 0, expands), channels, wide)
            add(block(index, 1, expands), wide, wide, kernel, stride, wide)
            add(block(index, 2, expands), wide, outputs, active=False)
            found[first].keeps = found[-1].adds = stride == 1 and channels == outputs
            channels, index = outputs, index + 1
    add(ends[1], channels, HEAD)
    return found


def flops(net):
    """(depthwise, all the rest) of one picture."""
    depthwise = sum(layer.flops for layer in layers(net) if layer.groups > 1)
    return depthwise, sum(layer.flops for layer in layers(net)) - depthwise + 2 * HEAD * CLASSES


def write_random(net, path):
    """A safetensors file with weights that keep the values of every layer near 1 and batch norms that do something."""
    rng = random.Random(0)
    header, blobs, at = {}, [], 0

    def put(name, shape, low, high):
        nonlocal at
        blob = array.array("f", (low + (high - low) * rng.random() for _ in range(math.prod(shape)))).tobytes()
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)

    for layer in layers(net):
        reach = math.sqrt(6 / math.prod(layer.shape[1:]))
        put(layer.conv + ".weight", layer.shape, -reach, reach)
        for part, low, high in ((".weight", 0.8, 1.2), (".bias", -0.3, 0.5), (".running_mean", -0.2, 0.2), (".running_var", 0.5, 1.5)):
            put(layer.norm + part, (layer.outputs,), low, high)
    put(LINEAR[net] + ".weight", (CLASSES, HEAD), -0.1, 0.1)
    put(LINEAR[net] + ".bias", (CLASSES,), -0.1, 0.1)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.writelines(blobs)


def folded(net, path):
    """[(layer, weight, bias)], (weight, bias) of the linear layer; float32 arrays. `path`: a safetensors file, or a folder with model.safetensors."""
    import numpy as np

    path = pathlib.Path(path)
    data = (path / "model.safetensors" if path.is_dir() else path).read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])

    def tensor(name):
        entry = header[name]
        if entry["dtype"] != "F32":
            raise ValueError(f"{name} is {entry['dtype']}, F32 is expected")
        first, last = entry["data_offsets"]
        return np.frombuffer(data[8 + size + first : 8 + size + last], np.float32).reshape(entry["shape"])

    convolutions = []
    for layer in layers(net):
        gamma, beta, mean, var = (tensor(layer.norm + part).astype(np.float64) for part in (".weight", ".bias", ".running_mean", ".running_var"))
        factor = gamma / np.sqrt(var + EPS[net])
        weight = tensor(layer.conv + ".weight") * factor[:, None, None, None]
        convolutions.append((layer, weight.astype(np.float32), (beta - mean * factor).astype(np.float32)))
    return convolutions, (tensor(LINEAR[net] + ".weight"), tensor(LINEAR[net] + ".bias"))
