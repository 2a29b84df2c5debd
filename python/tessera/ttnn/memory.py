"""Where tensors lie: cores and their ranges, shards, memory configs, and what a device would refuse of them."""

from __future__ import annotations

import dataclasses
import math

from tessera.ttnn.enums import TILE_SIZE, BufferType, Layout, Shape, ShardDistributionStrategy, ShardOrientation, ShardStrategy, TensorMemoryLayout, plane, round_up


@dataclasses.dataclass(frozen=True, order=True)
class CoreCoord:
    x: int
    y: int

    def __post_init__(self):
        for name in ("x", "y"):
            value = getattr(self, name)
            if isinstance(value, bool) or not hasattr(value, "__index__"):
                raise TypeError(f"[CoreCoord] expected whole numbers, got {name}={value!r}")
            if value < 0:
                raise RuntimeError(f"[CoreCoord] expected numbers of 0 or more, got {name}={value}")


def _coord(value) -> CoreCoord:
    if isinstance(value, CoreCoord):
        return value
    if isinstance(value, (tuple, list)) and len(value) == 2:
        return CoreCoord(*value)
    raise TypeError(f"expected a CoreCoord or (x, y), got {value!r}")


@dataclasses.dataclass(frozen=True)
class CoreRange:
    """Cores from `start` to `end`, both included."""

    start: CoreCoord
    end: CoreCoord

    def __post_init__(self):
        object.__setattr__(self, "start", _coord(self.start))
        object.__setattr__(self, "end", _coord(self.end))
        if self.end.x < self.start.x or self.end.y < self.start.y:
            raise RuntimeError(f"[CoreRange] expected an end at or beyond the start, got {self.start} to {self.end}")

    def grid_size(self) -> CoreCoord:
        return CoreCoord(self.end.x - self.start.x + 1, self.end.y - self.start.y + 1)

    def size(self) -> int:
        grid = self.grid_size()
        return grid.x * grid.y

    num_cores = size

    def contains(self, core) -> bool:
        core = _coord(core)
        return self.start.x <= core.x <= self.end.x and self.start.y <= core.y <= self.end.y


class CoreRangeSet:
    """Core ranges that do not meet. Made of a set or list of CoreRange (or of CoreCoord), or of one CoreRange."""

    __slots__ = ("_ranges",)

    def __init__(self, ranges=()):
        if isinstance(ranges, CoreRangeSet):
            ranges = ranges._ranges
        if isinstance(ranges, CoreRange):
            ranges = (ranges,)
        made = []
        for r in ranges:
            if isinstance(r, CoreCoord):
                r = CoreRange(r, r)
            if not isinstance(r, CoreRange):
                raise TypeError(f"[CoreRangeSet] expected CoreRange objects, got {r!r}")
            made.append(r)
        made.sort(key=lambda r: (r.start.y, r.start.x, r.end.y, r.end.x))
        for i, a in enumerate(made):
            for b in made[i + 1 :]:
                if a.start.x <= b.end.x and b.start.x <= a.end.x and a.start.y <= b.end.y and b.start.y <= a.end.y:
                    raise RuntimeError(f"[CoreRangeSet] Cannot have overlapping core ranges: {a} and {b}")
        self._ranges = tuple(made)

    def ranges(self) -> list[CoreRange]:
        return list(self._ranges)

    def num_cores(self) -> int:
        return sum(r.size() for r in self._ranges)

    def empty(self) -> bool:
        return not self._ranges

    def contains(self, core) -> bool:
        return any(r.contains(core) for r in self._ranges)

    def bounding_box(self) -> CoreRange:
        if not self._ranges:
            raise RuntimeError("[CoreRangeSet] expected cores, got none: an empty set has no bounding box")
        return CoreRange(
            CoreCoord(min(r.start.x for r in self._ranges), min(r.start.y for r in self._ranges)),
            CoreCoord(max(r.end.x for r in self._ranges), max(r.end.y for r in self._ranges)),
        )

    def __eq__(self, other):
        return self._ranges == other._ranges if isinstance(other, CoreRangeSet) else NotImplemented

    def __hash__(self):
        return hash(self._ranges)

    def __repr__(self):
        return f"CoreRangeSet({list(self._ranges)})"


