"""Host and device, torch and NumPy, dtypes and layouts, files."""

from __future__ import annotations

import json
import os
import pathlib
import struct
import sys

import numpy as np

from tessera import _tessera
from tessera._arrays import is_torch, tensor_of
from tessera.ttnn.device import MeshDevice, check_device
from tessera.ttnn.enums import (
    BLOCK_FLOATS,
    ROW_MAJOR_LAYOUT,
    TILE_LAYOUT,
    DataType,
    DumpTensorMode,
    Layout,
    Tile,
    bfloat4_b,
    bfloat8_b,
    bfloat16,
    float32,
    int8,
    int32,
    plane,
    uint8,
    uint16,
    uint32,
)
from tessera.ttnn.memory import DRAM_MEMORY_CONFIG, BufferType, MemoryConfig, check_memory_config
from tessera.ttnn.mesh import MeshToTensor, TensorToMesh
from tessera.ttnn.registry import QUANTISED, STORED, check_kind, check_on_device, check_tensor, each, finish, operation, record
from tessera.ttnn.tensor import Tensor

_D = _tessera.DType
_F = _tessera.Framework
ELEMENT_BYTES = {bfloat16: 2, float32: 4, uint8: 1, uint16: 2, uint32: 4, int32: 4, int8: 1, bfloat8_b: 1, bfloat4_b: 1}
_DTYPE_OF = {
    _D.float32: float32,
    _D.bfloat16: bfloat16,
    _D.float16: bfloat16,
    _D.uint8: uint8,
    _D.uint16: uint16,
    _D.uint32: uint32,
    _D.int32: int32,
    _D.int8: int8,
}


def _default_dtype(array, part) -> DataType:
    kind = str(getattr(array, "dtype", ""))
    if kind.endswith("int64"):
        return uint32 if part.dtype == _D.uint32 or not _has_negative(part) else int32
    if kind.endswith("int16") and not kind.endswith("uint16"):
        return uint16
    return _DTYPE_OF[part.dtype]


def _has_negative(part) -> bool:
    array = part.array(_F.numpy, False)
    return bool(array.size and array.min() < 0)


def cast_part(part, dtype: DataType, on_host: bool = False):
    """The elements in the dtype that they are kept as; block floats quantised. To uint16 a device rounds, the host cuts off."""
    if on_host and dtype is uint16 and part.dtype in (_D.float32, _D.bfloat16):
        part = _tessera.unary(part, _tessera.unary_number("trunc"), 0.0, 0.0, part.dtype)
    if dtype in BLOCK_FLOATS:
        return _tessera.quantise(part if part.dtype in (_D.float32, _D.bfloat16) else _tessera.typecast(part, _D.float32), QUANTISED[dtype])
    return part if part.dtype == STORED[dtype] else _tessera.typecast(part, STORED[dtype])


def check_dtype(name: str, dtype):
    if not isinstance(dtype, DataType):
        raise TypeError(f"{name}(): incompatible function arguments. dtype: expected a ttnn.DataType, got {dtype!r}")
    if dtype not in STORED:
        raise RuntimeError(f"[{name}] expected one of bfloat16, float32, bfloat8_b, bfloat4_b, uint8, uint16, uint32, int32, int8, got {dtype}")
    return dtype


