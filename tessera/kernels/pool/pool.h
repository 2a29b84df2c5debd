// One row of outputs of a pool whose windows are given: maximum or sum over variable windows, NHWC over channels, NCHW over a plane's row.
// PyTorch's rules: the first of equal maxima wins, NaN wins over all, the last NaN is the index. Test: tests/kernels/pool_test.cpp.
#pragma once

#include <cstdint>
#include <span>

#include "tessera/kernels/table.h"

namespace tessera::kernels {

/// Inputs first, first + dilation, ... (count of them) of one output along one axis; first and dilation in input positions.
struct PoolSpan {
  std::int32_t first;
  std::int32_t count;
};

/// One row of output pixels. Everything is in elements; x stands at the window's first row, column 0, channel 0.
struct PoolRow {
  const void* x;
  std::int64_t row_step;     // between the rows of the window (dilation included)
  std::int64_t rows;         // of the window; 0 gives -inf, or sum 0
  std::int64_t column_step;  // between two neighbouring columns of the input
  std::int64_t dilation;     // of columns
  const PoolSpan* columns;   // one per output
  std::int64_t out;          // outputs in this row
  std::int64_t channels;     // NHWC: channels, which lie side by side; NCHW: not looked at
  std::int64_t width;        // NCHW: columns of the input
  float row_divisor;         // avg: an output is its sum / (row_divisor * column_divisor[o])
  const float* column_divisor;
  void* y;
  std::int64_t y_step;       // between two outputs
  std::int32_t* indices;     // max: row * plane width + column, or null; steps as y
  std::int32_t first_index;  // index of (the window's first row, column 0)
  std::int32_t row_index;    // added per row of the window
  float* line;               // NCHW: room for 2 * width floats
};

using PoolFunction = void (*)(const PoolRow& p, bool bf16) noexcept;

struct PoolFunctions {
  std::int64_t lanes;  // planes that from_planes() takes together
  PoolFunction max_nhwc;
  PoolFunction avg_nhwc;
  PoolFunction max_nchw;
  PoolFunction avg_nchw;
  /// Elements [0, n) of `planes` planes (at most lanes), `plane` elements apart, as f32 to [n][lanes], `pitch` floats from one
  /// element to the next: then NHWC serves them.
  void (*from_planes)(const void* x, bool bf16, std::int64_t plane, std::int64_t planes, std::int64_t n, float* to, std::int64_t pitch) noexcept;
  /// And back; f32 (or any 32 bits, moved as they are) or bf16.
  void (*to_planes)(const float* from, std::int64_t pitch, std::int64_t n, void* y, bool bf16, std::int64_t plane, std::int64_t planes) noexcept;
};

std::span<const Row<PoolFunctions>> pool_rows();

}  // namespace tessera::kernels
