// Copies a box of elements between two tensors with any strides: what every movement in reorder comes down to. Private to ops (not installed).
// Test: tests/ops/reorder_test.cpp.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "tessera/core/tensor.h"
#include "tessera/runtime/context.h"

namespace tessera::ops {

struct StridedCopy {
  static constexpr std::size_t kMost = 2 * Shape::kMaxRank;

  const void* x = nullptr;   // element 0 of the box
  void* y = nullptr;         // likewise; may not overlap x
  std::int64_t element = 0;  // bytes
  std::size_t rank = 0;
  std::array<std::int64_t, kMost> size{};
  std::array<std::int64_t, kMost> x_step{};  // elements; 0: the same one again
  std::array<std::int64_t, kMost> y_step{};  // elements; those of y meet no element twice

  /// One more dimension, inside the ones before it.
  void add(std::int64_t sizes, std::int64_t of_x, std::int64_t of_y) noexcept {
    size[rank] = sizes;
    x_step[rank] = of_x;
    y_step[rank] = of_y;
    ++rank;
  }
};

/// Elements between neighbours along every dimension of a row-major tensor, row stride included.
std::array<std::int64_t, Shape::kMaxRank> steps_of(const Tensor& t) noexcept;

/// y = x over the box, split over the threads where it is large. Opens no zone, allocates nothing.
void strided_copy(Context& ctx, StridedCopy copy);

}  // namespace tessera::ops
