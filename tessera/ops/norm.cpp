#include "tessera/ops/norm.h"

#include <algorithm>
#include <string>

#include "tessera/core/error.h"
#include "tessera/kernels/norm/norm.h"
#include "tessera/ops/choose.h"

namespace tessera::ops {
namespace {

constexpr std::int64_t kRowsPerItem = 16;

bool is_float(const Tensor& t) { return t.defined() && t.layout() == Layout::row_major && (t.dtype() == DType::f32 || t.dtype() == DType::bf16); }

void check_xy(const char* op, const Tensor& x, const Tensor& y) {
  constexpr std::string_view kHint = "ops::to_layout and ops::typecast convert";
  if (!is_float(x)) fail_expected(op, "x of float32 or bfloat16 in row-major layout", x.str(), kHint);
  if (!is_float(y)) fail_expected(op, "y of float32 or bfloat16 in row-major layout", y.str(), kHint);
  if (x.shape() != y.shape()) fail_expected(op, "y of x's shape " + x.shape().str(), y.shape().str());
  if (x.shape().rank() < 1 || x.cols() < 1) fail_expected(op, "a last dimension of 1 or more", x.shape().str());
}

/// A parameter [n], or with `per_row` also [rows, n].
void check_parameter(const char* op, const char* what, const Tensor& p, const Tensor& x, bool per_row) {
  const bool one = p.defined() && p.rows() == 1 && p.cols() == x.cols();
  const bool many = per_row && p.defined() && p.rows() == x.rows() && p.cols() == x.cols();
  if (p.defined() && p.dtype() == DType::f32 && p.layout() == Layout::row_major && (one || many)) return;
  const std::string n = std::to_string(x.cols());
  fail_expected(op, std::string(what) + " float32 [" + n + "]" + (per_row ? " or [" + std::to_string(x.rows()) + ", " + n + "]" : ""), p.str(),
                "ops::to_layout and ops::typecast convert");
}

/// A parameter that may be left out, f32 or bf16.
void check_optional(const char* op, const char* what, const Tensor& p, const Tensor& x) {
  if (p.defined() && !(is_float(p) && p.rows() == 1 && p.cols() == x.cols()))
    fail_expected(op, std::string(what) + " float32 or bfloat16 [" + std::to_string(x.cols()) + "]", p.str(),
                  "ops::to_layout and ops::typecast convert");
}

void check_rest(const char* op, const Tensor& residual, const Tensor& x, float eps) {
  if (residual.defined() && !(is_float(residual) && residual.shape() == x.shape()))
    fail_expected(op, "a residual of float32 or bfloat16 of x's shape " + x.shape().str(), residual.str(),
                  "ops::to_layout and ops::typecast convert");
  if (!(eps >= 0)) fail_expected(op, "an eps of 0 or more", std::to_string(eps));
}

/// The parameter in f32; null when it is left out.
const float* widened(runtime::Workspace::Scope& scope, const Tensor& p) {
  if (!p.defined()) return nullptr;
  if (p.dtype() == DType::f32) return p.data<float>();
  const bf16* from = p.data<bf16>();
  auto* to = scope.array<float>(p.cols());
  for (std::int64_t i = 0; i < p.cols(); ++i) to[i] = to_f32(from[i]);
  return to;
}

/// Rows of x and the residual added up in scratch, one row a thread.
struct Sums {
  Sums(Context& ctx, runtime::Workspace::Scope& scope, const kernels::NormFunctions& functions, const Tensor& x, const Tensor& r)
      : k(functions), n(x.cols()), x_bf16(x.dtype() == DType::bf16) {
    if (!r.defined()) return;
    residual = static_cast<const std::byte*>(r.raw());
    bf16_too = r.dtype() == DType::bf16;
    step = r.row_stride() * static_cast<std::int64_t>(size_of(r.dtype()));
    memory = scope.array<float>(n * ctx.threads());
  }
  bool there() const { return residual != nullptr; }
  const std::byte* row(std::int64_t r, const std::byte* px, int thread) const {
    float* const sum = memory + n * thread;
    const std::byte* const pr = residual + r * step;
    const auto* xf = reinterpret_cast<const float*>(px);
    const auto* xb = reinterpret_cast<const bf16*>(px);
    const auto* rf = reinterpret_cast<const float*>(pr);
    const auto* rb = reinterpret_cast<const bf16*>(pr);
    if (x_bf16)
      bf16_too ? k.add_bf16_bf16(xb, rb, n, sum) : k.add_bf16_f32(xb, rf, n, sum);
    else
      bf16_too ? k.add_f32_bf16(xf, rb, n, sum) : k.add_f32_f32(xf, rf, n, sum);
    return reinterpret_cast<const std::byte*>(sum);
  }

