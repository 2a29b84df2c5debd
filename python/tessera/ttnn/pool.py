"""Pools and upsampling of NHWC pictures, whole or flattened to [1, 1, n h w, c]."""

from __future__ import annotations

import contextlib
import contextvars

from tessera import _tessera
from tessera.ttnn import golden
from tessera.ttnn.enums import BLOCK_FLOATS, FLOATS, ROW_MAJOR_LAYOUT, TILE_LAYOUT, Layout, ShardOrientation, TensorMemoryLayout, bfloat16, uint16, uint32
from tessera.ttnn.memory import MemoryConfig
from tessera.ttnn.registry import QUANTISED, STORED, check_kind, check_on_device, each, finish, operation, record

_D = _tessera.DType
_strict = contextvars.ContextVar("strict", default=False)  # adaptive pools refuse what TTNN's refuse


@contextlib.contextmanager
def strict_mode():
    """Adaptive pools of this thread refuse, in this block, the sizes that TTNN refuses or answers wrongly, in its words."""
    token = _strict.set(True)
    try:
        yield
    finally:
        _strict.reset(token)


def _sizes(name, what, value, counts):
    if hasattr(value, "__index__") and not isinstance(value, bool):
        value = [value] * 2
    try:
        made = [int(v) for v in value]
    except (TypeError, ValueError):
        raise TypeError(f"{name}(): incompatible function arguments. {what}: expected numbers, got {value!r}") from None
    if len(made) not in counts:
        raise RuntimeError(f"[{name}] {what}: expected {' or '.join(map(str, counts))} numbers, got {made}")
    return made


def four(padding):
    """(top, bottom, left, right) of (height, width) or of four."""
    return [padding[0], padding[0], padding[1], padding[1]] if len(padding) == 2 else list(padding)


def _pictures(name, x, batch_size, input_h, input_w, channels):
    device = check_on_device(name, x)
    if x._dtype not in FLOATS:
        raise RuntimeError(f"[{name}] expected a float dtype, got {x._dtype}")
    for what, n in (("batch_size", batch_size), ("input_h", input_h), ("input_w", input_w), ("channels", channels)):
        if isinstance(n, bool) or not hasattr(n, "__index__"):
            raise TypeError(f"{name}(): incompatible function arguments. {what}: expected a number, got {n!r}")
        if n < 1:
            raise RuntimeError(f"[{name}] {what}: expected 1 or more, got {n}")
    if len(x.shape) != 4 or x.shape.volume() != batch_size * input_h * input_w * channels or x.shape[-1] != channels:
        raise RuntimeError(f"[{name}] expected [1, 1, {batch_size * input_h * input_w}, {channels}] or [{batch_size}, {input_h}, {input_w}, {channels}], got {list(x.shape)}")
    return device, [1, 1, batch_size * input_h * input_w, channels]


def _check_output(name, x, dtype, layout, scheme):
    check_kind(name, "output_layout", layout, Layout)
    check_kind(name, "applied_shard_scheme", scheme, TensorMemoryLayout)
    if dtype not in (bfloat16, *BLOCK_FLOATS):
        raise RuntimeError(f"[{name}] expected an output dtype of BFLOAT16, BFLOAT8_B or BFLOAT4_B, got {dtype}: Currently only BFLOAT16, BFLOAT8_B, and BFLOAT4_B output data formats are supported")
    if dtype in BLOCK_FLOATS and layout is not TILE_LAYOUT:
        raise RuntimeError(f"[{name}] expected TILE output layout for {dtype}, got {layout}")
    if scheme is not None:
        if scheme is TensorMemoryLayout.INTERLEAVED:
            raise RuntimeError(f"[{name}] expected a height, width or block sharded scheme, got {scheme}")
        if x.is_sharded():
            raise RuntimeError(f"[{name}] expected an interleaved input with applied_shard_scheme, got a sharded one: A sharding scheme should not be specified for a sharded input tensor.")
    if x.is_sharded() and x._memory_config.shard_spec is not None and x._memory_config.shard_spec.orientation is not ShardOrientation.ROW_MAJOR:
        raise RuntimeError(f"[{name}] expected ROW_MAJOR shard orientation, got {x._memory_config.shard_spec.orientation}")


def _done(name, parts, x, dtype, layout, memory_config, device, deallocate_input):
    if dtype in BLOCK_FLOATS:
        made = finish(name, parts, dtype, layout, memory_config, device)
    else:
        made = finish(name, tuple(p if p.dtype == STORED[dtype] else _tessera.typecast(p, STORED[dtype]) for p in parts), dtype, layout, memory_config, device)
    if deallocate_input:
        x.deallocate()
    return made


