"""Products, embedding, norms, softmax, attention, heads and rotary embedding against their golden functions."""

import numpy as np
import pytest

import tessera.ttnn as ttnn
from conftest import assert_close, on

FLOATS = [ttnn.float32, ttnn.bfloat16, ttnn.bfloat8_b, ttnn.bfloat4_b]


def held(t):
    return ttnn.to_numpy(t).astype(np.float64)


def normal(device, rng, shape, dtype=ttnn.float32, scale=1.0):
    return on(device, (rng.standard_normal(shape) * scale).astype(np.float32), dtype)


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
@pytest.mark.parametrize(
    "a, b",
    [((32, 64), (64, 32)), ((1, 7), (7, 1)), ((5, 33), (33, 70)), ((2, 3, 40, 50), (50, 17)), ((2, 3, 4, 50), (2, 3, 50, 17)), ((2, 3, 4, 50), (1, 3, 50, 6)),
     ((1, 1, 51, 100), (1, 1, 100, 40)), ((40,), (40, 5)), ((5, 40), (40,)), ((40,), (40,)), ((3, 0), (0, 4))],
    ids=str,
)
def test_matmul(a, b, dtype, device, rng):
    x, w = normal(device, rng, a, dtype), normal(device, rng, b, dtype)
    wanted = ttnn.matmul.golden_function(held(x), held(w))
    for _ in range(3):  # a weight that comes back is packed
        got = ttnn.matmul(x, w)
        assert got.dtype is dtype and got.layout is ttnn.TILE_LAYOUT
        assert_close(got, wanted, dtype, length=max(a[-1], 2), scale=12 * np.sqrt(a[-1] + 1))


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("activation", [None, "relu", "silu", "gelu", "gelu_approx", "relu6", "sigmoid", "hardsigmoid", "mish"])
def test_linear(transpose_a, transpose_b, activation, device, rng):
    for batch in ((), (2, 3)):
        x = normal(device, rng, (*batch, 40, 33) if transpose_a else (*batch, 33, 40))
        w = normal(device, rng, (70, 40) if transpose_b else (40, 70), scale=0.2)
        for bias in (None, normal(device, rng, (70,)), normal(device, rng, (1, 1, 1, 70))):
            options = dict(transpose_a=transpose_a, transpose_b=transpose_b, activation=activation)
            wanted = ttnn.linear.golden_function(held(x), held(w), bias=None if bias is None else held(bias), **options)
            for _ in range(2):
                assert_close(ttnn.linear(x, w, bias=bias, **options), wanted, length=40, scale=8, steps=6)


def test_linear_sees_a_weight_that_was_changed(device, rng):
    x, w = normal(device, rng, (5, 32)), normal(device, rng, (32, 32))
    for _ in range(3):
        ttnn.linear(x, w)
    ttnn.mul_(w, 2.0)
    assert_close(ttnn.linear(x, w), held(x) @ held(w), length=32, scale=40)
    ttnn.experimental.slice_write(normal(device, rng, (32, 16)), w, [0, 0], [32, 16], [1, 1])
    assert_close(ttnn.linear(x, w), held(x) @ held(w), length=32, scale=40)


def test_linear_with_rows_of_bias_mixed_dtypes_and_a_given_output(device, rng):
    x, w, b = normal(device, rng, (5, 32), ttnn.bfloat16), normal(device, rng, (32, 48), ttnn.bfloat8_b), normal(device, rng, (5, 48))
    got = ttnn.linear(x, w, bias=b, dtype=ttnn.float32)
    assert got.dtype is ttnn.float32
    assert_close(got, held(x) @ held(w) + held(b), length=32, scale=60)
    out = ttnn.zeros((5, 48), ttnn.bfloat16, ttnn.TILE_LAYOUT, device)
    assert ttnn.linear(x, w, optional_output_tensor=out) is out
    assert_close(out, held(x) @ held(w), ttnn.bfloat16, length=32, scale=60)
    config = ttnn.MatmulMultiCoreReuseMultiCast1DProgramConfig(compute_with_storage_grid_size=(8, 8), fused_activation=ttnn.UnaryWithParam(ttnn.UnaryOpType.RELU))
    assert_close(ttnn.linear(x, w, program_config=config), np.maximum(held(x) @ held(w), 0), ttnn.bfloat16, length=32, scale=60)


