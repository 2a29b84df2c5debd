#include "tessera/models/parity/case_runner.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "tessera/core/error.h"
#include "tessera/ops/attention.h"
#include "tessera/ops/conv2d.h"
#include "tessera/ops/elementwise.h"
#include "tessera/ops/interpolate.h"
#include "tessera/ops/linear.h"
#include "tessera/ops/norm.h"
#include "tessera/ops/pool.h"
#include "tessera/ops/reorder.h"
#include "tessera/ops/resize.h"
#include "tessera/ops/softmax.h"

namespace tessera::models {
namespace {

using ops::ImageOrder;
using Pair = std::array<std::int64_t, 2>;

class Runner {
 public:
  Runner(Context& ctx, const OpCase& c, DType dtype, ImageOrder order)
      : ctx_(ctx), case_(c), params_(c.json->at("params")), dtype_(dtype), order_(order) {}

  std::vector<CaseRun> run() {
    const std::string& f = case_.family;
    if (f == "adaptive_avg_pool2d" || f == "adaptive_max_pool2d") return adaptive(f == "adaptive_max_pool2d");
    if (f == "max_pool2d") return max_pool();
    if (f == "avg_pool2d") return {result(ops::avg_pool2d(ctx_, picture("x"), avg()))};
    if (f == "conv2d") return conv();
    if (f == "linear") return linear();
    if (f == "layer_norm" || f == "rms_norm") return norm(f == "layer_norm");
    if (f == "softmax") return softmax();
    if (f == "activations") return activation();
    if (f == "scaled_dot_product_attention") return attention();
    if (f == "interpolate_bicubic") return interpolate();
    if (f == "resize_antialias") return resize();
    fail_expected(case_.name, "a family of ops that is known", "'" + f + "'");
  }

 private:
  bool has(std::string_view name) const { return case_.file->find(case_.name + "." + std::string(name)) != nullptr; }

  /// f32, as stored.
  Tensor f32(std::string_view name) const {
    const std::string full = case_.name + "." + std::string(name);
    const std::vector<float> values = case_.file->floats(full);
    return Tensor::from<float>(values, case_.file->find(full)->shape);
  }
  Tensor typed(const Tensor& x, DType dtype) const {
    if (x.dtype() == dtype) return x;
    Tensor y = Tensor::empty(x.shape(), dtype);
    ops::typecast(ctx_, x, y);
    return y;
  }
  Tensor input(std::string_view name) const { return typed(f32(name), dtype_); }

  /// From PyTorch's order (channels before height and width) to the run's, and back.
  Tensor turned(const Tensor& x, bool back) const {
    if (order_ == ImageOrder::nchw) return x;
    if (x.shape().rank() == 3) return ops::permute(ctx_, x, back ? std::array<std::int64_t, 3>{2, 0, 1} : std::array<std::int64_t, 3>{1, 2, 0});
    if (x.shape().rank() != 4) fail_expected(case_.name, "pictures of rank 3 or 4", x.shape().str());
    return ops::permute(ctx_, x, back ? std::array<std::int64_t, 4>{0, 3, 1, 2} : std::array<std::int64_t, 4>{0, 2, 3, 1});
  }
  Tensor picture(std::string_view name) const { return turned(input(name), false); }
  CaseRun result(const Tensor& y, const char* expected = "y", bool exact = false) const {
    return {has_orders(case_.family) ? turned(y, true) : y, expected, exact, {}, {}};
  }

  /// A number for both dimensions, or a pair; `none` for null.
  Pair pair(std::string_view key, Pair none) const {
    const io::Json* found = params_.find(key);
    if (found == nullptr || found->is_null()) return none;
    if (found->is_number()) return {found->integer(), found->integer()};
    if (found->array().size() != 2) fail_expected(found->where(), "two numbers", std::to_string(found->array().size()));
    const auto one = [&](std::size_t i) { return found->array()[i].is_null() ? none[i] : found->array()[i].integer(); };
    return {one(0), one(1)};
  }
  bool flag(std::string_view key, bool otherwise) const {
    const io::Json* found = params_.find(key);
    return found == nullptr ? otherwise : found->boolean();
  }