@dataclasses.dataclass(frozen=True)
class CoreGrid:
    y: int
    x: int

    def __post_init__(self):
        for name in ("y", "x"):
            value = getattr(self, name)
            if isinstance(value, bool) or not hasattr(value, "__index__"):
                raise TypeError(f"[CoreGrid] expected whole numbers, got {name}={value!r}")

    @property
    def num_cores(self) -> int:
        return self.y * self.x


def core_range_set(cores) -> CoreRangeSet:
    """A CoreRangeSet of what programs give where cores are wanted: CoreGrid, CoreRange, CoreRangeSet, or a set of ranges."""
    if isinstance(cores, CoreGrid):
        return CoreRangeSet([CoreRange(CoreCoord(0, 0), CoreCoord(cores.x - 1, cores.y - 1))])
    return cores if isinstance(cores, CoreRangeSet) else CoreRangeSet(cores)


def num_cores_to_corerangeset(target_num_cores: int, grid_size, row_wise: bool = False) -> CoreRangeSet:
    """The first `target_num_cores` cores of a grid, row by row or column by column. RuntimeError when the grid has fewer."""
    grid = _coord(grid_size)
    if not 0 < target_num_cores <= grid.x * grid.y:
        raise RuntimeError(f"[num_cores_to_corerangeset] expected 1 to {grid.x * grid.y} cores of the grid {grid.x}x{grid.y}, got {target_num_cores}")
    width, height = (grid.x, grid.y) if row_wise else (grid.y, grid.x)
    full, rest = divmod(target_num_cores, width)

    def place(across, along):
        return CoreCoord(across, along) if row_wise else CoreCoord(along, across)

    ranges = []
    if full:
        ranges.append(CoreRange(place(0, 0), place(width - 1, full - 1)))
    if rest:
        ranges.append(CoreRange(place(0, full), place(rest - 1, full)))
    return CoreRangeSet(ranges)


def merged(cores) -> CoreRangeSet:
    """As few ranges as rows of neighbours, and blocks of equal rows, make of single cores."""
    rows: list[list] = []
    for c in sorted(cores, key=lambda c: (c.y, c.x)):
        if rows and rows[-1][2] == c.y and rows[-1][1] + 1 == c.x:
            rows[-1][1] = c.x
        else:
            rows.append([c.x, c.x, c.y])
    blocks: list[list] = []
    for first, last, y in rows:
        for b in blocks:
            if b[:2] == [first, last] and b[3] + 1 == y:
                b[3] = y
                break
        else:
            blocks.append([first, last, y, y])
    return CoreRangeSet([CoreRange(CoreCoord(a, y0), CoreCoord(b, y1)) for a, b, y0, y1 in blocks])


def num_cores_to_corerangeset_in_subcoregrids(start_core, target_num_cores: int, sub_core_grids: CoreRangeSet, row_wise: bool = False) -> CoreRangeSet:
    """As num_cores_to_corerangeset(), among the cores of `sub_core_grids`, beginning with `start_core`."""
    start = _coord(start_core)
    cores, started = [], False
    for r in sub_core_grids.ranges():
        inner = [(x, y) for y in range(r.start.y, r.end.y + 1) for x in range(r.start.x, r.end.x + 1)]
        if not row_wise:
            inner.sort()
        for x, y in inner:
            core = CoreCoord(x, y)
            started = started or core == start
            if started:
                cores.append(core)
    if not started:
        raise RuntimeError(f"[num_cores_to_corerangeset_in_subcoregrids] expected a start core within the sub core grids, got {start}")
    if not 0 < target_num_cores <= len(cores):
        raise RuntimeError(f"[num_cores_to_corerangeset_in_subcoregrids] expected 1 to {len(cores)} cores from {start} on, got {target_num_cores}")
    return merged(cores[:target_num_cores])


