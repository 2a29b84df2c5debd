"""Golden functions of pools, convolution and upsampling."""

from __future__ import annotations

import builtins

import numpy as np

from tessera.ttnn.golden.base import golden as _golden
from tessera.ttnn.golden.elementwise import activated


def _four(p):
    p = [p, p] if isinstance(p, int) else list(p)
    return [p[0], p[0], p[1], p[1]] if len(p) == 2 else p


def _two(p):
    return [p, p] if isinstance(p, int) else list(p)


def _axis_windows(size, k, s, before, after, d, ceil_mode):
    """(first, one past the last within padding) positions of every window, in input coordinates."""
    span = d * (k - 1) + 1
    room = size + before + after - span
    count = (-(-room // s) if ceil_mode else room // s) + 1
    if ceil_mode and (count - 1) * s >= size + before:
        count -= 1
    return [range(i * s - before, i * s - before + span, d) for i in range(count)]


@_golden
def max_pool2d(input_tensor, batch_size, input_h, input_w, channels, kernel_size, stride, padding, dilation=(1, 1), ceil_mode=False, return_indices=False, **_):
    x = input_tensor.reshape(batch_size, input_h, input_w, channels)
    t, b, left, right = _four(padding)
    (kh, kw), (sh, sw), (dh, dw) = _two(kernel_size), _two(stride), _two(dilation)
    rows, columns = _axis_windows(input_h, kh, sh, t, b, dh, ceil_mode), _axis_windows(input_w, kw, sw, left, right, dw, ceil_mode)
    y = np.empty((batch_size, len(rows), len(columns), channels))
    where = np.empty(y.shape, np.int64)
    for i, r in enumerate(rows):
        for j, c in enumerate(columns):
            inside = [(p, q) for p in r if 0 <= p < input_h for q in c if 0 <= q < input_w]
            window = np.stack([x[:, p, q] for p, q in inside], axis=1)
            best = np.argmax(window, axis=1)
            y[:, i, j] = np.take_along_axis(window, best[:, None], axis=1)[:, 0]
            where[:, i, j] = np.array([p * input_w + q for p, q in inside])[best]
    flat = (1, 1, -1, channels)
    return (y.reshape(flat), where.reshape(flat)) if return_indices else y.reshape(flat)


golden_maxpool2d = max_pool2d


@_golden
def avg_pool2d(
    input_tensor, batch_size, input_h, input_w, channels, kernel_size, stride, padding, ceil_mode=False, count_include_pad=True, divisor_override=None, **_
):
    x = input_tensor.reshape(batch_size, input_h, input_w, channels)
    t, b, left, right = _four(padding)
    (kh, kw), (sh, sw) = _two(kernel_size), _two(stride)
    rows, columns = _axis_windows(input_h, kh, sh, t, b, 1, ceil_mode), _axis_windows(input_w, kw, sw, left, right, 1, ceil_mode)
    y = np.empty((batch_size, len(rows), len(columns), channels))
    for i, r in enumerate(rows):
        for j, c in enumerate(columns):
            ri, ci = [p for p in r if 0 <= p < input_h], [q for q in c if 0 <= q < input_w]
            count = sum(p < input_h + b for p in r) * sum(q < input_w + right for q in c) if count_include_pad else len(ri) * len(ci)
            y[:, i, j] = x[:, ri][:, :, ci].sum((1, 2)) / (divisor_override or count)
    return y.reshape(1, 1, -1, channels)


def _adaptive(f):
    @_golden
    def golden(input_tensor, batch_size, input_h, input_w, channels, output_size, **_):
        x = input_tensor.reshape(batch_size, input_h, input_w, channels)
        oh, ow = _two(output_size)
        cut = lambda i, size, n: builtins.slice(i * size // n, -(-(i + 1) * size // n))  # noqa: E731
        rows = [[f(x[:, cut(i, input_h, oh), cut(j, input_w, ow)], axis=(1, 2)) for j in range(ow)] for i in range(oh)]
        return np.stack([np.stack(r, axis=1) for r in rows], axis=1).reshape(1, 1, -1, channels)

    return golden


adaptive_avg_pool2d, adaptive_max_pool2d = _adaptive(np.mean), _adaptive(np.max)


@_golden
def global_avg_pool2d(x, **_):
    x = x.reshape((1,) * (4 - x.ndim) + x.shape)
    return x.mean((1, 2), keepdims=True)


@_golden
def upsample(x, scale_factor, *, mode="nearest", **_):
    sh, sw = _two(scale_factor) if not isinstance(scale_factor, float) else [scale_factor] * 2
    n, h, w, c = x.shape
    oh, ow = int(h * sh), int(w * sw)
    if mode == "nearest":
        return x[:, [min(int(i / sh), h - 1) for i in range(oh)]][:, :, [min(int(j / sw), w - 1) for j in range(ow)]]

    def axis(size, out, scale):
        at = np.maximum((np.arange(out) + 0.5) / scale - 0.5, 0)
        low = np.minimum(at.astype(int), size - 1)
        return low, np.minimum(low + 1, size - 1), at - low

    (i0, i1, fi), (j0, j1, fj) = axis(h, oh, sh), axis(w, ow, sw)
    fi, fj = fi[:, None, None], fj[None, :, None]
    top = x[:, i0][:, :, j0] * (1 - fj) + x[:, i0][:, :, j1] * fj
    bottom = x[:, i1][:, :, j0] * (1 - fj) + x[:, i1][:, :, j1] * fj
    return top * (1 - fi) + bottom * fi


@_golden
def conv2d(
    *,
    input_tensor,
    weight_tensor,
    in_channels,
    out_channels,
    batch_size,
    input_height,
    input_width,
    kernel_size,
    stride=(1, 1),
    padding=(0, 0),
    dilation=(1, 1),
    groups=1,
    bias_tensor=None,
    conv_config=None,
    **_,
):
    """Of OIHW weights, which are not prepared."""
    t, b, left, right = _four(padding)
    (kh, kw), (sh, sw), (dh, dw) = _two(kernel_size), _two(stride), _two(dilation)
    x = input_tensor.reshape(batch_size, input_height, input_width, in_channels)
    mode = {"mode": "edge"} if getattr(getattr(conv_config, "padding_mode", None), "name", "") == "Replicate" else {}
    x = np.pad(x, [(0, 0), (t, b), (left, right), (0, 0)], **mode)
    oh, ow = (x.shape[1] - dh * (kh - 1) - 1) // sh + 1, (x.shape[2] - dw * (kw - 1) - 1) // sw + 1
    w = weight_tensor.reshape(groups, out_channels // groups, in_channels // groups, kh, kw)
    y = np.zeros((batch_size, oh, ow, groups, out_channels // groups))
    for i in range(kh):
        for j in range(kw):
            window = x[:, i * dh : i * dh + (oh - 1) * sh + 1 : sh, j * dw : j * dw + (ow - 1) * sw + 1 : sw]
            window = window.reshape(batch_size, oh, ow, groups, in_channels // groups)
            y += np.einsum("nhwgc,goc->nhwgo", window, w[..., i, j])
    y = y.reshape(1, 1, -1, out_channels)
    y = y if bias_tensor is None else y + bias_tensor.reshape(-1)
    return activated(y, getattr(conv_config, "activation", None))
