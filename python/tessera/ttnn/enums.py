"""TTNN's enumerations, shapes and tile sizes. Nothing here computes."""

from __future__ import annotations

import dataclasses
import enum
import math

TILE_SIZE = 32


class _Enum(enum.Enum):
    """Members hash by identity: they are parts of keys in every call."""

    __hash__ = object.__hash__

    def __repr__(self):
        return f"{type(self).__name__}.{self.name}"

    __str__ = __repr__


class DataType(_Enum):
    UINT8 = 5
    UINT16 = 6
    UINT32 = 2
    INT32 = 7
    INT8 = 9
    BFLOAT16 = 0
    FLOAT32 = 1
    BFLOAT8_B = 3
    BFLOAT4_B = 4
    FP8_E4M3 = 10
    INVALID = 8


uint8, uint16, uint32, int32, int8 = DataType.UINT8, DataType.UINT16, DataType.UINT32, DataType.INT32, DataType.INT8
bfloat16, float32, bfloat8_b, bfloat4_b = DataType.BFLOAT16, DataType.FLOAT32, DataType.BFLOAT8_B, DataType.BFLOAT4_B
fp8_e4m3 = DataType.FP8_E4M3
BLOCK_FLOATS = frozenset((bfloat8_b, bfloat4_b))
FLOATS = frozenset((bfloat16, float32, bfloat8_b, bfloat4_b))


class Layout(_Enum):
    ROW_MAJOR = 0
    TILE = 1
    INVALID = 2


ROW_MAJOR_LAYOUT, TILE_LAYOUT = Layout.ROW_MAJOR, Layout.TILE


class StorageType(_Enum):
    HOST = 0
    DEVICE = 1


DEVICE_STORAGE_TYPE = StorageType.DEVICE


class TensorMemoryLayout(_Enum):
    INTERLEAVED = 0
    HEIGHT_SHARDED = 2
    WIDTH_SHARDED = 3
    BLOCK_SHARDED = 4
    SINGLE_BANK = INTERLEAVED


class BufferType(_Enum):
    DRAM = 0
    L1 = 1
    SYSTEM_MEMORY = 2
    L1_SMALL = 3
    TRACE = 4


class ShardOrientation(_Enum):
    ROW_MAJOR = 0
    COL_MAJOR = 1


class ShardStrategy(_Enum):
    HEIGHT = 1
    WIDTH = 2
    BLOCK = 3


class ShardDistributionStrategy(_Enum):
    ROUND_ROBIN_1D = 0
    GRID_2D = 1


class MathFidelity(_Enum):
    LoFi = 0
    HiFi2 = 2
    HiFi3 = 3
    HiFi4 = 4
    Invalid = 255


class ThrottleLevel(_Enum):
    NO_THROTTLE = 0
    LEVEL_1 = 1
    LEVEL_2 = 2
    LEVEL_3 = 3
    LEVEL_4 = 4
    LEVEL_5 = 5


class Arch(_Enum):
    GRAYSKULL = 1
    WORMHOLE_B0 = 2
    BLACKHOLE = 3
    Invalid = 0


class DispatchCoreAxis(_Enum):
    ROW = 0
    COL = 1


class DispatchCoreType(_Enum):
    WORKER = 0
    ETH = 1


class EmbeddingsType(_Enum):
    GENERIC = 0
    PADDED = 1
    BINARY = 2


class GeluVariant(_Enum):
    Accurate = 0
    Tanh = 1
    FastLut = 2


class SigmoidMode(_Enum):
    Accurate = 0
    FastApproximate = 1


class PaddingMode(_Enum):
    Zeros = 0
    Replicate = 1


class TileReshapeMapMode(_Enum):
    CACHE = 0
    RECREATE = 1


class DumpTensorMode(_Enum):
    DISTRIBUTED_GATHER = 0
    DISTRIBUTED = 1


class Shape(tuple):
    """Sizes of a tensor; a sequence that equals lists and tuples of the same numbers."""

    __slots__ = ()

    def __new__(cls, sizes=()):
        sizes = tuple(int(s) for s in sizes)
        if len(sizes) > 8:
            raise RuntimeError(f"[Shape] expected at most 8 dimensions, got {len(sizes)}")
        if any(s < 0 for s in sizes):
            raise RuntimeError(f"[Shape] expected sizes of 0 or more, got {list(sizes)}")
        return tuple.__new__(cls, sizes)

    def __eq__(self, other):
        return tuple.__eq__(self, tuple(other)) if isinstance(other, (list, tuple)) else NotImplemented

    def __ne__(self, other):
        return tuple.__ne__(self, tuple(other)) if isinstance(other, (list, tuple)) else NotImplemented

    __hash__ = tuple.__hash__

    def __repr__(self):
        return f"Shape({list(self)})"

    @property
    def rank(self) -> int:
        return len(self)

    def volume(self) -> int:
        return math.prod(self)

    numel = volume

    def to_rank(self, rank: int) -> Shape:
        """The same elements in `rank` dimensions: ones are put before or taken from the front. RuntimeError when that cannot be."""
        extra = len(self) - rank
        if extra > 0 and any(s != 1 for s in self[:extra]):
            raise RuntimeError(f"[Shape] expected leading sizes of 1 to leave {rank} dimensions, got {list(self)}")
        return Shape(self[extra:] if extra > 0 else (1,) * -extra + tuple(self))

    def with_tile_padding(self) -> Shape:
        return self


@dataclasses.dataclass(frozen=True)
class Tile:
    tile_shape: tuple = (TILE_SIZE, TILE_SIZE)

    def __post_init__(self):
        object.__setattr__(self, "tile_shape", tuple(self.tile_shape))


def round_up(n: int, step: int) -> int:
    return -(-n // step) * step


def padded_shape(shape, layout: Layout) -> Shape:
    """What is stored on a device: in tiles the last two sizes are rounded up to 32, a 1-D tensor being one row."""
    if layout is not Layout.TILE:
        return shape if isinstance(shape, Shape) else Shape(shape)
    sizes = list(shape) if len(shape) >= 2 else [1] * (2 - len(shape)) + list(shape)
    sizes[-2:] = [round_up(sizes[-2], TILE_SIZE), round_up(sizes[-1], TILE_SIZE)]
    return Shape(sizes[-max(len(shape), 1) :])


def plane(shape, layout: Layout) -> tuple[int, int]:
    """(height, width) of the stored 2-D view: all sizes but the last folded into rows."""
    sizes = list(shape) if len(shape) >= 2 else [1] * (2 - len(shape)) + list(shape)
    if layout is Layout.TILE:
        sizes[-2:] = [round_up(sizes[-2], TILE_SIZE), round_up(sizes[-1], TILE_SIZE)]
    return math.prod(sizes[:-1]), sizes[-1]