@operation("ttnn.from_torch")
def from_torch(
    tensor,
    dtype=None,
    *,
    spec=None,
    tile=None,
    pad_value=None,
    layout=None,
    device=None,
    memory_config=None,
    mesh_mapper=None,
    cq_id=None,
    preserve_nan_values=False,
    col_tilize=False,
    enable_bfloat_opt=False,
):
    """A tensor of the elements of a torch or NumPy array. On the host they are shared where dtype and order allow; a device has its own."""
    name = "ttnn.from_torch"
    if tensor is None:
        return None
    if isinstance(tensor, Tensor):
        raise TypeError(f"{name}(): incompatible function arguments. tensor: expected a torch tensor or a NumPy array, got a ttnn.Tensor")
    if spec is not None:
        if dtype is not None or layout is not None or memory_config is not None or tile is not None:
            raise RuntimeError(f"[{name}] expected a spec, or dtype, layout, memory_config and tile, got both")
        shape, dtype, layout, memory_config = spec
        if tuple(tensor.shape) != tuple(shape):
            raise RuntimeError(f"[{name}] expected an array of the spec's shape {list(shape)}, got {list(tensor.shape)}")
    check_kind(name, "layout", layout, Layout)
    check_kind(name, "memory_config", memory_config, MemoryConfig)
    check_kind(name, "device", device, MeshDevice)
    check_kind(name, "mesh_mapper", mesh_mapper, TensorToMesh)
    if isinstance(tile, Tile) and tile.tile_shape != (32, 32):
        raise RuntimeError(f"[{name}] expected tiles of 32x32, got {tile.tile_shape}")
    if dtype is not None:
        check_dtype(name, dtype)
    if device is not None:
        check_device(name, device)
        if mesh_mapper is not None and mesh_mapper.unwrap().mesh_device is not device:
            raise RuntimeError(f"[{name}] mesh_mapper: expected one for the device, got one for another")
    part = tensor_of(tensor, copy=False)
    if dtype is None:
        dtype = _default_dtype(tensor, part)
    if dtype in BLOCK_FLOATS:
        if layout is ROW_MAJOR_LAYOUT:
            raise RuntimeError(f"[{name}] expected TILE layout for {dtype}, got ROW_MAJOR: block floats exist in tiles only")
        layout = TILE_LAYOUT
    if col_tilize and (dtype not in BLOCK_FLOATS or len(part.shape) < 2 or layout is not TILE_LAYOUT):
        raise RuntimeError(f"[{name}] col_tilize: expected a block float of two or more dimensions in TILE layout, got {dtype} {list(part.shape)}")
    layout = layout or ROW_MAJOR_LAYOUT
    memory_config = memory_config or DRAM_MEMORY_CONFIG
    check_memory_config(memory_config, part.shape, layout)
    borrowed = part
    if col_tilize:
        dims = [*range(len(part.shape) - 2), len(part.shape) - 1, len(part.shape) - 2]
        part = _tessera.permute(cast_part(_tessera.permute(part, dims), dtype), dims)
    else:
        part = cast_part(part, dtype, on_host=True)
    if device is not None and part is borrowed:
        part = tensor_of(tensor, copy=True)
    if mesh_mapper is not None:
        parts = mesh_mapper.unwrap().parts(part)
    else:
        parts = (part,) * (1 if device is None else device.get_num_devices())
    return Tensor._make(parts, dtype, layout, memory_config, device)


def _gathered(name: str, tensor, mesh_composer):
    check_tensor(name, tensor)
    check_kind(name, "mesh_composer", mesh_composer, MeshToTensor)
    if mesh_composer is not None:
        return mesh_composer.unwrap().compose(tensor._parts)
    if len(tensor._parts) > 1:
        raise RuntimeError(f"[{name}] expected a mesh_composer for a tensor on {len(tensor._parts)} devices, got none: Supply a mesh composer to concatenate multi-device shards")
    return tensor._parts[0]


def _squeezed(name: str, part, torch_rank):
    if torch_rank is None:
        return part
    shape = list(part.shape)
    while len(shape) > torch_rank:
        if shape[0] != 1:
            raise RuntimeError("ttnn: Unable to squeeze to desired rank!")
        shape.pop(0)
    return part.reshape(shape)