  std::vector<CaseRun> adaptive(bool maximum) {
    const ops::AdaptivePool2d options{.output = pair("output_size", {ops::kInputSize, ops::kInputSize}), .order = order_};
    if (!maximum) return {result(ops::adaptive_avg_pool2d(ctx_, picture("x"), options))};
    Tensor indices;
    const Tensor y = ops::adaptive_max_pool2d(ctx_, picture("x"), options, &indices);
    const Tensor alone = ops::adaptive_max_pool2d(ctx_, picture("x"), options);
    return {result(y, "y", true), result(alone, "y", true), result(indices, "indices", true)};
  }

  std::vector<CaseRun> max_pool() {
    const Pair padding = pair("padding", {0, 0});
    const ops::MaxPool2d options{.kernel = pair("kernel_size", {0, 0}),
                                 .stride = pair("stride", {0, 0}),
                                 .padding = {padding[0], padding[0], padding[1], padding[1]},
                                 .dilation = pair("dilation", {1, 1}),
                                 .ceil_mode = flag("ceil_mode", false),
                                 .order = order_};
    Tensor indices;
    const Tensor y = ops::max_pool2d(ctx_, picture("x"), options, &indices);
    const Tensor alone = ops::max_pool2d(ctx_, picture("x"), options);
    return {result(y, "y", true), result(alone, "y", true), result(indices, "indices", true)};
  }

  ops::AvgPool2d avg() const {
    const Pair padding = pair("padding", {0, 0});
    const io::Json* divisor = params_.find("divisor_override");
    return {.kernel = pair("kernel_size", {0, 0}),
            .stride = pair("stride", {0, 0}),
            .padding = {padding[0], padding[0], padding[1], padding[1]},
            .ceil_mode = flag("ceil_mode", false),
            .count_include_pad = flag("count_include_pad", true),
            .divisor_override = divisor == nullptr ? 0 : divisor->integer(),
            .order = order_};
  }

  std::vector<CaseRun> conv() {
    ops::Conv2d options{
        .stride = pair("stride", {1, 1}), .dilation = pair("dilation", {1, 1}), .groups = params_.at("groups").integer(), .order = order_};
    const io::Json* padding = params_.find("padding");
    const io::Json* four = params_.find("pad_left_right_top_bottom");
    if (padding != nullptr && padding->is_string()) {
      if (padding->string() != "same") fail_expected(padding->where(), "numbers or \"same\"", padding->string());
      options.same = true;
    } else {
      const Pair p = pair("padding", {0, 0});
      options.padding = {p[0], p[0], p[1], p[1]};
    }
    if (four != nullptr) {
      if (four->array().size() != 4) fail_expected(four->where(), "four numbers", std::to_string(four->array().size()));
      constexpr std::array<std::size_t, 4> kPlace = {2, 3, 0, 1};  // ours: top, bottom, left, right
      for (std::size_t i = 0; i < 4; ++i) options.padding[kPlace[i]] += four->array()[i].integer();
    }
    const ops::PreparedConv2d w = ops::prepare_conv2d(ctx_, f32("weight"), has("bias") ? f32("bias") : Tensor(), options, dtype_);
    CaseRun run = result(ops::conv2d(ctx_, picture("x"), w));
    run.note = " " + std::string(w.path());
    return {run};
  }

  std::vector<CaseRun> linear() {
    Tensor x = input("x");
    if (x.shape().rank() == 1) x = x.reshape(Shape{1, x.numel()});
    const ops::PreparedLinear w = ops::prepare_linear(ctx_, {f32("weight"), has("bias") ? f32("bias") : Tensor()}, dtype_);
    return {result(ops::linear(ctx_, x, w, {}, dtype_))};
  }

  std::vector<CaseRun> norm(bool layer) {
    std::int64_t n = 1;
    for (const io::Json& size : params_.at("normalized_shape").array()) n *= size.integer(1, 1 << 30);
    const Tensor stored = input("x");
    if (stored.numel() % n != 0) fail_expected(case_.name, "x of whole rows of " + std::to_string(n), stored.shape().str());
    const Tensor x = stored.reshape(Shape{stored.numel() / n, n});
    const auto parameter = [&](const char* name, float otherwise, float shift) {
      Tensor p = has(name) ? f32(name).reshape(Shape{n}) : Tensor::empty(Shape{n}, DType::f32);
      for (float& v : p.span<float>()) v = (has(name) ? v : otherwise) + shift;
      return p;
    };
    Tensor y = Tensor::empty(x.shape(), dtype_);
    const io::Json* used = params_.find("eps_used_in_float32");
    const auto eps = static_cast<float>((used == nullptr ? params_.at("eps") : *used).number());
    if (layer)
      ops::layer_norm(ctx_, x, {parameter("weight", 1, 0), parameter("bias", 0, 0), eps}, y);
    else
      ops::rms_norm(ctx_, x, {parameter("weight", 1, -1), eps}, y);
    return {result(y)};
  }

