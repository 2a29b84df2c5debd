"""A robot policy in three lines: load a checkpoint, give it what the robot sees, read the actions."""

from __future__ import annotations

import dataclasses
import os
import threading
import typing

import numpy as np

from tessera import _tessera
from tessera._arrays import is_torch, tensor_of


@dataclasses.dataclass(frozen=True)
class Actions:
    """One chunk of actions.

    actions: float64 [chunk, dimensions], in the robot's own units.
    names: of the dimensions.
    normalised: float32 [chunk, dimensions], before statistics were applied.
    model: float32 [chunk, model dimensions], as the network left it.
    steps: Euler steps that were taken.
    milliseconds: of the stages: preprocess, images, prefix, steps, total.
    """

    actions: np.ndarray
    names: list[str]
    normalised: np.ndarray
    model: np.ndarray
    steps: int
    milliseconds: dict[str, float]

    def __array__(self, dtype=None, copy=None):
        return np.array(self.actions, dtype=dtype, copy=copy if copy is not None else True)

    def __len__(self):
        return len(self.actions)


class Policy:
    """A π0 or π0.5 checkpoint: a LeRobot or openpi folder, or a file of `tessera pack`.

    precision: "f32", "bf16", "int8", or None for what the checkpoint asks for.
    robot: an openpi robot preset (tessera.robot_presets()); tokenizer, norm_stats: files, where the checkpoint does not hold them.
    Calls from several threads are safe and run one after the other. Raises tessera.Error (a RuntimeError) that says which file or tensor is wrong.
    """

    def __init__(
        self,
        checkpoint: str | os.PathLike,
        *,
        precision: str | None = None,
        robot: str = "",
        tokenizer: str | os.PathLike = "",
        norm_stats: str | os.PathLike = "",
        allow_nonfinite: bool = False,
        any_prompt: bool = False,
        padded_state_prompt: bool = False,
        legacy_resize: bool = False,
        skip_checksums: bool = False,
    ):
        self._path = os.fspath(checkpoint)
        self._options = _tessera.PolicyOptions(
            precision,
            robot,
            os.fspath(tokenizer),
            os.fspath(norm_stats),
            allow_nonfinite,
            any_prompt,
            padded_state_prompt,
            legacy_resize,
            skip_checksums,
        )
        self._door = _tessera.PolicyDoor.load(self._path, self._options)
        self._lock = threading.Lock()
        self._seen = None  # pictures and prompt of the last call

    def act(
        self,
        images: typing.Mapping[str, typing.Any],
        state: typing.Sequence[float] | np.ndarray = (),
        prompt: str = "",
        *,
        noise: typing.Any = None,
        seed: int | None = None,
        steps: int | None = None,
        reuse_prefix: bool = False,
    ) -> Actions:
        """One chunk of actions.

        images: by camera name: uint8 [height, width, 3], float [height, width, 3] or [3, height, width] in 0 to 1 (NumPy, torch), or a PNG or JPEG file.
        state: numbers in the robot's own units. prompt: what to do.
        noise: float [chunk, model dimensions] that the chunk starts from. seed: makes one (0 when neither is given).
        reuse_prefix: where pictures and prompt are those of the call before, only the state and the noise are looked at again.
        """
        if noise is not None and seed is not None:
            raise ValueError("[act] expected noise or a seed, got both")
        for what, number in (("seed", seed), ("steps", steps)):
            if number is not None and (isinstance(number, bool) or not hasattr(number, "__index__")):
                raise TypeError(f"[act] {what}: expected a whole number, got {number!r}")
        if steps is not None and not 1 <= steps <= 1000:
            raise ValueError(f"[act] expected 1 to 1000 steps, got {steps}")
        if not isinstance(images, typing.Mapping):
            raise TypeError(f"[act] images: expected a dict of pictures by camera name, got {type(images).__name__}")
        pictures = {str(name): _picture(str(name), value) for name, value in images.items()}
        numbers = np.asarray(_numpy(state))
        if numbers.dtype.kind not in "fiub":
            raise ValueError(f"[act] state: expected numbers, got {numbers.dtype}")
        start = None if noise is None else tensor_of(np.asarray(_numpy(noise), dtype=np.float32), True)
        with self._lock:
            # The prefix is reused only if it is of these pictures and this prompt: another thread may have asked in between.
            same = reuse_prefix and self._seen is not None and self._seen[1] == prompt and _equal(self._seen[0], pictures)
            self._seen = None
            result = self._door.act(pictures, [float(s) for s in numbers.reshape(-1)], prompt, steps or 0, 0 if seed is None else int(seed), start, same)
            self._seen = pictures, prompt
        shape = (result["chunk"], result["dim"])
        return Actions(
            actions=np.array(result["actions"], dtype=np.float64).reshape(shape),
            names=result["names"],
            normalised=result["normalised"].array(_tessera.Framework.numpy, True),
            model=result["model"].array(_tessera.Framework.numpy, True),
            steps=result["steps"],
            milliseconds=result["milliseconds"],
        )

    def inspect(self) -> dict:
        """What `tessera inspect` prints: format, sizes, cameras, normalisation, memory, missing and unused tensors."""
        return _tessera.inspect(self._path, self._options)

    def verify(self, recording: str | os.PathLike | None = None) -> dict:
        """Runs recorded inputs (None: those in the checkpoint's folder) and compares every stage: {"pass", "summary", "rows"}."""
        return _tessera.verify(self._path, self._path if recording is None else os.fspath(recording), self._options)

    @property
    def cameras(self) -> list[dict]:
        """The camera slots: name, aliases, required, always_absent."""
        return self._door.cameras

    @property
    def state_dim(self) -> int:
        """Numbers in the robot's state; 0 when any number up to the model's is taken."""
        return self._door.state_dim

    @property
    def action_dim(self) -> int:
        return self._door.action_dim

    @property
    def precision(self) -> str:
        return self._door.precision

    @property
    def warnings(self) -> list[str]:
        """What to know before trusting the actions, such as statistics that are missing."""
        return self._door.warnings

    def __repr__(self):
        return f"Policy({self._path!r}, precision={self.precision!r})"


def _numpy(value):
    if not is_torch(value):
        return value
    value = value.detach().cpu()
    return (value.float() if value.is_floating_point() else value).numpy()


def _equal(a, b):
    """Whether two dicts hold the same pictures."""
    numpy = _tessera.Framework.numpy
    return a.keys() == b.keys() and all(a[k].dtype == b[k].dtype and np.array_equal(a[k].array(numpy, False), b[k].array(numpy, False)) for k in a)


def _picture(name: str, value):
    if isinstance(value, (str, os.PathLike)):
        return _tessera.read_image(os.fspath(value))
    try:
        array = np.asarray(_numpy(value))
    except (TypeError, ValueError) as e:
        raise TypeError(f"[act] images['{name}']: expected an array or a file, got {type(value).__name__}") from e
    if array.dtype.kind == "f":
        array = array.astype(np.float32)
    elif array.dtype != np.uint8:
        raise TypeError(f"[act] images['{name}']: expected uint8 or floats in 0 to 1, got {array.dtype}")
    return tensor_of(array, True)
