"""What the tests of the Python package share: a device, random arrays, and one way to compare with a golden function."""

import math
import pathlib

import numpy as np
import pytest

import tessera.ttnn as ttnn

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDENS = ROOT / "tests" / "goldens"

try:
    import torch
except ImportError:
    torch = None
needs_torch = pytest.mark.skipif(torch is None, reason="torch is not installed here")

# One rounding of a result, relative: half a step of the mantissa. Block floats lose up to a step of the largest of their 16 neighbours.
STEP = {ttnn.float32: 2.0**-24, ttnn.bfloat16: 2.0**-9}
BLOCK_STEP = {ttnn.bfloat8_b: 2.0**-6, ttnn.bfloat4_b: 2.0**-2}


@pytest.fixture
def device():
    d = ttnn.open_device(device_id=0)
    yield d
    ttnn.close_device(d)


@pytest.fixture
def rng():
    return np.random.default_rng(1234)


def as_held(array, dtype):
    """The numbers that a tensor of this dtype holds of the array, as doubles: what a golden function is to be given."""
    return ttnn.to_numpy(ttnn.from_torch(array, dtype=dtype, layout=ttnn.TILE_LAYOUT)).astype(np.float64)


def on(device, array, dtype=ttnn.float32, layout=ttnn.TILE_LAYOUT, memory_config=None):
    return ttnn.from_torch(array, dtype=dtype, layout=layout, device=device, memory_config=memory_config)


def assert_close(got, wanted, dtype=ttnn.float32, length=1, scale=None, steps=2.0):
    """|got - wanted| within what rounding explains. Sums of `length` float32 products may be off by sqrt(length) + 4 roundings of the magnitude
    `scale` (default: of the largest result); the result is rounded once to `dtype`; `steps`: for functions that are exact to so many roundings."""
    got, wanted = np.asarray(ttnn.to_numpy(got) if isinstance(got, ttnn.Tensor) else got, np.float64), np.asarray(wanted, np.float64)
    assert got.shape == wanted.shape, f"{got.shape} instead of {wanted.shape}"
    assert (np.isnan(got) == np.isnan(wanted)).all(), "NaN elsewhere"
    finite = np.isfinite(wanted)
    assert (got[~finite & ~np.isnan(wanted)] == wanted[~finite & ~np.isnan(wanted)]).all(), "infinities differ"
    if not finite.any():
        return
    magnitude = np.abs(wanted[finite])
    scale = magnitude.max() if scale is None else scale
    if dtype in BLOCK_STEP:
        limit = np.full(magnitude.shape, BLOCK_STEP[dtype] * magnitude.max() * 2)
    else:
        limit = steps * (STEP[dtype] * magnitude * (1.0 + 1e-6)) + (math.sqrt(length) + 4 if length > 1 else steps) * 2.0**-24 * scale + 1e-38
    error = np.abs(got[finite] - wanted[finite])
    worst = int(np.argmax(error - limit))
    assert (error <= limit).all(), f"off by {error[worst]:.3g}, limit {limit[worst]:.3g}: {got[finite][worst]!r} instead of {wanted[finite][worst]!r}"
