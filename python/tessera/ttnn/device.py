"""Devices of one process: a mesh of them is simulated, each with its own tensors and its own entries in the program cache."""

from __future__ import annotations

import contextlib
import os

from tessera.ttnn.enums import Arch, Shape  # noqa: F401
from tessera.ttnn.memory import CoreCoord, CoreGrid

# What programs that size their shards by the device are told: the worker cores and memory banks of a Wormhole.
GRID = CoreCoord(8, 8)
DRAM_GRID = CoreCoord(12, 1)
MOST_DEVICES = 64


class MeshShape(Shape):
    """Rows and columns of a mesh: MeshShape(2, 4)."""

    __slots__ = ()

    def __new__(cls, *sizes):
        if len(sizes) == 1 and isinstance(sizes[0], (list, tuple)):
            sizes = tuple(sizes[0])
        self = Shape.__new__(cls, sizes)
        if len(self) != 2 or min(self) < 1:
            raise RuntimeError(f"[MeshShape] expected rows and columns of 1 or more, got {list(sizes)}")
        return self

    def mesh_size(self) -> int:
        return self.volume()


class MeshDevice:
    """One or more devices. Made by open_device() and open_mesh_device()."""

    def __init__(self, shape: MeshShape, ids):
        self.shape = shape
        self._ids = list(ids)
        self._closed = False
        self._cache: set = set()
        self._cache_on = True
        self._misses_allowed = True
        self._managers: dict = {}
        self._loaded_manager = None
        self._stall_group = ()

    def _program(self, name, key):
        if not self._cache_on:
            return
        key = (name, key)
        if key not in self._cache:
            if not self._misses_allowed:
                raise RuntimeError(f"[{name}] expected a call that the program cache knows, got a new one: Program cache miss occurred, but cache misses are forbidden")
            self._cache.add(key)

    @property
    def core_grid(self) -> CoreGrid:
        return CoreGrid(y=GRID.y, x=GRID.x)

    def compute_with_storage_grid_size(self) -> CoreCoord:
        return GRID

    def dram_grid_size(self) -> CoreCoord:
        return DRAM_GRID

    def arch(self) -> Arch:
        return Arch.WORMHOLE_B0

    def id(self) -> int:
        return self._ids[0]

    def get_device_ids(self) -> list[int]:
        return list(self._ids)

    def get_num_devices(self) -> int:
        return len(self._ids)

    def num_program_cache_entries(self) -> int:
        return len(self._cache)

    def enable_program_cache(self) -> None:
        self._cache_on = True

    def disable_program_cache(self) -> None:
        self._cache_on = False

    def disable_and_clear_program_cache(self) -> None:
        self._cache_on = False
        self._cache.clear()

    def clear_program_cache(self) -> None:
        self._cache.clear()

    def set_program_cache_misses_allowed(self, allowed: bool) -> None:
        self._misses_allowed = bool(allowed)

    # Sub-devices share the one pool of threads: managers are kept and checked, and change nothing.
    def create_sub_device_manager(self, sub_devices, local_l1_size: int) -> int:
        number = len(self._managers) + 1
        self._managers[number] = tuple(sub_devices)
        return number

    def load_sub_device_manager(self, manager: int) -> None:
        if manager not in self._managers:
            raise RuntimeError(f"[load_sub_device_manager] expected a manager that was created, got {manager}")
        self._loaded_manager = manager

    def clear_loaded_sub_device_manager(self) -> None:
        self._loaded_manager = None

    def remove_sub_device_manager(self, manager: int) -> None:
        if manager not in self._managers:
            raise RuntimeError(f"[remove_sub_device_manager] expected a manager that was created, got {manager}")
        if manager == self._loaded_manager:
            raise RuntimeError("[remove_sub_device_manager] expected a manager that is not loaded, got the loaded one")
        del self._managers[manager]

    def set_sub_device_stall_group(self, sub_device_ids) -> None:
        self._stall_group = tuple(sub_device_ids)

    def reset_sub_device_stall_group(self) -> None:
        self._stall_group = ()

    def create_submeshes(self, shape: MeshShape) -> list[MeshDevice]:
        raise RuntimeError("[create_submeshes] expected a whole mesh, got a wish for parts of one: open_mesh_device() opens a smaller one")

    def __repr__(self):
        return f"MeshDevice({self.shape[0]}x{self.shape[1]}{', closed' if self._closed else ''})"


Device = MeshDevice
_open: dict[int, MeshDevice] = {}
_default: MeshDevice | None = None


