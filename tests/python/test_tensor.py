"""Tensors: dtypes, layouts, shapes, borders to NumPy and torch, files, indices, memory configs, devices, the program cache, meshes."""

import gc

import numpy as np
import pytest

import tessera.ttnn as ttnn
from conftest import needs_torch, on, torch

DTYPES = [ttnn.float32, ttnn.bfloat16, ttnn.bfloat8_b, ttnn.bfloat4_b, ttnn.uint8, ttnn.uint16, ttnn.uint32, ttnn.int32]
SHAPES = [(), (1,), (5,), (3, 7), (32, 64), (2, 31, 33), (1, 2, 3, 4), (2, 1, 2, 1, 2, 1, 2, 3), (0, 4)]


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_round_trip(dtype, shape, device, rng):
    x = rng.integers(0, 8, shape).astype(np.float32)  # held exactly by every dtype but bfloat4_b beside larger neighbours
    for layout in (ttnn.TILE_LAYOUT, ttnn.ROW_MAJOR_LAYOUT):
        if dtype in (ttnn.bfloat8_b, ttnn.bfloat4_b) and (layout is ttnn.ROW_MAJOR_LAYOUT or not shape):
            continue
        host = ttnn.from_torch(x, dtype=dtype, layout=layout)
        there = ttnn.to_device(host, device)
        assert there.shape == shape and there.dtype is dtype and there.layout is layout and there.storage_type() is ttnn.StorageType.DEVICE
        back = ttnn.from_device(there)
        assert back.storage_type() is ttnn.StorageType.HOST and not ttnn.is_tensor_storage_on_device(back)
        assert (ttnn.to_numpy(back) == x).all()
        if len(shape) >= 1 and layout is ttnn.TILE_LAYOUT:
            padded = there.padded_shape
            assert all(p % 32 == 0 for p in padded[-2:]) or len(shape) == 1
            assert list(padded[:-2]) == list(shape[:-2])


@pytest.mark.parametrize("mantissa, dtype", [(7, ttnn.bfloat8_b), (3, ttnn.bfloat4_b)])
def test_block_floats_share_an_exponent(mantissa, dtype, device):
    x = np.zeros((1, 32), np.float32)
    x[0, 0], x[0, 1], x[0, 16] = 1.0, 2.0**-mantissa, 2.0**-mantissa  # the last one has a block of its own
    got = ttnn.to_numpy(on(device, x, dtype))
    assert got[0, 0] == 1.0 and got[0, 16] == 2.0**-mantissa and got[0, 1] in (0.0, 2.0 ** -(mantissa - 1))


def test_host_tensors_share_their_elements_and_devices_have_their_own(device):
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    host, there = ttnn.from_torch(x), ttnn.from_torch(x, device=device)
    x[0, 0] = 99
    assert ttnn.to_numpy(host)[0, 0] == 99 and ttnn.to_numpy(there)[0, 0] == 0
    copy = ttnn.to_numpy(there)
    copy[0, 1] = 7
    assert ttnn.to_numpy(there)[0, 1] == 1
    assert ttnn.from_torch(None) is None


def test_numbers_of_other_widths_and_orders(device):
    assert ttnn.from_torch(np.arange(3)).dtype is ttnn.uint32
    assert ttnn.from_torch(np.array([-1, 2])).dtype is ttnn.int32
    assert ttnn.from_torch(np.array([1.5])).dtype is ttnn.float32
    assert ttnn.from_torch(np.array([True, False]), dtype=ttnn.bfloat16).to_list() == [1.0, 0.0]
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert (ttnn.to_numpy(ttnn.from_torch(x.T, device=device)) == x.T).all()
    assert (ttnn.to_numpy(ttnn.from_torch(x[:, ::2])) == x[:, ::2]).all()
    assert (ttnn.to_numpy(ttnn.from_torch(x.astype(">f4"))) == x).all()
    assert ttnn.Tensor([1.0, 2.0], [2], ttnn.float32, ttnn.ROW_MAJOR_LAYOUT).to_list() == [1.0, 2.0]
    with pytest.raises(OverflowError):
        ttnn.from_torch(np.array([2**40]))
    with pytest.raises(TypeError):
        ttnn.from_torch(np.array(["a"]))
    with pytest.raises(TypeError):
        ttnn.from_torch(ttnn.from_torch(x))


