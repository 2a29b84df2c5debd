"""
Tessera's tensors, ops and policies; use tessera.ttnn and tessera.Policy.
"""

from collections.abc import Mapping, Sequence
import enum
from typing import Annotated

from numpy.typing import NDArray


class Error(RuntimeError):
    pass

def set_num_threads(threads: int) -> None:
    """
    Threads that ops run on from now on; 0: one a core. Results do not depend on it.
    """

def num_threads() -> int:
    """Threads that ops run on."""

def isa() -> str:
    """Name of the best instruction set that ops use here."""

def profile_start() -> None:
    """Begins a new record of what every op does."""

def profile_stop() -> None:
    """Ends the record."""

def profile_table(ceilings: bool) -> str:
    """
    The record as a table; with `ceilings` the machine's limits are measured first (about two seconds).
    """

def profile_zones() -> list:
    """The record: (op, path, seconds, flops, bytes, depth) of every zone."""

class DType(enum.Enum):
    float32 = 0

    bfloat16 = 1

    float16 = 2

    int8 = 3

    uint8 = 4

    int32 = 5

    uint32 = 6

    uint16 = 9

    bfloat8_b = 7

    bfloat4_b = 8

class Framework(enum.Enum):
    numpy = 0

    torch = 1

    dlpack = 2

class Tensor:
    """
    Elements in memory: row-major, of one dtype. Immutable from here; ops make new ones.
    """

    @property
    def shape(self) -> tuple: ...

    @property
    def dtype(self) -> DType: ...

    @property
    def nbytes(self) -> int: ...

    @property
    def address(self) -> int: ...

    def reshape(self, shape: Sequence[int]) -> Tensor:
        """The same elements under another shape."""

    def array(self, framework: Framework, copy: bool) -> object:
        """As an array of NumPy, torch, or DLPack; shared unless `copy`."""

    def __repr__(self) -> str: ...

def from_array(array: Annotated[NDArray, dict(order='C', device='cpu', writable=False)], copy: bool) -> Tensor:
    """
    The elements of a C-contiguous array in CPU memory; shared unless `copy`. Error on dtypes of other sizes.
    """

def typecast(x: Tensor, dtype: DType) -> Tensor: ...

def bits_of(x: Tensor) -> Tensor:
    """bfloat16 as uint16 of the same bits."""

def from_bits(array: Annotated[NDArray, dict(order='C', device='cpu', writable=False)]) -> Tensor:
    """bfloat16 of the bits in a uint16 array."""

def quantise(x: Tensor, block_float: DType) -> Tensor:
    """What a block float keeps of x, as bfloat16."""

def unary_number(name: str) -> int: ...

def binary_number(name: str) -> int: ...

def unary(x: Tensor, op: int, a: float, b: float, dtype: DType) -> Tensor: ...

def unary_into(x: Tensor, op: int, a: float, b: float, y: Tensor) -> None: ...

def binary(a: Tensor, b: Tensor, op: int, dtype: DType) -> Tensor: ...

def binary_into(a: Tensor, b: Tensor, op: int, y: Tensor) -> None: ...

def binary_scalar(a: Tensor, b: float, op: int, dtype: DType) -> Tensor: ...

def binary_scalar_into(a: Tensor, b: float, op: int, y: Tensor) -> None: ...

def where(condition: Tensor, a: Tensor, b: Tensor, dtype: DType) -> Tensor: ...

class ReduceOp(enum.IntEnum):
    sum = 0

    mean = 1

    max = 2

    min = 3

    prod = 4

    var = 5

    std = 6

def reduce(x: Tensor, op: int, dims: Sequence[int], keepdim: bool, dtype: DType) -> Tensor: ...

def cumsum(x: Tensor, dim: int, dtype: DType) -> Tensor: ...

def argmax(x: Tensor, dim: int, keepdim: bool) -> Tensor: ...

def slice(x: Tensor, start: Sequence[int], end: Sequence[int], step: Sequence[int]) -> Tensor: ...

def slice_write(x: Tensor, y: Tensor, start: Sequence[int], end: Sequence[int], step: Sequence[int]) -> None: ...

def concat(parts: Sequence[Tensor], dim: int) -> Tensor: ...

def pad(x: Tensor, before: Sequence[int], after: Sequence[int], value: float, replicate: bool) -> Tensor: ...

def permute(x: Tensor, dims: Sequence[int]) -> Tensor: ...

def repeat(x: Tensor, times: Sequence[int]) -> Tensor: ...

