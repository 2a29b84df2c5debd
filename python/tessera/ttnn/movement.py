"""Elements elsewhere: reshape, permute, slice, concat, pad, repeat, fold. Bit for bit."""

from __future__ import annotations

import operator

from tessera import _tessera
from tessera.ttnn import golden
from tessera.ttnn.enums import BLOCK_FLOATS, TILE_LAYOUT, Layout, Shape, bfloat16, plane
from tessera.ttnn.memory import DRAM_MEMORY_CONFIG, MemoryConfig, check_memory_config
from tessera.ttnn.registry import STORED, check_kind, check_on_device, check_tensor, each, finish, operation, quantised, record, write
from tessera.ttnn.tensor import Tensor


def _result(name, tensor, parts, memory_config=None, output_tensor=None, requantise=True):
    """Movement keeps dtype and layout; block floats are quantised anew, as their neighbours have changed."""
    if requantise and tensor._dtype in BLOCK_FLOATS:
        parts = quantised(parts, tensor._dtype)
    config = check_kind(name, "memory_config", memory_config, MemoryConfig)
    if config is None:
        config = tensor._memory_config if not tensor._memory_config.is_sharded() else DRAM_MEMORY_CONFIG
    check_memory_config(config, parts[0].shape, tensor._layout)
    made = Tensor._make(parts, tensor._dtype, tensor._layout, config, tensor._device)
    return made if output_tensor is None else write(name, made, output_tensor)


def _numbers(name, what, values):
    if isinstance(values, Tensor):
        values = values.to_numpy().reshape(-1).tolist()
    try:
        return [operator.index(v) if not isinstance(v, float) or not v.is_integer() else int(v) for v in values]
    except TypeError:
        raise TypeError(f"{name}(): incompatible function arguments. {what}: expected whole numbers, got {values!r}") from None


def _dim(name, dim, rank):
    if isinstance(dim, bool) or not hasattr(dim, "__index__"):
        raise TypeError(f"{name}(): incompatible function arguments. dim: expected a number, got {dim!r}")
    if not -rank <= dim < rank:
        raise RuntimeError(f"[{name}] expected a dimension of {-rank} to {rank - 1}, got {dim}")
    return operator.index(dim) % rank


def _resolved(name, shape, count):
    """The sizes with the one -1 filled in."""
    sizes = _numbers(name, "shape", shape)
    if sizes.count(-1) > 1:
        raise RuntimeError(f"[{name}] expected one -1 at most, got {sizes}")
    if any(s < -1 for s in sizes):
        raise RuntimeError(f"[{name}] expected sizes of 0 or more, or one -1, got {sizes}")
    known = 1
    for s in sizes:
        known *= s if s != -1 else 1
    if -1 in sizes:
        if known == 0 or count % known:
            raise RuntimeError(f"[{name}] expected sizes that {count} elements fill, got {sizes}")
        sizes[sizes.index(-1)] = count // known
    elif known != count:
        raise RuntimeError(f"[{name}] expected a shape of {count} elements, got {sizes}: Invalid arguments to reshape, the volumes differ")
    return sizes


@operation("ttnn.reshape", golden=golden.reshape, deviation="A view in every case: elements are kept row-major. The second, padded shape of the two-shape form is not used.")
def reshape(input_tensor, shape, padded_shape=None, *, memory_config=None, pad_value=0, recreate_mapping_tensor=False, sub_core_grids=None, reshape_map_mode=None):
    """The same elements under another shape; one size may be -1."""
    name = "ttnn.reshape"
    check_tensor(name, input_tensor)
    sizes = _resolved(name, shape, input_tensor.shape.volume())
    record(input_tensor._device, name, input_tensor._spec(), tuple(sizes))
    return _result(name, input_tensor, tuple(p.reshape(sizes) for p in input_tensor._parts), memory_config)


@operation("ttnn.view", golden=golden.reshape, aliases=("ttnn.experimental.view",))
def view(input_tensor, *shape):
    """reshape(), given as one shape or as numbers."""
    return reshape(input_tensor, shape[0] if len(shape) == 1 and not hasattr(shape[0], "__index__") else shape)