@needs_torch
def test_torch_border(device):
    for kind, dtype in ((torch.float32, ttnn.float32), (torch.bfloat16, ttnn.bfloat16), (torch.int32, ttnn.int32), (torch.uint8, ttnn.uint8)):
        x = torch.arange(24).reshape(2, 3, 4).to(kind)
        t = ttnn.from_torch(x, layout=ttnn.TILE_LAYOUT, device=device)
        assert t.dtype is dtype
        back = ttnn.to_torch(t)
        assert back.dtype is kind and torch.equal(back, x)
        assert torch.equal(ttnn.to_torch(ttnn.from_torch(x.transpose(0, 2), device=device)), x.transpose(0, 2))
    t = ttnn.from_torch(torch.ones(1, 1, 2, 3, requires_grad=True))
    assert ttnn.to_torch(t, torch_rank=2).shape == (2, 3)
    with pytest.raises(RuntimeError, match="squeeze"):
        ttnn.to_torch(t, torch_rank=1)
    assert ttnn.to_torch(ttnn.from_torch(torch.ones(3, 4), dtype=ttnn.bfloat8_b)).dtype is torch.float32
    assert ttnn.to_torch(ttnn.from_torch(torch.tensor([1, 70000]))).tolist() == [1, 70000]
    host = ttnn.from_torch(torch.zeros(4, dtype=torch.bfloat16))
    assert ttnn.to_torch(host).data_ptr() == host.buffer_address()
    shared = torch.from_dlpack(ttnn.from_torch(torch.zeros(4), device=device)) if hasattr(torch, "from_dlpack") else None
    assert shared is None or shared.shape == (4,)


def test_typecast(device):
    x = np.array([[-1.5, 0.4, 1.5, 2.5, 300.0, 70000.0]], np.float32)
    t = on(device, x)
    assert ttnn.typecast(t, ttnn.uint16).to_list() == [[0, 0, 2, 3, 300, 65535]]
    assert ttnn.typecast(t, ttnn.int32).to_list() == [[-1, 0, 1, 2, 300, 70000]]
    assert ttnn.typecast(ttnn.typecast(t, ttnn.bfloat16), ttnn.float32).to_list()[0][:4] == [-1.5, 0.400390625, 1.5, 2.5]
    assert ttnn.to_dtype(ttnn.from_torch(x), ttnn.bfloat16).dtype is ttnn.bfloat16
    with pytest.raises(RuntimeError, match="host"):
        ttnn.to_dtype(t, ttnn.bfloat16)


def test_get_item(device):
    x = np.arange(2 * 3 * 40 * 5, dtype=np.float32).reshape(2, 3, 40, 5)
    t = on(device, x)
    for index in (1, -1, (0, 2), (slice(None), 1), (..., 2), (slice(0, 1), ..., slice(1, 4)), (slice(None), slice(None), slice(3, 40, 7)), (1, 2, 3, 4), (slice(5, 2),)):
        assert (ttnn.to_numpy(t[index]) == x[index]).all() and t[index].shape == x[index].shape, index
    with pytest.raises(ValueError, match="ellipsis"):
        t[..., 0, ...]
    with pytest.raises(IndexError):
        t[2]
    with pytest.raises(IndexError):
        t[0, 0, 0, 0, 0]
    with pytest.raises(TypeError):
        t["a"]
    with pytest.raises(RuntimeError, match="step"):
        ttnn.from_torch(x)[:, ::2]


def test_deallocate(device):
    t = on(device, np.zeros((2, 2), np.float32))
    ttnn.deallocate(t)
    assert not t.is_allocated()
    for use in (lambda: t + 1, lambda: ttnn.to_numpy(t), lambda: t.shape + (1,), lambda: t[0], lambda: ttnn.matmul(t, t), lambda: ttnn.reshape(t, (4,)), lambda: t.item()):
        try:
            use()
        except RuntimeError as e:
            assert "allocated" in str(e)
        else:
            assert use.__code__.co_names == ("shape",)  # what is remembered of it
    with pytest.raises(TypeError):
        ttnn.deallocate(3)


