"""What a program might do in good faith and a quick implementation would get wrong."""

import subprocess
import sys
import threading

import numpy as np
import pytest

import tessera.ttnn as ttnn
from conftest import assert_close, on


def test_memory_that_may_not_be_written_is_copied(tmp_path):
    np.arange(6, dtype=np.float32).tofile(tmp_path / "numbers")
    host = ttnn.from_torch(np.memmap(tmp_path / "numbers", np.float32, "r"))
    array = ttnn.to_numpy(host)
    array += 1  # a shared read-only page would end the process here
    assert array.tolist() == [1, 2, 3, 4, 5, 6]


def test_every_device_has_the_bias_that_it_was_given():
    mesh = ttnn.open_mesh_device(ttnn.MeshShape(1, 2))
    x, w = (ttnn.from_torch(a, device=mesh, layout=ttnn.TILE_LAYOUT) for a in (np.ones((1, 4), np.float32), np.eye(4, dtype=np.float32)))
    bias = ttnn.from_torch(np.array([[1.0] * 4, [2.0] * 4], np.float32), device=mesh, layout=ttnn.TILE_LAYOUT, mesh_mapper=ttnn.ShardTensorToMesh(mesh, 0))
    for _ in range(3):
        y = ttnn.to_numpy(ttnn.linear(x, w, bias=bias), mesh_composer=ttnn.ConcatMeshToTensor(mesh, 0))
        assert y.tolist() == [[2.0] * 4, [3.0] * 4]
    one = ttnn.get_device_tensors(x)[0]
    with pytest.raises(RuntimeError, match="as many devices"):
        one + x
    other = ttnn.from_torch(np.ones((2, 1, 1, 1), np.float32), device=mesh, mesh_mapper=ttnn.ShardTensorToMesh(mesh, 0))
    with pytest.raises(RuntimeError, match="one weight for all devices"):
        ttnn.conv2d(
            input_tensor=ttnn.from_torch(np.ones((1, 1, 4, 1), np.float32), device=mesh), weight_tensor=other, device=mesh, in_channels=1, out_channels=1,
            batch_size=1, input_height=2, input_width=2, kernel_size=(1, 1),
        )
    with pytest.raises(RuntimeError, match="mesh_mapper"):
        ttnn.from_torch(np.ones((2, 2), np.float32), device=ttnn.open_device(device_id=0), mesh_mapper=ttnn.ShardTensorToMesh(mesh, 0))


def test_options_that_change_numbers_are_not_passed_over(device):
    x = on(device, np.array([[7.0, -7.0]], np.float32))
    assert ttnn.div(x, 2.0, rounding_mode="floor").to_list() == [[3.0, -4.0]]
    assert ttnn.div(x, 2.0, rounding_mode="trunc").to_list() == [[3.0, -3.0]]
    with pytest.raises(RuntimeError, match="rounding_mode"):
        ttnn.div(x, 2.0, rounding_mode="up")
    y = np.arange(8, dtype=np.float32).reshape(2, 4)
    for op, f in ((ttnn.var, np.var), (ttnn.std, np.std)):
        assert_close(op(on(device, y), -1, correction=False), f(y.astype(np.float64), -1), length=4, scale=20)
        assert_close(op(on(device, y), -1), f(y.astype(np.float64), -1, ddof=1), length=4, scale=20)
    with pytest.raises(TypeError, match="padding_mode"):
        ttnn.conv2d(
            input_tensor=x, weight_tensor=x, device=device, in_channels=1, out_channels=1, batch_size=1, input_height=1, input_width=2, kernel_size=(1, 1),
            conv_config=ttnn.Conv2dConfig(padding_mode="replicate"),
        )
    assert ttnn.pad(on(device, np.array([[1]], np.int32), ttnn.int32), ((0, 0), (0, 1)), value=16777217).to_list() == [[1, 16777217]]
    with pytest.raises(RuntimeError, match="stride"):
        ttnn.max_pool2d(on(device, np.zeros((1, 1, 16, 4), np.float32)), 1, 4, 4, 4, [2, 2], [0, 0], [0, 0], [1, 1])


