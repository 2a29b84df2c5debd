// What every family of kernels can answer: its ordered rows, which of them run here, and why the others do not.
// Test: tests/ops/kernel_table_test.cpp.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tessera/runtime/context.h"

namespace tessera::ops {

struct RowStatus {
  std::string family;  // "linear"
  std::string row;     // "avx512_bf16"
  std::string serves;  // "bf16 weights, any shape"
  bool used = false;   // the first row that serves an ordinary call in this context
  std::string reason;  // why it is not used: "needs avx512, this machine has avx2", "avx2_f32 stands before it", ...
};

/// Every row of every family, in table order. `tessera info --ops` prints it.
std::vector<RowStatus> kernel_rows(const Context& ctx);
/// Row names of one family that this context can run, best first (what a test forces in turn).
std::vector<std::string> runnable_rows(const Context& ctx, std::string_view family);
/// All families in alphabetical order.
std::vector<std::string> kernel_families();

}  // namespace tessera::ops
