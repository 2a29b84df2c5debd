#include "tessera/ops/rotary.h"

#include <algorithm>
#include <string>

#include "tessera/core/error.h"
#include "tessera/kernels/rope/rope.h"
#include "tessera/ops/choose.h"

namespace tessera::ops {
namespace {

constexpr const char* kOp = "rotary_embedding";
constexpr std::int64_t kElementsPerItem = 16 << 10;

bool is_float(const Tensor& t) { return t.defined() && t.is_contiguous() && (t.dtype() == DType::f32 || t.dtype() == DType::bf16); }

void check_cache(const char* what, const Tensor& t, std::int64_t rows, std::int64_t d) {
  const bool right = is_float(t) && t.shape().rank() >= 2 && t.cols() == d && t.shape()[-2] >= rows && t.rows() == t.shape()[-2];
  if (!right)
    fail_expected(
        kOp, std::string(what) + " as contiguous row-major float32 or bfloat16 [" + std::to_string(rows) + " or more, " + std::to_string(d) + "]",
        t.str(), "ops::to_layout converts");
}

/// `rows` rows of a cache from `first` on, in f32.
const float* rows_of(runtime::Workspace::Scope& scope, Context& ctx, const Tensor& cache, std::int64_t first, std::int64_t rows) {
  const std::int64_t d = cache.cols();
  if (cache.dtype() == DType::f32) return cache.data<float>() + first * d;
  const bf16* const from = cache.data<bf16>() + first * d;
  auto* const to = scope.array<float>(rows * d);
  ctx.pool().parallel_for((rows * d + kElementsPerItem - 1) / kElementsPerItem, [&](std::int64_t item, int) {
    const std::int64_t end = std::min(rows * d, (item + 1) * kElementsPerItem);
    for (std::int64_t i = item * kElementsPerItem; i < end; ++i) to[i] = to_f32(from[i]);
  });
  return to;
}

}  // namespace

void rotary_embedding(Context& ctx, const Tensor& x, const Tensor& cos, const Tensor& sin, Tensor& y, std::optional<std::int64_t> token) {
  constexpr std::string_view kHint = "ops::contiguous, ops::to_layout and ops::typecast convert";
  if (!is_float(x) || x.shape().rank() < 2 || x.cols() < 2 || x.cols() % 2 != 0)
    fail_expected(kOp, "x as contiguous row-major float32 or bfloat16 [..., rows, an even number]", x.str(), kHint);
  if (!is_float(y) || y.shape() != x.shape()) fail_expected(kOp, "y as contiguous row-major float32 or bfloat16 " + x.shape().str(), y.str(), kHint);
  if (token && *token < 0) fail_expected(kOp, "a token of 0 or more", std::to_string(*token));
  const std::int64_t s = x.shape()[-2];
  const std::int64_t d = x.cols();
  const std::int64_t wanted = token ? *token + 1 : s;
  check_cache("cos", cos, wanted, d);
  check_cache("sin", sin, wanted, d);
  if (overlap(x, y) && (x.raw() != y.raw() || x.dtype() != y.dtype())) fail_expected(kOp, "a y that is x or in other memory", "one that overlaps x");
  if (overlap(cos, y) || overlap(sin, y)) fail_expected(kOp, "a y in other memory than the caches", "one that overlaps them");
  const auto& row = choose(ctx, "rope", kernels::rope_rows());
  const double n = static_cast<double>(x.numel());
  const std::int64_t rows = token ? 1 : s;
  runtime::Zone zone(
      ctx.profiler(), kOp, row.info.name, 3 * n,
      static_cast<double>(x.bytes() + y.bytes()) + static_cast<double>(rows * d) * static_cast<double>(size_of(cos.dtype()) + size_of(sin.dtype())));
  if (x.numel() == 0) return;
  runtime::Workspace::Scope scope(ctx.workspace());
  const float* const c = rows_of(scope, ctx, cos, token.value_or(0), rows);
  const float* const t = rows_of(scope, ctx, sin, token.value_or(0), rows);
  const bool x16 = x.dtype() == DType::bf16;
  const bool y16 = y.dtype() == DType::bf16;
  const auto* const xf = static_cast<const float*>(x.raw());
  const auto* const xb = static_cast<const bf16*>(x.raw());
  auto* const yf = static_cast<float*>(y.raw());
  auto* const yb = static_cast<bf16*>(y.raw());
  const kernels::RopeFunctions& k = row.functions;
  const std::int64_t all = x.rows();
  const std::int64_t grain = std::max<std::int64_t>(1, kElementsPerItem / d);
  ctx.pool().parallel_for((all + grain - 1) / grain, [&](std::int64_t item, int) {
    for (std::int64_t r = item * grain; r < std::min(all, (item + 1) * grain); ++r) {
      const float* const cr = c + r % rows * d;
      const float* const tr = t + r % rows * d;
      if (x16)
        y16 ? k.rotary_bf16_bf16(xb + r * d, d / 2, cr, tr, yb + r * d) : k.rotary_bf16_f32(xb + r * d, d / 2, cr, tr, yf + r * d);
      else
        y16 ? k.rotary_f32_bf16(xf + r * d, d / 2, cr, tr, yb + r * d) : k.rotary_f32_f32(xf + r * d, d / 2, cr, tr, yf + r * d);
    }
  });
}

}  // namespace tessera::ops
