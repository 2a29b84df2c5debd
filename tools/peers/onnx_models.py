"""ONNX models of the cases, made with the `onnx` package alone: depthwise chains, single pools, whole networks."""

import networks
import numpy as np
import onnx
import serve
from onnx import TensorProto, helper, numpy_helper


def model(nodes, constants, shape, out):
    """Bytes of a float32 model x [shape] -> y [out]."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(sizes)) for name, sizes in (("x", shape), ("y", out))]
    tensors = [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "case", ends[:1], ends[1:], tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    made.ir_version = 9
    onnx.checker.check_model(made)
    return made.SerializeToString()


def chained(case, links):
    """`links` depthwise convolutions in a row, each with the same weights."""
    pad = case.k // 2
    nodes = []
    for i in range(links):
        ends = ["x" if i == 0 else f"h{i}"], ["y" if i == links - 1 else f"h{i + 1}"]
        given = {"kernel_shape": [case.k] * 2, "pads": [pad] * 4, "strides": [case.stride] * 2, "group": case.c}
        nodes.append(helper.make_node("Conv", [ends[0][0], f"w{i}"], ends[1], **given))
    height, width = ((side + 2 * pad - case.k) // case.stride + 1 for side in (case.h, case.w))
    constants = {f"w{i}": serve.depthwise_weights(case) for i in range(links)}
    return model(nodes, constants, case.shape, (case.n, case.c, height, width))


def pooled(case):
    """Global or plain pooling; ONNX has no adaptive one."""
    if case.has("oh"):
        if (case.oh, case.ow) != (1, 1):
            raise serve.Unsupported("no adaptive pools")
        node = helper.make_node("GlobalAveragePool" if case.kind == "avg" else "GlobalMaxPool", ["x"], ["y"])
        return model([node], {}, case.shape, (case.n, case.c, 1, 1))
    given = {"kernel_shape": [case.k] * 2, "pads": [case.pad] * 4, "strides": [case.stride] * 2}
    if case.kind == "avg":
        given["count_include_pad"] = 1
    node = helper.make_node("AveragePool" if case.kind == "avg" else "MaxPool", ["x"], ["y"], **given)
    height, width = ((side + 2 * case.pad - case.k) // case.stride + 1 for side in (case.h, case.w))
    return model([node], {}, case.shape, (case.n, case.c, height, width))


def network(case):
    convolutions, (weight, bias) = networks.folded(case.net, case.file)
    nodes = []
    constants = {"low": np.float32(0), "high": np.float32(6), "weight": weight, "bias": bias}
    x, kept = "x", "x"
    for i, (layer, w, b) in enumerate(convolutions):
        if layer.keeps:
            kept = x
        constants[f"w{i}"], constants[f"b{i}"] = w, b
        pads = [layer.before, layer.before, layer.after, layer.after]
        given = {"kernel_shape": [layer.kernel] * 2, "pads": pads, "strides": [layer.stride] * 2, "group": layer.groups}
        nodes.append(helper.make_node("Conv", [x, f"w{i}", f"b{i}"], [f"c{i}"], **given))
        x = f"c{i}"
        if layer.active:
            nodes.append(helper.make_node("Clip", [x, "low", "high"], [f"a{i}"]))
            x = f"a{i}"
        if layer.adds:
            nodes.append(helper.make_node("Add", [x, kept], [f"s{i}"]))
            x = f"s{i}"
    nodes.append(helper.make_node("GlobalAveragePool", [x], ["mean"]))
    nodes.append(helper.make_node("Flatten", ["mean"], ["flat"]))
    nodes.append(helper.make_node("Gemm", ["flat", "weight", "bias"], ["y"], transB=1))
    return model(nodes, constants, (case.batch, 3, networks.SIDE, networks.SIDE), (case.batch, networks.CLASSES))


def input_of(case):
    shape = (case.batch, 3, networks.SIDE, networks.SIDE) if case.op == "network" else case.shape
    return serve.values(shape, 1)
