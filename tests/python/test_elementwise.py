"""Unary and binary ops, gated units, reductions and running sums against their golden functions."""

import numpy as np
import pytest

import tessera.ttnn as ttnn
from conftest import as_held, assert_close, on
from tessera.ttnn.registry import OPERATIONS

FLOATS = [ttnn.float32, ttnn.bfloat16, ttnn.bfloat8_b, ttnn.bfloat4_b]
SHAPES = [(1,), (7,), (5, 33), (32, 32), (2, 3, 37), (1, 2, 31, 65), (2, 1, 2, 3, 17)]
UNARY = sorted(n.split(".")[1] for n, op in OPERATIONS.items() if op.page == "unary" and not n.endswith("glu"))
BINARY = ["add", "subtract", "rsub", "multiply", "divide", "maximum", "minimum", "eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or",
          "logical_xor", "prelu", "bias_gelu", "squared_difference"]
NON_NEGATIVE = {"sqrt", "rsqrt", "log", "log2", "log10", "lgamma"}
UNIT = {"asin", "acos"}


def inputs(name, rng, shape):
    x = rng.standard_normal(shape) * 2
    if name in NON_NEGATIVE:
        x = np.abs(x) + 0.05
    if name == "log1p":
        x = np.abs(x) - 0.5
    if name in UNIT:
        x = np.clip(x / 8, -0.99, 0.99)
    return x.astype(np.float32)


def run_unary(name, x):
    op = getattr(ttnn, name)
    if name in ("clip", "clamp"):
        return op(x, -0.5, 0.75), ttnn.get_golden_function(op)(as_doubles(x), -0.5, 0.75)
    return op(x), ttnn.get_golden_function(op)(as_doubles(x))


def as_doubles(t):
    return ttnn.to_numpy(t).astype(np.float64)


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
@pytest.mark.parametrize("name", UNARY)
def test_unary(name, dtype, device, rng):
    for shape in SHAPES:
        for layout in (ttnn.TILE_LAYOUT, ttnn.ROW_MAJOR_LAYOUT):
            if layout is ttnn.ROW_MAJOR_LAYOUT and dtype in (ttnn.bfloat8_b, ttnn.bfloat4_b):
                continue
            x = on(device, inputs(name, rng, shape), dtype, layout)
            got, wanted = run_unary(name, x)
            assert got.shape == shape and got.dtype is dtype and got.layout is layout
            if name in NON_NEGATIVE | {"log1p", "reciprocal", "tan", "logical_not"} and dtype in (ttnn.bfloat8_b, ttnn.bfloat4_b):
                # Zeros of a block float give infinities, which its neighbours cannot stand beside.
                continue
            # Functions of the library are exact to a few float32 roundings of results near 1; differences of near numbers (tanhshrink) to that of x.
            assert_close(got, wanted, dtype, scale=max(1.0, np.abs(as_doubles(x)).max()), steps=6)


@pytest.mark.parametrize("name", UNARY)
def test_unary_of_nan_and_infinities(name, device):
    x = np.array([[np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0]], np.float32)
    got, wanted = run_unary(name, on(device, x))
    if name in ("gelu", "gelu_tanh", "silu", "swish", "mish", "hardswish"):
        # x times what goes to 0 faster: the library answers with the limit, plain arithmetic with inf * 0.
        assert ttnn.to_numpy(got)[0, 2] == 0
        got, wanted = ttnn.to_numpy(got)[:, [0, 1, 3, 4, 5, 6]], wanted[:, [0, 1, 3, 4, 5, 6]]
    assert_close(got, wanted, steps=6)


@pytest.mark.parametrize("dtype", [ttnn.float32, ttnn.bfloat16], ids=lambda d: d.name)
@pytest.mark.parametrize("shapes", [((32, 32), (32, 32)), ((5, 33), (1, 33)), ((5, 33), (5, 1)), ((2, 1, 7), (3, 1)), ((1,), (4, 5)), ((2, 3, 4, 5, 6), (3, 1, 5, 1)),
                                    ((1, 1, 1, 1), (2, 3, 33, 5))], ids=str)
