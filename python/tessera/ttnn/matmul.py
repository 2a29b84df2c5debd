"""Products: matmul and linear, whose weights stay packed when they come back; and embedding."""

from __future__ import annotations

from tessera import _tessera
from tessera.ttnn import golden
from tessera.ttnn.configs import DeviceComputeKernelConfig
from tessera.ttnn.elementwise import activation_of, apply_activations
from tessera.ttnn.enums import FLOATS, float32
from tessera.ttnn.memory import CoreGrid
from tessera.ttnn.registry import COMPUTED, STORED, check_kind, check_on_device, check_tile, each, finish, operation, record

_D = _tessera.DType
_FUSED = {"relu": "relu", "relu6": "relu6", "silu": "silu", "gelu": "gelu", "gelu_tanh": "gelu_tanh", "hardswish": "hardswish"}


class _Packed:
    """What a weight's product needs, kept with the tensor from its second use on: a weight comes back, an activation does not."""

    __slots__ = ("key", "uses", "weights")

    def __init__(self, key):
        self.key, self.uses, self.weights = key, 0, {}


def _packed(weight, part, key, transpose_b, bias, precision):
    store = weight._prepared
    if type(store) is not _Packed or store.key != key:
        store = weight._prepared = _Packed(key)
    store.uses += 1
    if store.uses < 2:
        return None
    made = store.weights.get(id(part))
    if made is None:
        made = store.weights[id(part)] = _tessera.prepare_matmul(part, transpose_b, bias, precision)
    return made


def _matmul(name, a, b, bias, transpose_a, transpose_b, memory_config, dtype, program_config, activation, compute_kernel_config, core_grid, output):
    device = check_on_device(name, a, b, optional=(bias,))
    check_tile(name, a, b)
    check_kind(name, "compute_kernel_config", compute_kernel_config, DeviceComputeKernelConfig)
    check_kind(name, "core_grid", core_grid, CoreGrid)
    if dtype is not None:
        from tessera.ttnn.convert import check_dtype

        check_dtype(name, dtype)
    for t in (a, b, bias):
        if t is not None and t._dtype not in FLOATS:
            raise RuntimeError(f"[{name}] expected tensors of a float dtype, got {t._dtype}: Unsupported data format")
    if not a.shape or not b.shape:
        raise RuntimeError(f"[{name}] expected tensors of one or more dimensions, got a number")
    if not isinstance(transpose_a, bool) or not isinstance(transpose_b, bool):
        raise TypeError(f"{name}(): incompatible function arguments. transpose_a, transpose_b: expected bool")
    k_a = a.shape[-2] if transpose_a and len(a.shape) > 1 else a.shape[-1]
    k_b = b.shape[0] if len(b.shape) == 1 else b.shape[-1] if transpose_b else b.shape[-2]
    if k_a != k_b:
        raise RuntimeError(
            f"[{name}] expected inner sizes that agree, got {list(a.shape)} and {list(b.shape)}: The width of the first tensor must be equal to the height of the second tensor ({k_a} != {k_b})"
        )
    new = a._dtype if dtype is None else dtype
    if activation is None and program_config is not None:
        activation = getattr(program_config, "fused_activation", None)
    act = activation_of(name, activation)
    fused = "" if act is None else _FUSED.get(act[0])
    record(device, name, a._spec(), b._spec(), None if bias is None else bias._spec(), transpose_a, transpose_b, new, None if act is None else act[0])
    kept = COMPUTED[new]
    if bias is not None and bias.shape.volume() != bias.shape[-1]:
        # A bias of several rows is added after the product.
        parts = each(lambda x, y: _tessera.matmul(x, y, transpose_a, transpose_b, None, "", _D.float32), a, b)
        add = _tessera.binary_number("add")
        parts = tuple(_tessera.binary(p, q, add, _D.float32) for p, q in zip(parts, bias._parts, strict=True))
        parts = apply_activations(name, parts, [activation] if act else [])
        parts = tuple(p if p.dtype == kept else _tessera.typecast(p, kept) for p in parts)
        return finish(name, parts, new, a._layout, memory_config, device, output)
    plain = len(b.shape) >= 2 and b.shape.volume() == b.shape[-1] * b.shape[-2] and not transpose_a and len(a.shape) >= 2 and len(b.shape) <= len(a.shape)
    plain = plain and a.shape.volume() > 0 and b.shape.volume() > 0
    precision = _D.float32 if float32 in (a._dtype, b._dtype) else _D.bfloat16
    # The bias is in the key itself, not its id(): so it lives as long as what was packed with it.
    key = (transpose_b, precision, None if bias is None else bias._parts)
    word = "" if fused is None else fused
    after = _D.float32 if fused is None else kept

    def one(x, y, z=None):
        z = None if z is None else z.reshape([z.shape[-1]])
        ready = _packed(b, y, key, transpose_b, z, precision) if plain else None
        if ready is not None:
            return _tessera.linear(x, ready, word, after)
        return _tessera.matmul(x, y, transpose_a, transpose_b, z, word, after)

    parts = each(one, a, b) if bias is None else each(one, a, b, bias)
    if fused is None:
        parts = apply_activations(name, parts, [activation])
        parts = tuple(p if p.dtype == kept else _tessera.typecast(p, kept) for p in parts)
    return finish(name, parts, new, a._layout, memory_config, device, output)


