// One recorded op case: its inputs and options read, the op called, the results in PyTorch's order. Trusts no shape in the file.
// Private to models (not installed). Test: tests/models/cases_test.cpp.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tessera/core/tensor.h"
#include "tessera/io/json.h"
#include "tessera/io/safetensors.h"
#include "tessera/ops/images.h"
#include "tessera/runtime/context.h"

namespace tessera::models {

struct OpCase {
  std::string family;
  std::string name;
  const io::Json* json = nullptr;  // name, params, inputs, outputs
  std::shared_ptr<const io::SafetensorsFile> file;
};

/// One result and the recorded tensor that it is compared with.
struct CaseRun {
  Tensor y;
  std::string expected;  // "y", "indices", "torch_u8"
  bool exact = false;    // bit for bit
  std::string note;      // appended to the variant
  /// The function's limits, element by element, where they are right as well: PyTorch's vector kernels answer NaN at infinities (inf * 0)
  /// and infinity just below them. Empty: only the recorded values are right.
  std::vector<double> limits = {};
};

/// Whether the family's tensors are pictures, which have two orders of axes.
bool has_orders(const std::string& family);

/// Throws Error naming what is not known or does not fit.
std::vector<CaseRun> run_op(Context& ctx, const OpCase& c, DType dtype, ops::ImageOrder order);

}  // namespace tessera::models
