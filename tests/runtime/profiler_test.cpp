#include "tessera/runtime/profiler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <thread>

namespace tessera::runtime {
namespace {

TEST(Profiler, OffRecordsNothing) {
  Profiler p;
  { const Zone zone(p, "op", "path", 10, 10); }
  EXPECT_TRUE(p.records().empty());
  p.start(4);
  p.stop();
  { const Zone zone(p, "op", "path", 10, 10); }
  EXPECT_TRUE(p.records().empty());
}

TEST(Profiler, RecordsNestingAndWork) {
  Profiler p;
  p.start();
  {
    const Zone stage(p, "stage: all");
    {
      const Zone op(p, "linear", "avx2", 2e9, 1e6);
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    { const Zone op(p, "norm", "avx2", 10, 1e6); }
  }
  p.stop();
  ASSERT_EQ(p.records().size(), 3u);
  EXPECT_EQ(p.records()[0].depth, 0);
  EXPECT_EQ(p.records()[1].depth, 1);
  EXPECT_EQ(p.records()[2].depth, 1);
  EXPECT_GE(p.records()[1].end_ns - p.records()[1].start_ns, 4000000);
  EXPECT_GE(p.records()[0].end_ns, p.records()[2].end_ns);

  const std::string table = p.table({100, 200, 10});
  EXPECT_LT(table.find("stage: all"), table.find("linear"));
  EXPECT_LT(table.find("linear"), table.find("norm"));
  EXPECT_NE(table.find("20.000"), std::string::npos) << table;  // the bound of 2 GFLOP at 100 GFLOP/s, in ms
  const std::string trace = p.trace_json();
  EXPECT_NE(trace.find("\"traceEvents\""), std::string::npos);
  EXPECT_EQ(std::count(trace.begin(), trace.end(), '\n'), 5);
}

TEST(Profiler, FullMeansNoMoreRecordsAndNoAllocation) {
  Profiler p;
  p.start(3);
  const auto room = p.records().capacity();
  for (std::size_t i = 0; i < room + 10; ++i) {
    const Zone outer(p, "outer");
    const Zone inner(p, "inner");
  }
  EXPECT_EQ(p.records().size(), room);
  EXPECT_EQ(p.records().capacity(), room);
}

TEST(Profiler, TableOfNothing) { EXPECT_NE(Profiler().table({}).find("op"), std::string::npos); }

}  // namespace
}  // namespace tessera::runtime
