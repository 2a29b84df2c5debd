"""Golden functions of movement and creation."""

from __future__ import annotations

import builtins

import numpy as np

from tessera.ttnn.golden.base import golden as _golden


@_golden
def reshape(x, shape, *_, **__):
    return x.reshape(tuple(shape))


@_golden
def reshape_on_device(x, n, h, w, c, **_):
    return x.reshape(n, h, w, c)


@_golden
def squeeze(x, dim=None):
    dims = range(x.ndim) if dim is None else dim if isinstance(dim, (list, tuple)) else [dim]
    return np.squeeze(x, axis=tuple(d for d in dims if x.shape[d] == 1))


@_golden
def unsqueeze(x, dim):
    return np.expand_dims(x, dim)


@_golden
def unsqueeze_to_4d(x):
    return x.reshape((1,) * (4 - x.ndim) + x.shape)


@_golden
def permute(x, dims, **_):
    return np.transpose(x, tuple(dims))


@_golden
def transpose(x, dim1, dim2, **_):
    return np.swapaxes(x, dim1, dim2)


@_golden
def slice(x, starts, ends, steps=None, **_):
    steps = [1] * x.ndim if steps is None else steps
    return x[tuple(builtins.slice(a, b, s) for a, b, s in zip(starts, ends, steps))]


@_golden
def concat(tensors, dim=0, groups=1, **_):
    if groups > 1:
        pieces = zip(*(np.split(t, groups, axis=dim) for t in tensors))
        return np.concatenate([p for pair in pieces for p in pair], axis=dim)
    return np.concatenate(tensors, axis=dim)


@_golden
def pad(x, padding, value=0.0, **_):
    pairs = [(0, 0)] * (x.ndim - len(padding)) + [tuple(p) for p in padding]
    return np.pad(x, pairs, constant_values=value)


@_golden
def repeat(x, times, **_):
    return np.tile(x, tuple(times))


@_golden
def repeat_interleave(x, repeats, dim, **_):
    return np.repeat(x, repeats, axis=dim)


@_golden
def expand(x, shape, **_):
    old = (1,) * (len(shape) - x.ndim) + x.shape
    return np.broadcast_to(x, tuple(o if s == -1 else s for s, o in zip(shape, old))).copy()


@_golden
def split(x, split_size, dim=0, **_):
    widths = [split_size] * (x.shape[dim] // split_size) if isinstance(split_size, int) else list(split_size)
    return list(np.split(x, np.cumsum(widths)[: -1 if sum(widths) == x.shape[dim] else None], axis=dim))


@_golden
def chunk(x, chunks, dim=0):
    width = -(-x.shape[dim] // chunks)
    return list(np.split(x, range(width, x.shape[dim], width), axis=dim))


@_golden
def stack(tensors, dim, **_):
    return np.stack(tensors, axis=dim)


@_golden
def narrow(x, dim, start, length):
    return np.take(x, range(start, start + length), axis=dim)


@_golden
def fold(x, stride_h, stride_w, use_transpose_as_fold=False, output_shape=None, padding=(0, 0), grid_size=None, override_memory_config=None):
    p = list(padding)
    edges = [p[0], p[0], p[1], p[1]] if len(p) == 2 else p[:4]
    channels = [0, 0] if len(p) < 6 else p[4:]
    if use_transpose_as_fold:
        x = np.transpose(x, (0, 2, 3, 1))
        channels = [channels[0], channels[1] + -(x.shape[3] + sum(channels)) % 4]
    x = np.pad(x, [(0, 0), tuple(edges[:2]), tuple(edges[2:]), tuple(channels)])
    n, h, w, c = x.shape
    blocks = x.reshape(n, h // stride_h, stride_h, w // stride_w, stride_w, c).transpose(0, 1, 3, 2, 4, 5)
    return blocks.reshape(n, h // stride_h, w // stride_w, stride_h * stride_w * c)


# ---- creation


def zeros(shape, *_, **__):
    return np.zeros(tuple(shape), np.float32)


def ones(shape, *_, **__):
    return np.ones(tuple(shape), np.float32)


def full(shape, fill_value, *_, **__):
    return np.full(tuple(shape), fill_value, np.float32)


@_golden
def zeros_like(x, **_):
    return np.zeros_like(x)


@_golden
def ones_like(x, **_):
    return np.ones_like(x)


@_golden
def full_like(x, fill_value, **_):
    return np.full_like(x, fill_value)


def arange(*bounds, step=None, **_):
    return np.arange(*bounds).astype(np.float32)
