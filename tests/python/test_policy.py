"""tessera.Policy against the policy-level recordings; bad requests; many threads; memory."""

import concurrent.futures
import json
import os
import signal

import numpy as np
import pytest

import tessera
from conftest import GOLDENS, needs_torch, torch

METAWORLD = GOLDENS / "policies" / "metaworld_pi0"
LEROBOT = {name: GOLDENS / "pi0" / name for name in ("lerobot_pi0_a", "lerobot_pi05_a")}
INDEX = json.loads((METAWORLD / "observations" / "index.json").read_text())


def read_safetensors(path):
    """{name: array} of float32 and integer tensors: a reader of its own, so that the comparison shares nothing with the library."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    kinds = {"F32": np.float32, "I64": np.int64, "I32": np.int32, "U8": np.uint8, "BOOL": np.uint8, "F64": np.float64}
    arrays = {}
    for name, t in header.items():
        if name != "__metadata__" and t["dtype"] in kinds:
            a, b = t["data_offsets"]
            arrays[name] = np.frombuffer(data[8 + length + a : 8 + length + b], kinds[t["dtype"]]).reshape(t["shape"])
    return arrays


@pytest.fixture(scope="module")
def policy():
    return tessera.Policy(METAWORLD, precision="f32")


def request(observation):
    folder = METAWORLD / "observations"
    recorded = read_safetensors(folder / observation["recording"])
    images = {slot: str(folder / file) for slot, file in observation["images"].items()}
    return images, observation["state"], observation["sentence"], recorded


@pytest.mark.parametrize("observation", INDEX["observations"], ids=lambda o: o["id"])
def test_recorded_actions(observation, policy):
    images, state, prompt, recorded = request(observation)
    chunk = policy.act(images=images, state=state, prompt=prompt, noise=recorded["noise"][0])
    wanted = recorded["out.actions"].reshape(chunk.actions.shape).astype(np.float64)
    # The limit of float32 parity: 2e-4 of the largest action.
    assert np.abs(chunk.actions - wanted).max() <= 2e-4 * np.abs(wanted).max()
    assert chunk.steps == INDEX["num_steps"] and len(chunk.names) == chunk.actions.shape[1]


@pytest.mark.parametrize("name", sorted(LEROBOT))
def test_verify_and_inspect(name):
    policy = tessera.Policy(LEROBOT[name], precision="f32")
    report = policy.verify(LEROBOT[name])
    assert report["pass"] and len(report["rows"]) > 10 and "worst" in report["summary"]
    contents = policy.inspect()
    assert contents["family"] == ("pi05" if "pi05" in name else "pi0") and contents["format"] == "LeRobot" and not contents["missing"]
    assert policy.cameras and policy.precision == "f32" and repr(policy).startswith("Policy(")


def test_pictures_as_arrays_and_files(policy):
    images, state, prompt, _ = request(INDEX["observations"][0])
    first = policy.act(images, state, prompt, seed=3)
    arrays = {k: tessera._tessera.read_image(v).array(tessera._tessera.Framework.numpy, True) for k, v in images.items()}
    assert (policy.act(arrays, np.array(state), prompt, seed=3).actions == first.actions).all()
    floats = {k: v.astype(np.float32) / 255 for k, v in arrays.items()}
    assert np.abs(policy.act(floats, state, prompt, seed=3).actions - first.actions).max() < 1e-4
    assert (policy.act(images, state, prompt, seed=4).actions != first.actions).any()
    assert (policy.act(images, state, prompt, seed=3, reuse_prefix=True).actions == first.actions).all()
    assert np.asarray(first).shape == first.actions.shape and len(first) == len(first.actions)


@needs_torch
def test_pictures_of_torch(policy):
    images, state, prompt, _ = request(INDEX["observations"][0])
    arrays = {k: torch.from_numpy(tessera._tessera.read_image(v).array(tessera._tessera.Framework.numpy, True)) for k, v in images.items()}
    assert (policy.act(arrays, torch.tensor(state), prompt, seed=3).actions.shape) == policy.act(images, state, prompt).actions.shape


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_other_precisions(precision, policy):
    images, state, prompt, _ = request(INDEX["observations"][0])
    other = tessera.Policy(METAWORLD, precision=precision)
    assert other.precision == precision
    a, b = (p.act(images, state, prompt, seed=1).actions.reshape(-1) for p in (policy, other))
    assert np.corrcoef(a, b)[0, 1] > 0.999


def test_bad_requests(policy, tmp_path):
    images, state, prompt, _ = request(INDEX["observations"][0])
    picture = np.zeros((8, 8, 3), np.uint8)
    for arguments, kind, text in (
        ((images, state[:-1], prompt), RuntimeError, "state"),
        ((images, [float("nan")] * len(state), prompt), RuntimeError, "NaN|nan|finite"),
        ((images, state, ""), RuntimeError, "prompt"),
        (({"nobody": picture}, state, prompt), RuntimeError, "camera"),
        (({}, state, prompt), RuntimeError, "camera|picture"),
        (({k: np.zeros((8, 8), np.uint8) for k in images}, state, prompt), RuntimeError, "expected"),
        (({k: np.zeros((8, 8, 3), np.int64) for k in images}, state, prompt), TypeError, "uint8"),
        (({k: str(tmp_path / "none.png") for k in images}, state, prompt), RuntimeError, "none.png"),
        (([picture], state, prompt), TypeError, "dict"),
        ((images, "abc", prompt), ValueError, ""),
        ((images, state, 3), TypeError, ""),
    ):
        with pytest.raises(kind, match=text or None):
            policy.act(*arguments)
    for options, kind in (({"steps": 0}, ValueError), ({"seed": 1, "noise": np.zeros((2, 2))}, ValueError), ({"noise": np.zeros((2, 2))}, RuntimeError), ({"seed": -1}, TypeError)):
        with pytest.raises(kind):
            policy.act(images, state, prompt, **options)
    for path, options in ((tmp_path, {}), (tmp_path / "none", {}), (METAWORLD, {"precision": "f16"}), (METAWORLD, {"robot": "nobody"}), (METAWORLD, {"tokenizer": tmp_path / "t.model"})):
        with pytest.raises(tessera.Error):
            tessera.Policy(path, **options)
    with pytest.raises(tessera.Error):
        policy.verify(tmp_path)


def test_a_prefix_is_reused_only_for_what_it_is_of(policy):
    images, state, prompt, _ = request(INDEX["observations"][0])
    others = request(INDEX["observations"][2])[0]
    wanted, other = policy.act(images, state, prompt, seed=1).actions, policy.act(others, state, prompt, seed=1).actions
    assert (wanted != other).any()
    assert (policy.act(images, state, prompt, seed=1, reuse_prefix=True).actions == wanted).all()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(policy.act, i, state, prompt, seed=1, reuse_prefix=True) for i in (images, others) * 8]
    for n, call in enumerate(calls):
        assert (call.result().actions == (other if n % 2 else wanted)).all()


def test_signals_end_a_chunk(policy):
    images, state, prompt, _ = request(INDEX["observations"][0])
    wanted = policy.act(images, state, prompt, seed=1).actions

    def stop(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            for _ in range(100):
                policy.act(images, state, prompt, steps=1000)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert (policy.act(images, state, prompt, seed=1).actions == wanted).all()


def test_ten_threads_at_once(policy):
    images, state, prompt, _ = request(INDEX["observations"][0])
    wanted = [policy.act(images, state, prompt, seed=i).actions for i in range(10)]
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        got = list(pool.map(lambda i: policy.act(images, state, prompt, seed=i % 10).actions, range(30)))
    for i, actions in enumerate(got):
        assert (actions == wanted[i % 10]).all()


def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="this system does not say how much memory a process holds")
def test_memory_stays(policy):
    images, state, prompt, _ = request(INDEX["observations"][0])
    arrays = {k: tessera._tessera.read_image(v).array(tessera._tessera.Framework.numpy, True) for k, v in images.items()}
    for _ in range(50):
        policy.act(arrays, state, prompt, steps=1)
    before = resident()
    for _ in range(1000):
        policy.act(arrays, state, prompt, steps=1)
    # 1000 leaked pictures would be 77 MB, 1000 chunks 1.6 MB.
    assert resident() - before < 1 << 20