  const kernels::NormFunctions& k;
  std::int64_t n;
  bool x_bf16;
  const std::byte* residual = nullptr;
  bool bf16_too = false;
  std::int64_t step = 0;  // bytes
  float* memory = nullptr;
};

template <class F>
void for_rows(Context& ctx, const Tensor& x, Tensor& y, F f) {
  const std::int64_t rows = x.rows();
  const auto* px = static_cast<const std::byte*>(x.raw());
  auto* py = static_cast<std::byte*>(y.raw());
  const std::int64_t x_step = x.row_stride() * static_cast<std::int64_t>(size_of(x.dtype()));
  const std::int64_t y_step = y.row_stride() * static_cast<std::int64_t>(size_of(y.dtype()));
  ctx.pool().parallel_for((rows + kRowsPerItem - 1) / kRowsPerItem, [&](std::int64_t item, int thread) {
    const std::int64_t end = std::min(rows, (item + 1) * kRowsPerItem);
    for (std::int64_t r = item * kRowsPerItem; r < end; ++r) f(r, thread, px + r * x_step, py + r * y_step);
  });
}

double traffic(const Tensor& x, const Tensor& y, const Tensor& residual = {}) {
  return static_cast<double>(x.bytes() + y.bytes() + (residual.defined() ? residual.bytes() : 0));
}

void call_rms(const kernels::NormFunctions& k, bool x16, bool y16, const std::byte* x, std::int64_t n, float offset, const float* scale,
              const float* shift, float eps, std::byte* y) {
  const auto* xf = reinterpret_cast<const float*>(x);
  const auto* xb = reinterpret_cast<const bf16*>(x);
  auto* yf = reinterpret_cast<float*>(y);
  auto* yb = reinterpret_cast<bf16*>(y);
  if (x16)
    y16 ? k.rms_norm_bf16_bf16(xb, n, offset, scale, shift, eps, yb) : k.rms_norm_bf16_f32(xb, n, offset, scale, shift, eps, yf);
  else
    y16 ? k.rms_norm_f32_bf16(xf, n, offset, scale, shift, eps, yb) : k.rms_norm_f32_f32(xf, n, offset, scale, shift, eps, yf);
}

}  // namespace

void layer_norm(Context& ctx, const Tensor& x, const LayerNorm& options, Tensor& y) {
  check_xy("layer_norm", x, y);
  check_optional("layer_norm", "weight", options.weight, x);
  check_optional("layer_norm", "bias", options.bias, x);
  check_rest("layer_norm", options.residual, x, options.eps);
  const auto& row = choose(ctx, "norm", kernels::norm_rows());
  const kernels::NormFunctions& k = row.functions;
  runtime::Workspace::Scope scope(ctx.workspace());
  const std::int64_t n = x.cols();
  const Sums sums(ctx, scope, k, x, options.residual);
  const bool x16 = x.dtype() == DType::bf16 && !sums.there();
  const bool y16 = y.dtype() == DType::bf16;
  const float* weight = widened(scope, options.weight);
  const float* bias = widened(scope, options.bias);
  const float eps = options.eps;
  runtime::Zone zone(ctx.profiler(), "layer_norm", row.info.name, 8.0 * static_cast<double>(x.numel()), traffic(x, y, options.residual));
  for_rows(ctx, x, y, [&](std::int64_t r, int thread, const std::byte* px, std::byte* py) {
    if (sums.there()) px = sums.row(r, px, thread);
    const auto* xf = reinterpret_cast<const float*>(px);
    const auto* xb = reinterpret_cast<const bf16*>(px);
    auto* yf = reinterpret_cast<float*>(py);
    auto* yb = reinterpret_cast<bf16*>(py);
    if (x16)
      y16 ? k.layer_norm_bf16_bf16(xb, n, weight, bias, eps, yb) : k.layer_norm_bf16_f32(xb, n, weight, bias, eps, yf);
    else
      y16 ? k.layer_norm_f32_bf16(xf, n, weight, bias, eps, yb) : k.layer_norm_f32_f32(xf, n, weight, bias, eps, yf);
  });
}

void rms_norm(Context& ctx, const Tensor& x, const RmsNorm& options, Tensor& y) {
  check_xy("rms_norm", x, y);
  check_optional("rms_norm", "weight", options.weight, x);
  check_rest("rms_norm", options.residual, x, options.eps);
  const auto& row = choose(ctx, "norm", kernels::norm_rows());
  runtime::Workspace::Scope scope(ctx.workspace());
  const Sums sums(ctx, scope, row.functions, x, options.residual);
  const bool x16 = x.dtype() == DType::bf16 && !sums.there();
  const float* weight = widened(scope, options.weight);
  const float offset = options.unit_offset ? 1.0f : -0.0f;  // -0 + w is w, also where w is a zero
  runtime::Zone zone(ctx.profiler(), "rms_norm", row.info.name, 4.0 * static_cast<double>(x.numel()), traffic(x, y, options.residual));
  for_rows(ctx, x, y, [&](std::int64_t r, int thread, const std::byte* px, std::byte* py) {
    if (sums.there()) px = sums.row(r, px, thread);
    call_rms(row.functions, x16, y.dtype() == DType::bf16, px, x.cols(), offset, weight, nullptr, options.eps, py);
  });
}

void adaptive_rms_norm(Context& ctx, const Tensor& x, const AdaptiveRmsNorm& options, Tensor& y) {
  check_xy("adaptive_rms_norm", x, y);
  check_parameter("adaptive_rms_norm", "scale", options.scale, x, true);
  check_parameter("adaptive_rms_norm", "shift", options.shift, x, true);
  const auto& row = choose(ctx, "norm", kernels::norm_rows());
  const float* scale = options.scale.data<float>();
  const float* shift = options.shift.data<float>();
  const std::int64_t scale_step = options.scale.rows() == 1 ? 0 : options.scale.row_stride();
  const std::int64_t shift_step = options.shift.rows() == 1 ? 0 : options.shift.row_stride();
  runtime::Zone zone(ctx.profiler(), "adaptive_rms_norm", row.info.name, 5.0 * static_cast<double>(x.numel()), traffic(x, y));
  for_rows(ctx, x, y, [&](std::int64_t r, int, const std::byte* px, std::byte* py) {
    call_rms(row.functions, x.dtype() == DType::bf16, y.dtype() == DType::bf16, px, x.cols(), 1.0f, scale + r * scale_step, shift + r * shift_step,
             options.eps, py);
  });
}

}  // namespace tessera::ops
