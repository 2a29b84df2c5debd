// Runs one problem of a sweep in every dtype, layout, kernel row and number of threads. Private to models (not installed).
// Test: tests/models/sweep_test.cpp.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tessera/models/sweep/reference.h"
#include "tessera/runtime/context.h"

namespace tessera::models {

struct SweepResult {
  std::vector<SweepRow> rows;
  std::vector<std::string> kinds;  // what the size is an example of: plan, path, options
};

/// For one thread at a time: holds contexts of its own.
class SweepRunner {
 public:
  /// isa: the highest instruction set.
  SweepRunner(std::string_view isa, SweepSuite suite, double limits);
  SweepResult run(const SweepProblem& problem);

 private:
  Context one_;
  Context two_;
  Context three_;
  SweepSuite suite_;
  double limits_;
};

/// Every exact plan of an adaptive pool carried out with uniform windows over a padded and stretched input, compared with the reference.
/// Fills plan, uniform_plan and memory_overhead of `row`, counts its runs, and names the exact strategies. A plan that is wrong fails the row.
std::vector<std::string> check_plans(Context& ctx, const SweepProblem& problem, const SweepData& data, const SweepExpected& want, SweepRow& row);

}  // namespace tessera::models
