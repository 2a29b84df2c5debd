// How much int8 loses of a weight.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>
#include <vector>

#include "tessera/core/error.h"
#include "tessera/kernels/gemm/gemm.h"
#include "tessera/ops/linear.h"

namespace tessera::ops {
namespace {

constexpr std::string_view kOp = "int8_error";

struct Sums {
  double squares = 0;     // of what rounding changes
  double magnitudes = 0;  // of the weights: not their squares, which one outlier would rule
};

float number(float x) { return x; }
float number(bf16 x) { return to_f32(x); }
float number(f16 x) { return to_f32(x); }

template <class W>
Sums row_error(const W* w, std::int64_t k) {
  float most = 0;
  for (std::int64_t i = 0; i < k; ++i) {
    const float x = std::fabs(number(w[i]));
    if (!(x <= std::numeric_limits<float>::max())) return {std::numeric_limits<double>::infinity(), 1};
    most = std::max(most, x);
  }
  const bool lost = most < 0x1p-100f;  // the kernels take such a row for zero
  const double step = static_cast<double>(most) / 127;
  Sums sums;
  for (std::int64_t i = 0; i < k; ++i) {
    const double x = number(w[i]);
    const double off = lost ? x : x - std::nearbyint(x / step) * step;
    sums.squares += off * off;
    sums.magnitudes += std::fabs(x);
  }
  return sums;
}

Sums row_error(const Tensor& w, std::int64_t row) {
  const std::int64_t k = w.cols();
  if (w.dtype() == DType::bf16) return row_error(w.data<bf16>() + row * k, k);
  if (w.dtype() == DType::f16) return row_error(w.data<f16>() + row * k, k);
  return row_error(w.data<float>() + row * k, k);
}

}  // namespace

double int8_error(Context& ctx, const Tensor& w) {
  constexpr std::int64_t kMostRows = 512;
  if (!w.defined() || w.shape().rank() != 2 || w.numel() == 0 || !w.is_contiguous() ||
      (w.dtype() != DType::f32 && w.dtype() != DType::bf16 && w.dtype() != DType::f16))
    fail_expected(kOp, "a contiguous weight [n, k] of float32, bfloat16 or float16", w.defined() ? w.str() : "an undefined tensor");
  if (w.cols() > kernels::kGemmMostInt8Depth) return std::numeric_limits<double>::infinity();
  const std::int64_t rows = std::min(w.rows(), kMostRows);
  std::vector<Sums> parts(static_cast<std::size_t>(rows));
  ctx.pool().parallel_for(rows, [&](std::int64_t item, int) { parts[static_cast<std::size_t>(item)] = row_error(w, item * w.rows() / rows); });
  Sums all;
  for (const Sums& part : parts) {
    all.squares += part.squares;
    all.magnitudes += part.magnitudes;
  }
  const double count = static_cast<double>(rows) * static_cast<double>(w.cols());
  return all.magnitudes == 0 ? 0 : std::sqrt(all.squares / count) / (all.magnitudes / count);
}

}  // namespace tessera::ops
