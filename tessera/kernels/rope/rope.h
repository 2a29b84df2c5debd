// Rotation of pairs (lo, hi) by a table of cosines and sines. Test: tests/kernels/rope_test.cpp.
#pragma once

#include <cstdint>
#include <span>

#include "tessera/kernels/table.h"

namespace tessera::kernels {

struct RopeFunctions {
  /// One token: x holds `heads` heads of 2 * half floats; cos and sin hold `half` floats each. In place.
  void (*rotate)(float* x, std::int64_t heads, std::int64_t half, const float* cos, const float* sin) noexcept;
};

std::span<const Row<RopeFunctions>> rope_rows();

}  // namespace tessera::kernels