def test_embedding(device, rng):
    w = normal(device, rng, (50, 33), ttnn.bfloat16)
    ids = rng.integers(0, 50, (2, 7))
    for dtype in (ttnn.uint32, ttnn.int32, ttnn.uint16, ttnn.bfloat16):
        for layout in (ttnn.TILE_LAYOUT, ttnn.ROW_MAJOR_LAYOUT):
            got = ttnn.embedding(on(device, ids.astype(np.int32), dtype, layout), w, layout=layout)
            assert got.shape == (2, 7, 33) and got.layout is layout and (ttnn.to_numpy(got) == held(w)[ids]).all()
    with pytest.raises(RuntimeError):
        ttnn.embedding(on(device, np.array([[50]], np.int32), ttnn.uint32), w)


@pytest.mark.parametrize("dtype", [ttnn.float32, ttnn.bfloat16, ttnn.bfloat8_b], ids=lambda d: d.name)
@pytest.mark.parametrize("name", ["layer_norm", "rms_norm"])
def test_norms(name, dtype, device, rng):
    op = getattr(ttnn, name)
    for shape in ((1, 64), (2, 5, 33), (1, 1, 31, 200)):
        x, r = normal(device, rng, shape, dtype), normal(device, rng, shape, dtype)
        w, b = (normal(device, rng, shape[-1:], ttnn.bfloat16) for _ in range(2))
        for options in ({}, {"weight": w}, {"weight": w, "bias": b, "epsilon": 1e-5}, {"weight": w, "bias": b, "residual_input_tensor": r, "epsilon": 1e-3}):
            wanted = op.golden_function(held(x), **{k: held(v) if isinstance(v, ttnn.Tensor) else v for k, v in options.items()})
            assert_close(op(x, **options), wanted, dtype, length=shape[-1], scale=8)
    stacked = ttnn.to_layout(ttnn.reshape(normal(device, rng, (64,)), (1, 1, 2, 32)), ttnn.ROW_MAJOR_LAYOUT)
    x = normal(device, rng, (3, 64))
    assert_close(op(x, weight=stacked), op.golden_function(held(x), weight=held(stacked)), length=64, scale=8)
    with pytest.raises(RuntimeError, match="weight"):
        op(x, weight=w)
    with pytest.raises(RuntimeError, match="TILE"):
        op(ttnn.to_layout(x, ttnn.ROW_MAJOR_LAYOUT))


@pytest.mark.parametrize("dtype", [ttnn.float32, ttnn.bfloat16, ttnn.bfloat8_b], ids=lambda d: d.name)
def test_softmax(dtype, device, rng):
    for shape in ((1, 7), (2, 3, 40), (2, 4, 33, 65)):
        x = normal(device, rng, shape, dtype, 3)
        for dim in range(-len(shape), len(shape)):
            assert_close(ttnn.softmax(x, dim=dim), ttnn.softmax.golden_function(held(x), dim), dtype, length=shape[dim], scale=1)
    mask = normal(device, rng, (1, 1, 33, 65))
    assert_close(ttnn.scale_mask_softmax(x, 0.3, mask), ttnn.scale_mask_softmax.golden_function(held(x), 0.3, held(mask)), dtype, length=65, scale=1)
    wanted = ttnn.transformer.attention_softmax.golden_function(held(x), head_size=9, attention_mask=held(mask))
    assert_close(ttnn.transformer.attention_softmax(x, head_size=9, attention_mask=mask), wanted, dtype, length=65, scale=1)
    assert ttnn.transformer.attention_softmax_(x, head_size=9, attention_mask=mask) is x
    assert_close(x, wanted, dtype, length=65, scale=1)
    y = normal(device, rng, (4, 32))
    wanted = ttnn.softmax.golden_function(held(y))
    assert ttnn.softmax_in_place(y) is y
    assert_close(y, wanted, length=32, scale=1)
    wanted = ttnn.softmax.golden_function(held(y) * 2)
    assert ttnn.scale_mask_softmax_in_place(y, 2.0) is y
    assert_close(y, wanted, length=32, scale=1)