@operation("ttnn.to_torch", deviation="Host tensors share their elements with the torch tensor; those of devices are copied.")
def to_torch(tensor, dtype=None, *, torch_rank=None, mesh_composer=None, device=None, cq_id=None):
    """The logical elements as a torch tensor: bfloat16 as torch.bfloat16, block floats as float32. Needs torch; to_numpy() does not."""
    name = "ttnn.to_torch"
    try:
        import torch
    except ImportError:
        raise RuntimeError(f"[{name}] expected torch to be installed, got no such package: ttnn.to_numpy() gives a NumPy array") from None
    if dtype is not None and not isinstance(dtype, torch.dtype):
        raise TypeError(f"{name}(): incompatible function arguments. dtype: expected a torch.dtype, got {dtype!r}")
    if is_torch(tensor):
        return tensor
    part = _squeezed(name, _gathered(name, tensor, mesh_composer), torch_rank)
    if tensor._dtype in BLOCK_FLOATS:
        part = _tessera.typecast(part, _D.float32)
        copied = True
    else:
        copied = False
    if part.dtype in (_D.uint16, _D.uint32) and not hasattr(torch, part.dtype.name):
        # Before torch had them: the same bits as signed numbers.
        made = torch.from_numpy(part.array(_F.numpy, True).view(np.int32 if part.dtype == _D.uint32 else np.int16))
    else:
        made = part.array(_F.torch, not copied and (tensor._device is not None or mesh_composer is not None))
    return made if dtype is None else made.to(dtype)


@operation("ttnn.to_numpy", deviation="Not in TTNN: for programs without torch. bfloat16 and block floats come as float32.")
def to_numpy(tensor, dtype=None, *, mesh_composer=None):
    """The logical elements as a NumPy array; bfloat16 and block floats as float32."""
    part = _gathered("ttnn.to_numpy", tensor, mesh_composer)
    if part.dtype in (_D.bfloat16, _D.float16):
        made = _tessera.typecast(part, _D.float32).array(_F.numpy, False)
    else:
        made = part.array(_F.numpy, tensor._device is not None)
    return made if dtype is None else made.astype(dtype)


@operation("ttnn.to_device")
def to_device(tensor, device, *, memory_config=None, cq_id=None):
    """A copy of a host tensor on a device; a tensor that is on it already gets the memory config."""
    name = "ttnn.to_device"
    check_tensor(name, tensor)
    check_device(name, device)
    config = check_kind(name, "memory_config", memory_config, MemoryConfig) or tensor._memory_config
    check_memory_config(config, tensor.shape, tensor._layout)
    if tensor._device is device:
        return tensor if config == tensor._memory_config else Tensor._make(tensor._parts, tensor._dtype, tensor._layout, config, device)
    parts = tuple(_copied(p) for p in tensor._parts)
    if len(parts) == 1:
        parts *= device.get_num_devices()
    elif len(parts) != device.get_num_devices():
        raise RuntimeError(f"[{name}] expected a tensor of {device.get_num_devices()} parts for this mesh, got {len(parts)}")
    return Tensor._make(parts, tensor._dtype, tensor._layout, config, device)


def _copied(part):
    return _tessera.from_array(part.array(_F.dlpack, False), True)


@operation("ttnn.from_device")
def from_device(tensor, blocking: bool = True, cq_id=None):
    """A copy on the host; a host tensor is returned as it is."""
    check_tensor("ttnn.from_device", tensor)
    if tensor._device is None:
        return tensor
    if tensor._device._closed:
        raise RuntimeError("[ttnn.from_device] expected an open device, got one that was closed")
    return Tensor._make(tuple(_copied(p) for p in tensor._parts), tensor._dtype, tensor._layout, tensor._memory_config, None)