def test_buffer_pages_count_what_is_alive(device):
    gc.collect()
    before = len(ttnn._ttnn.reports.get_buffer_pages())
    t = on(device, np.zeros((64, 64), np.float32))
    assert len(ttnn._ttnn.reports.get_buffer_pages()) == before + 4
    del t
    assert len(ttnn._ttnn.reports.get_buffer_pages()) == before


def test_memory_configs(device):
    grid = ttnn.CoreGrid(y=2, x=4)
    x = np.zeros((1, 1, 256, 512), np.float32)
    for strategy, shard in ((ttnn.ShardStrategy.HEIGHT, (32, 512)), (ttnn.ShardStrategy.WIDTH, (256, 64)), (ttnn.ShardStrategy.BLOCK, (128, 128))):
        config = ttnn.create_sharded_memory_config(x.shape, grid, strategy)
        assert config.shard_spec.shape == shard and config.is_sharded()
        t = on(device, x, memory_config=config)
        assert t.memory_config() == config and t.is_sharded()
        y = ttnn.sharded_to_interleaved(t)
        assert y.memory_config() == ttnn.DRAM_MEMORY_CONFIG
        assert ttnn.to_memory_config(y, config).memory_config() == config
        assert ttnn.get_memory_config(ttnn.add(t, t)) == config
    with pytest.raises(RuntimeError, match="Shard spec must not be None"):
        on(device, x, memory_config=ttnn.L1_HEIGHT_SHARDED_MEMORY_CONFIG)
    bad = ttnn.MemoryConfig(ttnn.TensorMemoryLayout.HEIGHT_SHARDED, ttnn.BufferType.L1, ttnn.ShardSpec(ttnn.CoreRangeSet({ttnn.CoreRange((0, 0), (0, 0))}), (33, 512)))
    with pytest.raises(RuntimeError, match="must be tile"):
        on(device, x, memory_config=bad)
    few = bad.with_shard_spec(ttnn.ShardSpec(ttnn.CoreRangeSet({ttnn.CoreRange((0, 0), (0, 0))}), (32, 512)))
    with pytest.raises(RuntimeError, match="must not exceed number of cores"):
        on(device, x, memory_config=few)
    with pytest.raises(RuntimeError, match="must match physical width"):
        on(device, x, memory_config=bad.with_shard_spec(ttnn.ShardSpec(ttnn.CoreRangeSet({ttnn.CoreRange((0, 0), (7, 7))}), (32, 64))))
    with pytest.raises(RuntimeError, match="overlapping"):
        ttnn.CoreRangeSet([ttnn.CoreRange((0, 0), (1, 1)), ttnn.CoreRange((1, 1), (2, 2))])
    assert ttnn.num_cores_to_corerangeset(11, ttnn.CoreCoord(8, 8), row_wise=True).num_cores() == 11


def test_program_cache(device, rng):
    x = on(device, rng.standard_normal((32, 32)).astype(np.float32))
    start = device.num_program_cache_entries()
    for _ in range(3):
        x + x
        x * 2.0
    assert device.num_program_cache_entries() == start + 2
    ttnn.relu(x)
    assert device.num_program_cache_entries() == start + 3
    device.set_program_cache_misses_allowed(False)
    x + x
    with pytest.raises(RuntimeError, match="Program cache miss"):
        ttnn.exp(x)
    device.set_program_cache_misses_allowed(True)
    device.disable_and_clear_program_cache()
    ttnn.exp(x)
    assert device.num_program_cache_entries() == 0


def test_devices(device):
    assert ttnn.open_device(device_id=0) is device
    assert device.core_grid.num_cores == 64 and device.compute_with_storage_grid_size().x == 8
    assert device.arch() is ttnn.device.Arch.WORMHOLE_B0 and device.get_num_devices() == 1
    with pytest.raises(RuntimeError):
        ttnn.open_device(device_id=99)
    with ttnn.manage_device(device_id=0) as d:
        t = on(d, np.zeros((2, 2), np.float32))
    with pytest.raises(RuntimeError, match="closed"):
        t + t
    manager = device.create_sub_device_manager([ttnn.SubDevice([ttnn.CoreRangeSet()])], 0)
    device.load_sub_device_manager(manager)
    device.clear_loaded_sub_device_manager()
    device.remove_sub_device_manager(manager)
    with pytest.raises(RuntimeError):
        device.load_sub_device_manager(manager)


