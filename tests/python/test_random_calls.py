"""Random arguments to every op: an answer, or an error of a known class. TESSERA_FUZZ_SECONDS says for how long (2)."""

import os
import random
import time

import numpy as np

import tessera.ttnn as ttnn
from tessera.ttnn.registry import OPERATIONS

SECONDS = float(os.environ.get("TESSERA_FUZZ_SECONDS", "2"))
KNOWN = (RuntimeError, TypeError, ValueError, IndexError, OverflowError)
LEFT_OUT = {"ttnn.dump_tensor", "ttnn.load_tensor", "ttnn.as_tensor"}  # they write files; their tests give them damaged ones
WORDS = ["batch_size", "input_h", "input_w", "channels", "kernel_size", "stride", "padding", "dilation", "output_size", "dim", "dims", "num_heads", "weight", "bias",
         "memory_config", "dtype", "layout", "activation", "mask", "is_causal", "attn_mask", "scale", "transpose_b", "device", "input_tensor", "weight_tensor", "in_channels",
         "out_channels", "input_height", "input_width", "groups", "epsilon", "keepdim", "value", "memory_config", "conv_config"]


def value(rng, device, depth=0, kind=None):
    kind = rng.randrange(16) if kind is None else kind
    if kind < 6:
        shape = tuple(rng.choice([0, 1, 2, 3, 5, 16, 32, 33]) for _ in range(rng.choice([0, 1, 1, 2, 2, 3, 4, 4, 5, 8])))
        while np.prod(shape, dtype=float) > 5000:
            shape = shape[1:]
        array = np.random.default_rng(rng.randrange(10**6)).standard_normal(shape).astype(np.float32)
        if rng.random() < 0.1:
            array = np.where(array > 1, np.float32(rng.choice([np.nan, np.inf, -np.inf, 3e38])), array)
        dtype = rng.choice([ttnn.float32, ttnn.bfloat16, ttnn.bfloat8_b, ttnn.bfloat4_b, ttnn.uint8, ttnn.uint16, ttnn.uint32, ttnn.int32])
        with np.errstate(all="ignore"):
            t = ttnn.from_torch(array, dtype=dtype, layout=ttnn.TILE_LAYOUT, device=device if rng.random() < 0.95 else None)
        if rng.random() < 0.02:
            ttnn.deallocate(t)
        return t
    if kind < 9:
        return rng.choice([-1, 0, 1, 2, 3, 4, 5, 7, 32, 64, 2**31, 2**63, -(2**40)])
    if kind == 9:
        return rng.choice([0.0, 0.5, -1.5, 1e30, float("nan"), float("inf")])
    if kind < 13 and depth < 2:
        return [value(rng, device, depth + 1) if rng.random() < 0.2 else rng.choice([-1, 0, 1, 2, 3, 4, 32]) for _ in range(rng.randrange(5))]
    return rng.choice([None, True, False, "relu", "", "x" * 50, ttnn.float32, ttnn.TILE_LAYOUT, ttnn.L1_MEMORY_CONFIG, ttnn.L1_BLOCK_SHARDED_MEMORY_CONFIG, device, object(), b"x",
                       ttnn.Conv2dConfig(activation="gelu"), np.int64(3), ttnn.CoreGrid(y=2, x=2)])


def test_random_calls(device):
    rng = random.Random(int(os.environ.get("TESSERA_FUZZ_SEED", "1")))
    names = sorted(set(OPERATIONS) - LEFT_OUT)
    end, calls, answers = time.monotonic() + SECONDS, 0, 0
    while time.monotonic() < end:
        name = rng.choice(names)
        function = OPERATIONS[name].function
        # A tensor first, mostly: other calls end at the door.
        arguments = [value(rng, device, kind=0 if i == 0 and rng.random() < 0.8 else None) for i in range(rng.choice([0, 1, 1, 1, 2, 2, 3, 4, 6]))]
        keywords = {rng.choice(WORDS): value(rng, device) for _ in range(rng.choice([0, 0, 0, 0, 0, 1, 2, 8]))}
        calls += 1
        try:
            result = function(*arguments, **keywords)
        except KNOWN as e:
            assert str(e), name
        except MemoryError:
            pass
        else:
            answers += 1
            for t in result if isinstance(result, (list, tuple)) else [result]:
                if isinstance(t, ttnn.Tensor) and t.is_allocated():
                    assert ttnn.to_numpy(t).shape == t.shape, name
    assert calls > 50 and answers > calls // 50, f"{answers} answers in {calls} calls"