@dataclasses.dataclass(frozen=True, init=False)
class ShardSpec:
    """`shape` [height, width] of a shard of the 2-D view, on the cores of `grid`."""

    grid: CoreRangeSet
    shape: Shape
    orientation: ShardOrientation

    def __init__(self, grid, shard_shape=None, shard_orientation=ShardOrientation.ROW_MAJOR, *, shape=None, orientation=None):
        shape = shard_shape if shape is None else shape
        orientation = shard_orientation if orientation is None else orientation
        if not isinstance(grid, (CoreRangeSet, CoreGrid, CoreRange)):
            raise TypeError(f"[ShardSpec] expected a CoreRangeSet, got {grid!r}")
        if not isinstance(orientation, ShardOrientation):
            raise TypeError(f"[ShardSpec] expected a ShardOrientation, got {orientation!r}")
        try:
            shape = tuple(int(s) for s in shape)
        except TypeError:
            raise TypeError(f"[ShardSpec] expected a shape of two numbers, got {shape!r}") from None
        if len(shape) != 2 or min(shape) <= 0:
            raise RuntimeError(f"[ShardSpec] expected a height and a width of 1 or more, got {list(shape)}")
        object.__setattr__(self, "grid", core_range_set(grid))
        object.__setattr__(self, "shape", Shape(shape))
        object.__setattr__(self, "orientation", orientation)

    def num_cores(self) -> int:
        return self.grid.num_cores()


@dataclasses.dataclass(frozen=True, init=False)
class NdShardSpec:
    shard_shape: Shape
    grid: CoreRangeSet
    orientation: ShardOrientation
    shard_distribution_strategy: ShardDistributionStrategy

    def __init__(
        self, shard_shape, grid, orientation=ShardOrientation.ROW_MAJOR, shard_distribution_strategy=ShardDistributionStrategy.ROUND_ROBIN_1D
    ):
        object.__setattr__(self, "shard_shape", Shape(shard_shape))
        object.__setattr__(self, "grid", core_range_set(grid))
        object.__setattr__(self, "orientation", orientation)
        object.__setattr__(self, "shard_distribution_strategy", shard_distribution_strategy)


class MemoryConfig:
    """MemoryConfig(memory_layout, buffer_type, shard_spec), or MemoryConfig(buffer_type, nd_shard_spec). Immutable."""

    __slots__ = ("memory_layout", "buffer_type", "shard_spec", "nd_shard_spec", "_hash")

    def __init__(self, memory_layout=TensorMemoryLayout.INTERLEAVED, buffer_type=BufferType.DRAM, shard_spec=None, nd_shard_spec=None):
        if isinstance(memory_layout, BufferType):
            if isinstance(buffer_type, NdShardSpec):
                memory_layout, buffer_type, nd_shard_spec = TensorMemoryLayout.BLOCK_SHARDED, memory_layout, buffer_type
            elif buffer_type is BufferType.DRAM:
                memory_layout, buffer_type = TensorMemoryLayout.INTERLEAVED, memory_layout
        for value, kind, what in ((memory_layout, TensorMemoryLayout, "memory_layout"), (buffer_type, BufferType, "buffer_type")):
            if not isinstance(value, kind):
                raise TypeError(f"[MemoryConfig] {what}: expected a {kind.__name__}, got {value!r}")
        if shard_spec is not None and not isinstance(shard_spec, ShardSpec):
            raise TypeError(f"[MemoryConfig] shard_spec: expected a ShardSpec, got {shard_spec!r}")
        if memory_layout is TensorMemoryLayout.INTERLEAVED and shard_spec is not None:
            raise RuntimeError("[MemoryConfig] expected no shard spec with an interleaved layout, got one")
        put = object.__setattr__
        put(self, "memory_layout", memory_layout)
        put(self, "buffer_type", buffer_type)
        put(self, "shard_spec", shard_spec)
        put(self, "nd_shard_spec", nd_shard_spec)
        put(self, "_hash", hash((memory_layout, buffer_type, shard_spec, nd_shard_spec)))

    def __setattr__(self, name, value):
        raise AttributeError(f"MemoryConfig cannot be changed; make another one with that {name}")

    def is_sharded(self) -> bool:
        return self.memory_layout is not TensorMemoryLayout.INTERLEAVED

    def with_shard_spec(self, shard_spec) -> MemoryConfig:
        return MemoryConfig(self.memory_layout, self.buffer_type, shard_spec)

    def __eq__(self, other):
        if self is other:
            return True
        if not isinstance(other, MemoryConfig):
            return NotImplemented
        return (self.memory_layout, self.buffer_type, self.shard_spec, self.nd_shard_spec) == (
            other.memory_layout,
            other.buffer_type,
            other.shard_spec,
            other.nd_shard_spec,
        )

    def __hash__(self):
        return self._hash

    def __reduce__(self):
        return MemoryConfig, (self.memory_layout, self.buffer_type, self.shard_spec, self.nd_shard_spec)

    def __repr__(self):
        return f"MemoryConfig(memory_layout={self.memory_layout}, buffer_type={self.buffer_type}, shard_spec={self.shard_spec})"


