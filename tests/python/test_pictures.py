"""Pools, convolutions and upsampling against their golden functions."""

import numpy as np
import pytest

import tessera.ttnn as ttnn
from conftest import assert_close, on

FLOATS = [ttnn.float32, ttnn.bfloat16]


def held(t):
    return ttnn.to_numpy(t).astype(np.float64)


def picture(device, rng, n, h, w, c, dtype=ttnn.float32, flat=True, layout=ttnn.ROW_MAJOR_LAYOUT):
    x = rng.standard_normal((n, h, w, c)).astype(np.float32)
    return on(device, x.reshape(1, 1, n * h * w, c) if flat else x, dtype, layout)


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
@pytest.mark.parametrize("kernel, stride, padding, dilation, ceil_mode", [((2, 2), (2, 2), (0, 0), (1, 1), False), ((3, 3), (2, 2), (1, 1), (1, 1), False),
                                                                          ((3, 2), (1, 2), (0, 1, 1, 0), (1, 1), True), ((2, 2), (1, 1), (1, 1), (2, 3), False),
                                                                          ((5, 5), (1, 1), (2, 2), (1, 1), True)])
def test_max_pool2d(kernel, stride, padding, dilation, ceil_mode, dtype, device, rng):
    for n, h, w, c in ((1, 9, 11, 5), (2, 14, 8, 33)):
        x = picture(device, rng, n, h, w, c, dtype)
        sizes = dict(batch_size=n, input_h=h, input_w=w, channels=c, kernel_size=kernel, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode)
        wanted, where = ttnn.max_pool2d.golden_function(input_tensor=held(x), return_indices=True, **sizes)
        got, indices = ttnn.max_pool2d(input_tensor=x, return_indices=True, **sizes)
        assert got.dtype is ttnn.bfloat16 and indices.dtype is ttnn.uint16 and got.shape == wanted.shape
        assert_close(got, wanted, ttnn.bfloat16)
        assert (ttnn.to_numpy(indices) == where).all()
        tiles = ttnn.max_pool2d(input_tensor=x, dtype=ttnn.bfloat8_b, output_layout=ttnn.TILE_LAYOUT, **sizes)
        assert_close(tiles, wanted, ttnn.bfloat8_b)


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("count_include_pad", [False, True])
def test_avg_pool2d(count_include_pad, ceil_mode, dtype, device, rng):
    for kernel, stride, padding, divisor in (((2, 2), (2, 2), (0, 0), None), ((3, 3), (2, 2), (1, 1), None), ((3, 2), (2, 3), (1, 0, 1, 1), None), ((3, 3), (1, 1), (1, 1), 7)):
        x = picture(device, rng, 2, 9, 11, 33, dtype, flat=False)
        sizes = dict(batch_size=2, input_h=9, input_w=11, channels=33, kernel_size=kernel, stride=stride, padding=padding, ceil_mode=ceil_mode,
                     count_include_pad=count_include_pad, divisor_override=divisor)
        assert_close(ttnn.avg_pool2d(input_tensor=x, **sizes), ttnn.avg_pool2d.golden_function(input_tensor=held(x), **sizes), ttnn.bfloat16, length=9, scale=4)


@pytest.mark.parametrize("size, output", [((64, 64), (7, 7)), ((64, 64), (3, 5)), ((17, 17), (4, 3)), ((6, 6), (4, 4)), ((10, 10), (4, 4)), ((50, 20), (6, 4)), ((37, 37), (5, 7)),
                                          ((31, 29), (7, 5)), ((64, 64), (5, 22)), ((7, 7), (8, 8)), ((23, 24), (7, 7)), ((7, 7), (1, 1))], ids=str)