  std::vector<CaseRun> softmax() {
    ops::Softmax options{.dim = params_.at("dim").integer()};
    if (const io::Json* kind = params_.find("mask"); kind != nullptr) {
      const std::string full = case_.name + ".mask";
      if (kind->string().starts_with("bool")) {
        const std::vector<std::int64_t> keep = case_.file->integers(full);
        options.mask = Tensor::empty(case_.file->find(full)->shape, DType::u8);
        std::ranges::transform(keep, options.mask.data<std::uint8_t>(), [](std::int64_t v) { return static_cast<std::uint8_t>(v != 0); });
      } else {
        options.mask = f32("mask");
      }
    }
    const Tensor x = input("x");
    Tensor y = Tensor::empty(x.shape(), dtype_);
    ops::softmax(ctx_, x, options, y);
    return {result(y)};
  }

  std::vector<CaseRun> activation() {
    const std::string& function = params_.at("function").string();
    const Tensor x = input("x");
    Tensor y = Tensor::empty(x.shape(), dtype_);
    if (function == "gelu_erf")
      ops::gelu(ctx_, x, y);
    else if (function == "gelu_tanh")
      ops::gelu_tanh(ctx_, x, y);
    else if (function == "silu")
      ops::silu(ctx_, x, y);
    else
      fail_expected(params_.at("function").where(), "gelu_erf, gelu_tanh or silu", function);
    CaseRun run = result(y);
    for (const double v : case_.file->doubles(case_.name + ".x")) run.limits.push_back(v < 0 ? 0 : v);  // of all three, far from zero
    return {run};
  }

  std::vector<CaseRun> attention() {
    Tensor q = f32("query"), k = f32("key"), v = f32("value");
    for (const Tensor* t : {&q, &k, &v})
      if (t->shape().rank() != 4) fail_expected(case_.name, "query, key and value [batch, heads, length, dim]", t->shape().str());
    const std::int64_t batch = q.shape()[0], heads = q.shape()[1], rows = q.shape()[2], kv_heads = k.shape()[1], keys = k.shape()[2];
    const std::int64_t value_dim = v.shape()[3];
    const io::Json* scale = params_.find("scale");
    const double factor = scale == nullptr ? 1 / std::sqrt(static_cast<double>(q.shape()[3])) : scale->number();
    if (kv_heads < 1 || heads % kv_heads != 0) fail_expected(case_.name, "query heads that key heads divide", std::to_string(heads));
    // A width of their own for values: zeros behind queries and keys change no logit.
    const std::int64_t width = std::max(q.shape()[3], value_dim);
    const auto widened = [&](const Tensor& t) {
      const std::array<std::int64_t, 4> before{}, after{0, 0, 0, width - t.shape()[3]};
      return ops::pad(ctx_, t, before, after, 0);
    };
    q = widened(q), k = widened(k), v = widened(v);
    Tensor mask;
    if (params_.find("mask") != nullptr) {
      const std::string full = case_.name + ".mask";
      mask = f32("mask");
      if (params_.at("mask").string().starts_with("bool"))
        for (float& m : mask.span<float>()) m = m != 0 ? 0 : -std::numeric_limits<float>::infinity();
      if (mask.shape().rank() != 4 || mask.shape()[2] != rows || mask.shape()[3] != keys || (mask.shape()[0] != 1 && mask.shape()[0] != batch) ||
          (mask.shape()[1] != 1 && mask.shape()[1] != heads))
        fail_expected(full, "a mask that broadcasts to [batch, heads, length, keys]", mask.shape().str());
    }
    Tensor causal;
    if (flag("is_causal", false)) {
      causal = Tensor::zeros(Shape{rows, keys}, DType::u8);
      for (std::int64_t r = 0; r < rows; ++r)
        for (std::int64_t c = 0; c <= std::min(r, keys - 1); ++c) causal.data<std::uint8_t>()[r * keys + c] = 1;
    }
    Tensor y = Tensor::empty(Shape{batch, heads, rows, value_dim}, DType::f32);
    for (std::int64_t b = 0; b < batch; ++b)
      for (std::int64_t h = 0; h < heads; ++h) {
        const auto plane = [&](const Tensor& t, std::int64_t head, std::int64_t length) {
          return t.reshape(Shape{t.shape()[0] * t.shape()[1], length, width}).narrow(b * t.shape()[1] + head, 1).reshape(Shape{length, width});
        };
        const std::int64_t shared = h / (heads / kv_heads);
        const std::array<ops::KeyValue, 1> segments = {{{plane(k, shared, keys), plane(v, shared, keys)}}};
        Tensor one = causal;
        if (mask.defined()) {
          const std::int64_t at = (mask.shape()[0] == 1 ? 0 : b) * mask.shape()[1] + (mask.shape()[1] == 1 ? 0 : h);
          one = mask.reshape(Shape{mask.shape()[0] * mask.shape()[1], rows, keys}).narrow(at, 1).reshape(Shape{rows, keys});
        }
        Tensor out = Tensor::empty(Shape{rows, width}, DType::f32);
        ops::attention(ctx_, plane(q, h, rows), segments, {.heads = 1, .kv_heads = 1, .scale = static_cast<float>(factor), .mask = one}, out);
        Tensor place = y.reshape(Shape{batch * heads, rows, value_dim}).narrow(b * heads + h, 1).reshape(Shape{rows, value_dim});
        ops::to_layout(ctx_, out.columns(0, value_dim), place);
      }
    return {result(y)};
  }