def test_mesh(rng):
    mesh = ttnn.open_mesh_device(ttnn.MeshShape(2, 3))
    x = rng.standard_normal((4, 6, 8)).astype(np.float32)
    spread = ttnn.from_torch(x, device=mesh, layout=ttnn.TILE_LAYOUT, mesh_mapper=ttnn.ShardTensorToMesh(mesh, dim=1))
    assert spread.shape == (4, 1, 8) and len(ttnn.get_device_tensors(spread)) == 6
    same = ttnn.from_torch(np.full((1, 1, 8), 2, np.float32), device=mesh, layout=ttnn.TILE_LAYOUT, mesh_mapper=ttnn.ReplicateTensorToMesh(mesh))
    product = ttnn.to_numpy(spread * same, mesh_composer=ttnn.ConcatMeshToTensor(mesh, dim=1))
    assert (product == x * 2).all()
    both = ttnn.from_torch(x, device=mesh, mesh_mapper=ttnn.ShardTensor2dMesh(mesh, mesh_shape=(2, 3), dims=(0, 1)))
    assert both.shape == (2, 2, 8)
    assert (ttnn.to_numpy(both, mesh_composer=ttnn.ConcatMesh2dToTensor(mesh, (2, 3), dims=(0, 1))) == x).all()
    rows = ttnn.from_torch(x, device=mesh, mesh_mapper=ttnn.ShardTensor2dMesh(mesh, mesh_shape=(2, 3), dims=(None, 1)))
    assert rows.shape == (4, 2, 8)
    with pytest.raises(RuntimeError, match="composer"):
        ttnn.to_numpy(spread)
    with pytest.raises(RuntimeError, match="share|at least"):
        ttnn.from_torch(x[:, :5], device=mesh, mesh_mapper=ttnn.ShardTensorToMesh(mesh, dim=1))
    y = ttnn.add_(same, 1.0)
    assert (ttnn.to_numpy(y, mesh_composer=ttnn.ConcatMeshToTensor(mesh, 0)) == 3).all()
    w = ttnn.from_torch(rng.standard_normal((8, 5)).astype(np.float32), device=mesh, layout=ttnn.TILE_LAYOUT)
    for _ in range(3):
        z = ttnn.matmul(spread, w)
    assert len(ttnn.get_device_tensors(z)) == 6 and z.shape == (4, 1, 5)
    ttnn.close_mesh_device(mesh)


def test_files(tmp_path, device, rng):
    for dtype in DTYPES:
        t = on(device, rng.integers(0, 5, (3, 40)).astype(np.float32), dtype)
        ttnn.dump_tensor(tmp_path / "t.tensorbin", t)
        back = ttnn.load_tensor(tmp_path / "t.tensorbin", device=device)
        assert back.dtype is dtype and back.layout is t.layout and (ttnn.to_numpy(back) == ttnn.to_numpy(t)).all()
    with pytest.raises(RuntimeError, match="tensorbin"):
        ttnn.dump_tensor(tmp_path / "t.bin", t)
    data = (tmp_path / "t.tensorbin").read_bytes()
    bad = tmp_path / "bad.tensorbin"
    for damaged in (b"", data[:5], data[:25], data[:-1], data + b"x", data[:20] + b"\xff" * 8 + data[28:], data.replace(b"INT32", b"INT31"), data.replace(b"[3, 40]", b"[3, 4e]"),
                    data.replace(b'"parts": [0]', b'"parts": [9]'), data.replace(b"[3, 40]", b"[-3,40]"), data.replace(b'"TILE"', b'"TIL2"')):
        bad.write_bytes(damaged)
        with pytest.raises(RuntimeError, match="load_tensor"):
            ttnn.load_tensor(bad)
    with pytest.raises(RuntimeError, match="read"):
        ttnn.load_tensor(tmp_path / "none.tensorbin")


