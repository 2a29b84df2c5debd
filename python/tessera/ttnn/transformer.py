"""ttnn.transformer: attention and the heads that go in and out of it."""

from __future__ import annotations

from tessera import _tessera
from tessera.ttnn import golden
from tessera.ttnn.configs import DeviceComputeKernelConfig, SDPAProgramConfig
from tessera.ttnn.enums import FLOATS
from tessera.ttnn.normalization import _softmax
from tessera.ttnn.registry import check_kind, check_on_device, check_tile, each, finish, operation, record


@operation(
    "ttnn.transformer.scaled_dot_product_attention",
    golden=golden.scaled_dot_product_attention,
    page="sdpa",
    deviation="Exact softmax; program and compute kernel configs are recorded.",
)
def scaled_dot_product_attention(
    input_tensor_q,
    input_tensor_k,
    input_tensor_v,
    *,
    attn_mask=None,
    is_causal=True,
    scale=None,
    sliding_window_size=None,
    memory_config=None,
    program_config=None,
    compute_kernel_config=None,
    attention_sink=None,
    queue_id=0,
):
    """softmax(scale q k^T + mask) v: q [b, heads, s, d], k and v [b, kv heads, t, d]. Causal unless is_causal=False; scale 1/sqrt(d) unless given."""
    name = "ttnn.transformer.scaled_dot_product_attention"
    q, k, v = input_tensor_q, input_tensor_k, input_tensor_v
    device = check_on_device(name, q, k, v, optional=(attn_mask, attention_sink))
    check_tile(name, q, k, v)
    check_kind(name, "program_config", program_config, SDPAProgramConfig)
    check_kind(name, "compute_kernel_config", compute_kernel_config, DeviceComputeKernelConfig)
    for t in (q, k, v):
        if t._dtype not in FLOATS:
            raise RuntimeError(f"[{name}] expected tensors of a float dtype, got {t._dtype}")
        if len(t.shape) != 4:
            raise RuntimeError(f"[{name}] expected tensors of four dimensions, got {list(t.shape)}")
    if is_causal and attn_mask is not None:
        raise RuntimeError(f"[{name}] expected a mask or is_causal=True, got both: is_causal and attn_mask cannot be used together")
    if is_causal and q.shape[2] != k.shape[2]:
        raise RuntimeError(f"[{name}] expected as many queries as keys with is_causal=True, got {q.shape[2]} and {k.shape[2]}")
    record(device, name, q._spec(), k._spec(), v._spec(), None if attn_mask is None else attn_mask._spec(), is_causal, scale, sliding_window_size)
    extra = [t for t in (attn_mask, attention_sink) if t is not None]

    def one(pq, pk, pv, *rest):
        rest = iter(rest)
        mask = None if attn_mask is None else next(rest)
        sink = None if attention_sink is None else next(rest)
        return _tessera.sdpa(pq, pk, pv, bool(is_causal), scale, mask, sliding_window_size, sink)

    return finish(name, each(one, q, k, v, *extra), q._dtype, q._layout, memory_config, device)


@operation("ttnn.transformer.concatenate_heads", golden=golden.concatenate_heads, page="reorder")
def concatenate_heads(input_tensor, *, memory_config=None):
    """[b, heads, s, d] to [b, s, heads d]."""
    return join_heads("ttnn.transformer.concatenate_heads", input_tensor, [], memory_config)


def join_heads(name, tensor, ones, memory_config):
    """[b, heads, s, d] to [b, *ones, s, heads d]."""
    device = check_on_device(name, tensor)
    if len(tensor.shape) != 4:
        raise RuntimeError(f"[{name}] expected a tensor of four dimensions, got {list(tensor.shape)}")
    b, h, s, d = tensor.shape
    record(device, name, tensor._spec())
    parts = each(lambda p: _tessera.permute(p, [0, 2, 1, 3]).reshape([b, *ones, s, h * d]), tensor)
    return finish(name, parts, tensor._dtype, tensor._layout, memory_config, device)


