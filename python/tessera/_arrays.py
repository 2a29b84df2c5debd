"""Arrays of NumPy, torch and whatever speaks DLPack, as the extension's tensors and back. torch is never imported here: it is only used where it is."""

import sys

import numpy as np

from tessera import _tessera


def is_torch(value) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def tensor_of(value, copy: bool):
    """A tensor of the array's elements, shared unless `copy` or where they lie otherwise. 64-bit numbers become 32-bit ones (OverflowError where an
    integer does not fit); TypeError for what is no array of numbers."""
    if is_torch(value):
        return _of_torch(value, copy)
    if not isinstance(value, np.ndarray) and hasattr(value, "__dlpack__"):
        value = np.from_dlpack(value)
    array = np.asarray(value)
    if array.dtype == np.float64:
        array, copy = array.astype(np.float32), False
    elif array.dtype in (np.int64, np.uint64):
        array, copy = _narrow(array), False
    elif array.dtype == np.int16:
        array, copy = array.astype(np.int32), False
    elif array.dtype.kind not in "fiub" or array.dtype.itemsize > 4:
        raise TypeError(f"expected an array of numbers, got elements of {array.dtype}")
    # What may not be written is copied: a tensor may be handed on to somebody who writes.
    copy = copy or not array.flags.writeable
    if not array.flags.c_contiguous:
        array, copy = np.ascontiguousarray(array), False
    if not array.dtype.isnative:
        array, copy = array.astype(array.dtype.newbyteorder("=")), False
    return _tessera.from_array(array, copy)


def _narrow(array):
    if array.size and (array.min() < -(2**31) or array.max() >= 2**32):
        raise OverflowError(f"expected integers of 32 bits, got {array.min()} to {array.max()}")
    return array.astype(np.uint32 if array.size and array.max() >= 2**31 else np.int32)


def _of_torch(value, copy: bool):
    torch = sys.modules["torch"]
    value = value.detach()
    if value.device.type != "cpu":
        value, copy = value.cpu(), False
    if value.dtype == torch.float64:
        value, copy = value.float(), False
    elif value.dtype == torch.int64:
        return _tessera.from_array(_narrow(value.contiguous().numpy()), False)
    elif value.dtype == torch.int16:
        value, copy = value.to(torch.int32), False
    elif value.dtype == torch.bool:
        value, copy = value.to(torch.uint8), False
    if not value.is_contiguous():
        value, copy = value.contiguous(), False
    return _tessera.from_array(value, copy)