@operation("ttnn.reshape_on_device", golden=golden.reshape_on_device)
def reshape_on_device(input_tensor, n, h, w, c, memory_config=None):
    """reshape() to [n, h, w, c]."""
    return reshape(input_tensor, (n, h, w, c), memory_config=memory_config)


@operation("ttnn.squeeze", golden=golden.squeeze)
def squeeze(input_tensor, dim=None):
    """Without dimensions of size 1: all of them, or those named."""
    name = "ttnn.squeeze"
    shape = check_tensor(name, input_tensor).shape
    if dim is None:
        away = {i for i, s in enumerate(shape) if s == 1}
    else:
        away = {_dim(name, d, len(shape)) for d in (dim if isinstance(dim, (list, tuple)) else [dim])}
    return reshape(input_tensor, [s for i, s in enumerate(shape) if i not in away or s != 1])


@operation("ttnn.unsqueeze", golden=golden.unsqueeze)
def unsqueeze(input_tensor, dim):
    """With one more dimension of size 1 before `dim`."""
    name = "ttnn.unsqueeze"
    sizes = list(check_tensor(name, input_tensor).shape)
    sizes.insert(_dim(name, dim, len(sizes) + 1), 1)
    return reshape(input_tensor, sizes)


@operation("ttnn.unsqueeze_to_4D", golden=golden.unsqueeze_to_4d)
def unsqueeze_to_4D(tensor):
    """With ones in front until there are four dimensions."""
    shape = check_tensor("ttnn.unsqueeze_to_4D", tensor).shape
    if len(shape) > 4:
        raise RuntimeError("Tensor cannot have more than 4 dimensions!")
    return reshape(tensor, shape.to_rank(4))


@operation("ttnn.permute", golden=golden.permute, page="reorder")
def permute(input_tensor, dims, *, memory_config=None, pad_value=0.0):
    """Dimensions in the order `dims`."""
    name = "ttnn.permute"
    check_tensor(name, input_tensor)
    order = _numbers(name, "dims", dims)
    rank = len(input_tensor.shape)
    if len(order) != rank:
        raise RuntimeError(
            f"[{name}] expected {rank} dimensions, got {len(order)}: "
            "The number of dimensions in the tensor input does not match the length of the desired ordering"
        )
    order = [_dim(name, d, rank) for d in order]
    if len(set(order)) != rank:
        raise RuntimeError(f"[{name}] expected every dimension once, got {list(dims)}")
    record(input_tensor._device, name, input_tensor._spec(), tuple(order))
    return _result(name, input_tensor, each(lambda p: _tessera.permute(p, order), input_tensor), memory_config)


@operation("ttnn.transpose", golden=golden.transpose, page="reorder")
def transpose(input_tensor, dim1, dim2, *, memory_config=None, pad_value=0.0):
    """Two dimensions exchanged."""
    name = "ttnn.transpose"
    rank = len(check_tensor(name, input_tensor).shape)
    order = list(range(rank))
    a, b = _dim(name, dim1, rank), _dim(name, dim2, rank)
    order[a], order[b] = order[b], order[a]
    return permute(input_tensor, order, memory_config=memory_config)


