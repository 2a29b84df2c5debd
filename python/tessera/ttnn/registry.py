"""The table of operations: each function with its golden function, its page and how it deviates; and what every call has in common.

docs/ttnn.md is made from this table (tools/make_ttnn_docs.py), and ttnn.get_golden_function() reads it.
"""

from __future__ import annotations

import dataclasses
import typing

from tessera import _tessera
from tessera.ttnn.enums import BLOCK_FLOATS, DataType, Layout, bfloat4_b, bfloat8_b, bfloat16, float32, int8, int32, uint8, uint16, uint32
from tessera.ttnn.memory import DRAM_MEMORY_CONFIG, MemoryConfig, check_memory_config

_D = _tessera.DType
# What a tensor's elements are kept as, row-major. A block float is kept as the bfloat16 numbers that it holds exactly.
STORED = {
    bfloat16: _D.bfloat16,
    float32: _D.float32,
    bfloat8_b: _D.bfloat16,
    bfloat4_b: _D.bfloat16,
    uint8: _D.uint8,
    uint16: _D.uint16,
    uint32: _D.uint32,
    int32: _D.int32,
    int8: _D.int8,
}
# What an op writes before the result is brought into its dtype: block floats are quantised from float32, so that they round once.
COMPUTED = {**STORED, bfloat8_b: _D.float32, bfloat4_b: _D.float32}
QUANTISED = {bfloat8_b: _D.bfloat8_b, bfloat4_b: _D.bfloat4_b}


@dataclasses.dataclass(frozen=True)
class Operation:
    name: str  # "ttnn.transformer.concatenate_heads"
    function: typing.Callable
    golden: typing.Callable | None  # in NumPy; takes and returns arrays, or torch tensors
    page: str  # stem of the page in docs/ops that says what is computed; "" for what computes nothing
    deviation: str  # from a device's behaviour; "" for none that is known


OPERATIONS: dict[str, Operation] = {}


def operation(name: str, golden=None, page: str = "", deviation: str = "", aliases: typing.Sequence[str] = ()):
    """Registers the function below as the op `name`; its own name stays callable with nothing in between."""

    def register(function):
        function.golden_function = golden
        function.python_fully_qualified_name = name
        for each in (name, *aliases):
            OPERATIONS[each] = Operation(each, function, golden, page, deviation)
        return function

    return register


def get_golden_function(op):
    """The plain NumPy reference of an op: same arguments, arrays (or torch tensors) for tensors. RuntimeError where there is none."""
    golden = getattr(op, "golden_function", None)
    if golden is None:
        raise RuntimeError(f"[get_golden_function] expected an op that has a golden function, got {getattr(op, 'python_fully_qualified_name', op)!r}")
    return golden


def attach_golden_function(op, golden_function):
    op.golden_function = golden_function


# ---- what calls have in common


def bad_tensor(name: str, what: str, value) -> TypeError:
    return TypeError(f"{name}(): incompatible function arguments. {what}: expected a ttnn.Tensor, got {type(value).__name__}")


def check_tensor(name: str, tensor, what: str = "input_tensor"):
    """TypeError unless it is a tensor, RuntimeError when it was deallocated."""
    from tessera.ttnn.tensor import Tensor

    if not isinstance(tensor, Tensor):
        raise bad_tensor(name, what, tensor)
    if tensor._parts is None:
        raise RuntimeError(f"[{name}] {what}: Tensor is not allocated: it was deallocated before this call")
    if tensor._device is not None and tensor._device._closed:
        raise RuntimeError(f"[{name}] {what}: expected a tensor of an open device, got one whose device was closed")
    return tensor


def check_on_device(name: str, *tensors, optional=()):
    """The device that the tensors, and those of `optional` that are not None, are on. RuntimeError for a tensor on the host, on two devices, or of a closed device."""
    device = None
    for t in (*tensors, *(o for o in optional if o is not None)):
        check_tensor(name, t)
        if t._device is None:
            raise RuntimeError(f"[{name}] expected tensors on a device, got one on the host: Operands need to be on device! ttnn.to_device() moves it")
        if device is None:
            device = t._device
        elif t._device is not device:
            raise RuntimeError(f"[{name}] expected tensors of one device, got two: all operands must be on the same device")
    return device