@pytest.mark.parametrize("name", BINARY)
def test_binary(name, shapes, dtype, device, rng):
    a, b = (on(device, rng.standard_normal(s).astype(np.float32), dtype) for s in shapes)
    op = getattr(ttnn, name)
    got = op(a, b)
    wanted = ttnn.get_golden_function(op)(as_doubles(a), as_doubles(b))
    assert got.dtype is dtype
    scale = max(np.abs(as_doubles(a)).max(), np.abs(as_doubles(b)).max(), 1) ** 2
    assert_close(got, wanted, dtype, scale=scale, steps=4)


@pytest.mark.parametrize("dtype", [ttnn.bfloat8_b, ttnn.bfloat4_b], ids=lambda d: d.name)
@pytest.mark.parametrize("name", ["add", "subtract", "multiply"])
def test_binary_of_block_floats_is_quantised_once(name, dtype, device, rng):
    a, b = (on(device, rng.standard_normal((3, 40, 50)).astype(np.float32), dtype) for _ in range(2))
    got = getattr(ttnn, name)(a, b)
    exact = getattr(ttnn, name).golden_function(as_doubles(a), as_doubles(b)).astype(np.float32)
    assert (ttnn.to_numpy(got) == as_held(exact, dtype)).all()


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "rsub", "maximum", "gt", "pow"])
def test_binary_with_a_number(name, device, rng):
    x = on(device, np.abs(rng.standard_normal((3, 33))).astype(np.float32) + 0.1)
    op = getattr(ttnn, name)
    for number in (2, 0.5, -1.25):
        assert_close(op(x, number), op.golden_function(as_doubles(x), float(number)), steps=4, scale=10)


def test_operators(device, rng):
    a, b = (on(device, rng.standard_normal((4, 32)).astype(np.float32)) for _ in range(2))
    x, y = as_doubles(a), as_doubles(b)
    for got, wanted in ((a + b, x + y), (a - b, x - y), (a * b, x * y), (a / b, x / y), (2 - a, 2 - x), (2 * a, 2 * x), (1 / a, 1 / x), (a + 1, x + 1), (a > b, x > y),
                        (a == b, x == y), (a != b, x != y), (a <= b, x <= y), (-a, -x), (a**2, x**2)):
        assert_close(got, wanted.astype(np.float64), scale=20, steps=4)


def test_in_place_writes_its_operand_and_returns_it(device, rng):
    x = rng.standard_normal((3, 32)).astype(np.float32)
    for name, f in (("add_", np.add), ("sub_", np.subtract), ("mul_", np.multiply), ("div_", np.divide)):
        a = on(device, x)
        result = getattr(ttnn, name)(a, 2.0)
        assert result is a
        assert_close(a, f(x, 2.0).astype(np.float32))
    with pytest.raises(RuntimeError, match="shape"):
        ttnn.add_(on(device, x[:1]), on(device, x))


def test_activations_before_and_after(device, rng):
    a, b = (on(device, rng.standard_normal((4, 32)).astype(np.float32)) for _ in range(2))
    x, y = as_doubles(a), as_doubles(b)
    assert_close(ttnn.add(a, b, activations=[ttnn.UnaryWithParam(ttnn.UnaryOpType.RELU)]), np.maximum(x + y, 0))
    assert_close(ttnn.mul(a, b, input_tensor_a_activations=[ttnn.UnaryOpType.SILU]), x / (1 + np.exp(-x)) * y, steps=6, scale=10)


