#include "tessera/runtime/ceilings.h"

#include <gtest/gtest.h>

namespace tessera::runtime {
namespace {

TEST(Ceilings, ArePlausibleAndFollowTheCap) {
  Context scalar({.threads = 1, .isa = "scalar"});
  const CeilingReport low = measure_ceilings(scalar, 1);
  Context best({.threads = 2, .isa = {}});
  const CeilingReport high = measure_ceilings(best, 1);
  EXPECT_GT(low.one.f32_gflops, 0.05);
  EXPECT_GT(low.one.read_gbs, 0.05);
  EXPECT_GE(high.one.bf16_gflops, high.one.f32_gflops);
  EXPECT_GE(high.rows.size(), low.rows.size());
  // A vector unit is several times the scalar loop (4 or 8 lanes, and both ports); sanitisers slow both loops down.
  if (device::usable(device::Isa::avx2)) {
    EXPECT_GT(high.one.f32_gflops, 1.5 * low.one.f32_gflops);
  }
  for (const CeilingRow& row : high.rows) {
    EXPECT_GT(row.one_thread, 0) << row.what;
    EXPECT_GT(row.all_threads, 0) << row.what;
  }
}

}  // namespace
}  // namespace tessera::runtime