@operation("ttnn.to_layout", deviation="A change of the padded shape only: elements are kept row-major, and nothing moves.", page="reorder")
def to_layout(tensor, layout, dtype=None, memory_config=None, sub_core_grids=None, pad_value=0.0, device=None):
    """The same elements in row-major or tile layout."""
    name = "ttnn.to_layout"
    check_tensor(name, tensor)
    if not isinstance(layout, Layout) or layout is Layout.INVALID:
        raise TypeError(f"{name}(): incompatible function arguments. layout: expected ROW_MAJOR_LAYOUT or TILE_LAYOUT, got {layout!r}")
    check_kind(name, "memory_config", memory_config, MemoryConfig)
    new = check_dtype(name, dtype) if dtype is not None else tensor._dtype
    if layout is ROW_MAJOR_LAYOUT and new in BLOCK_FLOATS:
        if dtype is not None:
            raise RuntimeError(f"[{name}] expected a dtype that has a row-major layout, got {dtype}")
        new = bfloat16
    if layout is not tensor._layout or new is not tensor._dtype:
        record(tensor._device, name, tensor._spec(), layout, new)
    parts = tensor._parts if new is tensor._dtype else tuple(cast_part(p, new) for p in tensor._parts)
    config = memory_config or tensor._memory_config
    if config.shard_spec is not None and layout is TILE_LAYOUT and memory_config is None and any(s % 32 for s in config.shard_spec.shape):
        config = DRAM_MEMORY_CONFIG if config.buffer_type is BufferType.DRAM else MemoryConfig(buffer_type=config.buffer_type)
    check_memory_config(config, tensor.shape, layout)
    return Tensor._make(parts, new, layout, config, tensor._device)


@operation("ttnn.to_memory_config")
def to_memory_config(tensor, memory_config, dtype=None, output_tensor=None):
    """The same elements under another memory config, checked as a device would check it."""
    name = "ttnn.to_memory_config"
    device = check_on_device(name, tensor)
    if not isinstance(memory_config, MemoryConfig):
        raise TypeError(f"{name}(): incompatible function arguments. memory_config: expected a MemoryConfig, got {memory_config!r}")
    check_memory_config(memory_config, tensor.shape, tensor._layout)
    record(device, name, tensor._spec(), memory_config, dtype)
    if dtype is not None and dtype is not tensor._dtype:
        return finish(name, tuple(cast_part(p, check_dtype(name, dtype)) for p in tensor._parts), dtype, tensor._layout, memory_config, device)
    return Tensor._make(tensor._parts, tensor._dtype, tensor._layout, memory_config, device)


@operation("ttnn.interleaved_to_sharded")
def interleaved_to_sharded(input_tensor, sharded_memory_config, *more, memory_config=None, keep_l1_aligned=False, output_dtype=None, **_recorded):
    """to_memory_config() of a sharded config; the older form gives grid, shard shape, scheme and orientation instead."""
    from tessera.ttnn.memory import ShardSpec, core_range_set

    if not isinstance(sharded_memory_config, MemoryConfig):
        if len(more) < 2:
            raise TypeError("ttnn.interleaved_to_sharded(): incompatible function arguments. expected a MemoryConfig, or grid, shard shape, scheme and orientation")
        spec = ShardSpec(core_range_set(sharded_memory_config), more[0], *more[2:3])
        sharded_memory_config = MemoryConfig(more[1], BufferType.L1, spec)
    return to_memory_config(input_tensor, sharded_memory_config, output_dtype)


@operation("ttnn.sharded_to_interleaved")
def sharded_to_interleaved(input_tensor, memory_config=None, output_dtype=None, **_recorded):
    """to_memory_config() of an interleaved config."""
    return to_memory_config(input_tensor, memory_config or DRAM_MEMORY_CONFIG, output_dtype)


@operation("ttnn.reshard")
def reshard(input_tensor, output_memory_config, output_tensor=None):
    """to_memory_config() from one sharding to another."""
    return to_memory_config(input_tensor, output_memory_config)


@operation("ttnn.reallocate", deviation="Memory of a CPU does not fragment: the tensor itself is returned.")
def reallocate(tensor, memory_config=None):
    check_on_device("ttnn.reallocate", tensor)
    return tensor if memory_config is None else to_memory_config(tensor, memory_config)


@operation("ttnn.to_dtype", page="typecast")
def to_dtype(tensor, dtype):
    """A host tensor in another dtype."""
    name = "ttnn.to_dtype"
    check_tensor(name, tensor)
    check_dtype(name, dtype)
    if tensor._device is not None:
        raise RuntimeError(f"[{name}] expected a tensor on the host, got one on a device: ttnn.typecast() is for those")
    layout = TILE_LAYOUT if dtype in BLOCK_FLOATS else tensor._layout
    return Tensor._make(tuple(cast_part(p, dtype, on_host=True) for p in tensor._parts), dtype, layout, tensor._memory_config, None)