@pytest.mark.parametrize("dtype", [ttnn.int32, ttnn.uint32, ttnn.uint16, ttnn.uint8], ids=lambda d: d.name)
def test_integers_are_exact(dtype, device, rng):
    a, b = (rng.integers(0, 50, (5, 33)).astype(np.int32) for _ in range(2))
    x, y = on(device, a, dtype, ttnn.ROW_MAJOR_LAYOUT), on(device, b, dtype, ttnn.ROW_MAJOR_LAYOUT)
    assert (ttnn.to_numpy(x + y) == a + b).all()
    assert (ttnn.to_numpy(x * y) == (a * b) % (256 if dtype is ttnn.uint8 else 2**16 if dtype is ttnn.uint16 else 2**31)).all()
    assert (ttnn.to_numpy(x > y) == (a > b)).all()
    assert (ttnn.to_numpy(ttnn.bitwise_and(x, y)) == (a & b)).all()
    assert (ttnn.to_numpy(ttnn.sum(x, 1)) == a.sum(1) % (256 if dtype is ttnn.uint8 else 2**32)).all()


@pytest.mark.parametrize("name", ["glu", "reglu", "geglu", "swiglu"])
def test_gated_units(name, device, rng):
    for shape in ((1, 64), (2, 3, 5, 66)):
        x = on(device, rng.standard_normal(shape).astype(np.float32))
        assert_close(getattr(ttnn, name)(x), getattr(ttnn, name).golden_function(as_doubles(x)), steps=8, scale=4)
    with pytest.raises(RuntimeError, match="even"):
        getattr(ttnn, name)(on(device, np.zeros((2, 3), np.float32)))


@pytest.mark.parametrize("dtype", [ttnn.float32, ttnn.bfloat16], ids=lambda d: d.name)
@pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "var", "std"])
def test_reductions(name, dtype, device, rng):
    for shape in ((7,), (5, 33), (2, 3, 40), (2, 3, 4, 70)):
        x = on(device, rng.standard_normal(shape).astype(np.float32), dtype)
        op = getattr(ttnn, name)
        for dim in [None, -1, 0, [0, -1]] if len(shape) > 1 else [None, -1]:
            for keepdim in (False, True):
                got = op(x, dim, keepdim)
                wanted = op.golden_function(as_doubles(x), dim, keepdim)
                assert_close(got, np.asarray(wanted), dtype, length=x.shape.volume(), scale=np.abs(as_doubles(x)).sum() if name == "sum" else 4.0)


def test_cumsum_and_argmax(device, rng):
    x = rng.standard_normal((3, 4, 50)).astype(np.float32)
    t = on(device, x)
    for dim in (0, 1, 2, -1):
        assert_close(ttnn.moreh_cumsum(t, dim=dim), np.cumsum(x.astype(np.float64), dim), length=50, scale=50)
        assert (ttnn.to_numpy(ttnn.argmax(t, dim)) == x.argmax(dim)).all()
    assert ttnn.argmax(t).item() == x.argmax()


def test_where_and_clip_of_tensors(device, rng):
    a, b, c = (on(device, rng.standard_normal((4, 33)).astype(np.float32)) for _ in range(3))
    x, y, z = map(as_doubles, (a, b, c))
    assert_close(ttnn.where(a > 0, b, c), np.where(x > 0, y, z))
    assert_close(ttnn.where(a > 0, b, 0.5), np.where(x > 0, y, 0.5))
    assert_close(ttnn.clip(a, b, None), np.maximum(x, y))
    with pytest.raises(RuntimeError, match="bound"):
        ttnn.clip(a)


def test_same_numbers_for_any_number_of_threads(device, rng):
    import tessera

    x, y = (rng.standard_normal((64, 700)).astype(np.float32) for _ in range(2))
    results = []
    for threads in (1, 2, 3):
        tessera.set_num_threads(threads)
        a, b = on(device, x), on(device, y)
        w = on(device, np.ascontiguousarray(y.T))
        results.append([ttnn.to_numpy(t) for t in (ttnn.gelu(a), a * b, ttnn.sum(a, -1), ttnn.softmax(a), ttnn.matmul(a, w), ttnn.layer_norm(a))])
    tessera.set_num_threads(0)
    for other in results[1:]:
        for r, o in zip(results[0], other):
            assert (r == o).all()
