// Splits rows of elements over threads, and finds elements in rows of any stride. Private to ops. Test: tests/ops/elementwise_test.cpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "tessera/core/tensor.h"
#include "tessera/runtime/context.h"

namespace tessera::ops {

constexpr std::int64_t kElementsPerItem = std::int64_t{1} << 15;

/// Splits [rows, cols] into items: whole rows while they are short, stretches of one row when it is long. f(row, column, count).
template <class F>
void for_stretches(Context& ctx, std::int64_t rows, std::int64_t cols, F f) {
  if (rows == 0 || cols == 0) return;
  if (cols >= kElementsPerItem) {
    const std::int64_t pieces = (cols + kElementsPerItem - 1) / kElementsPerItem;
    ctx.pool().parallel_for(rows * pieces, [&](std::int64_t item, int) {
      const std::int64_t start = item % pieces * kElementsPerItem;
      f(item / pieces, start, std::min(kElementsPerItem, cols - start));
    });
    return;
  }
  const std::int64_t step = kElementsPerItem / cols;
  ctx.pool().parallel_for((rows + step - 1) / step, [&](std::int64_t item, int) {
    const std::int64_t end = std::min(rows, (item + 1) * step);
    for (std::int64_t r = item * step; r < end; ++r) f(r, 0, cols);
  });
}

/// A tensor as rows; contiguous ones count as a single row, so that short rows cost nothing.
struct Rows {
  std::int64_t rows;
  std::int64_t cols;
};
inline Rows rows_of(std::initializer_list<const Tensor*> tensors) {
  const Tensor& first = **tensors.begin();
  const bool flat = std::ranges::all_of(tensors, [](const Tensor* t) { return t->is_contiguous(); });
  return flat ? Rows{1, first.numel()} : Rows{first.rows(), first.cols()};
}

inline std::int64_t byte_offset(const Tensor& t, std::int64_t r, std::int64_t c) {
  return (r * t.row_stride() + c) * static_cast<std::int64_t>(size_of(t.dtype()));
}
inline const void* in(const Tensor& t, std::int64_t r, std::int64_t c) { return static_cast<const std::byte*>(t.raw()) + byte_offset(t, r, c); }
inline void* out(Tensor& t, std::int64_t r, std::int64_t c) { return static_cast<std::byte*>(t.raw()) + byte_offset(t, r, c); }

}  // namespace tessera::ops