def golden_typecast(tensor, dtype=None, **_):
    return tensor


@operation("ttnn.typecast", golden=golden_typecast, page="typecast")
def typecast(input_tensor, *dtypes, dtype=None, memory_config=None, output_tensor=None, sub_core_grids=None):
    """A device tensor in another dtype. typecast(tensor, dtype), or typecast(tensor, from, to)."""
    name = "ttnn.typecast"
    device = check_on_device(name, input_tensor)
    dtype = check_dtype(name, dtypes[-1] if dtypes else dtype)
    if dtype in BLOCK_FLOATS and input_tensor._layout is not TILE_LAYOUT:
        raise RuntimeError(f"[{name}] expected TILE layout for {dtype}, got ROW_MAJOR")
    record(device, name, input_tensor._spec(), dtype)
    parts = each(lambda p: cast_part(p, dtype), input_tensor)
    result = Tensor._make(parts, dtype, input_tensor._layout, memory_config or input_tensor._memory_config, device)
    if output_tensor is None:
        return result
    from tessera.ttnn.registry import write

    return write(name, result, output_tensor)


@operation("ttnn.tilize", page="reorder")
def tilize(input_tensor, *, memory_config=None, dtype=None, use_multicore=True, use_low_perf=False, sub_core_grids=None):
    """To tiles; RuntimeError unless height and width are whole tiles."""
    check_on_device("ttnn.tilize", input_tensor)
    height, width = plane(input_tensor.shape, ROW_MAJOR_LAYOUT)
    if height % 32 or width % 32:
        raise RuntimeError(f"[ttnn.tilize] expected height and width of whole tiles, got {height}x{width}: ttnn.tilize_with_zero_padding() pads")
    return to_layout(input_tensor, TILE_LAYOUT, dtype, memory_config)


@operation("ttnn.tilize_with_zero_padding", page="reorder")
def tilize_with_zero_padding(input_tensor, *, memory_config=None, output_dtype=None, use_multicore=True, sub_core_grids=None):
    """To tiles."""
    check_on_device("ttnn.tilize_with_zero_padding", input_tensor)
    return to_layout(input_tensor, TILE_LAYOUT, output_dtype, memory_config)


@operation("ttnn.tilize_with_val_padding", page="reorder", deviation="The value of the padding is not kept: no op reads padding.")
def tilize_with_val_padding(input_tensor, output_tensor_shape, pad_value, *, memory_config=None, output_dtype=None, use_multicore=True, sub_core_grids=None):
    """To tiles of a padded shape, which must be that of the tiles."""
    check_on_device("ttnn.tilize_with_val_padding", input_tensor)
    made = to_layout(input_tensor, TILE_LAYOUT, output_dtype, memory_config)
    if tuple(output_tensor_shape) != tuple(made.padded_shape):
        from tessera.ttnn.movement import pad

        wanted = list(output_tensor_shape)
        if len(wanted) != len(made.shape) or any(w < s for w, s in zip(wanted, made.shape)) or any(w % 32 for w in wanted[-2:]):
            raise RuntimeError(f"[ttnn.tilize_with_val_padding] expected a shape of whole tiles around {list(made.shape)}, got {wanted}")
        return pad(made, [(0, w - s) for w, s in zip(wanted, made.shape)], float(pad_value))
    return made


@operation("ttnn.untilize", page="reorder")
def untilize(input_tensor, *, memory_config=None, use_multicore=True, use_pack_untilize=True, sub_core_grids=None):
    """To row-major."""
    check_on_device("ttnn.untilize", input_tensor)
    return to_layout(input_tensor, ROW_MAJOR_LAYOUT, None, memory_config)