@operation("ttnn.max_pool2d", golden=golden.max_pool2d, page="pool", deviation="Slice and shard schemes are recorded. float32 input is rounded to the output dtype at the end.")
def max_pool2d(
    input_tensor,
    batch_size,
    input_h,
    input_w,
    channels,
    kernel_size,
    stride,
    padding,
    dilation=(1, 1),
    ceil_mode=False,
    *,
    memory_config=None,
    dram_slice_config=None,
    applied_shard_scheme=None,
    in_place_halo=False,
    deallocate_input=False,
    reallocate_halo_output=True,
    return_indices=False,
    dtype=bfloat16,
    output_layout=ROW_MAJOR_LAYOUT,
    config_tensor_in_dram=False,
    queue_id=0,
):
    """The largest of every window; padding takes no part. Padding is (h, w) or (top, bottom, left, right). [1, 1, n ho wo, c]; with return_indices
    [values, indices]: h w + w of the maximum in its picture, uint16, or uint32 where a picture has more than 65535 pixels."""
    name = "ttnn.max_pool2d"
    device, flat = _pictures(name, input_tensor, batch_size, input_h, input_w, channels)
    _check_output(name, input_tensor, dtype, output_layout, applied_shard_scheme)
    kernel, step = _sizes(name, "kernel_size", kernel_size, (2,)), _sizes(name, "stride", stride, (2,))
    if min(step) < 1:
        raise RuntimeError(f"[{name}] stride: expected 1 or more, got {step}")
    edges, spread = four(_sizes(name, "padding", padding, (2, 4))), _sizes(name, "dilation", dilation, (2,))
    record(device, name, input_tensor._spec(), tuple(kernel), tuple(step), tuple(edges), tuple(spread), ceil_mode, return_indices, dtype, output_layout)
    size = [input_h, input_w]
    run = lambda p: _tessera.max_pool2d(p.reshape(flat), batch_size, size, kernel, step, edges, spread, bool(ceil_mode), bool(return_indices))  # noqa: E731
    parts = each(run, input_tensor)
    if not return_indices:
        return _done(name, parts, input_tensor, dtype, output_layout, memory_config, device, deallocate_input)
    kind = uint16 if input_h * input_w <= 65536 else uint32
    indices = finish(name, tuple(_tessera.typecast(p[1], STORED[kind]) for p in parts), kind, output_layout, memory_config, device)
    values = _done(name, tuple(p[0] for p in parts), input_tensor, dtype, output_layout, memory_config, device, deallocate_input)
    return [values, indices]


@operation("ttnn.avg_pool2d", golden=golden.avg_pool2d, page="pool", deviation="Divides in float32, where a device multiplies by a bfloat16 reciprocal.")
def avg_pool2d(
    input_tensor,
    batch_size,
    input_h,
    input_w,
    channels,
    kernel_size,
    stride,
    padding,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
    *,
    memory_config=None,
    dram_slice_config=None,
    applied_shard_scheme=None,
    compute_kernel_config=None,
    in_place_halo=False,
    deallocate_input=False,
    reallocate_halo_output=True,
    dtype=bfloat16,
    output_layout=ROW_MAJOR_LAYOUT,
    config_tensor_in_dram=False,
    queue_id=0,
):
    """The mean of every window, which counts its padding unless count_include_pad=False."""
    name = "ttnn.avg_pool2d"
    device, flat = _pictures(name, input_tensor, batch_size, input_h, input_w, channels)
    _check_output(name, input_tensor, dtype, output_layout, applied_shard_scheme)
    kernel, step = _sizes(name, "kernel_size", kernel_size, (2,)), _sizes(name, "stride", stride, (2,))
    if min(step) < 1:
        raise RuntimeError(f"[{name}] stride: expected 1 or more, got {step}")
    edges = four(_sizes(name, "padding", padding, (2, 4)))
    if divisor_override == 0:
        raise RuntimeError(f"[{name}] divisor_override: expected a number other than 0, got 0")
    record(device, name, input_tensor._spec(), tuple(kernel), tuple(step), tuple(edges), ceil_mode, count_include_pad, divisor_override, dtype, output_layout)
    size = [input_h, input_w]
    parts = each(
        lambda p: _tessera.avg_pool2d(p.reshape(flat), batch_size, size, kernel, step, edges, bool(ceil_mode), bool(count_include_pad), divisor_override or 0),
        input_tensor,
    )
    return _done(name, parts, input_tensor, dtype, output_layout, memory_config, device, deallocate_input)


def _adaptive(name, function, x, batch_size, input_h, input_w, channels, output_size, memory_config, scheme, deallocate_input):
    device, flat = _pictures(name, x, batch_size, input_h, input_w, channels)
    check_kind(name, "memory_config", memory_config, MemoryConfig)
    _check_output(name, x, bfloat16, ROW_MAJOR_LAYOUT, scheme)
    output = _sizes(name, "output_size", output_size, (2,))
    if min(output) < 1:
        raise RuntimeError(f"[{name}] output_size: expected 1 or more, got {output}")
    record(device, name, x._spec(), batch_size, input_h, input_w, channels, tuple(output))
    parts = each(lambda p: function(p.reshape(flat), batch_size, [input_h, input_w], output, _strict.get()), x)
    return _done(name, parts, x, bfloat16, ROW_MAJOR_LAYOUT, memory_config, device, deallocate_input)


