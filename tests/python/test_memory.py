"""Nothing leaks: nanobind's own check when the interpreter ends, and resident memory over many calls."""

import os
import subprocess
import sys

import numpy as np
import pytest

import tessera.ttnn as ttnn
from conftest import on

PROGRAM = """
import numpy as np
import tessera, tessera.ttnn as ttnn
d = ttnn.open_device(device_id=0)
x = ttnn.from_torch(np.ones((40, 40), np.float32), layout=ttnn.TILE_LAYOUT, device=d)
y = ttnn.matmul(ttnn.gelu(x) + 1, x)
array = ttnn.to_numpy(y)
view = np.from_dlpack(x)
try:
    ttnn.matmul(x, x[:3])
except RuntimeError as e:
    assert "width" in str(e)
assert (view == 1).all()
del x, y, view, d
print("done", array.sum() > 0)
"""


def test_nanobind_finds_no_leak():
    made = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert made.returncode == 0 and made.stdout == "done True\n", made.stderr
    assert "leak" not in made.stderr, made.stderr


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="this system does not say how much memory a process holds")
def test_memory_stays(device, rng):
    from test_policy import resident

    x = on(device, rng.standard_normal((64, 512)).astype(np.float32), ttnn.bfloat16)
    w = on(device, rng.standard_normal((512, 256)).astype(np.float32), ttnn.bfloat16)
    array = rng.standard_normal((64, 512)).astype(np.float32)

    def work():
        y = ttnn.linear(ttnn.softmax(ttnn.gelu(x) * 0.5 + x), w, activation="silu")
        z = ttnn.from_torch(array, dtype=ttnn.bfloat8_b, layout=ttnn.TILE_LAYOUT, device=device)
        ttnn.to_numpy(ttnn.concat([y, y], 1))
        ttnn.permute(z, (1, 0))
        with pytest.raises(RuntimeError):
            ttnn.matmul(y, y)

    for _ in range(100):
        work()
    before = resident()
    for _ in range(1000):
        work()
    # One leaked result of a thousand calls would be 32 MB.
    assert resident() - before < 4 << 20
