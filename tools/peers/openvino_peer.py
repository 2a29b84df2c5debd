"""OpenVINO's CPU plugin, one stream, latency hint, f32 or bf16 as precision hint, f32 tensors at its doors. Depthwise NHWC: one layer in the middle of a
chain (its own blocked layout); NCHW: a model of one layer."""

import onnx_models
from serve import LINKS, Call, Chain, Unsupported, values

core = None
options = {}


def start(threads):
    global core
    import openvino

    core = openvino.Core()
    options.update({"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"})
    return openvino.__version__, "one stream, latency hint, precision as hint, f32 tensors in and out"


def runner(model, x, case):
    import openvino

    request = core.compile_model(model, "CPU", {**options, "INFERENCE_PRECISION_HINT": case.dtype}).create_infer_request()
    request.set_input_tensor(0, openvino.Tensor(x))
    request.infer()

    def call():
        request.start_async()
        request.wait()

    return call, lambda: request.get_output_tensor(0).data


def onnx_runner(model, x, case):
    return runner(core.read_model(model), x, case)


def adaptive(case):
    import numpy as np
    import openvino
    from openvino import opset13

    x = opset13.parameter(list(case.shape), openvino.Type.f32, name="x")
    size = opset13.constant(np.array([case.oh, case.ow], np.int32))
    y = opset13.adaptive_avg_pool(x, size) if case.kind == "avg" else opset13.adaptive_max_pool(x, size, "i32")
    return openvino.Model([opset13.result(y.output(0))], [x], "pool")


def prepare(case):
    if case.op == "dense":
        raise Unsupported("the dense baseline is PyTorch's and Tessera's")
    if case.bf16 and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise Unsupported("no bf16 on this CPU")
    x = onnx_models.input_of(case)
    if case.op == "network":
        return Call(*onnx_runner(onnx_models.network(case), x, case))
    if case.op == "pool":
        if case.nhwc or case.bf16:
            raise Unsupported("pools NCHW tensors of f32 only")
        return Call(*(runner(adaptive(case), x, case) if case.has("oh") else onnx_runner(onnx_models.pooled(case), x, case)))
    call, result = onnx_runner(onnx_models.chained(case, 1), x, case)
    if not case.nhwc:
        return Call(call, result, "one layer, f32 NCHW at its doors")
    if case.stride > 1:
        raise Unsupported("no chain of strided layers")
    short, long = (onnx_runner(onnx_models.chained(case, links), values(case.shape, 1), case)[0] for links in LINKS)
    return Chain(short, long, result, "chain")
