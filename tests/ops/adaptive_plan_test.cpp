#include "tessera/ops/adaptive_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "tests/reference/adaptive_plan.h"
#include "tests/reference/errors.h"
#include "tests/reference/shapes.h"

namespace tessera {
namespace {

using ops::AdaptivePlan;
using ops::AdaptivePlans;
using ops::PoolStrategy;
using ops::PoolWindow;
using ops::UniformAxis;

std::vector<PoolWindow> expected_windows(std::int64_t in, std::int64_t out) {
  std::vector<PoolWindow> all;
  for (const std::vector<std::int64_t>& w : reference::adaptive_windows(in, out))
    all.push_back({static_cast<std::int32_t>(w.front()), static_cast<std::int32_t>(w.size())});
  return all;
}

void expect_exact(const UniformAxis& axis, std::int64_t in, std::int64_t out, const std::string& what) {
  EXPECT_EQ(reference::seen(in, axis.kernel, axis.stride, axis.before, axis.after, axis.gaps), reference::adaptive_windows(in, out))
      << what << " " << in << " -> " << out;
}

const AdaptivePlan* find(const AdaptivePlans& plans, PoolStrategy strategy) {
  for (const AdaptivePlan& p : plans.exact)
    if (p.strategy == strategy) return &p;
  return nullptr;
}

TEST(AdaptivePlan, EveryPairIsExactAndEveryStrategyIsAccountedFor) {
  int uniform = 0, with_gaps = 0;
  for (std::int64_t in = 1; in <= 256; ++in)
    for (std::int64_t out = 1; out <= 64; ++out) {
      ASSERT_EQ(ops::adaptive_windows(in, out), expected_windows(in, out));
      const AdaptivePlans plans = ops::plan_adaptive_pool(in, 8, out, 4);  // the other axis is 8 -> 4, uniform
      ASSERT_EQ(plans.rejected.size(), 4u) << in << " -> " << out;
      ASSERT_NE(find(plans, PoolStrategy::direct), nullptr);
      for (const AdaptivePlan& plan : plans.exact) {
        if (plan.strategy == PoolStrategy::direct) continue;
        expect_exact(plan.h, in, out, std::string(name(plan.strategy)));
        ASSERT_LE(plan.h.before, plan.h.kernel / 2);
        ASSERT_LE(plan.h.after, plan.h.kernel / 2);
        const bool padded = plan.strategy == PoolStrategy::padding_dominant || plan.strategy == PoolStrategy::combined_optimal;
        const bool stretched = plan.strategy == PoolStrategy::dilation_dominant || plan.strategy == PoolStrategy::combined_optimal;
        ASSERT_EQ(plan.h.padded() || plan.w.padded(), padded);
        ASSERT_EQ(plan.h.stretched() || plan.w.stretched(), stretched);
        ASSERT_GE(plan.memory_overhead, 0);
        ASSERT_GE(plan.cost, plans.best().cost);
        uniform += plan.strategy == PoolStrategy::pure_uniform ? 1 : 0;
        with_gaps += stretched ? 1 : 0;
      }
      // Windows that share at most one input can always be made uniform.
      if (in >= out) ASSERT_GE(plans.exact.size(), 2u) << in << " -> " << out;
    }
  EXPECT_GT(uniform, 1000);
  EXPECT_GT(with_gaps, 1000);
}

TEST(AdaptivePlan, KnownPairs) {
  for (const auto& n : reference::read_shapes("adaptive_plan", 6)) {
    const AdaptivePlans plans = ops::plan_adaptive_pool(n[0], n[0], n[1], n[1]);
    const std::string what = std::to_string(n[0]) + " -> " + std::to_string(n[1]);
    const AdaptivePlan* pure = find(plans, PoolStrategy::pure_uniform);
    ASSERT_EQ(pure != nullptr, n[2] > 0) << what;
    if (pure != nullptr) {
      EXPECT_EQ(pure->h.kernel, n[2]) << what;
      if (n[1] > 1) EXPECT_EQ(pure->h.stride, n[3]) << what;
      EXPECT_EQ(plans.best().strategy, PoolStrategy::pure_uniform) << what;
    }
    const AdaptivePlan* padded = find(plans, PoolStrategy::padding_dominant);
    if (n[4] >= 0) {
      ASSERT_NE(padded, nullptr) << what;
      EXPECT_EQ(padded->padding, (std::array<std::int64_t, 4>{n[4], n[5], n[4], n[5]})) << what;
    } else if (pure == nullptr) {
      EXPECT_EQ(padded, nullptr) << what;
      EXPECT_TRUE(find(plans, PoolStrategy::dilation_dominant) != nullptr || find(plans, PoolStrategy::combined_optimal) != nullptr) << what;
    }
  }
}

TEST(AdaptivePlan, AnUnequalPairOfAxesIsPlannedTogether) {
  const AdaptivePlans plans = ops::plan_adaptive_pool(64, 64, 3, 5);
  const AdaptivePlan* padded = find(plans, PoolStrategy::padding_dominant);
  ASSERT_NE(padded, nullptr);
  EXPECT_EQ(padded->h.kernel, 22);
  EXPECT_EQ(padded->h.stride, 21);
  EXPECT_EQ(padded->w.kernel, 14);
  EXPECT_EQ(padded->w.stride, 13);
  EXPECT_EQ(padded->padding, (std::array<std::int64_t, 4>{0, 0, 1, 1}));
  EXPECT_GT(plans.coverage_gained, 0);
  EXPECT_EQ(ops::plan_adaptive_pool(64, 64, 7, 7).coverage_gained, 0);
  EXPECT_EQ(ops::plan_adaptive_pool(64, 64, 8, 8).kernel_variance_h, 0);
  EXPECT_NEAR(ops::plan_adaptive_pool(64, 64, 5, 5).kernel_variance_h, 0.24, 1e-12);  // sizes 13 14 14 14 13
}

TEST(AdaptivePlan, StrictModeRefusesWhatTtnnRefusesAndWhatItGetsWrong) {
  const auto strict = [](std::int64_t in, std::int64_t out) { ops::check_ttnn_strict(in, in, out, out); };
  for (const auto& [in, out] : std::vector<std::pair<int, int>>{{28, 7}, {64, 7}, {64, 3}, {64, 5}, {17, 3}, {80, 3}, {7, 8}, {10, 3}, {20, 4}})
    EXPECT_NO_THROW(strict(in, out)) << in << " -> " << out;
  for (const auto& [in, out] : std::vector<std::pair<int, int>>{{23, 7}, {37, 5}, {64, 22}, {31, 7}})
    reference::expect_error("adaptive_pool2d", "Adaptive pooling configuration not supported. Height kernel pattern",
                            [&, a = in, b = out] { strict(a, b); });
  for (const auto& [in, out] : std::vector<std::pair<int, int>>{{6, 4}, {10, 4}, {50, 6}})
    reference::expect_error("adaptive_pool2d", "do not produce uniform pooling behavior", [&, a = in, b = out] { strict(a, b); });
}

TEST(AdaptivePlan, ImpossibleSizesAreRefused) {
  for (const std::int64_t size : {std::int64_t{0}, std::int64_t{-1}, std::int64_t{1} << 40}) {
    reference::expect_error("adaptive_pool2d", "sizes from 1", [&] { ops::plan_adaptive_pool(size, 8, 2, 2); });
    reference::expect_error("adaptive_pool2d", "sizes from 1", [&] { ops::plan_adaptive_pool(8, 8, 2, size); });
    reference::expect_error("adaptive_pool2d", "sizes from 1", [&] { ops::adaptive_windows(size, 3); });
  }
}

TEST(AdaptivePlan, LargeSizesArePlannedInNoTime) {
  const AdaptivePlans plans = ops::plan_adaptive_pool(32768, 32767, 7, 1000);
  EXPECT_GE(plans.exact.size(), 2u);
}

}  // namespace
}  // namespace tessera