@operation("ttnn.untilize_with_unpadding", page="reorder")
def untilize_with_unpadding(input_tensor, output_tensor_end, *, memory_config=None, use_multicore=True, use_pack_untilize=True, sub_core_grids=None):
    """To row-major, cut behind the last index of every dimension."""
    from tessera.ttnn.movement import slice as ttnn_slice

    check_on_device("ttnn.untilize_with_unpadding", input_tensor)
    ends = [int(e) + 1 for e in output_tensor_end]
    if len(ends) != len(input_tensor.shape):
        raise RuntimeError(f"[ttnn.untilize_with_unpadding] expected {len(input_tensor.shape)} ends, got {len(ends)}")
    made = to_layout(input_tensor, ROW_MAJOR_LAYOUT, None, memory_config)
    return ttnn_slice(made, [0] * len(ends), [min(e, s) for e, s in zip(ends, made.shape)])


@operation("ttnn.fill_implicit_tile_padding", deviation="Padding holds no elements here, so that there is nothing to fill.")
def fill_implicit_tile_padding(input_tensor, fill_value, *, memory_config=None):
    check_on_device("ttnn.fill_implicit_tile_padding", input_tensor)
    return input_tensor


@operation("ttnn.deallocate")
def deallocate(tensor, force: bool = True) -> None:
    """Gives the elements back; using the tensor afterwards is a RuntimeError."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"ttnn.deallocate(): incompatible function arguments. expected a ttnn.Tensor, got {type(tensor).__name__}")
    tensor.deallocate(force)


def is_tensor_storage_on_device(tensor) -> bool:
    return check_tensor("ttnn.is_tensor_storage_on_device", tensor)._device is not None


def get_memory_config(tensor) -> MemoryConfig:
    return check_tensor("ttnn.get_memory_config", tensor)._memory_config


# ---- files

_MAGIC = b"tessera.tensorbin 1\n"


def _check_suffix(name: str, file_name) -> pathlib.Path:
    path = pathlib.Path(file_name)
    if path.suffix != ".tensorbin":
        raise RuntimeError(f"[{name}] expected a file name ending in .tensorbin, got {path.name}")
    return path


@operation("ttnn.dump_tensor", deviation="A format of its own; without memory config.")
def dump_tensor(file_name, tensor, **_recorded) -> None:
    """Writes a tensor to a .tensorbin file."""
    _dump(_check_suffix("ttnn.dump_tensor", file_name), check_tensor("ttnn.dump_tensor", tensor), "")


def _dump(path, tensor, placement) -> None:
    parts = list({id(p): p for p in tensor._parts}.values())
    header = {
        "dtype": tensor._dtype.name,
        "layout": tensor._layout.name,
        "placement": placement,
        "shapes": [list(p.shape) for p in parts],
        "parts": [parts.index(p) for p in tensor._parts],
    }
    text = json.dumps(header).encode()
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as f:
            f.write(_MAGIC + struct.pack("<Q", len(text)) + text)
            for p in parts:
                f.write(_raw(p))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _raw(part):
    """The bytes of a part; NumPy has no bfloat16, so that it sees 16-bit integers."""
    if part.dtype != _D.bfloat16:
        return part.array(_F.numpy, False).tobytes()
    return _tessera.bits_of(part).array(_F.numpy, False).tobytes()


@operation("ttnn.load_tensor")
def load_tensor(file_name, *, device=None):
    """The tensor of a .tensorbin file. RuntimeError when it is no such file, or is damaged."""
    tensor = _load(file_name)[0]
    return tensor if device is None else to_device(tensor, device)


def _load(file_name):
    """The tensor of a file, and the words about its placement on a mesh."""
    name = "ttnn.load_tensor"
    path = _check_suffix(name, file_name)
    try:
        data = path.read_bytes()
    except OSError as e:
        raise RuntimeError(f"[{name}] expected a file that can be read, got {path.name}: {e.strerror}") from None
    try:
        if not data.startswith(_MAGIC):
            raise ValueError("it does not begin as one")
        (length,) = struct.unpack_from("<Q", data, len(_MAGIC))
        at = len(_MAGIC) + 8
        if length > len(data) - at:
            raise ValueError("its header is cut")
        header = json.loads(data[at : at + length])
        at += length
        dtype, layout = check_dtype(name, DataType[header["dtype"]]), Layout[header["layout"]]
        kind = _NUMPY[STORED[dtype]]
        made = []
        for shape in header["shapes"]:
            if not all(isinstance(s, int) and 0 <= s < 2**40 for s in shape) or len(shape) > 8:
                raise ValueError(f"it says the shape {shape}")
            count = 1
            for s in shape:
                count *= s
            if count * kind.itemsize > len(data) - at:
                raise ValueError("its elements are cut")
            array = np.frombuffer(data, kind, count, at).reshape(shape)
            made.append(_tessera.from_bits(array) if STORED[dtype] == _D.bfloat16 else _tessera.from_array(array, True))
            at += count * kind.itemsize
        if at != len(data) or layout is Layout.INVALID:
            raise ValueError("its sizes do not agree")
        parts = tuple(made[i] for i in header["parts"])
        if not parts:
            raise ValueError("it holds nothing")
    except (ValueError, KeyError, IndexError, TypeError, RecursionError, struct.error) as e:
        raise RuntimeError(f"[{name}] expected a file of ttnn.dump_tensor(), got {path.name}: {e}") from None
    return Tensor._make(parts, dtype, layout, DRAM_MEMORY_CONFIG, None), header.get("placement")


_NUMPY = {
    _D.float32: np.dtype(np.float32),
    _D.bfloat16: np.dtype(np.uint16),
    _D.uint8: np.dtype(np.uint8),
    _D.uint16: np.dtype(np.uint16),
    _D.uint32: np.dtype(np.uint32),
    _D.int32: np.dtype(np.int32),
    _D.int8: np.dtype(np.int8),
}


@operation("ttnn.as_tensor")
def as_tensor(
    tensor,
    dtype=None,
    *,
    layout=ROW_MAJOR_LAYOUT,
    device=None,
    memory_config=None,
    cache_file_name=None,
    preprocess=None,
    mesh_mapper=None,
    cache_dump_mode=DumpTensorMode.DISTRIBUTED_GATHER,
):
    """from_torch() that keeps the result in a file of `cache_file_name`, dtype and layout, and reads it from there the next time."""
    name = "ttnn.as_tensor"
    if device is not None and memory_config is None:
        raise RuntimeError("memory_config must be specified when device is specified")
    if dtype in BLOCK_FLOATS and layout is ROW_MAJOR_LAYOUT:
        layout = TILE_LAYOUT

    def make(on=None):
        source = preprocess(tensor) if preprocess is not None else tensor
        return from_torch(source, dtype, layout=layout, device=on, memory_config=memory_config if on is not None else None, mesh_mapper=mesh_mapper)

    if cache_file_name is None:
        return make(device)
    placement = "" if mesh_mapper is None else mesh_mapper.unwrap().placement()
    kind = "None" if dtype is None else check_dtype(name, dtype).name
    path = pathlib.Path(f"{cache_file_name}_dtype_{kind}_layout_{layout.name}.tensorbin")
    made = None
    if path.exists():
        try:
            made, placed = _load(path)
            other = tensor is not None and preprocess is None and mesh_mapper is None and tuple(made.shape) != tuple(tensor.shape)
            if other or placed != placement:
                made = None
        except RuntimeError as e:
            print(f"{name}: {e}; it is made anew", file=sys.stderr)
    if made is None:
        made = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        _dump(path, made, placement)
    return made if device is None else to_device(made, device, memory_config=memory_config)


@operation("ttnn.allocate_tensor_on_device")
def allocate_tensor_on_device(shape, dtype=None, layout=None, device=None, memory_config=None):
    """A device tensor whose elements are not set yet (here: zeros)."""
    from tessera.ttnn.creation import zeros

    return zeros(shape, dtype=dtype or bfloat16, layout=layout or TILE_LAYOUT, device=check_device("ttnn.allocate_tensor_on_device", device), memory_config=memory_config)