def repeat_interleave(x: Tensor, times: int, dim: int) -> Tensor: ...

def expand(x: Tensor, shape: Sequence[int]) -> Tensor: ...

def full(shape: Sequence[int], value: float, dtype: DType) -> Tensor: ...

def arange(start: float, end: float, step: float, dtype: DType) -> Tensor: ...

def copy_into(x: Tensor, y: Tensor) -> None:
    """Writes x's elements over y's: same shape and dtype."""

def embedding(ids: Tensor, table: Tensor, dtype: DType) -> Tensor: ...

def fold(x: Tensor, stride: Sequence[int], padding: Sequence[int], channels: Sequence[int], nchw: bool) -> Tensor: ...

class PreparedLinear:
    """A weight packed for the kernel that will multiply with it."""

    @property
    def n(self) -> int: ...

    @property
    def k(self) -> int: ...

    @property
    def nbytes(self) -> int: ...

    @property
    def row(self) -> str: ...

def matmul(a: Tensor, b: Tensor, transpose_a: bool, transpose_b: bool, bias: Tensor | None, activation: str, dtype: DType) -> Tensor: ...

def prepare_matmul(b: Tensor, transpose_b: bool, bias: Tensor | None, precision: DType) -> PreparedLinear: ...

def linear(x: Tensor, w: PreparedLinear, activation: str, dtype: DType) -> Tensor: ...

def layer_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, residual: Tensor | None, eps: float, dtype: DType) -> Tensor: ...

def rms_norm(x: Tensor, weight: Tensor | None, residual: Tensor | None, eps: float, dtype: DType) -> Tensor: ...

def softmax(x: Tensor, dim: int, scale: float, mask: Tensor | None, dtype: DType) -> Tensor: ...

def rotary_embedding(x: Tensor, cos: Tensor, sin: Tensor, token: int | None) -> Tensor: ...

def sdpa(q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float | None, mask: Tensor | None, sliding_window: int | None, sink: Tensor | None) -> Tensor: ...

class PreparedConv2d:
    """The weights of a convolution packed for the kernel that will run."""

    @property
    def path(self) -> str: ...

    @property
    def row(self) -> str: ...

    @property
    def nbytes(self) -> int: ...

def max_pool2d(x: Tensor, batch: int, size: Sequence[int], kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int], ceil_mode: bool, indices: bool) -> object: ...

def avg_pool2d(x: Tensor, batch: int, size: Sequence[int], kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], ceil_mode: bool, count_include_pad: bool, divisor_override: int) -> Tensor: ...

def adaptive_avg_pool2d(x: Tensor, batch: int, size: Sequence[int], output: Sequence[int], strict: bool) -> Tensor: ...

def adaptive_max_pool2d(x: Tensor, batch: int, size: Sequence[int], output: Sequence[int], strict: bool) -> Tensor: ...

def upsample(x: Tensor, scale: Sequence[float], bilinear: bool) -> Tensor: ...

def prepare_conv2d(weight: Tensor, bias: Tensor | None, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int], groups: int, activation: str, precision: DType) -> PreparedConv2d: ...

def conv2d(x: Tensor, w: PreparedConv2d, batch: int, size: Sequence[int], dtype: DType, shards: Sequence[int]) -> Tensor: ...

class PolicyOptions:
    def __init__(self, precision: str | None, robot: str, tokenizer: str, norm_stats: str, allow_nonfinite: bool, any_prompt: bool, padded_state_prompt: bool, legacy_resize: bool, skip_checksums: bool) -> None: ...

class PolicyDoor:
    @staticmethod
    def load(path: str, options: PolicyOptions) -> PolicyDoor: ...

    def act(self, images: Mapping[str, Tensor], state: Sequence[float], prompt: str, steps: int, seed: int, noise: Tensor | None, reuse_prefix: bool) -> dict: ...

    @property
    def cameras(self) -> list: ...

    @property
    def state_dim(self) -> int: ...

    @property
    def action_dim(self) -> int: ...

    @property
    def chunk(self) -> int: ...

    @property
    def model_action_dim(self) -> int: ...

    @property
    def precision(self) -> str: ...

    @property
    def warnings(self) -> list[str]: ...

def inspect(path: str, options: PolicyOptions) -> dict: ...

def verify(path: str, recording: str, options: PolicyOptions) -> dict: ...

def robot_presets() -> list[str]: ...

def read_image(path: str) -> Tensor:
    """uint8 [height, width, 3] of a PNG or JPEG file."""