@operation("ttnn.matmul", golden=golden.matmul, page="matmul", deviation="Program configs, core grids and fidelity are recorded: sums are float32.")
def matmul(
    input_tensor_a,
    input_tensor_b,
    *,
    transpose_a=False,
    transpose_b=False,
    memory_config=None,
    dtype=None,
    program_config=None,
    activation=None,
    compute_kernel_config=None,
    core_grid=None,
    output_tile=None,
    optional_output_tensor=None,
    global_cb=None,
    sub_device_id=None,
):
    """a @ b in tile layout: [..., m, k] times [..., k, n], leading sizes as torch.matmul has them. The result has a's dtype."""
    return _matmul(
        "ttnn.matmul",
        input_tensor_a,
        input_tensor_b,
        None,
        transpose_a,
        transpose_b,
        memory_config,
        dtype,
        program_config,
        activation,
        compute_kernel_config,
        core_grid,
        optional_output_tensor,
    )


@operation("ttnn.linear", golden=golden.linear, page="matmul", deviation="Program configs, core grids and fidelity are recorded: sums are float32.")
def linear(
    input_tensor_a,
    input_tensor_b,
    *,
    bias=None,
    transpose_a=False,
    transpose_b=False,
    memory_config=None,
    dtype=None,
    program_config=None,
    activation=None,
    compute_kernel_config=None,
    core_grid=None,
    output_tile=None,
    optional_output_tensor=None,
    global_cb=None,
    sub_device_id=None,
):
    """act(a @ b + bias): the weight b is [k, n] or [1, 1, k, n], the bias [n], [1, n] or [1, 1, 1, n]."""
    return _matmul(
        "ttnn.linear",
        input_tensor_a,
        input_tensor_b,
        bias,
        transpose_a,
        transpose_b,
        memory_config,
        dtype,
        program_config,
        activation,
        compute_kernel_config,
        core_grid,
        optional_output_tensor,
    )


@operation("ttnn.embedding", golden=golden.embedding, page="embedding")
def embedding(
    input_tensor, weight, *, padding_idx=None, layout=None, embeddings_type=None, dtype=None, output_tensor=None, memory_config=None, compute_kernel_config=None, queue_id=0
):
    """Rows of the weight by index: [..., s] gives [..., s, width]. RuntimeError on an index outside the table."""
    from tessera.ttnn.enums import BLOCK_FLOATS, EmbeddingsType, Layout

    name = "ttnn.embedding"
    device = check_on_device(name, input_tensor, weight)
    check_kind(name, "embeddings_type", embeddings_type, EmbeddingsType)
    check_kind(name, "layout", layout, Layout)
    if weight._dtype not in FLOATS or len(weight.shape) < 2 or weight.shape.volume() != weight.shape[-1] * weight.shape[-2]:
        raise RuntimeError(f"[{name}] expected a weight of [rows, width] floats, got {weight._dtype} {list(weight.shape)}")
    new = dtype or weight._dtype
    record(device, name, input_tensor._spec(), weight._spec(), new, layout)
    layout = layout or (Layout.TILE if new in BLOCK_FLOATS else Layout.ROW_MAJOR)
    rows = [weight.shape[-2], weight.shape[-1]]
    shape = [*input_tensor.shape, rows[1]]
    kept = COMPUTED[new] if new in FLOATS else STORED[new]
    parts = each(lambda i, w: _tessera.embedding(i, w.reshape(rows), kept).reshape(shape), input_tensor, weight)
    return finish(name, parts, new, layout, memory_config, device, output_tensor)


__all__ = ["embedding", "linear", "matmul"]
