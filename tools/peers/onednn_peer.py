"""oneDNN by itself: the time of its primitives as they print it (ONEDNN_VERBOSE=profile_exec) while PyTorch calls them, without PyTorch's own time.

NHWC: the convolution alone, as the reorder of the weights would be done once. NCHW: the convolution and the reorders of the pictures, which PyTorch pays
in every call. Networks: the sum over the fused chain of torch_peer.fused(); the mean over the picture and, where TensorFlow pads unevenly, the padding
are PyTorch's and left out, in oneDNN's favour.
"""

import ctypes
import os
import tempfile
import time

import torch_peer
from serve import Call, Unsupported


class Log:
    """Standard output as a file that is read call by call."""

    def __init__(self):
        self.file = tempfile.TemporaryFile()
        os.dup2(self.file.fileno(), 1)
        self.flush = ctypes.CDLL(None).fflush

    def of(self, call):
        os.ftruncate(1, 0)
        os.lseek(1, 0, os.SEEK_SET)
        call()
        self.flush(None)
        return os.pread(1, os.fstat(1).st_size, 0).decode()


log = None


def start(threads):
    global log
    log = Log()
    os.environ["ONEDNN_VERBOSE"] = "profile_exec"
    version, _ = torch_peer.start(threads)
    import torch

    text = torch.__config__.show()
    at = text.find("MKL-DNN v")
    name = text[at + 9 :].split()[0] if at >= 0 else "?"
    return name, f"its primitives' own time inside PyTorch {version}; without its reorders of weights"


def primitives(text):
    """[(kind, implementation, problem, microseconds)] of what was executed."""
    found = []
    for line in text.splitlines():
        words = line.split(",")
        if line.startswith("onednn_verbose") and len(words) > 10 and words[2:4] == ["primitive", "exec"]:
            found.append((words[5], words[6], words[-2], float(words[-1]) * 1e3))
    return found


class Primitives(Call):
    """A call whose time is that of the primitives that `counts` names."""

    def __init__(self, call, counts, result):
        super().__init__(call, result)
        self.counts = counts
        kinds = {f"{kind} {how}" for kind, how, problem, _ in primitives(log.of(call)) if counts(kind, problem)}
        if not any(kind.startswith("convolution") for kind in kinds):
            raise Unsupported("PyTorch does not call oneDNN here")
        self.path = ", ".join(sorted(kinds))

    def measure(self, seconds):
        times = []
        begin = time.perf_counter()
        while len(times) < 4 or time.perf_counter() - begin < seconds:
            found = primitives(log.of(self.call))
            times.append(sum(us for kind, _, problem, us in found if self.counts(kind, problem)))
        times = sorted(times[1:])
        return {"min_us": times[0], "median_us": times[len(times) // 2], "calls": len(times)}


def prepare(case):
    import torch

    if case.op in ("pool", "dense"):
        raise Unsupported("PyTorch calls its own code, not oneDNN's" if case.op == "pool" else "the same as PyTorch's")
    if case.bf16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        raise Unsupported("no bf16 on this CPU")
    if case.op == "network":
        call = torch_peer.fused(case)
        return Primitives(call, lambda kind, problem: True, lambda: torch_peer.array_of(call()))
    call = torch_peer.convolution(case)
    picture = "x".join(map(str, case.shape))

    def counts(kind, problem):
        # A reorder of the weights has their shape; that of the picture or of the result begins with n x c.
        reorders_pictures = kind == "reorder" and not case.nhwc and problem.startswith("x".join(picture.split("x")[:2]) + "x") and problem.count("x") == 3
        return kind == "convolution" or reorders_pictures

    return Primitives(call, counts, lambda: torch_peer.array_of(call()))
