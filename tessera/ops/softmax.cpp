#include "tessera/ops/softmax.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string>

#include "tessera/core/error.h"
#include "tessera/kernels/softmax/softmax.h"
#include "tessera/ops/choose.h"

namespace tessera::ops {
namespace {

constexpr const char* kOp = "softmax";
constexpr std::int64_t kElementsPerItem = 4096;

bool fits(const Tensor& t) { return t.defined() && t.is_contiguous() && (t.dtype() == DType::f32 || t.dtype() == DType::bf16); }

float widen(float x) { return x; }
float widen(bf16 x) { return to_f32(x); }

/// n elements, `step` apart, times scale.
template <class T>
void load(const T* x, std::int64_t step, std::int64_t n, float scale, float* line) {
  if (step == 1)
    for (std::int64_t i = 0; i < n; ++i) line[i] = widen(x[i]) * scale;
  else
    for (std::int64_t i = 0; i < n; ++i) line[i] = widen(x[i * step]) * scale;
}

void store(const float* line, std::int64_t n, float* y, std::int64_t step) {
  for (std::int64_t i = 0; i < n; ++i) y[i * step] = line[i];
}
void store(const float* line, std::int64_t n, bf16* y, std::int64_t step) {
  for (std::int64_t i = 0; i < n; ++i) y[i * step] = to_bf16(line[i]);
}

/// Elements of the mask from one index to the next along every dimension of x; 0 where it is broadcast.
std::array<std::int64_t, Shape::kMaxRank> mask_steps(const Shape& x, const Tensor& mask) {
  std::array<std::int64_t, Shape::kMaxRank> steps{};
  if (!mask.defined()) return steps;
  const bool typed = mask.dtype() == DType::f32 || mask.dtype() == DType::u8;
  bool broadcasts = typed && mask.is_contiguous() && mask.shape().rank() <= x.rank();
  std::int64_t step = 1;
  const std::size_t missing = broadcasts ? x.rank() - mask.shape().rank() : 0;
  for (std::size_t i = mask.shape().rank(); broadcasts && i-- > 0;) {
    const std::int64_t size = mask.shape().sizes()[i];
    broadcasts = size == 1 || size == x.sizes()[i + missing];
    steps[i + missing] = size == 1 ? 0 : step;
    step *= size;
  }
  if (!broadcasts) fail_expected(kOp, "a contiguous float32 or uint8 mask that broadcasts to " + x.str(), mask.str());
  return steps;
}

}  // namespace

void softmax(Context& ctx, const Tensor& x, const Softmax& options, Tensor& y) {
  constexpr std::string_view kHint = "ops::contiguous, ops::to_layout and ops::typecast convert";
  if (!fits(x)) fail_expected(kOp, "x as contiguous row-major float32 or bfloat16", x.str(), kHint);
  if (!fits(y) || y.shape() != x.shape()) fail_expected(kOp, "y as contiguous row-major float32 or bfloat16 " + x.shape().str(), y.str(), kHint);
  const Shape& shape = x.shape();
  const auto rank = std::max<std::int64_t>(1, static_cast<std::int64_t>(shape.rank()));
  const std::int64_t dim = options.dim < 0 ? options.dim + rank : options.dim;
  if (dim < 0 || dim >= rank) fail_expected(kOp, "a dimension of " + shape.str(), std::to_string(options.dim));
  const auto steps = mask_steps(shape, options.mask);
  if (overlap(x, y) && (x.raw() != y.raw() || x.dtype() != y.dtype())) fail_expected(kOp, "a y that is x or in other memory", "one that overlaps x");
  if (options.mask.defined() && overlap(options.mask, y)) fail_expected(kOp, "a mask in other memory than y", "one that overlaps y");
  if (x.numel() == 0) return;
  const std::int64_t n = shape.rank() == 0 ? 1 : shape[dim];
  std::int64_t inner = 1;
  for (std::int64_t i = dim + 1; i < rank; ++i) inner *= shape[i];
  const std::int64_t lines = x.numel() / n;
  const auto& row = choose(ctx, kOp, kernels::softmax_rows());
  const bool masked = options.mask.defined();
  runtime::Zone zone(ctx.profiler(), kOp, row.info.name, 5.0 * static_cast<double>(x.numel()),
                     static_cast<double>(x.bytes() + y.bytes() + (masked ? options.mask.bytes() : 0)));
  const auto* added = masked && options.mask.dtype() == DType::f32 ? options.mask.data<float>() : nullptr;
  const auto* kept = masked && options.mask.dtype() == DType::u8 ? options.mask.data<std::uint8_t>() : nullptr;
  const bool x16 = x.dtype() == DType::bf16;
  const bool y16 = y.dtype() == DType::bf16;
  const void* const from = x.raw();
  void* const to = y.raw();
  const std::int64_t piece = std::max<std::int64_t>(1, kElementsPerItem / n);
  runtime::Workspace::Scope scope(ctx.workspace());
  auto* own = scope.array<float>(n * ctx.threads());
  ctx.pool().parallel_for((lines + piece - 1) / piece, [&](std::int64_t item, int thread) {
    float* const line = own + n * thread;
    for (std::int64_t l = item * piece; l < std::min(lines, (item + 1) * piece); ++l) {
      const std::int64_t first = l / inner * inner * n + l % inner;
      std::int64_t at = 0, rest = first;  // of the mask's element for the line's first
      for (std::size_t i = shape.rank(); masked && i-- > 0; rest /= shape.sizes()[i]) at += rest % shape.sizes()[i] * steps[i];
      const std::int64_t step = steps[static_cast<std::size_t>(dim)];
      if (x16)
        load(static_cast<const bf16*>(from) + first, inner, n, options.scale, line);
      else
        load(static_cast<const float*>(from) + first, inner, n, options.scale, line);
      for (std::int64_t i = 0; added != nullptr && i < n; ++i) line[i] += added[at + i * step];
      for (std::int64_t i = 0; kept != nullptr && i < n; ++i)
        if (kept[at + i * step] == 0) line[i] = -std::numeric_limits<float>::infinity();
      row.functions.softmax(line, n);
      if (y16)
        store(line, n, static_cast<bf16*>(to) + first, inner);
      else
        store(line, n, static_cast<float*>(to) + first, inner);
    }
  });
}

}  // namespace tessera::ops
