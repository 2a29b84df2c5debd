// Records what every op did: name, kernel row, time, FLOPs, bytes. A table for people, a Chrome/Perfetto trace for the eye.
// Off, a zone costs one comparison. May not compute on tensors. Test: tests/runtime/profiler_test.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tessera/core/dtype.h"

namespace tessera::runtime {

/// What this machine reached in a register- and memory-bound loop, measured in the same run (see runtime/ceilings.h). 0 = not measured.
struct Ceilings {
  double f32_gflops = 0;
  double bf16_gflops = 0;  // best matrix unit for bf16 operands; equals f32 where bf16 is widened
  double int8_gflops = 0;  // operations a second of the best unit for exact int8 sums; at least f32
  double read_gbs = 0;     // from DRAM

  /// That which products of such operands have; 0 when not measured.
  double gflops(DType operands) const noexcept { return operands == DType::i8 ? int8_gflops : operands == DType::bf16 ? bf16_gflops : f32_gflops; }
};

struct ZoneRecord {
  const char* op;    // static string: "linear"
  const char* path;  // static string: the kernel row or plan, "avx2_f32"
  DType operands;    // of products (which ceiling applies): f32, bf16 or i8
  std::int64_t start_ns;
  std::int64_t end_ns;
  double flops;
  double bytes;
  int depth;  // 0 = an op or stage called by the user's code
};

class Profiler {
 public:
  /// Starts recording; reserves room for `zones` records so that recording does not allocate until they are used up.
  void start(std::size_t zones = std::size_t{1} << 16);
  void stop() noexcept { on_ = false; }
  bool on() const noexcept { return on_; }
  void clear() noexcept { records_.clear(); }
  const std::vector<ZoneRecord>& records() const noexcept { return records_; }

  /// One row per (op, path): calls, time, share of time, GFLOP/s, GB/s, share of the ceiling, roofline bound and time / bound.
  /// Stages (zones with neither FLOPs nor bytes) come first, in order of time.
  std::string table(const Ceilings& ceilings) const;
  /// Chrome trace-event JSON ("traceEvents"), which Perfetto opens.
  std::string trace_json() const;

 private:
  friend class Zone;
  bool on_ = false;
  int depth_ = 0;
  std::vector<ZoneRecord> records_;
};

/// One timed stretch of the calling thread. Names must be string literals (or otherwise outlive the profiler).
class Zone {
 public:
  Zone(Profiler& profiler, const char* op, const char* path = "", double flops = 0, double bytes = 0, DType operands = DType::f32) noexcept
      : profiler_(profiler.on() ? &profiler : nullptr) {
    if (profiler_ != nullptr) begin(op, path, flops, bytes, operands);
  }
  ~Zone() {
    if (profiler_ != nullptr) end();
  }
  Zone(const Zone&) = delete;
  Zone& operator=(const Zone&) = delete;

 private:
  void begin(const char* op, const char* path, double flops, double bytes, DType operands) noexcept;
  void end() noexcept;

  Profiler* profiler_;
  std::size_t index_ = 0;
};

}  // namespace tessera::runtime
