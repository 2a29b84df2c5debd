"""Golden functions of products, norms, softmax and attention."""

from __future__ import annotations

import math

import numpy as np

from tessera.ttnn.golden.base import golden as _golden
from tessera.ttnn.golden.elementwise import activated


@_golden
def matmul(a, b, *, transpose_a=False, transpose_b=False, activation=None, **_):
    return activated(np.matmul(np.swapaxes(a, -1, -2) if transpose_a else a, np.swapaxes(b, -1, -2) if transpose_b else b), activation)


@_golden
def linear(a, b, *, bias=None, transpose_a=False, transpose_b=False, activation=None, **_):
    y = np.matmul(np.swapaxes(a, -1, -2) if transpose_a else a, np.swapaxes(b, -1, -2) if transpose_b else b)
    if bias is not None:
        y = y + (bias.reshape(-1) if bias.size == bias.shape[-1] else bias)
    return activated(y, activation)


@_golden
def embedding(ids, weight, **_):
    return weight.reshape(-1, weight.shape[-1])[ids.astype(np.int64)]


@_golden
def layer_norm(x, *, epsilon=1e-12, weight=None, bias=None, residual_input_tensor=None, **_):
    x = x if residual_input_tensor is None else x + residual_input_tensor
    y = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon)
    y = y if weight is None else y * weight.reshape(-1)
    return y if bias is None else y + bias.reshape(-1)


@_golden
def rms_norm(x, *, epsilon=1e-12, weight=None, bias=None, residual_input_tensor=None, **_):
    x = x if residual_input_tensor is None else x + residual_input_tensor
    y = x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon)
    y = y if weight is None else y * weight.reshape(-1)
    return y if bias is None else y + bias.reshape(-1)


def _softmax(x, dim=-1):
    e = np.exp(x - x.max(dim, keepdims=True))
    return e / e.sum(dim, keepdims=True)


@_golden
def softmax(x, dim=-1, **_):
    return _softmax(x, dim)


@_golden
def scale_mask_softmax(x, scale=None, mask=None, **_):
    x = x if scale is None else x * scale
    return _softmax(x if mask is None else x + mask)


@_golden
def attention_softmax(x, *, head_size=None, attention_mask=None, **_):
    x = x if head_size is None else x / math.sqrt(head_size)
    return _softmax(x if attention_mask is None else x + attention_mask)


@_golden
def scaled_dot_product_attention(q, k, v, *, attn_mask=None, is_causal=True, scale=None, sliding_window_size=None, attention_sink=None, **_):
    groups = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, groups, axis=1), np.repeat(v, groups, axis=1)
    scores = q @ np.swapaxes(k, -1, -2) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    i, j = np.arange(q.shape[2])[:, None], np.arange(k.shape[2])[None, :]
    if attn_mask is not None:
        scores = scores + attn_mask
    if is_causal:
        scores = np.where(j <= i, scores, -np.inf)
        if sliding_window_size:
            scores = np.where(i - j < sliding_window_size, scores, -np.inf)
    elif sliding_window_size:
        scores = np.where(np.abs(i - j) <= sliding_window_size // 2, scores, -np.inf)
    if attention_sink is None:
        return _softmax(scores) @ v
    sink = attention_sink.reshape(1, -1, 1, 1) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)  # scaled as the scores are
    sink = np.broadcast_to(sink, (*scores.shape[:3], 1))
    return _softmax(np.concatenate([scores, sink], axis=-1))[..., :-1] @ v


@_golden
def concatenate_heads(x, **_):
    b, h, s, d = x.shape
    return x.transpose(0, 2, 1, 3).reshape(b, s, h * d)


@_golden
def nlp_concat_heads(x, **_):
    b, h, s, d = x.shape
    return x.transpose(0, 2, 1, 3).reshape(b, 1, s, h * d)


def _split(x, kv, heads, kv_heads, transposed):
    b, s = x.shape[0], x.shape[-2]
    x = x.reshape(b, s, -1)
    if kv is not None:
        x = np.concatenate([x, kv.reshape(b, s, -1)], axis=-1)
    d = x.shape[-1] // (heads + 2 * kv_heads)
    x = x.reshape(b, s, heads + 2 * kv_heads, d).transpose(0, 2, 1, 3)
    q, k, v = x[:, :heads], x[:, heads : heads + kv_heads], x[:, heads + kv_heads :]
    return q, np.swapaxes(k, -1, -2) if transposed else k, v


@_golden
def split_query_key_value_and_split_heads(x, kv_input_tensor=None, *, num_heads, num_kv_heads=None, transpose_key=True, **_):
    return _split(x, kv_input_tensor, num_heads, num_kv_heads or num_heads, transpose_key)


@_golden
def nlp_create_qkv_heads(x, input_kv=None, *, num_heads, num_kv_heads=None, transpose_k_heads=True, **_):
    return _split(x, input_kv, num_heads, num_kv_heads or num_heads, transpose_k_heads)


@_golden
def nlp_create_qkv_heads_falcon7b(x, **_):
    return _split(x, None, 71, 1, False)


@_golden
def rotary_embedding(x, cos_cache, sin_cache, token_index=None, **_):
    s, d = x.shape[-2:]
    rows = np.arange(s) if token_index is None else np.full(s, token_index)
    cos, sin = cos_cache.reshape(-1, d)[rows], sin_cache.reshape(-1, d)[rows]
    half = np.concatenate([-x[..., d // 2 :], x[..., : d // 2]], axis=-1)
    return x * cos + half * sin
