// Softmax of one row in f32: maximum, exponentials, sum, division. Test: tests/kernels/softmax_test.cpp.
#pragma once

#include <cstdint>
#include <span>

#include "tessera/kernels/table.h"

namespace tessera::kernels {

/// In place: x[i] = exp(x[i] - max) / sum. n of 1 or more. A row of nothing but -inf, or with a NaN or +inf, becomes NaN.
using SoftmaxFunction = void (*)(float* x, std::int64_t n) noexcept;

struct SoftmaxFunctions {
  SoftmaxFunction softmax;
};

std::span<const Row<SoftmaxFunctions>> softmax_rows();

}  // namespace tessera::kernels
