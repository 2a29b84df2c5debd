// Transposition of a matrix of elements of 1, 2 or 4 bytes, whatever they mean. Test: tests/kernels/transpose_test.cpp.
#pragma once

#include <cstdint>
#include <span>

#include "tessera/kernels/table.h"

namespace tessera::kernels {

/// y[c][r] = x[r][c] for r in [0, rows), c in [0, cols). Strides in bytes, between the rows of x and between those of y; x and y do not overlap.
using TransposeFunction = void (*)(const void* x, std::int64_t x_stride, std::int64_t rows, std::int64_t cols, void* y,
                                   std::int64_t y_stride) noexcept;

struct TransposeFunctions {
  TransposeFunction bytes1;
  TransposeFunction bytes2;
  TransposeFunction bytes4;
};

std::span<const Row<TransposeFunctions>> transpose_rows();

}  // namespace tessera::kernels
