// Measures what this machine can do at most, in the run that quotes it: arithmetic from registers, reads per cache level.
// Test: tests/runtime/ceilings_test.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "tessera/runtime/context.h"

namespace tessera::runtime {

struct CeilingRow {
  std::string what;  // "f32 FMA, registers", "bf16 dot, registers", "AMX bf16, registers", "read 512 MiB"
  std::string unit;  // "GFLOP/s" or "GB/s"
  double one_thread = 0;
  double all_threads = 0;
};

struct CeilingReport {
  std::vector<CeilingRow> rows;
  Ceilings one;  // with one thread
  Ceilings all;  // with all threads of the context
};

/// Best of `rounds` short loops each (about 0.2 s a round). The bf16 matrix ceiling is that of the best unit that the context's cap allows
/// (AMX, vdpbf16ps), or the f32 FMA rate where bf16 operands are widened.
CeilingReport measure_ceilings(Context& ctx, int rounds = 5);

/// Reads memory as fast as one thread of the context can, in whole blocks (64 bytes, with vectors 256); the answer depends on all that was read, so
/// that no compiler leaves the reads out. For floors of benchmarks.
std::uint64_t read_memory(const Context& ctx, const void* data, std::size_t bytes);

}  // namespace tessera::runtime
