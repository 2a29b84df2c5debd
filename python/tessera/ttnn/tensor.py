"""A tensor as TTNN means it: shape, dtype, layout, memory config, and the elements on the host or on each device of a mesh.

The elements are kept row-major whatever the layout: a tile is a promise about the padded shape, not about memory. (docs/ttnn.md)
"""

from __future__ import annotations

import operator

from tessera import _tessera
from tessera.ttnn.enums import DataType, Layout, Shape, StorageType, padded_shape
from tessera.ttnn.memory import MemoryConfig
from tessera.ttnn.registry import check_tensor


class Tensor:
    """Tensor(array, dtype=None, *, device=None, layout=None, mem_config=None, ...): as from_torch().
    Tensor(numbers, shape, dtype, layout, device=None): of a list of numbers."""

    __slots__ = ("_parts", "_shape", "_key", "_dtype", "_layout", "_memory_config", "_device", "_prepared", "__weakref__")

    def __init__(
        self,
        tensor,
        data_type=None,
        dtype=None,
        layout=None,
        device=None,
        mem_config=None,
        *,
        tile=None,
        cq_id=None,
        pad_value=None,
        mesh_mapper=None,
        preserve_nan_values=False,
        col_tilize=False,
        enable_bfloat_opt=False,
    ):
        from tessera.ttnn.convert import from_torch
        from tessera.ttnn.device import MeshDevice

        if isinstance(tensor, (list, tuple)) and data_type is not None and not isinstance(data_type, DataType):
            import numpy as np

            shape = Shape(data_type)
            if len(tensor) != shape.volume():
                raise RuntimeError(f"[Tensor] expected {shape.volume()} numbers for shape {list(shape)}, got {len(tensor)}")
            whole = all(isinstance(v, int) for v in tensor)
            tensor, data_type = np.array(tensor, dtype=np.int64 if whole else np.float32).reshape(shape), dtype
        else:
            if isinstance(dtype, MeshDevice):  # the older order: array, dtype, device, layout
                dtype, device = None, dtype
            data_type = data_type if dtype is None else dtype
        made = from_torch(tensor, data_type, layout=layout, device=device, memory_config=mem_config, mesh_mapper=mesh_mapper, tile=tile, pad_value=pad_value)
        for name in ("_parts", "_shape", "_key", "_dtype", "_layout", "_memory_config", "_device"):
            setattr(self, name, getattr(made, name))
        self._prepared = None

    @classmethod
    def _make(cls, parts, dtype, layout, memory_config, device):
        self = cls.__new__(cls)
        self._parts = parts
        self._shape = self._key = None
        self._dtype = dtype
        self._layout = layout
        self._memory_config = memory_config
        self._device = device
        self._prepared = None
        return self

    def _like(self, parts):
        return Tensor._make(parts, self._dtype, self._layout, self._memory_config, self._device)

    def _replace(self, parts):
        """Other elements in place of the old ones; what was prepared from those is forgotten."""
        self._parts = parts
        self._prepared = None

    def _spec(self):
        """What the program cache knows it by; of plain tuples, which are hashed and compared without the interpreter."""
        key = self._key
        if key is None:
            key = self._key = (check_tensor("spec", self)._parts[0].shape, self._dtype, self._layout, self._memory_config)
        return key

    # ---- what it is

    @property
    def shape(self) -> Shape:
        shape = self._shape
        if shape is None:
            if self._parts is None:
                check_tensor("shape", self)
            shape = self._shape = tuple.__new__(Shape, self._parts[0].shape)
        return shape

    @property
    def padded_shape(self) -> Shape:
        return padded_shape(self.shape, self._layout)

    @property
    def logical_shape(self) -> Shape:
        return self.shape

    @property
    def dtype(self) -> DataType:
        return self._dtype

    @property
    def layout(self) -> Layout:
        return self._layout

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def tile(self):
        from tessera.ttnn.enums import Tile

        return Tile()

    @property
    def spec(self):
        return self.shape, self._dtype, self._layout, self._memory_config

    def get_dtype(self) -> DataType:
        return self._dtype

    def get_layout(self) -> Layout:
        return self._layout

    def get_legacy_shape(self) -> Shape:
        return self.padded_shape

    def memory_config(self) -> MemoryConfig:
        return self._memory_config

    def is_sharded(self) -> bool:
        return self._memory_config.is_sharded()

    def shard_spec(self):
        return self._memory_config.shard_spec

    def device(self):
        return self._device

    def storage_type(self) -> StorageType:
        return StorageType.HOST if self._device is None else StorageType.DEVICE

    def is_allocated(self) -> bool:
        return self._parts is not None

    def buffer_address(self) -> int:
        return check_tensor("buffer_address", self)._parts[0].address

    def volume(self) -> int:
        return self.padded_shape.volume()

    physical_volume = volume

    def logical_volume(self) -> int:
        return self.shape.volume()

    numel = logical_volume

    def element_size(self) -> int:
        from tessera.ttnn.convert import ELEMENT_BYTES

        return ELEMENT_BYTES[self._dtype]

    def __len__(self):
        return self.shape[0]

    def __bool__(self):
        return True  # there is a tensor: programs ask `if bias:`

    # ---- elsewhere, or as something else

    def cpu(self, blocking: bool = True, cq_id=None) -> Tensor:
        from tessera.ttnn.convert import from_device

        return from_device(self)

    def to(self, target, memory_config=None, *more, mem_config=None, **_recorded) -> Tensor:
        """to(device, memory_config=None), to(layout) or to(dtype)."""
        from tessera.ttnn import convert

        if isinstance(target, Layout):
            return convert.to_layout(self, target)
        if isinstance(target, DataType):
            return convert.to_dtype(self, target)
        return convert.to_device(self, target, memory_config=memory_config if memory_config is not None else mem_config)

    def to_torch(self, **keywords):
        from tessera.ttnn.convert import to_torch

        return to_torch(self, **keywords)

    def to_numpy(self, **keywords):
        from tessera.ttnn.convert import to_numpy

        return to_numpy(self, **keywords)

    def to_list(self):
        return self.to_numpy().tolist()

    def item(self):
        check_tensor("item", self)
        if self.shape.volume() != 1:
            raise RuntimeError(f"[item] expected a tensor of one element, got shape {list(self.shape)}")
        return self.to_numpy().reshape(-1)[0].item()

    def reshape(self, *shape) -> Tensor:
        from tessera.ttnn.movement import reshape

        return reshape(self, shape[0] if len(shape) == 1 and isinstance(shape[0], (list, tuple)) else shape)

    def permute(self, *dims) -> Tensor:
        from tessera.ttnn.movement import permute

        return permute(self, dims[0] if len(dims) == 1 and isinstance(dims[0], (list, tuple)) else dims)

    def deallocate(self, force: bool = True) -> None:
        if self._parts is not None:
            self._shape = self.shape  # what it was is still known
        self._parts = None
        self._prepared = None

    def __dlpack__(self, **_request):
        return self._shared(_tessera.Framework.dlpack)

    def __dlpack_device__(self):
        return 1, 0

    def __array__(self, dtype=None, copy=None):
        from tessera.ttnn.convert import to_numpy

        array = to_numpy(self)
        return array if dtype is None else array.astype(dtype)

    def _shared(self, framework):
        parts = check_tensor("to_array", self)._parts
        if len(parts) != 1:
            raise RuntimeError(f"[to_array] expected a tensor of one device, got one of {len(parts)}: ttnn.get_device_tensors() gives the parts")
        # Elements on a device are its own: what is given away is a copy.
        return parts[0].array(framework, self._device is not None)

    # ---- operators; their functions are put here by tessera.ttnn.elementwise and .matmul

    def __getitem__(self, index):
        return get_item(self, index)

    def __matmul__(self, other):
        from tessera.ttnn.matmul import matmul

        return matmul(self, other)

    __hash__ = object.__hash__

    def __repr__(self):
        if self._parts is None:
            return "ttnn.Tensor(<deallocated>)"
        where = "host" if self._device is None else f"{len(self._parts)} device" + ("" if len(self._parts) == 1 else "s")
        head = f"shape={list(self.shape)}, dtype={self._dtype}, layout={self._layout}, on {where}"
        if self._device is not None:
            head += f", {self._memory_config.memory_layout.name} {self._memory_config.buffer_type.name}"
        if len(self._parts) > 1 or self.shape.volume() > 4096:
            return f"ttnn.Tensor({head})"
        return f"ttnn.Tensor({self.to_numpy()}, {head})"


