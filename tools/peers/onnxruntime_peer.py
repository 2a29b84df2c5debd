"""ONNX Runtime's CPU provider, all graph optimisations, bound inputs and outputs. f32 only. Depthwise NHWC: one layer in the middle of a chain (its own
blocked layout); NCHW: a model of one layer."""

import onnx_models
from serve import LINKS, Call, Chain, Unsupported

settings_of = None


def start(threads):
    global settings_of
    import onnxruntime

    settings_of = onnxruntime.SessionOptions()
    settings_of.intra_op_num_threads = threads
    settings_of.inter_op_num_threads = 1
    settings_of.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings_of.log_severity_level = 3
    return onnxruntime.__version__, "CPU provider, all optimisations, bound buffers"


def runner(model, x):
    """() -> None, and () -> its result."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model, settings_of, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    held = onnxruntime.OrtValue.ortvalue_from_numpy(x)
    y = onnxruntime.OrtValue.ortvalue_from_numpy(session.run(None, {"x": x})[0])
    binding.bind_ortvalue_input("x", held)
    binding.bind_ortvalue_output("y", y)
    return (lambda: session.run_with_iobinding(binding)), (lambda: y.numpy())


def prepare(case):
    if case.bf16:
        raise Unsupported("no bf16 kernels")
    if case.op == "dense":
        raise Unsupported("the dense baseline is PyTorch's and Tessera's")
    x = onnx_models.input_of(case)
    if case.op == "network":
        return Call(*runner(onnx_models.network(case), x))
    if case.op == "pool":
        if case.nhwc:
            raise Unsupported("NCHW tensors only")
        return Call(*runner(onnx_models.pooled(case), x))
    call, result = runner(onnx_models.chained(case, 1), x)
    if not case.nhwc:
        return Call(call, result, "one layer, NCHW at its doors")
    if case.stride > 1:
        raise Unsupported("no chain of strided layers")
    short, long = (runner(onnx_models.chained(case, links), x)[0] for links in LINKS)
    return Chain(short, long, result, "chain")
