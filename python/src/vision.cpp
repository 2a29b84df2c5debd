// Pools, convolutions and upsampling of NHWC pictures, whole or flattened to [1, 1, n * h * w, c].
#include <nanobind/nanobind.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>

#include "python/src/bind.h"
#include "tessera/core/error.h"
#include "tessera/ops/conv2d.h"
#include "tessera/ops/interpolate.h"
#include "tessera/ops/pool.h"

namespace nb = nanobind;

namespace tessera::python {
namespace {

using Two = std::array<std::int64_t, 2>;
using Four = std::array<std::int64_t, 4>;

ops::ImageSize flat(const Two& size, std::int64_t batch) { return {.n = batch, .h = size[0], .w = size[1], .c = 0}; }

nb::object with_indices(Tensor y, Tensor indices, bool wanted) {
  if (!wanted) return nb::cast(std::move(y));
  return nb::make_tuple(std::move(y), std::move(indices));
}

nb::object max_pool2d(const Tensor& x, std::int64_t batch, Two size, Two kernel, Two stride, Four padding, Two dilation, bool ceil_mode,
                      bool indices) {
  const ops::MaxPool2d options{.kernel = kernel, .stride = stride, .padding = padding, .dilation = dilation, .ceil_mode = ceil_mode};
  Tensor where;
  Tensor y = run([&](Context& ctx) { return ops::max_pool2d(ctx, x, options, indices ? &where : nullptr, flat(size, batch)); });
  return with_indices(std::move(y), std::move(where), indices);
}
Tensor avg_pool2d(const Tensor& x, std::int64_t batch, Two size, Two kernel, Two stride, Four padding, bool ceil_mode, bool count_include_pad,
                  std::int64_t divisor_override) {
  const ops::AvgPool2d options{.kernel = kernel,
                               .stride = stride,
                               .padding = padding,
                               .ceil_mode = ceil_mode,
                               .count_include_pad = count_include_pad,
                               .divisor_override = divisor_override};
  return run([&](Context& ctx) { return ops::avg_pool2d(ctx, x, options, flat(size, batch)); });
}
Tensor adaptive_avg_pool2d(const Tensor& x, std::int64_t batch, Two size, Two output, bool strict) {
  return run([&](Context& ctx) { return ops::adaptive_avg_pool2d(ctx, x, {.output = output, .ttnn_strict = strict}, flat(size, batch)); });
}
Tensor adaptive_max_pool2d(const Tensor& x, std::int64_t batch, Two size, Two output, bool strict) {
  return run([&](Context& ctx) { return ops::adaptive_max_pool2d(ctx, x, {.output = output, .ttnn_strict = strict}, nullptr, flat(size, batch)); });
}
Tensor upsample(const Tensor& x, std::array<double, 2> scale, bool bilinear) {
  return run([&](Context& ctx) {
    const std::int64_t h = static_cast<std::int64_t>(static_cast<double>(x.shape()[1]) * scale[0]);
    const std::int64_t w = static_cast<std::int64_t>(static_cast<double>(x.shape()[2]) * scale[1]);
    Tensor y = Tensor::empty({x.shape()[0], h, w, x.shape()[3]}, x.dtype());
    const bool whole =
        scale[0] == static_cast<double>(static_cast<std::int64_t>(scale[0])) && scale[1] == static_cast<double>(static_cast<std::int64_t>(scale[1]));
    ops::Interpolate options{.mode = bilinear ? ops::InterpolateMode::bilinear : ops::InterpolateMode::nearest};
    if (!whole) options.scale_factor = scale;
    ops::interpolate(ctx, x, options, y);
    return y;
  });
}

ops::ConvActivation conv_activation(const std::string& name) {
  using enum ops::ConvActivation;
  if (name.empty()) return none;
  if (name == "relu") return relu;
  if (name == "relu6") return relu6;
  if (name == "silu") return silu;
  if (name == "gelu") return gelu;
  if (name == "hardswish") return hardswish;
  fail_expected("conv2d", "an activation that is fused: relu, relu6, silu, gelu or hardswish", "'" + name + "'");
}

ops::PreparedConv2d prepare_conv2d(const Tensor& weight, const std::optional<Tensor>& bias, Two stride, Four padding, Two dilation,
                                   std::int64_t groups, const std::string& act, DType precision) {
  const ops::Conv2d options{.stride = stride, .padding = padding, .dilation = dilation, .groups = groups, .activation = conv_activation(act)};
  return run([&](Context& ctx) { return ops::prepare_conv2d(ctx, weight, bias.value_or(Tensor()), options, precision); });
}
// x as shards: about so many down its rows and across its channels, which decide how the work is split. {1, 1}: x as it is.
Tensor sharded(const Tensor& x, Two shards) {
  const auto each = [](std::int64_t size, std::int64_t parts) { return (size + parts - 1) / parts; };
  const std::int64_t rows = x.rows(), columns = x.cols();
  if (rows == 0 || columns == 0) return x;
  const std::int64_t height = each(rows, std::clamp<std::int64_t>(shards[0], 1, rows));
  const std::int64_t width = each(columns, std::clamp<std::int64_t>(shards[1], 1, columns));
  const ShardSpec spec{.grid_rows = each(rows, height), .grid_cols = each(columns, width), .height = height, .width = width};
  using enum TensorMemoryLayout;
  if (spec.grid_rows == 1 && spec.grid_cols == 1) return x;
  const TensorMemoryLayout layout = spec.grid_cols == 1 ? height_sharded : spec.grid_rows == 1 ? width_sharded : block_sharded;
  return x.with_memory_config({layout, BufferType::l1, spec});
}

Tensor conv2d(const Tensor& x, const ops::PreparedConv2d& w, std::int64_t batch, Two size, DType dtype, Two shards) {
  return run([&](Context& ctx) {
    Tensor y = Tensor::empty(ops::conv2d_shape(x.shape(), w, flat(size, batch)), dtype);
    ops::conv2d(ctx, sharded(x, shards), w, y, {}, flat(size, batch));
    return y;
  });
}

}  // namespace

void bind_vision(nb::module_& m) {
  nb::class_<ops::PreparedConv2d>(m, "PreparedConv2d", "The weights of a convolution packed for the kernel that will run.")
      .def_prop_ro("path", [](const ops::PreparedConv2d& w) { return std::string(w.path()); })
      .def_prop_ro("row", [](const ops::PreparedConv2d& w) { return std::string(w.row()); })
      .def_prop_ro("nbytes", &ops::PreparedConv2d::bytes);
  m.def("max_pool2d", &max_pool2d, nb::arg("x"), nb::arg("batch"), nb::arg("size"), nb::arg("kernel"), nb::arg("stride"), nb::arg("padding"),
        nb::arg("dilation"), nb::arg("ceil_mode"), nb::arg("indices"));
  m.def("avg_pool2d", &avg_pool2d, nb::arg("x"), nb::arg("batch"), nb::arg("size"), nb::arg("kernel"), nb::arg("stride"), nb::arg("padding"),
        nb::arg("ceil_mode"), nb::arg("count_include_pad"), nb::arg("divisor_override"));
  m.def("adaptive_avg_pool2d", &adaptive_avg_pool2d, nb::arg("x"), nb::arg("batch"), nb::arg("size"), nb::arg("output"), nb::arg("strict"));
  m.def("adaptive_max_pool2d", &adaptive_max_pool2d, nb::arg("x"), nb::arg("batch"), nb::arg("size"), nb::arg("output"), nb::arg("strict"));
  m.def("upsample", &upsample, nb::arg("x"), nb::arg("scale"), nb::arg("bilinear"));
  m.def("prepare_conv2d", &prepare_conv2d, nb::arg("weight"), nb::arg("bias").none(), nb::arg("stride"), nb::arg("padding"), nb::arg("dilation"),
        nb::arg("groups"), nb::arg("activation"), nb::arg("precision"));
  m.def("conv2d", &conv2d, nb::arg("x"), nb::arg("w"), nb::arg("batch"), nb::arg("size"), nb::arg("dtype"), nb::arg("shards"));
}

}  // namespace tessera::python