def check_tile(name: str, *tensors):
    for t in tensors:
        if t is not None and t._layout is not Layout.TILE:
            raise RuntimeError(f"[{name}] expected TILE layout, got {t._layout}: Inputs to {name.rsplit('.', 1)[-1]} must be tilized")


def check_kind(name: str, what: str, value, kinds):
    """TypeError unless the value is None or of these kinds."""
    if value is not None and not isinstance(value, kinds):
        wanted = kinds.__name__ if isinstance(kinds, type) else " or ".join(k.__name__ for k in kinds)
        raise TypeError(f"{name}(): incompatible function arguments. {what}: expected {wanted}, got {value!r}")
    return value


def record(device, name: str, *key):
    """One entry of the program cache for each op, its attributes and the specs of its tensors."""
    if device is not None:
        device._program(name, key)


def each(function, *tensors):
    """function(part, ...) for every device of the mesh; parts that are shared among devices are computed once."""
    first = tensors[0]._parts
    if len(first) == 1 and all(len(t._parts) == 1 for t in tensors):
        return (function(*[t._parts[0] for t in tensors]),)
    if any(len(t._parts) != len(first) for t in tensors):
        raise RuntimeError(f"expected tensors on as many devices, got {[len(t._parts) for t in tensors]} parts")
    made, results = {}, []
    for parts in zip(*[t._parts for t in tensors], strict=True):
        key = tuple(map(id, parts))
        if key not in made:
            made[key] = function(*parts)
        results.append(made[key])
    return tuple(results)


def quantised(parts, dtype: DataType):
    """Parts that an op computed as COMPUTED[dtype], as they are kept."""
    if dtype not in BLOCK_FLOATS:
        return parts
    made = {id(p): p for p in parts}
    made = {key: _tessera.quantise(p, QUANTISED[dtype]) for key, p in made.items()}
    return tuple(made[id(p)] for p in parts)


def finish(name: str, parts, dtype: DataType, layout: Layout, memory_config: MemoryConfig | None, device, output_tensor=None):
    """The result of an op as a tensor; or the elements of `output_tensor`, when there is one."""
    from tessera.ttnn.tensor import Tensor

    if dtype in BLOCK_FLOATS and layout is not Layout.TILE:
        raise RuntimeError(f"[{name}] expected TILE layout for {dtype}, got {layout}: block floats exist in tiles only")
    parts = quantised(parts, dtype)
    if memory_config is not None and memory_config is not DRAM_MEMORY_CONFIG:
        check_kind(name, "memory_config", memory_config, MemoryConfig)
        memory_config = inferred_shards(memory_config, parts[0].shape, layout)
        check_memory_config(memory_config, parts[0].shape, layout)
    result = Tensor._make(parts, dtype, layout, memory_config or DRAM_MEMORY_CONFIG, device)
    return result if output_tensor is None else write(name, result, output_tensor)


def inferred_shards(config: MemoryConfig, shape, layout: Layout) -> MemoryConfig:
    """A sharded config that says no shards gets one shard of everything, as ops choose their own when programs give none."""
    if not config.is_sharded() or config.shard_spec is not None or config.nd_shard_spec is not None:
        return config
    from tessera.ttnn.enums import plane
    from tessera.ttnn.memory import CoreCoord, CoreRange, CoreRangeSet, ShardSpec

    height, width = plane(shape, layout)
    return config.with_shard_spec(ShardSpec(CoreRangeSet([CoreRange(CoreCoord(0, 0), CoreCoord(0, 0))]), (max(height, 1), max(width, 1))))


def write(name: str, result, output_tensor):
    """Puts a result into a tensor that the program gave; RuntimeError when shape, dtype or layout differ."""
    check_on_device(name, output_tensor)
    for what, got, wanted in (
        ("shape", output_tensor.shape, result.shape),
        ("dtype", output_tensor.dtype, result.dtype),
        ("layout", output_tensor.layout, result.layout),
    ):
        if got != wanted:
            raise RuntimeError(f"[{name}] output_tensor: expected {what} {wanted}, got {got}")
    output_tensor._replace(result._parts)
    return output_tensor