@pytest.mark.parametrize("dtype", [ttnn.float32, ttnn.bfloat16], ids=lambda d: d.name)
@pytest.mark.parametrize("heads, kv_heads", [(4, 4), (4, 2), (3, 1)])
def test_attention(heads, kv_heads, dtype, device, rng):
    sdpa = ttnn.transformer.scaled_dot_product_attention
    for sq, sk in ((1, 1), (7, 7), (40, 40), (5, 33)):
        q, k, v = normal(device, rng, (2, heads, sq, 16), dtype), normal(device, rng, (2, kv_heads, sk, 16), dtype), normal(device, rng, (2, kv_heads, sk, 16), dtype)
        full, per_head = normal(device, rng, (1, 1, sq, sk)), normal(device, rng, (2, heads, sq, sk))
        sink = normal(device, rng, (1, heads, 1, 1))
        cases = [dict(is_causal=False), dict(is_causal=False, attn_mask=full, scale=0.5), dict(is_causal=False, attn_mask=per_head), dict(is_causal=False, attention_sink=sink)]
        if sq == sk:
            cases += [{}, dict(scale=0.1), dict(sliding_window_size=3), dict(is_causal=False, sliding_window_size=4), dict(attention_sink=sink)]
        for options in cases:
            wanted = sdpa.golden_function(held(q), held(k), held(v), **{n: held(o) if isinstance(o, ttnn.Tensor) else o for n, o in options.items()})
            # Weights of softmax may be rounded to bfloat16 before they meet bfloat16 values.
            scale = 4 if dtype is ttnn.float32 else 4 * 2.0**14
            assert_close(sdpa(q, k, v, **options), wanted, dtype, length=sk + 16, scale=scale)
    with pytest.raises(RuntimeError, match="causal"):
        sdpa(q, k, v)
    with pytest.raises(RuntimeError, match="both"):
        sdpa(q, q, q, attn_mask=full)


@pytest.mark.parametrize("heads, kv_heads", [(4, 4), (6, 2), (8, 1)])
def test_heads(heads, kv_heads, device, rng):
    x = normal(device, rng, (2, 33, (heads + 2 * kv_heads) * 8))
    x4 = ttnn.reshape(x, (2, 1, 33, x.shape[-1]))
    split, create = ttnn.transformer.split_query_key_value_and_split_heads, ttnn.experimental.nlp_create_qkv_heads
    for transposed in (True, False):
        for op, t, word in ((split, x, "transpose_key"), (create, x4, "transpose_k_heads")):
            options = {"num_heads": heads, "num_kv_heads": kv_heads, word: transposed}
            for got, wanted in zip(op(t, **options), op.golden_function(held(t), **options)):
                assert got.shape == wanted.shape and (ttnn.to_numpy(got) == wanted).all()
    q, k, v = create(x4, num_heads=heads, num_kv_heads=kv_heads)
    assert k.shape == (2, kv_heads, 8, 33)  # transposed unless told otherwise
    apart = create(x4[..., : heads * 8], x4[..., heads * 8 :], num_heads=heads, num_kv_heads=kv_heads)
    assert all((ttnn.to_numpy(a) == ttnn.to_numpy(b)).all() for a, b in zip(apart, (q, k, v)))
    assert (ttnn.to_numpy(ttnn.transformer.concatenate_heads(q)) == ttnn.transformer.concatenate_heads.golden_function(held(q))).all()
    assert ttnn.experimental.nlp_concat_heads(q).shape == (2, 1, 33, heads * 8)
    falcon = normal(device, rng, (1, 1, 32, 73 * 64))
    assert [t.shape for t in ttnn.experimental.nlp_create_qkv_heads_falcon7b(falcon)] == [(1, 71, 32, 64), (1, 1, 32, 64), (1, 1, 32, 64)]


