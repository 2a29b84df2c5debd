"""How tensors are spread over a mesh and gathered again."""

from __future__ import annotations

from tessera import _tessera
from tessera.ttnn.device import MeshDevice, check_device
from tessera.ttnn.registry import check_tensor
from tessera.ttnn.tensor import Tensor


def _chunks(part, count: int, dim: int):
    rank = len(part.shape)
    if not -rank <= dim < rank:
        raise RuntimeError(f"[mesh mapper] expected a dimension of -{rank} to {rank - 1}, got {dim}")
    dim %= rank
    size = part.shape[dim]
    if size < count:
        raise RuntimeError(f"[mesh mapper] expected at least {count} along dimension {dim} for {count} devices, got {size}")
    width = -(-size // count)
    if (count - 1) * width >= size:
        raise RuntimeError(f"[mesh mapper] expected a size that {count} devices can share, got {size} along dimension {dim}")
    start, end, step = [0] * rank, list(part.shape), [1] * rank
    parts = []
    for i in range(count):
        start[dim], end[dim] = i * width, min((i + 1) * width, size)
        parts.append(_tessera.slice(part, start, end, step))
    return parts


class TensorToMesh:
    """What from_torch() is given to spread a tensor over a mesh."""

    def __init__(self, mesh_device: MeshDevice):
        self.mesh_device = check_device(type(self).__name__, mesh_device)

    def unwrap(self):
        return self

    def placement(self) -> str:
        """Words that tell one way of spreading from another, for files."""
        return f"{type(self).__name__} {tuple(self.mesh_device.shape)} {getattr(self, 'dim', '')} {getattr(self, 'dims', '')} {getattr(self, 'mesh_shape', '')}"

    def parts(self, part):
        raise NotImplementedError


class ReplicateTensorToMesh(TensorToMesh):
    """All of the tensor on every device."""

    def parts(self, part):
        return (part,) * self.mesh_device.get_num_devices()


class ShardTensorToMesh(TensorToMesh):
    """One stretch of dimension `dim` on each device."""

    def __init__(self, mesh_device: MeshDevice, dim: int):
        super().__init__(mesh_device)
        self.dim = int(dim)

    def parts(self, part):
        return tuple(_chunks(part, self.mesh_device.get_num_devices(), self.dim))


class ShardTensor2dMesh(TensorToMesh):
    """Dimension dims[0] over the rows of the mesh, dims[1] over its columns; None: all of it in each."""

    def __init__(self, mesh_device: MeshDevice, mesh_shape, dims):
        super().__init__(mesh_device)
        self.mesh_shape, self.dims = tuple(mesh_shape), tuple(dims)
        if self.mesh_shape[0] * self.mesh_shape[1] != mesh_device.get_num_devices():
            raise RuntimeError(f"[ShardTensor2dMesh] expected a shape of {mesh_device.get_num_devices()} devices, got {self.mesh_shape}")
        if len(self.dims) != 2 or self.dims == (None, None):
            raise ValueError(f"[ShardTensor2dMesh] expected two dimensions of which one may be None, got {dims}")

    def parts(self, part):
        rows, columns = self.mesh_shape
        down = [part] * rows if self.dims[0] is None else _chunks(part, rows, self.dims[0])
        return tuple(p for row in down for p in ([row] * columns if self.dims[1] is None else _chunks(row, columns, self.dims[1])))


class MeshToTensor:
    """What to_torch() is given to gather a tensor from a mesh."""

    def unwrap(self):
        return self

    def compose(self, parts):
        raise NotImplementedError


class ConcatMeshToTensor(MeshToTensor):
    """The devices' tensors one after the other along dimension `dim`."""

    def __init__(self, mesh_device: MeshDevice, dim: int = 0):
        self.mesh_device, self.dim = check_device("ConcatMeshToTensor", mesh_device), int(dim)

    def compose(self, parts):
        return _tessera.concat(list(parts), self.dim)


class ConcatMesh2dToTensor(MeshToTensor):
    """Rows of the mesh along dims[0], columns along dims[1]."""

    def __init__(self, mesh_device: MeshDevice, mesh_shape, dims):
        self.mesh_device, self.mesh_shape, self.dims = check_device("ConcatMesh2dToTensor", mesh_device), tuple(mesh_shape), tuple(dims)
        if len(self.dims) != 2 or self.dims[0] == self.dims[1]:
            raise ValueError(f"[ConcatMesh2dToTensor] expected two different dimensions, got {dims}")

    def compose(self, parts):
        rows, columns = self.mesh_shape
        joined = [_tessera.concat(list(parts[r * columns : (r + 1) * columns]), self.dims[1]) for r in range(rows)]
        return _tessera.concat(joined, self.dims[0])


def replicate_tensor_to_mesh_mapper(mesh_device):
    return ReplicateTensorToMesh(mesh_device)


def shard_tensor_to_mesh_mapper(mesh_device, dim):
    return ShardTensorToMesh(mesh_device, dim)


def concat_mesh_to_tensor_composer(mesh_device, dim):
    return ConcatMeshToTensor(mesh_device, dim)


def get_device_tensors(tensor: Tensor) -> list[Tensor]:
    """One tensor for each device."""
    check_tensor("get_device_tensors", tensor)
    return [Tensor._make((p,), tensor._dtype, tensor._layout, tensor._memory_config, tensor._device) for p in tensor._parts]
