"""TTNN's programming model on a plain processor: import tessera.ttnn as ttnn.

docs/ttnn.md lists the operations, their goldens, and every deviation from a device.
"""

import importlib.abc
import importlib.util
import sys

from tessera.ttnn import device, experimental, operations, transformer, types  # noqa: F401
from tessera.ttnn import _ttnn  # noqa: F401
from tessera.ttnn.configs import *  # noqa: F403
from tessera.ttnn.conv import *  # noqa: F403
from tessera.ttnn.convert import (  # noqa: F401
    allocate_tensor_on_device,
    as_tensor,
    deallocate,
    dump_tensor,
    fill_implicit_tile_padding,
    from_device,
    from_torch,
    get_memory_config,
    interleaved_to_sharded,
    is_tensor_storage_on_device,
    load_tensor,
    reallocate,
    reshard,
    sharded_to_interleaved,
    tilize,
    tilize_with_val_padding,
    tilize_with_zero_padding,
    to_device,
    to_dtype,
    to_layout,
    to_memory_config,
    to_numpy,
    to_torch,
    typecast,
    untilize,
    untilize_with_unpadding,
)
from tessera.ttnn.creation import arange, empty, empty_like, full, full_like, ones, ones_like, rand, zeros, zeros_like  # noqa: F401
from tessera.ttnn.device import (  # noqa: F401
    CloseDevice,
    CloseDevices,
    CreateDevice,
    CreateDevices,
    Device,
    DumpDeviceProfiler,
    GetDefaultDevice,
    GetNumAvailableDevices,
    GetNumPCIeDevices,
    GetPCIeDeviceID,
    MeshDevice,
    MeshShape,
    ReadDeviceProfiler,
    SetDefaultDevice,
    close_device,
    close_mesh_device,
    create_mesh_device,
    get_arch_name,
    get_device_ids,
    get_num_devices,
    manage_device,
    open_device,
    open_mesh_device,
    synchronize_device,
)
from tessera.ttnn.elementwise import *  # noqa: F403
from tessera.ttnn.enums import *  # noqa: F403
from tessera.ttnn.golden import pearson_correlation_coefficient  # noqa: F401
from tessera.ttnn.matmul import *  # noqa: F403
from tessera.ttnn.memory import *  # noqa: F403
from tessera.ttnn.mesh import (  # noqa: F401
    ConcatMesh2dToTensor,
    ConcatMeshToTensor,
    ReplicateTensorToMesh,
    ShardTensor2dMesh,
    ShardTensorToMesh,
    concat_mesh_to_tensor_composer,
    get_device_tensors,
    replicate_tensor_to_mesh_mapper,
    shard_tensor_to_mesh_mapper,
)
from tessera.ttnn.movement import *  # noqa: F403
from tessera.ttnn.normalization import *  # noqa: F403
from tessera.ttnn.pool import *  # noqa: F403
from tessera.ttnn.registry import attach_golden_function, get_golden_function  # noqa: F401
from tessera.ttnn.tensor import Tensor  # noqa: F401



class _Alias(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Where a program has put this package in place of ttnn (sys.modules["ttnn"] = tessera.ttnn), its `import ttnn.device` finds these modules, and
    not copies of them."""

    def find_spec(self, name, path=None, target=None):
        if not name.startswith("ttnn.") or sys.modules.get("ttnn") is not sys.modules[__name__]:
            return None
        if importlib.util.find_spec(f"{__name__}{name[4:]}") is None:
            return None
        return importlib.util.spec_from_loader(name, self)

    def create_module(self, spec):
        module = importlib.import_module(f"{__name__}{spec.name[4:]}")
        self._spec = module.__spec__
        return module

    def exec_module(self, module):
        module.__spec__ = self._spec  # the import system has put the alias's there


sys.meta_path.insert(0, _Alias())
