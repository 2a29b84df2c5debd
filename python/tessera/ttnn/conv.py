"""conv2d and its weights, prepared once."""

from __future__ import annotations

from tessera import _tessera
from tessera.ttnn import golden
from tessera.ttnn.configs import Conv2dConfig, Conv2dSliceConfig, DeviceComputeKernelConfig
from tessera.ttnn.convert import cast_part, check_dtype, to_device
from tessera.ttnn.device import check_device
from tessera.ttnn.elementwise import activation_of, apply_activations
from tessera.ttnn.enums import BLOCK_FLOATS, FLOATS, ROW_MAJOR_LAYOUT, TILE_LAYOUT, Layout, PaddingMode, float32
from tessera.ttnn.memory import DRAM_MEMORY_CONFIG, MemoryConfig, _shard_grid
from tessera.ttnn.pool import _sizes, four
from tessera.ttnn.registry import COMPUTED, check_kind, check_on_device, check_tensor, finish, operation, record
from tessera.ttnn.tensor import Tensor

_D = _tessera.DType
_FUSED = ("relu", "relu6", "silu", "gelu", "hardswish")


class _Weights:
    """What conv2d knows a prepared weight by: its OIHW elements, and what was packed of them."""

    __slots__ = ("oihw", "packed")

    def __init__(self, oihw):
        self.oihw, self.packed = oihw, {}


def _check_sizes(name, **sizes):
    for what, n in sizes.items():
        if isinstance(n, bool) or not hasattr(n, "__index__"):
            raise TypeError(f"{name}(): incompatible function arguments. {what}: expected a number, got {n!r}")
        if n < 1:
            raise RuntimeError(f"[{name}] {what}: expected 1 or more, got {n}")