  std::vector<CaseRun> interpolate() {
    ops::Interpolate options{.mode = mode(), .align_corners = flag("align_corners", false), .antialias = flag("antialias", false), .order = order_};
    if (const io::Json* factor = params_.find("scale_factor"); factor != nullptr) {
      const std::vector<double> factors = factor->is_number() ? std::vector<double>(2, factor->number()) : factor->numbers();
      if (factors.size() != 2) fail_expected(factor->where(), "two factors", std::to_string(factors.size()));
      if (!flag("recompute_scale_factor", false)) options.scale_factor = {factors[0], factors[1]};
    }
    const Tensor x = picture("x");
    const io::StoredTensor* stored = case_.file->find(case_.name + ".y");
    if (stored == nullptr) fail_expected(case_.name, "a recorded y", "none");
    const Tensor like = turned(Tensor::zeros(stored->shape, DType::f32), false);
    Tensor y = Tensor::empty(like.shape(), dtype_);
    ops::interpolate(ctx_, x, options, y);
    return {result(y)};
  }

  ops::InterpolateMode mode() const {
    const std::string& word = params_.at("mode").string();
    if (word == "nearest") return ops::InterpolateMode::nearest;
    if (word == "bilinear") return ops::InterpolateMode::bilinear;
    if (word == "bicubic") return ops::InterpolateMode::bicubic;
    fail_expected(params_.at("mode").where(), "nearest, bilinear or bicubic", word);
  }

  std::vector<CaseRun> resize() {
    const Tensor image = case_.file->tensor(case_.name + ".image");
    const Pair size = pair("size", {0, 0});
    const Shape shape{size[0], size[1], image.shape()[-1]};
    const ops::Interpolate options{.mode = mode(), .antialias = true};
    Tensor bytes = Tensor::empty(shape, DType::u8), floats = Tensor::empty(shape, DType::f32), pil = Tensor::empty(shape, DType::u8);
    ops::interpolate(ctx_, typed(image, DType::f32), options, floats);
    ops::interpolate(ctx_, image, options, bytes);
    const auto filter = mode() == ops::InterpolateMode::bicubic ? ops::ResizeFilter::pil_bicubic : ops::ResizeFilter::pil_bilinear;
    ops::resize(ctx_, image, filter, pil);
    return {{floats, "torch_f32", false, " torch", {}}, {bytes, "torch_u8", true, " torch uint8", {}}, {pil, "pil_u8", true, " Pillow", {}}};
  }

  Context& ctx_;
  const OpCase& case_;
  const io::Json& params_;
  DType dtype_;
  ImageOrder order_;
};

}  // namespace

bool has_orders(const std::string& family) { return family.ends_with("_pool2d") || family == "conv2d" || family == "interpolate_bicubic"; }

std::vector<CaseRun> run_op(Context& ctx, const OpCase& c, DType dtype, ops::ImageOrder order) { return Runner(ctx, c, dtype, order).run(); }

}  // namespace tessera::models
