// Rotation of pairs (lo, hi) by a table of cosines and sines. Test: tests/kernels/rope_test.cpp.
#pragma once

#include <cstdint>
#include <span>

#include "tessera/core/dtype.h"
#include "tessera/kernels/table.h"

namespace tessera::kernels {

/// One row of 2 * half elements: y = x * cos + (-hi, lo) * sin, each in f32 and rounded apart; cos and sin hold 2 * half floats; y may be x.
template <class X, class Y>
using RotaryFunction = void (*)(const X* x, std::int64_t half, const float* cos, const float* sin, Y* y) noexcept;

struct RopeFunctions {
  /// One token: x holds `heads` heads of 2 * half floats; cos and sin hold `half` floats each. In place.
  void (*rotate)(float* x, std::int64_t heads, std::int64_t half, const float* cos, const float* sin) noexcept;
  RotaryFunction<float, float> rotary_f32_f32;
  RotaryFunction<float, bf16> rotary_f32_bf16;
  RotaryFunction<bf16, float> rotary_bf16_f32;
  RotaryFunction<bf16, bf16> rotary_bf16_bf16;
};

std::span<const Row<RopeFunctions>> rope_rows();

}  // namespace tessera::kernels
