"""ttnn.experimental: heads and rotary embedding as models of the field call them."""

from __future__ import annotations

from tessera import _tessera
from tessera.ttnn import golden
from tessera.ttnn.enums import FLOATS, TILE_SIZE, round_up
from tessera.ttnn.movement import slice_write, view  # noqa: F401
from tessera.ttnn.registry import check_on_device, check_tile, each, finish, operation, record
from tessera.ttnn.transformer import join_heads, split_heads


@operation("ttnn.experimental.nlp_create_qkv_heads", golden=golden.nlp_create_qkv_heads, page="reorder")
def nlp_create_qkv_heads(
    input, input_kv=None, *, num_heads, num_kv_heads=None, transpose_k_heads=True, kv_tied=False, memory_config=None, output_tensors=None, head_split=False
):
    """[b, 1, s, (heads + 2 kv heads) d] to q [b, heads, s, d], k [b, kv heads, d, s] (transposed unless transpose_k_heads=False), v [b, kv heads, s, d]."""
    name = "ttnn.experimental.nlp_create_qkv_heads"
    if kv_tied or head_split:
        raise RuntimeError(f"[{name}] expected kv_tied=False and head_split=False, got True: these layouts are not read here")
    made = split_heads(name, input, input_kv, num_heads, num_heads if num_kv_heads is None else num_kv_heads, transpose_k_heads, memory_config)
    if output_tensors is None:
        return made
    from tessera.ttnn.registry import write

    return tuple(write(name, m, o) for m, o in zip(made, output_tensors, strict=True))


@operation("ttnn.experimental.nlp_create_qkv_heads_falcon7b", golden=golden.nlp_create_qkv_heads_falcon7b, page="reorder")
def nlp_create_qkv_heads_falcon7b(input, *, memory_config=None):
    """[b, 1, s, 73 * 64] to 71 query heads, one key head (not transposed) and one value head of 64."""
    return split_heads("ttnn.experimental.nlp_create_qkv_heads_falcon7b", input, None, 71, 1, False, memory_config)


@operation("ttnn.experimental.nlp_concat_heads", golden=golden.nlp_concat_heads, page="reorder")
def nlp_concat_heads(input, *, memory_config=None):
    """[b, heads, s, d] to [b, 1, s, heads d]."""
    return join_heads("ttnn.experimental.nlp_concat_heads", input, [1], memory_config)


@operation(
    "ttnn.experimental.rotary_embedding",
    golden=golden.rotary_embedding,
    page="rotary",
    deviation="Rows of the padding to 32 that the result has, as on a device, are zeros.",
)
def rotary_embedding(input, cos_cache, sin_cache, token_index=None, *, memory_config=None, compute_kernel_config=None):
    """x cos + rotate_half(x) sin, x [..., s, d], caches [1, 1, length, d] with both halves filled. The result's s is rounded up to 32: slice it.
    token_index: all rows take that row of the caches."""
    name = "ttnn.experimental.rotary_embedding"
    device = check_on_device(name, input, cos_cache, sin_cache)
    check_tile(name, input, cos_cache, sin_cache)
    for t in (input, cos_cache, sin_cache):
        if t._dtype not in FLOATS:
            raise RuntimeError(f"[{name}] expected tensors of a float dtype, got {t._dtype}")
    if len(input.shape) < 2 or input.shape[-1] % 2:
        raise RuntimeError(f"[{name}] expected [..., s, d] with an even d, got {list(input.shape)}")
    if len(cos_cache.shape) < 2 or cos_cache.shape != sin_cache.shape or cos_cache.shape.volume() != cos_cache.shape[-1] * cos_cache.shape[-2]:
        raise RuntimeError(f"[{name}] expected caches of one shape [1, 1, length, d], got {list(cos_cache.shape)} and {list(sin_cache.shape)}")
    if cos_cache.shape[-1] != input.shape[-1]:
        raise RuntimeError(f"[{name}] expected caches of width {input.shape[-1]}, got {cos_cache.shape[-1]}")
    length, s = cos_cache.shape[-2], input.shape[-2]
    if token_index is None and length < s:
        raise RuntimeError(f"[{name}] expected caches of {s} rows or more, got {length}")
    if token_index is not None and not 0 <= token_index < length:
        raise RuntimeError(f"[{name}] token_index: expected a row of 0 to {length - 1}, got {token_index}")
    record(device, name, input._spec(), cos_cache._spec(), token_index is None)
    table = [length, cos_cache.shape[-1]]
    extra = round_up(s, TILE_SIZE) - s
    zeros = [0] * len(input.shape)
    after = [*zeros[:-2], extra, 0]

    def one(x, cos, sin):
        y = _tessera.rotary_embedding(x, cos.reshape(table), sin.reshape(table), token_index)
        return _tessera.pad(y, zeros, after, 0.0, False) if extra else y

    return finish(name, each(one, input, cos_cache, sin_cache), input._dtype, input._layout, memory_config, device)
