"""Movement against NumPy, bit for bit, in every dtype that holds the numbers."""

import numpy as np
import pytest

import tessera.ttnn as ttnn
from conftest import on

DTYPES = [ttnn.float32, ttnn.bfloat16, ttnn.int32, ttnn.uint16, ttnn.uint8]

CASES = {
    "reshape": [((2, 3, 40), ((6, 40),)), ((2, 3, 40), ((-1, 5),)), ((4, 6), ((2, 2, 2, 3),)), ((0, 4), ((4, 0),))],
    "squeeze": [((1, 3, 1, 5), ()), ((1, 3, 1, 5), (0,)), ((1, 3, 1, 5), (-2,))],
    "unsqueeze": [((3, 5), (0,)), ((3, 5), (-1,)), ((3, 5), (1,))],
    "unsqueeze_to_4D": [((3, 5), ())],
    "permute": [((2, 3, 40, 33), ((0, 2, 1, 3),)), ((2, 3, 40, 33), ((3, 1, 0, 2),)), ((5, 70), ((-1, 0),)), ((2, 3, 4, 5, 2), ((4, 0, 3, 1, 2),)), ((0, 3), ((1, 0),))],
    "transpose": [((2, 40, 33), (1, 2)), ((2, 40, 33), (-1, 0)), ((4, 4), (0, 0))],
    "slice": [((4, 40), ([0, 3], [4, 20])), ((4, 40), ([1, 0], [4, 40], [2, 7])), ((2, 3, 40), ([0, 0, -10], [2, -1, -1])), ((4, 40), ([2, 0], [2, 40]))],
    "pad": [((3, 5), ([(1, 2), (0, 3)], 7.0)), ((2, 3, 5), ([(0, 1)], 0.0)), ((3, 5), ([(0, 29), (0, 27)], 0.0))],
    "repeat": [((3, 5), ((2, 3),)), ((3, 5), ((2, 1, 2),)), ((3, 5), ((0, 1),))],
    "repeat_interleave": [((3, 5), (2, 0)), ((3, 5), (3, -1))],
    "expand": [((1, 5), ((4, 5),)), ((3, 1), ((2, -1, 4),))],
    "split": [((6, 5), (2, 0)), ((6, 5), ([1, 4], -1))],
    "chunk": [((6, 5), (2, 0)), ((3, 7), (3, 1))],
    "narrow": [((6, 5), (0, 2, 3))],
}


def numbers(shape, rng):
    return rng.integers(0, 120, shape).astype(np.float32)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
@pytest.mark.parametrize("name", sorted(CASES))
def test_movement(name, dtype, device, rng):
    op = getattr(ttnn, name)
    for shape, arguments in CASES[name]:
        x = numbers(shape, rng)
        wanted = op.golden_function(x, *arguments)
        for layout in (ttnn.TILE_LAYOUT, ttnn.ROW_MAJOR_LAYOUT):
            t = on(device, x, dtype, layout)
            got = op(t, *arguments)
            for g, w in zip(got, wanted) if isinstance(got, list) else [(got, wanted)]:
                assert g.dtype is dtype and g.layout is layout and g.shape == w.shape
                assert (ttnn.to_numpy(g) == w).all()


def test_host_tensors_move_too(rng):
    x = numbers((2, 3, 4), rng)
    t = ttnn.from_torch(x)
    assert (ttnn.to_numpy(ttnn.permute(t, (2, 0, 1))) == x.transpose(2, 0, 1)).all()
    assert (ttnn.to_numpy(ttnn.reshape(t, (6, 4))) == x.reshape(6, 4)).all()


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_concat(dim, device, rng):
    shapes = [[2, 3, 40] for _ in range(3)]
    for i, s in enumerate(shapes):
        s[dim] = (1, 33, 7)[i]
    xs = [numbers(s, rng) for s in shapes]
    got = ttnn.concat([on(device, x) for x in xs], dim=dim)
    assert (ttnn.to_numpy(got) == np.concatenate(xs, dim)).all()
    assert (ttnn.to_numpy(ttnn.concat([on(device, xs[0])], dim)) == xs[0]).all()


def test_concat_of_groups_and_stack(device, rng):
    a, b = numbers((1, 1, 4, 6), rng), numbers((1, 1, 4, 8), rng)
    got = ttnn.concat([on(device, a), on(device, b)], -1, groups=2)
    assert (ttnn.to_numpy(got) == ttnn.concat.golden_function([a, b], -1, groups=2)).all()
    assert (ttnn.to_numpy(ttnn.stack([on(device, a), on(device, a + 1)], 1)) == np.stack([a, a + 1], 1)).all()