def test_adaptive_pools_are_exact_for_every_size(size, output, device, rng):
    x = picture(device, rng, 2, *size, 20, ttnn.bfloat16)
    sizes = dict(batch_size=2, input_h=size[0], input_w=size[1], channels=20, output_size=output)
    for op in (ttnn.adaptive_max_pool2d, ttnn.adaptive_avg_pool2d):
        got = op(input_tensor=x, **sizes)
        wanted = op.golden_function(held(x), **sizes)
        assert got.shape == (1, 1, 2 * output[0] * output[1], 20) and got.dtype is ttnn.bfloat16 and got.layout is ttnn.ROW_MAJOR_LAYOUT
        if op is ttnn.adaptive_max_pool2d:
            assert (ttnn.to_numpy(got) == wanted).all()
        else:
            assert_close(got, wanted, ttnn.bfloat16, length=size[0] * size[1], scale=1)


def test_strict_mode_refuses_what_ttnn_refuses(device, rng):
    def pool(h, w, output):
        return ttnn.adaptive_avg_pool2d(picture(device, rng, 1, h, w, 4), 1, h, w, 4, output)

    with ttnn.strict_mode():
        pool(64, 64, (3, 5))
        with pytest.raises(RuntimeError, match="not supported"):
            pool(37, 37, (5, 7))
        with pytest.raises(RuntimeError):
            pool(10, 10, (4, 4))
    pool(37, 37, (5, 7))


def test_global_avg_pool2d_and_upsample(device, rng):
    for shape in ((2, 5, 7, 33), (5, 7, 33), (7, 33)):
        x = on(device, rng.standard_normal(shape).astype(np.float32))
        got = ttnn.global_avg_pool2d(x)
        assert got.layout is ttnn.TILE_LAYOUT
        assert_close(got, ttnn.global_avg_pool2d.golden_function(held(x)), length=35, scale=4)
    with pytest.raises(ValueError):
        ttnn.global_avg_pool2d(on(device, np.zeros((1, 1, 2, 3, 4), np.float32)))
    x = picture(device, rng, 2, 5, 7, 9, flat=False)
    for scale in (2, (3, 2), [1, 4], 1.5):
        assert (ttnn.to_numpy(ttnn.upsample(x, scale)) == ttnn.upsample.golden_function(held(x), scale)).all()
    for scale in (2, (3, 2)):
        assert_close(ttnn.upsample(x, scale, mode="bilinear"), ttnn.upsample.golden_function(held(x), scale, mode="bilinear"), length=4, scale=4)
    with pytest.raises(RuntimeError, match="bilinear"):
        ttnn.upsample(x, 1.5, mode="bilinear")


CONVOLUTIONS = {
    "3x3": dict(in_channels=6, out_channels=10, kernel_size=(3, 3), padding=(1, 1)),
    "stride and sides": dict(in_channels=6, out_channels=10, kernel_size=(3, 2), stride=(2, 3), padding=(1, 0, 2, 1)),
    "1x1": dict(in_channels=33, out_channels=20, kernel_size=(1, 1)),
    "patches": dict(in_channels=3, out_channels=16, kernel_size=(4, 4), stride=(4, 4)),
    "groups": dict(in_channels=12, out_channels=8, kernel_size=(3, 3), groups=4, padding=(1, 1)),
    "depthwise": dict(in_channels=40, out_channels=40, kernel_size=(3, 3), groups=40, padding=(1, 1)),
    "depthwise 5x5 stride 2": dict(in_channels=9, out_channels=9, kernel_size=(5, 5), groups=9, padding=(2, 2), stride=(2, 2)),
    "dilation": dict(in_channels=4, out_channels=4, kernel_size=(3, 3), groups=4, padding=(2, 2), dilation=(2, 2)),
}


