"""What the programs share: a device, random weights, the comparison and the profile. Each program is `python NAME.py [bfloat16|float32]`."""

import contextlib
import sys

import numpy as np

import tessera
import tessera.ttnn as ttnn

LIMITS = {ttnn.bfloat16: 0.99, ttnn.float32: 0.9999}


def wanted_dtype():
    word = sys.argv[1] if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else "bfloat16"
    if word not in ("bfloat16", "float32"):
        sys.exit(f"expected bfloat16 or float32, got {word}")
    return getattr(ttnn, word)


class Weights:
    """Random weights that the program takes as tensors and the reference as arrays of the same rounded numbers."""

    def __init__(self, device, dtype, seed=0):
        self.device, self.dtype, self.rng = device, dtype, np.random.default_rng(seed)
        self.arrays, self.tensors = {}, {}

    def normal(self, name, *shape, scale=None, offset=0.0):
        scale = shape[0] ** -0.5 if scale is None else scale
        return self.take(name, self.rng.standard_normal(shape, dtype=np.float32) * scale + offset)

    def take(self, name, array, layout=ttnn.TILE_LAYOUT, dtype=None):
        tensor = ttnn.from_torch(np.asarray(array, np.float32), dtype=dtype or self.dtype, layout=layout, device=self.device)
        self.tensors[name], self.arrays[name] = tensor, ttnn.to_numpy(tensor).astype(np.float64)
        return tensor

    def __getitem__(self, name):
        return self.tensors[name]


@contextlib.contextmanager
def device():
    d = ttnn.open_device(device_id=0)
    try:
        yield d
    finally:
        ttnn.close_device(d)


def report(title, program, reference, dtype):
    """Runs the program once to fill caches and once with a profile; compares; exits with 1 when it is not close enough."""
    program()
    with tessera.profile() as profile:
        result = program()
    got = ttnn.to_numpy(result)
    correlation = ttnn.pearson_correlation_coefficient(reference, got)
    print(profile)
    good = correlation >= LIMITS[dtype] and got.shape == reference.shape
    print(f"{title}: {dtype.name.lower()} {list(got.shape)}, PCC {correlation:.6f} (limit {LIMITS[dtype]}): {'ok' if good else 'NOT CLOSE ENOUGH'}")
    if not good:
        sys.exit(1)