def test_slices_given_by_tensors_and_written(device, rng):
    x = numbers((4, 40), rng)
    t = on(device, x)
    starts, ends = (on(device, np.array(v, np.int32), ttnn.uint32, ttnn.ROW_MAJOR_LAYOUT) for v in ([1, 2], [3, 30]))
    assert (ttnn.to_numpy(ttnn.slice(t, starts, ends)) == x[1:3, 2:30]).all()
    out = on(device, np.zeros((2, 28), np.float32))
    assert ttnn.slice(t, [1, 2], [3, 30], output_tensor=out) is out and (ttnn.to_numpy(out) == x[1:3, 2:30]).all()
    ttnn.experimental.slice_write(out, t, [2, 0], [4, 28], [1, 1])
    x[2:4, :28] = x[1:3, 2:30].copy()
    assert (ttnn.to_numpy(t) == x).all()


@pytest.mark.parametrize("arguments", [(2, 2), (2, 3), (1, 4)], ids=str)
def test_fold(arguments, device, rng):
    x = numbers((2, 4, 12, 3), rng)
    got = ttnn.fold(on(device, x, layout=ttnn.ROW_MAJOR_LAYOUT), *arguments)
    assert (ttnn.to_numpy(got) == ttnn.fold.golden_function(x, *arguments)).all()
    l1 = ttnn.fold(on(device, x, layout=ttnn.ROW_MAJOR_LAYOUT, memory_config=ttnn.L1_MEMORY_CONFIG), *arguments)
    assert l1.shape == (1, 1, got.shape.volume() // got.shape[-1], got.shape[-1])
    nchw = on(device, np.ascontiguousarray(x.transpose(0, 3, 1, 2)), layout=ttnn.ROW_MAJOR_LAYOUT)
    got = ttnn.fold(nchw, 2, 2, use_transpose_as_fold=True, padding=[0, 0, 1, 1])
    assert (ttnn.to_numpy(got) == ttnn.fold.golden_function(x.transpose(0, 3, 1, 2), 2, 2, True, padding=[0, 0, 1, 1])).all()


def test_block_floats_are_quantised_anew(device, rng):
    x = rng.standard_normal((4, 64)).astype(np.float32)
    t = on(device, x, ttnn.bfloat8_b)
    held = ttnn.to_numpy(t)
    back = ttnn.permute(t, (1, 0))
    again = ttnn.to_numpy(on(device, np.ascontiguousarray(held.T), ttnn.bfloat8_b))
    assert back.dtype is ttnn.bfloat8_b and (ttnn.to_numpy(back) == again).all()


def test_bad_arguments(device, rng):
    t = on(device, numbers((2, 3, 40), rng))
    for call, kind, text in (
        (lambda: ttnn.permute(t, (0, 1)), RuntimeError, "does not match the length of the desired ordering"),
        (lambda: ttnn.permute(t, (0, 1, 1)), RuntimeError, "once"),
        (lambda: ttnn.permute(t, (0, 1, 5)), RuntimeError, "dimension"),
        (lambda: ttnn.reshape(t, (7, 7)), RuntimeError, "volumes differ"),
        (lambda: ttnn.reshape(t, (-1, -1)), RuntimeError, "one -1"),
        (lambda: ttnn.reshape(t, (-1, 7)), RuntimeError, "fill"),
        (lambda: ttnn.reshape(t, ("a",)), TypeError, "whole numbers"),
        (lambda: ttnn.slice(t, [0], [1]), RuntimeError, "starts"),
        (lambda: ttnn.slice(t, [0, 0, 41], [2, 3, 42]), RuntimeError, "within"),
        (lambda: ttnn.slice(t, [0, 0, 0], [2, 3, 40], [0, 1, 1]), RuntimeError, "steps"),
        (lambda: ttnn.concat([], 0), RuntimeError, "empty"),
        (lambda: ttnn.concat([t, ttnn.reshape(t, (6, 40))], 0), RuntimeError, "rank"),
        (lambda: ttnn.concat([t, t[:, :2]], 0), RuntimeError, "sizes"),
        (lambda: ttnn.concat(t, 0), TypeError, "list"),
        (lambda: ttnn.pad(t, [(0, 1)] * 4, 0.0), RuntimeError, "larger than input tensor rank"),
        (lambda: ttnn.pad(t, [(-1, 0)], 0.0), RuntimeError, "0 or more"),
        (lambda: ttnn.repeat(t, (2,)), RuntimeError, "smaller than number of dimensions"),
        (lambda: ttnn.expand(t, (4, 3, 40)), RuntimeError, "expanded"),
        (lambda: ttnn.split(t, 0), RuntimeError, "1 or more"),
        (lambda: ttnn.squeeze(t, 7), RuntimeError, "dimension"),
        (lambda: ttnn.fold(t, 2, 2), RuntimeError, "four dimensions"),
        (lambda: ttnn.fold(on(device, numbers((1, 3, 4, 2), rng)), 2, 2), RuntimeError, ""),
    ):
        with pytest.raises(kind, match=text or None):
            call()
