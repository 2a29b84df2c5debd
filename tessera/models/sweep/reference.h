// PyTorch's pools and depthwise convolution in plain loops in double, with the rounding that f32 arithmetic may add. Shares nothing with ops
// or kernels. Private to models (not installed). Test: tests/models/sweep_test.cpp.
#pragma once

#include <cstdint>
#include <vector>

#include "tessera/core/dtype.h"
#include "tessera/models/sweep/problem.h"

namespace tessera::models {

/// Inputs of a problem. Pictures are nhwc.
struct SweepData {
  std::vector<float> x;
  std::vector<float> weight;    // [c * multiplier][kernel h][kernel w]
  std::vector<float> bias;      // [c * multiplier], or empty
  std::vector<float> residual;  // nhwc of the output's size, or empty
};

/// For bf16 every value is rounded to it.
SweepData make_data(const SweepProblem& problem, DType dtype);

/// What the op should give, nhwc.
struct SweepExpected {
  ops::ImageSize y;
  std::vector<double> value;
  std::vector<double> limit;        // f32 arithmetic may be as far off; empty: bit for bit
  std::vector<std::int64_t> index;  // of maxima: row * w + column
};

/// PyTorch's size of the output.
ops::ImageSize expected_size(const SweepProblem& problem);
SweepExpected expected(const SweepProblem& problem, const SweepData& data);

/// Input positions [first, last) of output i of an adaptive pool along one axis.
struct SweepWindow {
  std::int64_t first;
  std::int64_t last;
};
SweepWindow adaptive_window(std::int64_t i, std::int64_t in, std::int64_t out) noexcept;

}  // namespace tessera::models