DRAM_MEMORY_CONFIG = MemoryConfig(TensorMemoryLayout.INTERLEAVED, BufferType.DRAM)
L1_MEMORY_CONFIG = MemoryConfig(TensorMemoryLayout.INTERLEAVED, BufferType.L1)
L1_BLOCK_SHARDED_MEMORY_CONFIG = MemoryConfig(TensorMemoryLayout.BLOCK_SHARDED, BufferType.L1)
L1_HEIGHT_SHARDED_MEMORY_CONFIG = MemoryConfig(TensorMemoryLayout.HEIGHT_SHARDED, BufferType.L1)
L1_WIDTH_SHARDED_MEMORY_CONFIG = MemoryConfig(TensorMemoryLayout.WIDTH_SHARDED, BufferType.L1)


def _shard_grid(config: MemoryConfig, shape, layout: Layout) -> tuple[int, int]:
    """How many shards lie down and across the stored 2-D view: (1, 1) for an interleaved tensor."""
    if config.shard_spec is None:
        return 1, 1
    (height, width), shard = plane(shape, layout), config.shard_spec.shape
    return -(-height // shard[0]), -(-width // shard[1])


def check_memory_config(config: MemoryConfig, shape, layout: Layout) -> None:
    """RuntimeError, in TTNN's words, where a device would refuse a tensor of this shape and layout in this config."""
    if not config.is_sharded() or config.nd_shard_spec is not None:
        return
    spec = config.shard_spec
    if spec is None:
        raise RuntimeError("Shard spec must not be None for sharded tensors: give ttnn.create_sharded_memory_config(...)")
    height, width = plane(shape, layout)
    shard_height, shard_width = spec.shape
    if layout is Layout.TILE and (shard_height % TILE_SIZE or shard_width % TILE_SIZE):
        raise RuntimeError(f"Physical shard shape {spec.shape} must be tile {(TILE_SIZE, TILE_SIZE)} sized!")
    (rows, columns), cores = _shard_grid(config, shape, layout), spec.num_cores()
    if config.memory_layout is TensorMemoryLayout.HEIGHT_SHARDED:
        # Row-major rows may be aligned to more than their width.
        if shard_width != width and (layout is Layout.TILE or shard_width < width):
            raise RuntimeError(f"Shard width {shard_width} must match physical width {width} for height sharded")
        if rows > cores:
            raise RuntimeError(f"Number of shards along height {rows} must not exceed number of cores {cores}")
    elif config.memory_layout is TensorMemoryLayout.WIDTH_SHARDED:
        if shard_height != height and (layout is Layout.TILE or shard_height < height):
            raise RuntimeError(f"Shard height {shard_height} must match physical height {height} for width sharded")
        if columns > cores:
            raise RuntimeError(f"Number of shards along width {columns} must not exceed number of cores {cores}")
    else:
        if len(spec.grid.ranges()) != 1:
            raise RuntimeError("Shard grid must be one full rectangular grid for block sharded!")
        grid = spec.grid.bounding_box().grid_size()
        across, down = (grid.x, grid.y) if spec.orientation is ShardOrientation.ROW_MAJOR else (grid.y, grid.x)
        if rows > down:
            raise RuntimeError(f"Number of shards along height {rows} must not exceed number of rows {down} of the shard grid")
        if columns > across:
            raise RuntimeError(f"Number of shards along width {columns} must not exceed number of columns {across} of the shard grid")


def create_sharded_memory_config(
    shape,
    core_grid,
    strategy: ShardStrategy,
    orientation: ShardOrientation | None = None,
    use_height_and_width_as_shard_shape: bool = False,
    *,
    halo: bool = False,
    tile_layout: bool = True,
) -> MemoryConfig:
    """An L1 config whose shards of [*, height, width] cover the cores. Source: ttnn.create_sharded_memory_config."""
    if not isinstance(core_grid, (CoreGrid, CoreRange, CoreRangeSet)):
        raise TypeError(f"[create_sharded_memory_config] core_grid: expected CoreGrid, CoreRange or CoreRangeSet, got {core_grid!r}")
    if not isinstance(strategy, ShardStrategy):
        raise TypeError(f"[create_sharded_memory_config] strategy: expected a ShardStrategy, got {strategy!r}")
    orientation = ShardOrientation.ROW_MAJOR if orientation is None else orientation
    if not isinstance(orientation, ShardOrientation):
        raise TypeError(f"[create_sharded_memory_config] orientation: expected a ShardOrientation, got {orientation!r}")
    shape = tuple(int(s) for s in shape)
    if len(shape) < 2:
        raise RuntimeError(f"[create_sharded_memory_config] expected a shape of two or more dimensions, got {list(shape)}")
    grid = core_range_set(core_grid)
    cores = grid.num_cores()
    if cores == 0:
        raise RuntimeError("[create_sharded_memory_config] core_grid: expected cores, got none")
    layout = {
        ShardStrategy.HEIGHT: TensorMemoryLayout.HEIGHT_SHARDED,
        ShardStrategy.WIDTH: TensorMemoryLayout.WIDTH_SHARDED,
        ShardStrategy.BLOCK: TensorMemoryLayout.BLOCK_SHARDED,
    }[strategy]
    if use_height_and_width_as_shard_shape:
        if len(shape) != 2 and math.prod(shape[:-2]) != 1:
            raise RuntimeError(f"[create_sharded_memory_config] expected (height, width) as the shard's shape, got {list(shape)}")
        shard = shape[-2:]
    else:
        height, width = math.prod(shape[:-1]), shape[-1]
        if strategy is ShardStrategy.HEIGHT:
            down, across = cores, 1
        elif strategy is ShardStrategy.WIDTH:
            down, across = 1, cores
        else:
            box = grid.bounding_box().grid_size()
            down, across = (box.y, box.x) if orientation is ShardOrientation.ROW_MAJOR else (box.x, box.y)
        for size, parts, what in ((height, down, "height"), (width, across, "width")):
            if size % parts:
                raise RuntimeError(f"Invalid sharding core_grid: expected {what} {size} to be divisible by {parts} cores")
        shard = (height // down, width // across)
    return MemoryConfig(layout, BufferType.L1, ShardSpec(grid, shard, orientation))


def create_sharded_memory_config_(
    shape,
    core_grid,
    strategy,
    orientation=ShardOrientation.ROW_MAJOR,
    halo=False,
    use_height_and_width_as_shard_shape=False,
    tile_layout=False,
) -> MemoryConfig:
    """As create_sharded_memory_config(), rounding shards up to whole tiles (tile_layout) instead of refusing what does not divide."""
    if isinstance(strategy, TensorMemoryLayout):
        strategy = {
            TensorMemoryLayout.HEIGHT_SHARDED: ShardStrategy.HEIGHT,
            TensorMemoryLayout.WIDTH_SHARDED: ShardStrategy.WIDTH,
            TensorMemoryLayout.BLOCK_SHARDED: ShardStrategy.BLOCK,
        }.get(strategy, strategy)
    if use_height_and_width_as_shard_shape:
        return create_sharded_memory_config(shape, core_grid, strategy, orientation, True)
    grid = core_range_set(core_grid)
    cores = grid.num_cores()
    step = TILE_SIZE if tile_layout else 1
    height, width = math.prod(shape[:-1]), shape[-1]
    if strategy is ShardStrategy.HEIGHT:
        down, across = cores, 1
    elif strategy is ShardStrategy.WIDTH:
        down, across = 1, cores
    else:
        box = grid.bounding_box().grid_size()
        down, across = (box.y, box.x) if orientation is ShardOrientation.ROW_MAJOR else (box.x, box.y)
    shard = (round_up(-(-height // down), step), round_up(-(-width // across), step))
    return create_sharded_memory_config(shard, grid, strategy, orientation, True)
