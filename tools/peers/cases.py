"""The cases that scripts/bench-vision runs: words for the drivers, the arithmetic that a floor counts, and the group that a mean is taken over."""

import dataclasses

import networks

SECTIONS = ("depthwise", "pools", "networks")
# n, h, w, c of the six shapes of the depthwise study.
STUDY = ((10, 56, 56, 144), (10, 14, 14, 576), (10, 7, 7, 960), (10, 7, 7, 112), (1, 80, 80, 320), (1, 40, 40, 640))
# and some of them with other kernels and strides: n, h, w, c, kernel, stride
OTHERS = ((10, 14, 14, 576, 5, 1), (1, 40, 40, 640, 5, 1), (10, 56, 56, 144, 3, 2), (1, 80, 80, 320, 3, 2), (1, 40, 40, 640, 5, 2))
# n, c, h, w, out h, out w
ADAPTIVE = (
    (8, 512, 7, 7, 1, 1),
    (8, 512, 7, 7, 3, 3),
    (8, 512, 7, 7, 6, 6),
    (1, 2048, 10, 10, 7, 7),
    (1, 256, 64, 64, 7, 7),
    (1, 256, 64, 64, 3, 5),
    (1, 256, 64, 64, 1, 1),
    (1, 1280, 7, 7, 1, 1),
)
# n, c, h, w, kernel, stride, padding
PLAIN = ((1, 64, 112, 112, 3, 2, 1),)


@dataclasses.dataclass(frozen=True)
class Case:
    section: str
    group: str  # "depthwise 3x3", "depthwise 5x5 or stride 2", "dense", "pools", "networks"
    label: str  # the same in every dtype and order
    dtype: str
    order: str  # "nhwc", "nchw" or, for networks, ""
    words: str
    flops: float = 0  # at the f32 rate
    bf16_flops: float = 0  # at the rate of the best bf16 unit
    batch: int = 1

    @property
    def name(self):
        return " ".join(word for word in (self.label, self.dtype, self.order.upper()) if word)


def convolutions():
    sizes = [("depthwise 3x3", *shape, 3, 1) for shape in STUDY] + [("depthwise 5x5 or stride 2", *shape) for shape in OTHERS]
    for dtype in ("f32", "bf16"):
        for order in ("nhwc", "nchw"):
            for group, n, h, w, c, k, stride in sizes:
                pad = k // 2
                outputs = n * c * ((h + 2 * pad - k) // stride + 1) * ((w + 2 * pad - k) // stride + 1)
                label = f"{n}x{h}x{w}x{c}" + (f" k{k} s{stride}" if group != "depthwise 3x3" else "")
                words = f"op=depthwise n={n} h={h} w={w} c={c} k={k} stride={stride} dtype={dtype} order={order}"
                yield Case("depthwise", group, label, dtype, order, words, 2 * k * k * outputs)
    for n, h, w, c in STUDY:
        words = f"op=dense n={n} h={h} w={w} c={c} k=3 stride=1 dtype=f32 order=nhwc"
        yield Case("depthwise", "dense", f"{n}x{h}x{w}x{c}", "f32", "nhwc", words, 18 * n * h * w * c)


def pools():
    for dtype in ("f32", "bf16"):
        for order in ("nhwc", "nchw"):
            given = f"dtype={dtype} order={order}"
            for kind in ("avg", "max"):
                for n, c, h, w, oh, ow in ADAPTIVE:
                    words = f"op=pool kind={kind} n={n} c={c} h={h} w={w} oh={oh} ow={ow} {given}"
                    yield Case("pools", "pools", f"{kind} {n}x{c}x{h}x{w}->{oh}x{ow}", dtype, order, words)
                for n, c, h, w, k, stride, pad in PLAIN:
                    words = f"op=pool kind={kind} n={n} c={c} h={h} w={w} k={k} stride={stride} pad={pad} {given}"
                    yield Case("pools", "pools", f"{kind} {n}x{c}x{h}x{w} k{k}s{stride}p{pad}", dtype, order, words)


def whole_networks(files):
    """`files`: network -> file or folder of weights."""
    for dtype in ("f32", "bf16"):
        for net, file in files.items():
            depthwise, rest = networks.flops(net)
            for batch in (1, 10):
                words = f"op=network net={net} file={file} batch={batch} dtype={dtype}"
                wide = batch * rest
                counted = (batch * depthwise, wide) if dtype == "bf16" else (batch * depthwise + wide, 0)
                yield Case("networks", "networks", f"{net} batch {batch}", dtype, "", words, *counted, batch)


def chosen(only, match, files):
    """The cases of the sections in `only` whose name or words hold `match`."""
    found = []
    if "depthwise" in only:
        found += convolutions()
    if "pools" in only:
        found += pools()
    if "networks" in only:
        found += whole_networks(files)
    return [case for case in found if match in case.name or match in case.words]
