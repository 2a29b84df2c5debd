"""CLIP's text embedding: a row of the token table for each token, plus a row for its position."""

import numpy as np
from common import Weights, device, report, wanted_dtype

import tessera.ttnn as ttnn

VOCABULARY, POSITIONS, WIDTH, BATCH = 49408, 77, 512, 2


def embed(tokens, positions, w):
    x = ttnn.embedding(tokens, w["token"], layout=ttnn.TILE_LAYOUT, memory_config=ttnn.L1_MEMORY_CONFIG)
    return ttnn.add(x, ttnn.embedding(positions, w["position"], layout=ttnn.TILE_LAYOUT))


def main():
    dtype = wanted_dtype()
    with device() as d:
        w = Weights(d, dtype)
        w.normal("token", VOCABULARY, WIDTH, scale=0.02), w.normal("position", POSITIONS, WIDTH, scale=0.01)
        ids = w.rng.integers(0, VOCABULARY, (BATCH, POSITIONS))
        tokens = ttnn.from_torch(ids, dtype=ttnn.uint32, device=d)
        positions = ttnn.reshape(ttnn.arange(0, POSITIONS, dtype=ttnn.uint32, device=d), (1, POSITIONS))
        report("CLIP text embedding", lambda: embed(tokens, positions, w), w.arrays["token"][ids] + w.arrays["position"][None], dtype)


if __name__ == "__main__":
    main()
