"""The selective scan of a Mamba block: h[t] = exp(delta[t] A) h[t - 1] + delta[t] B[t] x[t], y[t] = h[t] C[t] + D x[t], gated by silu(z)."""

import numpy as np
from common import Weights, device, report, wanted_dtype

import tessera.ttnn as ttnn

LENGTH, INNER, STATE = 32, 512, 16


def scan(w):
    delta = ttnn.softplus(w["delta"])  # [1, 1, length, inner]
    a = ttnn.neg(ttnn.exp(w["log_a"]))  # [1, 1, state, inner]
    h = ttnn.zeros((1, 1, STATE, INNER), dtype=w.dtype, layout=ttnn.TILE_LAYOUT, device=w.device)
    rows = []
    for t in range(LENGTH):
        d, x = delta[:, :, t : t + 1], w["x"][:, :, t : t + 1]
        b, c = (ttnn.transpose(w[name][:, :, t : t + 1], 2, 3) for name in ("b", "c"))  # [1, 1, state, 1]
        h = ttnn.add(ttnn.mul(ttnn.exp(ttnn.mul(a, d)), h), ttnn.mul(b, ttnn.mul(d, x)))
        rows.append(ttnn.matmul(c, h, transpose_a=True))
    y = ttnn.add(ttnn.concat(rows, dim=2), ttnn.mul(w["x"], w["d"]))
    return ttnn.mul(y, w["z"], input_tensor_b_activations=[ttnn.UnaryOpType.SILU])


def reference(w):
    w = {name: array[0, 0] for name, array in w.items()}
    delta, a, h, rows = np.log1p(np.exp(w["delta"])), -np.exp(w["log_a"]), np.zeros((STATE, INNER)), []
    for t in range(LENGTH):
        h = np.exp(a * delta[t]) * h + w["b"][t][:, None] * delta[t] * w["x"][t]
        rows.append(w["c"][t] @ h)
    return ((np.stack(rows) + w["x"] * w["d"]) * (w["z"] / (1 + np.exp(-w["z"]))))[None, None]


def main():
    dtype = wanted_dtype()
    with device() as d:
        w = Weights(d, dtype)
        for name, shape in (("x", (LENGTH, INNER)), ("z", (LENGTH, INNER)), ("delta", (LENGTH, INNER)), ("b", (LENGTH, STATE)), ("c", (LENGTH, STATE)), ("d", (1, INNER))):
            w.normal(name, 1, 1, *shape, scale=1.0)
        w.take("log_a", np.tile(np.log(np.arange(1.0, STATE + 1))[:, None], (1, INNER))[None, None])
        report("Mamba scan", lambda: scan(w), reference(w.arrays), dtype)


if __name__ == "__main__":
    main()
