"""A block of SigLIP: layer norm, attention of all patches, layer norm, MLP with tanh GELU, and two residuals."""

import numpy as np
from common import Weights, device, report, wanted_dtype

import tessera.ttnn as ttnn

TOKENS, WIDTH, HEADS, MLP = 256, 1152, 16, 4304
EPS = 1e-6


def block(x, w):
    h = ttnn.layer_norm(x, epsilon=EPS, weight=w["norm1.weight"], bias=w["norm1.bias"])
    qkv = ttnn.linear(h, w["qkv.weight"], bias=w["qkv.bias"], memory_config=ttnn.L1_MEMORY_CONFIG)
    q, k, v = ttnn.experimental.nlp_create_qkv_heads(ttnn.unsqueeze_to_4D(qkv), num_heads=HEADS, num_kv_heads=HEADS, transpose_k_heads=False)
    ttnn.deallocate(qkv)
    a = ttnn.transformer.scaled_dot_product_attention(q, k, v, is_causal=False)
    a = ttnn.squeeze(ttnn.experimental.nlp_concat_heads(a), 0)
    x = ttnn.add(x, ttnn.linear(a, w["out.weight"], bias=w["out.bias"]))
    h = ttnn.layer_norm(x, epsilon=EPS, weight=w["norm2.weight"], bias=w["norm2.bias"])
    h = ttnn.linear(h, w["up.weight"], bias=w["up.bias"], activation="gelu_approx")
    return ttnn.add(x, ttnn.linear(h, w["down.weight"], bias=w["down.bias"]))


def reference(x, w):
    def norm(t, n):
        return (t - t.mean(-1, keepdims=True)) / np.sqrt(t.var(-1, keepdims=True) + EPS) * w[f"{n}.weight"] + w[f"{n}.bias"]

    qkv = norm(x, "norm1") @ w["qkv.weight"] + w["qkv.bias"]
    q, k, v = (t.reshape(TOKENS, HEADS, -1).transpose(1, 0, 2) for t in np.split(qkv[0], 3, axis=-1))
    s = q @ k.transpose(0, 2, 1) / np.sqrt(WIDTH // HEADS)
    p = np.exp(s - s.max(-1, keepdims=True))
    a = (p / p.sum(-1, keepdims=True) @ v).transpose(1, 0, 2).reshape(1, TOKENS, WIDTH)
    x = x + a @ w["out.weight"] + w["out.bias"]
    h = norm(x, "norm2") @ w["up.weight"] + w["up.bias"]
    h = 0.5 * h * (1 + np.tanh(np.sqrt(2 / np.pi) * (h + 0.044715 * h**3)))
    return x + h @ w["down.weight"] + w["down.bias"]


def main():
    dtype = wanted_dtype()
    with device() as d:
        w = Weights(d, dtype)
        for name in ("norm1", "norm2"):
            w.normal(f"{name}.weight", WIDTH, scale=0.1, offset=1.0), w.normal(f"{name}.bias", WIDTH, scale=0.1)
        for name, n_in, n_out in (("qkv", WIDTH, 3 * WIDTH), ("out", WIDTH, WIDTH), ("up", WIDTH, MLP), ("down", MLP, WIDTH)):
            w.normal(f"{name}.weight", n_in, n_out), w.normal(f"{name}.bias", n_out, scale=0.1)
        x = w.normal("x", 1, TOKENS, WIDTH, scale=1.0)
        report("SigLIP block", lambda: block(x, w), reference(w.arrays["x"], w.arrays), dtype)


if __name__ == "__main__":
    main()