@operation("ttnn.adaptive_avg_pool2d", golden=golden.adaptive_avg_pool2d, page="adaptive_plan", deviation="Exact for every size; ttnn.strict_mode() refuses what TTNN refuses.")
def adaptive_avg_pool2d(
    input_tensor,
    batch_size,
    input_h,
    input_w,
    channels,
    output_size,
    *,
    memory_config=None,
    dram_slice_config=None,
    applied_shard_scheme=None,
    compute_kernel_config=None,
    in_place_halo=False,
    deallocate_input=False,
    reallocate_output=True,
):
    """Means of PyTorch's windows, for every size: bfloat16 [1, 1, n oh ow, c] in row-major layout."""
    name = "ttnn.adaptive_avg_pool2d"
    return _adaptive(name, _tessera.adaptive_avg_pool2d, input_tensor, batch_size, input_h, input_w, channels, output_size, memory_config, applied_shard_scheme, deallocate_input)


@operation("ttnn.adaptive_max_pool2d", golden=golden.adaptive_max_pool2d, page="adaptive_plan", deviation="Exact for every size; ttnn.strict_mode() refuses what TTNN refuses.")
def adaptive_max_pool2d(
    input_tensor,
    batch_size,
    input_h,
    input_w,
    channels,
    output_size,
    *,
    memory_config=None,
    dram_slice_config=None,
    applied_shard_scheme=None,
    in_place_halo=False,
    deallocate_input=False,
    reallocate_output=True,
):
    """The largest of PyTorch's windows, for every size: bfloat16 [1, 1, n oh ow, c] in row-major layout."""
    name = "ttnn.adaptive_max_pool2d"
    return _adaptive(name, _tessera.adaptive_max_pool2d, input_tensor, batch_size, input_h, input_w, channels, output_size, memory_config, applied_shard_scheme, deallocate_input)


@operation("ttnn.global_avg_pool2d", golden=golden.global_avg_pool2d, page="pool")
def global_avg_pool2d(input_tensor, *, memory_config=None, dtype=None):
    """The mean of every channel: [n, 1, 1, c] in tile layout, of [n, h, w, c], [h, w, c] or [w, c]. ValueError for other ranks."""
    name = "ttnn.global_avg_pool2d"
    device = check_on_device(name, input_tensor)
    rank = len(input_tensor.shape)
    if rank not in (2, 3, 4):
        raise ValueError(f"[{name}] expected 2, 3 or 4 dimensions, got {list(input_tensor.shape)}")
    n, h, w, c = input_tensor.shape.to_rank(4)
    from tessera.ttnn.convert import check_dtype

    new = input_tensor._dtype if dtype is None else check_dtype(name, dtype)
    record(device, name, input_tensor._spec(), new)
    mean = int(_tessera.ReduceOp.mean.value)
    kept = _D.float32 if new in QUANTISED else STORED[new]
    parts = each(lambda p: _tessera.reduce(p.reshape([n, h * w, c]), mean, [1], True, kept).reshape([n, 1, 1, c]), input_tensor)
    return finish(name, parts, new, TILE_LAYOUT, memory_config, device)


@operation("ttnn.upsample", golden=golden.upsample, page="interpolate")
def upsample(input_tensor, scale_factor, *, mode="nearest", memory_config=None, compute_kernel_config=None):
    """Every pixel of [n, h, w, c] repeated (nearest), or blended between pixel centres (bilinear, whole factors)."""
    name = "ttnn.upsample"
    device = check_on_device(name, input_tensor)
    if len(input_tensor.shape) != 4:
        raise RuntimeError(f"[{name}] expected a tensor of four dimensions, got {list(input_tensor.shape)}")
    if mode not in ("nearest", "bilinear"):
        raise RuntimeError(f"[{name}] mode: expected nearest or bilinear, got {mode!r}")
    scale = list(scale_factor) if isinstance(scale_factor, (list, tuple)) else [scale_factor] * 2
    if any(isinstance(s, bool) or not isinstance(s, (int, float)) for s in scale):
        raise TypeError(f"{name}(): incompatible function arguments. scale_factor: expected numbers, got {scale_factor!r}")
    scale = [float(s) for s in scale]
    if len(scale) != 2 or not all(0 < s <= 4096 for s in scale):
        raise RuntimeError(f"[{name}] scale_factor: expected one or two numbers above 0, got {scale_factor!r}")
    if mode == "bilinear" and not all(s.is_integer() for s in scale):
        raise RuntimeError(f"[{name}] scale_factor: expected whole numbers for bilinear, got {scale_factor!r}")
    if min(int(input_tensor.shape[1] * scale[0]), int(input_tensor.shape[2] * scale[1])) < 1:
        raise RuntimeError(f"[{name}] scale_factor: expected a picture to remain, got {scale_factor!r} of {list(input_tensor.shape)}")
    record(device, name, input_tensor._spec(), tuple(scale), mode)
    parts = each(lambda p: _tessera.upsample(p, scale, mode == "bilinear"), input_tensor)
    return finish(name, parts, input_tensor._dtype, input_tensor._layout, memory_config, device)


__all__ = [n for n in dir() if getattr(globals()[n], "python_fully_qualified_name", "").startswith("ttnn.")] + ["strict_mode"]
