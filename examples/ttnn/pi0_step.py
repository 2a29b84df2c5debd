"""The suffix of π0 and one denoise step: state, noisy actions and time become 51 tokens, 18 layers of the action expert look at the cached keys and
values of the prefix and at each other, and their last 50 rows are the velocity.

    python pi0_step.py [bfloat16|float32] [--full]        --full: the sizes of π0; PyTorch in bfloat16 runs the same step, where it is installed
"""

import sys
import time

import numpy as np
from common import Weights, device, report, wanted_dtype

import tessera.ttnn as ttnn

FULL = "--full" in sys.argv
LAYERS, WIDTH, MLP, HEADS, HEAD_DIM, PREFIX = (18, 1024, 4096, 8, 256, 560) if FULL else (3, 256, 512, 4, 64, 70)
CHUNK, ACTION_DIM = 50, 32
ROWS = CHUNK + 1
EPS = 1e-6


def time_embedding(t):
    periods = 4e-3 * (4.0 / 4e-3) ** np.linspace(0.0, 1.0, WIDTH // 2)
    angles = t * 2 * np.pi / periods
    return np.concatenate([np.sin(angles), np.cos(angles)])[None, None, None]


def rotary_caches():
    angles = (PREFIX + np.arange(ROWS))[:, None] / 10000.0 ** (np.arange(HEAD_DIM // 2) * 2 / HEAD_DIM)
    return [np.concatenate([f(angles)] * 2, axis=-1)[None, None] for f in (np.cos, np.sin)]


def suffix_mask():
    """Every row sees the prefix; the state does not see the actions."""
    mask = np.zeros((1, 1, ROWS, PREFIX + ROWS))
    mask[..., 0, PREFIX + 1 :] = -1e9
    return mask


def suffix(state, actions, w):
    s = ttnn.linear(state, w["state.weight"], bias=w["state.bias"])
    a = ttnn.linear(actions, w["action_in.weight"], bias=w["action_in.bias"])
    t = ttnn.repeat(w["time"], (1, 1, CHUNK, 1))
    h = ttnn.linear(ttnn.concat([a, t], dim=-1), w["time_in.weight"], bias=w["time_in.bias"], activation="silu")
    h = ttnn.linear(h, w["time_out.weight"], bias=w["time_out.bias"])
    return ttnn.concat([s, h], dim=2)


def layer(x, w, i):
    h = ttnn.rms_norm(x, epsilon=EPS, weight=w[f"{i}.norm1"])
    q, k, v = ttnn.experimental.nlp_create_qkv_heads(ttnn.linear(h, w[f"{i}.qkv"]), num_heads=HEADS, num_kv_heads=1, transpose_k_heads=False)
    q = ttnn.slice(ttnn.experimental.rotary_embedding(q, w["cos"], w["sin"]), [0, 0, 0, 0], [1, HEADS, ROWS, HEAD_DIM])
    k = ttnn.slice(ttnn.experimental.rotary_embedding(k, w["cos"], w["sin"]), [0, 0, 0, 0], [1, 1, ROWS, HEAD_DIM])
    k, v = ttnn.concat([w[f"{i}.k"], k], dim=2), ttnn.concat([w[f"{i}.v"], v], dim=2)
    a = ttnn.transformer.scaled_dot_product_attention(q, k, v, attn_mask=w["mask"], is_causal=False)
    x = ttnn.add(x, ttnn.linear(ttnn.experimental.nlp_concat_heads(a), w[f"{i}.out"]))
    h = ttnn.rms_norm(x, epsilon=EPS, weight=w[f"{i}.norm2"])
    h = ttnn.mul(ttnn.linear(h, w[f"{i}.gate"], activation="gelu_approx"), ttnn.linear(h, w[f"{i}.up"]))
    return ttnn.add(x, ttnn.linear(h, w[f"{i}.down"]))


def step(w):
    x = suffix(w["state"], w["actions"], w)
    for i in range(LAYERS):
        x = layer(x, w, i)
    x = ttnn.rms_norm(x, epsilon=EPS, weight=w["norm"])
    velocity = ttnn.linear(x[:, :, 1:], w["action_out.weight"], bias=w["action_out.bias"])
    return ttnn.add(w["actions"], ttnn.mul(velocity, -0.1))  # one Euler step of ten


class Numbers:
    """The operations that the reference needs, in NumPy's doubles."""

    concat = staticmethod(lambda parts, axis: np.concatenate(parts, axis=axis))
    sigmoid = staticmethod(lambda x: 1 / (1 + np.exp(-x)))
    gelu = staticmethod(lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))))
    rsqrt_mean = staticmethod(lambda x: 1 / np.sqrt((x * x).mean(-1, keepdims=True) + EPS))

    @staticmethod
    def attend(q, k, v, mask):
        s = q @ np.swapaxes(k, -1, -2) / np.sqrt(HEAD_DIM) + mask
        p = np.exp(s - s.max(-1, keepdims=True))
        return p / p.sum(-1, keepdims=True) @ v


