"""ncnn, its packed layout, f32 or bf16 storage, models written here in its text format. It has no batch: n pictures run one after another in the same
buffers, so a case whose pictures leave the caches elsewhere is put aside. Depthwise NHWC: one layer in the middle of a chain; NCHW: a model of one layer."""

import pathlib
import tempfile

import networks
import numpy as np
from serve import LINKS, Call, Chain, Unsupported, depthwise_weights, values

threads_of = 1
CACHE = 32 << 20  # bytes of both tensors beyond which a batch in one picture's buffers is no fair peer


def start(threads):
    global threads_of
    import ncnn

    threads_of = threads
    return ncnn.__version__, "packed layout, no fp16; bf16 is storage; pictures of a batch one by one"


class Text:
    """A model: lines of layers and the numbers of their weights."""

    def __init__(self):
        self.lines, self.blobs, self.names = [], [], set()

    def add(self, kind, inputs, outputs, options="", weights=None, bias=None):
        self.names.update(inputs, outputs)
        ends = " ".join([*inputs, *outputs])
        self.lines.append(f"{kind} l{len(self.lines)} {len(inputs)} {len(outputs)} {ends} {options}")
        if weights is not None:
            self.blobs.append(b"\0\0\0\0" + np.ascontiguousarray(weights, np.float32).tobytes())
        if bias is not None:
            self.blobs.append(np.ascontiguousarray(bias, np.float32).tobytes())

    def load(self, bf16):
        import ncnn

        net = ncnn.Net()
        net.opt.num_threads = threads_of
        net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
        net.opt.use_bf16_storage = bf16
        if hasattr(net.opt, "use_bf16_packed"):
            net.opt.use_bf16_packed = bf16
        net.opt.use_packing_layout = True
        with tempfile.TemporaryDirectory() as folder:
            param, weights = pathlib.Path(folder, "m.param"), pathlib.Path(folder, "m.bin")
            param.write_text(f"7767517\n{len(self.lines)} {len(self.names)}\n" + "\n".join(self.lines) + "\n")
            weights.write_bytes(b"".join(self.blobs))
            if net.load_param(str(param)) != 0 or net.load_model(str(weights)) != 0:
                raise RuntimeError("ncnn does not read the model")
        return net


def runner(text, pictures, bf16):
    """() -> None over all pictures, and () -> their results."""
    import ncnn

    net = text.load(bf16)
    held = [ncnn.Mat(np.ascontiguousarray(picture)).clone() for picture in pictures]

    def one(mat):
        extractor = net.create_extractor()
        extractor.input("x", mat)
        status, out = extractor.extract("y")
        if status != 0:
            raise RuntimeError(f"ncnn: status {status}")
        return out

    def call():
        for mat in held:
            one(mat)

    return call, lambda: np.stack([np.array(one(mat)) for mat in held])


def chained(case, links):
    text = Text()
    text.add("Input", [], ["x"])
    weights = depthwise_weights(case)
    for i in range(links):
        ends = ["x" if i == 0 else f"h{i}"], ["y" if i == links - 1 else f"h{i + 1}"]
        options = f"0={case.c} 1={case.k} 3={case.stride} 4={case.k // 2} 5=0 6={weights.size} 7={case.c}"
        text.add("ConvolutionDepthWise", *ends, options, weights)
    return text


def pooled(case):
    text = Text()
    text.add("Input", [], ["x"])
    kind = 0 if case.kind == "max" else 1
    if case.has("oh"):
        options = f"0={kind} 4=1" if (case.oh, case.ow) == (1, 1) else f"0={kind} 7=1 8={case.ow} 18={case.oh}"
    else:
        options = f"0={kind} 1={case.k} 2={case.stride} 3={case.pad} 5=1 6={kind}"
    text.add("Pooling", ["x"], ["y"], options)
    return text


def network(case):
    convolutions, (weight, bias) = networks.folded(case.net, case.file)
    text = Text()
    text.add("Input", [], ["x"])
    x, kept = "x", "x"
    for i, (layer, w, b) in enumerate(convolutions):
        if layer.keeps:
            text.add("Split", [x], [f"k{i}", f"t{i}"])
            kept, x = f"k{i}", f"t{i}"
        options = f"0={layer.outputs} 1={layer.kernel} 3={layer.stride} 4={layer.before} 14={layer.before} 15={layer.after} 16={layer.after} 5=1 6={w.size}"
        if layer.groups > 1:
            options += f" 7={layer.groups}"
        if layer.active:
            options += " 9=3 -23310=2,0.0,6.0"
        text.add("ConvolutionDepthWise" if layer.groups > 1 else "Convolution", [x], [f"c{i}"], options, w, b)
        x = f"c{i}"
        if layer.adds:
            text.add("BinaryOp", [x, kept], [f"s{i}"], "0=0")
            x = f"s{i}"
    text.add("Pooling", [x], ["mean"], "0=1 4=1")
    text.add("InnerProduct", ["mean"], ["y"], f"0={networks.CLASSES} 1=1 2={weight.size}", weight, bias)
    return text


def prepare(case):
    if case.op == "dense":
        raise Unsupported("the dense baseline is PyTorch's and Tessera's")
    if case.op == "network":
        return Call(*runner(network(case), values((case.batch, 3, networks.SIDE, networks.SIDE), 1), case.bf16))
    pictures = values(case.shape, 1)
    if case.op == "pool":
        if case.nhwc or case.bf16:
            raise Unsupported("pools f32 pictures without channels inside only")
        return Call(*runner(pooled(case), pictures, False))
    aside = ""
    if case.n > 1 and 2 * pictures.size * (2 if case.bf16 else 4) > CACHE:
        aside = "one picture after another in the same buffers"
    call, result = runner(chained(case, 1), pictures, case.bf16)
    if not case.nhwc:
        return Call(call, result, "one layer, planes at its doors", aside)
    if case.stride > 1:
        raise Unsupported("no chain of strided layers")
    short, long = (runner(chained(case, links), pictures[:1], case.bf16)[0] for links in LINKS)
    return Chain(short, long, result, "chain", aside, case.n)