@operation("ttnn.slice", golden=golden.slice, page="reorder")
def slice(
    input_tensor,
    starts=None,
    ends=None,
    steps=None,
    *,
    slice_start=None,
    slice_end=None,
    slice_step=None,
    memory_config=None,
    output_tensor=None,
    pad_value=None,
    sub_core_grids=None,
    slice_dim=None,
    num_devices=None,
    queue_id=0,
):
    """Elements from `starts` to before `ends`, every `steps`-th. Negative numbers count from the back; starts and ends may be tensors."""
    name = "ttnn.slice"
    check_tensor(name, input_tensor)
    starts, ends, steps = (slice_start if starts is None else starts), (slice_end if ends is None else ends), (slice_step if steps is None else steps)
    if starts is None or ends is None:
        raise TypeError(f"{name}(): incompatible function arguments. expected starts and ends")
    shape = input_tensor.shape
    start, end = _numbers(name, "starts", starts), _numbers(name, "ends", ends)
    step = [1] * len(shape) if steps is None else _numbers(name, "steps", steps)
    if slice_dim is not None and num_devices is not None and len(start) == len(end) == 1:
        dim, size = _dim(name, slice_dim, len(shape)), shape[slice_dim]
        start, end = [start[0] if i == dim else 0 for i in range(len(shape))], [end[0] if i == dim else s for i, s in enumerate(shape)]
        step = [step[0] if i == dim else 1 for i in range(len(shape))] if len(step) == 1 else step
    if not len(start) == len(end) == len(step) == len(shape):
        raise RuntimeError(f"[{name}] expected {len(shape)} starts, ends and steps, got {len(start)}, {len(end)} and {len(step)}")
    for i, size in enumerate(shape):
        if step[i] < 1:
            raise RuntimeError(f"[{name}] expected steps of 1 or more, got {step[i]}")
        start[i] += size if start[i] < 0 else 0
        end[i] += size if end[i] < 0 else 0
        end[i] = min(end[i], size)
        if not 0 <= start[i] <= size or end[i] < 0:
            raise RuntimeError(f"[{name}] expected a start and an end within size {size} of dimension {i}, got {list(starts)[i]} and {list(ends)[i]}")
        end[i] = max(end[i], start[i])
    record(input_tensor._device, name, input_tensor._spec(), tuple(start), tuple(end), tuple(step))
    parts = each(lambda p: _tessera.slice(p, start, end, step), input_tensor)
    return _result(name, input_tensor, parts, memory_config, output_tensor)


@operation("ttnn.experimental.slice_write", page="reorder")
def slice_write(input_tensor, output_tensor, starts, ends, steps):
    """Puts input_tensor in place of the elements of output_tensor from `starts` to before `ends`. Returns output_tensor."""
    name = "ttnn.experimental.slice_write"
    device = check_on_device(name, input_tensor, output_tensor)
    start, end, step = (_numbers(name, w, v) for w, v in (("starts", starts), ("ends", ends), ("steps", steps)))
    if input_tensor._dtype is not output_tensor._dtype:
        raise RuntimeError(f"[{name}] expected tensors of one dtype, got {input_tensor._dtype} and {output_tensor._dtype}")
    record(device, name, input_tensor._spec(), output_tensor._spec(), tuple(start), tuple(end), tuple(step))
    whole = [0] * len(output_tensor.shape), list(output_tensor.shape), [1] * len(output_tensor.shape)

    def one(x, y):
        y = _tessera.slice(y, *whole)
        _tessera.slice_write(x, y, start, end, step)
        return y

    output_tensor._replace(quantised(each(one, input_tensor, output_tensor), output_tensor._dtype))
    return output_tensor


