"""ViT's patch embedding by fold: NHWC pictures, patches of 14 x 14 pixels into channels in the order (row, column, channel), and one product."""

import numpy as np
from common import Weights, device, report, wanted_dtype

import tessera.ttnn as ttnn

SIZE, PATCH, CHANNELS, WIDTH = 224, 14, 3, 1152
K = PATCH * PATCH * CHANNELS  # 588, which tiles round up to 608
PADDED = -(-K // 32) * 32


def embed(x, w):
    n = x.shape[0]
    # Rows of a patch's pixels side by side first; a fold of 14 x 1 then stacks them.
    x = ttnn.reshape(x, (n, SIZE, SIZE // PATCH, PATCH * CHANNELS))
    x = ttnn.fold(x, PATCH, 1)
    x = ttnn.reshape(x, (n, (SIZE // PATCH) ** 2, K))
    x = ttnn.to_layout(ttnn.pad(x, [(0, 0), (0, 0), (0, PADDED - K)], 0.0), ttnn.TILE_LAYOUT)
    return ttnn.linear(x, w["weight"], bias=w["bias"])


def main():
    dtype = wanted_dtype()
    with device() as d:
        w = Weights(d, dtype)
        oihw = w.rng.standard_normal((WIDTH, CHANNELS, PATCH, PATCH)) * K**-0.5
        matrix = np.zeros((PADDED, WIDTH))
        matrix[:K] = oihw.transpose(2, 3, 1, 0).reshape(K, WIDTH)
        w.take("weight", matrix), w.normal("bias", WIDTH, scale=0.1)
        x = w.take("x", w.rng.standard_normal((2, SIZE, SIZE, CHANNELS)), layout=ttnn.ROW_MAJOR_LAYOUT)
        p = SIZE // PATCH
        patches = w.arrays["x"].reshape(2, p, PATCH, p, PATCH, CHANNELS).transpose(0, 1, 3, 2, 4, 5).reshape(2, p * p, K)
        report("ViT patch embedding", lambda: embed(x, w), patches @ w.arrays["weight"][:K] + w.arrays["bias"], dtype)


if __name__ == "__main__":
    main()
