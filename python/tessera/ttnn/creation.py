"""Tensors of given values: zeros, ones, full, empty, arange, rand, and their *_like."""

from __future__ import annotations

import numpy as np

from tessera import _tessera
from tessera.ttnn import golden
from tessera.ttnn.convert import cast_part, check_dtype, from_torch
from tessera.ttnn.device import check_device
from tessera.ttnn.enums import BLOCK_FLOATS, ROW_MAJOR_LAYOUT, TILE_LAYOUT, Layout, Shape, bfloat16
from tessera.ttnn.memory import DRAM_MEMORY_CONFIG, MemoryConfig, check_memory_config
from tessera.ttnn.registry import COMPUTED, check_kind, check_tensor, operation, write
from tessera.ttnn.tensor import Tensor


def _filled(name, shape, value, dtype, layout, device, memory_config, optional_tensor=None):
    if not isinstance(shape, (list, tuple)):
        raise TypeError(f"{name}(): incompatible function arguments. shape: expected sizes, got {shape!r}")
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise TypeError(f"{name}(): incompatible function arguments. fill_value: expected a number, got {value!r}")
    if optional_tensor is not None:
        check_tensor(name, optional_tensor)
        dtype, layout, device = optional_tensor._dtype, optional_tensor._layout, optional_tensor._device
    dtype = bfloat16 if dtype is None else check_dtype(name, dtype)
    layout = check_kind(name, "layout", layout, Layout) or ROW_MAJOR_LAYOUT
    layout = TILE_LAYOUT if dtype in BLOCK_FLOATS else layout
    config = check_kind(name, "memory_config", memory_config, MemoryConfig) or DRAM_MEMORY_CONFIG
    shape = Shape(shape)
    check_memory_config(config, shape, layout)
    if device is not None:
        check_device(name, device)
    part = cast_part(_tessera.full(list(shape), float(value), COMPUTED[dtype]), dtype)
    parts = (part,) * (1 if device is None else device.get_num_devices())
    made = Tensor._make(parts, dtype, layout, config, device)
    return made if optional_tensor is None else write(name, made, optional_tensor)


@operation("ttnn.zeros", golden=golden.zeros)
def zeros(shape, dtype=None, layout=None, device=None, memory_config=None):
    """All 0; bfloat16 in row-major layout on the host unless said otherwise."""
    return _filled("ttnn.zeros", shape, 0, dtype, layout, device, memory_config)


@operation("ttnn.ones", golden=golden.ones)
def ones(shape, dtype=None, layout=None, device=None, memory_config=None):
    """All 1."""
    return _filled("ttnn.ones", shape, 1, dtype, layout, device, memory_config)


@operation("ttnn.full", golden=golden.full)
def full(shape, fill_value, dtype=None, layout=None, device=None, memory_config=None, optional_tensor=None, queue_id=0):
    """All fill_value."""
    return _filled("ttnn.full", shape, fill_value, dtype, layout, device, memory_config, optional_tensor)


@operation("ttnn.empty", deviation="Filled with zeros: nothing reads memory that was never written.")
def empty(shape, dtype=None, layout=None, device=None, memory_config=None):
    """Elements of no particular value."""
    return _filled("ttnn.empty", shape, 0, dtype, layout, device, memory_config)


def _like(name, tensor, value, dtype, layout, device, memory_config, optional_tensor=None):
    check_tensor(name, tensor)
    return _filled(
        name,
        tensor.shape,
        value,
        dtype or tensor._dtype,
        layout or tensor._layout,
        device if device is not None else tensor._device,
        memory_config or (DRAM_MEMORY_CONFIG if dtype is not None or layout is not None else tensor._memory_config),
        optional_tensor,
    )


@operation("ttnn.zeros_like", golden=golden.zeros_like)
def zeros_like(tensor, *, dtype=None, layout=None, device=None, memory_config=None, optional_tensor=None):
    """All 0, otherwise like `tensor`."""
    return _like("ttnn.zeros_like", tensor, 0, dtype, layout, device, memory_config, optional_tensor)


@operation("ttnn.ones_like", golden=golden.ones_like)
def ones_like(tensor, *, dtype=None, layout=None, device=None, memory_config=None, optional_tensor=None):
    """All 1, otherwise like `tensor`."""
    return _like("ttnn.ones_like", tensor, 1, dtype, layout, device, memory_config, optional_tensor)


@operation("ttnn.full_like", golden=golden.full_like)
def full_like(tensor, fill_value, *, dtype=None, layout=None, device=None, memory_config=None, optional_tensor=None, queue_id=0):
    """All fill_value, otherwise like `tensor`."""
    return _like("ttnn.full_like", tensor, fill_value, dtype, layout, device, memory_config, optional_tensor)


@operation("ttnn.empty_like", deviation="Filled with zeros.")
def empty_like(tensor, *, dtype=None, layout=None, device=None, memory_config=None):
    """Elements of no particular value, otherwise like `tensor`."""
    return _like("ttnn.empty_like", tensor, 0, dtype, layout, device, memory_config)


@operation("ttnn.arange", golden=golden.arange)
def arange(*bounds, start=None, end=None, step=None, dtype=bfloat16, device=None, memory_config=None, layout=ROW_MAJOR_LAYOUT):
    """arange(end), arange(start, end, step=1): from start to before end."""
    name = "ttnn.arange"
    if len(bounds) > 3 or (bounds and len(bounds) == 1 and end is not None and start is not None):
        raise TypeError(f"{name}(): incompatible function arguments. expected end, or start, end and step")
    if len(bounds) == 1:
        start, end = (bounds[0], end) if end is not None else (0 if start is None else start, bounds[0])
    elif bounds:
        start, end = bounds[:2]
        step = bounds[2] if len(bounds) == 3 else step
    step = 1 if step is None else step
    start = 0 if start is None else start
    if end is None or any(isinstance(v, bool) or not isinstance(v, (int, float, np.number)) for v in (start, end, step)):
        raise TypeError(f"{name}(): incompatible function arguments. expected numbers, got {start!r}, {end!r}, {step!r}")
    if step == 0 or (end - start) / step < 0:
        raise RuntimeError(f"[{name}] expected a step that leads from {start} to {end}, got {step}")
    check_dtype(name, dtype)
    if device is not None:
        check_device(name, device)
    exact = _tessera.arange(float(start), float(end), float(step), COMPUTED[dtype])
    part = cast_part(exact, dtype)
    layout = TILE_LAYOUT if dtype in BLOCK_FLOATS else layout
    return Tensor._make((part,) * (1 if device is None else device.get_num_devices()), dtype, layout, memory_config or DRAM_MEMORY_CONFIG, device)


_GENERATOR = np.random.default_rng(0)


@operation("ttnn.rand", deviation="Numbers of NumPy's generator.")
def rand(shape, device=None, *, dtype=bfloat16, layout=TILE_LAYOUT, memory_config=None, low=0.0, high=1.0, seed=0):
    """Uniform in [low, high); the same ones for the same seed, if it is not 0."""
    generator = np.random.default_rng(seed) if seed else _GENERATOR
    return from_torch(generator.uniform(low, high, tuple(shape)).astype(np.float32), dtype, layout=layout, device=device, memory_config=memory_config)