def _oihw(name, weight, in_channels, out_channels, groups, kernel, input_height):
    """The weight's elements as [out, in / groups, kh, kw] floats on the host."""
    wanted = [out_channels, in_channels // groups, *kernel]
    if isinstance(weight._prepared, _Weights):
        part = weight._prepared.oihw
    else:
        if any(p is not weight._parts[0] for p in weight._parts):
            raise RuntimeError(f"[{name}] weight_tensor: expected one weight for all devices of the mesh, got different ones")
        part = weight._parts[0]
        rows = [1, 1, wanted[1] * wanted[2] * wanted[3], out_channels]
        if list(part.shape) == rows != wanted and weight._layout is TILE_LAYOUT:
            # Prepared weights that came back from a file or from the host.
            part = _tessera.permute(part.reshape([wanted[2], wanted[3], wanted[1], out_channels]), [3, 2, 0, 1])
            weight._prepared = _Weights(part)
        elif len(part.shape) == 3 and input_height == 1:
            part = part.reshape([part.shape[0], part.shape[1], 1, part.shape[2]])
    if list(part.shape) != wanted:
        raise RuntimeError(f"[{name}] weight_tensor: expected {wanted} (out, in / groups, height, width), or what prepare_conv_weights() gave, got {list(part.shape)}")
    return part


def _check_conv(name, in_channels, out_channels, groups, conv_config, compute_config, slice_config):
    check_kind(name, "conv_config", conv_config, Conv2dConfig)
    check_kind(name, "compute_config", compute_config, DeviceComputeKernelConfig)
    check_kind(name, "slice_config", slice_config, Conv2dSliceConfig)
    if conv_config is not None:
        check_kind(name, "padding_mode", conv_config.padding_mode, PaddingMode)
    if in_channels % groups or out_channels % groups:
        raise RuntimeError(f"[{name}] expected channels that {groups} groups divide, got {in_channels} and {out_channels}")


def _prepared_tensor(name, part, dtype, device):
    """A tensor of the logical shape that a device's has, (1, 1, kh kw in / groups, out), with the elements in that order, that conv2d recognises."""
    out, inner, kh, kw = part.shape
    rows = _tessera.permute(part, [2, 3, 1, 0]).reshape([1, 1, kh * kw * inner, out])
    made = finish(name, (rows if rows.dtype == COMPUTED[dtype] else _tessera.typecast(rows, COMPUTED[dtype]),), dtype, TILE_LAYOUT, None, device)
    if dtype in BLOCK_FLOATS:
        # Convolutions multiply with what the block floats hold.
        part = _tessera.permute(made._parts[0].reshape([kh, kw, inner, out]), [3, 2, 0, 1])
    elif part.dtype != COMPUTED[dtype]:
        part = _tessera.typecast(part, COMPUTED[dtype])
    else:
        # Elements of its own: a host weight may be written to afterwards.
        part = _tessera.slice(part, [0] * 4, list(part.shape), [1] * 4)
    made._parts = made._parts * device.get_num_devices()
    made._prepared = _Weights(part)
    return made


@operation("ttnn.prepare_conv_weights", page="conv2d", deviation="Rows are not padded, and grouped weights are not expanded with zeros.")
def prepare_conv_weights(
    *,
    weight_tensor,
    input_memory_config,
    input_layout,
    weights_format="OIHW",
    in_channels,
    out_channels,
    batch_size,
    input_height,
    input_width,
    kernel_size,
    stride,
    padding,
    dilation=(1, 1),
    has_bias=True,
    groups=1,
    device,
    input_dtype=None,
    output_dtype=None,
    conv_config=None,
    compute_config=None,
    slice_config=None,
):
    """The weight as conv2d wants it, for calls to come."""
    name = "ttnn.prepare_conv_weights"
    check_tensor(name, weight_tensor, "weight_tensor")
    check_device(name, device)
    check_kind(name, "input_memory_config", input_memory_config, MemoryConfig)
    check_kind(name, "input_layout", input_layout, Layout)
    _check_sizes(name, in_channels=in_channels, out_channels=out_channels, batch_size=batch_size, input_height=input_height, input_width=input_width, groups=groups)
    _check_conv(name, in_channels, out_channels, groups, conv_config, compute_config, slice_config)
    kernel = _sizes(name, "kernel_size", kernel_size, (2,))
    part = _oihw(name, weight_tensor, in_channels, out_channels, groups, kernel, input_height)
    dtype = (conv_config.weights_dtype if conv_config is not None else None) or weight_tensor._dtype
    check_dtype(name, dtype)
    return _prepared_tensor(name, part, dtype, device)


@operation("ttnn.prepare_conv_bias", page="conv2d", deviation="Not padded.")
def prepare_conv_bias(
    *,
    bias_tensor,
    input_memory_config,
    input_layout,
    in_channels,
    out_channels,
    batch_size,
    input_height,
    input_width,
    kernel_size,
    stride,
    padding,
    dilation=(1, 1),
    groups=1,
    device,
    input_dtype=None,
    output_dtype=None,
    conv_config=None,
    compute_config=None,
    slice_config=None,
):
    """The bias as conv2d wants it: (1, 1, 1, out) in tile layout on the device."""
    name = "ttnn.prepare_conv_bias"
    check_tensor(name, bias_tensor, "bias_tensor")
    check_device(name, device)
    _check_conv(name, in_channels, out_channels, groups, conv_config, compute_config, slice_config)
    if bias_tensor.shape[-1] != out_channels or bias_tensor.shape.volume() != out_channels:
        raise RuntimeError(f"[{name}] bias_tensor: expected (1, 1, 1, {out_channels}), got {list(bias_tensor.shape)}: Bias must have the same length as output channels")
    dtype = (conv_config.weights_dtype if conv_config is not None else None) or bias_tensor._dtype
    check_dtype(name, dtype)
    part = cast_part(bias_tensor._parts[0].reshape([1, 1, 1, out_channels]), dtype)
    return Tensor._make((part,) * device.get_num_devices(), dtype, TILE_LAYOUT, DRAM_MEMORY_CONFIG, device)


@operation("ttnn.conv2d", golden=golden.conv2d, page="conv2d", deviation="Depthwise and grouped weights are never expanded. Shards of the input decide how a depthwise convolution is split over threads; slice, shard and block settings of the config are recorded.")
def conv2d(
    *,
    input_tensor,
    weight_tensor,
    device,
    in_channels,
    out_channels,
    batch_size,
    input_height,
    input_width,
    kernel_size,
    stride=(1, 1),
    padding=(0, 0),
    dilation=(1, 1),
    groups=1,
    dtype=None,
    bias_tensor=None,
    conv_config=None,
    compute_config=None,
    memory_config=None,
    slice_config=None,
    return_output_dim=False,
    return_weights_and_bias=False,
    queue_id=0,
):
    """PyTorch's conv2d on NHWC pictures: (1, 1, n ho wo, out), in tile layout unless conv_config.output_layout says row-major.

    Returns out; [out, (ho, wo)] with return_output_dim; [out, (weight, bias)] with return_weights_and_bias; [out, (ho, wo), (weight, bias)] with both.
    The weight is OIHW, or what prepare_conv_weights() or an earlier call returned.
    """
    name = "ttnn.conv2d"
    for what, t in (("input_tensor", input_tensor), ("weight_tensor", weight_tensor)):
        check_tensor(name, t, what)
    check_device(name, device)
    check_on_device(name, *(t for t in (input_tensor, weight_tensor, bias_tensor) if isinstance(t, Tensor) and t._device is not None))
    if bias_tensor is not None:
        check_tensor(name, bias_tensor, "bias_tensor")
    _check_sizes(
        name, in_channels=in_channels, out_channels=out_channels, batch_size=batch_size, input_height=input_height, input_width=input_width, groups=groups
    )
    _check_conv(name, in_channels, out_channels, groups, conv_config, compute_config, slice_config)
    config = conv_config or Conv2dConfig()
    kernel, step, spread = _sizes(name, "kernel_size", kernel_size, (2,)), _sizes(name, "stride", stride, (2,)), _sizes(name, "dilation", dilation, (2,))
    edges = four(_sizes(name, "padding", padding, (2, 4)))
    x = input_tensor
    if x._dtype not in FLOATS or x.shape.volume() != batch_size * input_height * input_width * in_channels:
        raise RuntimeError(
            f"[{name}] input_tensor: expected floats of {batch_size} x {input_height} x {input_width} x {in_channels}, got {x._dtype} {list(x.shape)}"
        )
    if x._device is None:
        x = to_device(x, device)
    part = _oihw(name, weight_tensor, in_channels, out_channels, groups, kernel, input_height)
    if not isinstance(weight_tensor._prepared, _Weights):
        weight_tensor = _prepared_tensor(name, part, check_dtype(name, config.weights_dtype or weight_tensor._dtype), device)
    given = bias_tensor
    if bias_tensor is not None:
        if bias_tensor.shape.volume() != out_channels:
            raise RuntimeError(f"[{name}] bias_tensor: expected {out_channels} elements, got {list(bias_tensor.shape)}: Bias must have the same length as output channels")
        if bias_tensor._device is None:
            bias_dtype = config.weights_dtype or bias_tensor._dtype
            bias_part = cast_part(bias_tensor._parts[0].reshape([1, 1, 1, out_channels]), bias_dtype)
            bias_tensor = Tensor._make((bias_part,) * device.get_num_devices(), bias_dtype, TILE_LAYOUT, DRAM_MEMORY_CONFIG, device)
    new = x._dtype if dtype is None else check_dtype(name, dtype)
    act = activation_of(name, config.activation)
    fused = act[0] if act is not None and act[0] in _FUSED else ""
    record(device, name, x._spec(), weight_tensor._spec(), tuple(kernel), tuple(step), tuple(edges), tuple(spread), groups, new, act and act[0])
    store = weight_tensor._prepared
    weight_dtype = weight_tensor._dtype
    precision = _D.float32 if float32 in (x._dtype, weight_dtype) else _D.bfloat16
    bias_part = None if bias_tensor is None else bias_tensor._parts[0]
    if bias_tensor is not None and any(p is not bias_part for p in bias_tensor._parts):
        raise RuntimeError(f"[{name}] bias_tensor: expected one bias for all devices of the mesh, got different ones")
    replicate = config.padding_mode is PaddingMode.Replicate and any(edges)
    inner = [0, 0, 0, 0] if replicate else edges
    # A bias is known by the elements that the caller gave, which are kept beside what was packed with them.
    source = None if given is None else given._parts[0]
    key = (tuple(step), tuple(inner), tuple(spread), groups, fused, precision, id(source))
    packed = store.packed.get(key)
    if packed is None:
        bias_row = None if bias_part is None else bias_part.reshape([out_channels])
        packed = store.packed[key] = (_tessera.prepare_conv2d(store.oihw, bias_row, step, inner, spread, groups, fused, precision), source)
    after = COMPUTED[new] if not act or fused else _D.float32
    shards = _shard_grid(x._memory_config, x.shape, x._layout)

    def one(p):
        p = p.reshape([batch_size, input_height, input_width, in_channels])
        if replicate:
            p = _tessera.pad(p, [0, edges[0], edges[2], 0], [0, edges[1], edges[3], 0], 0.0, True)
        return _tessera.conv2d(p, packed[0], 0, [0, 0], after, shards)

    parts = tuple(one(p) for p in x._parts)
    height, width = parts[0].shape[1], parts[0].shape[2]
    parts = tuple(p.reshape([1, 1, batch_size * height * width, out_channels]) for p in parts)
    if act and not fused:
        parts = apply_activations(name, parts, [config.activation])
        parts = tuple(p if p.dtype == COMPUTED[new] else _tessera.typecast(p, COMPUTED[new]) for p in parts)
    layout = TILE_LAYOUT if new in BLOCK_FLOATS else config.output_layout
    check_kind(name, "output_layout", layout, Layout)
    out = finish(name, parts, new, layout or ROW_MAJOR_LAYOUT, memory_config, device)
    if config.deallocate_activation and input_tensor._device is not None:
        input_tensor.deallocate()
    if return_output_dim and return_weights_and_bias:
        return [out, (height, width), (weight_tensor, bias_tensor)]
    if return_output_dim:
        return [out, (height, width)]
    if return_weights_and_bias:
        return [out, (weight_tensor, bias_tensor)]
    return out


__all__ = ["conv2d", "prepare_conv_bias", "prepare_conv_weights"]