def torch_numbers(torch):
    """The same in PyTorch, as a model of it would be written."""
    functional = torch.nn.functional

    def attention(q, k, v, mask):
        k, v = k.expand(-1, HEADS, -1, -1), v.expand(-1, HEADS, -1, -1)
        if hasattr(functional, "scaled_dot_product_attention"):
            return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return torch.softmax(q @ k.transpose(-1, -2) / HEAD_DIM**0.5 + mask, -1) @ v  # before torch 2

    class Torch:
        concat = staticmethod(lambda parts, axis: torch.cat(parts, dim=axis))
        sigmoid = staticmethod(torch.sigmoid)
        gelu = staticmethod(lambda x: functional.gelu(x, approximate="tanh"))
        rsqrt_mean = staticmethod(lambda x: torch.rsqrt((x.float() ** 2).mean(-1, keepdim=True) + EPS).to(x.dtype))
        attend = staticmethod(attention)

    return Torch


def reference(w, f):
    def norm(x, name):
        return x * f.rsqrt_mean(x) * w[name]

    def affine(x, name):
        return x @ w[f"{name}.weight"] + w[f"{name}.bias"]

    def rotate(t):
        half = f.concat([-t[..., HEAD_DIM // 2 :], t[..., : HEAD_DIM // 2]], -1)
        return t * w["cos"] + half * w["sin"]

    def heads(t):
        return t.reshape(1, ROWS, -1, HEAD_DIM).swapaxes(1, 2)

    h = f.concat([affine(w["actions"], "action_in"), f.concat([w["time"]] * CHUNK, 2)], -1)
    h = affine(h, "time_in")
    x = f.concat([affine(w["state"], "state"), affine(h * f.sigmoid(h), "time_out")], 2)
    for i in range(LAYERS):
        qkv = heads(norm(x, f"{i}.norm1") @ w[f"{i}.qkv"])
        k = f.concat([w[f"{i}.k"], rotate(qkv[:, HEADS : HEADS + 1])], 2)
        v = f.concat([w[f"{i}.v"], qkv[:, HEADS + 1 :]], 2)
        a = f.attend(rotate(qkv[:, :HEADS]), k, v, w["mask"])
        x = x + a.swapaxes(1, 2).reshape(1, 1, ROWS, HEADS * HEAD_DIM) @ w[f"{i}.out"]
        h = norm(x, f"{i}.norm2")
        x = x + (f.gelu(h @ w[f"{i}.gate"]) * (h @ w[f"{i}.up"])) @ w[f"{i}.down"]
    return w["actions"] - 0.1 * affine(norm(x, "norm")[:, :, 1:], "action_out")


def make(d, dtype):
    w = Weights(d, dtype)
    w.normal("state", 1, 1, 1, ACTION_DIM, scale=1.0), w.normal("actions", 1, 1, CHUNK, ACTION_DIM, scale=1.0)
    w.take("time", time_embedding(0.7)), w.take("mask", suffix_mask())
    for name, cache in zip(("cos", "sin"), rotary_caches()):
        w.take(name, cache)
    for name, n_in, n_out in (("state", ACTION_DIM, WIDTH), ("action_in", ACTION_DIM, WIDTH), ("time_in", 2 * WIDTH, WIDTH), ("time_out", WIDTH, WIDTH), ("action_out", WIDTH, ACTION_DIM)):
        w.normal(f"{name}.weight", n_in, n_out), w.normal(f"{name}.bias", n_out, scale=0.1)
    for i in range(LAYERS):
        for name, n_in, n_out in (("qkv", WIDTH, (HEADS + 2) * HEAD_DIM), ("out", HEADS * HEAD_DIM, WIDTH), ("gate", WIDTH, MLP), ("up", WIDTH, MLP), ("down", MLP, WIDTH)):
            w.normal(f"{i}.{name}", n_in, n_out)
        for name in ("norm1", "norm2"):
            w.normal(f"{i}.{name}", WIDTH, scale=0.1, offset=1.0)
        w.normal(f"{i}.k", 1, 1, PREFIX, HEAD_DIM, scale=1.0), w.normal(f"{i}.v", 1, 1, PREFIX, HEAD_DIM, scale=1.0)
    w.normal("norm", WIDTH, scale=0.1, offset=1.0)
    return w


def least_time(run, times=5, patience=10.0):
    """The least time of `times` runs, and how many there were: after the first, none begins once `patience` seconds have passed (PyTorch's bfloat16
    takes a minute on processors that it has no kernels for)."""
    taken, begin = [], time.perf_counter()
    while len(taken) < times and (not taken or time.perf_counter() - begin < patience):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return min(taken), len(taken)


def main():
    dtype = wanted_dtype()
    with device() as d:
        w = make(d, dtype)
        report("π0 denoise step", lambda: step(w), reference(w.arrays, Numbers), dtype)
        if not FULL:
            return
        try:
            import torch
        except ImportError:
            print("PyTorch is not installed here: nothing to compare the time with")
            return
        ours, our_runs = least_time(lambda: step(w))
        tensors = {name: torch.from_numpy(a.astype(np.float32)).to(torch.bfloat16 if dtype is ttnn.bfloat16 else torch.float32) for name, a in w.arrays.items()}
        with torch.inference_mode():
            theirs, their_runs = least_time(lambda: reference(tensors, torch_numbers(torch)))
        print(f"one denoise step: Tessera {1e3 * ours:.1f} ms (best of {our_runs}), PyTorch {torch.__version__} {1e3 * theirs:.1f} ms (best of {their_runs}), ratio {theirs / ours:.2f}")


if __name__ == "__main__":
    main()
