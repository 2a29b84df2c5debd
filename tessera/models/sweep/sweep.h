// Runs an op over many sizes, options, dtypes and layouts, with every kernel row forced by name, and compares each result with plain loops
// in double. May not know how results are printed. Test: tests/models/sweep_test.cpp; page: docs/VISION.md.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tessera/models/weights.h"
#include "tessera/runtime/context.h"

namespace tessera::models {

enum class SweepOp : std::uint8_t { adaptive_avg_pool2d, adaptive_max_pool2d, max_pool2d, avg_pool2d, depthwise_conv2d };
std::string_view name(SweepOp op) noexcept;
std::span<const SweepOp> all_sweep_ops() noexcept;

/// `brief`: sizes of known networks and of requests by users, with thread counts compared for every row. `full`: generated sizes.
enum class SweepSuite : std::uint8_t { brief, full };

struct SweepOptions {
  std::vector<SweepOp> ops;
  SweepSuite suite = SweepSuite::brief;
  std::uint64_t seed = 1;      // of the sizes (full) and of all values
  std::int64_t sizes = 50000;  // generated per op (full)
  std::int64_t only = -1;      // this size of each op alone
  std::int64_t largest = 0;    // sizes that read more inputs, all windows together, are left out; 0: none is
  double limits = 1;           // times what rounding in f32 may add; 0 allows none
};

/// One case: one size with its options, in one dtype and layout, run with every row.
struct SweepRow {
  SweepOp op = SweepOp::max_pool2d;
  std::int64_t size = 0;       // which size of the suite: SweepOptions::only repeats it
  std::string shape;           // of the input, always n x c x h x w: "1x256x56x56"
  std::string output;          // likewise
  std::string dtype;           // "f32", "bf16"
  std::string layout;          // "nhwc", "flat", "nchw", "tile"
  std::string options;         // "k3x3 s2x2 p1,1,1,1"
  std::string plan;            // adaptive pools: the cheapest exact plan; convolutions: the path; else "uniform"
  std::string uniform_plan;    // adaptive pools: the cheapest exact plan with uniform windows, if there is one
  double memory_overhead = 0;  // of the uniform plan, percent
  std::string row;             // kernel row that the machine chose
  int runs = 0;                // results that were compared
  std::optional<double> pcc;   // lowest; none where either side is constant
  double max_abs = 0;          // largest difference of all runs
  double limit = 0;            // what was allowed there
  double of_limit = 0;         // largest difference as a share of what was allowed there
  double time_us = 0;          // the machine's row on one thread, the faster of two calls
  bool pass = true;
  std::string error;  // of the first run that failed: which, where, what
};

struct SweepSummary {
  SweepOp op = SweepOp::max_pool2d;
  std::int64_t sizes = 0;
  std::int64_t cases = 0;
  std::int64_t runs = 0;
  std::int64_t failures = 0;  // cases
  double worst_f32 = 0;       // largest difference as a share of what was allowed
  double worst_bf16 = 0;
  std::vector<std::pair<std::string, std::int64_t>> kinds;  // sizes by plan, path and option, most frequent first
};

struct SweepReport {
  std::vector<SweepSummary> ops;
  std::vector<SweepRow> failures;  // the first of each op
  bool pass = true;
  std::string summary;  // one line
};

/// `ctx` gives the threads, over which sizes are spread, and the highest instruction set. `sink` (may be empty) gets every case in the order
/// of the suite, on the calling thread. Limits: maxima, indices bit for bit, f32 by the number and the sum of the terms, bf16 half a step more.
/// Throws Error when no size is left.
SweepReport sweep(Context& ctx, const SweepOptions& options, const std::function<void(const SweepRow&)>& sink = {}, const Progress& progress = {});

}  // namespace tessera::models
