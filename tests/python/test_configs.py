"""How a tensor lies changes no number: every memory config, both layouts and any padding value give what an interleaved tensor in tiles gives."""

import numpy as np
import pytest

import tessera.ttnn as ttnn
from conftest import assert_close, on
from tessera.ttnn.enums import plane
from tessera.ttnn.memory import _shard_grid

GRID = ttnn.CoreRangeSet([ttnn.CoreRange(ttnn.CoreCoord(0, 0), ttnn.CoreCoord(7, 7))])
FLOATS = [ttnn.float32, ttnn.bfloat16, ttnn.bfloat8_b]


def assert_same(got, wanted, what=""):
    """The same shape, dtype and bits."""
    assert got.shape == wanted.shape and got.dtype is wanted.dtype, what
    assert ttnn.to_numpy(got).tobytes() == ttnn.to_numpy(wanted).tobytes(), what


def configs(shape, layout):
    """DRAM, L1, and height, width and block sharding of more than one shard wherever the plane has as many tiles (or rows and columns)."""
    height, width = plane(shape, layout)
    step = 32 if layout is ttnn.TILE_LAYOUT else 1
    tall, wide = (max(step, -(-size // 3 // step) * step) for size in (height, width))
    yield ttnn.DRAM_MEMORY_CONFIG
    yield ttnn.L1_MEMORY_CONFIG
    kinds = ttnn.TensorMemoryLayout
    for kind, shard in ((kinds.HEIGHT_SHARDED, (tall, width)), (kinds.WIDTH_SHARDED, (height, wide)), (kinds.BLOCK_SHARDED, (tall, wide))):
        yield ttnn.MemoryConfig(kind, ttnn.BufferType.L1, ttnn.ShardSpec(GRID, shard, ttnn.ShardOrientation.ROW_MAJOR))


def tensors(device, array, dtype):
    """The same numbers in every layout and config, and with padding that was asked to be NaN."""
    for layout in (ttnn.TILE_LAYOUT, ttnn.ROW_MAJOR_LAYOUT):
        if layout is ttnn.ROW_MAJOR_LAYOUT and dtype is ttnn.bfloat8_b:
            continue
        for config in configs(array.shape, layout):
            t = on(device, array, dtype, layout, config)
            assert t.memory_config() == config and t.is_sharded() == config.is_sharded()
            assert_same(t, on(device, array, dtype))
            yield t
    yield ttnn.from_torch(array, dtype=dtype, layout=ttnn.TILE_LAYOUT, device=device, pad_value=float("nan"))
    yield ttnn.fill_implicit_tile_padding(on(device, array, dtype), float("nan"))
    if dtype is not ttnn.bfloat8_b:
        rows = on(device, array, dtype, ttnn.ROW_MAJOR_LAYOUT)
        yield ttnn.tilize_with_val_padding(rows, rows.to(ttnn.TILE_LAYOUT).padded_shape, float("nan"))


def weight(t, *shape):
    """A second operand of t's device and dtype, always the same."""
    array = np.random.default_rng(7).standard_normal(shape).astype(np.float32)
    return on(t.device(), array, t.dtype)


# name: (shapes, the op of one tensor)
ANY = [(70,), (37, 70), (2, 3, 37, 70), (1, 1, 1, 5)]
PLANES = [(37, 70), (2, 3, 37, 70), (1, 1, 65, 33)]
OPS = {
    "relu": (ANY, lambda t: ttnn.relu(t)),
    "gelu": (ANY, lambda t: ttnn.gelu(t)),
    "exp": (ANY, lambda t: ttnn.exp(t)),
    "clamp": (ANY, lambda t: ttnn.clamp(t, -0.5, 0.5)),
    "add": (ANY, lambda t: ttnn.add(t, weight(t, *t.shape))),
    "add a row": (PLANES, lambda t: ttnn.add(t, weight(t, 1, t.shape[-1]))),
    "multiply a column": (PLANES, lambda t: ttnn.multiply(t, weight(t, t.shape[-2], 1))),
    "multiply a number": (ANY, lambda t: ttnn.multiply(t, 3.0)),
    "where": (ANY, lambda t: ttnn.where(ttnn.gt(t, 0.0), t, 2.0)),
    "typecast": (ANY, lambda t: ttnn.typecast(t, ttnn.bfloat16)),
    "sum of rows": (PLANES, lambda t: ttnn.sum(t, dim=-1, keepdim=True)),
    "mean of columns": (PLANES, lambda t: ttnn.mean(t, dim=-2, keepdim=True)),
    "max": (PLANES, lambda t: ttnn.max(t, dim=-1, keepdim=True)),
    "softmax": (PLANES, lambda t: ttnn.softmax(t, dim=-1)),
    "layer_norm": (PLANES, lambda t: ttnn.layer_norm(t, weight=weight(t, t.shape[-1]), bias=weight(t, t.shape[-1]))),
    "rms_norm": (PLANES, lambda t: ttnn.rms_norm(t, weight=weight(t, t.shape[-1]))),
    "matmul": (PLANES, lambda t: ttnn.matmul(t, weight(t, t.shape[-1], 45))),
    "matmul from the other side": (PLANES, lambda t: ttnn.matmul(weight(t, 45, t.shape[-2]), t)),
    "linear": (PLANES, lambda t: ttnn.linear(t, weight(t, t.shape[-1], 45), bias=weight(t, 45), activation="silu")),
    "transpose": (PLANES, lambda t: ttnn.transpose(t, -2, -1)),
    "permute": ([(2, 3, 37, 70)], lambda t: ttnn.permute(t, (2, 0, 3, 1))),
    "reshape": ([(2, 3, 37, 70)], lambda t: ttnn.reshape(t, (6, 70, 37))),
    "concat": (PLANES, lambda t: ttnn.concat([t, t], dim=-1)),
    "slice": (PLANES, lambda t: ttnn.slice(t, [0] * len(t.shape), [*t.shape[:-2], 20, 33])),
    "pad": ([(2, 3, 37, 70)], lambda t: ttnn.pad(t, ((0, 0), (0, 0), (0, 3), (0, 10)), 1.5)),
    "cumsum": (PLANES, lambda t: ttnn.cumsum(t, dim=-1)),
    "scaled_dot_product_attention": (
        [(2, 3, 37, 64)],
        lambda t: ttnn.transformer.scaled_dot_product_attention(t, weight(t, *t.shape), weight(t, *t.shape), is_causal=False),
    ),
    "concatenate_heads": ([(2, 4, 37, 32)], lambda t: ttnn.transformer.concatenate_heads(t)),
}
TILES_ONLY = {"matmul", "matmul from the other side", "linear", "layer_norm", "rms_norm", "softmax", "scaled_dot_product_attention"}


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
@pytest.mark.parametrize("name", OPS)
def test_op(name, dtype, device, rng):
    shapes, op = OPS[name]
    for shape in shapes:
        array = rng.standard_normal(shape).astype(np.float32)
        wanted = op(on(device, array, dtype))
        assert np.isfinite(ttnn.to_numpy(wanted)).all()
        for t in tensors(device, array, dtype):
            if name in TILES_ONLY and t.layout is ttnn.ROW_MAJOR_LAYOUT:
                with pytest.raises(RuntimeError):
                    op(t)
            else:
                assert_same(op(t), wanted, f"{shape} {t.layout} {t.memory_config()}")


@pytest.mark.parametrize("dtype", [ttnn.float32, ttnn.bfloat16], ids=lambda d: d.name)
@pytest.mark.parametrize("groups", [1, 40])
def test_pictures(groups, dtype, device, rng):
    n, h, w, c = 2, 9, 11, 40
    array = rng.standard_normal((1, 1, n * h * w, c)).astype(np.float32)
    filters = ttnn.from_torch(rng.standard_normal((c, c // groups, 3, 3)).astype(np.float32), dtype=dtype)
    conv = dict(weight_tensor=filters, device=device, in_channels=c, out_channels=c, batch_size=n, input_height=h, input_width=w, kernel_size=(3, 3),
                padding=(1, 1), groups=groups)
    pool = dict(batch_size=n, input_h=h, input_w=w, channels=c)
    window = dict(kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))
    ops = (
        lambda t: ttnn.conv2d(input_tensor=t, **conv),
        lambda t: ttnn.max_pool2d(input_tensor=t, dilation=(1, 1), **pool, **window),
        lambda t: ttnn.avg_pool2d(input_tensor=t, **pool, **window),
        lambda t: ttnn.adaptive_avg_pool2d(input_tensor=t, output_size=(4, 5), **pool),
        lambda t: ttnn.adaptive_max_pool2d(input_tensor=t, output_size=(4, 5), **pool),
    )
    for op in ops:
        wanted = op(on(device, array, dtype, ttnn.ROW_MAJOR_LAYOUT))
        for t in tensors(device, array, dtype):
            assert_same(op(t), wanted, f"{t.layout} {t.memory_config()}")


def test_a_depthwise_convolution_of_any_shards(device, rng):
    """Of shards of four rows, of shards that do not divide, of one channel a shard: what the library is told, and the same bits."""
    n, h, w, c = 1, 16, 16, 64
    array = rng.standard_normal((1, 1, n * h * w, c)).astype(np.float32)
    filters = ttnn.from_torch(rng.standard_normal((c, 1, 3, 3)).astype(np.float32))
    conv = dict(weight_tensor=filters, device=device, in_channels=c, out_channels=c, batch_size=n, input_height=h, input_width=w, kernel_size=(3, 3),
                padding=(1, 1), groups=c, dtype=ttnn.float32)
    plain = on(device, array, layout=ttnn.ROW_MAJOR_LAYOUT)
    assert _shard_grid(plain.memory_config(), plain.shape, plain.layout) == (1, 1)
    wanted = ttnn.conv2d(input_tensor=plain, **conv)
    golden = ttnn.conv2d.golden_function(input_tensor=ttnn.to_numpy(plain).astype(np.float64), **{**conv, "weight_tensor": ttnn.to_numpy(filters)})
    assert_close(wanted, golden, length=9, scale=15)
    kinds = ttnn.TensorMemoryLayout
    for kind, shard, grid in ((kinds.HEIGHT_SHARDED, (4, 64), (64, 1)), (kinds.HEIGHT_SHARDED, (100, 64), (3, 1)), (kinds.WIDTH_SHARDED, (256, 1), (1, 64)),
                              (kinds.WIDTH_SHARDED, (256, 24), (1, 3)), (kinds.BLOCK_SHARDED, (32, 8), (8, 8)), (kinds.BLOCK_SHARDED, (33, 9), (8, 8))):
        config = ttnn.MemoryConfig(kind, ttnn.BufferType.L1, ttnn.ShardSpec(GRID, shard))
        assert _shard_grid(config, plain.shape, plain.layout) == grid
        assert_same(ttnn.conv2d(input_tensor=ttnn.to_memory_config(plain, config), **conv), wanted, str(config))
