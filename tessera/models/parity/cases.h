// Runs a directory of recorded op cases (cases.json beside safetensors files, one per family) and compares every op with what PyTorch gave.
// Test: tests/models/cases_test.cpp; format: docs/VISION.md.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tessera/core/tensor.h"
#include "tessera/models/weights.h"
#include "tessera/runtime/context.h"

namespace tessera::models {

struct CaseRow {
  std::string family;   // "adaptive_avg_pool2d"
  std::string name;     // of the case
  std::string variant;  // dtype, axes and kernel row of the worst run: "bf16 nhwc avx2"
  int runs = 0;         // dtypes x axes x kernel rows
  double max_abs = 0;   // of the worst run
  double limit = 0;     // on max_abs
  double ulp = 0;       // largest distance in units of the last place of the dtype of the worst run
  double pcc = 1;       // lowest of all runs
  bool pass = true;
  std::string error;  // when the case could not be run
};

struct CasesReport {
  std::vector<CaseRow> rows;
  bool pass = true;
  std::string summary;  // one line
};

/// Whether the directory is one of this format.
bool holds_cases(const std::filesystem::path& directory);

/// Every case with every kernel row that this machine can run, forced by name; f32 and, where the inputs are exact in it, bf16; pictures in
/// both orders. Limits: maxima, indices and uint8 results bit for bit; f32 within twice the recorded distance of PyTorch's own float32 from
/// float64 plus 16 eps of the largest result; bf16 within that plus one step of bf16. Throws Error on a directory that is not of this format;
/// a case that names an op or an option that is not known is a row that fails.
CasesReport verify_cases(Context& ctx, const std::filesystem::path& directory, const Progress& progress = {});

}  // namespace tessera::models
