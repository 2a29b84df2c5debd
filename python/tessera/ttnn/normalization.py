"""layer_norm, rms_norm and softmax, with its scaled and masked forms."""

from __future__ import annotations

from tessera import _tessera
from tessera.ttnn import golden
from tessera.ttnn.configs import NORM_PROGRAM_CONFIGS, DeviceComputeKernelConfig
from tessera.ttnn.enums import FLOATS, float32
from tessera.ttnn.movement import _dim
from tessera.ttnn.registry import COMPUTED, check_kind, check_on_device, check_tile, each, finish, operation, record

_D = _tessera.DType


def _floats(name, *tensors):
    for t in tensors:
        if t is not None and t._dtype not in FLOATS:
            raise RuntimeError(f"[{name}] expected tensors of a float dtype, got {t._dtype}")


def _vector(name, what, tensor, width):
    """Weight or bias as [width], of any shape that holds so many."""
    if tensor is None:
        return None
    if tensor.shape.volume() != width:
        raise RuntimeError(f"[{name}] {what}: expected {width} elements, the input's last size, got {list(tensor.shape)}")
    return tensor._like(tuple(p.reshape([width]) for p in tensor._parts))


def _norm(name, function, x, weight, bias, residual, epsilon, memory_config, program_config, compute_kernel_config):
    check_kind(name, "program_config", program_config, NORM_PROGRAM_CONFIGS)
    check_kind(name, "compute_kernel_config", compute_kernel_config, DeviceComputeKernelConfig)
    device = check_on_device(name, x, optional=(weight, bias, residual))
    check_tile(name, x)
    _floats(name, x, weight, bias, residual)
    if isinstance(epsilon, bool) or not isinstance(epsilon, (int, float)):
        raise TypeError(f"{name}(): incompatible function arguments. epsilon: expected a number, got {epsilon!r}")
    if not x.shape:
        raise RuntimeError(f"[{name}] expected a tensor of one or more dimensions, got a number")
    if residual is not None:
        check_tile(name, residual)
        if residual.shape != x.shape:
            raise RuntimeError(f"[{name}] residual_input_tensor: expected shape {list(x.shape)}, got {list(residual.shape)}: Input and residual must have the same padded shape")
    record(device, name, x._spec(), *(None if t is None else t._spec() for t in (weight, bias, residual)), epsilon)
    width = x.shape[-1]
    given = [t for t in (_vector(name, "weight", weight, width), _vector(name, "bias", bias, width), residual)]
    present = [t for t in given if t is not None]

    def one(p, *rest):
        rest = iter(rest)
        return function(p, *(None if t is None else next(rest) for t in given))

    return finish(name, each(one, x, *present), x._dtype, x._layout, memory_config or x._memory_config, device)


@operation("ttnn.layer_norm", golden=golden.layer_norm, page="norm", deviation="recip_tensor and program configs are recorded: variances are exact.")
def layer_norm(
    input_tensor,
    *,
    epsilon=1e-12,
    weight=None,
    bias=None,
    residual_input_tensor=None,
    memory_config=None,
    program_config=None,
    compute_kernel_config=None,
    recip_tensor=None,
):
    """(x - mean) / sqrt(variance + epsilon) * weight + bias over the last dimension, after the residual is added; biased variance."""
    kept = COMPUTED[input_tensor._dtype] if hasattr(input_tensor, "_dtype") else None
    return _norm(
        "ttnn.layer_norm",
        lambda x, w, b, r: _tessera.layer_norm(x, w, b, r, float(epsilon), kept),
        input_tensor,
        weight,
        bias,
        residual_input_tensor,
        epsilon,
        memory_config,
        program_config,
        compute_kernel_config,
    )


@operation("ttnn.rms_norm", golden=golden.rms_norm, page="norm", deviation="Program configs are recorded.")
def rms_norm(
    input_tensor, *, epsilon=1e-12, weight=None, bias=None, residual_input_tensor=None, memory_config=None, program_config=None, compute_kernel_config=None
):
    """x / sqrt(mean(x^2) + epsilon) * weight + bias over the last dimension, after the residual is added."""
    kept = COMPUTED[input_tensor._dtype] if hasattr(input_tensor, "_dtype") else None
    add = _tessera.binary_number("add")

    def function(x, w, b, r):
        if b is None:
            return _tessera.rms_norm(x, w, r, float(epsilon), kept)
        return _tessera.binary(_tessera.rms_norm(x, w, r, float(epsilon), _D.float32), b, add, kept)

    return _norm(
        "ttnn.rms_norm", function, input_tensor, weight, bias, residual_input_tensor, epsilon, memory_config, program_config, compute_kernel_config
    )