def GetNumAvailableDevices() -> int:
    """1, or what TESSERA_TTNN_DEVICES says. Meshes may have more: they are simulated."""
    try:
        return max(1, min(int(os.environ.get("TESSERA_TTNN_DEVICES", "1")), MOST_DEVICES))
    except ValueError:
        return 1


GetNumPCIeDevices = get_num_devices = GetNumAvailableDevices


def GetPCIeDeviceID(device_id: int) -> int:
    return device_id


def get_device_ids() -> list[int]:
    return list(range(GetNumAvailableDevices()))


def open_device(
    *,
    device_id: int,
    l1_small_size: int = 0,
    trace_region_size: int = 0,
    dispatch_core_config=None,
    num_command_queues: int = 1,
    worker_l1_size: int = 0,
) -> MeshDevice:
    """Device number `device_id`; the same object when it is open already."""
    if isinstance(device_id, bool) or not isinstance(device_id, int):
        raise TypeError(f"open_device(): incompatible function arguments. device_id: expected a number, got {device_id!r}")
    if not 0 <= device_id < GetNumAvailableDevices():
        raise RuntimeError(f"[open_device] expected a device of 0 to {GetNumAvailableDevices() - 1}, got {device_id}; TESSERA_TTNN_DEVICES says how many there are")
    if device_id not in _open:
        _open[device_id] = MeshDevice(MeshShape(1, 1), [device_id])
    return _open[device_id]


def CreateDevice(device_id: int, num_command_queues: int = 1, l1_small_size: int = 0, trace_region_size: int = 0, dispatch_core_config=None, **_recorded) -> MeshDevice:
    return open_device(device_id=device_id, l1_small_size=l1_small_size)


def CreateDevices(device_ids, *_recorded, **_more) -> dict[int, MeshDevice]:
    return {i: open_device(device_id=i) for i in device_ids}


def close_device(device: MeshDevice) -> None:
    """Ends a device. Its tensors may not be used any more."""
    global _default
    if not isinstance(device, MeshDevice):
        raise TypeError(f"close_device(): incompatible function arguments. expected a device, got {type(device).__name__}")
    device._closed = True
    device._cache.clear()
    for number in [n for n, d in _open.items() if d is device]:
        del _open[number]
    if _default is device:
        _default = None


CloseDevice = close_mesh_device = close_device


def CloseDevices(devices) -> None:
    for device in list(devices.values()):
        close_device(device)


@contextlib.contextmanager
def manage_device(device_id: int, **options):
    """An open device for the block."""
    device = open_device(device_id=device_id, **options)
    try:
        yield device
    finally:
        close_device(device)


def open_mesh_device(
    mesh_shape=None,
    l1_small_size: int = 0,
    trace_region_size: int = 0,
    num_command_queues: int = 1,
    dispatch_core_config=None,
    offset=None,
    physical_device_ids=(),
    worker_l1_size: int = 0,
) -> MeshDevice:
    """rows x columns of devices, simulated in this process: ops run on each."""
    shape = MeshShape(1, GetNumAvailableDevices()) if mesh_shape is None else MeshShape(*mesh_shape)
    if shape.volume() > MOST_DEVICES:
        raise RuntimeError(f"[open_mesh_device] expected at most {MOST_DEVICES} devices, got {shape[0]}x{shape[1]}")
    return MeshDevice(shape, list(physical_device_ids) or range(shape.volume()))


@contextlib.contextmanager
def create_mesh_device(mesh_shape=None, **options):
    device = open_mesh_device(mesh_shape, **options)
    try:
        yield device
    finally:
        close_device(device)


def SetDefaultDevice(device: MeshDevice | None) -> None:
    global _default
    if device is not None and not isinstance(device, MeshDevice):
        raise TypeError(f"SetDefaultDevice(): incompatible function arguments. expected a device, got {type(device).__name__}")
    _default = device


def GetDefaultDevice() -> MeshDevice | None:
    return _default


def check_device(name: str, device) -> MeshDevice:
    if not isinstance(device, MeshDevice):
        raise TypeError(f"{name}(): incompatible function arguments. device: expected an open device, got {device!r}")
    if device._closed:
        raise RuntimeError(f"[{name}] expected an open device, got one that was closed")
    return device


def synchronize_device(device, cq_id=None, sub_device_ids=()) -> None:
    """Returns at once: every op is done when it returns."""
    check_device("synchronize_device", device)


def get_arch_name() -> str:
    return "wormhole_b0"


def ReadDeviceProfiler(device=None, *_recorded, **_more) -> None:
    """Nothing to read: tessera.profile() records what ops do."""


DumpDeviceProfiler = ReadDeviceProfiler
