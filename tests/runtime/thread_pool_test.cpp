#include "tessera/runtime/thread_pool.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "tessera/core/error.h"

namespace tessera::runtime {
namespace {

double cpu_seconds() {
  rusage u{};
  getrusage(RUSAGE_SELF, &u);
  return static_cast<double>(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + 1e-6 * static_cast<double>(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

TEST(ThreadPool, RunsEveryItemOnce) {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (const std::int64_t items : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> count(static_cast<std::size_t>(items));
      std::atomic<bool> thread_in_range{true};
      pool.parallel_for(items, [&](std::int64_t i, int thread) {
        count[static_cast<std::size_t>(i)].fetch_add(1);
        if (thread < 0 || thread >= threads) thread_in_range = false;
      });
      for (const auto& c : count) EXPECT_EQ(c.load(), 1);
      EXPECT_TRUE(thread_in_range);
    }
  }
}

TEST(ThreadPool, ManyShortLoopsInARow) {
  ThreadPool pool(4);
  std::int64_t expected = 0;
  std::atomic<std::int64_t> sum{0};
  for (std::int64_t loop = 0; loop < 20000; ++loop) {
    const std::int64_t items = 1 + loop % 9;
    pool.parallel_for(items, [&](std::int64_t i, int) { sum.fetch_add(i + 1, std::memory_order_relaxed); });
    expected += items * (items + 1) / 2;
  }
  EXPECT_EQ(sum.load(), expected);
}

TEST(ThreadPool, ResultsAreVisibleAfterTheLoop) {
  ThreadPool pool(3);
  std::vector<std::int64_t> values(64);
  for (std::int64_t loop = 0; loop < 2000; ++loop) {
    pool.parallel_for(64, [&](std::int64_t i, int) { values[static_cast<std::size_t>(i)] = loop * i; });
    for (std::int64_t i = 0; i < 64; ++i) ASSERT_EQ(values[static_cast<std::size_t>(i)], loop * i);
  }
}

TEST(ThreadPool, IdleThreadsTakeNoCore) {
  ThreadPool pool(8);
  pool.parallel_for(8, [](std::int64_t, int) {});
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // let them fall asleep
  const double before = cpu_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_LT(cpu_seconds() - before, 0.05);
}

TEST(ThreadPool, RefusesOddCounts) {
  EXPECT_THROW(ThreadPool(0), Error);
  EXPECT_THROW(ThreadPool(-3), Error);
  EXPECT_THROW(ThreadPool(5000), Error);
}

}  // namespace
}  // namespace tessera::runtime
