// Sums, products, extremes, running sums and the place of the maximum, along rows or down columns. Test: tests/kernels/reduce_test.cpp.
#pragma once

#include <cstdint>
#include <span>

#include "tessera/core/dtype.h"
#include "tessera/kernels/table.h"

namespace tessera::kernels {

/// squares: (x - centre)^2, centre 0 without one. NaN is the largest and the smallest.
enum class ReduceStep : std::uint8_t { sum, product, maximum, minimum, squares };

/// x is f32, bf16, i32, u32, u16 or u8. Totals are double for floats; for integers they are int64 of which the low bits count (no squares).
struct ReduceFunctions {
  /// total[r] joins x[r * stride + c] for c < n, for every r < rows; centre[r]: of row r
  void (*rows)(ReduceStep step, DType dtype, const void* x, std::int64_t rows, std::int64_t stride, std::int64_t n, const double* centre,
               void* total) noexcept;
  /// total[c] joins x[r * stride + c] for r < n, for every c < cols; centre[c]: of column c
  void (*columns)(ReduceStep step, DType dtype, const void* x, std::int64_t n, std::int64_t stride, std::int64_t cols, const double* centre,
                  void* total) noexcept;
  /// y[r * stride + c] = total[c] += x[r * stride + c], row after row. y has x's dtype, or is the other one of f32 and bf16.
  void (*running)(DType dtype, const void* x, std::int64_t n, std::int64_t stride, std::int64_t cols, void* total, bool y_bf16, void* y) noexcept;
  /// place[c] = the first r < n with the largest x[r * stride + c]; NaN is larger than any number. cols at most 256.
  void (*argmax)(DType dtype, const void* x, std::int64_t n, std::int64_t stride, std::int64_t cols, std::int32_t* place) noexcept;
};

std::span<const Row<ReduceFunctions>> reduce_rows();

}  // namespace tessera::kernels
