#include "tessera/ops/embedding.h"

#include <algorithm>
#include <string>

#include "tessera/core/error.h"
#include "tessera/kernels/elementwise/elementwise.h"
#include "tessera/ops/choose.h"

namespace tessera::ops {
namespace {
constexpr std::int64_t kIdsPerItem = 16;
constexpr std::int64_t kChunk = 256;  // elements of an f16 row that are widened at a time
constexpr float kNothing = -0.0f;     // added to any number, -0 among them, it changes no bit; +0 would turn -0 into +0
constexpr const char* kHint = "ops::to_layout and ops::typecast convert";
}  // namespace

void embedding(Context& ctx, const Tensor& table, std::span<const std::int32_t> ids, float scale, Tensor& y) {
  const auto is_float = [](const Tensor& t) {
    return t.defined() && t.layout() == Layout::row_major && (t.dtype() == DType::f32 || t.dtype() == DType::bf16);
  };
  const bool half = table.defined() && table.layout() == Layout::row_major && table.dtype() == DType::f16;
  if ((!is_float(table) && !half) || table.shape().rank() != 2)
    fail_expected("embedding", "a table [vocab, width] of float32, bfloat16 or float16 in row-major layout", table.str(), kHint);
  const auto count = static_cast<std::int64_t>(ids.size());
  const std::int64_t width = table.cols();
  if (!is_float(y) || y.rows() != count || y.cols() != width)
    fail_expected("embedding", "y [" + std::to_string(count) + ", " + std::to_string(width) + "] of float32 or bfloat16 in row-major layout", y.str(),
                  kHint);
  const std::int64_t vocab = table.shape()[0];
  for (const std::int32_t id : ids)
    if (id < 0 || id >= vocab) fail_expected("embedding", "ids from 0 to " + std::to_string(vocab - 1), std::to_string(id));

  const auto& row = choose(ctx, "elementwise", kernels::elementwise_rows());
  runtime::Zone zone(ctx.profiler(), "embedding", row.info.name, static_cast<double>(y.numel()),
                     static_cast<double>(y.bytes()) + static_cast<double>(y.numel()) * static_cast<double>(size_of(table.dtype())));
  const auto* base = static_cast<const std::byte*>(table.raw());
  auto* out = static_cast<std::byte*>(y.raw());
  const bool y16 = y.dtype() == DType::bf16;
  ctx.pool().parallel_for((count + kIdsPerItem - 1) / kIdsPerItem, [&](std::int64_t item, int) {
    const std::int64_t end = std::min(count, (item + 1) * kIdsPerItem);
    for (std::int64_t i = item * kIdsPerItem; i < end; ++i) {
      const std::byte* source = base + ids[static_cast<std::size_t>(i)] * table.row_stride() * static_cast<std::int64_t>(size_of(table.dtype()));
      std::byte* target = out + i * y.row_stride() * static_cast<std::int64_t>(size_of(y.dtype()));
      if (!half) {
        row.functions.scale_shift(source, table.dtype() == DType::bf16, scale, kNothing, target, y16, width);
        continue;
      }
      float wide[kChunk];
      for (std::int64_t c = 0; c < width; c += kChunk) {
        const std::int64_t n = std::min(kChunk, width - c);
        for (std::int64_t k = 0; k < n; ++k) wide[k] = to_f32(reinterpret_cast<const f16*>(source)[c + k]);
        row.functions.scale_shift(wide, false, scale, kNothing, target + c * static_cast<std::int64_t>(size_of(y.dtype())), y16, n);
      }
    }
  });
}

}  // namespace tessera::ops
