#!/usr/bin/env python3
"""Serves vision cases with one other library, one at a time: a line of key=value words in, one line of JSON out, as bench_vision does for Tessera.

    python3 tools/peers/serve.py torch|onednn|onnxruntime|openvino|ncnn THREADS < cases

The first line out is {"name", "version", "settings"}, or {"missing": reason} when the library cannot be imported. A case that the library cannot serve
is answered with "unsupported" and the reason. Needs numpy.
"""

import importlib
import json
import os
import sys
import time

# What glibc gives back to the system with every call would be paid for again in the next one.
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(1 << 30))
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(1 << 31))
SAMPLES = 16
LINKS = (4, 20)  # of the two chains whose difference is the time of one layer in the middle of a network


class Unsupported(Exception):
    """The library has no code for the case, or none that would be a fair peer; the text says why."""


def values(shape, seed):
    """The made-up tensor `seed` in [-1, 1), by the same formula as benchmarks/vision.cpp."""
    import numpy as np

    u = np.arange(np.prod(shape), dtype=np.uint32) * np.uint32(2654435761) + np.uint32(seed * 97531)
    u ^= u >> np.uint32(15)
    u *= np.uint32(0x2C1B3CE5)
    u ^= u >> np.uint32(12)
    return ((u >> np.uint32(8)).astype(np.float32) * np.float32(2**-23) - np.float32(1)).reshape(shape)


def depthwise_weights(case):
    return values((case.c, 1, case.k, case.k), 2) * 0.5


def timed(call, seconds, least=3):
    """(least, median, count) of the times of warm calls, in microseconds."""
    start = time.perf_counter()
    for _ in range(3):
        call()
        if time.perf_counter() - start > 0.5:
            least = 2
            break
    times = []
    begin = time.perf_counter()
    while len(times) < least or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    times.sort()
    return times[0] * 1e6, times[len(times) // 2] * 1e6, len(times)


def sampled(array):
    """The elements that are compared, of a result in order n, c, h, w."""
    flat = array.reshape(-1)
    return [float(flat[j * 1000003 % flat.size]) for j in range(SAMPLES)]


class Call:
    """A case that is one call. `result`: () -> the array in order n, c, h, w."""

    def __init__(self, call, result, path="", aside=""):
        self.call, self.result, self.path, self.aside = call, result, path, aside

    def measure(self, seconds):
        least, median, count = timed(self.call, seconds)
        return {"min_us": least, "median_us": median, "calls": count}


class Chain(Call):
    """One layer in the inner layout of a library that reorders at its doors: (20 layers - 4 layers) / 16. `times`: how often a call does it."""

    def __init__(self, short, long, result, path="", aside="", times=1):
        super().__init__(long, result, path, aside)
        self.short, self.times = short, times

    def measure(self, seconds):
        short, long = timed(self.short, seconds / 2), timed(self.call, seconds / 2)
        links = (LINKS[1] - LINKS[0]) / self.times
        return {"short_us": short[0], "long_us": long[0], "links": links, "median_us": (long[1] - short[1]) / links, "calls": long[2]}


class Best(Call):
    """Several ways to compute the same; those much slower than the best are run once only."""

    def __init__(self, ways, result):
        super().__init__(None, result)
        self.ways = ways  # name -> call
        self.best = {}

    def measure(self, seconds):
        medians = {}
        fastest = min(self.best.values(), default=float("inf"))
        alive = [name for name in self.ways if self.best.get(name, 0) <= 1.5 * fastest]
        for name in alive:
            least, medians[name], _ = timed(self.ways[name], seconds / len(alive))
            self.best[name] = min(least, self.best.get(name, least))
        winner = min(medians, key=self.best.get)
        self.path = winner + " of " + ", ".join(f"{name} {us:.0f}" for name, us in self.best.items())
        return {"min_us": self.best[winner], "median_us": medians[winner]}


class Case:
    """The words of a line as attributes; whole numbers as such."""

    def __init__(self, line):
        self.__dict__.update(word.split("=", 1) for word in line.split())
        for key, value in self.__dict__.items():
            if value.lstrip("-").isdigit():
                self.__dict__[key] = int(value)

    def __getattr__(self, key):  # only where the line has none
        raise Unsupported(f"the case says no {key}")

    def has(self, key):
        return key in self.__dict__

    @property
    def bf16(self):
        return self.dtype == "bf16"

    @property
    def nhwc(self):
        return self.order == "nhwc"

    @property
    def shape(self):
        return (self.n, self.c, self.h, self.w)


def main():
    name, threads = sys.argv[1], int(sys.argv[2])
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
    # Libraries print to standard output what they like; the answers have a descriptor of their own.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def answer(**words):
        answers.write(json.dumps(words) + "\n")

    try:
        peer = importlib.import_module(name + "_peer")
        version, settings = peer.start(threads)
    except Exception as e:
        answer(missing=f"{type(e).__name__}: {e}"[:300])
        return 0
    answer(name=name, version=version, settings=settings)
    held, ready = None, None
    for line in sys.stdin:
        if not line.strip():
            continue
        words = [word for word in line.split() if not word.startswith("seconds=")]
        try:
            if words != held:
                held, ready = None, None
                ready = peer.prepare(Case(line))
                check = sampled(ready.result())
                held = words
            found = ready.measure(float(Case(line).seconds))
            answer(**found, path=ready.path, aside=ready.aside, check=check)
        except Unsupported as e:
            answer(unsupported=str(e))
        except Exception as e:
            answer(error=f"{type(e).__name__}: {e}"[:300])
    return 0


if __name__ == "__main__":
    # The peers import this file under its name; it must not exist twice.
    sys.modules["serve"] = sys.modules["__main__"]
    sys.exit(main())
