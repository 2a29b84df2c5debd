// Softmax along one dimension, with a mask that is added or that keeps. Test: tests/ops/softmax_test.cpp; page: docs/ops/softmax.md.
#pragma once

#include <cstdint>

#include "tessera/core/tensor.h"
#include "tessera/runtime/context.h"

namespace tessera::ops {

struct Softmax {
  std::int64_t dim = -1;  // negative counts from the back
  /// f32 (added) or uint8 (0: left out, else kept), row-major, of a shape that broadcasts to x's. Undefined: none.
  Tensor mask = {};
  float scale = 1;  // multiplies x before the mask
};

/// y = exp(scale x + mask - max) / sum along `dim`. x and y f32 or bf16 of one shape, row-major, contiguous; arithmetic f32, rounded once; y may be
/// x, but overlap neither it nor the mask otherwise. A number (rank 0) is a line of one. A line that keeps nothing, and one with NaN or +inf, is NaN.
/// FLOPs 5 an element. Source: torch.softmax.
void softmax(Context& ctx, const Tensor& x, const Softmax& options, Tensor& y);

}  // namespace tessera::ops
