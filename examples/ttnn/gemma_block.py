"""A block of Gemma: RMS norm, rotary embedding, grouped-query attention under a causal mask, gated GELU."""

import numpy as np
from common import Weights, device, report, wanted_dtype

import tessera.ttnn as ttnn

TOKENS, WIDTH, HEADS, KV_HEADS, HEAD_DIM, MLP = 77, 1024, 8, 1, 256, 4096
EPS = 1e-6


def rotary_caches(positions):
    angles = np.arange(positions)[:, None] / 10000.0 ** (np.arange(HEAD_DIM // 2) * 2 / HEAD_DIM)
    return [np.concatenate([f(angles)] * 2, axis=-1)[None, None] for f in (np.cos, np.sin)]


def attention(x, w):
    qkv = ttnn.linear(x, w["qkv"])
    q, k, v = ttnn.experimental.nlp_create_qkv_heads(qkv, num_heads=HEADS, num_kv_heads=KV_HEADS, transpose_k_heads=False)
    # The op rounds the sequence up to 32; what is beyond the tokens is cut off.
    q = ttnn.experimental.rotary_embedding(q, w["cos"], w["sin"])[:, :, :TOKENS]
    k = ttnn.experimental.rotary_embedding(k, w["cos"], w["sin"])[:, :, :TOKENS]
    a = ttnn.transformer.scaled_dot_product_attention(q, k, v, is_causal=True)
    return ttnn.linear(ttnn.experimental.nlp_concat_heads(a), w["out"])


def block(x, w):
    # Gemma multiplies by 1 + weight: the weights were prepared so.
    x = ttnn.add(x, attention(ttnn.rms_norm(x, epsilon=EPS, weight=w["norm1"]), w))
    h = ttnn.rms_norm(x, epsilon=EPS, weight=w["norm2"])
    gate = ttnn.linear(h, w["gate"], activation="gelu_approx")
    return ttnn.add(x, ttnn.linear(ttnn.mul(gate, ttnn.linear(h, w["up"])), w["down"]))


def reference(x, w):
    def norm(t, n):
        return t / np.sqrt((t * t).mean(-1, keepdims=True) + EPS) * w[n]

    def rotate(t):
        half = np.concatenate([-t[..., HEAD_DIM // 2 :], t[..., : HEAD_DIM // 2]], axis=-1)
        return t * w["cos"][0, 0] + half * w["sin"][0, 0]

    qkv = (norm(x, "norm1") @ w["qkv"])[0, 0].reshape(TOKENS, HEADS + 2 * KV_HEADS, HEAD_DIM).transpose(1, 0, 2)
    q, k, v = rotate(qkv[:HEADS]), rotate(qkv[HEADS : HEADS + KV_HEADS]), qkv[HEADS + KV_HEADS :]
    s = q @ k.transpose(0, 2, 1) / np.sqrt(HEAD_DIM) + np.triu(np.full((TOKENS, TOKENS), -np.inf), 1)
    p = np.exp(s - s.max(-1, keepdims=True))
    a = (p / p.sum(-1, keepdims=True) @ v).transpose(1, 0, 2).reshape(1, 1, TOKENS, HEADS * HEAD_DIM)
    x = x + a @ w["out"]
    h = norm(x, "norm2")
    g = h @ w["gate"]
    g = 0.5 * g * (1 + np.tanh(np.sqrt(2 / np.pi) * (g + 0.044715 * g**3)))
    return x + (g * (h @ w["up"])) @ w["down"]


def main():
    dtype = wanted_dtype()
    with device() as d:
        w = Weights(d, dtype)
        for name in ("norm1", "norm2"):
            w.normal(name, WIDTH, scale=0.1, offset=1.0)
        for name, n_in, n_out in (("qkv", WIDTH, (HEADS + 2 * KV_HEADS) * HEAD_DIM), ("out", HEADS * HEAD_DIM, WIDTH), ("gate", WIDTH, MLP), ("up", WIDTH, MLP), ("down", MLP, WIDTH)):
            w.normal(name, n_in, n_out)
        for name, cache in zip(("cos", "sin"), rotary_caches(TOKENS)):
            w.take(name, cache)
        x = w.normal("x", 1, 1, TOKENS, WIDTH, scale=1.0)
        report("Gemma block", lambda: block(x, w), reference(w.arrays["x"], w.arrays), dtype)


if __name__ == "__main__":
    main()