@pytest.mark.parametrize("activation", [None, "relu", "relu6", "silu", "gelu", "tanh"])
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_conv2d(case, activation, device, rng):
    sizes = dict(batch_size=2, input_height=12, input_width=16, **CONVOLUTIONS[case])
    groups = sizes.get("groups", 1)
    for dtype in FLOATS:
        x = picture(device, rng, 2, 12, 16, sizes["in_channels"], dtype)
        w = ttnn.from_torch(rng.standard_normal((sizes["out_channels"], sizes["in_channels"] // groups, *sizes["kernel_size"])).astype(np.float32), dtype=dtype)
        b = ttnn.from_torch(rng.standard_normal((1, 1, 1, sizes["out_channels"])).astype(np.float32), dtype=dtype)
        config = ttnn.Conv2dConfig(weights_dtype=dtype, activation=None if activation is None else ttnn.UnaryWithParam(ttnn.UnaryOpType[activation.upper()]))
        wanted = ttnn.conv2d.golden_function(input_tensor=held(x), weight_tensor=held(w), bias_tensor=held(b), conv_config=config, **sizes)
        [out, [height, width], [weight, bias]] = ttnn.conv2d(
            input_tensor=x, weight_tensor=w, bias_tensor=b, device=device, conv_config=config, return_output_dim=True, return_weights_and_bias=True, **sizes
        )
        length = w.shape.volume() // sizes["out_channels"]
        assert out.shape == (1, 1, 2 * height * width, sizes["out_channels"]) and out.layout is ttnn.TILE_LAYOUT and out.dtype is dtype
        assert_close(out, wanted, dtype, length=length + 1, scale=5 * np.sqrt(length), steps=4)
        assert weight.shape == (1, 1, length, sizes["out_channels"])
        again = ttnn.conv2d(input_tensor=x, weight_tensor=weight, bias_tensor=bias, device=device, conv_config=config, **sizes)
        assert (ttnn.to_numpy(again) == ttnn.to_numpy(out)).all()
        more = dict(input_memory_config=ttnn.DRAM_MEMORY_CONFIG, input_layout=ttnn.ROW_MAJOR_LAYOUT, device=device, conv_config=config, input_dtype=dtype)
        fields = {k: v for k, v in {"stride": (1, 1), "padding": (0, 0), **sizes}.items()}
        prepared = ttnn.prepare_conv_weights(weight_tensor=w, weights_format="OIHW", has_bias=True, **more, **fields)
        prepared_bias = ttnn.prepare_conv_bias(bias_tensor=b, **more, **fields)
        third = ttnn.conv2d(input_tensor=x, weight_tensor=prepared, bias_tensor=prepared_bias, device=device, conv_config=config, **sizes)
        assert (ttnn.to_numpy(third) == ttnn.to_numpy(out)).all()


def test_conv2d_of_one_dimension_block_floats_and_replicated_edges(device, rng):
    x = picture(device, rng, 2, 1, 16, 6, ttnn.bfloat16)
    w = ttnn.from_torch(rng.standard_normal((8, 6, 3)).astype(np.float32))
    sizes = dict(in_channels=6, out_channels=8, batch_size=2, input_height=1, input_width=16, kernel_size=(1, 3), padding=(0, 1))
    wanted = ttnn.conv2d.golden_function(input_tensor=held(x), weight_tensor=held(w), **sizes)
    assert_close(ttnn.conv2d(input_tensor=x, weight_tensor=w, device=device, dtype=ttnn.float32, **sizes), wanted, length=18, scale=20)
    eight = ttnn.conv2d(input_tensor=x, weight_tensor=w, device=device, conv_config=ttnn.Conv2dConfig(weights_dtype=ttnn.bfloat8_b), **sizes)
    assert ttnn.pearson_correlation_coefficient(wanted, eight) > 0.999
    y = picture(device, rng, 1, 5, 6, 3)
    v = ttnn.from_torch(rng.standard_normal((4, 3, 3, 3)).astype(np.float32))
    sizes = dict(in_channels=3, out_channels=4, batch_size=1, input_height=5, input_width=6, kernel_size=(3, 3), padding=(1, 1))
    config = ttnn.Conv2dConfig(padding_mode=ttnn.PaddingMode.Replicate, output_layout=ttnn.ROW_MAJOR_LAYOUT)
    got = ttnn.conv2d(input_tensor=y, weight_tensor=v, device=device, conv_config=config, **sizes)
    assert got.layout is ttnn.ROW_MAJOR_LAYOUT
    assert_close(got, ttnn.conv2d.golden_function(input_tensor=held(y), weight_tensor=held(v), conv_config=config, **sizes), length=27, scale=20)


def test_bad_arguments(device, rng):
    x = picture(device, rng, 1, 8, 8, 4)
    pool = dict(batch_size=1, input_h=8, input_w=8, channels=4, kernel_size=(2, 2), stride=(2, 2), padding=(0, 0), dilation=(1, 1))
    conv = dict(input_tensor=x, device=device, in_channels=4, out_channels=4, batch_size=1, input_height=8, input_width=8, kernel_size=(3, 3))
    w = ttnn.from_torch(np.zeros((4, 4, 3, 3), np.float32))
    sharded = ttnn.to_memory_config(x, ttnn.create_sharded_memory_config((64, 4), ttnn.CoreGrid(y=1, x=2), ttnn.ShardStrategy.HEIGHT))
    for call, kind, text in (
        (lambda: ttnn.max_pool2d(x, **{**pool, "channels": 5}), RuntimeError, "expected"),
        (lambda: ttnn.max_pool2d(x, **{**pool, "padding": (2, 2)}), RuntimeError, "half"),
        (lambda: ttnn.max_pool2d(x, **{**pool, "kernel_size": (9, 9)}), RuntimeError, ""),
        (lambda: ttnn.max_pool2d(x, **{**pool, "stride": (0, 1)}), RuntimeError, ""),
        (lambda: ttnn.max_pool2d(x, **pool, dtype=ttnn.float32), RuntimeError, "output data formats are supported"),
        (lambda: ttnn.max_pool2d(x, **pool, dtype=ttnn.bfloat8_b), RuntimeError, "TILE"),
        (lambda: ttnn.max_pool2d(sharded, **pool, applied_shard_scheme=ttnn.TensorMemoryLayout.HEIGHT_SHARDED), RuntimeError, "should not be specified"),
        (lambda: ttnn.max_pool2d(x, **pool, applied_shard_scheme=ttnn.TensorMemoryLayout.INTERLEAVED), RuntimeError, "sharded scheme"),
        (lambda: ttnn.max_pool2d(x, **{**pool, "batch_size": "1"}), TypeError, "number"),
        (lambda: ttnn.conv2d(weight_tensor=w, **{**conv, "groups": 3}), RuntimeError, "groups"),
        (lambda: ttnn.conv2d(weight_tensor=w, **{**conv, "in_channels": 8}), RuntimeError, "input_tensor"),
        (lambda: ttnn.conv2d(weight_tensor=w, **{**conv, "kernel_size": (5, 5)}), RuntimeError, "weight_tensor"),
        (lambda: ttnn.conv2d(weight_tensor=w, bias_tensor=ttnn.from_torch(np.zeros((1, 1, 1, 5), np.float32)), **conv), RuntimeError, "same length as output channels"),
        (lambda: ttnn.conv2d(weight_tensor=3, **conv), TypeError, "weight_tensor"),
        (lambda: ttnn.conv2d(weight_tensor=w, conv_config=3, **conv), TypeError, "conv_config"),
        (lambda: ttnn.Conv2dConfig(wrong=1), TypeError, "wrong"),
        (lambda: ttnn.adaptive_avg_pool2d(x, 1, 8, 8, 4, (0, 1)), RuntimeError, "output_size"),
        (lambda: ttnn.upsample(x, 0), RuntimeError, "scale_factor"),
        (lambda: ttnn.upsample(picture(device, rng, 1, 2, 2, 2, flat=False), 2, mode="cubic"), RuntimeError, "mode"),
    ):
        with pytest.raises(kind, match=text or None):
            call()
