#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "tessera/core/error.h"
#include "tessera/ops/choose.h"
#include "tessera/ops/conv2d_impl.h"

namespace tessera::ops {
namespace {

constexpr const char* kOp = "prepare_conv2d";
constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();

bool is_weight_type(DType t) { return t == DType::f32 || t == DType::bf16 || t == DType::f16; }

std::string pair(std::int64_t a, std::int64_t b) { return "{" + std::to_string(a) + ", " + std::to_string(b) + "}"; }

void check_options(const Conv2d& o) {
  const auto in_range = [](std::int64_t v, std::int64_t least) { return v >= least && v <= kMost; };
  if (o.stride[0] < 1 || o.stride[1] < 1) fail_expected(kOp, "strides of 1 or more", pair(o.stride[0], o.stride[1]));
  if (!in_range(o.dilation[0], 1) || !in_range(o.dilation[1], 1)) fail_expected(kOp, "dilations of 1 or more", pair(o.dilation[0], o.dilation[1]));
  for (const std::int64_t p : o.padding)
    if (!in_range(p, 0)) fail_expected(kOp, "paddings of 0 or more", std::to_string(p));
  if (o.same && o.stride != std::array<std::int64_t, 2>{1, 1}) fail_expected(kOp, "stride 1 for 'same' padding", pair(o.stride[0], o.stride[1]));
  if (o.same && o.padding != std::array<std::int64_t, 4>{}) fail_expected(kOp, "no padding besides 'same'", "both");
  if (o.groups < 1) fail_expected(kOp, "1 group or more", std::to_string(o.groups));
}

void check_weight(const Tensor& w, const Conv2d& o) {
  if (!w.defined() || w.shape().rank() != 4 || w.numel() == 0)
    fail_expected(kOp, "a weight [out, in / groups, kh, kw] with elements", w.str(), "a 1-D kernel is [out, in / groups, 1, kw]");
  if (!is_weight_type(w.dtype()) || !w.is_contiguous())
    fail_expected(kOp, "a contiguous weight of float32, bfloat16 or float16", w.str(), "ops::to_layout converts");
  const Shape& s = w.shape();
  if (s[0] % o.groups != 0)
    fail_expected(kOp, "output channels that are a multiple of " + std::to_string(o.groups) + " groups", std::to_string(s[0]));
  for (const std::int64_t size : s.sizes())
    if (size > kMost) fail_expected(kOp, "sizes below 2^31", s.str());
  if (o.groups > kMost / s[1]) fail_expected(kOp, "fewer than 2^31 input channels", std::to_string(o.groups) + " groups of " + std::to_string(s[1]));
  for (const int axis : {0, 1})
    if (s[2 + axis] > 1 && o.dilation[static_cast<std::size_t>(axis)] > (kMost - 1) / (s[2 + axis] - 1))
      fail_expected(kOp, "a window below 2^31", s.str() + " with dilation " + pair(o.dilation[0], o.dilation[1]));
}

void check_bias(const Tensor& bias, std::int64_t out) {
  if (!bias.defined()) return;
  if (bias.shape() != Shape{out} || !is_weight_type(bias.dtype()) || !bias.is_contiguous())
    fail_expected(kOp, "a contiguous bias [" + std::to_string(out) + "] of float32, bfloat16 or float16", bias.str());
}

/// The elements as float32.
Tensor floats(const Tensor& t) {
  if (!t.defined()) return {};
  Tensor f = Tensor::empty(t.shape(), DType::f32);
  const std::span<float> to = f.span<float>();
  for (std::size_t i = 0; i < to.size(); ++i)
    to[i] = t.dtype() == DType::bf16 ? to_f32(t.data<bf16>()[i]) : t.dtype() == DType::f16 ? to_f32(t.data<f16>()[i]) : t.data<float>()[i];
  return f;
}

/// [rows, c, kh, kw] as [rows, kh * kw * c] in the order (kh, kw, c): that of the windows of nhwc pictures.
Tensor channels_last(const Tensor& w, std::int64_t c, std::int64_t taps) {
  Tensor t = Tensor::empty({w.shape()[0], taps * c}, DType::f32);
  const float* from = w.data<float>();
  float* to = t.data<float>();
  for (std::int64_t o = 0; o < w.shape()[0]; ++o, from += c * taps, to += c * taps)
    for (std::int64_t i = 0; i < c; ++i)
      for (std::int64_t k = 0; k < taps; ++k) to[k * c + i] = from[i * taps + k];
  return t;
}

ConvPath path_of(const Shape& w, const Conv2d& o) {
  // One input channel that makes several outputs is an ordinary product; several of them would each be a product of width 1.
  if (w[1] == 1 && (o.groups > 1 || w[0] == 1)) return ConvPath::depthwise;
  const bool bare = o.padding == std::array<std::int64_t, 4>{};
  if (bare && w[2] == 1 && w[3] == 1 && o.stride == std::array<std::int64_t, 2>{1, 1}) return ConvPath::product;
  const bool dense = (o.dilation[0] == 1 || w[2] == 1) && (o.dilation[1] == 1 || w[3] == 1);
  if (bare && dense && o.groups == 1 && o.stride[0] == w[2] && o.stride[1] == w[3]) return ConvPath::fold;
  return ConvPath::window;
}

void prepare_depthwise(Context& ctx, PreparedConv2d::Impl& impl, const Tensor& weight, const Tensor& bias) {
  impl.row = &choose(ctx, "depthwise", kernels::depthwise_rows());
  kernels::DepthwiseShape shape{};
  shape.c = impl.in;
  shape.m = impl.out / impl.in;
  shape.kh = impl.kh;
  shape.kw = impl.kw;
  const std::int64_t lanes = impl.row->functions.lanes;
  const bool nhwc = impl.options.order == ImageOrder::nhwc;
  impl.packed = Tensor::empty({kernels::depthwise_packed(shape, lanes, nhwc)}, DType::f32);
  kernels::depthwise_pack(shape, lanes, nhwc, weight.data<float>(), bias.defined() ? bias.data<float>() : nullptr, impl.packed.data<float>());
}

void prepare_products(Context& ctx, PreparedConv2d::Impl& impl, const Tensor& weight, const Tensor& bias) {
  const std::int64_t groups = impl.options.groups;
  const std::int64_t each = impl.out / groups;
  const std::int64_t taps = impl.kh * impl.kw;
  const Tensor rows =
      impl.options.order == ImageOrder::nhwc ? channels_last(weight, impl.in / groups, taps) : weight.reshape({impl.out, impl.in / groups * taps});
  for (std::int64_t g = 0; g < groups; ++g)
    impl.products.push_back(
        prepare_linear(ctx, {rows.narrow(g * each, each), bias.defined() ? bias.narrow(g * each, each) : Tensor()}, impl.precision));
}

}  // namespace

PreparedConv2d prepare_conv2d(Context& ctx, const Tensor& weight, const Tensor& bias, const Conv2d& options, DType precision) {
  check_options(options);
  check_weight(weight, options);
  check_bias(bias, weight.shape()[0]);
  if (precision != DType::f32 && precision != DType::bf16) fail_expected(kOp, "a precision of float32 or bfloat16", name(precision));
  auto impl = std::make_shared<PreparedConv2d::Impl>();
  impl->options = options;
  for (std::int64_t& stride : impl->options.stride) stride = std::min(stride, kMost);  // no picture is larger
  impl->out = weight.shape()[0];
  impl->in = weight.shape()[1] * options.groups;
  impl->kh = weight.shape()[2];
  impl->kw = weight.shape()[3];
  impl->precision = precision;
  if (options.same) {
    const std::int64_t down = options.dilation[0] * (impl->kh - 1);
    const std::int64_t across = options.dilation[1] * (impl->kw - 1);
    impl->options.padding = {down / 2, down - down / 2, across / 2, across - across / 2};
  }
  impl->path = path_of(weight.shape(), impl->options);
  const Tensor w = floats(weight);
  const Tensor b = floats(bias);
  if (impl->path == ConvPath::depthwise)
    prepare_depthwise(ctx, *impl, w, b);
  else
    prepare_products(ctx, *impl, w, b);
  return Conv2dAccess::make(std::move(impl));
}

std::string_view PreparedConv2d::path() const noexcept {
  if (impl_ == nullptr) return {};
  switch (impl_->path) {
    case ConvPath::depthwise: return "depthwise";
    case ConvPath::product: return "product";
    case ConvPath::fold: return "fold";
    case ConvPath::window: break;
  }
  return "window";
}

std::string_view PreparedConv2d::row() const noexcept {
  if (impl_ == nullptr) return {};
  return impl_->path == ConvPath::depthwise ? std::string_view(impl_->row->info.name) : impl_->products.front().row();
}

std::int64_t PreparedConv2d::in_channels() const noexcept { return impl_ == nullptr ? 0 : impl_->in; }
std::int64_t PreparedConv2d::out_channels() const noexcept { return impl_ == nullptr ? 0 : impl_->out; }

std::size_t PreparedConv2d::bytes() const noexcept {
  if (impl_ == nullptr) return 0;
  std::size_t sum = impl_->path == ConvPath::depthwise ? impl_->packed.bytes() : 0;
  for (const PreparedLinear& p : impl_->products) sum += p.bytes();
  return sum;
}

}  // namespace tessera::ops
