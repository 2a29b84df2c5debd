"""The configs that ops take. What only a Tenstorrent device can act on (fidelity, core grids, block sizes, slices) is kept, and changes nothing."""

from __future__ import annotations

import dataclasses
import typing

from tessera.ttnn.enums import Arch, DispatchCoreAxis, DispatchCoreType, Layout, MathFidelity, PaddingMode, ThrottleLevel, _Enum
from tessera.ttnn.memory import CoreRangeSet


class UnaryOpType(_Enum):
    ABS = "abs"
    NEG = "neg"
    SIGN = "sign"
    SQUARE = "square"
    SQRT = "sqrt"
    RSQRT = "rsqrt"
    RECIP = "reciprocal"
    EXP = "exp"
    LOG = "log"
    SIN = "sin"
    COS = "cos"
    TANH = "tanh"
    ERF = "erf"
    SIGMOID = "sigmoid"
    LOG_SIGMOID = "log_sigmoid"
    RELU = "relu"
    RELU6 = "relu6"
    SILU = "silu"
    GELU = "gelu"
    MISH = "mish"
    HARDSIGMOID = "hardsigmoid"
    HARDSWISH = "hardswish"
    SOFTSIGN = "softsign"
    TANHSHRINK = "tanhshrink"
    IDENTITY = "identity"
    LEAKY_RELU = "leaky_relu"
    ELU = "elu"
    CELU = "celu"
    SELU = "selu"
    HARDSHRINK = "hardshrink"
    SOFTSHRINK = "softshrink"
    HARDTANH = "hardtanh"
    SOFTPLUS = "softplus"
    HEAVISIDE = "heaviside"


class UnaryWithParam:
    """An activation with its parameters: UnaryWithParam(UnaryOpType.RELU), UnaryWithParam(UnaryOpType.LEAKY_RELU, 0.1)."""

    __slots__ = ("op_type", "params")

    def __init__(self, op_type, param=None, *more):
        if not isinstance(op_type, UnaryOpType):
            raise TypeError(f"[UnaryWithParam] expected a UnaryOpType, got {op_type!r}")
        given = [] if param is None else list(param) if isinstance(param, (list, tuple)) else [param]
        self.op_type, self.params = op_type, tuple(float(p) for p in (*given, *more))

    def __eq__(self, other):
        return (self.op_type, self.params) == (other.op_type, other.params) if isinstance(other, UnaryWithParam) else NotImplemented

    def __hash__(self):
        return hash((self.op_type, self.params))

    def __repr__(self):
        return f"UnaryWithParam({self.op_type}, {list(self.params)})"


def _config(name, fields, doc):
    """A class with these attributes and defaults, each readable and writable; a keyword that it lacks is a TypeError that lists those that it has."""

    def __init__(self, *args, **kwargs):
        if len(args) > len(fields):
            raise TypeError(f"[{name}] expected at most {len(fields)} arguments, got {len(args)}")
        values = dict(fields)
        values.update(zip(fields, args))
        for key, value in kwargs.items():
            if key not in fields:
                raise TypeError(f"[{name}] expected one of {', '.join(fields)}, got the keyword '{key}'")
            values[key] = value
        for key, value in values.items():
            object.__setattr__(self, key, value)

    def __setattr__(self, key, value):
        if key not in fields:
            raise AttributeError(f"[{name}] expected one of {', '.join(fields)}, got '{key}'")
        object.__setattr__(self, key, value)

    def __eq__(self, other):
        return self.__dict__ == other.__dict__ if type(self) is type(other) else NotImplemented

    def __repr__(self):
        return f"{name}({', '.join(f'{k}={v!r}' for k, v in self.__dict__.items())})"

    body = {"__init__": __init__, "__setattr__": __setattr__, "__eq__": __eq__, "__hash__": lambda self: hash(repr(self)), "__repr__": __repr__}
    return type(name, (), {**body, "__doc__": doc, "__module__": __name__})


