"""What the Python door costs: a call of an op on one tile, and moving tensors in and out against a plain copy of as many bytes.

    python benchmarks/ttnn_calls.py        needs the package (pip install .) and NumPy; about 10 s
"""

import timeit

import numpy as np

import tessera.ttnn as ttnn

SIDE = 4096


def least(run, times, count=1):
    """Seconds of one of `count` calls in a row, the least of so many rows."""
    return min(timeit.repeat(run, number=count, repeat=times)) / count


def calls(device):
    a, b = (ttnn.from_torch(np.ones((1, 1, 32, 32), np.float32), dtype=ttnn.bfloat16, layout=ttnn.TILE_LAYOUT, device=device) for _ in range(2))

    print(f"{'call on one tile, bfloat16':<36} {'µs':>6}")
    for name, run in (("ttnn.relu(a)", lambda: ttnn.relu(a)), ("ttnn.add(a, b)", lambda: ttnn.add(a, b)), ("ttnn.matmul(a, b)", lambda: ttnn.matmul(a, b))):
        print(f"{name:<36} {1e6 * least(run, 20, 1000):>6.2f}")


def moves(device):
    x = np.random.default_rng(0).standard_normal((1, 1, SIDE, SIDE), dtype=np.float32)
    there = np.empty_like(x)
    print(f"\n{f'{SIDE} x {SIDE} float32, read + written':<36} {'ms':>6} {'GB/s':>6}")

    def row(name, run, size):
        seconds = least(run, 9)
        print(f"{name:<36} {1e3 * seconds:>6.2f} {1e-9 * (x.nbytes + size) / seconds:>6.1f}")

    row("NumPy's copy into memory in use", lambda: np.copyto(there, x), x.nbytes)
    row("NumPy's copy into new memory", lambda: x.copy(), x.nbytes)
    for dtype, size in ((ttnn.float32, x.nbytes), (ttnn.bfloat16, x.nbytes // 2)):
        name = "float32" if dtype is ttnn.float32 else "bfloat16"
        for layout, tiles in ((ttnn.ROW_MAJOR_LAYOUT, "rows"), (ttnn.TILE_LAYOUT, "tiles")):
            row(f"from_torch, {name}, {tiles}", lambda d=dtype, o=layout: ttnn.from_torch(x, dtype=d, layout=o, device=device), size)
    on_device = ttnn.from_torch(x, dtype=ttnn.float32, layout=ttnn.TILE_LAYOUT, device=device)
    row("to_numpy, float32, tiles", lambda: on_device.to_numpy(), x.nbytes)


def main():
    device = ttnn.open_device(device_id=0)
    calls(device)
    moves(device)
    ttnn.close_device(device)


if __name__ == "__main__":
    main()