def test_prepared_weights_are_their_own_and_come_back(device, tmp_path, rng):
    w = rng.standard_normal((8, 4, 3, 3)).astype(np.float32)
    host = ttnn.from_torch(w)
    sizes = dict(in_channels=4, out_channels=8, batch_size=1, input_height=5, input_width=6, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), dilation=(1, 1), groups=1)
    prepared = ttnn.prepare_conv_weights(
        weight_tensor=host, input_memory_config=ttnn.DRAM_MEMORY_CONFIG, input_layout=ttnn.ROW_MAJOR_LAYOUT, has_bias=False, device=device, **sizes
    )
    x = on(device, rng.standard_normal((1, 1, 30, 4)).astype(np.float32), layout=ttnn.ROW_MAJOR_LAYOUT)
    wanted = ttnn.conv2d.golden_function(input_tensor=ttnn.to_numpy(x), weight_tensor=w.copy(), **sizes)
    w[:] = 0
    ttnn.dump_tensor(tmp_path / "w.tensorbin", prepared)
    for weight in (prepared, ttnn.to_device(ttnn.from_device(prepared), device), ttnn.load_tensor(tmp_path / "w.tensorbin", device=device)):
        for _ in range(2):
            assert_close(ttnn.conv2d(input_tensor=x, weight_tensor=weight, device=device, **sizes), wanted, length=36, scale=30)
    ttnn.matmul(on(device, np.zeros((1, 36), np.float32)), prepared)
    assert_close(ttnn.conv2d(input_tensor=x, weight_tensor=prepared, device=device, **sizes), wanted, length=36, scale=30)


def test_numbers_of_numpy_and_truth(device):
    x = on(device, np.ones((1, 4), np.float32))
    for number in (np.float32(2), np.float64(2), np.int64(2)):
        assert isinstance(number * x, ttnn.Tensor) and (number * x).to_list() == [[2.0] * 4] and (x * number).to_list() == [[2.0] * 4]
    with pytest.raises(TypeError):
        np.ones(4) * x
    assert x
    shape = x.shape
    x.deallocate()
    assert x.shape == shape


def test_what_leaves_a_device_is_a_copy(device):
    w = on(device, np.eye(4, dtype=np.float32))
    view = np.from_dlpack(w)
    assert view.flags.writeable is False or (view.__setitem__((0, 0), 5.0) or ttnn.to_numpy(w)[0, 0] == 1.0)
    assert ttnn.from_torch(np.array([1.6, 70000.0], np.float32), dtype=ttnn.uint16).to_list() == [1, 65535]
    assert ttnn.from_torch(np.zeros((0, 32), np.float32)).shape == (0, 32)


def test_block_floats_are_tiles(device):
    x = on(device, np.ones((2, 33), np.float32), ttnn.bfloat16, ttnn.ROW_MAJOR_LAYOUT)
    for call in (lambda: ttnn.add(x, 1.0, dtype=ttnn.bfloat8_b), lambda: ttnn.to_memory_config(x, ttnn.L1_MEMORY_CONFIG, ttnn.bfloat8_b)):
        with pytest.raises(RuntimeError, match="TILE"):
            call()


def test_strict_mode_is_of_one_thread(device):
    x = on(device, np.ones((1, 1, 37 * 37, 4), np.float32), ttnn.bfloat16, ttnn.ROW_MAJOR_LAYOUT)
    results = []

    def other():
        results.append(ttnn.adaptive_avg_pool2d(x, 1, 37, 37, 4, (5, 7)).shape)

    with ttnn.strict_mode():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert results == [(1, 1, 35, 4)]


def test_cache_files_know_how_a_tensor_was_spread(tmp_path):
    mesh = ttnn.open_mesh_device(ttnn.MeshShape(1, 2))
    x = np.arange(8, dtype=np.float32).reshape(4, 2)
    options = dict(dtype=ttnn.float32, device=mesh, memory_config=ttnn.DRAM_MEMORY_CONFIG, cache_file_name=tmp_path / "w")
    assert ttnn.as_tensor(x, **options).shape == (4, 2)
    for _ in range(2):
        assert ttnn.as_tensor(x, mesh_mapper=ttnn.ShardTensorToMesh(mesh, 0), **options).shape == (2, 2)


def test_in_place_of_the_module_ttnn():
    program = (
        "import sys, tessera.ttnn; sys.modules['ttnn'] = tessera.ttnn\n"
        "import ttnn, ttnn.device\nfrom ttnn.types import BufferType\nfrom ttnn.device import open_device\n"
        "assert ttnn.device is tessera.ttnn.device and BufferType is tessera.ttnn.BufferType and open_device is tessera.ttnn.open_device\n"
        "try:\n  import ttnn.nothing\nexcept ModuleNotFoundError: print('done')"
    )
    made = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert made.stdout == "done\n", made.stderr