_KERNEL = {
    "math_fidelity": MathFidelity.LoFi,
    "math_approx_mode": True,
    "fp32_dest_acc_en": False,
    "packer_l1_acc": False,
    "dst_full_sync_en": False,
    "throttle_level": ThrottleLevel.NO_THROTTLE,
}
WormholeComputeKernelConfig = _config("WormholeComputeKernelConfig", _KERNEL, "Recorded; sums are always float32 here.")
BlackholeComputeKernelConfig = WormholeComputeKernelConfig
ComputeKernelConfig = WormholeComputeKernelConfig
GrayskullComputeKernelConfig = _config(
    "GrayskullComputeKernelConfig", {"math_fidelity": MathFidelity.LoFi, "math_approx_mode": True}, "Recorded; sums are always float32 here."
)
DeviceComputeKernelConfig = (WormholeComputeKernelConfig, GrayskullComputeKernelConfig)


def init_device_compute_kernel_config(
    arch,
    device_kernel_config=None,
    *,
    math_fidelity=MathFidelity.LoFi,
    math_approx_mode=True,
    fp32_dest_acc_en=False,
    packer_l1_acc=False,
    dst_full_sync_en=False,
    throttle_level=ThrottleLevel.NO_THROTTLE,
):
    """A compute kernel config; every architecture gets the same one."""
    if not isinstance(arch, (Arch, str)):
        raise TypeError(f"[init_device_compute_kernel_config] arch: expected device.arch(), got {arch!r}")
    if not isinstance(math_fidelity, MathFidelity):
        raise TypeError(f"[init_device_compute_kernel_config] math_fidelity: expected a MathFidelity, got {math_fidelity!r}")
    if device_kernel_config is not None:
        return device_kernel_config
    return WormholeComputeKernelConfig(
        math_fidelity=math_fidelity,
        math_approx_mode=math_approx_mode,
        fp32_dest_acc_en=fp32_dest_acc_en,
        packer_l1_acc=packer_l1_acc,
        dst_full_sync_en=dst_full_sync_en,
        throttle_level=throttle_level,
    )


