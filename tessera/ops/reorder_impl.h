// What the sources of reorder share: checks, and copies between two tensors dimension by dimension. Private to ops (not installed).
// Test: tests/ops/reorder_test.cpp.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "tessera/core/error.h"
#include "tessera/core/tensor.h"
#include "tessera/ops/strided_copy.h"

namespace tessera::ops {

inline void check_row_major(const char* op, const Tensor& x) {
  if (!x.defined() || x.layout() != Layout::row_major) fail_expected(op, "a tensor in row-major layout", x.str(), "ops::to_layout converts");
}

inline std::int64_t bytes_of(DType dtype) { return static_cast<std::int64_t>(size_of(dtype)); }

/// The dimension that `dim` means; negative counts from the back.
inline std::size_t dimension(const char* op, const Shape& shape, std::int64_t dim) {
  const auto rank = static_cast<std::int64_t>(shape.rank());
  const std::int64_t d = dim < 0 ? dim + rank : dim;
  if (d < 0 || d >= rank) fail_expected(op, "a dimension of " + shape.str(), std::to_string(dim));
  return static_cast<std::size_t>(d);
}

/// A copy from element `from` of x to element `to` of y (in elements); dimensions are to be added.
inline StridedCopy copy_between(const Tensor& x, std::int64_t from, Tensor& y, std::int64_t to) {
  StridedCopy copy;
  copy.element = bytes_of(x.dtype());
  copy.x = static_cast<const std::byte*>(x.raw()) + from * copy.element;
  copy.y = static_cast<std::byte*>(y.raw()) + to * copy.element;
  return copy;
}

}  // namespace tessera::ops
