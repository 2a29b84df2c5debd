"""MobileNetV2 with prepared depthwise weights and an adaptive pool: 96 x 96 pictures to 1000 classes, random weights, NHWC."""

import numpy as np
from common import Weights, device, report, wanted_dtype

import tessera.ttnn as ttnn

# expansion, channels, blocks, stride
BLOCKS = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
SIZE, CLASSES = 96, 1000


class Conv:
    """One convolution with its folded batch norm, prepared once for pictures of one size."""

    def __init__(self, w, name, size, n_in, n_out, kernel=1, stride=1, groups=1, relu6=True):
        self.w, self.name = w, name
        pad = kernel // 2
        self.sizes = dict(batch_size=1, input_height=size, input_width=size, in_channels=n_in, out_channels=n_out, kernel_size=(kernel, kernel), stride=(stride, stride),
                          padding=(pad, pad), dilation=(1, 1), groups=groups)
        self.config = ttnn.Conv2dConfig(
            weights_dtype=w.dtype, activation=ttnn.UnaryWithParam(ttnn.UnaryOpType.RELU6) if relu6 else None, output_layout=ttnn.ROW_MAJOR_LAYOUT
        )
        fan = n_in // groups * kernel * kernel
        rng = w.rng
        weight = ttnn.from_torch(rng.standard_normal((n_out, n_in // groups, kernel, kernel), dtype=np.float32) * (2 / fan) ** 0.5, dtype=w.dtype)
        bias = ttnn.from_torch(rng.standard_normal((1, 1, 1, n_out), dtype=np.float32) * 0.1, dtype=w.dtype)
        w.arrays[f"{name}.weight"], w.arrays[f"{name}.bias"] = (ttnn.to_numpy(t).astype(np.float64) for t in (weight, bias))
        common = dict(input_memory_config=ttnn.DRAM_MEMORY_CONFIG, input_layout=ttnn.ROW_MAJOR_LAYOUT, device=w.device, input_dtype=w.dtype, conv_config=self.config)
        self.weight = ttnn.prepare_conv_weights(weight_tensor=weight, weights_format="OIHW", has_bias=True, **common, **self.sizes)
        self.bias = ttnn.prepare_conv_bias(bias_tensor=bias, **common, **self.sizes)

    def __call__(self, x):
        return ttnn.conv2d(input_tensor=x, weight_tensor=self.weight, bias_tensor=self.bias, device=self.w.device, conv_config=self.config, **self.sizes)

    def reference(self, x):
        kept = {**self.sizes, "conv_config": self.config}
        return ttnn.get_golden_function(ttnn.conv2d)(
            input_tensor=x, weight_tensor=self.w.arrays[f"{self.name}.weight"], bias_tensor=self.w.arrays[f"{self.name}.bias"], **kept
        )


class MobileNetV2:
    def __init__(self, w):
        size = SIZE // 2
        self.stem = Conv(w, "stem", SIZE, 3, 32, 3, 2)
        self.blocks, channels = [], 32
        for expansion, width, count, first_stride in BLOCKS:
            for i in range(count):
                stride, hidden = first_stride if i == 0 else 1, channels * expansion
                name = f"block{len(self.blocks)}"
                layers = [Conv(w, f"{name}.expand", size, channels, hidden)] if expansion > 1 else []
                layers.append(Conv(w, f"{name}.depthwise", size, hidden, hidden, 3, stride, groups=hidden))
                size = -(-size // stride)
                layers.append(Conv(w, f"{name}.project", size, hidden, width, relu6=False))
                self.blocks.append((layers, stride == 1 and channels == width))
                channels = width
        self.head = Conv(w, "head", size, channels, 1280)
        self.size = size
        self.weight, self.bias = w.normal("classifier.weight", 1280, CLASSES), w.normal("classifier.bias", CLASSES, scale=0.1)
        self.w = w

    def __call__(self, x):
        x = self.stem(x)
        for layers, residual in self.blocks:
            y = x
            for conv in layers:
                y = conv(y)
            x = ttnn.add(x, y) if residual else y
        x = self.head(x)
        x = ttnn.adaptive_avg_pool2d(x, 1, self.size, self.size, 1280, (1, 1))
        return ttnn.linear(ttnn.to_layout(x, ttnn.TILE_LAYOUT), self.weight, bias=self.bias, dtype=self.w.dtype)

    def reference(self, x):
        x = self.stem.reference(x)
        for layers, residual in self.blocks:
            y = x
            for conv in layers:
                y = conv.reference(y)
            x = x + y if residual else y
        x = self.head.reference(x).mean(2, keepdims=True)
        return x @ self.w.arrays["classifier.weight"] + self.w.arrays["classifier.bias"]


def main():
    dtype = wanted_dtype()
    with device() as d:
        w = Weights(d, dtype)
        network = MobileNetV2(w)
        x = w.take("x", w.rng.standard_normal((1, 1, SIZE * SIZE, 3)), layout=ttnn.ROW_MAJOR_LAYOUT)
        report("MobileNetV2", lambda: network(x), network.reference(w.arrays["x"]), dtype)


if __name__ == "__main__":
    main()
