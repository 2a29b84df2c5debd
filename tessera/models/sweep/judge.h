// Compares one result of a sweep with the reference. Private to models (not installed). Test: tests/models/sweep_test.cpp.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "tessera/core/dtype.h"
#include "tessera/models/sweep/reference.h"

namespace tessera::models {

struct SweepVerdict {
  bool pass = true;
  double max_abs = 0;         // largest difference
  double limit = 0;           // what was allowed there
  double of_limit = 0;        // largest difference as a share of what was allowed there; infinite where nothing was
  std::optional<double> pcc;  // none where either side is constant
  std::string first;          // the first element that fails, in words
};

/// `got`: nhwc. An element passes when it is the expected one bit for bit (no limits), or lies within its limit, in bf16 plus half a step: the
/// f32 result is rounded once. NaN only where NaN is expected, infinities likewise.
SweepVerdict judge(const SweepExpected& want, std::span<const float> got, DType dtype);
SweepVerdict judge_indices(const SweepExpected& want, std::span<const std::int32_t> got);

}  // namespace tessera::models