def get_item(tensor: Tensor, index):
    """tensor[...]: numbers take a dimension away, slices may step, one Ellipsis stands for the rest."""
    from tessera.ttnn.movement import slice as ttnn_slice

    check_tensor("Tensor.__getitem__", tensor)
    index = index if isinstance(index, tuple) else (index,)
    for i in index:
        if i is not Ellipsis and not isinstance(i, slice) and (isinstance(i, bool) or not hasattr(i, "__index__")):
            raise TypeError(f"[Tensor.__getitem__] expected numbers, slices and ..., got {type(i).__name__}")
    shape = tensor.shape
    dots = [i for i, word in enumerate(index) if word is Ellipsis]
    if len(dots) > 1:
        raise ValueError("[Tensor.__getitem__] expected one ellipsis at most, got several: Only one ellipsis ('...') is allowed in a slice.")
    given = len(index) - len(dots)
    if given > len(shape):
        raise IndexError(f"[Tensor.__getitem__] expected at most {len(shape)} indices, got {given}: Too many indices for tensor of dimension {len(shape)}")
    rest = (slice(None),) * (len(shape) - given)
    at = dots[0] if dots else len(index)
    index = index[:at] + rest + index[at + len(dots) :]
    start, end, step, kept = [], [], [], []
    for dim, (word, size) in enumerate(zip(index, shape, strict=True)):
        if isinstance(word, slice):
            if word.step is not None and operator.index(word.step) <= 0:
                raise RuntimeError(f"[Tensor.__getitem__] expected steps of 1 or more, got {word.step}")
            a, b, s = word.indices(size)
            if s != 1 and tensor._device is None:
                raise RuntimeError("[Tensor.__getitem__] expected a step of 1 for a tensor on the host: Host tensor slicing with step is not supported")
            b = max(a, b)
            kept.append(-(-(b - a) // s))
        else:
            i = operator.index(word)
            if not -size <= i < size:
                raise IndexError(f"[Tensor.__getitem__] expected an index of -{size} to {size - 1} for dimension {dim}, got {i}")
            a = i % size
            b, s = a + 1, 1
        start.append(a), end.append(b), step.append(s)
    result = ttnn_slice(tensor, start, end, step)
    if len(kept) == len(shape):
        return result
    return Tensor._make(tuple(p.reshape(kept) for p in result._parts), result._dtype, result._layout, result._memory_config, result._device)
