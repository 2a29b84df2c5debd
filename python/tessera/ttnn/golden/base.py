"""What golden functions share: arrays of doubles in, the caller's kind of array out.

They take arrays, or torch tensors, where ops take tensors, accept and ignore an op's keywords that change no number, and answer in kind: torch
for torch, in the dtype of the first operand.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from tessera._arrays import is_torch


def plain(value):
    """An array of doubles (or of integers) of what a caller gives."""
    if is_torch(value):
        value = value.detach().cpu()
        value = (value.double() if value.is_floating_point() else value).numpy()
    elif hasattr(value, "to_numpy"):
        value = value.to_numpy()
    elif not isinstance(value, np.ndarray):
        return value
    return value.astype(np.float64) if value.dtype.kind == "f" else value


def like(result, model):
    """The result in the kind of `model`: torch of its dtype, or an array of its dtype when that is a float."""
    if isinstance(result, (tuple, list)):
        return type(result)(like(r, model) for r in result)
    if not isinstance(result, (np.ndarray, np.generic)):
        return result
    result = np.asarray(result)
    if is_torch(model):
        import torch

        made = torch.from_numpy(np.ascontiguousarray(result))
        return made.to(model.dtype) if result.dtype.kind == "f" and model.is_floating_point() else made
    if isinstance(model, np.ndarray) and model.dtype.kind == "f" and result.dtype.kind == "f":
        return result.astype(model.dtype)
    return result


def golden(function):
    """Arguments as arrays of doubles, the answer in the kind of the first array."""

    @functools.wraps(function)
    def wrapped(*arguments, **keywords):
        every = [*arguments, *keywords.values()]
        every += [v for value in every if isinstance(value, (list, tuple)) for v in value]
        model = next((v for v in every if is_torch(v) or isinstance(v, np.ndarray) or hasattr(v, "to_numpy")), None)
        convert = lambda v: type(v)(map(plain, v)) if type(v) in (list, tuple) else plain(v)  # noqa: E731
        with np.errstate(all="ignore"):
            result = function(*map(convert, arguments), **{k: convert(v) for k, v in keywords.items()})
        return like(result, model)

    return wrapped


def pearson_correlation_coefficient(expected, actual) -> float:
    """Of all elements of two arrays or tensors; 1 for equal constants, 0 where only one is constant or a NaN is not in both."""
    a, b = (np.asarray(plain(v), dtype=np.float64).reshape(-1) for v in (expected, actual))
    if a.shape != b.shape:
        raise RuntimeError(f"[pearson_correlation_coefficient] expected as many elements in both, got {a.size} and {b.size}")
    if (np.isnan(a) != np.isnan(b)).any():
        return 0.0
    kept = np.isfinite(a) & np.isfinite(b)
    a, b = a[kept], b[kept]
    if a.size == 0 or (a == b).all():
        return 1.0
    da, db = a - a.mean(), b - b.mean()
    scale = math.sqrt(float((da * da).sum() * (db * db).sum()))
    return float((da * db).sum() / scale) if scale > 0 else 0.0
