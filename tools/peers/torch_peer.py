"""PyTorch: F.conv2d, F.adaptive_avg_pool2d and so on in channels_last (NHWC) or contiguous (NCHW) tensors; networks in channels_last, the best of eager,
frozen TorchScript, its oneDNN calls with fused activations and, when the case says compile=1, torch.compile with frozen weights."""

import functools
import warnings

from networks import CLASSES, SIDE, folded
from serve import Best, Call, Unsupported, depthwise_weights, values


def start(threads):
    import torch

    warnings.filterwarnings("ignore")
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    return torch.__version__, "channels_last for NHWC, contiguous for NCHW; networks channels_last, batch norms folded"


def dtype_of(case):
    import torch

    return torch.bfloat16 if case.bf16 else torch.float32


def tensor(array, case, channels_last):
    import torch

    order = torch.channels_last if channels_last else torch.contiguous_format
    return torch.from_numpy(array).to(dtype_of(case)).contiguous(memory_format=order)


def array_of(y):
    return y.float().contiguous().numpy()


def convolution(case):
    """The call, and its result; depthwise, or dense with zeros off the diagonal."""
    import numpy as np
    import torch.nn.functional as F

    weight = depthwise_weights(case)
    if case.op == "dense":
        wide = np.zeros((case.c, case.c, case.k, case.k), np.float32)
        wide[range(case.c), range(case.c)] = weight[:, 0]
        weight = wide
    x, w = tensor(values(case.shape, 1), case, case.nhwc), tensor(weight, case, case.nhwc)
    return lambda: F.conv2d(x, w, None, case.stride, case.k // 2, 1, 1 if case.op == "dense" else case.c)


def pool(case):
    import torch.nn.functional as F

    x = tensor(values(case.shape, 1), case, case.nhwc)
    if case.has("oh"):
        adaptive = F.adaptive_avg_pool2d if case.kind == "avg" else F.adaptive_max_pool2d
        return lambda: adaptive(x, (case.oh, case.ow))
    plain = F.avg_pool2d if case.kind == "avg" else F.max_pool2d
    return lambda: plain(x, case.k, case.stride, case.pad)


@functools.lru_cache(maxsize=1)
def weights_of(net, file):
    return folded(net, file)


def module(case):
    """The network as a torch.nn.Module."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    convolutions, (linear_weight, linear_bias) = weights_of(case.net, case.file)

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.convs = nn.ModuleList()
            for layer, weight, bias in convolutions:
                even = layer.before == layer.after
                conv = nn.Conv2d(layer.inputs, layer.outputs, layer.kernel, layer.stride, layer.before if even else 0, groups=layer.groups)
                conv.weight.data, conv.bias.data = torch.from_numpy(weight), torch.from_numpy(bias)
                self.convs.append(conv)
            self.linear = nn.Linear(linear_weight.shape[1], CLASSES)
            self.linear.weight.data, self.linear.bias.data = torch.tensor(linear_weight), torch.tensor(linear_bias)

        def forward(self, x):
            kept = x
            for (layer, _, _), conv in zip(convolutions, self.convs):
                if layer.keeps:
                    kept = x
                if layer.before != layer.after:
                    x = F.pad(x, (layer.before, layer.after, layer.before, layer.after))
                x = conv(x)
                if layer.active:
                    x = F.relu6(x)
                if layer.adds:
                    x = x + kept
            return self.linear(x.mean((2, 3)))

    return Network().eval().to(dtype_of(case)).to(memory_format=torch.channels_last)


def picture(case):
    return tensor(values((case.batch, 3, SIDE, SIDE), 1), case, True)


def fused(case):
    """The network as a row of oneDNN's primitives with prepacked weights, ReLU6 and the residuals fused into them."""
    import torch
    import torch.nn.functional as F

    dtype = dtype_of(case)
    convolutions, (linear_weight, linear_bias) = weights_of(case.net, case.file)
    ops, prepared = torch.ops.mkldnn, []
    side = SIDE
    for layer, weight, bias in convolutions:
        even = layer.before == layer.after
        pad = [layer.before if even else 0] * 2
        padded = side if even else side + layer.before + layer.after
        stride, once = [layer.stride] * 2, [1, 1]
        w = torch.from_numpy(weight).to(dtype).to_mkldnn()
        w = torch._C._nn.mkldnn_reorder_conv2d_weight(w, pad, stride, once, layer.groups, (case.batch, layer.inputs, padded, padded))
        prepared.append((layer, w, torch.from_numpy(bias).to(dtype), pad, stride, once))
        side = layer.side
    linear_w = ops._reorder_linear_weight(torch.tensor(linear_weight).to(dtype), case.batch)
    linear_b = torch.tensor(linear_bias).to(dtype)
    first = picture(case)

    def call():
        x = kept = first
        for layer, w, b, pad, stride, once in prepared:
            if layer.keeps:
                kept = x
            if layer.before != layer.after:
                x = F.pad(x, (layer.before, layer.after, layer.before, layer.after))
            if layer.adds:
                x = ops._convolution_pointwise_.binary(kept, x, w, b, pad, stride, once, layer.groups, "add", 1.0, None, [], None)
            else:
                attr, scalars = ("hardtanh", [0.0, 6.0]) if layer.active else ("none", [])
                x = ops._convolution_pointwise(x, w, b, pad, stride, once, layer.groups, attr, scalars, "")
        return ops._linear_pointwise(x.mean((2, 3)), linear_w, linear_b, "none", [], "")

    return call


def network(case):
    import torch

    if case.bf16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        raise Unsupported("bf16 on this CPU only without oneDNN: half a second a picture")
    x, model = picture(case), module(case)
    ways = {"eager": lambda: model(x)}
    try:
        script = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(model, x)))
        script(x)
        ways["frozen TorchScript"] = lambda: script(x)
    except Exception as e:
        print(f"torch: no frozen TorchScript: {str(e)[:200]}", flush=True)
    try:
        chain = fused(case)
        chain()
        ways["fused oneDNN calls"] = chain
    except Exception as e:
        print(f"torch: no fused oneDNN calls: {str(e)[:200]}", flush=True)
    if case.has("compile"):
        import torch._inductor.config as config

        config.freezing = True
        torch._dynamo.reset()
        compiled = torch.compile(model)
        compiled(x)
        ways["torch.compile"] = lambda: compiled(x)
    return Best(ways, lambda: array_of(ways[list(ways)[-1]]()))


def prepare(case):
    if case.op == "network":
        return network(case)
    import torch

    call = pool(case) if case.op == "pool" else convolution(case)
    plain = case.op != "pool" and case.bf16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return Call(call, lambda: array_of(call()), aside="plain loops, as oneDNN has no bf16 on this CPU" if plain else "")