def test_as_tensor_keeps_a_file(tmp_path, device, rng, capsys):
    x = rng.standard_normal((32, 64)).astype(np.float32)
    calls = []

    def preprocess(t):
        calls.append(1)
        return t * 2

    arguments = dict(dtype=ttnn.bfloat16, layout=ttnn.TILE_LAYOUT, device=device, memory_config=ttnn.DRAM_MEMORY_CONFIG, cache_file_name=str(tmp_path / "w"), preprocess=preprocess)
    a, b = (ttnn.as_tensor(x, **arguments) for _ in range(2))
    assert len(calls) == 1 and (ttnn.to_numpy(a) == ttnn.to_numpy(b)).all()
    file = tmp_path / "w_dtype_BFLOAT16_layout_TILE.tensorbin"
    assert file.exists()
    file.write_bytes(b"damaged")
    c = ttnn.as_tensor(x, **arguments)
    assert len(calls) == 2 and (ttnn.to_numpy(c) == ttnn.to_numpy(a)).all()
    with pytest.raises(RuntimeError, match="memory_config must be specified"):
        ttnn.as_tensor(x, device=device)


def test_creation(device):
    assert ttnn.zeros((2, 3)).dtype is ttnn.bfloat16 and ttnn.zeros((2, 3)).to_list() == [[0] * 3] * 2
    assert ttnn.full((2,), 2.5, dtype=ttnn.float32, device=device, layout=ttnn.TILE_LAYOUT).to_list() == [2.5, 2.5]
    t = ttnn.full((2,), fill_value=3, dtype=ttnn.int32, device=device)
    assert ttnn.ones_like(t).to_list() == [1, 1] and ttnn.zeros_like(t, dtype=ttnn.float32).dtype is ttnn.float32
    assert ttnn.arange(5, dtype=ttnn.int32).to_list() == [0, 1, 2, 3, 4]
    assert ttnn.arange(2, 9, 3, dtype=ttnn.float32, device=device).to_list() == [2, 5, 8]
    assert ttnn.arange(0, 1, 0.25, dtype=ttnn.float32).to_list() == [0, 0.25, 0.5, 0.75]
    assert ttnn.arange(16777217, 16777219, dtype=ttnn.int32).to_list() == [16777217, 16777218]
    assert ttnn.empty((2, 2), ttnn.bfloat16, ttnn.TILE_LAYOUT, device, ttnn.L1_MEMORY_CONFIG).memory_config() == ttnn.L1_MEMORY_CONFIG
    assert ttnn.allocate_tensor_on_device(ttnn.Shape([1, 32]), ttnn.bfloat16, ttnn.TILE_LAYOUT, device, ttnn.DRAM_MEMORY_CONFIG).shape == (1, 32)
    with pytest.raises(RuntimeError):
        ttnn.arange(0, 5, 0)
    with pytest.raises(RuntimeError):
        ttnn.zeros((-1, 2))
    with pytest.raises(TypeError):
        ttnn.zeros(3)


def test_layouts(device, rng):
    x = rng.standard_normal((3, 40)).astype(np.float32)
    t = on(device, x, layout=ttnn.ROW_MAJOR_LAYOUT)
    tiles = ttnn.to_layout(t, ttnn.TILE_LAYOUT)
    assert tiles.padded_shape == (32, 64) and tiles.shape == (3, 40) and tiles.volume() == 2048
    assert ttnn.to_layout(tiles, layout=ttnn.ROW_MAJOR_LAYOUT).padded_shape == (3, 40)
    assert (ttnn.to_numpy(ttnn.tilize_with_zero_padding(t)) == x).all() and (ttnn.to_numpy(ttnn.untilize(tiles)) == x).all()
    assert (ttnn.to_numpy(ttnn.untilize_with_unpadding(tiles, [1, 30])) == x[:2, :31]).all()
    with pytest.raises(RuntimeError, match="tiles"):
        ttnn.tilize(t)
    with pytest.raises(RuntimeError):
        ttnn.from_torch(x, dtype=ttnn.bfloat8_b, layout=ttnn.ROW_MAJOR_LAYOUT)
    assert ttnn.to_layout(on(device, x, ttnn.bfloat8_b), ttnn.ROW_MAJOR_LAYOUT).dtype is ttnn.bfloat16