@operation("ttnn.concat", golden=golden.concat, page="reorder")
def concat(tensors, dim=0, *, memory_config=None, output_tensor=None, groups=1, sub_core_grids=None):
    """Tensors one after the other along `dim`. groups > 1: of each group of channels first one's, then the other's."""
    name = "ttnn.concat"
    if not isinstance(tensors, (list, tuple)):
        raise TypeError(f"{name}(): incompatible function arguments. tensors: expected a list, got {type(tensors).__name__}")
    if not tensors:
        raise RuntimeError(f"[{name}] expected tensors, got an empty list: need 1 or more tensors")
    for t in tensors:
        check_tensor(name, t, "tensors")
    first = tensors[0]
    rank = len(first.shape)
    for t in tensors[1:]:
        if len(t.shape) != rank:
            raise RuntimeError(f"[{name}] expected tensors of one rank, got {rank} and {len(t.shape)}: All dimensions must be the same size except for the dimension along which the contenation is taking place")
        if t._dtype is not first._dtype or t._layout is not first._layout:
            raise RuntimeError(f"[{name}] expected tensors of one dtype and layout, got {first._dtype} {first._layout} and {t._dtype} {t._layout}")
        if t._device is not first._device:
            raise RuntimeError(f"[{name}] expected tensors on one device, got two")
    dim = _dim(name, dim, rank)
    for t in tensors[1:]:
        if any(a != b for i, (a, b) in enumerate(zip(t.shape, first.shape)) if i != dim):
            raise RuntimeError(f"[{name}] expected sizes that differ along dimension {dim} only, got {list(first.shape)} and {list(t.shape)}")
    record(first._device, name, tuple(t._spec() for t in tensors), dim, groups)
    if groups > 1:
        if len(tensors) != 2 or dim != rank - 1:
            raise RuntimeError(f"[{name}] expected two tensors and the last dimension with groups > 1, got {len(tensors)} tensors and dimension {dim}")
        if any(t.shape[-1] % groups for t in tensors):
            raise RuntimeError(f"[{name}] expected widths that {groups} groups divide, got {[t.shape[-1] for t in tensors]}")
        pieces = [[_piece(t, dim, i * t.shape[-1] // groups, (i + 1) * t.shape[-1] // groups) for i in range(groups)] for t in tensors]
        tensors = [piece for pair in zip(*pieces) for piece in pair]
    parts = each(lambda *p: _tessera.concat(list(p), dim), *tensors)
    return _result(name, first, parts, memory_config, output_tensor)


def _piece(tensor, dim, start, end):
    rank = len(tensor.shape)
    starts, ends = [0] * rank, list(tensor.shape)
    starts[dim], ends[dim] = start, end
    return tensor._like(tuple(_tessera.slice(p, starts, ends, [1] * rank) for p in tensor._parts))


@operation("ttnn.pad", golden=golden.pad, page="reorder")
def pad(input_tensor, *arguments, padding=None, value=None, memory_config=None, use_multicore=True, output_tensor=None, queue_id=0):
    """pad(tensor, ((before, after), ...), value): of the last dimensions when there are fewer pairs. pad(tensor, output_shape, start, value) also."""
    name = "ttnn.pad"
    check_tensor(name, input_tensor)
    shape = input_tensor.shape
    arguments = list(arguments)
    if padding is None:
        if not arguments:
            raise TypeError(f"{name}(): incompatible function arguments. expected padding")
        padding = arguments.pop(0)
    pairs = list(padding)
    if pairs and not isinstance(pairs[0], (list, tuple)):
        output, start = _numbers(name, "output_shape", pairs), _numbers(name, "input_tensor_start", arguments.pop(0) if arguments else [0] * len(pairs))
        if len(output) != len(shape) or len(start) != len(shape):
            raise RuntimeError(f"[{name}] expected an output shape of {len(shape)} sizes, got {output}")
        pairs = [(s, o - n - s) for s, o, n in zip(start, output, shape)]
    value = arguments.pop(0) if arguments and value is None else value
    value = 0.0 if value is None else float(value)
    if len(pairs) > len(shape):
        raise RuntimeError(f"[{name}] expected at most {len(shape)} pairs, got {len(pairs)}: ttnn.pad: padding len can't be larger than input tensor rank")
    pairs = [(0, 0)] * (len(shape) - len(pairs)) + [tuple(_numbers(name, "padding", p)) for p in pairs]
    if any(len(p) != 2 or min(p) < 0 for p in pairs):
        raise RuntimeError(f"[{name}] expected pairs of numbers of 0 or more, got {pairs}")
    record(input_tensor._device, name, input_tensor._spec(), tuple(pairs), value)
    before, after = [p[0] for p in pairs], [p[1] for p in pairs]
    return _result(name, input_tensor, each(lambda p: _tessera.pad(p, before, after, value, False), input_tensor), memory_config, output_tensor)


@operation("ttnn.repeat", golden=golden.repeat, page="reorder")
def repeat(input_tensor, repeat_dims, *, memory_config=None):
    """The tensor so many times along every dimension, as torch.Tensor.repeat()."""
    name = "ttnn.repeat"
    check_tensor(name, input_tensor)
    times = _numbers(name, "repeat_dims", repeat_dims)
    if len(times) < len(input_tensor.shape) or any(t < 0 for t in times):
        raise RuntimeError(f"[{name}] expected {len(input_tensor.shape)} or more numbers of 0 or more, got {times}: Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor")
    record(input_tensor._device, name, input_tensor._spec(), tuple(times))
    return _result(name, input_tensor, each(lambda p: _tessera.repeat(p, times), input_tensor), memory_config)


@operation("ttnn.repeat_interleave", golden=golden.repeat_interleave, page="reorder")
def repeat_interleave(input_tensor, repeats, dim, *, memory_config=None):
    """Every entry of `dim` so many times."""
    name = "ttnn.repeat_interleave"
    dim = _dim(name, dim, len(check_tensor(name, input_tensor).shape))
    if not hasattr(repeats, "__index__") or repeats < 0:
        raise RuntimeError(f"[{name}] expected a number of 0 or more, got {repeats!r}")
    record(input_tensor._device, name, input_tensor._spec(), repeats, dim)
    return _result(name, input_tensor, each(lambda p: _tessera.repeat_interleave(p, repeats, dim), input_tensor), memory_config)


@operation("ttnn.expand", golden=golden.expand, page="reorder")
def expand(input_tensor, output_shape, *, memory_config=None):
    """Dimensions of size 1 repeated to `output_shape`; -1 keeps a size."""
    name = "ttnn.expand"
    check_tensor(name, input_tensor)
    sizes = _numbers(name, "output_shape", output_shape)
    extra = len(sizes) - len(input_tensor.shape)
    if extra < 0:
        raise RuntimeError(f"[{name}] expected {len(input_tensor.shape)} or more sizes, got {sizes}")
    old = [1] * extra + list(input_tensor.shape)
    sizes = [o if s == -1 else s for s, o in zip(sizes, old)]
    if any(o not in (1, s) for s, o in zip(sizes, old)):
        raise RuntimeError(f"[{name}] expected sizes that {list(input_tensor.shape)} can be expanded to, got {sizes}")
    record(input_tensor._device, name, input_tensor._spec(), tuple(sizes))
    return _result(name, input_tensor, each(lambda p: _tessera.expand(p, sizes), input_tensor), memory_config)


@operation("ttnn.split", golden=golden.split, page="reorder")
def split(input_tensor, split_size, dim=0, *, memory_config=None):
    """Pieces of `split_size` (a number, or one for each piece) along `dim`."""
    name = "ttnn.split"
    dim = _dim(name, dim, len(check_tensor(name, input_tensor).shape))
    size = input_tensor.shape[dim]
    if hasattr(split_size, "__index__"):
        if split_size < 1:
            raise RuntimeError(f"[{name}] expected a size of 1 or more, got {split_size}")
        widths = [min(split_size, size - at) for at in range(0, size, split_size)] or [0]
    else:
        widths = _numbers(name, "split_size", split_size)
        if sum(widths) != size or any(w < 0 for w in widths):
            raise RuntimeError(f"[{name}] expected sizes that add up to {size}, got {widths}")
    record(input_tensor._device, name, input_tensor._spec(), tuple(widths), dim)
    pieces, at = [], 0
    for width in widths:
        pieces.append(_result(name, input_tensor, _piece(input_tensor, dim, at, at + width)._parts, memory_config))
        at += width
    return pieces


@operation("ttnn.chunk", golden=golden.chunk, page="reorder")
def chunk(input_tensor, chunks, dim=0):
    """At most so many pieces of one size along `dim`, as torch.chunk()."""
    name = "ttnn.chunk"
    dim = _dim(name, dim, len(check_tensor(name, input_tensor).shape))
    if not hasattr(chunks, "__index__") or chunks < 1:
        raise RuntimeError(f"[{name}] expected a number of 1 or more, got {chunks!r}")
    return split(input_tensor, max(1, -(-input_tensor.shape[dim] // chunks)), dim)


@operation("ttnn.stack", golden=golden.stack, page="reorder")
def stack(tensors, dim, *, memory_config=None):
    """Tensors of one shape along a new dimension."""
    if not isinstance(tensors, (list, tuple)) or not tensors:
        raise RuntimeError("[ttnn.stack] expected a list of tensors, got none")
    return concat([unsqueeze(t, dim) for t in tensors], dim if dim >= 0 else dim + len(tensors[0].shape) + 1, memory_config=memory_config)


@operation("ttnn.narrow", golden=golden.narrow, page="reorder")
def narrow(input_tensor, dim, start, length):
    """`length` entries of `dim` from `start`."""
    name = "ttnn.narrow"
    dim = _dim(name, dim, len(check_tensor(name, input_tensor).shape))
    size = input_tensor.shape[dim]
    start += size if start < 0 else 0
    if start < 0 or length < 0 or start + length > size:
        raise RuntimeError(f"[{name}] expected a stretch of the {size} entries of dimension {dim}, got {length} from {start}")
    return _result(name, input_tensor, _piece(input_tensor, dim, start, start + length)._parts)


@operation("ttnn.fold", golden=golden.fold, page="fold")
def fold(input, stride_h, stride_w, use_transpose_as_fold=False, output_shape=None, padding=(0, 0), grid_size=None, override_memory_config=None, *, pad_c=0, pad_h=0, pad_w=0):
    """Blocks of stride_h x stride_w pixels into channels: [n, h / stride_h, w / stride_w, stride_h * stride_w * c] of NHWC pictures.

    use_transpose_as_fold: the pictures are NCHW, and channels are padded to a multiple of 4. A row-major input in L1 gives [1, 1, n * h * w, c].
    """
    name = "ttnn.fold"
    device = check_on_device(name, input)
    if len(input.shape) != 4:
        raise RuntimeError(f"[{name}] expected a tensor of four dimensions, got {list(input.shape)}")
    for what, stride in (("stride_h", stride_h), ("stride_w", stride_w)):
        if not hasattr(stride, "__index__") or stride < 1:
            raise RuntimeError(f"[{name}] {what}: expected a number of 1 or more, got {stride!r}")
    p = _numbers(name, "padding", padding)
    if len(p) not in (2, 4, 6) or min(p) < 0:
        raise RuntimeError(f"[{name}] padding: expected 2, 4 or 6 numbers of 0 or more, got {p}")
    edges = [p[0], p[0], p[1], p[1]] if len(p) == 2 else p[:4]
    channels = [0, 0] if len(p) < 6 else p[4:]
    edges = [edges[0] + pad_h, edges[1] + pad_h, edges[2] + pad_w, edges[3] + pad_w]
    channels[1] += pad_c
    if use_transpose_as_fold:
        channels[1] += -(input.shape[1] + sum(channels)) % 4
    record(device, name, input._spec(), stride_h, stride_w, use_transpose_as_fold, tuple(p))
    parts = each(lambda x: _tessera.fold(x, [stride_h, stride_w], edges, channels, use_transpose_as_fold), input)
    from tessera.ttnn.enums import BufferType

    if input._memory_config.buffer_type is BufferType.L1 and input._layout is Layout.ROW_MAJOR and not use_transpose_as_fold:
        n, h, w, c = parts[0].shape
        parts = tuple(q.reshape([1, 1, n * h * w, c]) for q in parts)
    if output_shape is not None:
        sizes = _numbers(name, "output_shape", output_shape)
        full = list(parts[0].shape)
        if len(sizes) != len(full) or any(s > f for s, f in zip(sizes, full)):
            raise RuntimeError(f"[{name}] output_shape: expected at most {full}, got {sizes}")
        parts = tuple(_tessera.slice(q, [0] * len(full), sizes, [1] * len(full)) for q in parts)
    dtype = bfloat16 if input._dtype in BLOCK_FLOATS else input._dtype
    return finish(name, parts, dtype, Layout.ROW_MAJOR, override_memory_config, device)


@operation("ttnn.clone")
def clone(input_tensor, *, memory_config=None, dtype=None):
    """A copy."""
    name = "ttnn.clone"
    device = check_on_device(name, input_tensor)
    rank = len(input_tensor.shape)
    parts = each(lambda p: _tessera.slice(p, [0] * rank, list(p.shape), [1] * rank), input_tensor)
    made = Tensor._make(parts, input_tensor._dtype, input_tensor._layout, memory_config or input_tensor._memory_config, device)
    if dtype is None or dtype is input_tensor._dtype:
        return made
    from tessera.ttnn.convert import typecast

    return typecast(made, dtype)


@operation("ttnn.copy")
def copy(input_a, input_b):
    """Writes input_a's elements over input_b's."""
    check_on_device("ttnn.copy", input_a, input_b)
    return write("ttnn.copy", clone(input_a), input_b)


__all__ = [n for n in dir() if getattr(globals()[n], "python_fully_qualified_name", "").startswith("ttnn.")]