def test_rotary_embedding(device, rng):
    rotary = ttnn.experimental.rotary_embedding
    x = normal(device, rng, (1, 3, 51, 16))
    cos, sin = normal(device, rng, (1, 1, 64, 16)), normal(device, rng, (1, 1, 64, 16))
    got = rotary(x, cos, sin)
    assert got.shape == (1, 3, 64, 16)  # rounded up to 32
    assert_close(got[:, :, :51], rotary.golden_function(held(x), held(cos), held(sin)), length=2, scale=10)
    one = normal(device, rng, (1, 1, 32, 16))
    assert_close(rotary(one, cos, sin, 5), rotary.golden_function(held(one), held(cos), held(sin), 5), length=2, scale=10)
    with pytest.raises(RuntimeError, match="token_index"):
        rotary(one, cos, sin, 64)
    with pytest.raises(RuntimeError, match="rows or more"):
        rotary(x, cos[:, :, :32], sin[:, :, :32])


def test_bad_arguments(device, rng):
    a, b = normal(device, rng, (4, 32)), normal(device, rng, (33, 4))
    other = ttnn.open_mesh_device(ttnn.MeshShape(1, 2))
    for call, kind, text in (
        (lambda: ttnn.matmul(a, b), RuntimeError, "width of the first tensor must be equal to the height"),
        (lambda: ttnn.matmul(ttnn.to_layout(a, ttnn.ROW_MAJOR_LAYOUT), a), RuntimeError, "tilized"),
        (lambda: ttnn.matmul(ttnn.from_device(a), a), RuntimeError, "on device"),
        (lambda: ttnn.matmul(a, on(other, np.zeros((32, 4), np.float32))), RuntimeError, "same device"),
        (lambda: ttnn.matmul(a, 3), TypeError, "incompatible function arguments"),
        (lambda: ttnn.matmul(a, a, transpose_b=True, wrong=1), TypeError, "wrong"),
        (lambda: ttnn.matmul(a, a, transpose_b=True, activation="swoosh"), RuntimeError, "activation"),
        (lambda: ttnn.matmul(a, a, transpose_b=True, dtype="float32"), TypeError, "DataType"),
        (lambda: ttnn.matmul(a, a, transpose_b=True, compute_kernel_config=3), TypeError, "compute_kernel_config"),
        (lambda: ttnn.linear(a, a, transpose_b=True, bias=normal(device, rng, (5,))), RuntimeError, ""),
        (lambda: ttnn.matmul(normal(device, rng, (2, 4, 8)), normal(device, rng, (3, 8, 4))), RuntimeError, ""),
        (lambda: ttnn.softmax(a, dim=2), RuntimeError, "dimension"),
        (lambda: ttnn.scale_mask_softmax(a, 1.0, b), RuntimeError, "mask"),
        (lambda: ttnn.layer_norm(a, epsilon="x"), TypeError, "epsilon"),
        (lambda: ttnn.layer_norm(a, residual_input_tensor=b), RuntimeError, "residual"),
        (lambda: ttnn.experimental.nlp_create_qkv_heads(normal(device, rng, (1, 1, 4, 50)), num_heads=7), RuntimeError, "heads"),
        (lambda: ttnn.experimental.nlp_create_qkv_heads(normal(device, rng, (1, 1, 4, 50)), num_heads=0), RuntimeError, "1 or more"),
        (lambda: ttnn.transformer.concatenate_heads(a), RuntimeError, "four dimensions"),
        (lambda: a + b, RuntimeError, "Invalid subtile broadcast type"),
        (lambda: ttnn.add(a, "x"), TypeError, "incompatible"),
        (lambda: ttnn.gelu(a, variant="tanh"), TypeError, "variant"),
        (lambda: ttnn.leaky_relu(a, 0.1, 0.2), TypeError, "negative_slope"),
        (lambda: ttnn.relu(a, memory_config=ttnn.L1_BLOCK_SHARDED_MEMORY_CONFIG, dtype=3), TypeError, "dtype"),
        (lambda: ttnn.add(a, a, output_tensor=b), RuntimeError, "shape"),
    ):
        with pytest.raises(kind, match=text or None):
            call()