def split_heads(name, tensor, kv, heads, kv_heads, transpose_k, memory_config):
    """q, k and v of a tensor [b, s, (heads + 2 kv heads) d], or of two tensors [b, s, heads d] and [b, s, 2 kv heads d]."""
    device = check_on_device(name, tensor, optional=(kv,))
    for what, n in (("num_heads", heads), ("num_kv_heads", kv_heads)):
        if isinstance(n, bool) or not hasattr(n, "__index__"):
            raise TypeError(f"{name}(): incompatible function arguments. {what}: expected a number, got {n!r}")
        if n < 1:
            raise RuntimeError(f"[{name}] {what}: expected 1 or more, got {n}")
    for t in (tensor, kv):
        if t is not None and len(t.shape) not in (3, 4):
            raise RuntimeError(f"[{name}] expected tensors of three or four dimensions, got {list(t.shape)}")
    if kv is not None and (kv.shape[0], kv.shape[-2]) != (tensor.shape[0], tensor.shape[-2]):
        raise RuntimeError(f"[{name}] expected keys and values of the queries' batch and length, got {list(tensor.shape)} and {list(kv.shape)}")
    groups = heads if kv is not None else heads + 2 * kv_heads
    if tensor.shape[-1] % groups:
        raise RuntimeError(f"[{name}] expected a width that {groups} heads share, got {tensor.shape[-1]}")
    d = tensor.shape[-1] // groups
    if kv is not None and kv.shape[-1] != 2 * kv_heads * d:
        raise RuntimeError(f"[{name}] expected keys and values of width {2 * kv_heads * d}, got {kv.shape[-1]}")
    record(device, name, tensor._spec(), None if kv is None else kv._spec(), heads, kv_heads, transpose_k)
    b, s = tensor.shape[0], tensor.shape[-2]
    if tensor.shape.volume() != b * s * tensor.shape[-1]:
        raise RuntimeError(f"[{name}] expected [batch, 1, sequence, width], got {list(tensor.shape)}")

    def cut(p, start, count, transposed):
        shape = [p.shape[0], p.shape[-2], p.shape[-1]]
        p = _tessera.slice(p.reshape(shape), [0, 0, start * d], [shape[0], shape[1], (start + count) * d], [1, 1, 1])
        return _tessera.permute(p.reshape([shape[0], shape[1], count, d]), [0, 2, 3, 1] if transposed else [0, 2, 1, 3])

    source, first = (tensor, heads) if kv is None else (kv, 0)
    q = each(lambda p: cut(p, 0, heads, False), tensor)
    k = each(lambda p: cut(p, first, kv_heads, transpose_k), source)
    v = each(lambda p: cut(p, first + kv_heads, kv_heads, False), source)
    return tuple(finish(name, parts, tensor._dtype, tensor._layout, memory_config, device) for parts in (q, k, v))


@operation("ttnn.transformer.split_query_key_value_and_split_heads", golden=golden.split_query_key_value_and_split_heads, page="reorder")
def split_query_key_value_and_split_heads(input_tensor, kv_input_tensor=None, *, num_heads, num_kv_heads=None, transpose_key=True, memory_config=None):
    """[b, s, (heads + 2 kv heads) d] to q [b, heads, s, d], k [b, kv heads, d, s] (transposed unless transpose_key=False) and v [b, kv heads, s, d]."""
    name = "ttnn.transformer.split_query_key_value_and_split_heads"
    return split_heads(name, input_tensor, kv_input_tensor, num_heads, num_heads if num_kv_heads is None else num_kv_heads, transpose_key, memory_config)


@operation("ttnn.transformer.attention_softmax", golden=golden.attention_softmax, page="softmax")
def attention_softmax(input_tensor, *, head_size=None, attention_mask=None, program_config=None, causal_mask=False, memory_config=None, numeric_stable=True):
    """softmax(x / sqrt(head_size) + mask) along the last dimension."""
    name = "ttnn.transformer.attention_softmax"
    scale = 1.0 if head_size is None else 1.0 / float(head_size) ** 0.5
    return _softmax(name, input_tensor, -1, scale, attention_mask, memory_config)


@operation("ttnn.transformer.attention_softmax_", golden=golden.attention_softmax, page="softmax")
def attention_softmax_(input_tensor, *, head_size=None, attention_mask=None, program_config=None, causal_mask=False, numeric_stable=True):
    """attention_softmax() written over its input, which is returned."""
    name = "ttnn.transformer.attention_softmax_"
    scale = 1.0 if head_size is None else 1.0 / float(head_size) ** 0.5
    return _softmax(name, input_tensor, -1, scale, attention_mask, None, in_place=True)