_MATMUL = {
    "compute_with_storage_grid_size": None,
    "in0_block_w": 1,
    "out_subblock_h": 1,
    "out_subblock_w": 1,
    "out_block_h": None,
    "out_block_w": None,
    "per_core_M": 1,
    "per_core_N": 1,
}
MatmulMultiCoreReuseProgramConfig = _config("MatmulMultiCoreReuseProgramConfig", _MATMUL, "Recorded: how a device would split a product.")
MatmulMultiCoreReuseMultiCastProgramConfig = _config(
    "MatmulMultiCoreReuseMultiCastProgramConfig",
    {**_MATMUL, "transpose_mcast": False, "fused_activation": None, "fuse_batch": True},
    "Recorded, but for fused_activation, which is applied.",
)
MatmulMultiCoreReuseMultiCast1DProgramConfig = _config(
    "MatmulMultiCoreReuseMultiCast1DProgramConfig",
    {
        **_MATMUL,
        "fuse_batch": True,
        "fused_activation": None,
        "mcast_in0": True,
        "gather_in0": False,
        "hop_cores": None,
        "num_global_cb_receivers": 1,
        "untilize_out": False,
    },
    "Recorded, but for fused_activation, which is applied.",
)
MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig = _config(
    "MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig",
    {"in0_block_w": 1, "per_core_M": 1, "per_core_N": 1, "fused_activation": None},
    "Recorded, but for fused_activation, which is applied.",
)
MATMUL_PROGRAM_CONFIGS = (
    MatmulMultiCoreReuseProgramConfig,
    MatmulMultiCoreReuseMultiCastProgramConfig,
    MatmulMultiCoreReuseMultiCast1DProgramConfig,
    MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig,
)
SDPAProgramConfig = _config(
    "SDPAProgramConfig",
    {
        "compute_with_storage_grid_size": None,
        "sub_core_grids": None,
        "q_chunk_size": 32,
        "k_chunk_size": 32,
        "exp_approx_mode": None,
        "max_cores_per_head_batch": 16,
    },
    "Recorded: how a device would split attention.",
)
SoftmaxDefaultProgramConfig = _config("SoftmaxDefaultProgramConfig", {}, "Recorded.")
SoftmaxShardedMultiCoreProgramConfig = _config(
    "SoftmaxShardedMultiCoreProgramConfig", {"compute_with_storage_grid_size": None, "subblock_w": 1, "block_h": 1, "block_w": 1}, "Recorded."
)
LayerNormDefaultProgramConfig = _config(
    "LayerNormDefaultProgramConfig", {"legacy_reduction": False, "legacy_rsqrt": False, "use_welford": False}, "Recorded; the variance is always exact."
)
LayerNormShardedMultiCoreProgramConfig = _config(
    "LayerNormShardedMultiCoreProgramConfig",
    {
        "compute_with_storage_grid_size": None,
        "subblock_w": 1,
        "block_h": 1,
        "block_w": 1,
        "inplace": False,
        "legacy_reduction": False,
        "legacy_rsqrt": False,
        "use_welford": False,
    },
    "Recorded, but for inplace.",
)
NORM_PROGRAM_CONFIGS = (LayerNormDefaultProgramConfig, LayerNormShardedMultiCoreProgramConfig)
SOFTMAX_PROGRAM_CONFIGS = (SoftmaxDefaultProgramConfig, SoftmaxShardedMultiCoreProgramConfig)
Conv2dConfig = _config(
    "Conv2dConfig",
    {
        "weights_dtype": None,
        "activation": None,
        "deallocate_activation": False,
        "reallocate_halo_output": True,
        "config_tensors_in_dram": False,
        "act_block_h_override": 0,
        "act_block_w_div": 1,
        "reshard_if_not_optimal": False,
        "override_sharding_config": False,
        "shard_layout": None,
        "core_grid": None,
        "transpose_shards": False,
        "output_layout": Layout.TILE,
        "enable_act_double_buffer": False,
        "enable_weights_double_buffer": False,
        "full_inner_dim": False,
        "enable_split_reader": False,
        "enable_subblock_padding": False,
        "in_place": False,
        "enable_kernel_stride_folding": None,
        "enable_activation_reuse": False,
        "force_split_reader": None,
        "override_output_sharding_config": False,
        "padding_mode": PaddingMode.Zeros,
    },
    "What conv2d is to do: activation, output_layout, weights_dtype, padding_mode and deallocate_activation count, the rest is recorded.",
)
Conv1dConfig = Conv2dConfig


class Conv2dSliceType(_Enum):
    DRAMSliceHeight = 0
    DRAMSliceWidth = 1
    L1Full = 2


Conv2dDRAMSliceHeight, Conv2dDRAMSliceWidth, Conv2dL1Full = Conv2dSliceType.DRAMSliceHeight, Conv2dSliceType.DRAMSliceWidth, Conv2dSliceType.L1Full
Op2DDRAMSliceHeight, Op2DDRAMSliceWidth, Op2DL1Full = Conv2dDRAMSliceHeight, Conv2dDRAMSliceWidth, Conv2dL1Full
Conv2dSliceConfig = _config("Conv2dSliceConfig", {"slice_type": Conv2dL1Full, "num_slices": 0}, "Recorded: a CPU needs no slices.")
Op2DSliceConfig = Conv2dSliceConfig
Conv2dL1FullSliceConfig = Conv2dSliceConfig(slice_type=Conv2dL1Full)
DispatchCoreConfig = _config("DispatchCoreConfig", {"type": DispatchCoreType.WORKER, "axis": DispatchCoreAxis.ROW}, "Recorded.")


class SubDeviceId(int):
    """The number of a sub-device."""


@dataclasses.dataclass(frozen=True)
class SubDevice:
    """Cores that would serve a program of their own; recorded."""

    cores: typing.Sequence[CoreRangeSet] = ()