@operation("ttnn.create_layer_norm_reciprocals", deviation="Recorded by layer_norm: it divides exactly.")
def create_layer_norm_reciprocals(device, core_range_set, width):
    """1/1, 1/2, ..., 1/width for each core, as devices want them."""
    import numpy as np

    from tessera.ttnn.convert import from_torch
    from tessera.ttnn.memory import core_range_set as cores

    row = (1.0 / np.arange(1, int(width) + 1, dtype=np.float64)).astype(np.float32)
    return from_torch(np.tile(row, (cores(core_range_set).num_cores(), 1)), dtype=float32, device=device)


def _softmax(name, x, dim, scale, mask, memory_config, output=None, in_place=False):
    device = check_on_device(name, x, optional=(mask,))
    check_tile(name, x)
    _floats(name, x, mask)
    dim = _dim(name, dim, len(x.shape))
    if mask is not None:
        try:
            fits = all(m in (1, s) for m, s in zip(reversed(mask.shape), reversed(x.shape))) and len(mask.shape) <= len(x.shape)
        except TypeError:
            fits = False
        if not fits:
            raise RuntimeError(f"[{name}] mask: expected a shape that broadcasts to {list(x.shape)}, got {list(mask.shape)}")
    record(device, name, x._spec(), dim, scale, None if mask is None else mask._spec())
    kept = COMPUTED[x._dtype]

    def one(p, m=None):
        if m is not None and m.dtype != _D.float32:
            m = _tessera.typecast(m, _D.float32)
        return _tessera.softmax(p, dim, float(scale), m, kept)

    parts = each(one, x) if mask is None else each(one, x, mask)
    return finish(name, parts, x._dtype, x._layout, memory_config or x._memory_config, device, x if in_place else output)


@operation("ttnn.softmax", golden=golden.softmax, page="softmax", deviation="Always numerically stable.")
def softmax(input_tensor, dim=-1, *, memory_config=None, compute_kernel_config=None, numeric_stable=True, output_tensor=None):
    """exp(x) / sum along `dim`."""
    return _softmax("ttnn.softmax", input_tensor, dim, 1.0, None, memory_config, output_tensor)


@operation("ttnn.softmax_in_place", golden=golden.softmax, page="softmax", deviation="Always numerically stable.")
def softmax_in_place(input_tensor, dim=-1, *, program_config=None, compute_kernel_config=None, numeric_stable=True):
    """softmax() written over its input, which is returned."""
    return _softmax("ttnn.softmax_in_place", input_tensor, dim, 1.0, None, None, in_place=True)


def _masked(name, x, scale, mask, causal):
    """The mask, which is_causal_mask says is one of [..., s, s] for all heads."""
    if scale is not None and (isinstance(scale, bool) or not isinstance(scale, (int, float))):
        raise TypeError(f"{name}(): incompatible function arguments. scale: expected a number, got {scale!r}")
    if causal and mask is None:
        raise RuntimeError(f"[{name}] expected a mask with is_causal_mask, got none")
    return 1.0 if scale is None else scale


@operation("ttnn.scale_mask_softmax", golden=golden.scale_mask_softmax, page="softmax", deviation="Always numerically stable.")
def scale_mask_softmax(input_tensor, scale=None, mask=None, *, memory_config=None, is_causal_mask=False, compute_kernel_config=None, numeric_stable=True):
    """softmax(scale x + mask) along the last dimension."""
    name = "ttnn.scale_mask_softmax"
    return _softmax(name, input_tensor, -1, _masked(name, input_tensor, scale, mask, is_causal_mask), mask, memory_config)


@operation("ttnn.scale_mask_softmax_in_place", golden=golden.scale_mask_softmax, page="softmax", deviation="Always numerically stable.")
def scale_mask_softmax_in_place(input_tensor, scale=None, mask=None, *, program_config=None, is_causal_mask=False, compute_kernel_config=None, numeric_stable=True):
    """scale_mask_softmax() written over its input, which is returned."""
    name = "ttnn.scale_mask_softmax_in_place"
    return _softmax(name, input_tensor, -1, _masked(name, input_tensor, scale, mask, is_causal_mask), mask, None, in_place=True)


__all__ = [n for n in dir() if getattr(globals()[n], "python_fully_qualified_name", "").startswith("ttnn.")]
